"""What whoever runs a site can do about a person: see and end their sessions, and let everything about them go."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from ..errors import ConfigurationError
from ..events import SignedOut
from ..sessions.ending import listed
from ..sessions.index import Entry, Index
from .parts import Parts


class SignedIn(NamedTuple):
    """One session of somebody: a name for it that opens nothing, and when it began, in epoch seconds."""

    name: str
    began: float


class People:
    """The people of one site, by their `sub`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def sessions(self, subject: str) -> list[SignedIn]:
        """Where somebody is signed in, oldest first. Raises `ConfigurationError`, `StoreUnavailable`."""
        alive = [entry for entry in await self._entries(subject) if await self._is_alive(entry)]
        return [SignedIn(entry.name, entry.began) for entry in alive]

    async def end_sessions(self, subject: str) -> int:
        """Signs somebody out everywhere; how many sessions that were. Raises as `sessions` does, and `KeyMissing` after
        what could be done, where there may be more.
        """
        ended = 0
        for entry in await self._entries(subject):
            ended += await self._is_alive(entry)
            session = await self._parts.ending.end(
                entry.session_id,
                entry.began,
                subject=subject,
                lasts=entry.lasts,
                tells=partial(SignedOut.of, reason="ended_by_operator", by="operator"),
            )
            if session is not None:  # else it is in a cookie and was never renewed: its browser alone has its tokens
                await self._index().remove(session)
            await self._index().forget(_common(subject), [entry.session_id])
        await self._index().check(_common(subject))
        return ended

    async def forget(self, subject: str) -> None:
        """Ends everything of somebody, and leaves nothing. Raises as `sessions` does, after what could be done."""
        await self._parts.grants.revoke(subject)
        await self.end_sessions(subject)

    async def _entries(self, subject: str) -> list[Entry]:
        return await self._index().entries(_common(subject))

    async def _is_alive(self, entry: Entry) -> bool:
        """Whether it is one here, though another process may still take it for one that is not."""
        known = listed(entry.session_id, entry.began, lasts=entry.lasts)
        return not await self._parts.sessions.has_ended(known)

    def _index(self) -> Index:
        if self._parts.index is None:
            raise ConfigurationError(
                "sessions",
                "'cookie' keeps them where nobody finds a person's; set sessions='store', which ends those in cookies,"
                " or backchannel_logout=True, which finds each from its next renewal on",
            )
        return self._parts.index


def _common(subject: str) -> str:
    return f"sub {subject}"
