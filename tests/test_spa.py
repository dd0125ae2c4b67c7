"""The frontend of `examples/spa` in a real browser: a person who signs in, works, is signed out and comes back.

Every test ends with a look at what the browser had to say, and at what it ever got to see: no token.
"""

from __future__ import annotations

import importlib
import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import Error as PlaywrightError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lumin_middleware.emulator import Client, Emulator
from lumin_middleware.emulator import serve as serve_emulator
from tests import browser_rig as rig
from tests.browser_rig import screenshot
from tests.patience import PATIENCE
from tests.serving import served

EXAMPLE = Path(__file__).parent.parent / "examples" / "spa"
NewContext = Callable[..., BrowserContext]


class Wire:
    """What goes over the wire between browsers and the site: all that a network panel can show."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._parts: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        def note(message: Message) -> None:
            self._parts.extend(part for header in message.get("headers", ()) for part in header)
            self._parts.append(message.get("body", b""))

        async def noted_receive() -> Message:
            note(message := await receive())
            return message

        async def noted_send(message: Message) -> None:
            note(message)
            await send(message)

        note(scope)
        self._parts.append(scope.get("query_string", b""))
        await self.app(scope, noted_receive, noted_send)

    def text(self) -> str:
        return b"\n".join(self._parts).decode("latin-1")


# --- the site -------------------------------------------------------------------------------------------


class Site(NamedTuple):
    """The example, running."""

    emulator: Emulator
    origin: str
    wire: Wire


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(
            client_id="spa", client_secret=secrets.token_urlsafe(32), redirect_uris=(f"{origin}/auth/callback",)
        )
        with serve_emulator(clients=[client]) as running:
            settings = {
                "CLIENT_ID": client.client_id,
                "CLIENT_SECRET": client.client_secret,
                "REDIRECT_URI": client.redirect_uris[0],
                "SECRET_KEY": secrets.token_urlsafe(32),
                "AUTH_URL": running.base,
                "API_URL": f"{running.base}/v1",
                "STORE": "memory://",
            }
            for name, value in settings.items():
                patch.setenv(f"LUMIN_{name}", value)
            sys.modules.pop("examples.spa.server", None)
            wire = Wire(importlib.import_module("examples.spa.server").app)
            with served(wire, listener, lifespan="on"):
                yield Site(running.emulator, origin, wire)


@pytest.fixture
def emulator(site: Site) -> Emulator:
    site.emulator.signature_requests.clear()
    site.emulator.faults.clear()
    return site.emulator


# --- the browser ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with rig.browser() as running:
        yield running


def visible(context: BrowserContext) -> str:
    """What scripts and storage show."""
    parts = [str(context.storage_state(indexed_db=True))]
    for page in context.pages:
        parts.append(page.content())
        parts.append(page.evaluate("document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })"))
    return "\n".join(parts)


@pytest.fixture
def new_context(browser: Browser, emulator: Emulator, site: Site) -> Iterator[NewContext]:
    """Makes browsers with cookies of their own, which in the end must have no faults and have seen no token."""
    made: list[tuple[BrowserContext, rig.Watch, list[str]]] = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(base_url=site.origin, **options)
        context.set_default_timeout(PATIENCE * 1000)
        urls: list[str] = []
        context.on("request", lambda request: urls.append(request.url))
        made.append((context, rig.Watch(context), urls))
        return context

    yield make
    tokens = [token.value for grant in emulator.grants for token in grant.tokens]
    assert tokens
    for context, watch, urls in made:
        text = visible(context) + "\n".join(urls) + site.wire.text()
        context.close()
        assert not [token for token in tokens if token in text]
        assert [fault for fault in watch.faults() if not is_answer(*fault)] == []


def is_answer(url: str, what: str) -> bool:
    """Whether this is how browsers log a status that the page asked for, or whose body it left unread."""
    status = re.fullmatch(r"Failed to load resource: .* status of (\d+) \(.*\)", what)
    if url.partition("?")[0].endswith("/auth/session"):
        return what == "failed: net::ERR_ABORTED" or (status is not None and status[1] == "401")
    return "/auth/api/" in url and status is not None


@pytest.fixture
def page(new_context: NewContext) -> Page:
    page = new_context().new_page()
    page.goto("/")
    return page


def approve(popup: Page, person: str | None = "Mira Halden") -> None:
    """What the person does in the popup, which then closes."""
    with popup.expect_event("close"):
        if person:
            popup.get_by_role("button", name=person).click()
        popup.get_by_role("button", name="Allow").click()


def sign_in(page: Page, person: str | None = "Mira Halden") -> None:
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Sign in", exact=True).click()
    approve(opened.value, person)
    expect(page.get_by_text("You are ")).to_be_visible()


def send(page: Page, title: str) -> None:
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Send").click()


def expect_requests(page: Page, *texts: str) -> None:
    expect(page.get_by_role("listitem")).to_have_text(list(texts))


# --- the tests ------------------------------------------------------------------------------------------


def test_a_person_signs_in_by_popup_sends_cancels_and_signs_out(page, emulator):
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    screenshot(page, "spa-signed-out")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Sign in", exact=True).click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Sign in")
    screenshot(opened.value, "spa-popup")
    approve(opened.value)
    expect(page.get_by_text("You are Mira Halden, mira.halden@example.com.")).to_be_visible()
    screenshot(page, "spa-signed-in")
    send(page, "<i>Lease</i> & more")
    expect_requests(page, "<i>Lease</i> & moreneed to signCancel")
    screenshot(page, "spa-sent")
    page.get_by_role("button", name="Cancel").click()
    expect_requests(page, "<i>Lease</i> & morecancelled")
    screenshot(page, "spa-cancelled")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    assert all(grant.revoked for grant in emulator.grants)
    page.reload()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_a_session_that_ended_meanwhile_is_asked_for_and_what_was_begun_goes_on(page, emulator):
    sign_in(page)
    emulator.revoke_all()
    with page.expect_popup() as opened:
        send(page, "Lease")
    approve(opened.value, None)
    expect_requests(page, "Leaseneed to signCancel")
    assert len(emulator.signature_requests) == 1


def test_a_person_who_closes_the_popup_stays_on_the_page_and_is_told(page, emulator):
    sign_in(page)
    emulator.revoke_all()
    with page.expect_popup() as opened:
        send(page, "Lease")
    opened.value.close()
    expect(page.get_by_role("status")).to_have_text("Sign in to go on.")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    screenshot(page, "spa-ended")
    assert emulator.signature_requests == {}
    sign_in(page, None)


def test_a_browser_that_opens_no_popups_can_sign_in_on_the_page(page):
    page.evaluate("() => { window.open = () => null }")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")
    page.get_by_role("button", name="Sign in without a popup").click()
    page.get_by_role("button", name="Mira Halden").click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("You are Mira Halden")).to_be_visible()


def test_two_tabs_share_one_session_and_its_end(new_context):
    context = new_context()
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.goto("/")
    sign_in(first)
    look_again(second)
    expect(second.get_by_text("You are Mira Halden")).to_be_visible()
    send(second, "Lease")
    expect_requests(second, "Leaseneed to signCancel")
    look_again(first)
    expect_requests(first, "Leaseneed to signCancel")
    first.get_by_role("button", name="Sign out").click()
    expect(first.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    look_again(second)
    expect(second.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def look_again(page: Page) -> None:
    """The person turns to this tab. Headless tabs are always visible, so that the event has to be made."""
    page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')) }")


def test_two_tabs_that_sign_in_at_once_both_go_on(new_context):
    context = new_context()
    pages = [context.new_page(), context.new_page()]
    popups = []
    for page in pages:
        page.goto("/")
        with page.expect_popup() as opened:
            page.get_by_role("button", name="Sign in", exact=True).click()
        popups.append(opened.value)
    for popup in popups:
        popup.get_by_role("button", name="Mira Halden").click()
    first, last = popups
    with last.expect_event("close"):
        last.get_by_role("button", name="Allow").click()
    with suppress(PlaywrightError):  # it closes by itself where the page has heard of the other sign-in
        first.get_by_role("button", name="Allow").click()
    for page in pages:
        expect(page.get_by_text("You are Mira Halden")).to_be_visible()


def test_two_people_in_two_browsers_see_only_what_is_theirs(new_context):
    first, second = (new_context().new_page() for _ in range(2))
    for page, person in ((first, "Mira Halden"), (second, "Tobias Okoro")):
        page.goto("/")
        sign_in(page, person)
    send(first, "Lease")
    expect_requests(first, "Leaseneed to signCancel")
    look_again(second)
    expect(second.get_by_text("You are Tobias Okoro")).to_be_visible()
    expect_requests(second)


def test_what_lumin_refuses_is_told(page, emulator):
    sign_in(page)
    emulator.faults.add("/v1/signature_request/send", status=503)
    send(page, "Lease")
    expect(page.locator("#status")).to_have_text("Lumin answered 503.")
    send(page, "Lease")
    expect_requests(page, "Leaseneed to signCancel")
    expect(page.locator("#status")).to_be_empty()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(new_context, scheme):
    page = new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, device_scale_factor=2).new_page()
    page.goto("/")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    screenshot(page, f"spa-phone-{scheme}-signed-out")
    sign_in(page)
    send(page, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")
    expect(page.get_by_role("listitem")).to_have_count(1)
    screenshot(page, f"spa-phone-{scheme}-sent")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_page_where_the_popup_lands_says_so_where_it_cannot_close(browser, site):
    page = browser.new_page()
    page.goto(f"{site.origin}/auth/popup")
    expect(page.get_by_role("heading", level=1)).to_have_text("You can close this window")
    screenshot(page, "spa-popup-landed")
    page.close()


def test_the_server_of_the_example_is_short():
    assert len((EXAMPLE / "server.py").read_text().splitlines()) <= 60
