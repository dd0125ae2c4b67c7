"""An API behind the site that says what a test tells it to, byte by byte, and writes down what reached it.

Each connection has a thread of its own, so that an answer may wait, stall, or end in the middle.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.patience import PATIENCE

KEPT = 1024 * 1024  # bytes of a body that are kept to be looked at
CLOSED = "connection: close\r\n"


def answer(status: str = "200 OK", headers: str = "content-type: application/json\r\n", body: bytes = b"{}") -> bytes:
    """An answer in bytes, with its length."""
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body


@dataclass
class Call:
    """A request as it arrived, and the way back."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    connection: socket.socket = field(repr=False)
    stream: object = field(repr=False)
    body: bytes = b""
    size: int = 0
    complete: bool = False

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def read(self) -> Call:
        """Reads the body; whether all of it came is in `complete`."""
        with contextlib.suppress(OSError):
            for piece in self._pieces():
                self.size += len(piece)
                self.body = (self.body + piece)[:KEPT]
            self.complete = True
        return self

    def _pieces(self) -> Iterator[bytes]:
        if self.header("transfer-encoding") == "chunked":
            while size := int(self.stream.readline() or b"x", 16):
                yield self._exactly(size)
                self.stream.readline()
            self.stream.readline()
            return
        left = int(self.header("content-length") or 0)
        while left:
            piece = self._exactly(min(left, 65_536))
            left -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        piece = self.stream.read(size)
        if len(piece) < size:
            raise ConnectionError("the body ended early")
        return piece

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def is_left(self) -> bool:
        """Waits until the other side closes; whether it did."""
        self.connection.settimeout(PATIENCE)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


Play = Callable[[Call], None]


class Upstream:
    """A running API. `play` answers each call; `calls` are those that came."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.calls: list[Call] = []
        self.play: Play = say(answer())

    @property
    def last(self) -> Call:
        return self.calls[-1]


def say(*answers: bytes) -> Play:
    """Reads the body, then says these bytes: the first to the first call, and the last to all that follow."""
    left = list(answers)

    def play(call: Call) -> None:
        call.read()
        call.send(left.pop(0) if len(left) > 1 else left[0])

    return play


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    upstream: Upstream

    def handle_error(self, request: object, client_address: object) -> None:
        """What a caller breaks off is no error here."""


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            method, target, _ = line.decode("latin-1").split(" ")
            headers = []
            while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
                name, _, value = line.partition(":")
                headers.append((name.lower(), value.strip()))
            call = Call(method, target, headers, self.connection, self.rfile)
            upstream = self.server.upstream
            upstream.calls.append(call)
            upstream.play(call)
            if not call.complete:
                return


@contextmanager
def serve() -> Iterator[Upstream]:
    """Serves an API on a free port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        host, port = server.server_address[:2]
        server.upstream = Upstream(f"http://{host}:{port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="upstream")
        thread.start()
        try:
            yield server.upstream
        finally:
            server.shutdown()
            thread.join()
