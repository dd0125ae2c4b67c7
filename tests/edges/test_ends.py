"""What ends a session ends it at both edges, for every copy; and two sites on one host leave each other alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lumin_middleware import StoreUnavailable
from lumin_middleware.emulator.grants import OPAQUE_LENGTH
from lumin_middleware.sessions import saving
from lumin_middleware.sessions.cookies import HEADER_LIMIT
from lumin_middleware.sessions.kinds import UNKNOWN
from lumin_middleware.stores import MemoryStore
from tests.edges import rig
from tests.edges.rig import Browser, Edge, Site
from tests.patience import PATIENCE
from tests.site_rig import CLIENT, FETCH, ORIGIN

pytestmark = pytest.mark.parametrize("sessions", ["cookie", "store"])


def copy(browser: Browser) -> Browser:
    """Whoever has a copy of this browser's cookies."""
    other = Browser(browser.site, browser.edge)
    other.jar = dict(browser.jar)
    return other


async def sign_in_anew(browser: Browser) -> None:
    begun = await browser.navigate("/auth/login")
    answer = await browser.navigate(browser.site.emulator.sign_in(begun.header("location") or ""))
    assert answer.status == 303


def revoked(site: Site) -> list[bool]:
    return [grant.revoked for grant in site.emulator.grants][-2:]


# --- an answer that comes late brings nobody back ---


class Elsewhere(MemoryStore):
    """A store that other machines share, which is not asked about each request."""

    local = False


@asynccontextmanager
async def slow_page(browser: Browser) -> AsyncIterator[None]:
    """A page that the browser asks for before what is done inside, and that is answered after it."""
    site, came, may_answer = browser.site, threading.Event(), threading.Event()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        site.asgi_app.handler = None
        came.set()
        await asyncio.to_thread(may_answer.wait)
        await site.asgi_app(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> Any:
        site.wsgi_app.handler = None
        came.set()
        may_answer.wait()
        return site.wsgi_app(environ, start_response)

    site.app(browser.edge).handler = asgi if browser.edge == "asgi" else wsgi
    answer = asyncio.create_task(browser.navigate("/report"))
    await asyncio.to_thread(came.wait)
    try:
        yield
    finally:
        may_answer.set()
        assert (await answer).status == 200


@pytest.fixture(params=[MemoryStore, Elsewhere])
async def due(request, new_edges, lumin, edge, sessions, passed) -> Browser:
    """Somebody who is to get a cookie with the next answer."""
    browser = new_edges(sessions=sessions, store=request.param(clock=lumin.clock)).browser(edge)
    await browser.sign_in()
    browser.site.clock.advance(passed)
    return browser


PASSED = pytest.mark.parametrize("passed", [9000, 3600], ids=["used again", "renewed"])


@PASSED
async def test_a_late_answer_does_not_take_back_a_sign_out(due, sessions):
    async with slow_page(due):
        await due.log_out()
    assert await due.subject() is None


@PASSED
async def test_a_late_answer_does_not_take_back_who_is_signed_in(due, sessions):
    emulator = due.site.emulator
    other = list(emulator.users)[1]
    async with slow_page(due):
        begun = await due.navigate("/auth/login?prompt=login")
        await due.navigate(emulator.sign_in(begun.header("location") or "", sub=other))
    assert await due.subject() == other


@PASSED
async def test_a_cookie_that_a_proxy_hands_on_late_is_nobody_after_a_sign_out(due, sessions):
    """A proxy that asks is given it before the service answers, which may take as long as it likes."""
    asking = copy(due)
    answer = await asking.navigate("/auth/verify")
    assert answer.all("set-cookie")
    await due.log_out()
    assert await asking.subject() is None


async def test_also_where_a_cookie_is_written_anew_soon_after_the_sign_in(new_edges, lumin, edge, sessions):
    browser = new_edges(sessions=sessions, store=Elsewhere(clock=lumin.clock), idle_timeout=300).browser(edge)
    await browser.sign_in()
    browser.site.clock.advance(31)
    asking = copy(browser)
    assert (await asking.navigate("/auth/verify")).all("set-cookie")
    await browser.log_out()
    assert await asking.subject() is None


@PASSED
async def test_and_where_the_store_is_away_when_it_is_asked(due, sessions, monkeypatch):
    asking, store = copy(due), due.site.config.store
    await asking.navigate("/auth/verify")
    await due.log_out()

    def away(key: str) -> bytes | None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(store, "get", away)
        assert (await asking.navigate("/")).status == (200 if sessions == "cookie" else 503)
    due.site.clock.advance(UNKNOWN)
    assert await asking.subject() is None


@PASSED
async def test_a_cookie_that_was_written_anew_is_asked_about_once(due, sessions, monkeypatch):
    browser, store = due, due.site.config.store
    await browser.navigate("/")
    asked = []
    get = store.get
    monkeypatch.setattr(store, "get", lambda key: asked.append(key) or get(key))
    for _ in range(3):
        assert await browser.subject()
    assert len(asked) == (1 if sessions == "cookie" and not store.local else 3)


# --- what gives the browser no cookie does not use up the time after which it gets one ---


@pytest.mark.parametrize("route", ["connections", "sessions", "logout", "login", "session?slide=false"])
async def test_who_uses_the_site_gets_a_new_cookie_whatever_a_page_asks_besides(new_edges, edge, sessions, route):
    site = new_edges(sessions=sessions, idle_timeout=600)
    browser = site.browser(edge)
    await browser.sign_in()
    site.clock.advance(61)  # a tenth of the idle time, and no renewal that would give one, too
    answers = [await browser.navigate(f"/auth/{route}"), await browser.navigate("/")]
    assert answers[1].status == 200
    assert f"{site.config.session_cookie}=" in str([answer.all("set-cookie") for answer in answers])


# --- a sign-in takes the place of the session before it ---


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_copy_of_the_session_that_was_replaced_is_nobody(new_edges, edge, sessions, renewed):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    before = copy(browser)
    if renewed:
        site.clock.advance(3700)
        assert await copy(browser).subject()  # the copy is of the generation before
    await sign_in_anew(browser)
    assert await before.subject() is None
    assert revoked(site) == [True, False]
    assert await browser.subject()
    await browser.log_out()
    site.clock.advance(3700)
    assert (await before.subject(), await browser.subject()) == (None, None)
    assert revoked(site) == [True, True]
    assert site.reuse_events() == 0


async def test_the_other_edge_knows_at_once(new_edges, edge, sessions):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    before = copy(browser)
    before.edge = "wsgi" if edge == "asgi" else "asgi"
    assert await before.subject()
    await sign_in_anew(browser)
    assert await before.subject() is None


# --- two sites on one host ---


async def test_two_sites_on_one_host_leave_each_other_alone(new_edges, edge, sessions):
    """Cookies know neither ports nor paths: a browser brings each site the other's."""
    client_b = f"{ORIGIN}/b/auth/callback"
    with rig.lumin(clients=[CLIENT, replace(CLIENT, client_id="b", redirect_uris=(client_b,))]) as lumin:
        one, two = lumin.site(sessions=sessions), lumin.site(sessions=sessions, client_id="b", redirect_uri=client_b)
        jar: dict[str, str] = {}
        first, second = one.browser(edge), two.browser(edge)
        first.jar = second.jar = jar
        await first.sign_in()
        begun = await second.navigate("/b/auth/login")
        await second.navigate(lumin.emulator.sign_in(begun.header("location") or ""))
        assert await first.subject()
        assert await second.subject()
        assert json.loads((await first.fetch("GET", "/who")).body)["cookie"] == ""
        assert json.loads((await second.fetch("GET", "/who")).body)["cookie"] == ""
        await first.log_out()
        assert await first.subject() is None
        assert await second.subject()
        assert [grant.revoked for grant in lumin.emulator.grants] == [True, False]
        await one.aclose()
        await two.aclose()


# --- sessions that are too large for a header ---


@pytest.mark.parametrize("length", [2800, 3300, 4500, 6000, 30_000])
async def test_our_part_of_the_header_is_bounded_and_signing_out_works(new_edges, edge, sessions, length):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    site.emulator.grants.access_token_length, before = 94, site.emulator.grants.access_token_length
    try:
        await browser.sign_in()
        site.emulator.grants.access_token_length = length
        site.clock.advance(3700)
        assert await browser.subject()  # it grew at a renewal
        assert await browser.subject()
        assert size(browser) <= HEADER_LIMIT
        await sign_in_anew(browser)
        assert size(browser) <= HEADER_LIMIT
        assert await browser.subject()
        held = copy(browser)
        assert (await browser.log_out()).status == 303
        assert await held.subject() is None
    finally:
        site.emulator.grants.access_token_length = before
    assert site.reuse_events() == 0


def size(browser: Browser) -> int:
    return len("; ".join(f"{name}={value}" for name, value in browser.jar.items()))


# --- the server ends what is still on its way ---


async def tell(site: Site, edge: Edge, token: str) -> int:
    body = f"logout_token={token}".encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return (await site.request(edge, "/auth/backchannel-logout", method="POST", headers=headers, body=body)).status


async def test_a_logout_token_that_overtakes_the_callback_wins(new_edges, edge, sessions):
    site = new_edges(sessions=sessions, backchannel_logout=True)
    browser, other = site.browser(edge), site.browser(edge)
    callback = site.emulator.sign_in(await browser.begin("/who"))
    sid = list(site.emulator.grants)[-1].sid
    assert await tell(site, edge, site.emulator.logout_token(CLIENT.client_id, sid)) == 200
    answer = await browser.navigate(callback)
    assert answer.status == 400
    assert b"Start again" in answer.body
    assert await browser.subject() is None
    assert list(site.emulator.grants)[-1].revoked
    await other.sign_in()
    assert await other.subject()
    await browser.sign_in()
    assert await browser.subject()


async def test_a_sign_in_without_an_id_token_fails_where_logout_tokens_must_find_it(edge, sessions):
    with rig.lumin(id_token=False) as lumin:
        site = lumin.site(sessions=sessions, backchannel_logout=True)
        browser = site.browser(edge)
        answer = await browser.sign_in()
        assert answer.status == 502
        assert await browser.subject() is None
        assert all(grant.revoked for grant in lumin.emulator.grants)
        await site.aclose()
        site = lumin.site(sessions=sessions)
        browser = site.browser(edge)
        await browser.sign_in()
        assert await browser.subject()
        await site.aclose()


# --- what the application sees ---


@pytest.mark.parametrize("name", ["\x0b{}", "{}\x0c", "{}-9", "{}-login-x", "__Host-lumin-zzzzzz"])
async def test_every_cookie_by_a_name_of_ours_is_kept_from_the_application(new_edges, edge, sessions, name):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    mine = "; ".join(f"{each}={value}" for each, value in browser.jar.items())
    planted = name.format(site.config.session_cookie)
    answer = await site.request(edge, "/who", headers={**FETCH, "cookie": f"a=1; {planted}=x; {mine}; b=2"})
    assert (answer.status, json.loads(answer.body)["cookie"]) == (200, "a=1; b=2")


# --- a renewal that the store did not take ---


@pytest.fixture
def refusing(monkeypatch):
    """Makes a site's store refuse what is written about sessions, until it is called again."""
    monkeypatch.setattr(saving, "SAVING", (0.0,))

    def refuse(site: Site, *, records: bool) -> None:
        swap = MemoryStore.swap

        def refused(key, old, new, ttl):
            if records and key.startswith("session:"):
                raise StoreUnavailable("the disk is full")
            return swap(site.store, key, old, new, ttl)

        monkeypatch.setattr(site.store, "swap", refused)

    return refuse


async def test_a_sign_out_reaches_the_tokens_that_could_not_be_saved(new_edges, edge, sessions, refusing):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    site.clock.advance(3700)
    refusing(site, records=True)
    assert await browser.subject()
    refusing(site, records=False)
    await browser.log_out()
    assert revoked(site)[-1] is True
    assert site.reuse_events() == 0


async def test_what_a_process_renewed_is_saved_though_nobody_comes_to_it_any_more(
    new_edges, edge, sessions, refusing, monkeypatch
):
    monkeypatch.setattr(saving, "AGAIN", 0.01)
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    before = copy(browser)
    before.edge = "wsgi" if edge == "asgi" else "asgi"  # another process, as far as it knows
    site.clock.advance(3700)
    refusing(site, records=True)
    assert await browser.subject()
    refusing(site, records=False)
    async with asyncio.timeout(PATIENCE):
        while not await before.subject():
            await asyncio.sleep(0.01)
    assert site.refreshes() == 1
    assert site.reuse_events() == 0


async def test_a_process_that_ends_leaves_what_it_renewed_to_the_next(new_edges, edge, sessions, refusing):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    before = copy(browser)
    site.clock.advance(3700)
    refusing(site, records=True)
    assert await browser.subject()
    refusing(site, records=False)
    await site.aclose()
    site.clock.advance(100)
    assert await before.subject()
    assert site.refreshes() == 1
    assert site.reuse_events() == 0


async def test_a_session_that_grows_too_large_for_cookies_before_it_is_saved_is_not_lost(
    new_edges, edge, sessions, refusing
):
    site = new_edges(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    site.clock.advance(3700)
    site.emulator.grants.access_token_length = HEADER_LIMIT
    try:
        refusing(site, records=True)
        assert await browser.subject()
    finally:
        site.emulator.grants.access_token_length = OPAQUE_LENGTH
    assert await browser.subject()
    refusing(site, records=False)
    assert await browser.subject()
    assert await browser.subject()
    assert site.reuse_events() == 0
