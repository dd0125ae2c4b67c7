"""The ASGI edge on its own: what it wraps, what it hands back, and the event loops that it runs on."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from types import MappingProxyType
from unittest.mock import AsyncMock

import flask
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.background import BackgroundTask
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from lumin_middleware import ConfigurationError, LuminMiddleware, lumin
from lumin_middleware.runtime.passage import MARK, Passage
from lumin_middleware.wsgi import LuminMiddleware as WSGILuminMiddleware
from tests.fakes import config
from tests.site_rig import FETCH, Browser


async def page(request: Request) -> PlainTextResponse:
    request.state.seen = "by the application"
    return PlainTextResponse("here")


# --- what it wraps --------------------------------------------------------------------------------------


def wsgi_application(environ, start_response):
    """Takes two arguments."""


class WsgiObject:
    def __call__(self, environ, start_response):
        """Takes two arguments."""


async def asgi_application(scope, receive, send):
    """Takes three."""


class AsgiObject:
    async def __call__(self, scope, receive, send):
        """Takes three."""


class StandIn:
    """What a test has in place of an application: whatever it is asked for, it has."""

    def __getattr__(self, name):
        return StandIn()


def test_a_stand_in_for_an_application_is_one():
    LuminMiddleware(StandIn(), config())


@pytest.mark.parametrize(
    "app",
    [wsgi_application, WsgiObject(), flask.Flask("tests")],
    ids=lambda app: getattr(app, "__name__", type(app).__name__),
)
def test_a_wsgi_application_in_the_asgi_class_is_told_at_start(app):
    with pytest.raises(ConfigurationError, match=r"lumin_middleware\.wsgi"):
        LuminMiddleware(app, config())
    WSGILuminMiddleware(app, config())


@pytest.mark.parametrize(
    "app", [asgi_application, AsgiObject(), Starlette()], ids=lambda app: getattr(app, "__name__", type(app).__name__)
)
def test_an_asgi_application_in_the_wsgi_class_is_told_at_start(app):
    with pytest.raises(ConfigurationError, match="ASGI"):
        WSGILuminMiddleware(app, config())
    LuminMiddleware(app, config())


@pytest.mark.parametrize("app", [lambda *anything: None, object()], ids=["any arguments", "no callable"])
def test_what_cannot_be_told_is_let_through(app):
    LuminMiddleware(app, config())
    WSGILuminMiddleware(app, config())


# --- what it hands back ---------------------------------------------------------------------------------


class Outer:
    """A middleware before ours, which counts what the router found."""

    def __init__(self, app, **given):
        self.app = app
        self.given = given

    async def __call__(self, scope, receive, send):
        self.scope = {**scope, **self.given}
        await self.app(self.scope, receive, send)


async def test_a_middleware_before_ours_sees_what_the_router_found(each_site):
    routes = [Mount("/below", routes=[Route("/{item}", page)])]
    inner = LuminMiddleware(Starlette(routes=routes), each_site.config, clock=each_site.clock)
    outer = each_site.middleware = Outer(inner)
    each_site.processes = [inner]
    browser = each_site.browser()
    await browser.sign_in("/below/one")
    assert (await browser.get("/below/one")).status_code == 200
    assert outer.scope["path_params"] == {"item": "one"}
    assert outer.scope["endpoint"] is page
    assert outer.scope["state"]["seen"] == "by the application"
    assert "lumin" not in outer.scope["state"]
    assert "user" not in outer.scope


async def test_it_sees_the_same_where_the_path_is_written_anew_for_the_application(new_site):
    """A server that leaves the mount out, before a path that holds it all the same: the application gets a copy."""
    site = new_site(redirect_uri="https://app.example.com/app/auth/callback", public=["/static/*"], emulator={})
    routes = [Mount("/static", routes=[Route("/{rest:path}", page)])]
    inner = LuminMiddleware(Starlette(routes=routes), site.config, clock=site.clock)
    outer = Outer(inner, root_path="/app")
    site.processes = [inner]
    answer = await Browser(outer, site).get("/static/app/x")
    assert answer.text == "here"
    assert outer.scope["path_params"] == {"rest": "app/x"}
    assert outer.scope["endpoint"] is page
    assert outer.scope["state"]["seen"] == "by the application"
    assert outer.scope["path"] == "/static/app/x"


@pytest.mark.parametrize(("needed", "status"), [("openid", 200), ("templates", 403)])
async def test_it_sees_it_with_the_first_byte(site, needed, status):
    """Which is when what measures asks for the route, be the answer the application's or ours in its place."""
    seen = []

    async def measured(scope, receive, send):
        async def watch(message):
            seen.append((message["type"], message.get("status"), scope.get("path_params")))
            await send(message)

        await inner(scope, receive, watch)

    async def needing(request: Request) -> PlainTextResponse:
        lumin(request).require(needed)
        return PlainTextResponse("here")

    inner = LuminMiddleware(Starlette(routes=[Route("/{item}", needing)]), site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(measured, site)
    await browser.sign_in("/one", scope="openid")
    seen.clear()
    await browser.fetch("GET", "/one")
    assert seen[0] == ("http.response.start", status, {"item": "one"})


def _replaced_state(scope):
    scope["state"] = {**scope["state"], "seen": "there"}


def _state_with_more(scope):
    scope["state"]["seen"] = "there"


def _path_params(scope):
    scope["path_params"] = {"item": "one"}


def _one_for_another(scope):
    del scope["server"]
    scope["endpoint"] = page


def _added_and_changed(scope):
    scope["route"] = "/{item}"
    scope["path_params"] = {"item": "one"}


def _added_and_put_anew(scope):
    scope["route"] = "/{item}"
    scope["path"] = scope.pop("path")


class Uncomparable(tuple):
    def __eq__(self, other):
        raise ValueError("the truth of this is ambiguous")

    __hash__ = None


def _uncomparable(scope):
    scope["client"] = Uncomparable(("192.0.2.6", 1))


@pytest.mark.parametrize(
    ("changes", "given", "name", "is_by_the_first_byte"),
    [
        (_state_with_more, {}, "state", True),
        (_state_with_more, {"state": {"outer": 1}}, "state", True),
        (_state_with_more, {"state": None}, "state", True),
        (_state_with_more, {"state": ()}, "state", True),
        (_replaced_state, {}, "state", True),
        (_path_params, {}, "path_params", True),
        (_path_params, {"path_params": {}}, "path_params", False),
        (_added_and_changed, {"path_params": {}}, "path_params", True),
        (_added_and_put_anew, {}, "route", True),
        (_one_for_another, {}, "endpoint", True),
        (_uncomparable, {"client": Uncomparable(("192.0.2.7", 1))}, "client", False),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
async def test_what_an_application_does_to_its_scope_is_there_by_the_first_byte_or_the_end(
    site, changes, given, name, is_by_the_first_byte, fails
):
    """Also where it lets an error of ours out, which is answered in its place."""
    seen = []

    async def app(scope, receive, send):
        changes(scope)
        seen.append(scope[name])
        if fails:
            lumin(scope).require("templates")
        await PlainTextResponse("here")(scope, receive, send)

    async def measured(scope, receive, send):
        async def watch(message):
            seen.append(scope.get(name))
            await send(message)

        scope.update(given)
        await inner(scope, receive, watch)
        seen.append(scope.get(name))

    inner = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(measured, site)
    await browser.sign_in("/one", scope="openid")
    seen.clear()
    assert (await browser.fetch("GET", "/one")).status_code == (403 if fails else 200)
    gave, first, *_, last = seen

    def is_there(found):
        return found is not None and found["seen"] == "there" if name == "state" else found is gave

    assert is_there(first) or not is_by_the_first_byte
    assert is_there(last)


async def test_a_prefix_that_a_mount_took_off_is_there_with_the_first_byte(site):
    """What names a metric puts it before the route."""
    seen = []

    async def measured(scope, receive, send):
        async def watch(message):
            seen.append((scope["root_path"], scope.get("path_params")))
            await send(message)

        await inner(scope, receive, watch)

    routes = [Mount("/below", routes=[Route("/{item}", page)])]
    inner = LuminMiddleware(Starlette(routes=routes), site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(measured, site)
    await browser.sign_in("/below/one")
    seen.clear()
    await browser.fetch("GET", "/below/one")
    assert seen[0] == ("/below", {"item": "one"})


@pytest.mark.parametrize(
    "state", [State({"a": 1}), State(), [1, 2], object(), None], ids=["one", "empty", "list", "object", "none"]
)
async def test_a_state_that_is_no_mapping_is_the_application_s_own(site, state):
    """And leaves nothing open."""
    clients = []

    async def app(scope, receive, send):
        clients.append(lumin(scope))
        scope["state"] = state
        await StreamingResponse(iter(["data: x\n\n"]), media_type="text/event-stream")(scope, receive, send)

    inner = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(inner, site)
    await browser.sign_in("/one")
    before = asyncio.all_tasks()
    assert (await browser.fetch("GET", "/one")).text == "data: x\n\n"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert "closed" in repr(clients[-1])


async def test_what_is_said_after_the_end_goes_out_and_changes_nothing(site):
    late, said = [], []

    async def app(scope, receive, send):
        async def later():
            await over.wait()
            scope["late"] = scope["state"]["late"] = True
            await PlainTextResponse("late", media_type="text/event-stream")(scope, receive, send)

        late.append(asyncio.create_task(later()))
        if scope["path"] == "/refused":
            lumin(scope).require("templates")

    async def server(scope, receive, send):
        async def told(message):
            said.append(message)
            if not over.is_set():
                await send(message)

        await inner(scope, receive, told)
        scopes.append(scope)

    inner = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [inner]
    browser, over, scopes = Browser(server, site), asyncio.Event(), []
    await browser.sign_in("/public", scope="openid")
    said.clear()
    assert (await browser.fetch("GET", "/refused")).status_code == 403
    before = asyncio.all_tasks() - {*late}
    over.set()
    await asyncio.gather(*late)
    assert b"cache-control" not in dict(said[-2]["headers"])
    assert not any("late" in scope or "late" in scope.get("state", {}) for scope in scopes)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("name", ["user", "state"])
async def test_nothing_of_a_request_is_left_to_the_collector(site, name):
    """Where an application puts what leads round to us in the place of what is ours."""

    async def app(scope, receive, send):
        if name == "state":
            scope["state"]["lumin"] = send
        else:
            scope[name] = send
        await PlainTextResponse("here")(scope, receive, send)

    inner = LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(inner, site)
    await browser.sign_in("/one")
    gc.collect()
    gc.disable()
    try:
        await browser.fetch("GET", "/one")
        left = [each for each in gc.get_objects() if type(each) is Passage]
    finally:
        gc.enable()
    assert not left


async def test_the_page_that_was_asked_for_is_kept_before_its_scope_is_changed(site):
    """Where a router below another's mount has changed it by the first byte; and a server may name no client."""

    async def app(scope, receive, send):
        scope |= {"endpoint": page, "path": "/rewritten", "raw_path": b"/rewritten", "client": ("192.0.2.6", 1)}
        lumin(scope).require("templates")

    async def server(scope, receive, send):
        scope["endpoint"] = "another's"
        del scope["client"]
        seen.append(scope)
        await inner(scope, receive, send)

    seen, inner = [], LuminMiddleware(app, site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(server, site)
    await browser.sign_in("/one", scope="openid")
    answer = await browser.fetch("GET", "/one")
    assert "return_to=/one" in answer.json()["login_url"]
    assert (seen[-1]["path"], seen[-1]["client"]) == ("/rewritten", ("192.0.2.6", 1))


@pytest.mark.parametrize("plainly", [True, False])
async def test_what_an_application_writes_anew_is_not_what_was_asked_for(each_site, plainly):
    """A prefix that it takes off, the method that a form names: a person comes back to the page that they wanted."""

    async def needing(request: Request) -> PlainTextResponse:
        lumin(request).require("templates")
        return PlainTextResponse("here")

    router = Starlette(routes=[Route("/{item}", needing, methods=["PUT"])])

    async def rewriting(scope, receive, send):
        scope |= {"method": "PUT", "path": scope["path"].removeprefix("/en")}
        scope["raw_path"] = scope["path"].encode()
        await router(scope, receive, send)

    inner = LuminMiddleware(rewriting, each_site.config, clock=each_site.clock)
    outer = each_site.middleware = Outer(inner)
    each_site.processes = [inner]
    browser = each_site.browser()
    await browser.sign_in("/", scope="openid")
    browser.cookies.delete(f"{each_site.config.session_cookie}-tries")  # as a browser does, a minute after the sign-in
    answer = await browser.fetch("GET", "/en/one" if plainly else "/en/one?state=x")
    assert answer.status_code == 403
    assert "return_to=/en/one" in answer.json()["login_url"]
    assert (outer.scope["method"], outer.scope["path"]) == ("PUT", "/one")


CLOSER_LOOKS = {
    "a handshake": {"type": "websocket"},
    "passed already": {MARK: None},
    "a mount": {"root_path": "/app"},
    "an answer of the server's": {"query_string": b"code=x&state=y"},
    "a query that is text": {"query_string": ""},
    "a raw path that is another": {"raw_path": b"/other"},
    "an escaped path": {"raw_path": b"/%6Fne"},
    "a path that is another": {"path": "/other"},
    "a route of ours": {"path": "/auth/session", "raw_path": b"/auth/session"},
}


@pytest.mark.parametrize("change", CLOSER_LOOKS.values(), ids=CLOSER_LOOKS.keys())
async def test_what_is_not_written_plainly_takes_a_closer_look(each_site, change):
    """Even if all else of it was looked at before."""
    scopes = []
    app = Starlette(routes=[Route("/one", page)])
    inner = LuminMiddleware(app, each_site.config, clock=each_site.clock)
    app.root_path = "/app"
    below = LuminMiddleware(app, each_site.config, clock=each_site.clock)

    async def server(scope, receive, send):
        scopes.append({**scope})
        await inner(scope, receive, send)

    each_site.middleware, each_site.processes = server, [inner]
    browser = each_site.browser()
    await browser.sign_in("/one")
    browser.cookies.delete(f"{each_site.config.session_cookie}-tries")  # as a browser does, a minute after the sign-in
    for _ in range(2):
        assert (await browser.fetch("GET", "/one")).status_code == 200
    plain = scopes[-1]
    assert inner._at_once({**plain}, None, None) is not None
    assert inner._at_once({**plain, **change}, None, None) is None
    await below({**plain, "path": "/auth/session"}, AsyncMock(), AsyncMock())
    assert below._at_once({**plain}, None, None) is None


def _without(name):
    return lambda scope: {key: value for key, value in scope.items() if key != name}


WRITTEN_IN_OTHER_WAYS = {
    "no raw path": _without("raw_path"),
    "an empty raw path": lambda scope: {**scope, "raw_path": None},
    "a raw path that is changeable": lambda scope: {**scope, "raw_path": bytearray(scope["raw_path"])},
    "no query": _without("query_string"),
    "an empty query": lambda scope: {**scope, "query_string": None},
    "no root path": _without("root_path"),
    "headers in a tuple": lambda scope: {**scope, "headers": tuple(scope["headers"])},
    "headers that are read once": lambda scope: {**scope, "headers": iter(scope["headers"])},
}


@pytest.mark.parametrize("written", WRITTEN_IN_OTHER_WAYS.values(), ids=WRITTEN_IN_OTHER_WAYS.keys())
async def test_a_server_may_leave_out_what_it_has_not_and_say_it_in_its_own_way(each_site, written):
    inner = LuminMiddleware(Starlette(routes=[Route("/one", page)]), each_site.config, clock=each_site.clock)

    async def server(scope, receive, send):
        await inner(written(scope) if scope["type"] == "http" and not scope["query_string"] else scope, receive, send)

    each_site.middleware, each_site.processes = server, [inner]
    browser = each_site.browser()
    await browser.sign_in("/one")
    browser.cookies.delete(f"{each_site.config.session_cookie}-tries")  # as a browser does, a minute after the sign-in
    for _ in range(2):  # after a closer look, and at once
        answer = await browser.fetch("GET", "/one")
        assert (answer.status_code, answer.text) == (200, "here")


async def test_it_sees_what_a_router_below_another_s_mount_found(site):
    """Which puts it in the place of what the outer one found."""
    seen = []

    async def item(request: Request) -> PlainTextResponse:
        return PlainTextResponse("here")

    class Measured:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def watch(message):
                seen.append((scope.get("endpoint"), scope.get("path_params")))
                await send(message)

            await self.app(scope, receive, watch)

    inner = LuminMiddleware(Starlette(routes=[Route("/items/{id}", item)]), site.config, clock=site.clock)
    outer = Starlette(routes=[Mount("/t/{tenant}", Measured(inner))])
    site.processes = [inner]
    browser, signed_in = Browser(outer, site), Browser(inner, site)
    await signed_in.sign_in("/items/2")
    browser.cookies = signed_in.cookies
    assert (await browser.fetch("GET", "/t/1/items/2")).text == "here"
    assert seen[0] == (item, {"tenant": "1", "id": "2"})


@pytest.mark.parametrize("before", [{}, {"own": "of the lifespan"}], ids=["alone", "beside others"])
async def test_what_it_notes_in_the_state_meanwhile_stays(site, before):
    state = {"status": None, **before}
    own = {}

    async def measured(scope, receive, send):
        async def watch(message):
            if message["type"] == "http.response.start":
                state["status"] = own["noted"] = message["status"]
            await send(message)

        own.update(scope, state=state, noted=None)
        await inner(own, receive, watch)

    async def page_and_more(request: Request) -> PlainTextResponse:
        request.state.before = "the first byte"

        async def more() -> None:
            request.state.after = request.scope["found"] = "the last"

        return PlainTextResponse("here", background=BackgroundTask(more))

    inner = LuminMiddleware(Starlette(routes=[Route("/", page_and_more)]), site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(measured, site)
    await browser.sign_in("/")
    await browser.fetch("GET", "/")
    assert state == {"status": 200, **before, "before": "the first byte", "after": "the last"}
    assert (own["noted"], own["found"]) == (200, "the last")


async def test_what_it_puts_in_the_place_of_something_is_there_at_the_end(site):
    async def renamed(scope, receive, send):
        scope["client"] = ("203.0.113.9", 1)
        await PlainTextResponse("here")(scope, receive, send)

    outer = Outer(LuminMiddleware(renamed, site.config, clock=site.clock))
    site.processes = [outer.app]
    browser = Browser(outer, site)
    await browser.sign_in("/one")
    assert (await browser.get("/one")).text == "here"
    assert outer.scope["client"] == ("203.0.113.9", 1)


async def test_a_state_that_nobody_may_write_is_read(site):
    async def given(scope, receive, send):
        await inner({**scope, "state": MappingProxyType({"own": 1})}, receive, send)

    async def own(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"own {request.state.own}")

    inner = LuminMiddleware(Starlette(routes=[Route("/", own)]), site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(given, site)
    await browser.sign_in("/")
    assert (await browser.get("/")).text == "own 1"


@pytest.mark.parametrize("kind", [tuple, iter, list])
async def test_it_sees_it_whichever_way_the_headers_come(site, kind):
    outer = Outer(None)

    async def given(scope, receive, send):
        await outer({**scope, "headers": kind(scope["headers"])}, receive, send)

    outer.app = inner = LuminMiddleware(Starlette(routes=[Route("/{item}", page)]), site.config, clock=site.clock)
    site.processes = [inner]
    browser = Browser(given, site)
    await browser.sign_in("/one")
    assert (await browser.get("/one")).status_code == 200
    assert outer.scope["path_params"] == {"item": "one"}


async def test_whom_a_middleware_before_ours_found_stays_on_a_public_page(each_site):
    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.display_name)

    app = Starlette(routes=[Route("/healthz", who), Route("/", who)])
    settings = replace(each_site.config, public=["/healthz"])
    inner = LuminMiddleware(app, settings, clock=each_site.clock)
    each_site.middleware = Outer(inner, user=SimpleUser("from a token"), auth=AuthCredentials(["machine"]))
    each_site.processes = [inner]
    browser = each_site.browser()
    assert (await browser.get("/healthz", headers=FETCH)).text == "from a token"
    await browser.sign_in()
    assert (await browser.get("/", headers=FETCH)).text == "Mira Halden"


# --- on which event loops -------------------------------------------------------------------------------


def test_another_event_loop_is_told_at_start_and_at_a_request():
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    # As a loop does that is not asyncio's.
    middleware = LuminMiddleware(asgi_application, config())
    with pytest.raises(ConfigurationError, match="asyncio"):
        middleware({"type": "lifespan"}, receive, send).send(None)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "asyncio" in sent[0]["message"]
    with pytest.raises(StopIteration):
        middleware({"type": "http", "path": "/", "headers": [], "method": "GET"}, receive, send).send(None)
    assert sent[1]["status"] == 500
