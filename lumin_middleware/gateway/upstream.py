"""The service behind the gateway: requests go to it as they came, and its answers come back piece by piece.

One port and one client. Nothing is kept but idle connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from urllib.parse import urlsplit

from ..connections import tls_context
from .http1 import Connection
from .messages import Answer, Closed, Request, UpstreamTrouble, check

CONNECT_TIMEOUT = 5.0
"""Seconds until the service must have taken a connection: it is near."""

KEEPALIVE = 2.0
"""Seconds that an unused connection is kept; Node and uvicorn close theirs after 5, and who is first must be us."""

KEPT = 100
"""Unused connections that are kept."""


class Upstream:
    """The connections to one service. `timeout` is in seconds, for each piece that it takes, and until it answers."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._ssl: ssl.SSLContext | None = tls_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._timeout = timeout
        self._idle: deque[tuple[float, Connection]] = deque()

    async def send(self, request: Request) -> Answer:
        """Sends a request, once; again, where it was safe and met a kept connection that was just closed.

        That is what a client may do by itself (RFC 9110, 9.2.2). Raises `UpstreamTrouble`, `RequestRefused` for a
        request that would be another one on the wire, and what the pieces of the body raise.
        """
        check(request)
        connection = self._kept()
        if connection is not None:
            try:
                return await connection.exchange(request)
            except Closed:
                if request.method not in (b"GET", b"HEAD") or request.body is not None:
                    raise
        return await (await self._connect()).exchange(request)

    def _kept(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - KEEPALIVE
        while self._idle:
            since, connection = self._idle.pop()
            if since > oldest and connection.is_open:
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        """Takes a connection back that may be used again."""
        now = asyncio.get_running_loop().time()
        while self._idle and (len(self._idle) >= KEPT or self._idle[0][0] <= now - KEEPALIVE):
            self._idle.popleft()[1].close()
        self._idle.append((now, connection))

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._keep, self._timeout), self._host, self._port, ssl=self._ssl
                )
        except TimeoutError:
            raise UpstreamTrouble(f"no connection within {CONNECT_TIMEOUT:g} s") from None
        except OSError as error:
            raise UpstreamTrouble(f"no connection: {error}") from None
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()
