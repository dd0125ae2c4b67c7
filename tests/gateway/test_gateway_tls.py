"""A service by https behind the built-in engine: whose certificate is trusted, and that what it sends arrives whole."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2.websockets import WebSocketUpgradeError
from starlette.websockets import WebSocket

from tests.certificates import self_signed
from tests.patience import PATIENCE
from tests.proxies.rig import LOOPBACK, Browser, Echo, front, gateway, serve

SIZE = 2_000_000
"""Bytes of an answer: more than the two servers, and what connects them, hold for a browser that does not read."""

PUBLIC = ("--public", "/*")


@contextmanager
def browsing(upstream: str, folder: Path, trusted: Path) -> Iterator[Browser]:
    """A browser before `lumin-middleware proxy`, which trusts the certificates of one file."""
    (none := folder / "none").mkdir()
    variables = {"SSL_CERT_FILE": str(trusted), "SSL_CERT_DIR": str(none)}
    with (
        front() as site,
        gateway(site, upstream, folder / "log", *PUBLIC, **variables),
        site.browser() as browser,
    ):
        yield browser


# --- whose certificate is trusted -----------------------------------------------------------------------


async def greet(scope: Any, receive: Any, send: Any) -> None:
    connection = WebSocket(scope, receive, send)
    await connection.accept()
    await connection.send_text("hello")
    await connection.close()


def greeted(browser: Browser) -> str:
    """What a WebSocket is told, or the status that refuses it."""
    headers = {"origin": browser.front.origin}
    try:
        with browser.websocket("/chat", headers=headers, keepalive_ping_interval_seconds=None) as connection:
            return str(connection.receive_text(PATIENCE))
    except WebSocketUpgradeError as error:
        return str(error.response.status_code)


@pytest.mark.parametrize(
    ("host", "is_trusted", "status", "told"),
    [
        ("localhost", True, 200, "hello"),
        ("localhost", False, 502, "502"),
        ("other.example", True, 502, "502"),
    ],
)
def test_requests_and_websockets_trust_the_certificates_that_are_named(
    tmp_path: Path, host: str, is_trusted: bool, status: int, told: str
) -> None:
    file = self_signed(tmp_path / "service.pem", host)
    trusted = file if is_trusted else self_signed(tmp_path / "another.pem", "localhost")
    echo = Echo()
    echo.handlers["/chat"] = greet
    with serve(echo, ssl_certfile=str(file)) as upstream:
        port = upstream.rpartition(":")[2]
        with browsing(f"https://localhost:{port}", tmp_path, trusted) as browser:
            assert browser.fetch("GET", "/page").status_code == status
            assert greeted(browser) == told
    assert len(echo.seen) == 2 * (status == 200)


# --- what is sent arrives whole -------------------------------------------------------------------------


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def until_closed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body


@contextmanager
def service(file: Path, says: bytes, gone: threading.Event) -> Iterator[str]:
    """Answers one request by TLS, and closes its connection without TLS's own end (close_notify)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def answer() -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            connection.settimeout(PATIENCE)
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(65_536)
            connection.sendall(says)
        gone.set()

    with socket.create_server((LOOPBACK, 0)) as listening:
        listening.settimeout(PATIENCE)
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}"
        thread.join(PATIENCE)


@pytest.mark.parametrize("framed", [sized, chunked, until_closed])
def test_a_service_that_just_hangs_up_loses_nothing(tmp_path: Path, framed: Callable[[bytes], bytes]) -> None:
    file = self_signed(tmp_path / "service.pem", "localhost")
    body, gone = bytes(range(250)) * (SIZE // 250), threading.Event()
    with (
        service(file, framed(body), gone) as upstream,
        browsing(upstream, tmp_path, file) as browser,
        browser.stream("GET", "/") as response,
    ):
        gone.wait(0.3)  # a browser that reads at once may leave nothing to wait
        assert response.read() == body
