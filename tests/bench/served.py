"""Small applications for the servers that `servers.py` starts: each as it is at one path, at another one with the
middleware around it, and at a third one with the least that could stand there.

One process has both, because two processes of one program differ by more than the middleware adds: where in memory
things happen to lie costs up to a third.
"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from flask import Flask

from lumin_middleware import LuminConfig, LuminMiddleware
from lumin_middleware.runtime.answering import PRIVATE
from lumin_middleware.site import pages
from lumin_middleware.wsgi import LuminMiddleware as WSGIMiddleware

from .rig import bare

BARE, WRAPPED, LEAST = "/things/11", "/things/12", "/things/13"


def asgi_app() -> Any:
    wrapped = LuminMiddleware(bare, LuminConfig.from_env())
    others = {BARE: bare, LEAST: _least}

    async def one(scope: Any, receive: Any, send: Any) -> None:
        await others.get(scope.get("path"), wrapped)(scope, receive, send)

    return one


async def _least(scope: Any, receive: Any, send: Any) -> None:
    """A middleware that decides nothing: a copy of the scope, and the header that ours adds to an answer."""

    async def with_header(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], PRIVATE]}
        await send(message)

    await bare({**scope}, receive, with_header)


def flask_app() -> Any:
    app = Flask(__name__)
    app.add_url_rule("/things/<int:number>", view_func=lambda number: "hello")
    return _either(app)


def _view(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [path("things/<int:number>", _view)]


def django_app() -> Any:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="bench", MIDDLEWARE=[])
    django.setup()
    return _either(WSGIHandler())


def _either(app: Any) -> Any:
    wrapped = WSGIMiddleware(app, LuminConfig.from_env())
    others = {BARE: app, LEAST: _least_wsgi(app)}
    return lambda environ, start_response: others.get(environ["PATH_INFO"], wrapped)(environ, start_response)


def _least_wsgi(app: Any) -> Any:
    """The same of the environ, with a name of its own in it."""

    def least(environ: Any, start_response: Any) -> Any:
        def with_header(status: str, headers: Any, exc_info: Any = None) -> Any:
            return start_response(status, [*headers, pages.PRIVATE], exc_info)

        return app({**environ, "least": None}, with_header)

    return least
