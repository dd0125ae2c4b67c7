"""GW: what the two protocols ask of whoever stands between server and application."""

from __future__ import annotations

import asyncio
import copy
import threading
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from lumin_middleware import ConfigurationError
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.acceptance.harness import call, http_scope, shake_hands
from tests.edges.gateway import Connection, environ, serve
from tests.edges.rig import EDGES, Browser
from tests.site_rig import NAVIGATION, ORIGIN

SLIDE = 10_000  # seconds after which an answer carries the session's cookie again


def headers(browser: Browser, **more: str) -> dict[str, str]:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    return {**NAVIGATION, "cookie": cookie, **more}


# --- GW-01 ----------------------------------------------------------------------------------------------


async def test_gw_01_what_is_no_request_passes_as_it_is(edges):
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    edges.asgi_app.handler = app
    scope = {"type": "telegram", "asgi": {"version": "3.0"}}
    await edges.asgi(scope, None, None)
    assert seen[0] is scope


async def test_gw_01_the_lifespan_is_the_applications_and_shares_its_state(edges):
    said = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["pool"] = "open"
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    edges.asgi_app.handler = app
    incoming = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    state: dict[str, Any] = {}

    async def receive() -> Any:
        return incoming.pop()

    async def send(message: Any) -> None:
        said.append(message["type"])

    await edges.asgi({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert state == {"pool": "open"}


async def test_gw_01_nothing_of_one_request_is_there_in_the_next(edges):
    """A server gives the requests of a connection the same state, and may keep a scope."""
    browser = edges.browser("asgi")
    await browser.sign_in()
    kept = http_scope("/who", headers=headers(browser), state={"pool": "open"})
    before = copy.deepcopy(kept)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    edges.asgi_app.handler = answer
    await edges.asgi(kept, None, _ignore)
    assert kept == before
    signed_in = edges.asgi_app.requests[-1]
    assert signed_in["state"]["lumin"] is not None
    assert signed_in["state"]["pool"] == "open"
    anonymous = await call(edges.asgi, "/who", state=kept["state"])
    assert anonymous.status == 303
    assert kept["state"] == {"pool": "open"}


async def _ignore(message: Any) -> None:
    pass


async def test_gw_01_a_websocket_finds_its_client(edges):
    browser = edges.browser("asgi")
    await browser.sign_in()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    edges.asgi_app.handler = app
    sent = await shake_hands(edges.asgi, "/ws", headers=headers(browser, origin=ORIGIN))
    assert sent[0]["type"] == "websocket.accept"
    assert edges.asgi_app.requests[-1]["user"].is_authenticated


# --- GW-02 ----------------------------------------------------------------------------------------------


async def test_gw_02_an_answer_is_not_held_back_under_asgi(edges):
    """The first byte is out, with our cookie, while the application still waits for something."""
    browser = edges.browser("asgi")
    await browser.sign_in()
    edges.clock.advance(SLIDE)
    out, go_on = asyncio.Event(), asyncio.Event()
    sent = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            out.set()

    edges.asgi_app.handler = app
    running = asyncio.create_task(edges.asgi(http_scope("/events", headers=headers(browser)), None, send))
    await out.wait()
    assert b"set-cookie" in dict(sent[0]["headers"])
    assert sent[1]["body"] == b"data: 1\n\n"
    go_on.set()
    await running
    assert [message.get("body") for message in sent[1:]] == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_gw_02_an_answer_is_not_held_back_under_wsgi(edges):
    browser = edges.browser("wsgi")
    await browser.sign_in()
    edges.clock.advance(SLIDE)
    out, go_on = threading.Event(), threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"data: 1\n\n"
        go_on.wait()
        yield b"data: 2\n\n"

    class Slow(Connection):
        def write(self, data: bytes) -> None:
            super().write(data)
            out.set()

    edges.wsgi_app.handler = app
    connection = Slow()
    asked = environ("/events", headers=headers(browser))
    running = threading.Thread(target=lambda: connection.take(edges.wsgi(asked, connection.start_response)))
    running.start()
    out.wait()
    assert connection.chunks == [b"data: 1\n\n"]
    assert len(connection.all("set-cookie")) == 1
    go_on.set()
    running.join()
    assert connection.chunks == [b"data: 1\n\n", b"data: 2\n\n"]


# --- GW-04 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", ["cookie", "store"])
@pytest.mark.parametrize(("one", "other"), [EDGES, EDGES[::-1]])
async def test_gw_04_whoever_is_signed_in_at_one_edge_is_at_the_other(new_edges, sessions, one, other):
    site = new_edges(sessions=sessions)
    browser = site.browser(one)
    await browser.sign_in()
    token = (await browser.fetch("GET", "/token")).body
    browser.edge = other
    assert (await browser.fetch("GET", "/token")).body == token
    site.clock.advance(3600)
    renewed = (await browser.fetch("GET", "/token")).body
    browser.edge = one
    assert (await browser.fetch("GET", "/token")).body == renewed
    assert site.refreshes() == 1
    copied = dict(browser.jar)
    await browser.log_out()
    browser.jar, browser.edge = copied, other
    assert await browser.subject() is None
    assert site.reuse_events() == 0


@pytest.mark.parametrize(("one", "other"), [EDGES, EDGES[::-1]])
async def test_gw_04_a_login_begun_at_one_edge_ends_at_the_other(edges, one, other):
    browser = edges.browser(one)
    callback = edges.emulator.sign_in(await browser.begin("/page"))
    browser.edge = other
    assert (await browser.navigate(callback)).header("location") == "/page"
    browser.edge = one
    assert (await browser.navigate(callback)).header("location") == "/page"  # used, and known to be
    assert await browser.subject()


async def test_gw_04_both_edges_at_one_expiry_renew_once(edges):
    """The two halves of a site hold no lock in common but the store's lease."""
    browser = edges.browser("asgi")
    await browser.sign_in()
    edges.clock.advance(3600)
    halves = [edges.browser(EDGES[number % 2]) for number in range(20)]
    for half in halves:
        half.jar = dict(browser.jar)
    answers = await asyncio.gather(*(half.fetch("GET", "/token") for half in halves))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert edges.refreshes() == 1
    assert edges.reuse_events() == 0


# --- GW-06 ----------------------------------------------------------------------------------------------


async def test_gw_06_twice_in_a_row_is_an_error_at_once(edges):
    with pytest.raises(ConfigurationError, match="once"):
        AsgiMiddleware(edges.asgi, edges.config)
    with pytest.raises(ConfigurationError, match="once"):
        WsgiMiddleware(edges.wsgi, edges.config)


async def test_gw_06_a_second_one_further_in_is_an_error_when_it_is_reached(edges):
    inner = Starlette(routes=[Mount("/", app=edges.asgi_app)])
    outer = Starlette(
        routes=[Mount("/inner", app=AsgiMiddleware(inner, edges.config))],
        middleware=[Middleware(AsgiMiddleware, config=edges.config, clock=edges.clock)],
    )
    for edge in EDGES:
        await edges.browser(edge).sign_in()
    browser = edges.browser("asgi")
    await browser.sign_in()
    with pytest.raises(ConfigurationError, match="twice"):
        await call(outer, "/inner/page", headers=headers(browser))

    second = WsgiMiddleware(edges.wsgi_app, edges.config, clock=edges.clock)
    edges.wsgi_app.handler = second
    with pytest.raises(ConfigurationError, match="twice"):
        serve(edges.wsgi, environ("/inner", headers=headers(browser)))
