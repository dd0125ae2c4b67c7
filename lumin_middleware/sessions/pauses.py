"""Pauses: after trouble with the token endpoint, when it may be asked again for a session.

Soon at first, then less and less often. Whom a pause concerns, the trouble says. Where the server may have spent the
refresh token, all processes keep the pause, so it lies in the store. Where nothing was sent, or our own credentials
were refused, it is this process's alone: another host may be better off. A pause is about one generation of a session:
once it was renewed, no trouble is left of what went before.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple, Self

from ..errors import ServerUnavailable, StoreUnavailable
from ..journal import say
from ..model import CLOCK_TOLERANCE, Session
from ..ports import World
from ..protocol.oauth import RETRY_AFTER_LIMIT
from .latest import Latest
from .records import digest

FIRST, LONGEST = 1.0, 30.0
"""Seconds of the first pause, and of the longest; each is twice the one before. A hiccup costs a moment. The early
question is the safer one, too: a server with a grace period for spent tokens still has the answer that got lost."""

MEMORY = 60.0
"""Seconds that a pause is remembered when it is over, so that the next one is longer if the trouble goes on."""

OWN_LIMIT = 10_000
"""Pauses that a process remembers by itself: some 3 MB."""


class Pause(NamedTuple):
    """One pause: which it is in a row, how many seconds it has, and when it is over, in epoch seconds."""

    number: int
    seconds: float
    until: float

    def dump(self) -> bytes:
        return " ".join(map(str, self)).encode()

    @classmethod
    def load(cls, raw: bytes) -> Self | None:
        """The pause that `dump` wrote; None for anything else."""
        try:
            number, seconds, until = raw.decode().split(" ")
            pause = cls(int(number), float(seconds), float(until))
        except ValueError:
            return None
        return pause if pause.number > 0 and 0 < pause.seconds <= RETRY_AFTER_LIMIT else None

    def left(self, now: float) -> float:
        """Seconds until it is over; by a clock that differs from the writer's they are no more than it has."""
        return min(self.until - now, self.seconds) if self._has_begun(now) else 0.0

    def is_remembered(self, now: float) -> bool:
        """Whether what follows it is the next in its row."""
        return self._has_begun(now) and now < self.until + MEMORY

    def _has_begun(self, now: float) -> bool:
        """False where the clock was far ahead when it began."""
        return self.until - now <= self.seconds + CLOCK_TOLERANCE


class InPause(ServerUnavailable):
    """Nobody was asked, since an attempt failed a moment ago."""

    def __init__(self, left: float) -> None:
        super().__init__("the token endpoint was in trouble just now", retry_after=left, sent=False)


class Pauses:
    """The pauses of one site's sessions, as one process knows them."""

    def __init__(self, world: World) -> None:
        self._store = world.store
        self._clock = world.clock
        self._own: Latest[Pause] = Latest(OWN_LIMIT)

    async def check(self, session: Session) -> None:
        """Raises `InPause` in a pause, with what is left of it; `StoreUnavailable` when nobody can know."""
        key = _key(session)
        shared = Pause.load(await self._store.get(key) or b"")
        left = max((pause.left(self._clock()) for pause in (shared, self._own.get(key)) if pause), default=0.0)
        if left > 0:
            raise InPause(left)

    async def begin(self, session: Session, *, at_least: float, shared: bool) -> float:
        """Begins the next pause, for all processes or for this one; its seconds."""
        key, raw = _key(session), None
        if shared:
            with suppress(StoreUnavailable):  # which is told below
                raw = await self._store.get(key)
        pause = self._remember(key, self._next(Pause.load(raw or b""), self._own.get(key)), at_least)
        try:
            if shared:
                await self._store.swap(key, raw, pause.dump(), pause.seconds + MEMORY)
        except StoreUnavailable as error:
            say("pause_not_shared", error=error)
        return pause.seconds

    def _next(self, *pauses: Pause | None) -> int:
        """The number of the pause that follows these."""
        now = self._clock()
        return max((pause.number for pause in pauses if pause and pause.is_remembered(now)), default=0) + 1

    def _remember(self, key: str, number: int, at_least: float) -> Pause:
        seconds = max(min(FIRST * 2.0 ** min(number - 1, 10), LONGEST), at_least)
        pause = Pause(number, seconds, self._clock() + seconds)
        self._own.put(key, pause)
        return pause


def _key(session: Session) -> str:
    return "trouble:" + digest(f"{session.id} {session.generation}")
