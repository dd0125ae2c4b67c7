"""N tabs of a real browser, one sign-in: every tab ends at the page that it wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests import browser_rig
from tests.tabs import COUNTS, ROUNDS


@pytest.fixture(scope="module")
def demo() -> Iterator[browser_rig.Demo]:
    with browser_rig.demo("--no-open", "--port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_rig.browser() as running:
        yield running


@pytest.fixture
def context(browser: Browser, demo: browser_rig.Demo) -> Iterator[BrowserContext]:
    """A browser with cookies of its own."""
    with browser.new_context(base_url=demo.origin) as context:
        yield context


def do_what_it_asks(page: Page) -> None:
    """A person at this tab, until it shows the application."""
    while True:
        page.locator("h1", has_not_text="Signing you in").wait_for(timeout=120_000)
        if (button := page.get_by_role("button", name="Mira Halden")).count():
            with page.expect_navigation():
                button.click()
        elif (button := page.get_by_role("button", name="Allow")).count():
            page.get_by_label("Do not ask again for this application").check()
            with page.expect_navigation():
                button.click()
        else:
            return


def assert_shown(tabs: list[Page], paths: list[str], origin: str) -> None:
    for tab, path in zip(tabs, paths, strict=True):
        tab.wait_for_url(f"{origin}{path}", timeout=120_000)
        assert tab.get_by_text("You are Mira Halden").count() == 1


@pytest.mark.parametrize("count", COUNTS)
def test_tabs_of_a_real_browser_that_are_restored_at_once(context, demo, count):
    first = context.new_page()
    first.goto("/requests")
    do_what_it_asks(first)
    for round_ in range(ROUNDS):
        context.clear_cookies(name=re.compile("^(__Host-)?lumin-"))
        tabs = [context.new_page() for _ in range(count)]
        paths = [f"/requests?round={round_}&tab={number}" for number in range(count)]
        for tab, path in zip(tabs, paths, strict=True):
            tab.evaluate("url => { setTimeout(() => location.assign(url), 50) }", demo.origin + path)
        assert_shown(tabs, paths, demo.origin)
        for tab in tabs:
            tab.close()


@pytest.mark.parametrize("count", COUNTS)
def test_tabs_of_a_real_browser_that_a_person_goes_through(context, demo, count):
    for round_ in range(max(1, ROUNDS // 2)):  # a person takes longer than a browser does
        context.clear_cookies()
        tabs, paths = [], [f"/requests?round={round_}&tab={number}" for number in range(count)]
        for path in paths:
            tabs.append(context.new_page())
            tabs[-1].goto(path)
        for tab in tabs:
            do_what_it_asks(tab)
        assert_shown(tabs, paths, demo.origin)
        for tab in tabs:
            tab.close()
