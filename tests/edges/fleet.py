"""One site of two halves, for servers in other processes: ASGI and WSGI, the same settings, one store, one clock.

The clock is real time and what the file at FLEET_CLOCK says more, so that a test can let hours pass for all.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lumin_middleware import LuminConfig, lumin
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware

CLOCK = "FLEET_CLOCK"


class SharedClock:
    """Real time, and what the file says more, in seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> float:
        return time.time() + float(self._file.read_text("ascii"))

    def advance(self, seconds: float) -> None:
        later = float(self._file.read_text("ascii")) + seconds
        beside = self._file.with_suffix(".new")
        beside.write_text(str(later), "ascii")
        beside.replace(self._file)  # at once, for whoever reads it now


def _named(token: str) -> bytes:
    """A token, told apart from others and not told to anybody; and which process had it."""
    return f"{os.getpid()} {hashlib.sha256(token.encode()).hexdigest()}".encode()


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = _named(await lumin(scope).access_token())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


def _wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = _named(lumin(environ).access_token())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


if CLOCK in os.environ:
    _clock = SharedClock(Path(os.environ[CLOCK]))
    asgi_app = AsgiMiddleware(_asgi, LuminConfig.from_env(), clock=_clock)
    wsgi_app = WsgiMiddleware(_wsgi, LuminConfig.from_env(), clock=_clock)
