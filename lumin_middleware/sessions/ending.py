"""The end of a session: for every copy, and for its tokens.

It is one step for whoever waits for it: cut off in between, it goes on by itself, since who asks again would be told
that nothing is left to end. The tokens that die are the newest that anybody knows: those of the request, of the record,
or of a renewal that this process could not save yet. An end is told of once, by whoever brought it about, and also
where nobody here knows more of the session than whose it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..errors import SessionEnded
from ..events import Event, note
from ..model import Session, TokenSet
from ..ports import World
from ..protocol.token_endpoint import TokenEndpoint
from .saving import Saving, newest
from .sessions import Sessions

NOTHING_KNOWN = -1
"""The generation of a session that is only listed: it comes before each that there is."""


def listed(session_id: str, began: float, subject: str = "", lasts: float | None = None) -> Session:
    """A session of which nothing is known but that it is listed, and perhaps whose it is, and how long it may last."""
    tokens = TokenSet("", began, 0.0, ())
    return Session(session_id, NOTHING_KNOWN, began, began, tokens, {"sub": subject}, lasts=lasts)


class Ending:
    """Ends the sessions of a site, or its grants."""

    def __init__(self, world: World, sessions: Sessions, saving: Saving, token_endpoint: TokenEndpoint) -> None:
        self._world = world
        self._sessions = sessions
        self._saving = saving
        self._token_endpoint = token_endpoint

    async def end(
        self,
        session_id: str,
        began: float,
        known: Session | None = None,
        *,
        subject: str = "",
        lasts: float | None = None,
        tells: Callable[[Session], Event] | None = None,
        revokes: Callable[[TokenSet], bool] = lambda tokens: True,
    ) -> Session | None:
        """Ends a session and revokes its tokens; the newest that is known of it, or None where nothing is.

        `known` is what the caller has of it, or `subject` whose it is and `lasts` for how long; `tells` makes the event
        of its end, where it was not over already, and `revokes` says which tokens go with it. Raises `StoreUnavailable`
        where nobody can say whether the record has ended. The tokens die all the same: that somebody wants the end is
        known, and a record whose answer got lost would never be found again.
        """
        found = known or listed(session_id, began, subject, lasts)
        return await self._world.shield(lambda: self._end(found, tells, revokes))

    async def _end(
        self, known: Session, tells: Callable[[Session], Event] | None, revokes: Callable[[TokenSet], bool]
    ) -> Session | None:
        found, is_end = newest(known, self._saving.give_up(known.id) or known), False
        try:
            # One at a time, since of one that has no record, as in a cookie that was never renewed, the store says
            # afterwards no more than that it is over.
            async with self._world.lock(f"end:{known.id}"):
                with suppress(SessionEnded):
                    record = await self._sessions.newest(found)
                    found, is_end = record.session, record.raw is None
                lasts = known.lasts if found.lasts is None else found.lasts
                ended = await self._sessions.end(known.id, known.began, lasts)
            found = newest(found, ended or found)
            if tells is not None and (is_end or ended is not None):
                note(self._world, tells(found))
        finally:
            if found.generation != NOTHING_KNOWN and revokes(found.tokens):
                await self._token_endpoint.revoke(found.tokens)
        return None if found.generation == NOTHING_KNOWN else found
