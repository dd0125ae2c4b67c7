"""uvicorn in a thread that says when it is up, and ends at once: its own looks ten times a second whether it should."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from lumin_middleware.emulator.uvicorn_server import stop_listening
from tests.patience import PATIENCE


class Server(uvicorn.Server):
    """Ends when it is told; what is still served then is cut off."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # what each answer has
        await self._over.wait()

    def end(self) -> None:
        """Ends it, from another thread, once it is up."""
        self.should_exit = True
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await stop_listening(sockets or ())
        for server in self.servers:
            server.close()
        for connection in [*self.server_state.connections]:
            connection.transport.abort()
        tasks = [*self.server_state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
