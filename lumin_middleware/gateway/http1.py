"""One exchange with the service behind the gateway, over one connection (HTTP/1.1, RFC 9112).

It is made for passing on: nothing is parsed but the head of an answer and its framing (`reading`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from .messages import Answer, Request, UpstreamLate
from .reading import BUFFERED, Reading


class Connection(asyncio.Protocol):
    """One connection, and the one exchange that is on it."""

    def __init__(self, keep: Callable[[Connection], None], timeout: float) -> None:
        self._keep = keep
        self._timeout = timeout
        self.loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._answer: Reading | None = None
        self.is_open = False

    # --- what asyncio says ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._is_tls = transport.get_extra_info("ssl_object") is not None
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody has asked
            self.close()
        else:
            self._answer.feed(data)

    def eof_received(self) -> None:
        self._hung_up(None)  # asyncio closes the connection then, once what waits is sent, which nobody may read

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._answer is not None:
            self._read_what_is_left(self._answer)
        self._hung_up(exc)

    def _hung_up(self, error: Exception | None) -> None:
        self.is_open = False
        self.stop_sending()
        if self._answer is not None:
            self._answer.lost(error)

    def stop_sending(self) -> None:
        """Says that the rest of the request is not for the service."""
        self._takes_more = False
        self._writable.set()

    def _read_what_is_left(self, answer: Reading) -> None:
        """Reads what came before the connection broke. Where writing met that first, asyncio does not: the answer of a
        service that has closed in the middle of an upload (RFC 9112, 9.6) would be lost.

        What TLS has wrapped cannot be read by then.
        """
        if not self._is_tls:
            with suppress(OSError), self._transport.get_extra_info("socket").dup() as left:  # it does not block
                while data := left.recv(BUFFERED):
                    answer.feed(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- an exchange ---

    async def exchange(self, request: Request) -> Answer:
        self._answer = answer = Reading(self, is_head=request.method == b"HEAD")
        self._takes_more = self.is_open
        lengths = [int(value) for name, value in request.headers if name == b"content-length"]
        is_sized, answer.promised = bool(lengths), sum(lengths)
        lines = [b"%b %b HTTP/1.1" % (request.method, request.target), *map(b": ".join, request.headers)]
        if request.body is not None and not is_sized:
            lines.append(b"transfer-encoding: chunked")
        self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n")
        sending = None
        try:
            if request.body is not None:
                sending = asyncio.ensure_future(self._send_body(request.body, answer, is_chunked=not is_sized))
                await asyncio.wait([sending, answer.begun], return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and not answer.begun.done():
                    sending.result()
            await self._begun(answer)
        except BaseException:
            if sending is not None and not sending.done():
                sending.cancel()
            self.close()
            raise
        answer.sending = sending
        return answer

    async def _begun(self, answer: Reading) -> None:
        timer = self.loop.call_later(self._timeout, answer.fail, UpstreamLate(f"no answer within {self._timeout:g} s"))
        try:
            await answer.begun
        finally:
            timer.cancel()

    async def _send_body(self, body: AsyncIterator[bytes], answer: Reading, *, is_chunked: bool) -> None:
        try:
            await self._send_pieces(body, answer, is_chunked=is_chunked)
        except Exception as error:
            if not answer.begun.done():
                raise
            answer.broke_off(error)

    async def _send_pieces(self, body: AsyncIterator[bytes], answer: Reading, *, is_chunked: bool) -> None:
        async for piece in body:
            if self._is_tls:
                for _ in range(2):  # in one turn the loop sees that something has come, and reads it before the next;
                    await asyncio.sleep(0)  # see `_read_what_is_left`
            if not self._takes_more:
                continue  # what it has answered counts; whoever sends all before they read gets to read it
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            answer.promised -= 0 if is_chunked else len(piece)
            if not self._writable.is_set():
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._writable.wait()
                except TimeoutError:
                    answer.fail(UpstreamLate(f"a piece of the request was not taken within {self._timeout:g} s"))
                    return
        if is_chunked and self._takes_more:
            self._transport.write(b"0\r\n\r\n")

    def pause_reading(self) -> None:
        with suppress(RuntimeError):
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        with suppress(RuntimeError):
            self._transport.resume_reading()

    def over(self, *, may_be_used_again: bool) -> None:
        self._answer = None
        if may_be_used_again and self.is_open:
            self._keep(self)
        else:
            self.close()

    def close(self) -> None:
        self._answer = None
        self.is_open = False
        self._transport.abort()
