"""A request as ASGI has it (a scope), and as the core has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope

from ..model import Request
from .bodies import AsgiBody
from .orders import Orders

# Only we may say who somebody is. WSGI and CGI make one of dashes and underscores, so both are ours.
_IDENTITY_HEADER = re.compile(rb"(?i)x[-_]auth[-_]request[-_]")
_NOBODY = ("",)
_name = itemgetter(0)

UNCHANGED: Mapping[str, Any] = {}

READ = frozenset(("method", "path", "raw_path", "query_string", "root_path", "client"))
"""Names of the scope of which a request is read."""


def read(
    scope: Scope,
    receive: Receive,
    callback_path: str,
    root_path: str = "",
    parted: tuple[list[tuple[bytes, bytes]], bytes] | None = None,
) -> Request:
    """The request that a scope is, with what only we may say left out. `parted` is what `apart` made of its headers."""
    headers, cookie = parted or apart(scope["headers"])
    raw, mount = scope.get("raw_path"), scope.get("root_path") or root_path
    path, raw_path = scope["path"], raw.decode("latin-1") if raw else quote(scope["path"])
    if mount and path[:1] == "/" and not f"{path}/".startswith(f"{mount}/") and callback_path.startswith(f"{mount}/"):
        # Some servers leave the mount out of the path. That it is ours is known from the redirect URI alone.
        path, raw_path = mount + path, quote(mount) + raw_path
    return Request(
        scope.get("method", "GET"),
        path,
        raw_path,
        (scope.get("query_string") or b"").decode("latin-1"),
        headers,
        cookie,
        mount,
        root_path,
        scope["type"] == "websocket",
        (scope.get("client") or _NOBODY)[0],
        AsgiBody(receive),
    )


def apart(came: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers without cookies and without those that only we may set; and the cookies, joined."""
    left = [*came]
    position = _cookie_at[tuple(map(_name, left))]
    if position >= 0:
        return left, left.pop(position)[1]
    if position == _NO_COOKIE:
        return left, b""
    cookies = [value for name, value in left if name == b"cookie" and value]
    left = [item for item in left if item[0] != b"cookie" and not _IDENTITY_HEADER.match(item[0])]
    return left, b"; ".join(cookies)


_NO_COOKIE, _LOOK_AT_EACH = -1, -2


def _place_of_cookie(names: tuple[bytes, ...]) -> int:
    """Where among headers of these names the cookies are, if that is all to know of them."""
    if names.count(b"cookie") > 1 or any(map(_IDENTITY_HEADER.match, names)):
        return _LOOK_AT_EACH
    return names.index(b"cookie") if b"cookie" in names else _NO_COOKIE


_cookie_at = Orders(_place_of_cookie)


def as_specified(scope: Scope, request: Request) -> Mapping[str, Any]:
    """What of the scope is another for the application, which must take the mount off where we did to judge.

    A path is passed on as it came. But where the server left the mount out and the path holds it all the same
    (`/static/app/x` below `/app`), some frameworks would cut it there; it gets the mount at its beginning, as the
    specification has it; unless it goes by a root path of its own.
    """
    if (
        request.path == scope["path"]
        or request.mount not in scope["path"]
        or request.root_path not in ("", request.mount)
    ):
        return UNCHANGED
    return {"path": request.path, "raw_path": request.raw_path.encode("latin-1")}
