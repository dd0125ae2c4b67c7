"""Trouble with the token endpoint, the store, the clock or the client signs nobody out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any

import anyio
import httpx2
import pytest

from lumin_middleware.emulator import serve
from lumin_middleware.protocol import patience
from lumin_middleware.protocol.breaker import FAILURES, PAUSES
from lumin_middleware.sessions.pauses import LONGEST
from tests.site_rig import CLIENT, SESSION, Browser, Clock, Site
from tests.storm.sites import LIFETIME, Hold, RemoteStore, copy, process, refreshes

TROUBLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "body": "<h1>Internal Server Error</h1>", "content_type": "text/html"},
    "502 that speaks OAuth": {"status": 502, "body": {"error": "invalid_grant"}},
    "429": {"status": 429, "body": {"message": "slow down"}, "headers": {"Retry-After": "7"}},
    "404": {"status": 404, "body": "no such route", "content_type": "text/plain"},
    "HTML": {"status": 200, "body": "<h1>Welcome to the airport</h1>", "content_type": "text/html"},
    "no tokens": {"status": 200, "body": {"token_type": "bearer"}},
    "half a body": {
        "status": 200,
        "body": '{"token_type": "bearer", "access_token": "ory_at',
        "content_type": "application/json",
        "headers": {"Content-Length": "900"},
    },
    "nothing": {"delay": 30.0, "act": False},
    "no answer": {"drop": "before"},
    "the operator's secret is wrong": {"status": 401, "body": {"error": "invalid_client"}},
    "a race that the server lost": {"status": 400, "body": {"error": "invalid_request"}},
}


@pytest.fixture(params=["cookie", "store"])
def two(request: pytest.FixtureRequest, new_site: Callable[..., Site]) -> Site:
    """A site on a store far away; its page asks nobody."""
    clock = Clock()
    return new_site(sessions=request.param, store=RemoteStore(clock=clock), clock=clock, optional=["/maybe"])


async def assert_signed_in(browser: Browser) -> None:
    answer = await browser.fetch("GET", "/")
    assert answer.status_code == 200, answer.text
    assert answer.json()["authenticated"]


async def assert_unavailable(browser: Browser) -> int:
    """Whoever asks is told to come again, and keeps the cookie; in how many seconds."""
    answers = [await browser.fetch("GET", "/"), await browser.navigate("/")]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert "set-cookie" not in answer.headers
        assert "location" not in answer.headers
        assert 1 <= int(answer.headers["retry-after"]) <= LONGEST
    optional = await browser.navigate("/maybe")
    assert (optional.status_code, optional.json()["authenticated"]) == (200, False)
    assert "set-cookie" not in optional.headers
    return int(answers[0].headers["retry-after"])


# --- the token endpoint ---


OWN = "the operator's secret is wrong"
"""The trouble that is each process's own: another may have the right one."""


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_trouble_with_the_token_endpoint_outlasts_no_session(two, trouble):
    browser = two.browser()
    await browser.sign_in()
    settings = {"timeout": 1} if trouble == "nothing" else {}
    here, elsewhere = (copy(browser, process(two, **settings)) for _ in range(2))
    two.clock.advance(LIFETIME - 100)
    two.emulator.faults.add("/oauth2/token", times=None, **TROUBLE[trouble])
    await assert_signed_in(here)  # the token lives
    await assert_signed_in(elsewhere)
    assert refreshes(two) == (2 if trouble == OWN else 1)
    two.clock.advance(200)
    asked = refreshes(two)
    await assert_unavailable(here)  # it does not any more
    assert 1 <= refreshes(two) - asked <= 3  # at once, after 1 s, after 2 s more
    if trouble != OWN:
        asked = refreshes(two)
        await assert_unavailable(elsewhere)
        assert refreshes(two) == asked
    two.emulator.faults.clear()
    asked = refreshes(two)
    two.clock.advance(LONGEST)
    for each in (browser, here, elsewhere):
        await assert_signed_in(each)
    assert (refreshes(two), two.emulator.reuse_events) == (asked + 1, 0)


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_hiccup_is_felt_as_a_pause(two, trouble):
    browser = two.browser()
    await browser.sign_in()
    if trouble == "nothing":  # for as long as a request waits at all
        browser = copy(browser, process(two, timeout=1))
    two.clock.advance(LIFETIME)
    two.emulator.faults.add("/oauth2/token", **TROUBLE[trouble])
    answer = await browser.fetch("GET", "/")
    assert answer.status_code == (503 if trouble == "429" else 200)  # the server asks for seven seconds
    assert two.emulator.reuse_events == 0


async def test_the_trouble_of_one_host_is_not_the_other_s(two):
    """One has the old secret; the other renews the session at once, and then the first serves it, too."""
    browser = two.browser()
    await browser.sign_in()
    sick = copy(browser, process(two, client_secret="the old one"))
    two.clock.advance(LIFETIME)
    await assert_unavailable(sick)
    await assert_signed_in(browser)
    await assert_signed_in(sick)
    assert two.emulator.reuse_events == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request waits for a pause."""
    monkeypatch.setattr(patience, "PATIENCE", 0.0)


async def test_whoever_waited_for_the_lease_does_not_ask_the_server_in_trouble_again(two, impatient):
    """DESIGN, D6: in a pause nobody asks; the processes that queue for the lease are somebody, too."""
    browser = two.browser()
    await browser.sign_in()
    others = [copy(browser, process(two)) for _ in range(3)]
    two.clock.advance(LIFETIME)
    with Hold() as hold:
        two.emulator.faults.add("/oauth2/token", status=500, before=hold)
        two.emulator.faults.add("/oauth2/token", status=500, times=None)
        first = asyncio.ensure_future(browser.fetch("GET", "/"))
        await hold.reached()
        owners, all_wait = set(), asyncio.Event()

        def see(key: str, new: bytes | None) -> None:
            owners.update({new} if key.startswith("lease:") else ())
            if len(owners) == len(others):
                all_wait.set()

        two.store.before = see
        rest = [asyncio.ensure_future(other.fetch("GET", "/")) for other in others]
        await all_wait.wait()
        two.store.before = None
        hold.release()
        answers = await asyncio.gather(first, *rest)
    assert [answer.status_code for answer in answers] == [503] * 4
    assert refreshes(two) == 1


async def test_a_response_lost_in_transit_costs_one_sign_in_and_no_loop(two):
    """The one exception: the server has spent the token, and nobody knows what it gave for it."""
    browser = two.browser()
    await browser.sign_in()
    two.clock.advance(LIFETIME)
    two.emulator.faults.add("/oauth2/token", drop="after")
    answer = await browser.fetch("GET", "/")
    assert (answer.status_code, answer.json()["reason"]) == (401, "ended")
    assert (await browser.navigate("/")).status_code == 303
    assert refreshes(two) == 2
    await browser.sign_in()
    await assert_signed_in(browser)


async def test_a_server_that_is_gone_for_a_minute(interrupted):
    """As after `kill -9`: connections break, then nobody listens, then it is back with what it knew."""
    site, server = interrupted
    people = [site.browser() for _ in range(3)]
    for browser in people:
        await browser.sign_in()
    expiry = site.clock() + LIFETIME
    site.clock.advance(LIFETIME - 30)
    with Hold() as hold:
        site.emulator.faults.add("/oauth2/token", before=hold, drop="before")
        first = asyncio.ensure_future(people[0].fetch("GET", "/"))
        await hold.reached()
        server.stop()
        assert (await first).status_code == 200  # its token lives for 30 s
    for _ in range(12):
        for browser in people:
            answer = await browser.navigate("/")
            assert answer.status_code == (200 if site.clock() < expiry else 503)
            assert "set-cookie" not in answer.headers
        site.clock.advance(5)
    server.start()
    site.clock.advance(LONGEST)
    for browser in people:
        await assert_signed_in(browser)
    assert (refreshes(site), site.emulator.reuse_events) == (1 + len(people), 0)


@pytest.mark.parametrize("skew", [90.0, -90.0])
async def test_a_server_whose_clock_is_wrong_renews_all_the_same(two, skew):
    browser = two.browser()
    await browser.sign_in()
    two.emulator.clock_skew = skew
    for _ in range(3):
        two.clock.advance(LIFETIME)
        await assert_signed_in(browser)
    assert (refreshes(two), two.emulator.reuse_events) == (3, 0)


# --- the circuit breaker ---


async def test_a_dead_server_is_asked_once_in_a_while_and_not_by_everybody(two, impatient):
    people = [two.browser() for _ in range(20)]
    for browser in people:
        await browser.sign_in()
    two.clock.advance(LIFETIME)
    two.emulator.faults.add("/oauth2/token", status=500, times=None)
    rest = iter(people)

    async def ask(number: int) -> list[int]:
        return [(await next(rest).fetch("GET", "/")).status_code for _ in range(number)]

    assert await ask(10) == [503] * 10
    assert refreshes(two) == FAILURES
    two.clock.advance(PAUSES[0])
    assert await ask(3) == [503] * 3
    assert refreshes(two) == FAILURES + 1  # one probe
    two.emulator.faults.clear()
    assert await ask(2) == [503] * 2
    two.clock.advance(PAUSES[1])
    assert await ask(5) == [200] * 5
    assert refreshes(two) == FAILURES + 1 + 5
    two.clock.advance(LONGEST)
    for browser in people:
        await assert_signed_in(browser)
    assert (refreshes(two), two.emulator.reuse_events) == (FAILURES + 1 + len(people), 0)


# --- the store ---


async def test_without_the_store_an_expired_session_waits_and_is_not_sent_round(two):
    browser = two.browser()
    await browser.sign_in()
    two.clock.advance(LIFETIME)
    two.store.down = True
    for _ in range(5):
        await assert_unavailable(browser)
    assert refreshes(two) == 0
    two.store.down = False
    await assert_signed_in(browser)
    assert (refreshes(two), two.emulator.reuse_events) == (1, 0)


@pytest.mark.parametrize("left", [LIFETIME, 100.0], ids=["fresh", "nearly expired"])
@pytest.mark.parametrize("local", [True, False])
async def test_without_the_store_a_living_cookie_session_goes_on_with_a_warning_a_minute(new_site, caplog, local, left):
    clock = Clock()
    kept = RemoteStore(clock=clock)
    kept.local = local
    site = new_site(store=kept, clock=clock)
    browser = site.browser()
    await browser.sign_in()
    clock.advance(LIFETIME - left)
    kept.down = True
    caplog.clear()
    for _ in range(8):
        await assert_signed_in(browser)
        clock.advance(10)
    warned = Counter(record.getMessage() for record in caplog.records if record.name == "lumin_middleware")
    assert set(warned.values()) == ({2} if local or left < LIFETIME else set())  # at 0 s and at 60 s
    assert refreshes(site) == 0


async def test_without_the_store_a_stored_session_waits(two):
    browser = two.browser()
    await browser.sign_in()
    two.store.down = True
    if two.config.sessions == "store":
        await assert_unavailable(browser)
    two.store.down = False
    await assert_signed_in(browser)


async def test_without_the_store_nobody_signs_in_and_no_code_is_spent(two):
    browser = two.browser()
    location = await browser.begin()
    callback = two.emulator.sign_in(location)
    two.store.down = True
    answer = await browser.navigate(callback)
    assert answer.status_code == 503
    assert SESSION not in browser.cookie_names()
    assert two.emulator.calls_to("/oauth2/token") == []


async def test_without_the_store_a_logout_says_so_and_clears_the_cookie(two):
    browser = two.browser()
    await browser.sign_in()
    two.store.down = True
    assert (await browser.log_out()).status_code == 503
    assert SESSION not in browser.cookie_names()


async def test_tokens_that_could_not_be_saved_at_once_are_not_lost_to_the_other_processes(new_site, each_sessions):
    """The store goes away while the server spends the old token, and is back after two seconds."""
    clock = RealClock()
    kept = RemoteStore(clock=clock)
    site = new_site(sessions=each_sessions, store=kept, clock=clock)
    browser = site.browser()
    await browser.sign_in()
    elsewhere = copy(browser, process(site))
    clock.advance(LIFETIME)
    loop, is_back = asyncio.get_running_loop(), asyncio.Event()

    def come_back() -> None:
        kept.down = False
        is_back.set()

    async def go_away() -> None:
        kept.down = True
        loop.call_soon_threadsafe(loop.call_later, 2.0, come_back)

    site.emulator.faults.add("/oauth2/token", after=go_away)
    await assert_signed_in(browser)  # by the process that has the tokens
    await is_back.wait()
    await assert_signed_in(elsewhere)
    assert (refreshes(site), site.emulator.reuse_events) == (1, 0)


# --- the client ---


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("way", ["task", "scope"])
async def test_a_client_that_disconnects_in_mid_renewal_loses_no_token(two, moment, way):
    """Before the server acts and after; cancelled as a task, and again and again as anyio's scopes do it."""
    browser = two.browser()
    await browser.sign_in()
    elsewhere = copy(browser, process(two))
    two.clock.advance(LIFETIME)
    scope = anyio.CancelScope()

    async def ask() -> None:
        with scope:
            await browser.fetch("GET", "/")

    with Hold() as hold:
        two.emulator.faults.add("/oauth2/token", **{moment: hold})
        task = asyncio.ensure_future(ask())
        await hold.reached()
        if way == "task":
            task.cancel()
        else:
            scope.cancel()
        await asyncio.wait([task])
        hold.release()
        await assert_signed_in(elsewhere)
    await assert_signed_in(browser)
    assert (refreshes(two), two.emulator.reuse_events) == (1, 0)


# --- what they need ---


class RealClock(Clock):
    """A clock that goes on by itself."""

    def __call__(self) -> float:
        return self.now + time.monotonic()


class Interrupted:
    """An emulator that can be taken off its port and put back."""

    def __init__(self, clock: Clock) -> None:
        self._stack = ExitStack()
        self.emulator = self._stack.enter_context(serve(clients=[CLIENT], clock=clock)).emulator

    def stop(self) -> None:
        self._stack.close()

    def start(self) -> None:
        port = httpx2.URL(self.emulator.base).port or 0
        self._stack.enter_context(serve(lambda base: self.emulator, port=port))


@pytest.fixture
async def interrupted() -> AsyncIterator[tuple[Site, Interrupted]]:
    clock = Clock()
    server = Interrupted(clock)
    site = Site(server.emulator, clock)
    yield site, server
    await site.aclose()
    server.stop()


@pytest.fixture(params=["cookie", "store"])
def each_sessions(request: pytest.FixtureRequest) -> str:
    """The kinds of sessions."""
    return str(request.param)
