"""The table of routes in each framework. A handler puts its name into `RAN` and into the header `X-Ran`.

Where a framework lets its routes be lenient, they are: the last slash optional, mounts instead of flat routes. `Reader`
is no framework but each of them: it reads the path by whatever steps it is given, and then looks it up in the table.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import django
import flask
import litestar
import quart
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from fastapi import FastAPI
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.seams.routes import ROUTES

RAN: list[str] = []
"""The handlers that ran since somebody looked."""

METHODS = ["GET", "POST", "PUT", "DELETE"]
IN_ORDER = sorted(ROUTES.items(), key=lambda item: ("{rest}" in item[1], -len(item[1])))
"""The routes as a router that takes the first that fits wants them."""
SOCKETS = ("Starlette", "Starlette, mounts", "Quart", "any ASGI reader")
"""Which serve the table to WebSockets as well."""


def ran(name: str) -> dict[str, str]:
    """Notes that a handler runs; the headers that say so."""
    RAN.append(name)
    return {"X-Ran": name}


# --- Starlette and FastAPI ------------------------------------------------------------------------------


def _endpoint(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(headers=ran(name))

    return endpoint


def _socket(name: str) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(socket: WebSocket) -> None:
        ran(name)
        await socket.close()

    return endpoint


def _flat(prefix: str = "") -> list[Any]:
    routes: list[Any] = []
    for name, path in IN_ORDER:
        if path.startswith(prefix):
            inner = path[len(prefix) :].replace("{rest}", "{rest:path}") or "/"
            routes.append(Route(inner, _endpoint(name), methods=METHODS))
            routes.append(WebSocketRoute(inner, _socket(name)))
    return routes


def starlette_flat() -> Any:
    return Starlette(routes=_flat())


def starlette_mounts() -> Any:
    """Each folder an application of its own."""
    folders = ("/static", "/share", "/secret", "/files", "/open/admin", "/open", "/maybe", "/sign")
    mounts: list[Any] = [Mount(folder, app=Starlette(routes=_flat(folder))) for folder in folders]
    return Starlette(routes=[*mounts, *(each for each in _flat() if each.path in ("/", "/healthz"))])


def fastapi_flat(**options: Any) -> Any:
    app = FastAPI(openapi_url=None, **options)
    for name, path in IN_ORDER:
        app.add_api_route(path.replace("{rest}", "{rest:path}"), _endpoint(name), methods=METHODS)
    return app


def fastapi_root_path() -> Any:
    return fastapi_flat(root_path="/api")


def fastapi_in_middleware() -> Any:
    """The same inside another middleware, of which nobody asks what it wraps."""
    return _Wrapper(fastapi_root_path())


class _Wrapper:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


# --- Litestar, Quart, Flask -----------------------------------------------------------------------------


def litestar_app() -> Any:
    def handler(name: str, path: str) -> Any:
        async def handle() -> litestar.Response[bytes]:
            return litestar.Response(b"", headers=ran(name))

        async def handle_rest(rest: FromPath[str]) -> litestar.Response[bytes]:
            return litestar.Response(b"", headers=ran(name))

        route = path.replace("{rest}", "{rest:path}")
        return litestar.route(route, http_method=METHODS, name=name)(handle_rest if "{rest}" in path else handle)

    return litestar.Litestar([handler(name, path) for name, path in ROUTES.items()], openapi_config=None)


def quart_app() -> Any:
    app = quart.Quart(__name__, static_folder=None)

    def view(name: str) -> Any:
        async def handle(rest: str = "") -> Any:
            return "", 200, ran(name)

        return handle

    _add_rules(app, view)
    return app


def flask_app() -> Any:
    app = flask.Flask(__name__, static_folder=None)

    def view(name: str) -> Any:
        return lambda rest="": ("", 200, ran(name))

    _add_rules(app, view)
    return app


def _add_rules(app: Any, view: Callable[[str], Any]) -> None:
    for name, path in ROUTES.items():
        rule = path.replace("{rest}", "<path:rest>")
        app.add_url_rule(rule, name, view(name), methods=METHODS, strict_slashes=False)
        if isinstance(app, quart.Quart):
            app.add_websocket(rule, f"{name} socket", _quart_socket(name), strict_slashes=False)


def _quart_socket(name: str) -> Any:
    async def handle(rest: str = "") -> Any:
        ran(name)
        await quart.websocket.close(1000)

    return handle


# --- Django ---------------------------------------------------------------------------------------------


def _view(name: str) -> Any:
    return lambda request, rest="": HttpResponse(headers=ran(name))


def _async_view(name: str) -> Any:
    async def view(request: HttpRequest, rest: str = "") -> HttpResponse:
        return HttpResponse(headers=ran(name))

    return view


def _urls(view: Callable[[str], Any]) -> list[Any]:
    """Longest first, letters of either case, and `/?$`, as many write it."""
    return [
        re_path("(?i)^" + re.escape(path[1:]).replace(r"\{rest\}", "(?P<rest>.+)") + "/?$", view(name))
        for name, path in IN_ORDER
    ]


class _Urls:
    """What Django takes for a module of URLs."""

    def __init__(self, view: Callable[[str], Any]) -> None:
        self.urlpatterns = _urls(view)


def _configured(handler: type[Any], view: Callable[[str], Any]) -> Any:
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], SECRET_KEY="seams", MIDDLEWARE=[], ROOT_URLCONF=None, LOGGING_CONFIG=None
        )
        django.setup()
    app = handler()
    app.request_class = type("Request", (handler.request_class,), {"urlconf": _Urls(view)})
    return app


def django_asgi() -> Any:
    return _configured(ASGIHandler, _async_view)


def django_wsgi() -> Any:
    return _configured(WSGIHandler, _view)


# --- each reader there could be -------------------------------------------------------------------------

Step = Callable[[str, str], str]


def _path_of_url(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # no URL at all
        return url


STEPS: Mapping[str, Step] = {
    "decode": lambda path, mount: unquote(path),
    "cut": lambda path, mount: re.split("[?#\x00]", path)[0],
    "backslash": lambda path, mount: path.replace("\\", "/"),
    "merge": lambda path, mount: re.sub("/+", "/", path),
    "parameters": lambda path, mount: "/".join(segment.partition(";")[0] for segment in path.split("/")),
    "dots": lambda path, mount: posixpath.normpath(path) + ("/" if path.endswith("/") else ""),
    "URL": lambda path, mount: _path_of_url(path),
    "last slash": lambda path, mount: path.rstrip("/") or "/",
    "one last slash": lambda path, mount: path.removesuffix("/") or "/",
    "letters": lambda path, mount: path.lower(),
    "folded letters": lambda path, mount: path.casefold(),
    "first slash": lambda path, mount: "/" + path.lstrip("/"),
    "mount": lambda path, mount: path[len(mount) :] if path == mount or path.startswith(f"{mount}/") else path,
    "mount as text": lambda path, mount: path.removeprefix(mount),
    "mount anywhere": lambda path, mount: path.split(mount, 1)[-1] if mount else path,
}
"""What programs do with a path before they look it up; each is given the path and the mount."""

_TABLE = [(name, re.compile(re.escape(path).replace(r"\{rest\}", ".+"), re.DOTALL)) for name, path in IN_ORDER]


def look_up(path: str) -> str | None:
    """The handler of a path, by the table."""
    return next((name for name, pattern in _TABLE if pattern.fullmatch(path)), None)


class Reader:
    """Reads a path by its `steps`, and serves what the table has for it."""

    steps: Sequence[str] = ()
    raw = False
    """Whether it reads the path as it stood on the wire."""

    def handler(self, path: str, mount: str) -> str | None:
        for step in self.steps:
            path = STEPS[step](path, mount)
        return look_up(path)


class AsgiReader(Reader):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path") if self.raw else None
        path = raw.decode("latin-1") if raw else scope["path"]
        name = self.handler(path, scope.get("root_path", ""))
        response = Response(status_code=404) if name is None else Response(headers=ran(name))
        await response(scope, receive, send)


class WsgiReader(Reader):
    """Routes on PATH_INFO or, with `raw`, on the target as it came."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if self.raw and target:
            path = target.partition("?")[0]
        name = self.handler(path, environ.get("SCRIPT_NAME", ""))
        start_response("404 Not Found" if name is None else "200 OK", [] if name is None else list(ran(name).items()))
        return []


ASGI: Mapping[str, Callable[[], Any]] = {
    "Starlette": starlette_flat,
    "Starlette, mounts": starlette_mounts,
    "FastAPI": fastapi_flat,
    "FastAPI(root_path)": fastapi_root_path,
    "FastAPI(root_path), wrapped": fastapi_in_middleware,
    "Litestar": litestar_app,
    "Quart": quart_app,
    "Django ASGI": django_asgi,
    "any ASGI reader": AsgiReader,
}
WSGI: Mapping[str, Callable[[], Any]] = {"Flask": flask_app, "Django WSGI": django_wsgi, "any WSGI reader": WsgiReader}
