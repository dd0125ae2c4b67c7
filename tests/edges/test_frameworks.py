"""`lumin(request)` in each framework, and what becomes of an error of ours that nobody handles.

Starlette and FastAPI answer 500 before they let an error out, Litestar, Quart and Flask keep it to themselves, Django
needs `lumin_middleware.django.ChallengeMiddleware` (see `test_django`). Whichever it is, the person gets our answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any

import flask
import litestar
import pytest
import quart
from fastapi import Depends, FastAPI
from litestar.params import PathParameter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lumin_middleware import AsyncLuminClient, LoginRequired, LuminConfig, lumin
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.edges.rig import Browser, Site, end_lifespan
from tests.site_rig import Clock

Make = Callable[[LuminConfig, Clock], Any]
SignedIn = Annotated[AsyncLuminClient, Depends(lumin)]


async def _name(client: Any) -> str:
    return str((await client.get("user/info")).json()["user"]["name"])


async def _work(what: str, request: Any, clock: Clock) -> str:
    """What a handler does: reads the client, needs a permission, or takes longer than its token lives."""
    client = lumin(request)
    match what:
        case "scoped":
            client.require("sign:requests templates")
        case "late":
            clock.now += 4000
            await client.access_token()
        case "refused":
            clock.now += 1800
            answer = await client.get("user/info")
            raise ValueError(f"the API answered {answer.status_code}, for which the application has no answer")
        case "broken":
            raise ValueError("a mistake of the application's own")
    return str(client.subject)


def _work_blocking(what: str, request: Any, clock: Clock) -> str:
    client = lumin(request).blocking
    match what:
        case "scoped":
            client.require("sign:requests templates")
        case "late":
            clock.now += 4000
            client.access_token()
        case "refused":
            clock.now += 1800
            answer = client.get("user/info")
            raise ValueError(f"the API answered {answer.status_code}, for which the application has no answer")
        case "broken":
            raise ValueError("a mistake of the application's own")
        case "name":
            return str(client.get("user/info").json()["user"]["name"])
    return str(client.subject)


# --- the same page in each ------------------------------------------------------------------------------


async def _starlette_page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await _name(lumin(request)))


def _starlette(clock: Clock) -> Starlette:
    async def work(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await _work(request.path_params["what"], request, clock))

    def blocking(request: Request) -> PlainTextResponse:
        return PlainTextResponse(_work_blocking(request.path_params["what"], request, clock))

    pages = [Route("/", _starlette_page), Route("/do/{what}", work), Route("/def/{what}", blocking)]
    return Starlette(routes=pages)


def starlette_added(config: LuminConfig, clock: Clock) -> Any:
    app = _starlette(clock)
    app.add_middleware(AsgiMiddleware, config=config, clock=clock)
    return app


def starlette_wrapped(config: LuminConfig, clock: Clock) -> Any:
    return AsgiMiddleware(_starlette(clock), config, clock=clock)


def _fastapi(clock: Clock) -> FastAPI:
    app = FastAPI(responses=lumin.responses)

    @app.get("/")
    async def page(client: SignedIn) -> str:
        return await _name(client)

    @app.get("/do/{what}")
    async def work(what: str, request: Request) -> str:
        return await _work(what, request, clock)

    @app.get("/def/{what}")
    def blocking(what: str, request: Request) -> str:
        return _work_blocking(what, request, clock)

    return app


def fastapi_added(config: LuminConfig, clock: Clock) -> Any:
    app = _fastapi(clock)
    app.add_middleware(AsgiMiddleware, config=config, clock=clock)
    return app


def fastapi_wrapped(config: LuminConfig, clock: Clock) -> Any:
    return AsgiMiddleware(_fastapi(clock), config, clock=clock)


def litestar_wrapped(config: LuminConfig, clock: Clock) -> Any:
    @litestar.get("/")
    async def page(request: litestar.Request[Any, Any, Any]) -> str:
        return await _name(lumin(request))

    @litestar.get("/do/{what:str}")
    async def work(what: Annotated[str, PathParameter()], request: litestar.Request[Any, Any, Any]) -> str:
        return await _work(what, request, clock)

    @litestar.get("/def/{what:str}", sync_to_thread=True)
    def blocking(what: Annotated[str, PathParameter()], request: litestar.Request[Any, Any, Any]) -> str:
        return _work_blocking(what, request, clock)

    for each in (page, work, blocking):  # they are read outside of this function
        each.fn.__annotations__["request"] = litestar.Request
    for each in (work, blocking):
        each.fn.__annotations__["what"] = Annotated[str, PathParameter()]
    return AsgiMiddleware(litestar.Litestar([page, work, blocking], logging_config=None), config, clock=clock)


def quart_wrapped(config: LuminConfig, clock: Clock) -> Any:
    app = quart.Quart("tests")

    @app.get("/")
    async def page() -> str:
        return await _name(lumin(quart.request))

    @app.get("/do/<what>")
    async def work(what: str) -> str:
        return await _work(what, quart.request, clock)

    @app.get("/def/<what>")
    def blocking(what: str) -> str:
        return _work_blocking(what, quart.request, clock)

    app.asgi_app = AsgiMiddleware(app.asgi_app, config, clock=clock)
    return app


def _flask(config: LuminConfig, clock: Clock) -> flask.Flask:
    app = flask.Flask("tests")

    @app.get("/")
    def page() -> str:
        return str(lumin(flask.request).get("user/info").json()["user"]["name"])

    @app.get("/do/<what>")
    @app.get("/def/<what>")
    def work(what: str) -> str:
        return _work_blocking(what, flask.request, clock)

    app.wsgi_app = WsgiMiddleware(app.wsgi_app, config, clock=clock)
    return app


def flask_plain(config: LuminConfig, clock: Clock) -> Any:
    return _flask(config, clock)


def flask_with_a_handler(config: LuminConfig, clock: Clock) -> Any:
    app = _flask(config, clock)
    app.register_error_handler(LoginRequired, lambda error: lumin(flask.request).challenge())
    return app


def flask_that_propagates(config: LuminConfig, clock: Clock) -> Any:
    app = _flask(config, clock)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


ASGI: list[Make] = [
    starlette_added,
    starlette_wrapped,
    fastapi_added,
    fastapi_wrapped,
    litestar_wrapped,
    quart_wrapped,
]
WSGI: list[Make] = [flask_plain, flask_with_a_handler, flask_that_propagates]


@pytest.fixture(params=[*ASGI, *WSGI], ids=lambda make: make.__name__)
async def browser(request: pytest.FixtureRequest, edges: Site) -> AsyncIterator[Browser]:
    """A browser at a site that is written with this framework."""
    config = replace(edges.config, public=["/do/public", "/def/public"], optional=["/do/optional", "/def/optional"])
    app, asgi, wsgi = request.param(config, edges.clock), edges.asgi, edges.wsgi
    if request.param in ASGI:
        edges.asgi = app
        yield edges.browser("asgi")
        await end_lifespan(app)
        edges.asgi = asgi
    else:
        edges.wsgi = app
        yield edges.browser("wsgi")
        app.wsgi_app.close()
        edges.wsgi = wsgi


async def test_the_request_of_the_framework_has_the_client(browser):
    for person in list(browser.site.emulator.users.values())[:2]:
        await browser.sign_in("/" if not browser.jar else "/auth/login", sub=person.sub)
        answer = await browser.navigate("/")
        assert answer.status == 200
        assert person.name in answer.body.decode()


async def test_a_login_required_that_nobody_handles_becomes_a_sign_in(browser):
    await browser.sign_in()
    browser.site.emulator.revoke_all()
    answer = await browser.navigate("/?x=1")
    assert answer.status == 303
    back = await browser.navigate(browser.site.emulator.sign_in(answer.header("location") or ""))
    assert back.header("location") == "/?x=1"
    browser.site.emulator.revoke_all()
    assert (await browser.fetch("GET", "/")).status == 401


async def test_our_routes_work_although_the_framework_has_none_of_them(browser):
    assert (await browser.fetch("GET", "/auth/session")).status == 401
    await browser.sign_in()
    assert (await browser.fetch("GET", "/auth/session")).status == 200
    assert (await browser.navigate("/nothing/here")).status == 404
    await browser.log_out()
    assert (await browser.fetch("GET", "/")).status == 401


@pytest.mark.parametrize("way", ["do", "def"])
class TestErrorsThatTheApplicationLetsThrough:
    """None of them is a 500 of the application's, whoever answers it."""

    @pytest.mark.parametrize("page", ["public", "optional"])
    async def test_nobody_on_an_open_page(self, browser, way, page):
        assert (await browser.navigate(f"/{way}/{page}")).status == 303
        assert (await browser.fetch("GET", f"/{way}/{page}")).status == 401

    async def test_somebody_on_a_page_where_they_are_looked_for(self, browser, way):
        await browser.sign_in(f"/{way}/optional")
        assert (await browser.navigate(f"/{way}/optional")).status == 200

    async def test_somebody_on_a_page_where_nobody_looks_does_not_go_round_in_circles(self, browser, way, caplog):
        back = await browser.sign_in(f"/{way}/public")
        assert back.header("location") == f"/{way}/public"
        assert (await browser.navigate(f"/{way}/public")).status == 500
        assert "make it optional" in caplog.text

    async def test_a_permission_that_is_missing(self, browser, way):
        await browser.sign_in()
        answer = await browser.fetch("GET", f"/{way}/scoped")
        assert (answer.status, json.loads(answer.body)["reason"]) == (403, "insufficient_scope")
        assert json.loads(answer.body)["scope"] == "templates"

    async def test_a_token_that_runs_out_at_work_while_the_server_is_down(self, browser, way):
        await browser.sign_in()
        browser.site.emulator.faults.add("/oauth2/token", status=503, headers={"Retry-After": "60"}, times=None)
        answer = await browser.fetch("GET", f"/{way}/late")
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "server_unavailable")
        assert int(answer.header("retry-after")) > 0

    async def test_a_session_that_is_ended_at_work(self, browser, way):
        await browser.sign_in()
        browser.site.emulator.revoke_all()
        assert (await browser.fetch("GET", f"/{way}/late")).status == 401
        assert (await browser.navigate(f"/{way}/late")).status == 303

    @pytest.mark.parametrize("what", ["broken", "refused"])
    async def test_what_is_the_application_s_own_stays_its_own(self, browser, way, what):
        """Also where the API refused a token and no other could be had: all that the application met is a 401."""
        await browser.sign_in()
        browser.site.emulator.faults.add("/v1/user/info", status=401, times=None)
        browser.site.emulator.faults.add("/oauth2/token", status=503, times=None)
        try:
            answer = await browser.fetch("GET", f"/{way}/{what}")
        except ValueError:
            return  # what it lets out, its server answers
        assert answer.status == 500


async def test_a_handler_in_a_thread_has_a_client_that_blocks(browser):
    await browser.sign_in()
    answer = await browser.navigate("/def/name")
    assert next(iter(browser.site.emulator.users.values())).name in answer.body.decode()
