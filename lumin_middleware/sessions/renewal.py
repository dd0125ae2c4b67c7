"""Renewal: a refresh token is spent once, whoever sees the expiry.

Hydra rotates refresh tokens and revokes the whole chain when it sees an old one again, so that one race signs
somebody out. The order of steps that prevents it is written here once, for every runtime and every kind of
session:

    1. fresh? go on.
    2. one at a time for each session in this process.
    3. read the record: a newer generation? adopt it.
    4. take the lease, which is one at a time among processes; while waiting, watch the record.
    5. read the record again.
    6. redeem.
    7. compare-and-set the record before anything else sees the tokens.
    8. release.

From 4 on nothing can be cancelled. A refresh token that the record says is superseded is never sent. What the server
refuses with one of `_OVER` ends the session, and so do tokens that are another's; all else is trouble, which
signs nobody out.
"""

from __future__ import annotations

import dataclasses
import logging
from contextlib import suppress
from enum import Enum
from typing import Any

from ..config import AuthorizationServer, LuminConfig
from ..errors import (
    AuthorizationServerError,
    OAuthError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from ..model import Session, TokenSet
from ..ports import World
from ..protocol.breaker import CircuitOpen
from ..protocol.identity import RENEWED_TOLERANCE, kept_claims
from ..protocol.metadata import Metadata
from ..protocol.token_endpoint import TokenEndpoint
from .records import Record, digest
from .sessions import Sessions

logger = logging.getLogger("lumin_middleware")

SOFT_SHARE = 0.2
"""The last part of a token's life in which one request renews and no other waits; `renew_before` bounds it."""

HARD_SHARE, HARD_MARGIN = 0.02, 15.0
"""The last part, and its most seconds, in which a token may be refused before it arrives: everybody waits."""

LEASE_MARGIN = 5.0
"""Seconds that the lease outlives the longest answer, for what is done with it before it is released."""

POLL = (0.025, 0.25)
"""Seconds between two looks at a lease that another process holds: the first, and the longest."""

TROUBLE_PAUSE = 30.0
"""Seconds after a failure in which no process asks again for this session."""

SAVE_PAUSES = (0.0, 0.1, 0.4, *[1.0] * 11)
"""Seconds before each attempt to save: often, so that even a short lease sees one late in its life, and together less
than the default lease. The old refresh token is spent by then; whoever gets the lease first would spend it again."""

_OVER = frozenset({"invalid_grant", "invalid_scope", "unauthorized_client", "scope_not_granted", "token_inactive"})
"""The errors after which this grant gives no more tokens (RFC 6749, 5.2, and Hydra's own). Every other is trouble."""


class Due(Enum):
    """When a token must be renewed."""

    LATER = 0
    SOON = 1
    NOW = 2


def due(tokens: TokenSet, now: float, renew_before: float, rejected: str | None = None) -> Due:
    """When these tokens must be renewed; at once if the access token is the one that the API `rejected`."""
    left = tokens.expires_at - now
    if left <= min(HARD_SHARE * tokens.lifetime, HARD_MARGIN) or tokens.access_token == rejected:
        return Due.NOW
    return Due.SOON if left <= min(SOFT_SHARE * tokens.lifetime, renew_before) else Due.LATER


def _generation(session: Session) -> int:
    return session.generation


class Renewal:
    """Keeps the tokens of sessions fresh."""

    def __init__(
        self,
        config: LuminConfig,
        world: World,
        sessions: Sessions,
        metadata: Metadata,
        token_endpoint: TokenEndpoint,
    ) -> None:
        self._token_endpoint = token_endpoint
        self._config = config
        self._world = world
        self._sessions = sessions
        self._metadata = metadata
        self._lease_time = config.timeout + LEASE_MARGIN
        self._is_due_from = max(config.renew_before, HARD_MARGIN)
        self._unsaved: dict[str, Session] = {}

    def is_due(self, session: Session) -> bool:
        """Whether `fresh` has anything to do; soon enough for every lifetime."""
        return session.tokens.expires_at - self._world.clock() <= self._is_due_from or session.id in self._unsaved

    async def fresh(self, session: Session, *, rejected: str | None = None) -> Session:
        """The session with an access token that can be used; `rejected` is one that the API did not take.

        Raises `SessionEnded` when the server gives no more, `ServerUnavailable` or `StoreUnavailable` when none can
        be had now. A token that still lives outlasts that trouble.
        """
        when = self._due(session, rejected)  # 1
        if when is Due.LATER and session.id not in self._unsaved:
            return session
        if session.tokens.refresh_token is None:
            if self._is_alive(session, rejected):
                return session
            raise SessionEnded("the access token has expired and there is no refresh token", "expired")
        if when is not Due.NOW and self._world.locked(session.id):
            return session
        try:
            async with self._world.lock(session.id):  # 2
                if session.id in self._unsaved:
                    session = await self._catch_up(session)
                return await self._renew(session, rejected, wait=when is Due.NOW)
        except (AuthorizationServerError, StoreUnavailable) as error:
            if not self._is_alive(session, rejected):
                raise
            self._sessions.warn("A session could not be renewed; its access token still lives", error)
            return session

    def _is_alive(self, session: Session, rejected: str | None) -> bool:
        return session.tokens.access_token != rejected and session.tokens.expires_at > self._world.clock()

    def _due(self, session: Session, rejected: str | None) -> Due:
        return due(session.tokens, self._world.clock(), self._config.renew_before, rejected)

    async def _renew(self, session: Session, rejected: str | None, *, wait: bool) -> Session:
        if self._due(session, rejected) is Due.LATER:
            return session
        record = await self._sessions.newest(session)  # 3
        if self._due(record.session, rejected) is Due.LATER:
            return record.session
        await self._refuse_in_trouble(session)
        return await self._world.shield(lambda: self._renew_with_lease(record.session, rejected, wait=wait))

    # --- 4 to 8 ---

    async def _renew_with_lease(self, session: Session, rejected: str | None, *, wait: bool) -> Session:
        server = await self._prepare(session)
        owner = self._world.token(16).encode()
        record = await self._lease(session, rejected, owner, wait=wait)  # 4
        if record is not None:
            return record.session
        try:
            record = await self._sessions.newest(session)  # 5
            if self._due(record.session, rejected) is Due.LATER:
                return record.session
            await self._refuse_in_trouble(session)  # that whoever had the lease before may have met
            # A slow store may have used the lease up: from here the longest answer must fit in again.
            if not await self._swap_lease(session, owner, owner):
                raise StoreUnavailable("the lease was lost before it was used")
            return await self._redeem(record, server, owner)  # 6, 7
        finally:
            if session.id not in self._unsaved:  # nobody else may go on before it is saved
                await self._release(session, owner)  # 8

    async def _prepare(self, session: Session) -> AuthorizationServer:
        """Asks the server what can be known before, so that under the lease one answer at a time is waited for."""
        if "iss" in session.claims:
            with suppress(AuthorizationServerError):
                await self._metadata.keys()
        return await self._metadata.server()

    async def _lease(self, session: Session, rejected: str | None, owner: bytes, *, wait: bool) -> Record | None:
        """None once the lease is ours; the record if it is newer before that, or if nobody should wait."""
        pause, waited = POLL[0], 0.0
        while not await self._swap_lease(session, None, owner):
            record = await self._sessions.newest(session)
            if not wait or self._due(record.session, rejected) is Due.LATER:
                return record
            if waited > 2 * self._lease_time:
                raise StoreUnavailable("another process holds the lease for too long")
            await self._world.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, POLL[1])
        return None

    async def _swap_lease(self, session: Session, old: bytes | None, new: bytes | None) -> bool:
        return await self._world.store.swap("lease:" + digest(session.id), old, new, self._lease_time)

    async def _release(self, session: Session, owner: bytes) -> None:
        try:
            await self._swap_lease(session, owner, None)
        except StoreUnavailable as error:
            logger.warning("A lease could not be released and will run out: %s", error)

    async def _redeem(self, record: Record, server: AuthorizationServer, owner: bytes) -> Session:
        old, now = record.session, self._world.clock()
        try:
            tokens = await self._token_endpoint.refresh(server, old.tokens)
        except OAuthError as error:
            return await self._refused(record, error)
        except CircuitOpen:
            raise  # nothing was learned of this session
        except AuthorizationServerError as error:
            await self._remember_trouble(old)
            raise ServerUnavailable(str(error), retry_after=TROUBLE_PAUSE) from None
        with suppress(StoreUnavailable):  # newer keys may be another answer to wait for
            await self._swap_lease(old, owner, owner)
        try:
            claims = await self._claims(old, tokens)
        except AuthorizationServerError as error:
            logger.error("A refresh brought tokens that are not this session's, which ends: %s", error)
            await self._end(old, tokens)
            raise SessionEnded("the server's new identity is not this session's") from None
        if not self._config.end_session or tokens.id_token is None:
            tokens = dataclasses.replace(tokens, id_token=old.tokens.id_token)
        renewed = dataclasses.replace(old, generation=old.generation + 1, seen=now, tokens=tokens, claims=claims)
        return await self._save(record, renewed)

    async def _claims(self, old: Session, tokens: TokenSet) -> Any:
        """OpenID Connect Core 1.0, 12.2: a new ID token is of the same issuer and subject, or all is discarded."""
        if tokens.id_token is None:
            return old.claims
        try:
            claims = await self._metadata.id_token_claims(
                tokens.id_token, self._config, access_token=tokens.access_token, tolerance=RENEWED_TOLERANCE
            )
        except ServerUnavailable as error:
            logger.warning("A renewed ID token cannot be verified now and is left aside: %s", error)
            return old.claims
        if "iss" not in old.claims or "sub" not in old.claims:
            return old.claims  # the identity came from the API, whose ids need not be the server's
        if claims["sub"] != old.claims["sub"]:
            raise AuthorizationServerError("the ID token is another person's", "bad_id_token")
        return kept_claims({**old.claims, **claims}, self._config)

    async def _refused(self, record: Record, error: OAuthError) -> Session:
        old = record.session
        newest = (await self._sessions.newest(old)).session
        if newest.generation > old.generation:
            return newest
        if error.error in _OVER:
            logger.info("The server ended a session: %s", error.error)
            await self._sessions.end(old.id, old.began)
            raise SessionEnded(f"the server refused the refresh token ({error.error})")
        if error.error == "invalid_client":
            logger.critical(
                "The server refuses client_id and client_secret; nobody can sign in or be renewed until that is mended"
            )
        await self._remember_trouble(old)
        raise ServerUnavailable(f"the token endpoint answered {error.error}", retry_after=TROUBLE_PAUSE)

    # --- 7 ---

    async def _save(self, record: Record, renewed: Session) -> Session:
        for pause in SAVE_PAUSES:
            await self._world.sleep(pause)
            try:
                if await self._sessions.replace(record, renewed):
                    self._unsaved.pop(renewed.id, None)
                    return renewed
                record = await self._sessions.newest(renewed)
            except SessionEnded:
                # It was ended meanwhile: the end wins, and nobody gets the new tokens.
                self._unsaved.pop(renewed.id, None)
                await self._token_endpoint.revoke(renewed.tokens)
                raise
            except StoreUnavailable as error:
                logger.error("A renewed session could not be saved: %s", error)
                continue
            if record.session is not renewed:
                return record.session
        # This process remembers it, and so does the browser with the next answer; others see the old one until then.
        self._unsaved[renewed.id] = renewed
        return renewed

    async def _catch_up(self, session: Session) -> Session:
        """Saves what could not be saved when it was new; the newest of all that is known."""
        unsaved = self._unsaved[session.id]
        try:
            record = await self._sessions.newest(dataclasses.replace(unsaved, generation=-1))
            if record.session.generation >= unsaved.generation or await self._sessions.replace(record, unsaved):
                self._unsaved.pop(session.id, None)
        except StoreUnavailable as error:
            self._sessions.warn("A renewed session is still not saved", error)
            return max(session, unsaved, key=_generation)
        except SessionEnded:
            self._unsaved.pop(session.id, None)
            await self._token_endpoint.revoke(unsaved.tokens)
            raise
        return max(session, unsaved, record.session, key=_generation)

    async def _end(self, session: Session, tokens: TokenSet) -> None:
        try:
            await self._sessions.end(session.id, session.began)
        finally:
            await self._token_endpoint.revoke(tokens)

    # --- trouble, shared by all processes ---

    async def _remember_trouble(self, session: Session) -> None:
        until = str(self._world.clock() + TROUBLE_PAUSE).encode()
        try:
            await self._world.store.swap("trouble:" + digest(session.id), None, until, TROUBLE_PAUSE)
        except StoreUnavailable as error:
            logger.warning("Trouble with the token endpoint could not be shared: %s", error)

    async def _refuse_in_trouble(self, session: Session) -> None:
        self._token_endpoint.breaker.check()
        until = await self._world.store.get("trouble:" + digest(session.id))
        if until is not None:
            left = float(until) - self._world.clock()
            raise ServerUnavailable("the token endpoint was in trouble just now", retry_after=max(left, 1.0))
