"""The ASGI edge on its own: what it wraps, what it hands back, and the event loops that it runs on."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import flask
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from lumin_middleware import ConfigurationError, LuminMiddleware, lumin
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
