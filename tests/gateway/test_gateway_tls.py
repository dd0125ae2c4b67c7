"""A service by https behind the built-in engine: whose certificate is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2.websockets import WebSocketUpgradeError
from starlette.websockets import WebSocket

from tests.certificates import self_signed
from tests.patience import PATIENCE
from tests.proxies.rig import Browser, Echo, front, gateway, serve

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
