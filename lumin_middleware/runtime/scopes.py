"""A request as ASGI has it (a scope), and as the core has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope

from ..model import Request
from .bodies import AsgiBody

# Only we may say who somebody is. WSGI and CGI make one of dashes and underscores, so both are ours.
_IDENTITY_HEADER = re.compile(rb"(?i)x[-_]auth[-_]request[-_]")
_NOBODY = ("",)
_name = itemgetter(0)

COMMON_HEADERS = 64
"""Headers of a request that is like others. What has more is looked at one by one, and so not remembered."""

_NO_CHANGE: Mapping[str, Any] = {}


def is_plain(scope: Scope) -> bool:
    """Whether a request is written so plainly that its path and its cookies say it all (`AtOnce`)."""
    raw = scope.get("raw_path")
    if raw is None or raw.decode("latin-1") != scope["path"] or scope.get("root_path"):
        return False
    query = scope.get("query_string")
    return not query or b"state=" not in query


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
    left = list(came)
    position = _cookie_at(tuple(map(_name, left))) if len(left) <= COMMON_HEADERS else None
    if position is not None:
        return left, left.pop(position)[1] if position >= 0 else b""
    cookies = [value for name, value in left if name == b"cookie" and value]
    left = [item for item in left if item[0] != b"cookie" and not _IDENTITY_HEADER.match(item[0])]
    return left, b"; ".join(cookies)


@lru_cache(maxsize=128)
def _cookie_at(names: tuple[bytes, ...]) -> int | None:
    """Where among headers of these names the cookies are, if that is all to know of them; -1 where there are none.

    What visits a site sends its headers in a few orders. None says that they must be looked at one by one.
    """
    if names.count(b"cookie") > 1 or any(map(_IDENTITY_HEADER.match, names)):
        return None
    return names.index(b"cookie") if b"cookie" in names else -1


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
        return _NO_CHANGE
    return {"path": request.path, "raw_path": request.raw_path.encode("latin-1")}
