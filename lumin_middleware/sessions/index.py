"""Which sessions somebody has: found by the person, or by the server's own session id.

It holds names of sessions and no tokens, sealed, under digests. Entries of sessions that are over are
dropped when somebody looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from ..config import LuminConfig
from ..model import Session
from ..ports import World
from .records import change, digest
from .sealing import Sealer

ENTRIES_LIMIT = 100
"""Sessions of one person that can be at one time, the newest; nobody uses more devices."""


class Entry(NamedTuple):
    """A session as the index knows it."""

    session_id: str
    began: float
    has_sid: bool = False
    """Whether the server gave it a session id of its own, by which it is listed as well."""
    issued_at: float | None = None
    """When the server told of the sign-in, by the server's own clock, if that is known."""

    def known_as(self, listed: Entry | None) -> Entry:
        """This one with what an earlier entry of the same session knew besides."""
        return self if listed is None or self.issued_at is not None else self._replace(issued_at=listed.issued_at)

    @property
    def name(self) -> str:
        """What a person may see of it; it opens nothing."""
        return digest(self.session_id)[:16]

    def __repr__(self) -> str:
        return f"Entry({self.name}, began={self.began}, has_sid={self.has_sid})"


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

    async def add(self, session: Session, issued_at: float | None = None) -> list[Entry]:
        """Those that it pushes out of a list, and which are to be ended: nobody would find them. Raises
        `StoreUnavailable`. What is listed already keeps its `issued_at` where none is given.
        """
        entry = Entry(session.id, session.began, by_sid(session) is not None, issued_at)
        out: dict[str, Entry] = {}
        for common in filter(None, (by_subject(session), by_sid(session))):
            pushed = await self._change(common, without={session.id}, add=[entry])
            out |= {each.session_id: each for each in pushed}
        return list(out.values())

    async def remove(self, session: Session) -> None:
        """Raises `StoreUnavailable`."""
        for common in filter(None, (by_subject(session), by_sid(session))):
            await self.forget(common, [session.id])

    async def forget(self, common: str, session_ids: Iterable[str]) -> None:
        """Takes sessions off one list. Raises `StoreUnavailable`."""
        await self._change(common, without=set(session_ids))

    async def entries(self, common: str) -> list[Entry]:
        """The sessions that have this in common, oldest first. Raises `StoreUnavailable`."""
        return self._read(await self._world.store.get(_key(common)), common)

    async def _change(self, common: str, *, without: set[str], add: Iterable[Entry] = ()) -> list[Entry]:
        """Those that found no room."""
        out: list[Entry] = []

        def changed(raw: bytes | None) -> bytes | None:
            listed = {entry.session_id: entry for entry in self._read(raw, common)}
            new = [entry.known_as(listed.get(entry.session_id)) for entry in add]
            kept = [*(entry for name, entry in listed.items() if name not in without), *new]
            out[:] = kept[:-ENTRIES_LIMIT]
            return self._sealer.seal(json.dumps(kept[-ENTRIES_LIMIT:]).encode(), common).encode() if kept else None

        # In one process they take turns, so that the store sees one of them at a time.
        async with self._world.lock(_key(common)):
            await change(self._world, _key(common), changed, self._config.absolute_timeout)
        return out

    def _read(self, raw: bytes | None, common: str) -> list[Entry]:
        unsealed = self._sealer.unseal(raw, common) if raw else None
        oldest = self._world.clock() - self._config.absolute_timeout
        entries = [Entry(*item) for item in json.loads(unsealed.data)] if unsealed else []
        return [entry for entry in entries if entry.began > oldest]


def _key(common: str) -> str:
    return "index:" + digest(common)
