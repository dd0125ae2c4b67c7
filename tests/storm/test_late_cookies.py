"""Whoever comes with an old cookie finds the newest tokens, and spends no old one."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from lumin_middleware import LuminMiddleware
from lumin_middleware.emulator import DEMO_USERS
from tests.site_rig import ORIGIN, SESSION, Browser, Site
from tests.storm.sites import LIFETIME, ask_the_api, copy, process, refreshes, same_browser

HOUR = 3600.0


async def seen(browser: Browser) -> dict[str, Any]:
    """What the application saw of a request that it answered."""
    answer = await browser.fetch("GET", "/")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["api"] == 200
    return found


# --- late ---


@pytest.mark.parametrize("left", [0.0, 100.0], ids=["expired", "nearly expired"])
async def test_a_cookie_from_before_a_renewal_finds_its_tokens_in_another_process(each_kind, left):
    browser = each_kind.browser()
    await browser.sign_in()
    old = copy(browser, each_kind)
    each_kind.clock.advance(LIFETIME - left)
    renewed = await seen(browser)
    for seconds in (0, 5, 55):  # 0 s, 5 s and 60 s after it
        each_kind.clock.advance(seconds)
        late = copy(old, process(each_kind))
        assert await seen(late) == renewed
        assert await seen(late) == renewed  # with whatever cookie it was given
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


async def test_a_cookie_from_before_two_renewals_finds_the_newest_tokens_six_hours_later(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()
    late = copy(browser, process(each_kind))
    each_kind.clock.advance(LIFETIME)
    await seen(browser)
    each_kind.clock.advance(5.5 * HOUR)
    newest = await seen(browser)
    each_kind.clock.advance(0.5 * HOUR)
    assert await seen(late) == newest
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (2, 0)


async def test_a_late_cookie_whose_successor_has_expired_too_renews_the_newest(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()
    late = copy(browser, process(each_kind))
    for _ in range(2):
        each_kind.clock.advance(LIFETIME)
        await seen(browser)
    each_kind.clock.advance(LIFETIME)
    newest = await seen(late)
    assert await seen(browser) == newest
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (3, 0)


async def test_no_answer_to_a_late_cookie_takes_the_browser_back(each_kind):
    """A slow answer that arrives last must not leave an older cookie in the jar."""
    browser = each_kind.browser()
    await browser.sign_in()
    other = process(each_kind)
    late = copy(browser, other)
    for _ in range(3):
        each_kind.clock.advance(LIFETIME)
        await seen(browser)
    newest = await seen(browser)
    answer = await late.fetch("GET", "/")
    overwritten = same_browser(browser, other)
    for line in answer.headers.get_list("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        overwritten.cookies.set(name, value, domain="app.example.com", path="/")
    assert await seen(overwritten) == newest
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (3, 0)


async def test_a_renewal_whose_answer_was_lost_is_found_with_the_old_cookie(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()
    old = copy(browser, each_kind)
    each_kind.clock.advance(LIFETIME)
    lost = await seen(browser)
    elsewhere = copy(old, process(each_kind))
    assert await seen(old) == lost  # in the same process,
    assert await seen(elsewhere) == lost  # and in another
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


# --- after the headers went out ---


async def test_a_renewal_inside_a_stream_is_found_by_the_next_request(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()
    each_kind.app.handler = stream_over_an_expiry(each_kind)
    answer = await browser.fetch("GET", "/")
    assert (answer.status_code, answer.text) == (200, "200 200 ")
    assert "set-cookie" not in answer.headers
    each_kind.app.handler = ask_the_api
    before = browser.cookies[SESSION]
    first = await seen(same_browser(browser, process(each_kind)))
    assert await seen(browser) == first
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)
    assert (browser.cookies[SESSION] != before) == (each_kind.config.sessions == "cookie")


def stream_over_an_expiry(site: Site) -> Any:
    """Answers with a stream that asks the API, before and after the token's life ends."""

    async def answer(request: Request) -> Response:
        async def asked() -> AsyncIterator[str]:
            yield f"{(await request.state.lumin.get('user/info')).status_code} "
            site.clock.advance(LIFETIME)
            yield f"{(await request.state.lumin.get('user/info')).status_code} "

        return StreamingResponse(asked())

    return answer


async def test_a_renewal_inside_a_websocket_is_found_by_the_next_request(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        for seconds in (0, LIFETIME):
            each_kind.clock.advance(seconds)
            await websocket.send_text(str((await websocket.state.lumin.get("user/info")).status_code))
        await websocket.close()

    middleware = LuminMiddleware(application, each_kind.config, clock=each_kind.clock)
    each_kind.processes.append(middleware)
    sent = await connect(middleware, browser)
    assert [message["type"] for message in sent] == ["websocket.accept", *["websocket.send"] * 2, "websocket.close"]
    assert [message["text"] for message in sent[1:3]] == ["200", "200"]
    assert not [name for name, _ in sent[0]["headers"] if name == b"set-cookie"]
    await seen(browser)
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


async def test_a_renewal_at_the_handshake_gives_the_browser_its_cookie(each_kind):
    browser = each_kind.browser()
    await browser.sign_in()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await WebSocket(scope, receive, send).accept()

    middleware = LuminMiddleware(application, each_kind.config, clock=each_kind.clock)
    each_kind.processes.append(middleware)
    each_kind.clock.advance(LIFETIME)
    [accepted] = await connect(middleware, browser)
    assert any(
        name == b"set-cookie" and value.startswith(SESSION.encode() + b"=") for name, value in accepted["headers"]
    )
    await seen(browser)
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


async def connect(middleware: LuminMiddleware, browser: Browser) -> list[dict[str, Any]]:
    """What a WebSocket of this browser is sent, until the application has had enough."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
    headers = [(b"origin", ORIGIN.encode()), (b"cookie", cookies.encode())]
    scope = {"type": "websocket", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await middleware(scope, receive, send)
    return sent


# --- two people ---


async def test_two_people_at_the_same_instant_get_only_their_own_tokens(each_kind):
    ada, grace = DEMO_USERS[:2]
    chance = random.Random(6749)
    each_kind.app.handler = ask_slowly(chance)
    sites = [each_kind, process(each_kind)]
    browsers = {}
    for person in (ada, grace):
        browsers[person.sub] = each_kind.browser()
        await browsers[person.sub].sign_in(sub=person.sub)
    for _ in range(20):  # times 50 are the 1,000 interleavings
        each_kind.clock.advance(LIFETIME)
        people = [sub for sub in browsers for _ in range(50)]
        chance.shuffle(people)
        answers = await asyncio.gather(
            *(same_browser(browsers[sub], chance.choice(sites)).fetch("GET", "/") for sub in people)
        )
        for sub, answer in zip(people, answers, strict=True):
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert {found["subject"], found["asked"] or sub} == {sub}
            assert {owner(each_kind, token) for token in found["tokens"]} == {sub}
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (40, 0)


def ask_slowly(chance: random.Random) -> Any:
    """Answers with the tokens that a request was given over some time, and now and then with what the API says."""

    async def answer(request: Request) -> Response:
        client = request.state.lumin
        tokens = []
        for _ in range(3):
            tokens.append(await client.access_token())
            for _ in range(chance.randrange(10)):
                await asyncio.sleep(0)
        asked = (await client.get("user/info")).json()["user"]["id"] if chance.random() < 0.05 else None
        return JSONResponse({"subject": client.subject, "tokens": tokens, "asked": asked})

    return answer


def owner(site: Site, access_token: str) -> str:
    token = site.emulator.grants.find_token(access_token, "access_token")
    assert token is not None
    return token.grant.user.sub


# --- keys ---

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


@pytest.fixture
def at_old_key(each_kind: Site) -> Site:
    """The site as it is before its key is changed."""
    return process(each_kind, secret_key=OLD)


async def test_a_key_is_changed_while_processes_of_both_sides_of_each_step_run(at_old_key):
    """First every process learns to read the new key, then they seal with it, then the old one goes."""
    browser = at_old_key.browser()
    await browser.sign_in()
    steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
    for before, after in pairwise(steps):
        for _ in range(2):
            for keys in (before, after):
                await seen(same_browser(browser, process(at_old_key, secret_key=keys)))
                at_old_key.clock.advance(LIFETIME)
    assert at_old_key.emulator.reuse_events == 0
    assert refreshes(at_old_key) == 11  # the first request of the twelve found a token that was fresh


async def test_what_passes_is_sealed_with_the_new_key(at_old_key):
    browser = at_old_key.browser()
    await browser.sign_in()
    found = await seen(same_browser(browser, process(at_old_key, secret_key=[NEW, OLD])))
    later = same_browser(browser, process(at_old_key, secret_key=[NEW]))
    assert await seen(later) == found
    at_old_key.clock.advance(LIFETIME)
    await seen(later)


async def test_a_renewed_session_that_passes_is_sealed_with_the_new_key(at_old_key):
    browser = at_old_key.browser()
    await browser.sign_in()
    at_old_key.clock.advance(LIFETIME)
    await seen(browser)  # now there is a record in the store, whatever the kind of sessions
    found = await seen(same_browser(browser, process(at_old_key, secret_key=[NEW, OLD])))
    later = same_browser(browser, process(at_old_key, secret_key=[NEW]))
    assert await seen(later) == found
    at_old_key.clock.advance(LIFETIME)
    await seen(later)


async def test_a_process_that_has_only_the_old_key_goes_on_with_what_that_sealed(at_old_key):
    browser = at_old_key.browser()
    new = process(at_old_key, secret_key=[NEW, OLD])
    await new.browser().sign_in()
    await browser.sign_in()
    for _ in range(3):
        await seen(browser)
        at_old_key.clock.advance(LIFETIME)
    assert (refreshes(at_old_key), at_old_key.emulator.reuse_events) == (2, 0)


async def test_a_process_that_has_only_the_old_key_harms_nothing_that_the_new_one_sealed(at_old_key):
    """It cannot know the session; it must neither spend its tokens nor take it from those who do."""
    browser = at_old_key.browser()
    await browser.sign_in()
    late = copy(browser, at_old_key)
    new = same_browser(browser, process(at_old_key, secret_key=[NEW, OLD]))
    at_old_key.clock.advance(LIFETIME)
    found = await seen(new)
    for stranger in (copy(new, at_old_key), late):
        answer = await stranger.fetch("GET", "/")
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
    assert await seen(new) == found
    assert (refreshes(at_old_key), at_old_key.emulator.reuse_events) == (1, 0)
