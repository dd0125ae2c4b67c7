"""What servers make of a request: the ASGI scope or WSGI environ that they hand over, written down from their code.

A `Way` is one server with one set of options. It gives None for what that server answers itself.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from tests.seams.generate import Asked

MOUNT = "/app"
"""Where a site lies whose callback is below it."""


@dataclass(frozen=True)
class Way:
    """A server. `mounted`: the site's public address has a prefix; `keeps`: and it comes in the request's target."""

    name: str
    deliver: Callable[[Asked], dict[str, Any] | None]
    mounted: bool = False
    keeps: bool = False

    def plain(self, path: str) -> Asked:
        """A plainly written request for a path of the table."""
        return Asked("GET", ((MOUNT if self.keeps else "") + path).encode())


# --- ASGI -----------------------------------------------------------------------------------------------


def _scope(asked: Asked, path: str, raw_path: bytes | None, query: bytes, root_path: str = "") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": asked.method,
        "path": path,
        **({} if raw_path is None else {"raw_path": raw_path}),
        "query_string": query,
        "root_path": root_path,
        "headers": [(b"host", b"app.example.com")]
        + [(name.lower().encode(), value.encode()) for name, value in asked.headers],
        "client": ("203.0.113.9", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    }


def h11(asked: Asked, root_path: str = "", *, prefixed: bool = True) -> dict[str, Any] | None:
    """Uvicorn on h11, and Hypercorn (which leaves `root_path` out of the path): all up to the `?` is the path."""
    raw, _, query = asked.target.partition(b"?")
    if not raw.isascii():
        return None
    before = root_path if prefixed else ""
    return _scope(asked, before + unquote(raw.decode()), before.encode() + raw, query, root_path)


def httptools(asked: Asked) -> dict[str, Any] | None:
    """Uvicorn on httptools: a parsed URL, without its fragment."""
    target = asked.target.partition(b"#")[0]
    if found := re.match(rb"https?://[^/?]*", target):
        target = target[found.end() :]
    raw, _, query = target.partition(b"?")
    if not raw.startswith(b"/") or not raw.isascii():
        return None
    return _scope(asked, unquote(raw.decode()), raw, query)


def no_raw_path(asked: Asked) -> dict[str, Any] | None:
    """What a server must give, and no more."""
    scope = h11(asked)
    if scope is not None:
        del scope["raw_path"], scope["root_path"]
    return scope


def daphne(asked: Asked, root_path: str = "") -> dict[str, Any] | None:
    """A client may name the mount."""
    for name, value in asked.headers:
        if name == "Daphne-Root-Path":
            root_path = unquote(value)
    return h11(asked, root_path, prefixed=False)


def mounted(asked: Asked) -> dict[str, Any] | None:
    """Mounted in another application: the path holds the mount."""
    scope = h11(asked)
    if scope is None or not scope["path"].startswith(f"{MOUNT}/"):
        return None
    return {**scope, "root_path": MOUNT}


ASGI = (
    Way("uvicorn on h11", h11),
    Way("uvicorn on httptools", httptools),
    Way("no raw_path", no_raw_path),
    Way("daphne", daphne),
    Way("uvicorn --root-path", lambda asked: h11(asked, MOUNT), mounted=True),
    Way("hypercorn --root-path", lambda asked: h11(asked, MOUNT, prefixed=False), mounted=True),
    Way("daphne --root-path", lambda asked: daphne(asked, MOUNT), mounted=True),
    Way("mounted", mounted, mounted=True, keeps=True),
)


# --- WSGI -----------------------------------------------------------------------------------------------


def _environ(asked: Asked, script_name: str, path_info: str, query: bytes, **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "app.example.com",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "app.example.com",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers},
        **more,
    }


def _latin(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("latin-1")


def gunicorn(asked: Asked, script_name: str = "") -> dict[str, Any] | None:
    """A client on this machine, or a proxy that passes headers on, may name the mount; the fragment is cut off."""
    target = asked.target
    if found := re.match(rb"https?://[^/?#]*", target):
        target = target[found.end() :]
    raw, _, query = target.partition(b"#")[0].partition(b"?")
    for name, value in asked.headers:
        if name == "SCRIPT_NAME":
            script_name = value
    if not raw.decode("latin-1").startswith(script_name):
        return None
    path_info = _latin(raw[len(script_name) :])
    return _environ(asked, script_name, path_info, query, RAW_URI=asked.target.decode("latin-1"))


def waitress(asked: Asked, prefix: str = "") -> dict[str, Any] | None:
    """Slashes at the beginning are merged, and the prefix is taken off where it is there."""
    target = asked.target
    if found := re.match(rb"https?://[^/?#]*", target):
        target = target[found.end() :]
    raw, _, query = target.partition(b"#")[0].partition(b"?")
    path = _latin(raw)
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :]
    uri = target.partition(b"#")[0].decode("latin-1")
    return _environ(asked, prefix, path, query, REQUEST_URI=uri)


def bare(asked: Asked) -> dict[str, Any] | None:
    """The standard library's server: no target."""
    raw, _, query = asked.target.partition(b"?")
    return _environ(asked, "", _latin(raw), query)


WSGI = (
    Way("gunicorn", gunicorn),
    Way("waitress", waitress),
    Way("wsgiref", bare),
    Way("gunicorn, SCRIPT_NAME", lambda asked: gunicorn(asked, MOUNT), mounted=True, keeps=True),
    Way("waitress, url_prefix", lambda asked: waitress(asked, MOUNT), mounted=True, keeps=True),
    Way("waitress, url_prefix, stripped", lambda asked: waitress(asked, MOUNT), mounted=True),
)
WAYS: Mapping[str, tuple[Way, ...]] = {"asgi": ASGI, "wsgi": WSGI}
