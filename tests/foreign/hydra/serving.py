"""An ASGI application over a real socket, in a thread of this process."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import httpx2
import uvicorn

from lumin_middleware.connections import tls_context
from lumin_middleware.emulator.server import listen

CLIENT: dict[str, Any] = {
    "trust_env": False,
    "timeout": 30,
    "verify": tls_context(),
    "limits": httpx2.Limits(keepalive_expiry=1),  # seconds; uvicorn closes after five, and nobody shall meet that
}
"""What every HTTP client of these tests is made with."""


def new_client() -> httpx2.Client:
    return httpx2.Client(**CLIENT)


EPHEMERAL = 32_768  # from here on Linux takes ports for connections


def free_port() -> int:
    """A free port for a program that must open it itself, later, and again after it was stopped.

    It is none that a connection of somebody else could get by chance meanwhile.
    """
    return next(free_ports(1))


def free_ports(count: int) -> Iterator[int]:
    """So many of them, no two alike."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(EPHEMERAL // 2, EPHEMERAL)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return iter(found)


class Served:
    """`app` answers at `base`, a free port of the loopback interface, until `close`."""

    def __init__(self, app: Any) -> None:
        self._listener = listen("127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
