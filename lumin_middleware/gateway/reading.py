"""An answer of the service behind the gateway as it comes in: its head, its framing (RFC 9112), the pieces of its body.

Nothing here opens or closes a connection; what is read says whether one may be used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

import httptools

from .messages import Closed, Header, UpstreamTrouble

BUFFERED = 65_536
"""Bytes of an answer that wait for the browser before no more are read."""

HEAD_LIMIT = 131_072
"""Bytes that the head of an answer may have, and what is no body on end: twice what browsers take."""

BODILESS = (204, 304)


class Connected(Protocol):
    """The connection that an answer comes by."""

    loop: asyncio.AbstractEventLoop

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def stop_sending(self) -> None:
        """Says that the rest of the request is not for the service."""

    def over(self, *, may_be_used_again: bool) -> None:
        """Says that the exchange has ended."""


class Reading:
    """`messages.Answer`, which httptools reads into here."""

    def __init__(self, connection: Connected, *, is_head: bool) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.begun: asyncio.Future[None] = connection.loop.create_future()
        self.sending: asyncio.Future[None] | None = None
        self.promised = 0
        """Bytes of the request that the service was told of, and that are still to be sent."""
        self._connection = connection
        self._is_head = is_head
        self._parser = httptools.HttpResponseParser(self)
        self._has_come = False
        self._bodiless = 0
        """Bytes since the last that were body, or since the head: framing, and trailers."""
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._more: asyncio.Future[None] | None = None
        self._complete = False
        self._is_last = False
        self._is_surplus = False
        self._is_paused = False
        self._trouble: UpstreamTrouble | None = None
        self._closed = False

    # --- what the connection says ---

    def feed(self, data: bytes) -> None:
        if self._complete:
            self._is_last = True  # more than was asked for: whose that is, nobody knows
            return
        self._has_come = True
        self._bodiless += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(UpstreamTrouble("the service changed the protocol"))
        except httptools.HttpParserError as error:
            if not self._complete:
                self.fail(UpstreamTrouble(f"the answer is not HTTP: {error!r}"))
            self._is_last = True
        if not self._complete and self._bodiless > HEAD_LIMIT:  # what has ended may have ended with the last of them
            what = "the framing or the trailers" if self.begun.done() else "the head"
            self.fail(UpstreamTrouble(f"{what} of the answer has more than {HEAD_LIMIT} bytes"))
        if self._buffered > BUFFERED and not self._is_paused:
            self._is_paused = True
            self._connection.pause_reading()

    def lost(self, error: Exception | None) -> None:
        self._is_last = True
        if self._complete:
            return
        if self.begun.done() and error is None and not self._is_framed():
            self._end()
        elif self._has_come:
            self.fail(UpstreamTrouble(f"the answer was cut short: {error!r}"))
        else:
            self.fail(Closed(f"the connection was closed: {error!r}"))

    def broke_off(self, error: Exception) -> None:
        """Says that the rest of the request does not come."""
        self._is_last = True
        if not self._complete:
            self.fail(UpstreamTrouble(f"the request broke off after its answer had begun: {error!r}"))

    def fail(self, trouble: UpstreamTrouble) -> None:
        self._is_last = self._complete = True
        self._trouble = self._trouble or trouble
        if not self.begun.done():
            self.begun.set_exception(trouble)
        self._wake()

    # --- what httptools says ---

    def on_message_begin(self) -> None:
        if self.begun.done():
            self._is_last = self._is_surplus = True  # an answer that nobody asked for
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.begun.done():  # afterwards they are trailers, and no headers (RFC 9110, 6.5.1)
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_surplus:
            return
        self.status = self._parser.get_status_code()
        if trouble := self._misunderstood():
            self.fail(UpstreamTrouble(trouble))
        if self.status < 200:
            return
        # A body that a service sends where there is none would be taken for the next answer.
        may_go_on = self._is_head or (self.status in BODILESS and self._has_length())
        self._is_last = may_go_on or not self._parser.should_keep_alive() or not self._is_framed()
        if self.status >= 300 and not self._parser.should_keep_alive():
            self._connection.stop_sending()  # it wants no more of the request, and closes (RFC 9112, 9.5)
        if self._is_head:
            self._end()
        self._bodiless = 0
        if not self.begun.done():
            self.begun.set_result(None)

    def _misunderstood(self) -> str:
        """Why the server around us could not pass on what this begins; empty where it can."""
        if not 100 <= self.status <= 599:
            return f"the answer has the status {self.status}"
        codings = [value.strip().lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
        return "the answer is in a transfer coding that nobody asked for" if codings not in ([], [b"chunked"]) else ""

    def on_body(self, body: bytes) -> None:
        self._bodiless = 0
        if not self._complete:
            self._pieces.append(body)
            self._buffered += len(body)
            self._wake()

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._end()

    def _is_framed(self) -> bool:
        """Whether the answer itself says where it ends (RFC 9112, 6.3)."""
        return self._is_head or self.status in BODILESS or self._has_length()

    def _has_length(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def _end(self) -> None:
        self._complete = True
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    # --- what the gateway asks ---

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._buffered -= len(piece)
                yield piece
            if self._trouble is not None:
                raise self._trouble
            if self._complete:
                return
            if self._is_paused:
                self._is_paused = False
                self._connection.resume_reading()
            self._more = self._connection.loop.create_future()
            await self._more

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # What is missing would be taken from the next request, and what is too much would be one.
        is_sent = (self.sending is None or self.sending.done()) and self.promised == 0
        if self.sending is not None and not self.sending.done():
            self.sending.cancel()
        is_read = self._complete and not self._pieces and not self._is_paused
        self._connection.over(may_be_used_again=is_sent and is_read and not self._is_last and self._trouble is None)
