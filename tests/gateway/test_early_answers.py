"""A service that answers in the middle of an upload, and closes: its answer is what the client is told."""

from __future__ import annotations

import asyncio
import http.client
import socket
import sys
import threading
from contextlib import suppress
from itertools import product
from unittest.mock import Mock

import pytest

from lumin_middleware import LuminMiddleware
from lumin_middleware.gateway.gateway import Gateway
from lumin_middleware.gateway.http1 import Connection
from lumin_middleware.gateway.messages import Request, UpstreamTrouble
from lumin_middleware.gateway.upstream import Upstream
from tests.fakes import config
from tests.patience import PATIENCE
from tests.proxies.rig import LOOPBACK, serve

PIECE = b"x" * 65_536

LARGE = 60_000
"""Bytes of an answer that fit into what a socket takes before anybody reads."""


def sized(status: int, size: int, more: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n" % (status, more, size) + b"y" * size


def chunked(status: int, size: int, more: bytes) -> bytes:
    head = b"HTTP/1.1 %d X\r\n%btransfer-encoding: chunked\r\n\r\n" % (status, more)
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"y" * size)


def until_closed(status: int, size: int, more: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\n%b\r\n" % (status, more) + b"y" * size


CLOSES = {
    "reset": "closes with bytes that nobody has read, which resets the connection (RFC 9112, 9.6)",
    "hang up": "says that nothing more comes, and reads nothing of what comes in",
    "linger": "says that nothing more comes, and reads until the other side closes, as the standard asks for",
    "wait": "neither closes nor reads",
}


class Service:
    """Takes one upload, and after the first piece answers it and closes in one of the ways."""

    def __init__(self, says: bytes, close: str) -> None:
        self._says, self._close = says, close
        self._listening = socket.create_server((LOOPBACK, 0))
        self.url = f"http://{LOOPBACK}:{self._listening.getsockname()[1]}"
        self.answered, self.over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(PATIENCE)
        self._listening.close()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        connection.settimeout(PATIENCE)
        with connection, suppress(ConnectionError):
            while b"xxx" not in connection.recv(4096):
                pass
            connection.sendall(self._says)
            if self._close == "reset":
                connection.close()
            elif self._close != "wait":
                connection.shutdown(socket.SHUT_WR)
            self.answered.set()
            while self._close == "linger" and connection.recv(len(PIECE)):
                pass
            self.over.wait(PATIENCE)


async def upload(service: Service, *, is_sized: bool, is_busy: bool, count: int = 3) -> tuple[int, bytes]:
    """What the client is told. A busy loop has no turn between the service's close and the next piece."""

    async def pieces():
        yield PIECE
        if is_busy:
            assert service.answered.wait(PATIENCE)
        else:
            await asyncio.to_thread(service.answered.wait, PATIENCE)
        for _ in range(count):
            yield PIECE

    headers = [(b"host", b"x"), *([(b"content-length", b"%d" % (len(PIECE) * (count + 1)))] if is_sized else [])]
    upstream = Upstream(service.url, PATIENCE)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await upstream.send(Request(b"POST", b"/", headers, pieces()))
            try:
                return answer.status, b"".join([piece async for piece in answer.pieces()])
            finally:
                answer.close()
    finally:
        upstream.close()
        await asyncio.sleep(0)  # in which asyncio closes it


@pytest.mark.parametrize("says_close", [True, False], ids=["says so", "silent"])
@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
@pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "chunked"])
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize(
    ("framed", "size", "close"),
    [
        *product((sized, chunked), (0, 2, LARGE), ("reset", "hang up", "linger")),
        *product((until_closed,), (2, LARGE), ("hang up", "linger")),
    ],
)
async def test_the_answer_is_told_however_the_service_closes(
    framed, size, close, status, is_sized, is_busy, says_close
):
    says = framed(status, size, b"connection: close\r\n" if says_close else b"")
    with Service(says, close) as service:
        assert await upload(service, is_sized=is_sized, is_busy=is_busy) == (status, b"y" * size)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
@pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "chunked"])
@pytest.mark.parametrize("size", [2, LARGE])
def test_so_it_is_on_uvloop(size, is_sized):
    import uvloop

    with Service(sized(413, size, b""), "reset") as service:
        assert uvloop.run(upload(service, is_sized=is_sized, is_busy=True)) == (413, b"y" * size)


@pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "chunked"])
@pytest.mark.parametrize("size", [0, 2, LARGE])
async def test_nothing_waits_for_a_service_that_has_refused_and_reads_no_more(size, is_sized):
    with Service(sized(413, size, b"connection: close\r\n"), "wait") as service:
        answered = await upload(service, is_sized=is_sized, is_busy=False, count=500)
    assert answered == (413, b"y" * size)


async def test_by_tls_what_has_come_is_read_before_more_is_sent():
    """What a failed write meets by TLS is lost, so that the loop has its turn to read before each."""
    loop, transport = asyncio.get_running_loop(), Mock()
    connection = Connection(lambda kept: None, PATIENCE)
    connection.connection_made(transport)

    async def pieces():
        yield b"first"
        says = sized(413, 2, b"connection: close\r\n")
        loop.call_soon(loop.call_soon, connection.data_received, says)  # seen in one turn, and read in the next
        yield b"second"

    async with asyncio.timeout(PATIENCE):
        answer = await connection.exchange(Request(b"POST", b"/", [(b"content-length", b"11")], pieces()))
        assert (answer.status, [piece async for piece in answer.pieces()]) == (413, [b"yy"])
        await answer.sending
    assert [call.args[0] for call in transport.write.call_args_list][1:] == [b"first"]


async def test_what_a_reset_has_cut_short_is_not_taken_for_whole():
    for says in (sized(413, 10, b"")[:-1], chunked(413, 10, b"")[:-5], until_closed(413, 10, b"")):
        with Service(says, "reset") as service, pytest.raises(UpstreamTrouble, match="cut short"):
            await upload(service, is_sized=True, is_busy=True)


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("size", [2, LARGE])
@pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "chunked"])
@pytest.mark.parametrize("server", ["h11", "httptools"])
def test_whoever_sends_all_before_they_read_is_told_as_well(server, is_sized, size, close):
    settings = config(public=("/*",))
    with Service(sized(413, size, b"connection: close\r\n"), close) as service:
        app = LuminMiddleware(Gateway(service.url, settings, timeout=PATIENCE), settings)
        with serve(app, http=server, lifespan="on") as origin:
            connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=PATIENCE)
            pieces = [PIECE] * 200
            connection.request("POST", "/", b"".join(pieces) if is_sized else iter(pieces), encode_chunked=True)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (413, b"y" * size)
            connection.close()
