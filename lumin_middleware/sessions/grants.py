"""Grants: what somebody has allowed to be done while they are away, kept apart from their sessions.

A grant is a consent of its own with a chain of refresh tokens of its own, so that no browser's renewal can spend its
token and no sign-out ends it. It is recorded and renewed as a session is, by the same code; only its limits differ, and
that it is found by whom it is of, and not by a cookie.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from ..config import LuminConfig
from ..errors import LuminError, SessionEnded, StoreUnavailable
from ..events import Connected, Disconnected, GrantEnded, note
from ..journal import Seldom, say
from ..model import Session
from ..ports import World
from ..protocol.metadata import Metadata
from ..protocol.token_endpoint import TokenEndpoint
from .cookies import Cookies
from .ending import Ending
from .kinds import StoreSessions
from .limits import Limits
from .records import Record, Records, change, digest
from .renewal import Renewal
from .sealing import KeyMissing, Sealer, Unsealed, sealed_at

FOREVER = 3_155_760_000.0
"""Seconds that a grant without a lifetime is kept: a hundred years, since every store wants a finite number."""

BUCKETS = 64
"""Lists over which the subjects are spread: ten thousand people are 150 in each, in 8 KB."""

LISTED_LIMIT = 100
"""Grants of one person, the newest: names and workspaces are few."""

RESERVED = 300.0
"""Seconds in which a grant that is listed must begin: longer than a store may take for it."""

_ABANDONED = "subjects:abandoned"
"""Where the store has since when lists that nobody can open are given up."""


class Listed(NamedTuple):
    """A grant as the list of its person has it. `connected_at` is in epoch seconds."""

    id: str
    name: str
    workspace: str | None
    connected_at: float

    def __repr__(self) -> str:
        return f"Listed(…, {self.name!r}, {self.workspace!r}, {self.connected_at!r})"

    def is_called(self, name: str | None, workspace: str | None) -> bool:
        """Whether it has this name and is in this workspace, as far as they are given."""
        return name in (None, self.name) and workspace in (None, self.workspace)


class GrantRecords(StoreSessions):
    """The records of grants: sessions that no browser has, without an idle limit."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        super().__init__(config, world, Cookies(config))
        self._records = Records(config, world, "grant")
        self.limits = Limits(config.grant_lifetime or FOREVER, math.inf, world.clock)

    def _told(self, session: Session) -> Session:
        return session  # what the setting says by now is all there is: what lists it outlives it

    def check_limits(self, session: Session) -> None:
        """Raises `SessionEnded` past the lifetime of a grant."""
        if self.limits.is_past(session):
            raise SessionEnded("the grant is past its lifetime", "expired")

    async def reserve(self, grant: Session) -> Record:
        """The place of a grant that begins with `replace`, unless it was ended before. Raises `StoreUnavailable`."""
        return Record(await self._records.reserve(grant.id, RESERVED), grant)

    async def is_gone(self, grant_id: str) -> bool:
        """Whether there is no grant of this id, and none is about to begin. Raises `StoreUnavailable`."""
        return await self._records.raw(grant_id) is None

    async def opened(self, grant_id: str) -> Session | None:
        """The grant of this id, if there is one; what was sealed with a key that will go is sealed anew."""
        raw = await self._records.raw(grant_id)
        if raw is None:
            return None
        try:
            grant, outdated = self._records.read(raw, grant_id)
            self.check_limits(grant)
        except SessionEnded:
            return None
        if outdated:
            await self._rewrite(raw, grant)
        return grant


class Lists:
    """Which grants somebody has, and who has any. Sealed, under digests.

    They outlive every grant, whatever its lifetime is set to later: what is on no list is found and revoked by nobody.
    Whoever looks takes off what is over. A list that no key here opens is empty to whoever looks, and nobody changes it
    (`KeyMissing`): a grant that others do not find must not begin, and what could not be seen was not revoked. Since a
    grant may last for ever, so does such a list, until whoever runs the site says that its key is lost (`abandon`).
    """

    def __init__(self, config: LuminConfig, world: World) -> None:
        self._world = world
        self._sealer = Sealer(config.keys, "grants", world.clock)
        self._seldom = Seldom(world.clock)

    async def add(self, subject: str, listed: Listed) -> list[Listed]:
        """Those of its name and workspace, and whom the list has no room for: they stay until they have ended.

        Raises `StoreUnavailable`.
        """
        replaced: list[Listed] = []

        def changed(found: list[Listed]) -> list[Listed]:
            kept = [each for each in found if (each.name, each.workspace) != (listed.name, listed.workspace)]
            kept = [*kept, listed][-LISTED_LIMIT:]
            replaced[:] = [each for each in found if each not in kept]
            return [*found, listed]

        await self._change_bucket(subject, present=True)
        await self._change(_key(subject), changed)
        if subject not in await self._items(_bucket_of(subject)):  # the last grant went in between
            await self._change_bucket(subject, present=True)
        return replaced

    async def remove(self, subject: str, grant_ids: Iterable[str]) -> None:
        """Takes grants off the list, and the person with the last one. Raises `StoreUnavailable`."""
        gone = set(grant_ids)
        left = await self._change(_key(subject), lambda found: [each for each in found if each.id not in gone])
        if not left:
            await self._change_bucket(subject, present=False)
            if await self.of(subject):  # somebody connected in between
                await self._change_bucket(subject, present=True)

    async def of(self, subject: str) -> list[Listed]:
        """The grants of somebody, oldest first. Raises `StoreUnavailable`."""
        return [Listed(*item) for item in await self._items(_key(subject))]

    async def subjects(self) -> list[str]:
        """Everybody who has any. Raises `StoreUnavailable`."""
        return [subject for number in range(BUCKETS) for subject in await self._items(_bucket(number))]

    async def abandon(self) -> None:
        """Gives up what was sealed until now and no key here opens. Raises `StoreUnavailable`."""
        mark = self._sealer.seal(b"", _ABANDONED).encode()
        await change(self._world, _ABANDONED, lambda raw: mark, FOREVER)
        for number in range(BUCKETS):
            await self._changed(_bucket(number), lambda items: items)

    async def _abandoned_at(self) -> int:
        raw = await self._world.store.get(_ABANDONED)
        unsealed = self._sealer.unseal(raw, _ABANDONED) if raw else None
        return unsealed.sealed_at if unsealed else -1

    async def _change(self, key: str, new: Callable[[list[Listed]], list[Listed]]) -> list[Listed]:
        changed = await self._changed(key, lambda items: new([Listed(*each) for each in items]))
        return [Listed(*item) for item in changed]

    async def _change_bucket(self, subject: str, *, present: bool) -> None:
        def changed(subjects: list[str]) -> list[str]:
            return [*(each for each in subjects if each != subject), *([subject] if present else [])]

        await self._changed(_bucket_of(subject), changed)

    async def _changed(self, key: str, new: Callable[[list[Any]], list[Any]]) -> list[Any]:
        async with self._world.lock(key):  # so that of one process the store sees one at a time
            try:
                return await self._write(key, new)
            except KeyMissing:
                return await self._write(key, new, await self._abandoned_at())

    async def _write(self, key: str, new: Callable[[list[Any]], list[Any]], abandoned_at: int = -1) -> list[Any]:
        written: list[Any] = []

        def sealed(raw: bytes | None) -> bytes | None:
            unsealed = self._unseal(raw, key)
            if raw and unsealed is None and sealed_at(raw) > abandoned_at:
                raise KeyMissing("what the store has about grants", "give them up with Grants().abandon_unreadable()")
            written[:] = new(json.loads(unsealed.data) if unsealed else [])
            return self._sealer.seal(json.dumps(written).encode(), key).encode() if written else None

        await change(self._world, key, sealed, FOREVER)
        return written

    async def _items(self, key: str) -> list[Any]:
        """What a list holds; one that was sealed with a key that will go is sealed anew."""
        unsealed = self._unseal(await self._world.store.get(key), key)
        if unsealed is not None and not unsealed.newest_key:
            with suppress(StoreUnavailable):  # it was read, and whoever looks next tries again
                return await self._changed(key, lambda items: items)
        return json.loads(unsealed.data) if unsealed else []

    def _unseal(self, raw: bytes | None, key: str) -> Unsealed | None:
        unsealed = self._sealer.unseal(raw, key) if raw else None
        if raw and unsealed is None:
            self._seldom.say("grants_unreadable")
        return unsealed


def _key(subject: str) -> str:
    return "grants:" + digest(subject)


def _bucket(number: int) -> str:
    return f"subjects:{number}"


def _bucket_of(subject: str) -> str:
    return _bucket(int(digest(subject)[:8], 16) % BUCKETS)


class Granted:
    """The grants of one site: kept, found, renewed, revoked."""

    def __init__(self, config: LuminConfig, world: World, metadata: Metadata, token_endpoint: TokenEndpoint) -> None:
        self._world = world
        self._records = GrantRecords(config, world)
        self._lists = Lists(config, world)
        self._renewal = Renewal(config, world, self._records, metadata, token_endpoint)
        self._ending = Ending(world, self._records, self._renewal.saving, token_endpoint)

    async def keep(self, subject: str, name: str, workspace: str | None, grant: Session) -> None:
        """Keeps a new grant, and ends those whose place it takes. Raises `StoreUnavailable`; then all is as before.

        Wherever it stops, what lives is listed: the new one before it begins, and the old ones until they have ended,
        which is last. Of two of one name the newer one counts meanwhile.
        """
        reserved = await self._records.reserve(grant)
        try:
            replaced = await self._lists.add(subject, Listed(grant.id, name, workspace, grant.began))
            if not await self._records.replace(reserved, grant):
                raise StoreUnavailable("the new grant was ended, or took too long, before it began")
        except LuminError:
            with suppress(StoreUnavailable):  # in this order, since it may have begun although the store says no
                await self._records.end(grant.id, grant.began)
                await self._lists.remove(subject, [grant.id])
            raise
        note(self._world, Connected.of(grant), name=name)
        try:
            await self._end(subject, replaced)
        except StoreUnavailable as error:
            say("replaced_not_ended", error=error)

    async def of(self, subject: str) -> list[tuple[Listed, Session]]:
        """Somebody's grants, oldest first. Those that are over are taken off the list. Raises `StoreUnavailable`."""
        listed = await self._lists.of(subject)
        found = [(each, await self._records.opened(each.id)) for each in listed]
        if gone := [each.id for each, grant in found if grant is None and await self._records.is_gone(each.id)]:
            with suppress(StoreUnavailable):  # whoever looks next tries again
                await self._lists.remove(subject, gone)
        return [(each, grant) for each, grant in found if grant is not None]

    async def newest(self, subject: str, name: str | None, workspace: str | None) -> Session | None:
        """The grant that was connected last, of those of this name and workspace. Raises `StoreUnavailable`."""
        found = [grant for listed, grant in await self.of(subject) if listed.is_called(name, workspace)]
        return found[-1] if found else None

    async def subjects(self) -> list[str]:
        """Everybody who has a grant; whoever's is over may still be among them. Raises `StoreUnavailable`."""
        return sorted(await self._lists.subjects())

    async def fresh(self, grant: Session, *, rejected: str | None = None) -> Session:
        """See `Renewal.fresh`. Whatever a grant was when it was found, this is about what it is by now."""
        try:
            self._records.check_limits(grant)
            grant = await self._newest(grant)
            return await self._renewal.fresh(grant, rejected=rejected)
        except SessionEnded as error:
            note(self._world, GrantEnded.of(grant), why=error)
            raise

    async def _newest(self, grant: Session) -> Session:
        try:
            return (await self._records.newest(grant)).session
        except StoreUnavailable as error:  # which a token that lives outlasts
            self._records.warn("ends_unknown", error)
            return grant

    async def revoke(self, subject: str, name: str | None = None, workspace: str | None = None) -> int:
        """Ends somebody's grants of this name and workspace, here and at Lumin; how many. Raises `StoreUnavailable`."""
        gone = [each for each in await self._lists.of(subject) if each.is_called(name, workspace)]
        return await self._end(subject, gone)

    async def _end(self, subject: str, gone: list[Listed]) -> int:
        """The records go first: a renewal that is under way then finds none, and revokes what it got."""
        ended = 0
        for each in gone:
            grant = await self._ending.end(each.id, each.connected_at)
            if grant is not None:
                note(self._world, Disconnected.of(grant), name=each.name)
                ended += 1
        await self._lists.remove(subject, [each.id for each in gone])  # without any, what a failure left of the person
        return ended

    async def abandon(self) -> None:
        """See `Lists.abandon`."""
        await self._lists.abandon()

    def inherit(self, other: Granted) -> None:
        """Remembers what `other`, which is over, could not save."""
        self._renewal.saving.inherit(other._renewal.saving)

    async def finish(self) -> None:
        """Saves what could not be saved when it was renewed, since whoever used a grant is done. Raises nothing."""
        await self._renewal.saving.finish()
