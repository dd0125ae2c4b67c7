"""What stands outside of the middleware, and does a request harm on its way, is named; what does none is not."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from werkzeug.middleware.proxy_fix import ProxyFix

from lumin_middleware import LuminMiddleware, wsgi
from lumin_middleware.doctor.application import application
from lumin_middleware.doctor.findings import Finding
from tests.fakes import config


def of_application(settings: Any, app: Any) -> list[Finding]:
    return [each for each in application(app, settings) if each.level != "ok"]


class Outer:
    """A layer that changes nothing, for ASGI and WSGI."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, *request: Any) -> Any:
        return self.app(*request)


class Reads(Outer):
    def __call__(self, *request: Any) -> Any:
        if len(request) == 3:
            return self.after_reading(*request)
        request[0]["wsgi.input"].read()
        return self.app(*request)

    async def after_reading(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.app(scope, receive, send)


class Rewrites(Outer):
    def __call__(self, *request: Any) -> Any:
        asked = dict(request[0])
        if len(request) == 3:
            asked["path"] = asked["path"].lower() + "/"
        else:
            asked["PATH_INFO"] += "/"
        return self.app(asked, *request[1:])


class Strips(Outer):
    def __call__(self, *request: Any) -> Any:
        asked = dict(request[0])
        if len(request) == 3:
            asked["headers"] = [item for item in asked["headers"] if item[0] != b"cookie"]
        else:
            asked["HTTP_COOKIE"] = "other=1"
        return self.app(asked, *request[1:])


class Drops(Outer):
    def __call__(self, *request: Any) -> Any:
        *asked, respond = request
        if len(request) == 3:

            async def send(message: Any) -> None:
                kept = [item for item in message.get("headers", ()) if item[0] != b"set-cookie"]
                await respond({**message, "headers": kept} if "headers" in message else message)

            return self.app(*asked, send)
        return self.app(*asked, lambda status, headers, *more: respond(status, [], *more))


class Answers(Outer):
    def __call__(self, *request: Any) -> Any:
        if len(request) == 3:
            return PlainTextResponse("no", 403)(*request)
        request[1]("403 Forbidden", [])
        return [b"no"]


class NeedsMore(Outer):
    def __call__(self, *request: Any) -> Any:
        raise RuntimeError("the lifespan has not run")


class Cached(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)


OUTSIDE = {
    Outer: "",
    NeedsMore: "",
    Reads: "Reads, outside, reads the body of a request, and does not give it back",
    Rewrites: "Rewrites, outside, changes the path of a request",
    Strips: "Strips, outside, changes the cookies of a request",
    Drops: "Drops, outside, changes or drops the cookies of an answer",
    Answers: "Answers, outside, answers requests for our routes by itself (403)",
}


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("way", ["asgi", "a list", "wsgi", "flask"])
def test_a_layer_outside_that_does_harm_is_named(kind, way):
    settings = config()
    app: Any
    if way == "asgi":
        app = Outer(kind(Outer(LuminMiddleware(Starlette(), settings))))
    elif way == "a list":
        app = Starlette()
        for each, options in ((LuminMiddleware, {"config": settings}), (Outer, {}), (kind, {})):
            app.add_middleware(each, **options)
    elif way == "wsgi":
        app = kind(wsgi.LuminMiddleware(Flask("tests"), settings))
    else:
        app = Flask("tests")
        app.wsgi_app = kind(wsgi.LuminMiddleware(app.wsgi_app, settings))
    found = of_application(settings, app)
    assert [each.what for each in found] == [OUTSIDE[kind]] * bool(OUTSIDE[kind])
    assert all(kind.__name__ in each.cure for each in found)


@pytest.mark.parametrize(
    "kind", [GZipMiddleware, HTTPSRedirectMiddleware, Cached, (SessionMiddleware, {"secret_key": "x" * 32})]
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_a_layer_outside_that_does_no_harm_is_not(kind, is_listed):
    settings = config(redirect_uri="https://app.example.com/auth/callback")
    kind, options = kind if isinstance(kind, tuple) else (kind, {})
    if is_listed:
        app: Any = Starlette()
        app.add_middleware(LuminMiddleware, config=settings)
        app.add_middleware(kind, **options)
    else:
        app = kind(LuminMiddleware(Starlette(), settings), **options)
    assert of_application(settings, app) == []


def test_a_layer_of_werkzeug_s_that_does_no_harm_is_not_either():
    settings = config()
    app = Flask("tests")
    app.wsgi_app = ProxyFix(wsgi.LuminMiddleware(app.wsgi_app, settings))
    assert of_application(settings, app) == []


def test_a_function_is_called_by_its_own_name():
    app = FastAPI()
    app.add_middleware(LuminMiddleware, config=config())

    @app.middleware("http")
    async def without_cookies(request, call_next):
        response = await call_next(request)
        del response.headers["set-cookie"]
        return response

    [finding] = of_application(config(), app)
    assert finding.what == "without_cookies, outside, changes or drops the cookies of an answer"
