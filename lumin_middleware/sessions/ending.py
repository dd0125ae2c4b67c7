"""The end of a session: for every copy, and for its tokens.

It is one step for whoever waits for it: cut off in between, it goes on by itself, since who asks again would be told
that nothing is left to end. The tokens that die are the newest that anybody knows: those of the request, of the record,
or of a renewal that this process could not save yet.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model import Session, TokenSet
from ..ports import World
from ..protocol.token_endpoint import TokenEndpoint
from .saving import Saving, newest
from .sessions import Sessions


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
        revokes: Callable[[TokenSet], bool] = lambda tokens: True,
    ) -> Session | None:
        """Ends a session and revokes its tokens; the newest that is known of it, or None where nothing is.

        `known` is what the caller has of it; `revokes` says which tokens go with it. Raises `StoreUnavailable` where
        nobody can say whether the record has ended. The tokens die all the same: that somebody wants the end is known,
        and a record whose answer got lost would never be found again.
        """
        return await self._world.shield(lambda: self._end(session_id, began, known, revokes))

    async def _end(
        self, session_id: str, began: float, known: Session | None, revokes: Callable[[TokenSet], bool]
    ) -> Session | None:
        found = newest(known, self._saving.give_up(session_id))
        try:
            found = newest(found, await self._sessions.find(session_id))
            found = newest(found, await self._sessions.end(session_id, began))
        finally:
            if found is not None and revokes(found.tokens):
                await self._token_endpoint.revoke(found.tokens)
        return found
