"""A request on its way in: what is no request at all, its body, and the going of whoever sent it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import anyio
from starlette.types import Receive, Scope

from ..errors import RequestRefused

RATE = 500
"""Bytes a second that a body must make, on the whole, where it must hurry: a slow modem makes ten times as many."""


def check(scope: Scope) -> None:
    """Raises `RequestRefused` for what could not be passed on as it came, or be understood in two ways.

    The servers around us let some of it through: a length beside a transfer coding, from which smuggling is made
    (RFC 9112, 6.3), tunnels, and traces, which tell what is meant for the service (RFC 9110, 9.3.6 and 9.3.8), a
    fragment, a target in another form than a path (RFC 9112, 3.2).
    """
    names = {name for name, _ in scope["headers"]}
    if b"content-length" in names and b"transfer-encoding" in names:
        raise RequestRefused("bad_request", "A length stands beside a transfer coding.")
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,18}", value) for value in lengths):
        raise RequestRefused("bad_request", "The length of the body is none, or is said more than once.")
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):  # the others would be taken off, and what they wrap passed on as it is
        raise RequestRefused("bad_request", "The body is in a transfer coding that is not known here.", status=501)
    if scope.get("method") in ("CONNECT", "TRACE"):
        raise RequestRefused("method_not_allowed", "Nothing is tunnelled here, and nothing traced.", status=405)
    raw_path = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    if not raw_path.startswith(b"/"):
        raise RequestRefused("bad_request", "The target is no path.")
    if b"#" in raw_path or b"#" in scope.get("query_string", b""):
        raise RequestRefused("bad_request", "The target holds a fragment.")


class ClientGone(Exception):
    """The client went away before its request was complete."""


class Body:
    """The body of a request and, once it has ended, the watch for the client's going.

    `patience` is how many seconds we wait for the client in all, and a second more for each `RATE` bytes; None is for
    ever. Time that the upstream takes does not count.
    """

    def __init__(self, scope: Scope, receive: Receive, patience: float | None = None) -> None:
        sizes = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
        self.ended = anyio.Event()
        self._is_there: bool | None = bool(sizes) and sizes.get(b"content-length") != b"0"
        if not sizes and not scope.get("http_version", "1.1").startswith("1"):
            self._is_there = None  # HTTP/2 and 3 frame it themselves (RFC 9113, 8.1; RFC 9114, 4.1)
        self._due = int(sizes[b"content-length"]) if b"content-length" in sizes else None
        self._receive = receive
        self._left = patience
        self._first: tuple[bytes, bool] | None = None

    async def is_there(self) -> bool:
        """Whether there is one; where no header says so, the first message does. Raises as `pieces`."""
        if self._is_there is None:
            self._first = await self._next()
            self._is_there = self._first != (b"", False)
        if not self._is_there:
            self.ended.set()
        return self._is_there

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises `ClientGone`, and `RequestRefused` when they come too slowly, or are not as
        many bytes as was said: not every server around us looks."""
        more = True
        while more:
            piece, more = self._first or await self._next()
            self._first = None
            if piece:
                yield piece
        self.ended.set()

    async def _next(self) -> tuple[bytes, bool]:
        began = anyio.current_time()
        try:
            with anyio.fail_after(self._left):
                message = await self._receive()
        except TimeoutError:
            raise RequestRefused("too_slow", "The body of the request comes too slowly.", status=408) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self._due is not None:
            self._due -= len(piece)
            if self._due < 0 or (self._due and not more):
                raise RequestRefused("bad_request", "The body is not as long as it says.")
        if self._left is not None:
            self._left = max(self._left - (anyio.current_time() - began), 0) + len(piece) / RATE
        return piece, more

    async def until_gone(self) -> None:
        """Returns when the client has disconnected."""
        await self.ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
