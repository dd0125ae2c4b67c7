"""The two kinds of sessions: sealed in the cookie, or in the store with a handle in the cookie.

`CookieSessions` have a record in the store only once they were renewed or ended, or where they were too large; a cookie
is then a copy, and an old copy finds the newest. `StoreSessions` have it from the start.
"""

from __future__ import annotations

from ..config import LuminConfig
from ..errors import SessionEnded, StoreUnavailable
from ..model import Session
from ..ports import World
from .cookies import Cookies, Jar
from .opened import OPENED_COST, Carried, Opened
from .records import Record
from .sealing import Sealer
from .sessions import Sessions

HANDLE_LIMIT = 200
"""Characters of a sealed handle: they have 134, and a sealed session 300 at the least."""

FIRST = 60.0
"""Seconds from the beginning of a session in which its first cookie is sealed, whatever a callback has to wait for."""

UNKNOWN = 30.0
"""Seconds for which a cookie is believed about which the store could not be asked: each request would wait for it."""


class CookieSessions(Sessions):
    """The sealed session travels in the cookie, unless it is so large that servers would refuse the header."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        super().__init__(config, world, cookies)
        self._sealer = Sealer(config.keys, "session", world.clock)
        self._asks = config.strict_logout or config.backchannel_logout or getattr(world.store, "local", False)

    async def load(self, jar: Jar[Opened], *, slide: bool = False) -> Carried | None:
        opened = self._open(jar)
        if opened is None:
            return None
        session = opened.session
        if session is None:
            return await self._load_recorded(opened, jar, slide=slide)
        if (settled := opened.settled) is None or self._clock() >= settled.until:
            self.check_limits(session)
        raw, at_most = await self._ask_store(opened, session)
        if (carried := self._unchanged(opened, raw)) is not None:
            return carried
        newest, outdated = session, False
        if raw is not None:
            newest, outdated = self._recorded(raw, session)
        if outdated or not opened.newest_key:
            await self._list_anew(opened, newest)
            if raw is not None and outdated:
                await self._rewrite(raw, newest)
        stale = not opened.newest_key or newest is not session or (slide and self._is_sliding(session))
        if stale or outdated:
            return Carried(newest, stale)
        return self._settle(opened, raw if self._asks else None, session, at_most)

    def _proved(self, opened: Opened) -> Carried | None:
        session = opened.session
        if session is None or not opened.newest_key or not (self._asks or self._proves_itself(opened, session)):
            return None
        carried = self._settle(opened, None, session)
        return carried if carried.until else None

    def _proves_itself(self, opened: Opened, session: Session) -> bool:
        """Whether a cookie is believed where the store is not asked about each.

        The first of a session is, and what was looked into. One that was written in another's place may have come late,
        after a sign-out: a proxy that asks has it before the service's answer, and hands it on with that.
        """
        settled = opened.settled
        if settled is not None and self._clock() < settled.until:
            return True
        slide = self.limits.slides_at(session) - session.seen
        return not session.generation and session.seen < session.began + min(FIRST, slide)

    async def _ask_store(self, opened: Opened, session: Session) -> tuple[bytes | None, float]:
        """The record, where it must be looked for, and the seconds for which that is known at most."""
        if not self._asks and opened.newest_key and self._proves_itself(opened, session):
            return None, float("inf")
        try:
            return await self._world.store.get(opened.record), float("inf")
        except StoreUnavailable as error:
            # A cookie proves itself: without the store only an end mark can be missed.
            if self._config.strict_logout:
                raise
            self.warn("ends_unknown", error)
            return None, UNKNOWN

    def _unseal(self, value: bytes) -> Opened | None:
        if len(value) <= HANDLE_LIMIT:
            return self._from_handle(value)
        unsealed = self._sealer.unseal(value)
        if unsealed is None:
            return None
        try:
            session = Session.load(unsealed.data, unsealed.sealed_at)
        except ValueError:  # of a process that writes them in another way
            return None
        width = 1 if unsealed.data.isascii() else 4  # bytes of a character (PEP 393)
        size = OPENED_COST + len(unsealed.data) * width
        return Opened(session, session.id, unsealed.newest_key, size)

    async def begin(self, session: Session) -> None:
        """A new cookie is all there is to it, but for a session that no cookie holds."""
        if not self._fits(self._sealed(session)):
            await self._record(session)

    async def end(self, session_id: str, began: float, lasts: float | None = None) -> Session | None:
        ended = await self._records.end(session_id, self._remembered(began, lasts))
        self._world.announce_end(session_id)
        return ended

    def _unrecorded(self, session: Session) -> Record:
        return Record(None, session)

    def _lifetime(self, session: Session) -> float:
        return self._remembered(session.began, session.lasts)

    def _remembered(self, began: float, lasts: float | None) -> float:
        """Seconds for which the store must know what became of it: longer than any cookie that says otherwise lives."""
        return max(self.limits.is_gone_at(began, lasts) - self._clock(), 1)

    def _sealed(self, session: Session) -> str:
        return self._sealer.seal(self._told(session).dump())

    def _value(self, session: Session, *, saved: bool) -> str | None:
        sealed = self._sealed(session)
        if self._fits(sealed):
            return sealed
        if not saved:
            return None
        # It has a record: from its beginning, or since the renewal that made it grow.
        self.warn("too_large_for_cookies", f"{len(sealed)} bytes, of which {self._cookies.room} fit")
        return self._handle(session)

    async def give_back(self, session: Session, jar: Jar[Opened], *, saved: bool = True) -> list[str]:
        written = await super().give_back(session, jar, saved=saved)
        if len(written) > 1 and jar.takes_one:
            # Pieces that are left in the browser do no harm: what is whole is read before them.
            return self._written(self._handle(session), session, jar) if saved and await self._put_away(session) else []
        return written

    async def _put_away(self, session: Session) -> bool:
        """Whether the store has a session now, and as one that was just used, so that a handle leads to it."""
        try:
            record = await self.newest(session)
            await self.replace(record, record.session)  # who else writes meanwhile writes no less
        except SessionEnded:
            return False
        except StoreUnavailable as error:
            self.warn("use_not_written", error)
            return False
        return True

    def _fits(self, sealed: str) -> bool:
        return len(sealed) <= self._cookies.room


class StoreSessions(Sessions):
    """The cookie holds a handle, the session's id; the record in the store is the session."""

    _asks = True

    async def load(self, jar: Jar[Opened], *, slide: bool = False) -> Carried | None:
        opened = self._open(jar)
        return None if opened is None else await self._load_recorded(opened, jar, slide=slide)

    def _unseal(self, value: bytes) -> Opened | None:
        return self._from_handle(value)

    async def begin(self, session: Session) -> None:
        await self._record(session)

    async def end(self, session_id: str, began: float, lasts: float | None = None) -> Session | None:
        ended = await self._records.end(session_id, None)
        self._world.announce_end(session_id)
        return ended

    def _unrecorded(self, session: Session) -> Record:
        raise SessionEnded("the session was ended")

    def _proved(self, opened: Opened) -> Carried | None:
        return None

    def _lifetime(self, session: Session) -> float:
        return max(self.limits.max_age(session), 1)

    def _value(self, session: Session, *, saved: bool) -> str:
        return self._handle(session)  # whose record is there from the start, whichever generation it has


def sessions(config: LuminConfig, world: World, cookies: Cookies) -> Sessions:
    """The kind of sessions that the settings ask for."""
    kind = {"cookie": CookieSessions, "store": StoreSessions}[config.sessions]
    return kind(config, world, cookies)
