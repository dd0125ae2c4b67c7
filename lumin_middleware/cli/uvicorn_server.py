"""uvicorn, as a worker behind a proxy needs it: it says when it serves, and loses no request as it ends.

A proxy keeps connections to it. On one that is closed at this moment it may send a request, and none repeats a POST
(RFC 9110, 9.2.2), such as a sign-out: so it is the proxy that closes them, told by an answer or left idle.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

KEPT = 150
"""Seconds that an idle connection is kept: longer than nginx (4, by our settings) and Caddy (120) keep theirs."""

LINGER = 5.0
"""Seconds in which each answer of one that ends asks for its connection to be closed; who is idle is closed then."""

POLL = 0.05
"""Seconds between two looks whether all connections are closed."""

CLOSE = (b"connection", b"close")


class Server(uvicorn.Server):
    """Calls `begun` once it serves."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], object]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:  # nobody new comes in
            server.close()
        self.server_state.default_headers.append(CLOSE)
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER
        # uvicorn's set of connections tells nobody that it is empty.
        while self.server_state.connections and not self.force_exit and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(POLL)
        await super().shutdown(sockets)
