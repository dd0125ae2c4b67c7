"""One of our workers behind a real proxy: `python -m lumin_middleware.cli.worker FD SETTINGS`.

It serves our routes and `verify` on a socket that it was given, and no application: what the proxy passes on, it
passes to the service itself. Its settings are the environment's, and what the command line added to them (JSON).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

from ..asgi import LuminMiddleware
from ..config import LuminConfig
from .lines import log_to_stderr

GRACE = 10
"""Seconds that requests in flight have once a worker is told to stop."""


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """There is no application here."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def main(fd: int, changes: str) -> None:
    import uvicorn

    log_to_stderr()
    options = uvicorn.Config(
        LuminMiddleware(nothing, replace(LuminConfig.from_env(), **json.loads(changes))),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
    )
    _end_with_the_parent()
    uvicorn.Server(options).run(sockets=[socket.socket(fileno=fd)])


def _end_with_the_parent() -> None:
    """Standard input is a pipe that the parent holds open: when it is gone, so is what it started."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
