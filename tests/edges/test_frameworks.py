"""`lumin(request)` in each framework, and what becomes of a `LoginRequired` that nobody handles.

What each needs so that it becomes a sign-in:

| framework | needs |
|---|---|
| Starlette, FastAPI | nothing, added or wrapped |
| Litestar, Quart | nothing; they answer 500, which the middleware replaces |
| Flask | an error handler that returns `lumin(request).challenge()`, or `PROPAGATE_EXCEPTIONS` |
| Django | `lumin_middleware.django.ChallengeMiddleware` (see `test_django`) |
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import flask
import litestar
import pytest
import quart
from fastapi import Depends, FastAPI
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


# --- the same page in each ------------------------------------------------------------------------------


async def _starlette_page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await _name(lumin(request)))


def starlette_added(config: LuminConfig, clock: Clock) -> Any:
    app = Starlette(routes=[Route("/", _starlette_page)])
    app.add_middleware(AsgiMiddleware, config=config, clock=clock)
    return app


def starlette_wrapped(config: LuminConfig, clock: Clock) -> Any:
    return AsgiMiddleware(Starlette(routes=[Route("/", _starlette_page)]), config, clock=clock)


def _fastapi() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page(client: SignedIn) -> str:
        return await _name(client)

    return app


def fastapi_added(config: LuminConfig, clock: Clock) -> Any:
    app = _fastapi()
    app.add_middleware(AsgiMiddleware, config=config, clock=clock)
    return app


def fastapi_wrapped(config: LuminConfig, clock: Clock) -> Any:
    return AsgiMiddleware(_fastapi(), config, clock=clock)


def litestar_wrapped(config: LuminConfig, clock: Clock) -> Any:
    @litestar.get("/")
    async def page(request: litestar.Request[Any, Any, Any]) -> str:
        return await _name(lumin(request))

    page.fn.__annotations__["request"] = litestar.Request  # it is read outside of this function
    return AsgiMiddleware(litestar.Litestar([page], logging_config=None), config, clock=clock)


def quart_wrapped(config: LuminConfig, clock: Clock) -> Any:
    app = quart.Quart("tests")

    @app.get("/")
    async def page() -> str:
        return await _name(lumin(quart.request))

    app.asgi_app = AsgiMiddleware(app.asgi_app, config, clock=clock)
    return app


def _flask(config: LuminConfig, clock: Clock) -> flask.Flask:
    app = flask.Flask("tests")

    @app.get("/")
    def page() -> str:
        return str(lumin(flask.request).get("user/info").json()["user"]["name"])

    app.wsgi_app = WsgiMiddleware(app.wsgi_app, config, clock=clock)
    return app


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
WSGI: list[Make] = [flask_with_a_handler, flask_that_propagates]


@pytest.fixture(params=[*ASGI, *WSGI], ids=lambda make: make.__name__)
async def browser(request: pytest.FixtureRequest, edges: Site) -> AsyncIterator[Browser]:
    """A browser at a site that is written with this framework."""
    app, asgi, wsgi = request.param(edges.config, edges.clock), edges.asgi, edges.wsgi
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
