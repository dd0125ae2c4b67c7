"""Which sessions somebody has: found by the person, or by the server's own session id.

It holds names of sessions and no tokens, sealed, under digests. Entries of sessions that are over are
dropped when somebody looks.

A list may have parts, one for each key that some process has alone: what a process cannot open it carries along, so
that nobody is kept from signing in, and no session is lost to those who can. A part says to all when what it names is
over in every process (`limits`); it goes then, and the list with the last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from ..config import LuminConfig
from ..errors import StoreUnavailable
from ..journal import Seldom
from ..model import Session
from ..ports import World
from .limits import Limits
from .records import change, digest
from .sealing import KeyMissing, Sealer, sealed_at

ENTRIES_LIMIT = 100
"""Sessions of one person that can be at one time, the newest; nobody uses more devices."""

_BETWEEN, _UNTIL = b" ", b"."
"""What stands between the parts of a list, which no sealed value has, and in each between when it goes and what is
sealed, which does not begin with digits and a full stop."""

_DIGITS = 12
"""Of when a part goes, in epoch seconds: more says nothing that a store understands."""


class Entry(NamedTuple):
    """A session as the index knows it."""

    session_id: str
    began: float
    has_sid: bool = False
    """Whether the server gave it a session id of its own, by which it is listed as well."""
    issued_at: float | None = None
    """When the server told of the sign-in, by the server's own clock, if that is known."""
    lasts: float | None = None
    """Seconds after `began` for which it was told to last at most, if that was kept."""

    def known_as(self, listed: Entry | None) -> Entry:
        """This one with what an earlier entry of the same session knew besides."""
        return self if listed is None or self.issued_at is not None else self._replace(issued_at=listed.issued_at)

    @property
    def name(self) -> str:
        """What a person may see of it; it opens nothing."""
        return digest(self.session_id)[:16]

    def __repr__(self) -> str:
        return f"Entry({self.name}, began={self.began}, has_sid={self.has_sid})"


class _Listed(NamedTuple):
    """What a list holds: entries, oldest first, the parts that no key here opens, with when each goes, and whether it
    is in one part that the newest key sealed, but for those."""

    entries: list[Entry]
    unopened: dict[bytes, float]
    newest_key: bool

    def __repr__(self) -> str:
        return "_Listed(…)"


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
        self._world = world
        self._limits = Limits.of(config, world.clock)
        self._sealer = Sealer(config.keys, "index", world.clock)
        self._seldom = Seldom(world.clock)

    async def add(self, session: Session, issued_at: float | None = None) -> dict[str, list[Entry]]:
        """Lists a session. Returns the lists that are longer than `ENTRIES_LIMIT` now, by what they have in common:
        some of these sessions are to be ended, and forgotten then, since nobody would find what lives and is not
        listed. What is listed already keeps its `issued_at` where none is given. Raises `StoreUnavailable`.
        """
        lasts = self._limits.lasts(session.lasts)
        entry = Entry(session.id, session.began, by_sid(session) is not None, issued_at, lasts)
        commons = filter(None, (by_subject(session), by_sid(session)))
        listed = {common: await self._change(common, add=[entry]) for common in commons}
        return {common: entries for common, entries in listed.items() if len(entries) > ENTRIES_LIMIT}

    async def remove(self, session: Session) -> None:
        """Raises `StoreUnavailable`."""
        for common in filter(None, (by_subject(session), by_sid(session))):
            await self.forget(common, [session.id])

    async def forget(self, common: str, session_ids: Iterable[str]) -> None:
        """Takes sessions off one list. Raises `StoreUnavailable`."""
        await self._change(common, without=set(session_ids))

    async def entries(self, common: str) -> list[Entry]:
        """The sessions that have this in common, oldest first. Raises `StoreUnavailable`.

        What was sealed with a key that will go is sealed anew.
        """
        found = await self._find(common)
        if not found.newest_key:
            with suppress(StoreUnavailable):  # it was read, and whoever looks next tries again
                await self._change(common)
        return found.entries

    async def check(self, common: str) -> None:
        """For whoever has ended all that they found. Raises `KeyMissing` where there is more, `StoreUnavailable`."""
        if (await self._find(common)).unopened:
            raise KeyMissing(
                "a part of what the store has about these sessions",
                "all that it names is over absolute_timeout seconds after it was written, as the setting was then",
            )

    async def _find(self, common: str) -> _Listed:
        return self._read(await self._world.store.get(_key(common)), common)

    async def _change(self, common: str, *, without: Collection[str] = (), add: Collection[Entry] = ()) -> list[Entry]:
        kept: list[Entry] = []
        ends: list[float] = []

        def changed(raw: bytes | None) -> bytes | None:
            found = self._read(raw, common)
            listed = {entry.session_id: entry for entry in found.entries}
            new = {entry.session_id: entry.known_as(listed.get(entry.session_id)) for entry in add}
            kept[:] = [entry for name, entry in (listed | new).items() if name not in without]
            if kept == found.entries and found.newest_key:
                return raw
            own = self._sealed(kept, common) if kept else {}
            ends[:] = (own | found.unopened).values()
            return _BETWEEN.join([*own, *found.unopened]) or None

        # In one process they take turns, so that the store sees one of them at a time.
        async with self._world.lock(_key(common)):
            await change(self._world, _key(common), changed, lambda: max(ends, default=0.0) - self._world.clock())
        return kept

    def _sealed(self, entries: list[Entry], common: str) -> dict[bytes, float]:
        """The part that names these, with when it goes."""
        ends = math.ceil(max(self._limits.is_gone_at(entry.began, entry.lasts) for entry in entries))
        sealed = self._sealer.seal(json.dumps(entries).encode(), common).encode()
        return {b"%d%b%b" % (ends, _UNTIL, sealed): ends}

    def _read(self, raw: bytes | None, common: str) -> _Listed:
        now = self._world.clock()
        listed: dict[str, Entry] = {}
        unopened: dict[bytes, float] = {}
        opened: list[bool] = []
        for part in raw.split(_BETWEEN) if raw else ():
            ends, sealed = self._apart(part)
            unsealed = self._sealer.unseal(sealed, common)
            if unsealed is not None:
                opened.append(unsealed.newest_key)
                for entry in (Entry(*item) for item in json.loads(unsealed.data)):
                    listed[entry.session_id] = entry.known_as(listed.get(entry.session_id))
            elif ends > now:
                unopened[part] = ends
        if unopened:
            self._seldom.say("sessions_unreadable")
        alive = [entry for entry in listed.values() if self._limits.is_gone_at(entry.began, entry.lasts) > now]
        return _Listed(sorted(alive, key=lambda entry: entry.began), unopened, newest_key=opened in ([], [True]))

    def _apart(self, part: bytes) -> tuple[float, bytes]:
        """When a part goes, and what is sealed. Of one that does not say it, as they were before, the setting tells."""
        said, _, sealed = part.partition(_UNTIL)
        if said.isdigit() and len(said) <= _DIGITS:
            return int(said), sealed
        return self._limits.is_gone_at(sealed_at(part), None), part


def _key(common: str) -> str:
    return "index:" + digest(common)
