"""The body of a request to one of our own routes, bounded in size and in time: strangers may send one.

Nothing is read before a route asks for it; what the application gets passes by here.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.types import Receive

from ..errors import RequestRefused

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BODY_LIMIT = 65_536
"""Bytes that are read: a logout token has some 1,000."""

BODY_TIMEOUT = 10.0
"""Seconds in which they must be there. What is honest comes with the head of its request, or a round trip later."""

SOCKETS = ("gunicorn.socket", "werkzeug.socket")
"""Where those WSGI servers show the connection that wait for a body without a limit of their own. The others read it
before they call (waitress), or end the wait by a setting (uWSGI, cheroot, Apache's `RequestReadTimeout`)."""


class AsgiBody:
    """Reads a body on an event loop."""

    __slots__ = ("_receive",)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def __call__(self) -> bytes:
        """The body. Raises `RequestRefused` for one that is too large, comes too slowly, or breaks off."""
        body, more = b"", True
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise _broken_off()
                    body += bytes(message.get("body", b""))
                    more = message.get("more_body", False)
                    if len(body) > BODY_LIMIT:
                        raise _too_large()
        except TimeoutError:
            raise _too_slow() from None
        return body


class WsgiBody:
    """Reads a body in a thread."""

    __slots__ = ("_environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    async def __call__(self) -> bytes:
        """The same. Without a length (RFC 9110, 8.6) few servers tell where a body ends: there, what may have one is
        refused, and is not taken for one that has none.
        """
        environ = self._environ
        length, stream = environ.get("CONTENT_LENGTH") or "", environ["wsgi.input"]
        if not length and not (environ.get("wsgi.input_terminated") or isinstance(stream, io.BytesIO)):
            if _is_without(environ):
                return b""
            raise RequestRefused("bad_request", "A body needs a Content-Length here.", status=411)
        if not re.fullmatch("[0-9]{0,9}", length) or int(length or 0) > BODY_LIMIT:
            raise _too_large()
        try:
            with _time_limit(environ) as is_over:
                body = bytes(stream.read(int(length or BODY_LIMIT + 1)))
        except OSError:  # by which servers say that it broke off, or that they wait no longer
            raise _too_slow() from None
        if len(body) > BODY_LIMIT:
            raise _too_large()
        if len(body) < int(length or 0):
            raise _too_slow() if is_over.is_set() else _broken_off()
        return body


def _is_without(environ: WSGIEnvironment) -> bool:
    """Whether a request without a length has no body. One that is encoded for its transfer has (RFC 9112, 6.3), one
    with a type says so, and of later versions of HTTP, where a body needs neither, nobody can tell.
    """
    is_told = any(environ.get(name) for name in ("HTTP_TRANSFER_ENCODING", "CONTENT_TYPE"))
    return not is_told and environ.get("SERVER_PROTOCOL", "HTTP/1.0").startswith("HTTP/1")


@contextmanager
def _time_limit(environ: WSGIEnvironment) -> Iterator[threading.Event]:
    """Ends a read at its time, if the server shows the connection: no more can be read of it. Then the event is set."""
    is_over = threading.Event()
    connection = next((environ[name] for name in SOCKETS if name in environ), None)
    if connection is None:
        yield is_over
        return

    def end() -> None:
        is_over.set()
        # Not a TLS socket's own way, which would leave the rest of the connection without encryption.
        shut = socket.socket.shutdown if isinstance(connection, socket.socket) else type(connection).shutdown
        shut(connection, socket.SHUT_RD)

    timer = threading.Timer(BODY_TIMEOUT, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


def _too_large() -> RequestRefused:
    return RequestRefused("too_large", "The body is too large.", status=413)


def _too_slow() -> RequestRefused:
    return RequestRefused("too_slow", "The body of the request comes too slowly.", status=408)


def _broken_off() -> RequestRefused:
    return RequestRefused("bad_request", "The body ended before it was complete.")
