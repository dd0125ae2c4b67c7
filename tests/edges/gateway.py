"""A WSGI server without a network: PEP 3333 to the letter, and a witness of what an application does with it.

`environ` makes what a server makes of a request line and headers, byte by byte; `serve` runs one request. Headers
go out with the first byte of the body, as the PEP asks, so that an application can still take its word back.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.validate import validator

from tests.acceptance.harness import Headers, Raw, encoded


def environ(
    target: bytes | str = "/", method: str = "GET", headers: Headers = (), body: bytes = b"", **more: Any
) -> dict[str, Any]:
    """The environ of this request. Equal headers are joined, as CGI has it; `more` is added, None takes away."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    raw_path, _, query = raw.partition(b"?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "RAW_URI": raw.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body:
        made["CONTENT_LENGTH"] = str(len(body))
    for name, value in encoded(headers):
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        joint = "; " if key == "HTTP_COOKIE" else ","
        text = value.decode("latin-1")
        made[key] = f"{made[key]}{joint}{text}" if key in made else text
    return {name: value for name, value in {**made, **more}.items() if value is not None}


class Connection(Raw):
    """An answer on its way to the client, and what was sent when."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[bytes] = []
        self.sent = False
        self.closed = 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if exc_info:
            if self.sent:
                raise exc_info[1].with_traceback(exc_info[2])
        elif self.status:
            raise AssertionError("start_response was called twice, without exc_info")
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self.write

    def write(self, data: bytes) -> None:
        assert self.status, "a body came before its answer began"
        self.sent = True
        self.body += data
        self.chunks.append(data)

    def take(self, result: Iterable[bytes]) -> None:
        """Sends what the application returned, and closes it whatever happens."""
        try:
            for data in result:
                if data:
                    self.write(data)
            assert self.status, "the answer never began"
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self.closed += 1
                close()


def serve(app: Any, environ: dict[str, Any]) -> Connection:
    """Runs one request as a server does."""
    connection = Connection()
    connection.take(app(environ, connection.start_response))
    return connection


def serve_validated(app: Any, environ: dict[str, Any]) -> Connection:
    """The same, with the standard library's judge between server and application."""
    return serve(validator(app), environ)
