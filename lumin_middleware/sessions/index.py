"""Which sessions somebody has: found by the person, or by the server's own session id.

It holds names of sessions and no tokens, sealed, under digests. Entries of sessions that are over are
dropped when somebody looks.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ..config import LuminConfig
from ..errors import StoreUnavailable
from ..model import Session
from ..ports import World
from .records import SWAP_ATTEMPTS, digest
from .sealing import Sealer

ENTRIES_LIMIT = 100
"""Sessions of one person that are kept in view, the newest; nobody uses more devices."""


class Entry(NamedTuple):
    """A session as the index knows it."""

    session_id: str
    began: float

    @property
    def name(self) -> str:
        """What a person may see of it; it opens nothing."""
        return digest(self.session_id)[:16]


def by_subject(session: Session) -> str | None:
    """Where the sessions of this person are listed."""
    subject = session.claims.get("sub")
    return f"sub {subject}" if subject else None


def by_sid(session: Session) -> str | None:
    """Where those of one session at the server are listed (OpenID Connect Back-Channel Logout 1.0, 2.1)."""
    sid = session.claims.get("sid")
    return f"sid {sid}" if sid else None


class Index:
    """Lists of sessions, each under what they have in common."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self._config = config
        self._world = world
        self._sealer = Sealer(config.keys, "index", world.clock)

    async def add(self, session: Session) -> None:
        """Raises `StoreUnavailable`."""
        for common in filter(None, (by_subject(session), by_sid(session))):
            await self._change(common, add=Entry(session.id, session.began))

    async def remove(self, session: Session) -> None:
        """Raises `StoreUnavailable`."""
        for common in filter(None, (by_subject(session), by_sid(session))):
            await self._change(common, remove=session.id)

    async def entries(self, common: str) -> list[Entry]:
        """The sessions that have this in common, oldest first. Raises `StoreUnavailable`."""
        return self._read(await self._world.store.get(self._key(common)), common)

    async def _change(self, common: str, *, add: Entry | None = None, remove: str | None = None) -> None:
        for _ in range(SWAP_ATTEMPTS):
            raw = await self._world.store.get(self._key(common))
            gone = add.session_id if add else remove
            entries = [entry for entry in self._read(raw, common) if entry.session_id != gone]
            entries = [*entries, add][-ENTRIES_LIMIT:] if add else entries
            if raw is None and not entries:
                return
            new = self._sealer.seal(json.dumps(entries).encode(), common).encode() if entries else None
            if await self._world.store.swap(self._key(common), raw, new, self._config.absolute_timeout):
                return
        raise StoreUnavailable("the index of sessions changes too fast to be written")

    def _read(self, raw: bytes | None, common: str) -> list[Entry]:
        unsealed = self._sealer.unseal(raw, common) if raw else None
        oldest = self._world.clock() - self._config.absolute_timeout
        entries = [Entry(*item) for item in json.loads(unsealed.data)] if unsealed else []
        return [entry for entry in entries if entry.began > oldest]

    def _key(self, common: str) -> str:
        return "index:" + digest(common)
