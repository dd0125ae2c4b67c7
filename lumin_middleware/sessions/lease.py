"""The lease: of all processes that share a store, one at a time renews a session.

It is a key in the store that holds who has it. Whoever waits takes it over from a process that did nothing for a while
that outlives the longest answer of the token endpoint, although the store answered all the time: it has died. A holder
says how long that is, since its `timeout` may be longer than that of whoever waits. While the store does not answer
nobody gets it, for its holder may have new tokens to save.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import StoreUnavailable
from ..journal import say
from ..model import Session
from ..ports import World
from ..requirements import SECONDS
from .records import digest

MARGIN = 5.0
"""Seconds that a holder has besides the longest answer, for what it does with it before it releases the lease."""

SAVING = (0.0, 0.1, 0.4, *[1.0] * 11)
"""Seconds before each attempt to save what was renewed: often, so that one comes soon after the store does. The old
refresh token is spent by then, and whoever gets the lease would spend it again; nobody does so before the last of them,
where the store answers."""

POLL = (0.025, 0.25)
"""Seconds between two looks at a lease that another process holds: the first, and the longest."""

TTL = 75.0
"""Seconds besides the longest answer for which the store keeps a lease that nobody takes over: a store that hangs may
take four of them for each attempt to save."""

T = TypeVar("T")


def dead_after(timeout: float) -> float:
    """Seconds after which a holder that did nothing counts as dead, where an answer takes `timeout` at the most."""
    return max(timeout, sum(SAVING)) + MARGIN


class Lease:
    """The lease on one session, for one attempt to renew it."""

    def __init__(self, world: World, session: Session, timeout: float) -> None:
        self._dead_after = dead_after(timeout)
        self._ttl = timeout + TTL
        self._world = world
        self._key = "lease:" + digest(session.id)
        self._owner = world.token(16)
        self._times = 0
        """How often it was kept, by which those who wait see that its holder lives."""

    async def take(self, waiting: Callable[[], Awaitable[T | None]]) -> T | None:
        """Waits until the lease is ours: None. What `waiting` finds before that, after each look, is returned instead.

        Raises `StoreUnavailable` where others hold it for longer than two attempts take.
        """
        pause, waited, seen = POLL[0], 0.0, 0.0
        holder: bytes | None = None
        while not await self._becomes(None, self._value):
            if (found := await waiting()) is not None:
                return found
            if holder is None:
                holder = await self._world.store.get(self._key)
            if waited - seen > (dead_after := max(self._dead_after, _told(holder))):
                if holder is not None and await self._becomes(holder, self._value):
                    return None
                if waited > 2 * dead_after:
                    raise StoreUnavailable("other processes hold the lease for too long")
                seen, holder = waited, None
            await self._world.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, POLL[1])
        return None

    async def keep(self) -> bool:
        """Lets it run from now again; whether it was still ours."""
        before, self._times = self._value, self._times + 1
        return await self._becomes(before, self._value)

    async def release(self) -> None:
        """Gives it back; what cannot be given back runs out."""
        try:
            await self._swap(self._value, None)
        except StoreUnavailable as error:
            say("lease_kept", error=error)

    @property
    def _value(self) -> bytes:
        return f"{self._owner} {self._times} {self._dead_after:.1f}".encode()

    async def _becomes(self, old: bytes | None, new: bytes) -> bool:
        """Whether it is `new` now, in place of `old`. An answer that got lost is asked for once more: a lease that
        nobody knows of is in everybody's way."""
        try:
            return await self._swap(old, new)
        except StoreUnavailable:
            if await self._world.store.get(self._key) != new:
                raise
            return True

    async def _swap(self, old: bytes | None, new: bytes | None) -> bool:
        return await self._world.store.swap(self._key, old, new, self._ttl)


def _told(holder: bytes | None) -> float:
    """Seconds after which a holder counts as dead, as far as it says so."""
    try:
        return min(float((holder or b"").split(b" ")[2]), dead_after(SECONDS["timeout"][1]))
    except (IndexError, ValueError):
        return 0.0
