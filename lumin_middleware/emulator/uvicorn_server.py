"""uvicorn, as the emulator needs it: it ends at once, and shows each request the transport by which it came."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .faults import TRANSPORT

GRACE = 1.0
"""Seconds for whoever does not let itself be cancelled."""

ACCEPTING = 4
"""Turns of the loop until whoever was accepted is a connection: its task begins, makes a transport, which calls the
protocol, and one to spare. asyncio forgets whom it accepts as a server closes, and that client would wait for ever."""


async def stop_listening(sockets: Iterable[socket.socket]) -> None:
    """Lets nobody in any more, and whoever is at the door."""
    for listener in sockets:
        with suppress(NotImplementedError):  # a loop without readers
            asyncio.get_running_loop().remove_reader(listener)
    for _ in range(ACCEPTING):
        await asyncio.sleep(0)


class Protocol(H11Protocol):
    """Shows each request the transport it came by, so that a fault can close it."""

    def connection_made(self, transport: Any) -> None:
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class Server(uvicorn.Server):
    """Ends at once: whoever still waits for an answer loses the connection. uvicorn's own looks ten times a second
    whether it should, which whoever starts one for each test waits for.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Ends it, from whichever thread."""
        self.should_exit = True
        if self._loop is not None:  # else it has not begun, and will not
            with suppress(RuntimeError):  # it is over, and its loop is closed
                self._loop.call_soon_threadsafe(self._over.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.end()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await stop_listening(sockets or ())
        for server in self.servers:
            server.close()
        for connection in [*self.server_state.connections]:
            connection.transport.abort()
        tasks = [*self.server_state.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for listener in sockets or ():
            listener.close()


def serving(app: ASGIApp) -> Server:
    """What serves an emulator."""
    return Server(
        uvicorn.Config(
            app,
            http=Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            date_header=False,  # the emulator writes it: its clock may be wrong on purpose
            server_header=False,
            timeout_keep_alive=75,  # longer than clients keep idle connections: one that closes loses a request
        )
    )
