"""GW: ASGI's contract, and HTTP's (GW-01, GW-02, GW-06)."""

from __future__ import annotations

import asyncio
import copy
import http.client
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from lumin_middleware import ConfigurationError, LuminMiddleware
from tests.acceptance.harness import (
    SESSION,
    call,
    cookie_header,
    http_scope,
    shake_hands,
    with_cookies,
)
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, Browser, Site


def behind(site: Site, app: Any) -> LuminMiddleware:
    """Another application behind the settings of this site."""
    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes.append(middleware)
    return middleware


async def jar(site: Site, app: LuminMiddleware, **person: Any) -> str:
    browser = Browser(app, site)
    await browser.sign_in("/auth/login", **person)
    return cookie_header(browser)


# --- GW-01 ----------------------------------------------------------------------------------------------


class Recorder:
    """An application that notes the scope and says nothing."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


async def nothing() -> Any:
    raise AssertionError("nobody asked")


async def ignore(message: Any) -> None:
    raise AssertionError(f"nobody answered, and yet {message} was sent")


@pytest.mark.parametrize("kind", ["unknown", "http.push", "tcp", ""])
async def test_gw_01_scopes_of_an_unknown_kind_pass_as_they_are(site, kind):
    recorder = Recorder()
    scope = {"type": kind, "anything": object(), "headers": [(b"x-auth-request-user", b"x")]}
    before = dict(scope)
    await behind(site, recorder)(scope, nothing, ignore)
    assert recorder.scopes == [scope]
    assert recorder.scopes[0] is scope
    assert scope == before


async def lifespan(app: Any, state: dict[str, Any] | None = None) -> list[str]:
    """A whole lifespan; the types of what was sent."""
    incoming = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[str] = []

    async def receive() -> Any:
        return incoming.pop()

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}}
    if state is not None:
        scope["state"] = state
    await app(scope, receive, send)
    return sent


async def test_gw_01_the_applications_lifespan_is_its_own(site):
    happened: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["pool"] = "of the application"
        happened.append("started")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        happened.append("stopped")
        await send({"type": "lifespan.shutdown.complete"})

    state: dict[str, Any] = {}
    sent = await lifespan(behind(site, app), state)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert happened == ["started", "stopped"]
    assert state == {"pool": "of the application"}


async def test_gw_01_an_application_without_a_lifespan_is_served_all_the_same(site):
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        return

    for app in (refuses, returns):
        assert await lifespan(behind(site, app)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_gw_01_a_lifespan_that_fails_fails(site):
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise RuntimeError("the database is gone")

    async def says_so(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the database is gone"})

    with pytest.raises(RuntimeError, match="database"):
        await lifespan(behind(site, fails))
    assert await lifespan(behind(site, says_so)) == ["lifespan.startup.failed"]


async def test_gw_01_what_the_lifespan_put_into_the_state_is_on_every_request_beside_ours(each_site):
    shared: dict[str, Any] = {"pool": object()}
    recorder = Recorder()
    app = behind(each_site, recorder)
    cookie = await jar(each_site, app)
    recorder.scopes.clear()
    for _ in range(2):
        scope = http_scope("/x", headers={**FETCH, "cookie": cookie}, state=shared)
        await app(scope, nothing, ignore)
    first, second = recorder.scopes
    assert first["state"]["pool"] is second["state"]["pool"] is shared["pool"]
    assert first["state"]["lumin"] is not second["state"]["lumin"]
    assert set(shared) == {"pool"}


async def test_gw_01_the_scope_that_came_in_is_not_changed(each_site):
    recorder = Recorder()
    app = behind(each_site, recorder)
    cookie = await jar(each_site, app)
    headers = ((b"cookie", cookie.encode()), (b"x-auth-request-user", b"root"), (b"accept", b"*/*"))
    for extra in ({}, {"state": {}}, {"user": 1, "auth": 2}):
        scope = http_scope("/x", headers=headers, **extra)
        scope["headers"] = tuple(headers)  # any iterable will do
        before = copy.deepcopy({key: value for key, value in scope.items() if key != "state"})
        state = scope.get("state")
        await app(scope, nothing, ignore)
        assert {key: value for key, value in scope.items() if key != "state"} == before
        assert state is None or state == {}


async def test_gw_01_headers_may_come_from_an_iterator(each_site):
    recorder = Recorder()
    app = behind(each_site, recorder)
    cookie = await jar(each_site, app)
    recorder.scopes.clear()
    scope = http_scope("/x")
    scope["headers"] = iter([(b"cookie", f"a=1; {cookie}".encode()), (b"x-other", b"1")])
    await app(scope, nothing, ignore)
    assert sorted(recorder.scopes[0]["headers"]) == [(b"cookie", b"a=1"), (b"x-other", b"1")]


async def test_gw_01_a_request_without_anything_optional_is_understood(each_site):
    app = behind(each_site, Recorder())
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.0", "method": "GET", "path": "/x"}
    await app({**scope, "query_string": b"", "headers": []}, nothing, send)
    assert sent[0]["status"] == 401
    sent.clear()
    nones = {"raw_path": None, "root_path": "", "client": None, "server": None, "scheme": "http", "extensions": None}
    await app({**scope, "query_string": b"", "headers": [], **nones}, nothing, send)
    assert sent[0]["status"] == 401


async def test_gw_01_several_cookie_headers_are_one(each_site):
    """HTTP/2 may split them (RFC 9113, 8.2.3)."""
    app = behind(each_site, Recorder())
    cookie = await jar(each_site, app)
    crumbs = [(b"cookie", crumb.strip().encode()) for crumb in f"a=1; {cookie}; b=2".split(";")]
    recorder = app.app
    recorder.scopes.clear()
    await app(http_scope("/x", headers=[(b"accept", b"*/*"), *crumbs]), nothing, ignore)
    [scope] = recorder.scopes
    assert scope["user"].is_authenticated
    joined = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    assert [part.strip() for part in joined.split(b";")] == [b"a=1", b"b=2"]


async def test_gw_01_messages_pass_in_both_directions_as_they_are(each_site):
    """Trailers, early hints, disconnects: whatever is not ours to change."""
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive(), await receive(), await receive()])
        await send({"type": "http.response.debug", "info": 1})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.pathsend", "path": "/x"})
        await send({"type": "http.response.body"})
        await send({"type": "http.response.trailers", "headers": [(b"x", b"1")]})

    middleware = behind(each_site, app)
    cookie = await jar(each_site, middleware)
    incoming = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"b"},
        {"type": "http.request", "body": b"a", "more_body": True},
    ]
    expected = list(reversed(incoming))
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await middleware(http_scope("/x", "POST", headers={**FETCH, "cookie": cookie}), receive, send)
    assert received == expected
    assert [message["type"] for message in sent] == [
        "http.response.debug",
        "http.response.start",
        "http.response.body",
        "http.response.pathsend",
        "http.response.body",
        "http.response.trailers",
    ]
    assert sent[1]["trailers"] is True


async def test_gw_01_identity_does_not_stay_on_a_connection(each_site, served):
    """Two requests on one keep-alive connection: the second comes without the cookie."""

    async def who(request: Request) -> Response:
        client = request.state.lumin
        return PlainTextResponse(str(client.subject if client else None))

    site = each_site.with_settings(optional=["/maybe"])
    app = behind(site, Starlette(routes=[Route("/maybe", who)]))
    cookie = await jar(site, app)
    port = served(app)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    bodies = []
    for headers in ({"Cookie": cookie}, {}, {"Cookie": cookie}, {"Cookie": f"{SESSION}=x"}):
        connection.request("GET", "/maybe", headers=headers)
        bodies.append(connection.getresponse().read().decode())
    connection.close()
    assert bodies[0] == bodies[2] != "None"
    assert bodies[1] == bodies[3] == "None"


# --- GW-02 ----------------------------------------------------------------------------------------------


async def sliding(site: Site, app: Any) -> tuple[LuminMiddleware, str]:
    """An application, and a cookie that the next answer must write again."""
    middleware = behind(site, app)
    cookie = await jar(site, middleware)
    site.clock.advance(site.config.idle_timeout / 2)
    return middleware, cookie


async def test_gw_02_chunks_leave_as_they_come_and_the_cookie_is_in_the_headers(each_site):
    gate = asyncio.Event()
    sent: list[Any] = []

    async def chunks() -> Any:
        yield b"data: 1\n\n"
        await gate.wait()
        yield b"data: 2\n\n"

    async def stream(request: Request) -> Response:
        return StreamingResponse(chunks(), media_type="text/event-stream")

    app, cookie = await sliding(each_site, Starlette(routes=[Route("/events", stream)]))

    async def receive() -> Any:
        await asyncio.Event().wait()

    arrived = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body") == b"data: 1\n\n":
            arrived.set()

    scope = http_scope("/events", headers={**FETCH, "cookie": cookie})
    task = asyncio.ensure_future(app(scope, receive, send))
    await arrived.wait()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    names = [value.partition(b"=")[0] for name, value in sent[0]["headers"] if name == b"set-cookie"]
    assert names == [SESSION.encode()]
    gate.set()
    await task
    assert sent[-1]["more_body"] is False


async def test_gw_02_an_event_stream_arrives_over_the_wire_as_it_is_sent(each_site, served):
    gate = threading.Event()

    async def chunks() -> Any:
        yield b"data: 1\n\n"
        while not gate.is_set():
            await asyncio.sleep(0.01)
        yield b"data: 2\n\n"

    async def stream(request: Request) -> Response:
        return StreamingResponse(chunks(), media_type="text/event-stream")

    app, cookie = await sliding(each_site, Starlette(routes=[Route("/events", stream)]))
    port = served(app)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        request = f"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        connection.sendall(request.encode())
        data = b""
        while b"data: 1" not in data:
            data += connection.recv(65536)
        assert b"data: 2" not in data
        assert f"set-cookie: {SESSION}=".lower().encode() in data.lower()
        gate.set()
        data += b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"data: 2" in data


async def test_gw_02_a_file_is_sent_as_a_file(each_site, tmp_path: Path):
    file = tmp_path / "contract.pdf"
    file.write_bytes(b"%PDF" + b"x" * 300_000)

    async def handler(request: Request) -> Response:
        return FileResponse(file)

    app, cookie = await sliding(each_site, Starlette(routes=[Route("/file", handler)]))
    answer = await call(app, "/file", headers={**FETCH, "cookie": cookie})
    assert answer.body == file.read_bytes()
    assert answer.header("content-length") == "300004"
    assert answer.header("etag")
    assert len([message for message in answer.messages if message["type"] == "http.response.body"]) > 3
    part = await call(app, "/file", headers={**FETCH, "cookie": cookie, "range": "bytes=0-3"})
    assert (part.status, part.body) == (206, b"%PDF")


async def test_gw_02_the_applications_own_cookies_survive_each_in_its_header(each_site):
    async def handler(request: Request) -> Response:
        response = PlainTextResponse("x")
        response.set_cookie("a", "1", expires="Wed, 21 Oct 2026 07:28:00 GMT")
        response.set_cookie("b", "2, 3")
        response.headers.append("set-cookie", "c=4; Path=/, d=5")
        response.headers.append("x-many", "1")
        response.headers.append("x-many", "2")
        return response

    app, cookie = await sliding(each_site, Starlette(routes=[Route("/x", handler)]))
    answer = await call(app, "/x", headers={**FETCH, "cookie": cookie})
    lines = answer.all("set-cookie")
    assert len(lines) == 4
    assert [line.partition("=")[0] for line in lines] == ["a", "b", "c", SESSION]
    assert lines[2] == "c=4; Path=/, d=5"
    assert answer.all("x-many") == ["1", "2"]


async def test_gw_02_an_answer_that_the_application_sends_again_carries_nobodys_cookie(each_site):
    """Many small applications keep their first message as a constant. What we add must not stay in it."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
    bare = {"type": "http.response.start", "status": 200}
    tuples = {"type": "http.response.start", "status": 200, "headers": ((b"content-type", b"text/plain"),)}
    before = copy.deepcopy([start, bare, tuples])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = {"/start": start, "/bare": bare, "/tuples": tuples}[scope["path"]]
        await send(message)
        await send({"type": "http.response.body", "body": b"x"})

    middleware, cookie = await sliding(each_site, app)
    for path in ("/start", "/bare", "/tuples"):
        first = await call(middleware, path, headers={**FETCH, "cookie": cookie})
        assert SESSION in first.set_cookies
        cookie = first.set_cookies[SESSION].partition(";")[0]
        each_site.clock.advance(each_site.config.idle_timeout / 2)
    assert [start, bare, tuples] == before
    people = list(each_site.emulator.users)
    other = await jar(each_site, middleware, sub=people[1])
    for path in ("/start", "/bare", "/tuples"):
        second = await call(middleware, path, headers={**FETCH, "cookie": other})
        assert second.set_cookies == {}, "that would be the first one's session"


async def test_gw_02_a_message_that_cannot_be_changed_is_no_trouble(each_site):
    """ASGI servers and frameworks may hand on whatever behaves like a mapping."""
    headers = [(b"x", b"1")]
    shared = copy.copy(headers)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": shared})
        await send({"type": "http.response.body", "body": b"x"})

    middleware, cookie = await sliding(each_site, app)
    await call(middleware, "/x", headers={**FETCH, "cookie": cookie})
    assert shared == headers


async def test_gw_02_the_cookie_is_written_once(each_site):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    middleware, cookie = await sliding(each_site, app)
    answer = await call(middleware, "/x", headers={**FETCH, "cookie": cookie})
    assert len(answer.all("set-cookie")) == 1
    assert answer.body == b"xxx"


async def test_gw_02_an_accepted_socket_carries_the_cookie_and_a_denied_one_is_the_applications(each_site):
    async def accepts(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x", b"1")]})
        await send({"type": "websocket.close", "code": 1000})

    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000, "reason": "its own"})

    for app, first in ((accepts, "websocket.accept"), (closes, "websocket.close")):
        middleware, cookie = await sliding(each_site, app)
        sent = await shake_hands(middleware, "/ws", headers={"origin": ORIGIN, "cookie": cookie})
        assert sent[0]["type"] == first
        if first == "websocket.accept":
            assert sent[0]["subprotocol"] == "chat"
            assert (b"x", b"1") in sent[0]["headers"]
            assert [name for name, _ in sent[0]["headers"]].count(b"set-cookie") == 1
        else:
            assert sent == [{"type": "websocket.close", "code": 4000, "reason": "its own"}]


async def test_gw_02_an_error_of_the_application_is_its_own(each_site):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("of the application")

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError("of the application")

    for broken in (app, late):
        middleware, cookie = await sliding(each_site, broken)
        with pytest.raises(ZeroDivisionError):
            await call(middleware, "/x", headers={**FETCH, "cookie": cookie})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_gw_02_the_body_of_a_request_reaches_the_application_whole(each_site, method):
    async def handler(request: Request) -> Response:
        return Response(await request.body())

    routes = [Route("/x", handler, methods=["GET", "POST"])]
    app, cookie = await sliding(each_site, Starlette(routes=routes))
    answer = await call(app, "/x", method=method, headers={**FETCH, "cookie": cookie}, body=b"\0\xff" * 5000)
    assert answer.body == b"\0\xff" * 5000


async def test_gw_02_head_of_our_own_pages_has_no_body(each_site):
    for path in ("/auth/logout", "/auth/session", "/x/../y"):
        answer = await call(each_site.middleware, path, method="HEAD")
        assert answer.body == b"", path
        assert answer.status in (200, 400, 401)


# --- GW-06 ----------------------------------------------------------------------------------------------


async def test_gw_06_twice_around_one_application_is_refused_at_the_start(each_site):
    with pytest.raises(ConfigurationError, match=r"twice|already|once"):
        LuminMiddleware(LuminMiddleware(Recorder(), each_site.config), each_site.config)


async def test_gw_06_nested_in_a_mounted_application_is_refused_loudly(each_site):
    """With another layer between, it can be seen only when a request passes."""

    async def page(request: Request) -> Response:
        return JSONResponse({})

    inner = behind(each_site, Starlette(routes=[Route("/page", page)]))
    app = behind(each_site, Starlette(routes=[Mount("/inner", inner)]))
    cookie = await jar(each_site, app)
    with pytest.raises(ConfigurationError, match="twice"):
        await call(app, "/inner/page", headers={**FETCH, "cookie": cookie})


async def test_gw_06_added_twice_to_one_starlette_application_is_refused_loudly(each_site, caplog):
    app = Starlette()
    for _ in range(2):
        app.add_middleware(LuminMiddleware, config=each_site.config)
    answer = await call(app, "/x", headers=NAVIGATION)
    assert answer.status == 500
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert "wrap it once" in caplog.text


async def test_gw_06_two_sites_side_by_side_are_two_sites(each_site):
    """Not nested: each below its own mount, with its own callback."""
    people = list(each_site.emulator.users)

    async def who(request: Request) -> Response:
        return JSONResponse({"subject": request.state.lumin.subject})

    one = behind(each_site, Starlette(routes=[Route("/who", who)]))
    app = Starlette(routes=[Mount("/one", one), Mount("/two", Recorder())])
    cookie = await jar(each_site, one, sub=people[1])
    answer = await call(app, "/one/who", headers={**FETCH, "cookie": cookie})
    assert people[1].encode() in answer.body


async def test_gw_a_browser_of_an_http_1_0_proxy_without_a_host_is_served(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    answer = await call(each_site.middleware, "/x", headers=with_cookies(browser), http_version="1.0", server=None)
    assert answer.status == 200
