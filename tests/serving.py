"""uvicorn in a thread that says when it is up, and ends at once: its own looks ten times a second whether it should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from lumin_middleware.emulator import uvicorn_server
from tests.patience import PATIENCE


class Server(uvicorn_server.Server):
    """The emulator's, for any application: one with a lifespan, whose answers have a date."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self.lifespan.shutdown()


@contextmanager
def served(app: Any, listener: socket.socket, **settings: Any) -> Iterator[None]:
    """Serves an ASGI application on a socket, from here on and until the block ends."""
    server = Server(uvicorn.Config(app, **{"loop": "asyncio", "log_config": None, "access_log": False, **settings}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="served")
    thread.start()
    while not server.up.wait(0.1):
        assert thread.is_alive(), "the application did not start"
    try:
        yield
    finally:
        server.end()
        thread.join(PATIENCE)
