"""A real browser, a real server, a real person's way: pages, redirects and cookies as a browser treats them.

Every test ends with a look at what the browser had to say: no error in the console, no violation of a
Content-Security-Policy, nothing that could not be loaded, on any page of the example, of ours, of the emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect, sync_playwright

from tests import browser_rig as rig
from tests.browser_rig import screenshot

NewContext = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def demo() -> Iterator[rig.Demo]:
    with rig.demo("--no-open", "--port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    with rig.launched(chromium, rig.chromium()) as running:
        yield running


@pytest.fixture
def new_context(browser: Browser, demo: rig.Demo) -> Iterator[NewContext]:
    """Makes browsers with cookies of their own, which must have no faults in the end."""
    made: list[tuple[BrowserContext, rig.Watch]] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(base_url=demo.origin, **options)
        made.append((context, rig.Watch(context)))
        return context

    yield make
    for context, _ in made:
        context.close()
    assert [fault for _, watch in made for fault in watch.faults()] == []


@pytest.fixture
def page(new_context: NewContext) -> Page:
    return new_context().new_page()


def choose(page: Page, person: str = "Mira Halden") -> None:
    page.get_by_role("button", name=person).click()


def allow(page: Page) -> None:
    page.get_by_role("button", name="Allow").click()


def sign_in(page: Page, path: str = "/requests", person: str = "Mira Halden") -> None:
    page.goto(path)
    choose(page, person)
    allow(page)
    expect_signed_in(page, person)


def expect_heading(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(words)


def expect_signed_in(page: Page, person: str = "Mira Halden") -> None:
    expect(page.get_by_text(f"You are {person}")).to_be_visible()


def test_a_person_signs_in_sends_a_request_sees_it_and_signs_out(page):
    page.goto("/")
    screenshot(page, "welcome")
    page.get_by_role("link", name="Sign in").click()
    screenshot(page, "emulator-sign-in")
    choose(page)
    screenshot(page, "emulator-consent")
    allow(page)
    expect(page.get_by_text("You are Mira Halden, mira.halden@example.com.")).to_be_visible()
    screenshot(page, "requests-none")
    page.get_by_label("Title").fill("<i>Lease</i> & more")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("listitem").last).to_contain_text("<i>Lease</i> & more waits for you")
    screenshot(page, "requests-one")
    page.get_by_role("button", name="Sign out").click()
    expect_heading(page, "You are signed out")
    page.goto("/requests")
    expect_heading(page, "Allow Demo application?")


def test_a_deep_link_is_where_the_sign_in_ends(page):
    sign_in(page, "/requests?from=mail&name=a%26b")
    assert page.url.endswith("/requests?from=mail&name=a%26b")
    expect_signed_in(page)


def test_two_tabs_that_sign_in_at_once_end_each_on_its_own_page(new_context):
    context = new_context()
    first, second = context.new_page(), context.new_page()
    first.goto("/requests?tab=1")
    second.goto("/requests?tab=2")
    choose(second)
    allow(second)
    expect_signed_in(second)
    choose(first)  # whose request the second one's has pushed out at Lumin
    for page, path in ((first, "/requests?tab=1"), (second, "/requests?tab=2")):
        expect_signed_in(page)
        assert page.url.endswith(path)
        page.reload()
        expect_signed_in(page)


def test_whoever_denies_is_told_so(page):
    page.goto("/requests")
    choose(page)
    page.get_by_role("button", name="Deny").click()
    expect_heading(page, "Access was denied")
    screenshot(page, "access-denied")


def test_starting_again_after_a_denial_leads_to_the_page_that_was_wanted(page):
    page.goto("/requests?once=more")
    choose(page)
    page.get_by_role("button", name="Deny").click()
    page.get_by_role("link", name="Start again").click()
    allow(page)
    expect_signed_in(page)
    assert page.url.endswith("/requests?once=more")


def test_a_browser_that_refuses_cookies_is_told_why_and_goes_round_no_more(chromium, demo, tmp_path):
    context = chromium.launch_persistent_context(
        rig.refuse_cookies(tmp_path), executable_path=rig.chromium(), args=rig.FLAGS, base_url=demo.origin
    )
    watch = rig.Watch(context)
    page = context.new_page()
    page.goto("/requests")
    choose(page)
    expect(page.get_by_role("main")).to_contain_text("cookies")
    screenshot(page, "cookies-refused")
    context.close()
    assert watch.faults() == []


def test_the_sign_out_page_asks_and_then_says_that_it_is_done(page):
    sign_in(page)
    page.goto("/auth/logout")
    expect_heading(page, "Sign out?")
    screenshot(page, "sign-out")
    page.get_by_role("button", name="Sign out").click()
    expect_heading(page, "You are signed out")
    page.goto("/auth/logout")
    expect_heading(page, "You are signed out")
    screenshot(page, "signed-out")


def test_the_keyboard_is_enough(page):
    page.goto("/")
    for key in ("Tab", "Enter"):
        page.keyboard.press(key)
    expect_heading(page, "Sign in")
    expect(page.locator("button:focus")).to_be_visible()  # autofocus comes after the page is drawn
    for key in ("Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text("Tobias Okoro", exact=True)).to_be_visible()
    expect(page.locator("button:focus")).to_be_visible()
    page.keyboard.press("Enter")
    expect_signed_in(page, "Tobias Okoro")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(new_context, scheme):
    page = new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, device_scale_factor=2).new_page()

    def look(name: str, heading: str) -> None:
        expect_heading(page, heading)
        screenshot(page, f"phone-{scheme}-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name

    page.goto("/")
    look("welcome", "Something to sign")
    page.get_by_role("link", name="Sign in").click()
    look("emulator-sign-in", "Sign in")
    choose(page)
    look("emulator-consent", "Allow Demo application?")
    page.get_by_role("button", name="Deny").click()
    look("access-denied", "Access was denied")
    page.goto("/requests")
    allow(page)
    expect_signed_in(page)
    page.get_by_label("Title").fill("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("listitem").last).to_contain_text("Donau")
    look("requests", "Your requests")
    page.goto("/auth/logout")
    look("sign-out", "Sign out?")


def test_the_emulator_says_who_may_connect(page):
    page.goto("/requests")
    parts = urlsplit(page.url)
    page.goto(f"{parts.scheme}://{parts.netloc}/")
    expect_heading(page, "A local Lumin")
    screenshot(page, "emulator-home")
