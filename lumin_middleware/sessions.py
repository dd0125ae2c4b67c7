"""Sessions: sealed in the cookie, or in the store with a handle in the cookie.

A session has one record in the store, under a digest of its id, sealed so that only who knows the id can
open it. `CookieSessions` have it only once they were renewed or ended: the newest generation, or the end mark; a
cookie is then a copy, and an old copy finds the newest. `StoreSessions` have it from the start. Whoever
uses a session sees one interface and never asks which it is.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from .config import LuminConfig
from .cookies import Cookies, Jar
from .errors import SessionEnded, StoreUnavailable
from .model import Session
from .ports import World
from .sealing import Sealer

logger = logging.getLogger("lumin_middleware")

ID_BYTES = 24  # 192 bits; OWASP ASVS 5, 7.2.3 asks for 128

MEMO_LIMIT = 1000
"""Sessions that a process keeps opened: a few MB, and only somebody who is signed in gets in."""

WARNING_PAUSE = 60.0
"""Seconds between two warnings about the same trouble."""

SWAP_ATTEMPTS = 8
"""Times that a mark is tried to be set while others write; each loser had a winner."""

_ENDED = b"ended"

T = TypeVar("T")


class Record(NamedTuple):
    """The newest that is known of a session, and the bytes in the store that say so (None: none do)."""

    raw: bytes | None
    session: Session


@dataclass(slots=True)
class Carried:
    """The session of a request, and whether the browser's copy must be written again."""

    session: Session
    stale: bool


class Memo(Generic[T]):
    """A bounded dictionary that forgets its oldest entry."""

    def __init__(self) -> None:
        self._entries: dict[bytes, T] = {}
        self.get = self._entries.get

    def put(self, key: bytes, value: T) -> None:
        if len(self._entries) >= MEMO_LIMIT:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries[key] = value


def digest(text: str) -> str:
    """The name of something in the store, which gives nobody the thing."""
    return hashlib.sha256(text.encode()).hexdigest()


class Sessions(ABC):
    """What both kinds share: limits, the record, and the cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._config = config
        self._world = world
        self._cookies = cookies
        self._records = Sealer(config.keys, "record", world.clock)
        self._opened: Memo[Session] = Memo()
        self._slide = config.idle_timeout / 10
        self._warned_at = float("-inf")

    # --- what differs ---

    @abstractmethod
    async def load(self, jar: Jar) -> Carried | None:
        """The session that the cookies carry, if any.

        Raises `SessionEnded` when there was one, `StoreUnavailable` when it cannot be known.
        """

    @abstractmethod
    async def begin(self, session: Session, replaced: Session | None) -> None:
        """Makes a new session known, in place of the one that this browser had. Raises `StoreUnavailable`."""

    @abstractmethod
    async def end(self, session: Session) -> None:
        """Ends it for every copy, whoever holds one. Raises `StoreUnavailable`."""

    @abstractmethod
    def _unrecorded(self, session: Session) -> Record:
        """What it means that the store has no record. Raises `SessionEnded`."""

    @abstractmethod
    def _lifetime(self, session: Session) -> float:
        """Seconds that the record must live."""

    @abstractmethod
    def _value(self, session: Session) -> str:
        """What the cookie holds."""

    # --- what does not ---

    def check_limits(self, session: Session) -> None:
        """Raises `SessionEnded` past the idle or the absolute limit, whatever the browser believes."""
        now = self._world.clock()
        if now >= session.seen + self._config.idle_timeout or now >= session.began + self._config.absolute_timeout:
            raise SessionEnded("the session is past one of its limits", "expired")

    async def newest(self, session: Session) -> Record:
        """The newest generation that anybody knows. Raises `SessionEnded`, `StoreUnavailable`."""
        raw = await self._world.store.get(self._key(session.id))
        if raw is None:
            return self._unrecorded(session)
        recorded = self._read(raw, session.id)
        return Record(raw, recorded if recorded.generation >= session.generation else session)

    async def replace(self, record: Record, session: Session) -> bool:
        """Writes the record if it is still what `record` says. Raises `StoreUnavailable`."""
        raw = self._seal(session.dump(), session.id)
        return await self._world.store.swap(self._key(session.id), record.raw, raw, self._lifetime(session))

    def set_cookies(self, session: Session, jar: Jar) -> list[str]:
        """The `Set-Cookie` values that give the browser this session. Raises `SessionTooLarge`."""
        max_age = min(self._config.idle_timeout, self._remaining(session))
        return self._cookies.write_session(self._value(session), max_age, jar.ours)

    def warn(self, message: str, error: Exception) -> None:
        """Logs trouble that each request would meet: once in a while."""
        if (now := self._world.clock()) >= self._warned_at + WARNING_PAUSE:
            self._warned_at = now
            logger.warning("%s: %s", message, error)

    def _read(self, raw: bytes, session_id: str) -> Session:
        if (session := self._opened.get(raw)) is not None:
            return session
        unsealed = self._records.unseal(raw, session_id)
        if unsealed is None or unsealed.data == _ENDED:
            # A record that we cannot open says nothing about who may go on: nobody.
            raise SessionEnded("the session was ended")
        session = Session.load(unsealed.data, unsealed.sealed_at)
        self._opened.put(raw, session)
        return session

    def _seal(self, data: bytes, session_id: str) -> bytes:
        return self._records.seal(data, session_id).encode()

    def _key(self, session_id: str) -> str:
        return "session:" + digest(session_id)

    def _remaining(self, session: Session) -> float:
        return session.began + self._config.absolute_timeout - self._world.clock()

    def _is_sliding(self, session: Session) -> bool:
        return self._world.clock() >= session.seen + self._slide


class CookieSessions(Sessions):
    """The sealed session travels in the cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        super().__init__(config, world, cookies)
        self._sealer = Sealer(config.keys, "session", world.clock)
        self._carried: Memo[tuple[Session, bool]] = Memo()
        self._ask = config.strict_logout or getattr(world.store, "local", False)

    async def load(self, jar: Jar) -> Carried | None:
        opened = self._carried.get(jar.header) or self._open(jar)
        if opened is None:
            return None
        session, newest_key = opened
        self.check_limits(session)
        stale = not newest_key or self._is_sliding(session)
        if not self._ask:
            return Carried(session, stale)
        with self._tolerating_trouble():
            newest = (await self.newest(session)).session
            return Carried(newest, stale or newest.generation != session.generation)
        return Carried(session, stale)

    def _open(self, jar: Jar) -> tuple[Session, bool] | None:
        for value in jar.session_values():
            if unsealed := self._sealer.unseal(value):
                opened = Session.load(unsealed.data, unsealed.sealed_at), unsealed.newest_key
                self._carried.put(jar.header, opened)
                return opened
        return None

    @contextmanager
    def _tolerating_trouble(self) -> Iterator[None]:
        """A cookie proves itself: without the store only an end mark can be missed, unless that is not to be."""
        try:
            yield
        except StoreUnavailable as error:
            if self._config.strict_logout:
                raise
            self.warn("The store is not available; sessions that were ended elsewhere go on", error)

    async def begin(self, session: Session, replaced: Session | None) -> None:
        """A new cookie is all there is to it."""

    async def end(self, session: Session) -> None:
        mark = self._seal(_ENDED, session.id)
        for _ in range(SWAP_ATTEMPTS):
            raw = await self._world.store.get(self._key(session.id))
            if await self._world.store.swap(self._key(session.id), raw, mark, max(self._remaining(session), 1)):
                return
        raise StoreUnavailable("the session's record changes too fast to be ended")

    def _unrecorded(self, session: Session) -> Record:
        return Record(None, session)

    def _lifetime(self, session: Session) -> float:
        return max(self._remaining(session), 1)  # longer than any cookie that holds an older generation

    def _value(self, session: Session) -> str:
        return self._sealer.seal(session.dump())


class StoreSessions(Sessions):
    """The cookie holds a handle, the session's id; the record in the store is the session."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        super().__init__(config, world, cookies)
        self._sealer = Sealer(config.keys, "handle", world.clock)
        self._handles: Memo[tuple[str, bool]] = Memo()

    async def load(self, jar: Jar) -> Carried | None:
        opened = self._handles.get(jar.header) or self._open(jar)
        if opened is None:
            return None
        session_id, newest_key = opened
        raw = await self._world.store.get(self._key(session_id))
        if raw is None:
            return None
        session = self._read(raw, session_id)
        self.check_limits(session)
        if not self._is_sliding(session):
            return Carried(session, not newest_key)
        # Whoever wins writes the same session; sealing it now is what says that it was used.
        await self.replace(Record(raw, session), session)
        return Carried(session, True)

    def _open(self, jar: Jar) -> tuple[str, bool] | None:
        for value in jar.session_values():
            if unsealed := self._sealer.unseal(value):
                opened = unsealed.data.decode(), unsealed.newest_key
                self._handles.put(jar.header, opened)
                return opened
        return None

    async def begin(self, session: Session, replaced: Session | None) -> None:
        if not await self.replace(Record(None, session), session):
            raise StoreUnavailable("a new session's id is taken, so the store does not keep its contract")
        if replaced is not None:
            await self.end(replaced)

    async def end(self, session: Session) -> None:
        for _ in range(SWAP_ATTEMPTS):
            raw = await self._world.store.get(self._key(session.id))
            if raw is None or await self._world.store.swap(self._key(session.id), raw, None, 0):
                return
        raise StoreUnavailable("the session's record changes too fast to be ended")

    def _unrecorded(self, session: Session) -> Record:
        raise SessionEnded("the session was ended")

    def _lifetime(self, session: Session) -> float:
        return max(min(self._config.idle_timeout, self._remaining(session)), 1)

    def _value(self, session: Session) -> str:
        return self._sealer.seal(session.id.encode())


def sessions(config: LuminConfig, world: World, cookies: Cookies) -> Sessions:
    """The kind of sessions that the settings ask for."""
    kind = {"cookie": CookieSessions, "store": StoreSessions}[config.sessions]
    return kind(config, world, cookies)
