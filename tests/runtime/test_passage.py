"""Long connections end with their session; a session that ends at work becomes the challenge."""

import asyncio
import logging
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.websockets import WebSocket

from lumin_middleware import LoginRequired, LuminMiddleware, lumin
from lumin_middleware.runtime import passage, watch
from lumin_middleware.runtime.event_loop import AsyncWorld
from lumin_middleware.stores import MemoryStore
from tests.fakes import config
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, Browser


def cookie(browser):
    return "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)


def asked(path, browser=None):
    """A request as a server hands it over."""
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [] if browser is None else [(b"cookie", cookie(browser).encode())],
    }


class Socket:
    """The client's end of a WebSocket, spoken to the application in ASGI's own words."""

    def __init__(self, app, browser, **changes):
        headers = {"host": "app.example.com", "origin": ORIGIN, "cookie": cookie(browser), **changes.pop("headers", {})}
        self.scope = {
            "type": "websocket",
            "path": "/socket",
            "raw_path": b"/socket",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
            **changes,
        }
        self.inbox: asyncio.Queue = asyncio.Queue()
        self.outbox: asyncio.Queue = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(self.scope, self.inbox.get, self.outbox.put))

    async def next(self):
        return await asyncio.wait_for(self.outbox.get(), PATIENCE)

    async def say(self, text):
        await self.inbox.put({"type": "websocket.receive", "text": text})

    async def leave(self):
        await self.inbox.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, PATIENCE)


async def echo(scope, receive, send):
    """Says who it is, then repeats what it hears together with a token that is valid now."""
    socket = WebSocket(scope, receive, send)
    await socket.accept()
    await socket.send_text(scope["state"]["lumin"].subject)
    async for text in socket.iter_text():
        await socket.send_text(f"{text} {len(await scope['state']['lumin'].access_token())}")


@pytest.fixture
def socket_site(each_site):
    each_site.middleware = LuminMiddleware(echo, each_site.config, clock=each_site.clock)
    each_site.processes = [each_site.middleware]
    return each_site


async def open_socket(site):
    browser = site.browser()
    await browser.sign_in()
    socket = Socket(site.middleware, browser)
    assert (await socket.next())["type"] == "websocket.accept"
    assert (await socket.next())["text"]
    return browser, socket


async def test_a_socket_of_somebody_who_signs_out_is_closed_at_once(socket_site):
    browser, socket = await open_socket(socket_site)
    await browser.log_out()
    assert await socket.next() == {"type": "websocket.close", "code": 4401, "reason": "the session has ended"}
    await asyncio.wait_for(socket.task, PATIENCE)


async def test_an_end_that_is_announced_during_a_look_is_heard_at_once(monkeypatch):
    """The look that is under way may have asked the store before the end was there."""
    monkeypatch.setattr(watch, "WATCH_PAUSE", 10 * PATIENCE)
    asked = []

    async def is_over():
        asked.append(None)
        world.announce_end("session")
        return len(asked) > 1

    world = AsyncWorld(config(), MemoryStore(), time.time)
    watched = watch.Watch(SimpleNamespace(session=SimpleNamespace(id="session"), is_over=is_over), world, None, set())
    async with asyncio.timeout(PATIENCE):
        await watched._task
    assert watched.over
    await world.aclose(asyncio.get_running_loop().time() + PATIENCE)


async def test_a_socket_is_closed_when_the_session_ended_in_another_process(socket_site, monkeypatch):
    monkeypatch.setattr(watch, "WATCH_PAUSE", 0.01)
    browser, socket = await open_socket(socket_site)
    elsewhere = socket_site.with_settings()
    other = Browser(elsewhere.middleware, socket_site)
    other.cookies = browser.cookies
    await other.log_out()
    assert (await socket.next())["code"] == 4401
    await asyncio.wait_for(socket.task, PATIENCE)


async def test_a_socket_is_closed_at_the_absolute_limit(socket_site, monkeypatch):
    monkeypatch.setattr(watch, "WATCH_PAUSE", 0.01)
    _, socket = await open_socket(socket_site)
    socket_site.clock.advance(socket_site.config.absolute_timeout)
    assert (await socket.next())["code"] == 4401


async def test_a_renewal_does_not_disturb_a_socket(socket_site, monkeypatch):
    monkeypatch.setattr(watch, "WATCH_PAUSE", 0.01)
    browser, socket = await open_socket(socket_site)
    for _ in range(3):
        socket_site.clock.advance(3600)
        await socket.say("still here")
        assert (await socket.next())["text"] == "still here 94"
    assert len(socket_site.emulator.calls_to("/oauth2/token")) == 4
    await socket.leave()
    assert (await browser.navigate("/auth/session")).status_code == 200
    assert socket_site.emulator.reuse_events == 0


async def test_a_socket_of_nobody_is_denied_with_the_answer_where_the_server_can_send_it(socket_site):
    nobody = socket_site.browser()
    socket = Socket(socket_site.middleware, nobody, extensions={"websocket.http.response": {}})
    start, body = await socket.next(), await socket.next()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert b"no_session" in body["body"]


DENIAL = [
    {"type": "websocket.http.response.start", "status": 500, "headers": []},
    {"type": "websocket.http.response.body"},
]
WORDS = {"closes": [{"type": "websocket.close", "code": 4500}], "denies": DENIAL}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("can_deny", [False, True])
async def test_a_framework_that_keeps_an_error_of_ours_to_itself_has_it_answered(new_site, words, can_deny):
    """Litestar closes, and Quart denies, whatever was raised before the handshake was accepted."""
    site = new_site(optional=["/socket"])

    async def app(scope, receive, send):
        await receive()
        try:
            lumin(scope)
        except LoginRequired:
            for word in words:
                await send(dict(word))

    site.middleware = LuminMiddleware(app, site.config, clock=site.clock)
    extensions = {"websocket.http.response": {}} if can_deny else {}
    said = await Socket(site.middleware, site.browser(), extensions=extensions).next()
    assert (said.get("status"), said.get("code")) == ((401, None) if can_deny else (None, 4401))


@pytest.mark.parametrize("then", [None, ZeroDivisionError, LoginRequired])
@pytest.mark.parametrize("path", ["/page", "/free"])
async def test_an_answer_of_the_applications_waits_for_nothing_that_comes_behind_it(new_site, path, then):
    """A background task, or what a framework does with an error after it has been told."""
    site = new_site(public=["/free"])
    browser = site.browser()
    await browser.sign_in()
    said, arrived = [], asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
        if then is not None:
            raise then("behind it")

    async def send(message):
        await asyncio.sleep(0)
        said.append(message)
        if message["type"] == "http.response.body":
            arrived.set()

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    with pytest.raises(then) if then else nullcontext():
        await middleware(asked(path, browser), asyncio.Event().wait, send)
    assert [each.get("status", each.get("body")) for each in said] == [500, b"sorry"]
    await middleware.aclose()


async def test_what_follows_a_500_that_was_held_goes_out_behind_it(new_site):
    site = new_site(public=["/free"])
    said, begun, goes_on = [], asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"sorry"})
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        goes_on.set()
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    async def send(message):
        begun.set()
        await goes_on.wait()
        await asyncio.sleep(0)  # a client that takes its time
        said.append(message["type"].removeprefix("http.response."))

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/free"), asyncio.Event().wait, send)
    assert said == ["start", "body", "trailers"]
    await middleware.aclose()


class Slow(MemoryStore):
    """A store that another machine has, and that answers as long as `held` is set."""

    local = False
    blocking = True
    held = threading.Event()

    def get(self, key):
        assert self.held.wait(PATIENCE)
        return super().get(key)


@pytest.fixture
async def due(new_site):
    """A site whose store waits, and a browser that is to get a cookie with its next answer."""
    site = new_site(store=Slow(), idle_timeout=600)
    site.config.store.held.set()
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(61)
    site.config.store.held.clear()
    return site, browser


@pytest.mark.parametrize("gives_up", [False, True])
async def test_whatever_comes_behind_a_cookie_that_is_asked_about_stays_behind_it(due, gives_up):
    """Where an application starts its answer in one task and goes on in another, or gives up waiting for it."""
    site, browser = due
    said = []

    async def app(scope, receive, send):
        start = asyncio.ensure_future(send({"type": "http.response.start", "status": 200, "headers": []}))
        await asyncio.sleep(0)
        if gives_up:
            start.cancel()
        body = asyncio.ensure_future(send({"type": "http.response.body", "body": b"here"}))
        await asyncio.sleep(0)
        site.config.store.held.set()
        await asyncio.wait([start, body])

    async def send(message):
        said.append(message)

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/page", browser), asyncio.Event().wait, send)
    assert [each.get("status", each.get("body")) for each in said] == [200, b"here"]
    assert b"set-cookie" in dict(said[0]["headers"])
    await middleware.aclose()


async def test_what_tasks_say_goes_out_in_the_order_in_which_they_said_it(due):
    """Also what is said while that which waited goes out."""
    site, browser = due
    pieces = [b"%d" % number for number in range(20)]
    said = []

    async def app(scope, receive, send):
        saying = [asyncio.create_task(send({"type": "http.response.start", "status": 200, "headers": []}))]
        for number, piece in enumerate(pieces):
            message = {"type": "http.response.body", "body": piece, "more_body": piece is not pieces[-1]}
            saying.append(asyncio.create_task(send(message)))
            await asyncio.sleep(0)
            if number == 5:
                site.config.store.held.set()
                while not said:  # from here on one more for each step of the loop
                    await asyncio.sleep(0)
        await asyncio.gather(*saying)

    async def send(message):
        said.append(message.get("status") or message["body"])

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/page", browser), asyncio.Event().wait, send)
    assert said == [200, *pieces]
    await middleware.aclose()


async def test_a_500_that_tasks_say_goes_out_in_their_order(new_site):
    site, said = new_site(public=["/free"]), []

    async def app(scope, receive, send):
        start = send({"type": "http.response.start", "status": 500, "headers": []})
        body = send({"type": "http.response.body", "body": b"sorry"})
        await body
        await start

    async def send(message):
        said.append(message.get("status") or message["body"])

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/free"), asyncio.Event().wait, send)
    assert said == [500, b"sorry"]
    await middleware.aclose()


async def test_a_500_that_comes_in_pieces_is_not_held_to_its_end(new_site):
    site, heard = new_site(public=["/free"]), asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
        await send({"type": "http.response.body", "body": b"two"})

    said = []

    async def send(message):
        said.append(message.get("status") or message["body"])
        if message.get("body") == b"one":
            heard.set()

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/free"), asyncio.Event().wait, send)
    assert said == [500, b"one", b"two"]
    await middleware.aclose()


async def test_a_cancellation_of_ours_is_taken_back_once_and_another_s_never():
    async def serves():
        await asyncio.Event().wait()

    serving = asyncio.create_task(serves())
    await asyncio.sleep(0)
    ending = watch.Ending(serving)
    ending.end()
    assert ending.takes_back()
    serving.cancel()
    assert not ending.takes_back()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_the_head_of_a_large_500_is_not_lost_with_the_send_that_was_given_up(due):
    site, browser = due
    said = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        piece = {"type": "http.response.body", "body": b"x" * (passage.HELD_LIMIT + 1), "more_body": True}
        with anyio.move_on_after(0):
            await send(piece)
        site.config.store.held.set()
        await send({"type": "http.response.body", "body": b"y"})

    async def send(message):
        said.append(message.get("status") or message["body"][:1])

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    await middleware(asked("/page", browser), asyncio.Event().wait, send)
    assert said == [500, b"x", b"y"]
    await middleware.aclose()


async def test_an_application_s_error_is_its_own_though_nobody_takes_its_answer(new_site):
    site = new_site(public=["/free"])
    tried = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        async with asyncio.timeout(PATIENCE):
            await tried.wait()
        raise ZeroDivisionError

    async def send(message):
        tried.set()
        raise OSError("the client has gone")

    middleware = LuminMiddleware(app, site.config, clock=site.clock)
    with pytest.raises(ZeroDivisionError):
        await middleware(asked("/free"), asyncio.Event().wait, send)
    await middleware.aclose()


@pytest.mark.parametrize("can_deny", [False, True])
async def test_a_handshake_can_be_refused_with_a_challenge(new_site, can_deny):
    site = new_site()
    browser = site.browser()
    await browser.sign_in()

    async def app(scope, receive, send):
        await receive()
        await lumin(scope).challenge(scope="templates")(scope, receive, send)

    site.middleware = LuminMiddleware(app, site.config, clock=site.clock)
    extensions = {"websocket.http.response": {}} if can_deny else {}
    said = await Socket(site.middleware, browser, extensions=extensions).next()
    assert (said["type"], said.get("status"), said.get("code")) == (
        ("websocket.http.response.start", 403, None) if can_deny else ("websocket.close", None, 4403)
    )


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
async def test_what_an_application_says_of_its_own_to_a_handshake_it_says(new_site, words):
    site = new_site(optional=["/socket"])

    async def app(scope, receive, send):
        await receive()
        for word in words:
            await send(dict(word))

    site.middleware = LuminMiddleware(app, site.config, clock=site.clock)
    socket = Socket(site.middleware, site.browser(), extensions={"websocket.http.response": {}})
    assert [await socket.next() for _ in words] == words


async def test_what_a_server_leaves_empty_is_empty(socket_site):
    """ASGI, WebSocket Connection Scope: a query string that is None, and no extensions."""
    empty = {"query_string": None, "extensions": None}
    assert (await Socket(socket_site.middleware, socket_site.browser(), **empty).next())["code"] == 4401
    browser, _ = await open_socket(socket_site)
    assert (await Socket(socket_site.middleware, browser, **empty).next())["type"] == "websocket.accept"


async def test_elsewhere_it_is_closed(socket_site):
    assert (await Socket(socket_site.middleware, socket_site.browser()).next())["code"] == 4401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://app.example.com.evil.example"])
async def test_another_site_cannot_open_a_socket(socket_site, origin):
    browser = socket_site.browser()
    await browser.sign_in()
    assert (await Socket(socket_site.middleware, browser, headers={"origin": origin}).next())["code"] == 4403


async def test_an_event_stream_ends_with_its_session(each_site):
    begun = asyncio.Event()

    async def events():
        yield "data: first\n\n"
        begun.set()
        await asyncio.Event().wait()

    async def handler(request):
        return StreamingResponse(events(), media_type="text/event-stream")

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    stream = asyncio.ensure_future(browser.get("/events", headers=FETCH))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await browser.log_out()
    answer = await asyncio.wait_for(stream, 10)
    assert (answer.status_code, answer.text) == (200, "data: first\n\n")


async def reads(socket, opened):
    await opened.wait()
    async for text in socket.iter_text():
        await socket.send_text(text)


async def opens(socket, opened):
    await socket.accept()
    await socket.send_text("hello")
    opened.set()


@pytest.mark.parametrize("group", [asyncio.TaskGroup, anyio.create_task_group])
async def test_a_socket_that_tasks_of_the_application_serve_is_closed_with_its_session(each_site, group):
    async def app(scope, receive, send):
        socket, opened = WebSocket(scope, receive, send), asyncio.Event()
        async with group() as tasks:
            for work in (reads, opens):
                if isinstance(tasks, asyncio.TaskGroup):
                    tasks.create_task(work(socket, opened))
                else:
                    tasks.start_soon(work, socket, opened)

    each_site.middleware = LuminMiddleware(app, each_site.config, clock=each_site.clock)
    each_site.processes = [each_site.middleware]
    browser, socket = await open_socket(each_site)
    await browser.log_out()
    assert (await asyncio.wait_for(socket.next(), PATIENCE))["code"] == 4401
    await asyncio.wait_for(socket.task, PATIENCE)


BEGUN = {
    "http": [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]},
        {"type": "http.response.body", "body": b"data: first", "more_body": True},
    ],
    "websocket": [{"type": "websocket.accept"}],
}
GOES_ON = {
    "http": {"type": "http.response.body", "body": b"data: late", "more_body": True},
    "websocket": {"type": "websocket.send", "text": "late"},
}


async def hears_the_end(receive, kind):
    while (await receive())["type"] != f"{kind}.disconnect":
        pass


@pytest.fixture(params=["http", "websocket"])
async def served(request, site):
    """What has a request served by an application for as long as it likes, and what its browser was told."""
    kind = request.param
    apps = [echo]

    async def app(scope, receive, send):
        await apps[-1](scope, receive, send)

    site.middleware = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [site.middleware]
    browser = site.browser()
    await browser.sign_in()
    inbox, said = asyncio.Queue(), []
    if kind == "websocket":
        inbox.put_nowait({"type": "websocket.connect"})

    async def send(message):
        said.append(message)

    def serve(app):
        apps.append(app)
        headers = [(b"cookie", cookie(browser).encode()), (b"origin", ORIGIN.encode())]
        scope = {**asked("/long"), "type": kind, "headers": headers}
        return asyncio.ensure_future(site.middleware(scope, inbox.get, send))

    return kind, browser, said, serve


async def test_what_a_framework_serves_in_tasks_of_its_own_ends_with_the_session(served):
    """As Django and Quart do: one that hears that nobody is there ends the others, and no cancellation reaches them."""
    kind, browser, said, serve = served
    begun, ended, heard = asyncio.Event(), asyncio.Event(), []

    async def app(scope, receive, send):
        async def listens():
            await hears_the_end(receive, kind)
            heard.append((await receive())["type"])  # and once more

        async def works():
            for message in BEGUN[kind]:
                await send(message)
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        tasks = [asyncio.create_task(work()) for work in (listens, works)]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await send(GOES_ON[kind])

    serving = serve(app)
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await browser.log_out()
        await serving
        await ended.wait()
    assert heard == [f"{kind}.disconnect"]
    assert len(said) == len(BEGUN[kind]) + 1
    assert said[-1].get("code", said[-1].get("body")) in (4401, b"")


async def test_who_does_not_listen_is_cut_short_and_says_nothing_more(served, monkeypatch):
    monkeypatch.setattr(watch, "GRACE", 0.05)
    kind, browser, said, serve = served
    begun, over = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        async def is_deaf():
            await hears_the_end(receive, kind)
            over.set()
            await asyncio.Event().wait()

        deaf = asyncio.create_task(is_deaf())
        for message in BEGUN[kind]:
            await send(message)
        begun.set()
        try:
            await over.wait()
            while True:
                await send(GOES_ON[kind])
                await asyncio.sleep(0)
        finally:
            deaf.cancel()

    serving = serve(app)
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await asyncio.sleep(0)
        await browser.log_out()
        await serving
    assert len(said) == len(BEGUN[kind]) + 1
    assert said[-1].get("code", said[-1].get("body")) in (4401, b"")


async def test_an_event_stream_that_somebody_else_cancels_is_cancelled(site, browser):
    begun = asyncio.Event()

    async def events():
        yield "data: first\n\n"
        begun.set()
        await asyncio.Event().wait()

    async def handler(request):
        return StreamingResponse(events(), media_type="text/event-stream")

    await browser.sign_in()
    site.app.handler = handler
    stream = asyncio.ensure_future(browser.get("/events", headers=FETCH))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream


async def call_the_api(request):
    return JSONResponse((await request.state.lumin.get("user/info")).json())


async def call_it_twice_at_once(request):
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(call_the_api(request))
    raise AssertionError


async def call_it_in_groups(request):
    async with anyio.create_task_group() as outer:
        outer.start_soon(call_it_twice_at_once, request)
    raise AssertionError


def whole_application(site, endpoint=call_the_api):
    """A Starlette application wrapped from outside: it answers 500 before it lets the error out."""
    app = Starlette(routes=[Route("/{rest:path}", endpoint)])
    site.middleware = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes.append(site.middleware)
    return site.browser()


@pytest.mark.parametrize("endpoint", [call_the_api, call_it_twice_at_once, call_it_in_groups])
@pytest.mark.parametrize(("headers", "status"), [(NAVIGATION, 303), (FETCH, 401)])
async def test_a_session_that_ends_at_work_is_the_challenge_and_not_a_500(each_site, headers, status, endpoint):
    browser = whole_application(each_site, endpoint)
    await browser.sign_in()
    each_site.emulator.revoke_all()
    assert (await browser.get("/x", headers=headers)).status_code == status


async def test_what_the_application_hands_back_leaves_a_line_of_its_own(site, browser, caplog):
    async def handler(request):
        request.state.lumin.require("templates")

    await browser.sign_in()
    site.app.handler = handler
    with caplog.at_level(logging.DEBUG, "lumin_middleware"):
        await browser.get("/x", headers=FETCH)
    lines = [line for line in caplog.messages if "GET '/x'" in line]
    assert [line.partition(";")[0] for line in lines] == [
        "passed: GET '/x' went on to the application",
        "insufficient_scope: GET '/x' was answered 403",
    ]


async def test_a_fault_of_the_application_s_own_is_not_hidden_by_an_error_of_ours_beside_it(site, browser):
    async def handler(request):
        raise ExceptionGroup("at work", [LoginRequired("over"), ZeroDivisionError()])

    await browser.sign_in()
    site.app.handler = handler
    with pytest.raises(ExceptionGroup, match="at work"):
        await browser.navigate("/x")


async def test_a_500_of_the_application_s_own_is_the_application_s(site, browser):
    async def handler(request):
        return PlainTextResponse("broken", 500)

    await browser.sign_in()
    site.app.handler = handler
    answer = await browser.navigate("/x")
    assert (answer.status_code, answer.text) == (500, "broken")


async def test_an_application_that_handles_the_end_of_the_session_has_its_say(site, browser):
    async def handler(request):
        try:
            return await call_the_api(request)
        except LoginRequired:
            return PlainTextResponse("come back soon", 200)

    await browser.sign_in()
    site.app.handler = handler
    site.emulator.revoke_all()
    assert (await browser.navigate("/x")).text == "come back soon"


ITERABLES = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "map": lambda headers: map(tuple, headers),
    "items": lambda headers: dict(headers).items(),
}


@pytest.mark.parametrize("of", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize("control", [b"", b"no-store"])
@pytest.mark.parametrize("renewed", [False, True])
async def test_an_answer_s_headers_may_be_any_iterable(site, browser, of, control, renewed):
    own = [(b"content-type", b"text/plain"), (b"x-own", b"1"), *([(b"cache-control", control)] if control else [])]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": of(own)})
        await send({"type": "http.response.body", "body": b"hello"})

    await browser.sign_in()
    site.middleware.app = app
    if renewed:
        site.clock.advance(3600)
    answer = await browser.navigate("/x")
    assert (answer.status_code, answer.headers["content-type"], answer.headers["x-own"]) == (200, "text/plain", "1")
    assert ("set-cookie" in answer.headers) == renewed
    assert answer.headers["cache-control"] == (control.decode() or ("private" if renewed else "private, no-cache"))


@pytest.mark.parametrize("of", ITERABLES.values(), ids=ITERABLES)
async def test_so_may_those_of_a_handshake(site, of):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "headers": of([(b"x-own", b"1")])})

    browser = site.browser()
    await browser.sign_in()
    site.middleware.app = app
    accepted = await Socket(site.middleware, browser).next()
    assert (accepted["type"], list(accepted["headers"])) == ("websocket.accept", [(b"x-own", b"1")])
