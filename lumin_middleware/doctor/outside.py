"""What stands outside of the middleware in an application: whether a request comes through it as it was sent.

Each layer is tried by itself around a stand-in for ours, which is asked for a route of ours and answers with a cookie.
Nothing of the application but these layers runs, and none of its lifespan. What fails of itself then is left alone: it
may need what only a running site has.
"""

from __future__ import annotations

import asyncio
import copy
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..config import LuminConfig
from .findings import Finding, doubtful, wrong

APPLICATION = "application"

PATIENCE = 5.0
"""Seconds that a layer has for a request, of which it does next to nothing."""

BODY = b"probe=1"
QUERY = "probe=1"
ANSWER = b"probe=1; Path=/; HttpOnly"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, and how the same is had around another application."""

    name: str
    around: Callable[[Any], Any]


def of_a_list(listed: Any) -> Layer:
    """One of Starlette's `user_middleware`."""
    kind, given = listed.cls, getattr(listed, "kwargs", None) or getattr(listed, "options", {})
    named = given.get("dispatch", kind)  # the function that `@app.middleware("http")` is written above
    name = getattr(named, "__name__", str(named))
    return Layer(name, lambda app: kind(app, *getattr(listed, "args", ()), **given))


def of_an_object(layer: Any, attribute: str) -> Layer:
    """An object that has the application which it stands around by this attribute."""

    def around(app: Any) -> Any:
        copied = copy.copy(layer)
        setattr(copied, attribute, app)
        return copied

    return Layer(type(layer).__name__, around)


@dataclass(slots=True)
class _Came:
    """What came to the stand-in, and what went back to whoever asked."""

    targets: list[str] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    set_cookies: list[str] = field(default_factory=list)


def outside(layers: list[Layer], config: LuminConfig, *, is_wsgi: bool) -> Iterator[Finding]:
    """Tries each layer."""
    ask = _ask_wsgi if is_wsgi else _ask_asgi
    for layer in layers:
        came = _Came()
        with suppress(Exception):
            ask(layer, config, came)
            yield from _told(layer.name, config, came)


def _told(name: str, config: LuminConfig, came: _Came) -> Iterator[Finding]:
    cure = f"Put LuminMiddleware outside of {name}, or have it leave such requests alone."
    if not came.targets:
        answer = next(iter(came.statuses), "nothing")
        what = f"{name}, outside, answers requests for our routes by itself ({answer})"
        yield doubtful(APPLICATION, what, "Nobody can sign in through it.", cure)
        return
    if came.targets[0] != _target(config):
        why = "Rules, and our own routes, are told by the path that comes to us."
        yield wrong(APPLICATION, f"{name}, outside, changes the path of a request", why, cure)
    if came.cookies[0] != _cookie(config):
        yield wrong(APPLICATION, f"{name}, outside, changes the cookies of a request", "Nobody stays signed in.", cure)
    if came.bodies[0] != BODY:
        why = "Forms come to us, and to the application, without what was sent: sign-outs, and logouts by the server."
        yield wrong(APPLICATION, f"{name}, outside, reads the body of a request, and does not give it back", why, cure)
    if ANSWER.decode() not in came.set_cookies:
        why = "Our cookies do not come to the browser as they must: nobody stays signed in."
        yield wrong(APPLICATION, f"{name}, outside, changes or drops the cookies of an answer", why, cure)


def _target(config: LuminConfig) -> str:
    return f"{config.prefix}/logout?{QUERY}"


def _cookie(config: LuminConfig) -> str:
    return f"{config.session_cookie}=probe; other=1"


def _headers(config: LuminConfig) -> dict[str, str]:
    """A form that is sent to the logout, as a browser sends it."""
    return {
        "host": urlsplit(config.origin).netloc,
        "cookie": _cookie(config),
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(len(BODY)),
        "origin": config.origin,
        "sec-fetch-site": "same-origin",
    }


# --- ASGI ---


def _ask_asgi(layer: Layer, config: LuminConfig, came: _Came) -> None:
    async def stand_in(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        query = scope.get("query_string", b"").decode("latin-1")
        came.targets.append(f"{scope['path']}?{query}")
        came.cookies.append(headers.get(b"cookie", b"").decode("latin-1"))
        came.bodies.append((await receive()).get("body", b""))
        sent = [(b"set-cookie", ANSWER), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": b""})

    messages = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            came.statuses.append(message["status"])
            came.set_cookies += [
                value.decode("latin-1") for name, value in message["headers"] if name.lower() == b"set-cookie"
            ]

    async def ask() -> None:
        async with asyncio.timeout(PATIENCE):
            await layer.around(stand_in)(_scope(config), receive, send)

    asyncio.run(ask())


def _scope(config: LuminConfig) -> dict[str, Any]:
    site = urlsplit(config.origin)
    path = _target(config).partition("?")[0]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": site.scheme,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": QUERY.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in _headers(config).items()],
        "client": ("127.0.0.1", 50_000),
        "server": (site.hostname, site.port or (443 if config.secure else 80)),
        "state": {},
    }


# --- WSGI ---


def _ask_wsgi(layer: Layer, config: LuminConfig, came: _Came) -> None:
    def stand_in(environ: Any, start_response: Any) -> list[bytes]:
        came.targets.append(f"{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        came.cookies.append(environ.get("HTTP_COOKIE", ""))
        came.bodies.append(environ["wsgi.input"].read(len(BODY)))
        start_response("200 OK", [("Set-Cookie", ANSWER.decode()), ("Content-Length", "0")])
        return [b""]

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        came.statuses.append(int(status.split()[0]))
        came.set_cookies += [value for name, value in headers if name.lower() == "set-cookie"]
        return lambda piece: None

    answer = layer.around(stand_in)(_environ(config), start_response)
    list(answer)
    getattr(answer, "close", lambda: None)()


def _environ(config: LuminConfig) -> dict[str, Any]:
    site = urlsplit(config.origin)
    fields = {name.upper().replace("-", "_"): value for name, value in _headers(config).items()}
    own = {name: fields.pop(name) for name in ("CONTENT_TYPE", "CONTENT_LENGTH")}
    return {
        **{f"HTTP_{name}": value for name, value in fields.items()},
        **own,
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": _target(config).partition("?")[0],
        "QUERY_STRING": QUERY,
        "SERVER_NAME": site.hostname or "",
        "SERVER_PORT": str(site.port or (443 if config.secure else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": site.scheme,
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
