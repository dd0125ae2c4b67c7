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
    9. list it, where it is not: nobody may have kept lists when it began.

From 4 on nothing can be cancelled. A refresh token that the record says is superseded is never sent. What a refusal
means stands in `_MEANS`; what is not there is trouble, which signs nobody out: whoever meets it, or comes in the
pause after it, waits and begins again where that is soon.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from ..config import AuthorizationServer, LuminConfig
from ..errors import (
    AuthorizationServerError,
    OAuthError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from ..events import Adopted, EndedByServer, RenewalFailed, Renewed, note
from ..journal import Seldom, say
from ..model import Session, TokenSet
from ..ports import World
from ..protocol.breaker import CircuitOpen
from ..protocol.identity import AnotherIdentity
from ..protocol.metadata import Metadata
from ..protocol.oauth import REFUSES_THE_PERSON
from ..protocol.patience import patiently
from ..protocol.token_endpoint import TokenEndpoint
from .due import Due, due
from .lease import Lease
from .memo import Entry, Memo
from .pauses import InPause, Pauses
from .records import Record
from .saving import Saving
from .sessions import Sessions

NEWBORN = 60.0
"""Seconds after a renewal in which a 401 of the API has nothing renewed: another new token would fare no better. And
a token that was dead on arrival says that somebody else renewed the same session; one more attempt would end theirs,
too. It need not hold for a sign-in's own token, which nobody else has."""


class Meaning(Enum):
    """What it means that the token endpoint refuses a refresh token."""

    OVER = "this grant gives no more tokens"
    PERSON = "this person may not, or must be asked"
    CLIENT = "the client may not do this any more, which ends its sessions one by one"
    SETTINGS = "our own settings are refused, and nothing is wrong with the session"
    TROUBLE = "nothing is known"


_MEANS = {
    **dict.fromkeys(("invalid_grant", "scope_not_granted", "token_inactive"), Meaning.OVER),
    **dict.fromkeys(REFUSES_THE_PERSON, Meaning.PERSON),
    "unauthorized_client": Meaning.CLIENT,
    "invalid_client": Meaning.SETTINGS,
}
"""RFC 6749, 5.2, OpenID Connect Core 1.0, 3.1.2.6, and Hydra's own. `invalid_scope` depends on the scope."""


def meaning(error: OAuthError, granted: tuple[str, ...], settings: str) -> Meaning:
    """What a refusal means for a session with these scopes, at a site whose settings ask for those."""
    if error.error != "invalid_scope":
        return _MEANS.get(error.error, Meaning.TROUBLE)
    # One that the settings name is missing to everybody; one that a page asked for later, to this person alone. The
    # description names it, as Hydra's does, or it is one of the session's.
    added = set(granted) - set(settings.split())
    named = set(re.findall(r"[^\s'\"`,;()]+", error.error_description))
    if not added or (named & set(settings.split()) and not named & added):
        return Meaning.SETTINGS
    return Meaning.CLIENT


STILLBORN_MEMORY = 4_194_304
"""Bytes that are reckoned for sessions whose new token the API did not take: a thousand, which nobody sees at once."""


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
        self._pauses = Pauses(world)
        self.saving = Saving(world, sessions, token_endpoint)
        self.unsaved = self.saving.unsaved
        self._stillborn: Memo[Entry] = Memo(STILLBORN_MEMORY)
        """The sessions whose new token the API did not take."""
        self._seldom = Seldom(world.clock)  # each session would meet what is wrong with our own settings

    def is_due(self, session: Session, *, settled: bool = False) -> bool:
        """Whether `fresh` has anything to do; of a `settled` session it is known that its time has not come."""
        return session.id in self.unsaved or (not settled and self._due(session, None) is not Due.LATER)

    async def fresh(self, session: Session, *, rejected: str | None = None) -> Session:
        """The session with an access token that can be used; `rejected` is one that the API did not take.

        A rejected token that is new comes back, for want of a better one. Raises `SessionEnded` when the server gives
        no more, `ServerUnavailable` or `StoreUnavailable` when none can be had now. A token that still lives outlasts
        that trouble.
        """
        when = self._due(session, rejected)  # 1
        if when is Due.LATER and session.id not in self.unsaved:
            return session
        if session.tokens.refresh_token is None:
            if self._is_alive(session, rejected):
                return session
            raise SessionEnded("the access token has expired and there is no refresh token", "expired")
        if when is not Due.NOW and self._world.locked(session.id):
            return session
        return await patiently(
            self._world, self._config.timeout, lambda: self._attempt(session, rejected), ServerUnavailable
        )

    async def _attempt(self, session: Session, rejected: str | None) -> Session:
        """One attempt, whose trouble a token that lives outlasts."""
        try:
            async with self._world.lock(session.id):  # 2
                with self._world.telemetry.span("lumin.renewal"):
                    session = await self.saving.catch_up(session)
                    return await self._renew(session, rejected)
        except (AuthorizationServerError, StoreUnavailable) as error:
            if not self._is_alive(session, rejected):
                raise
            self._sessions.warn("renewal_failed", error)
            return session

    @contextmanager
    def _failure_told(self, session: Session) -> Iterator[None]:
        """Tells that an attempt failed, and so of one that was made: in a pause nobody was asked."""
        try:
            yield
        except (CircuitOpen, InPause):
            raise
        except (AuthorizationServerError, StoreUnavailable):  # of which the answer has the line
            self._world.tell(RenewalFailed.of(session, at=self._world.clock()))
            raise

    def _is_alive(self, session: Session, rejected: str | None) -> bool:
        return session.tokens.access_token != rejected and session.tokens.expires_at > self._world.clock()

    def _due(self, session: Session, rejected: str | None) -> Due:
        return due(session.tokens, self._world.clock(), self._config.renew_before, rejected)

    def _is_newborn(self, session: Session) -> bool:
        tokens = session.tokens
        age = self._world.clock() - (tokens.expires_at - tokens.lifetime)
        return session.generation > 0 and abs(age) < NEWBORN  # a birth far ahead says that the clock was wrong

    async def _renew(self, session: Session, rejected: str | None) -> Session:
        if self._due(session, rejected) is Due.LATER:
            return session
        with self._failure_told(session):
            record = await self._sessions.newest(session)  # 3
            if self._due(record.session, rejected) is Due.LATER:
                return self._adopted(record.session, session)
            if self._due(record.session, None) is Due.LATER and self._is_newborn(record.session):
                say("rejected_newborn")
                self._stillborn.put(session.id.encode(), Entry())
                return record.session
            await self._refuse_in_trouble(record.session)
        return await self._world.shield(lambda: self._renew_whoever_waits(record.session, rejected))

    async def _refuse_in_trouble(self, session: Session) -> None:
        self._token_endpoint.refreshes.check()
        await self._pauses.check(session)

    # --- 4 to 9 ---

    async def _renew_whoever_waits(self, session: Session, rejected: str | None) -> Session:
        with self._failure_told(session):  # here, since the request that began it may be gone by then
            renewed = await self._renew_with_lease(session, rejected)
        if renewed.id not in self.unsaved:
            await self._sessions.keep_listed(renewed)  # 9
        return renewed

    async def _renew_with_lease(self, session: Session, rejected: str | None) -> Session:
        server = await self._prepare(session)
        lease = Lease(self._world, session, self._config.timeout)
        found = await lease.take(lambda: self._while_waiting(session, rejected))  # 4
        if found is not None:
            return self._adopted(found, session)
        try:
            record = await self._sessions.newest(session)  # 5
            if self._due(record.session, rejected) is Due.LATER:
                return self._adopted(record.session, session)
            await self._refuse_in_trouble(record.session)  # that whoever had the lease before may have met
            # A slow store may have used the lease up: from here the longest answer must fit in again.
            if not await lease.keep():
                raise StoreUnavailable("the lease was lost before it was used")
            return await self._redeem(record, server, lease)  # 6, 7
        finally:
            if session.id not in self.unsaved:  # nobody else may go on before it is saved
                await lease.release()  # 8

    async def _prepare(self, session: Session) -> AuthorizationServer:
        """Asks the server what can be known before, so that under the lease one answer at a time is waited for."""
        if "iss" in session.claims:
            with suppress(AuthorizationServerError):
                await self._metadata.keys()
        return await self._metadata.server()

    async def _while_waiting(self, session: Session, rejected: str | None) -> Session | None:
        """The session if it is newer by now, or if nobody should wait; else None."""
        newest = (await self._sessions.newest(session)).session
        return newest if self._due(newest, rejected) is not Due.NOW else None

    def _adopted(self, found: Session, session: Session) -> Session:
        """What was found in place of a session, which may be itself where nobody needs to wait."""
        if found.generation > session.generation:
            note(self._world, Adopted.of(found, generation=found.generation))
        return found

    async def _redeem(self, record: Record, server: AuthorizationServer, lease: Lease) -> Session:
        old, now = record.session, self._world.clock()
        try:
            tokens = await self._token_endpoint.refresh(server, old.tokens)
        except OAuthError as error:
            return await self._refused(record, error)
        except CircuitOpen:
            raise  # nothing was learned of this session
        except AuthorizationServerError as error:
            # Where nothing was sent, another process may be better off.
            raise await self._trouble(old, error, shared=getattr(error, "sent", True)) from None
        with suppress(StoreUnavailable):  # newer keys may be another answer to wait for
            await lease.keep()
        try:
            claims = await self._metadata.refreshed_claims(tokens, self._config, old)
        except AnotherIdentity as error:
            note(self._world, EndedByServer.of(old, reason="not_this_sessions"), error=error)
            await self._end(old, tokens)
            raise SessionEnded("the server's new identity is not this session's") from None
        if not self._config.end_session or tokens.id_token is None:
            tokens = dataclasses.replace(tokens, id_token=old.tokens.id_token)
        renewed = dataclasses.replace(old, generation=old.generation + 1, seen=now, tokens=tokens, claims=claims)
        saved = await self.saving.save(record, renewed)
        seconds = max(self._world.clock() - now, 0.0)
        note(self._world, Renewed.of(saved, generation=saved.generation, seconds=round(seconds, 3)))
        return saved

    # --- what a refusal means ---

    async def _refused(self, record: Record, error: OAuthError) -> Session:
        old = record.session
        newest = (await self._sessions.newest(old)).session
        if newest.generation > old.generation:
            return newest
        match meaning(error, old.tokens.scope, self._config.scope):
            case Meaning.OVER:
                note(self._world, EndedByServer.of(old), error=self._why(old, error))
                await self._sessions.end(old.id, old.began, old.lasts)
                raise SessionEnded(f"the server refused the refresh token ({error.error})")
            case Meaning.PERSON:
                note(self._world, EndedByServer.of(old, reason="person_refused"), error=error)
                await self._end(old, old.tokens)
                raise SessionEnded(f"the server refused this person ({error.error})", error.error)
            case Meaning.CLIENT:
                note(self._world, EndedByServer.of(old, reason="client_renews_nobody"), error=error)
                await self._end(old, old.tokens)
                raise SessionEnded(f"the server refused the client ({error.error})")
            case Meaning.SETTINGS:
                self._blame_settings(error)
                raise await self._trouble(old, error, shared=False)
            case Meaning.TROUBLE:
                raise await self._trouble(old, error, shared=True)

    def _why(self, session: Session, error: OAuthError) -> str:
        if error.error != "invalid_grant" or self._stillborn.get(session.id.encode()) is None:
            return error.error
        return (
            "invalid_grant, after the API had refused a new token. Probably the same session was renewed by somebody"
            " who shares no store with this process: let all hosts of this site use one store"
        )

    def _blame_settings(self, error: OAuthError) -> None:
        if error.error == "invalid_scope":  # of our secret others speak
            self._seldom.say("invalid_scope", error=error)

    async def _trouble(self, session: Session, error: AuthorizationServerError, *, shared: bool) -> ServerUnavailable:
        """Begins a pause for this session, and says so in the error to raise."""
        said = error.said if isinstance(error, ServerUnavailable) else 0.0
        pause = await self._pauses.begin(session, at_least=said, shared=shared)
        return ServerUnavailable(f"no session can be renewed now ({error})", retry_after=pause)

    async def _end(self, session: Session, tokens: TokenSet) -> None:
        try:
            await self._sessions.end(session.id, session.began, session.lasts)
        finally:
            await self._token_endpoint.revoke(tokens)
