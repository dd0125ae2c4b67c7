"""The lease: of all processes that share a store, one at a time renews a session.

It is a key in the store that holds who has it, for a while that outlives the longest answer of the token endpoint.
A process that dies with it holds nobody up for longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import StoreUnavailable
from ..journal import say
from ..model import Session
from ..ports import World
from .records import digest

MARGIN = 5.0
"""Seconds that the lease outlives the longest answer, for what is done with it before it is released."""

POLL = (0.025, 0.25)
"""Seconds between two looks at a lease that another process holds: the first, and the longest."""

T = TypeVar("T")


class Lease:
    """The lease on one session, for one attempt to renew it."""

    def __init__(self, world: World, session: Session, timeout: float) -> None:
        self.seconds = timeout + MARGIN
        self._world = world
        self._key = "lease:" + digest(session.id)
        self._owner = world.token(16).encode()

    async def take(self, waiting: Callable[[], Awaitable[T | None]]) -> T | None:
        """Waits until the lease is ours: None. What `waiting` finds before that, after each look, is returned instead.

        Raises `StoreUnavailable` where another holds it for longer than one attempt takes.
        """
        pause, waited = POLL[0], 0.0
        while not await self._is_taken():
            if (found := await waiting()) is not None:
                return found
            if waited > 2 * self.seconds:
                raise StoreUnavailable("another process holds the lease for too long")
            await self._world.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, POLL[1])
        return None

    async def _is_taken(self) -> bool:
        """Tries to take it. An answer that got lost is asked for once more: a lease that nobody knows of is in
        everybody's way."""
        try:
            return await self._swap(None, self._owner)
        except StoreUnavailable:
            if await self._world.store.get(self._key) != self._owner:
                raise
            return True

    async def keep(self) -> bool:
        """Lets it run from now again; whether it was still ours."""
        return await self._swap(self._owner, self._owner)

    async def release(self) -> None:
        """Gives it back; what cannot be given back runs out."""
        try:
            await self._swap(self._owner, None)
        except StoreUnavailable as error:
            say("lease_kept", error=error)

    async def _swap(self, old: bytes | None, new: bytes | None) -> bool:
        return await self._world.store.swap(self._key, old, new, self.seconds)
