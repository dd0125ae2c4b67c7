"""TLS that breaks with a server whose certificate is trusted: doctor says so, and blames no certificate."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lumin_middleware import AuthorizationServer
from lumin_middleware.doctor import network
from tests.certificates import self_signed
from tests.fakes import config
from tests.patience import PATIENCE

LONGEST = 120.0
"""Seconds: the most that `timeout` may be."""

ALERT = b"\x15\x03\x03\x00\x02\x02\x50"
"""A record that ends a handshake: fatal, internal_error (RFC 8446, 6)."""


def noise() -> bytes:
    """A record that nobody has sealed."""
    return b"\x17\x03\x03\x00\x20" + secrets.token_bytes(32)


# --- how a server breaks it -----------------------------------------------------------------------------

Break = Callable[[socket.socket, ssl.SSLContext], None]


def end_in_the_handshake(connection: socket.socket, context: ssl.SSLContext) -> None:
    connection.recv(65_536)


def alert_in_the_handshake(connection: socket.socket, context: ssl.SSLContext) -> None:
    connection.recv(65_536)
    connection.sendall(ALERT)


def ask_for_a_certificate(connection: socket.socket, context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    with suppress(ssl.SSLError):
        context.wrap_socket(connection.dup(), server_side=True).close()


def noise_for_an_answer(connection: socket.socket, context: ssl.SSLContext, begun: bytes = b"") -> None:
    with context.wrap_socket(connection.dup(), server_side=True) as tls:
        tls.recv(65_536)
        tls.sendall(begun)
        connection.sendall(noise())


def noise_in_an_answer(connection: socket.socket, context: ssl.SSLContext) -> None:
    noise_for_an_answer(connection, context, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")


# --- what is said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["server", "API"])
@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (end_in_the_handshake, "EOF"),
        (alert_in_the_handshake, "ALERT_INTERNAL_ERROR"),
        (ask_for_a_certificate, "CERTIFICATE_REQUIRED"),
        (noise_for_an_answer, "BAD_RECORD_MAC"),
        (noise_in_an_answer, "BAD_RECORD_MAC"),
    ],
)
def test_tls_that_breaks_is_no_certificate_that_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, breaks: Break, reason: str, check: str
) -> None:
    file = self_signed(tmp_path / "server.pem", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def serve() -> None:
        with suppress(OSError), listening.accept()[0] as connection:
            connection.settimeout(PATIENCE)
            breaks(connection, context)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):  # closed with something unread, it would take back what it has sent
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        host = f"localhost:{listening.getsockname()[1]}"
        server = AuthorizationServer.at(f"https://{host}")
        settings = config(server=server, api_url=f"https://{host}/v1", timeout=LONGEST)
        [finding] = network.server(settings) if check == "server" else network.api(settings)
        thread.join(PATIENCE)
    assert (finding.check, finding.level) == (check, "wrong")
    assert re.fullmatch(rf"TLS with {host} broke \(\w*{reason}\w*\)", finding.what)
    assert "SSL_CERT_FILE" not in finding.cure
