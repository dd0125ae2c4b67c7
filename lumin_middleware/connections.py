"""Connections: what every HTTP client of ours has in common, and a pool whose kept connections may have died.

No client keeps a cookie, and none asks a proxy for this machine itself.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2

DIRECT: Final = dict.fromkeys(("all://localhost", "all://*.localhost", "all://127.0.0.0/8", "all://[::1]"))
"""httpx2's `mounts`: what is on this machine is reached without `HTTP_PROXY`; a proxy's `localhost` is another."""

ANEW = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
"""Each request has a connection of its own."""

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""The methods that do no more when they are done twice (RFC 9110, 9.2.2). POST is never sent twice."""

CUT = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
"""How it looks when a server closes a connection that it kept just as something is sent on it (RFC 9112, 9.3.1)."""


def no_cookies() -> CookieJar:
    """A jar that takes none: they would be one person's in another's call, and grow for ever."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def is_replayable(stream: object) -> bool:
    """Whether a body can be sent again: bytes, and forms of bytes; not what was read from somewhere."""
    files = [getattr(field, "file", b"") for field in getattr(stream, "fields", ())]
    return isinstance(stream, httpx2.ByteStream) or (
        bool(files) and all(isinstance(file, bytes | str) for file in files)
    )


def _may_be_sent_again(request: httpx2.Request) -> bool:
    return request.method in REPEATABLE and is_replayable(request.stream)


class AsyncPool(httpx2.AsyncClient):
    """httpx2's client, which sends once more, on a new connection, what was cut off before its answer began."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._anew = httpx2.AsyncClient(**{**options, "limits": ANEW})

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, stream=True, **options)
        except CUT:
            if not _may_be_sent_again(request):
                raise
            response = await self._anew.send(request, stream=True, **options)
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    async def aclose(self) -> None:
        await super().aclose()
        await self._anew.aclose()


class Pool(httpx2.Client):
    """The same, blocking."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._anew = httpx2.Client(**{**options, "limits": ANEW})

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        try:
            response = super().send(request, stream=True, **options)
        except CUT:
            if not _may_be_sent_again(request):
                raise
            response = self._anew.send(request, stream=True, **options)
        if not stream:
            try:
                response.read()
            except BaseException:
                response.close()
                raise
        return response

    def close(self) -> None:
        super().close()
        self._anew.close()
