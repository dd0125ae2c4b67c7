"""The end of sessions from the server's side: OpenID Connect Back-Channel Logout 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..errors import AuthorizationServerError, ServerUnavailable
from ..events import EndedByServer
from ..journal import say
from ..model import Request, Response, TokenSet
from ..protocol import oauth
from ..sessions.cookies import Jar
from ..sessions.index import Entry, Index
from ..sessions.opened import Opened
from ..sessions.records import digest
from . import pages
from .parts import Parts

REPLAY_LIFETIME = 600.0
"""Seconds that a logout token's `jti` is remembered: longer than one is taken for fresh."""

OFFLINE = frozenset({"offline_access", "offline"})
"""The scope that asks for access while nobody is there (OpenID Connect Core 1.0, 11), and Hydra's other name for it."""


class BackChannelLogout:
    """`POST backchannel-logout`: the server ends sessions (2.5 to 2.8)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.world.store

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        parts = self._parts
        if request.method != "POST" or request.body is None:
            return parts.answers.method_not_allowed("POST")
        logout_token = oauth.parameters((await request.body()).decode("latin-1")).get("logout_token", "")
        try:
            claims = await parts.metadata.logout_token_claims(logout_token, parts.config)
        except ServerUnavailable:
            raise
        except AuthorizationServerError as error:
            say("logout_token_refused", error=error)
            return _refused(str(error))
        used = "jti:" + digest(claims["jti"])
        if await self._store.get(used) is not None:
            return _refused("this token was used")
        await self._end(claims)
        # Last, so that the server may send again what could not be carried out; twice does no harm.
        await self._store.swap(used, None, b"seen", REPLAY_LIFETIME)
        return pages.empty(200)

    async def _end(self, claims: Mapping[str, Any]) -> None:
        parts = self._parts
        if parts.index is None or parts.ended is None:
            return
        # Before the lists are read: a session that begins meanwhile is listed first, and looks here then.
        await parts.ended.remember(claims)
        meant = await self._meant(parts.index, claims)
        for common, entries in meant.items():
            for entry in entries:
                await parts.ending.end(
                    entry.session_id,
                    entry.began,
                    subject=str(claims.get("sub", "")),
                    lasts=entry.lasts,
                    tells=partial(EndedByServer.of, by="logout token"),
                    revokes=_is_to_be_revoked,
                )
            await parts.index.forget(common, [entry.session_id for entry in entries])
        for common in meant:  # after all that could be ended: the server is not told that this was all
            await parts.index.check(common)

    async def _meant(self, index: Index, claims: Mapping[str, Any]) -> dict[str, list[Entry]]:
        """The sessions that a logout token names, by list: the one with that `sid`, or those of the person that the
        server told of before it was made; of them with a `sid` besides, those that know none.

        Servers write whole seconds: what it told of in the same one is meant, too.
        """
        found: dict[str, list[Entry]] = {}
        if "sid" in claims:
            common = f"sid {claims['sid']}"
            found[common] = await index.entries(common)
        if "sub" in claims:
            common = f"sub {claims['sub']}"
            before = [entry for entry in await index.entries(common) if _told_of(entry) <= claims["iat"]]
            found[common] = [entry for entry in before if not ("sid" in claims and entry.has_sid)]
        return found


def _told_of(entry: Entry) -> int:
    return int(entry.began if entry.issued_at is None else entry.issued_at)


def _is_to_be_revoked(tokens: TokenSet) -> bool:
    """2.7: a refresh token that is no offline one goes with its session. An offline one outlives it by its nature, and
    what the server wants ended it ends itself.
    """
    return tokens.refresh_token is not None and OFFLINE.isdisjoint(tokens.scope)


def _refused(description: str) -> Response:
    return pages.document(400, {"error": "invalid_request", "error_description": description})
