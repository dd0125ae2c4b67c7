"""Connections to the authorization server on which an answer has bounds: in bytes, and in a thread in time.

A pool sends through a shared client that nobody who uses it can close, and hands out answers that were read to their
end.
"""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any, Self

import httpx2

from ..connections import ANEW, DIRECT, no_cookies, require_open, tell_of_a_name
from .surroundings import ClockWatch

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer that are read. Token responses have some 2,000; key sets some 10,000."""


def options(context: ssl.SSLContext) -> dict[str, Any]:
    """The settings of a client that a pool sends through."""
    # Where a server closes a connection that it kept just as a token is sent on it, the outcome would be unknown.
    return {"verify": context, "mounts": DIRECT, "cookies": no_cookies(), "limits": ANEW}


_KEPT = frozenset({b"content-type", b"retry-after", b"date"})
"""The headers of an answer that anybody here reads."""


def _whole(request: httpx2.Request, response: httpx2.Response, body: bytearray) -> httpx2.Response:
    headers = [(name, value) for name, value in response.headers.raw if name.lower() in _KEPT]
    content = unfolded(bytes(body), response.headers.get("content-encoding", ""))
    return httpx2.Response(response.status_code, headers=headers, content=content, request=request)


def unfolded(body: bytes, coding: str) -> bytes:
    """The content of a body in one of the codings that zlib reads (RFC 9110, 8.4.1); of another, the body as it came.

    Never more than `BODY_LIMIT` bytes are unfolded. Of a body that is cut or broken nothing is left, so that its status
    still counts. Raises `RemoteProtocolError` for one that is longer.
    """
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of either
    try:
        content = decoder.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        return b""
    if len(content) > BODY_LIMIT:
        raise httpx2.RemoteProtocolError("the answer is too long when it is unfolded")
    return content if decoder.eof else b""


# --- on an event loop -----------------------------------------------------------------------------------


class AsyncPool(httpx2.AsyncBaseTransport):
    """Sends on an event loop; whoever waits limits the time."""

    def __init__(self, client: httpx2.AsyncClient, clocks: ClockWatch) -> None:
        self._client = client
        self._clocks = clocks

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        require_open(self._client)
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise httpx2.RemoteProtocolError("the answer is too long")
        finally:
            await response.aclose()
        self._clocks.compare(response.headers.get("date", ""))
        return _whole(request, response, body)


# --- without one ----------------------------------------------------------------------------------------


class _Limit:
    """A time limit on one operation: at its end the connection is shut, whatever is being waited for on it.

    httpx2 limits each wait alone, so that a server which sends a byte a second would hold a thread for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        with suppress(RuntimeError):  # no thread can start when the interpreter ends: each wait is limited all the same
            self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        for each in self._sockets:
            each.close()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore2's `trace` extension: learns of the connection, also of one to a proxy.

        Of a duplicate of its socket, since TLS takes the socket itself away.
        """
        tell_of_a_name(event, info)
        if event.endswith(".connect_tcp.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            if self.is_over:
                self._shut()

    def _end(self) -> None:
        self.is_over = True
        self._shut()

    def _shut(self) -> None:
        for each in [*self._sockets]:
            with suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)


class Pool(httpx2.BaseTransport):
    """Sends in a thread, within the time that the request gives to reading."""

    def __init__(self, client: httpx2.Client, clocks: ClockWatch) -> None:
        self._client = client
        self._clocks = clocks

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        require_open(self._client)
        body = bytearray()
        with _Limit(request.extensions["timeout"]["read"]) as limit:
            request.extensions["trace"] = limit.trace
            with closing(self._client.send(request, stream=True)) as response:
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        raise httpx2.RemoteProtocolError("the answer is too long")
        if limit.is_over:  # a body that ends with its connection may look whole
            raise httpx2.RemoteProtocolError("the answer takes too long")
        self._clocks.compare(response.headers.get("date", ""))
        return _whole(request, response, body)
