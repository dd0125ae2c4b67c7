"""The record of a session in the store: where it lies, how it is sealed, what it says.

A session has one, under a digest of its id, sealed so that only who knows the id can open it. It holds the newest
generation, or the mark that the session has ended. Whether a session must have one is for `sessions` to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ..config import LuminConfig
from ..errors import SessionEnded, StoreUnavailable
from ..model import Session
from ..ports import World
from .sealing import Sealer

PATIENCE = 8.0
"""Seconds of pauses in which a change waits for others who write the same; as long as somebody waits for a page."""

PAUSES = (0.002, 0.25)
"""Seconds that the first pause lasts at most, and the longest: from the time of one swap to that of a hundred."""

_ENDED = b"ended"


class Record(NamedTuple):
    """The newest that is known of a session, and the bytes in the store that say so (None: none do)."""

    raw: bytes | None
    session: Session

    def __repr__(self) -> str:
        return f"Record(…, {self.session!r})"


def digest(text: str) -> str:
    """The name of something in the store, which gives nobody the thing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def record_key(session_id: str, kind: str = "session") -> str:
    """Where a session's record is in the store."""
    return f"{kind}:" + digest(session_id)


async def change(
    world: World,
    key: str,
    new: Callable[[bytes | None], bytes | None],
    lifetime: float | Callable[[], float],
) -> bytes | None:
    """Puts what `new` makes of what is there in its place, however many do so at once; for `lifetime` seconds, which
    may be for what was made last to say. Where that is what is there, all is well.

    Returns what was there. Whoever loses to another waits a while, at random and each time longer, so that all get
    their turn. Raises `StoreUnavailable`.
    """
    waited, longest = 0.0, PAUSES[0]
    while True:
        raw = await world.store.get(key)
        value = new(raw)
        if raw is value:
            return raw
        if await world.store.swap(key, raw, value, lifetime() if callable(lifetime) else lifetime):
            return raw
        if waited > PATIENCE:
            raise StoreUnavailable("what others write at the same time too often cannot be changed")
        pause = longest * int(digest(world.token(8))[:4], 16) / 0xFFFF
        await world.sleep(pause)
        waited, longest = waited + pause, min(longest * 2, PAUSES[1])


class Records:
    """The records of one site's sessions, or of another kind of them. Times are in seconds."""

    def __init__(self, config: LuminConfig, world: World, kind: str = "session") -> None:
        self._world = world
        self._store = world.store
        self._kind = kind
        self._sealer = Sealer(config.keys, "record" if kind == "session" else kind, world.clock)

    async def raw(self, session_id: str) -> bytes | None:
        """The record's bytes, if there is one. Raises `StoreUnavailable`."""
        return await self._store.get(self._key(session_id))

    def read(self, raw: bytes, session_id: str) -> tuple[Session, bool]:
        """The session that a record holds, and whether it was sealed with a key that will go. Raises `SessionEnded`."""
        unsealed = self._sealer.unseal(raw, session_id)
        if unsealed is None or unsealed.data == _ENDED:
            # A record that we cannot open says nothing about who may go on: nobody.
            raise SessionEnded("the session was ended")
        try:
            return Session.load(unsealed.data, unsealed.sealed_at), not unsealed.newest_key
        except ValueError:
            raise SessionEnded("the session was written in another way") from None

    async def replace(self, record: Record, session: Session, lifetime: float) -> bool:
        """Writes the record if it is still what `record` says. Raises `StoreUnavailable`."""
        raw = self._seal(session.dump(), session.id)
        return await self._store.swap(self._key(session.id), record.raw, raw, lifetime)

    async def reserve(self, session_id: str, lifetime: float) -> bytes:
        """What holds the place of a first record for that long, and reads as ended. Raises `StoreUnavailable`."""
        raw = self._seal(_ENDED, session_id)
        if not await self._store.swap(self._key(session_id), None, raw, lifetime):
            raise StoreUnavailable("a new session's id is taken, so the store does not keep its contract")
        return raw

    async def end(self, session_id: str, lifetime: float | None) -> Session | None:
        """Puts the end mark there for that long; with None the record goes. Raises `StoreUnavailable`.

        Returns the session that the record held until then, if it held one.
        """
        mark = None if lifetime is None else self._seal(_ENDED, session_id)
        raw = await change(self._world, self._key(session_id), lambda raw: mark, lifetime or 0)
        with suppress(SessionEnded):
            return None if raw is None else self.read(raw, session_id)[0]
        return None

    def _key(self, session_id: str) -> str:
        return record_key(session_id, self._kind)

    def _seal(self, data: bytes, session_id: str) -> bytes:
        return self._sealer.seal(data, session_id).encode()
