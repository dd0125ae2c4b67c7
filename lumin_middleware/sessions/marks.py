"""What the store keeps for logins: that one was used, and what came of it; and a page whose address is long.

Anybody can begin logins, so what they leave is small, short-lived and counted: sessions, which live in the same store,
must have room whatever strangers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from ..config import LuminConfig
from ..errors import StoreUnavailable
from ..journal import say
from ..ports import World
from .logins import CLOCK_SETBACK, LIFETIME, short_name
from .records import digest
from .sealing import Sealer

USED, DONE, OVERTAKEN, VOID = b"used", b"done", b"overtaken", b"void"
"""What became of a login whose code was sent: nothing is known yet, somebody is signed in, somebody was by another one
of the same browser, nothing."""

CONNECTING, CONNECTED = b"connecting", b"connected"
"""The same of one that brings a grant. It changes no session, and is in no other login's way."""

PENDING, SUCCESS = frozenset({USED, CONNECTING}), frozenset({DONE, OVERTAKEN, CONNECTED})
"""What may still come to something, and what has."""

LIVES = LIFETIME + CLOCK_SETBACK
"""Seconds that what is kept for a login lives."""

MARKS_LIMIT = 50_000
"""Marks of one process that can be in the store at one time: a fifth of what a memory store holds. So it marks 25,000
logins at once, and 13 in each second, all day."""

INLINE_LIMIT = 512
"""Bytes of a page's address that travel in `state`; Hydra copies `state` into cookies and addresses of its own."""

PAGES_LIMIT = 16 * 1024 * 1024
"""Bytes of longer addresses that one process keeps at one time; an eighth of a memory store."""

_REFERENCE = "kept:"  # no path begins so


class Budget:
    """How much may be kept at one time of what lives for `lives` seconds: half of the limit at once, and the other half
    evenly over that time. After a rush of strangers there is something again at once, for whoever comes next.
    """

    def __init__(self, limit: int, lives: float, clock: Callable[[], float]) -> None:
        self._room = self._left = limit / 2
        self._rate = limit / 2 / lives
        self._clock = clock
        self._since = clock()

    def spend(self, amount: int) -> bool:
        """Spends it, if there is that much left."""
        now = self._clock()
        self._left = min(self._room, self._left + max(0.0, now - self._since) * self._rate)
        self._since = now
        if self._left < amount:
            return False
        self._left -= amount
        return True


class Marks:
    """Which logins were used."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._budget = Budget(MARKS_LIMIT, LIVES, world.clock)

    async def use(self, state: str, mark: bytes = USED) -> bool:
        """Marks a login as used; whether it was not before. Raises `StoreUnavailable`."""
        if not self._budget.spend(1):
            raise StoreUnavailable("too many sign-ins at once: room in the store is kept for sessions")
        first = await self._swap(short_name(state), None, mark)
        if not first:
            self._budget.spend(-1)  # one callback again and again takes no more room
        return first

    async def ended(self, state: str, outcome: bytes) -> None:
        """Says what became of a login that was used. Where the store cannot take it, whoever waits gives up later."""
        with suppress(StoreUnavailable):
            before = await self.outcome(state)
            if outcome == VOID or before in PENDING:
                await self._swap(short_name(state), before, outcome)

    async def outcome(self, state: str) -> bytes | None:
        """What became of it; None when it was not used. Raises `StoreUnavailable`."""
        return await self._read(short_name(state))

    # --- two at once ---

    async def rivals(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Of these logins, by their short names: those that were used and of which nobody knows yet what comes, and
        those by which somebody was signed in, though the browser that has them did not know it yet."""
        with suppress(StoreUnavailable):
            found = [(name, await self._read(name)) for name in names]
            return [name for name, mark in found if mark == USED], [name for name, mark in found if mark == DONE]
        return [], []

    async def win(self, state: str, rivals: Iterable[str]) -> bool:
        """Says that somebody is signed in, and of `rivals`, by their short names, as well: it is the same browser.

        False where one of them has said so first. Of two logins whose codes are on their way at once the later one sees
        the other, or each sees the other, so that they meet at a mark. Whoever gives way there has said nothing of the
        marks that follow: since all go through them in one order, one wins.
        """
        own = short_name(state)
        with suppress(StoreUnavailable):  # as in `ended`
            for name in sorted({own, *rivals}):
                if not await self._swap(name, USED, DONE) and await self._read(name) == DONE:
                    await self._swap(own, USED, OVERTAKEN)
                    return False
        return True

    async def _read(self, name: str) -> bytes | None:
        return await self._world.store.get(_mark(name))

    async def _swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        return await self._world.store.swap(_mark(name), old, new, LIVES)


class LongPages:
    """Pages whose addresses are too long to travel in `state`."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self._default = config.after_login
        self._world = world
        self._sealer = Sealer(config.keys, "page", world.clock)
        self._budget = Budget(PAGES_LIMIT, LIVES, world.clock)

    async def keep(self, page: str) -> str:
        """What stands for the page in `state`: itself or, where it is long, a reference to what the store keeps."""
        if len(page) <= INLINE_LIMIT:
            return page
        name = digest(page)
        try:
            raw = await self._world.store.get(_page(name))
            if raw is None and not self._budget.spend(len(page)):
                raise StoreUnavailable("too many long addresses at once")
            sealed = self._sealer.seal(page.encode(), name).encode()
            await self._world.store.swap(_page(name), raw, sealed, LIVES)
        except StoreUnavailable as error:
            say("page_forgotten", bytes=len(page), error=error)
            return self._default
        return _REFERENCE + name

    async def find(self, kept: str) -> str:
        """The page that `keep` was given, or the page after a login if it is gone."""
        if not kept.startswith(_REFERENCE):
            return kept
        name = kept.removeprefix(_REFERENCE)
        try:
            raw = await self._world.store.get(_page(name))
        except StoreUnavailable as error:
            say("page_not_found", error=error)
            return self._default
        unsealed = self._sealer.unseal(raw, name) if raw else None
        return unsealed.data.decode() if unsealed else self._default


def _mark(name: str) -> str:
    return "login:" + name


def _page(name: str) -> str:
    return "page:" + name[:32]
