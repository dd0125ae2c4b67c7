"""One of our workers behind a real proxy: `python -m lumin_middleware.cli.worker FD SETTINGS ENGINE FOLDER`.

It serves our routes and `verify` on a socket that it was given, and no application: what the proxy passes on, it
passes to the service itself. Its settings are the environment's, and what the command line added to them (JSON).

Standard input is a line to the parent, who holds the other end as long as it lives. On it the worker says that it
serves; when it is gone, so is the parent, and all that it left ends: the worker, the processes of ENGINE, its FOLDER.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..asgi import LuminMiddleware
from ..config import LuminConfig
from ..errors import LuminError
from .lines import Stderr, log_to_stderr

GRACE = 10
"""Seconds that requests in flight have once a worker is told to stop."""

LINE = 0
"""The number of standard input."""


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """There is no application here."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def main(fd: int, changes: str, engine: int, folder: str) -> None:
    _end_with_the_parent(engine, folder)
    import uvicorn

    from .uvicorn_server import KEPT, Server

    log_to_stderr(handler=Stderr())
    try:
        app = LuminMiddleware(nothing, replace(LuminConfig.from_env(), **json.loads(changes)))
    except LuminError as error:
        sys.exit(str(error))
    options = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=GRACE,
    )
    Server(options, _say_that_it_serves).run(sockets=[socket.socket(fileno=fd)])


def _say_that_it_serves() -> None:
    with suppress(OSError):  # there is nobody any more
        os.write(LINE, b".")


def _end_with_the_parent(engine: int, folder: str) -> None:
    """Ends this process and the group of processes that `engine` leads, and takes its folder away, once nobody holds
    the line.

    The group at once and by force, for nobody is there who would wait for its end: nginx's own workers are of it, and
    do not end with their master. Its number is no other's as long as one of them lives.
    """

    def wait() -> None:
        with suppress(OSError):
            while os.read(LINE, 1):
                pass
        with suppress(OSError):  # another worker was first
            os.killpg(engine, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
