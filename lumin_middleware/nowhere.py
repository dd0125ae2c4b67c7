"""A world in which nothing is kept and nobody answers, for whoever only wants to know what would be done.

Its store is empty, and its authorization server silent. Both remember what they were asked.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .config import AuthorizationServer, LuminConfig
from .errors import ServerUnavailable
from .events import Event
from .model import AuthorizationCode
from .ports import Answer
from .protocol.metadata import WELL_KNOWN
from .runtime.event_loop import DirectStore
from .runtime.telemetry import Silent
from .stores import MemoryStore

T = TypeVar("T")

DISCOVERED = "https://discovered.invalid/"
"""Where the endpoints are that only the server's own document names (RFC 2606, 2: nothing ever is)."""


class _Empty(DirectStore):
    """A store that remembers whether it was asked for anything that it does not have."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float], asked: set[str]) -> None:
        super().__init__(MemoryStore(clock=clock), config.fingerprint)
        self._asked = asked

    async def get(self, key: str) -> bytes | None:
        found = await super().get(key)
        if found is None:
            self._asked.add("store")
        return found


class _Silent:
    """`ports.Exchange` of a server that nobody asks: it remembers for what it would have been.

    Only its own document it has, with the endpoints at `DISCOVERED`: those that the settings give count more.
    """

    def __init__(self, document: str, issuer: str, asked: set[str]) -> None:
        self._document = document
        self._issuer = issuer
        self._asked = asked

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        raise self._nobody("redeem")

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        raise self._nobody("refresh")

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """Nothing depends on it."""

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        if url != self._document:
            raise self._nobody("fetch")
        self._asked.add("document")
        endpoints = {name: f"{DISCOVERED}{name}" for name in AuthorizationServer.ENDPOINTS}
        return Answer(200, "application/json", json.dumps({"issuer": self._issuer, **endpoints}).encode())

    def _nobody(self, what: str) -> ServerUnavailable:
        self._asked.add(what)
        return ServerUnavailable("nobody is asked here", sent=False)


class Nowhere:
    """`ports.World` in which nothing is kept, and nobody answers. `asked` is what somebody would have been asked."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float]) -> None:
        server = config.server
        self.asked: set[str] = set()
        self.document = f"{server.issuer.removesuffix('/')}{WELL_KNOWN}" if server.discovery else ""
        self.store = _Empty(config, clock, self.asked)
        self.exchange = _Silent(self.document, server.issuer, self.asked)
        self.clock = clock
        self.telemetry = Silent()

    def tell(self, event: Event) -> None:
        """Nobody listens."""

    def token(self, size: int) -> str:
        return secrets.token_urlsafe(size)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        yield

    def locked(self, key: str) -> bool:
        return False

    def announce_end(self, session_id: str) -> None:
        """Nobody is served for long."""

    async def sleep(self, seconds: float) -> None:
        """No time passes."""

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        return await action()

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        return False
