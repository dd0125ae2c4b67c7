"""A code becomes a session: redeemed, verified, and made known. From here on, what fails leaves no tokens behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import AuthorizationServerError, LuminError, OAuthError, RequestRefused
from ..events import SignedIn, note
from ..journal import say
from ..model import AuthorizationCode, Session, TokenSet, Transaction
from ..protocol import oauth
from ..protocol.claims import user_info_claims
from ..protocol.documents import json_answer
from ..protocol.identity import authenticated_at, nonce_digest
from ..reasons import NOT_SET_UP
from ..sessions.cookies import Jar
from ..sessions.logins import person
from ..sessions.marks import CONNECTED, OVERTAKEN, VOID
from ..sessions.opened import Opened
from ..sessions.sessions import ID_BYTES
from .account import Account
from .admission import admitted
from .parts import Parts
from .set_up import KeyWatch, NotSetUp


class Overtaken(LuminError):
    """The browser was signed in by another login, and by this one it is not."""

    def __init__(self) -> None:
        super().__init__("another sign-in of this browser was completed at the same time")


class SignIn:
    """Makes sessions of codes."""

    def __init__(self, parts: Parts, account: Account) -> None:
        self._config = parts.config
        self._world = parts.world
        self._sessions = parts.sessions
        self._metadata = parts.metadata
        self._token_endpoint = parts.token_endpoint
        self._logins = parts.logins
        self._marks = parts.marks
        self._grants = parts.grants
        self._account = account
        self._keys = KeyWatch(parts.config, parts.world)

    async def prepare(self) -> None:
        """Makes sure that a code could be redeemed and an ID token verified, before either is spent on trying.

        Raises `ServerUnavailable` or `AuthorizationServerError`.
        """
        await self._token_endpoint.admit_code()
        await self._metadata.prepare(self._config)

    async def sign_in(self, code: AuthorizationCode, jar: Jar[Opened]) -> tuple[Session, list[str]]:
        """The session that a code gives, and the `Set-Cookie` values for it. Sent once, and whoever waits is told.

        Raises `Overtaken`, `LuminError`.
        """
        state = code.transaction.state
        rivals, done = await self._marks.rivals(self._logins.rivals(state, jar))
        if done:
            await self._marks.ended(state, OVERTAKEN)
            raise Overtaken
        try:
            with self._world.telemetry.span("lumin.sign_in"):
                session, cookies = await self._session(code, jar)
        except LuminError:
            await self._marks.ended(state, VOID)
            raise
        if not await self._marks.win(state, rivals):
            # A browser keeps one of the two cookies. Nobody would ever end the session of the other one.
            await self._account.take_back(session)
            raise Overtaken
        await self._keys.look()
        note(self._world, SignedIn.of(session, scope=session.tokens.scope))
        return session, cookies

    async def undo(self, code: AuthorizationCode, session: Session) -> None:
        """Nobody is left to take the session."""
        await self._marks.ended(code.transaction.state, VOID)
        await self._account.sign_out(session, "sign_in_undone", by="undone")

    async def _session(self, code: AuthorizationCode, jar: Jar[Opened]) -> tuple[Session, list[str]]:
        tokens = await self._redeem(code)
        try:
            found, auth_time = await self._claims(tokens, code.transaction)
            claims = await admitted(found, self._config)
            session = self._new(tokens, claims, code.transaction, auth_time)
            cookies = self._sessions.set_cookies(session, jar)
            replaced = await self._sessions.current(jar)
            await self._account.begin(
                session,
                replaced,
                issued_at=float(found["iat"]) if tokens.id_token is not None else session.began,
                login_took=session.began - code.transaction.errand.began,
            )
        except BaseException:
            await self._token_endpoint.revoke(tokens)
            raise
        return session, cookies

    async def connect(self, code: AuthorizationCode, jar: Jar[Opened]) -> None:
        """Keeps what a code gives as a grant of whoever asked for it. Sent once, and whoever waits is told.

        Raises `LuminError`, and leaves nothing then.
        """
        try:
            await self._connect(code, jar)
        except LuminError:
            await self._marks.ended(code.transaction.state, VOID)
            raise
        await self._marks.ended(code.transaction.state, CONNECTED)

    async def _connect(self, code: AuthorizationCode, jar: Jar[Opened]) -> None:
        errand = code.transaction.errand
        tokens = await self._redeem(code)
        try:
            found, _ = await self._claims(tokens, code.transaction)
            claims = await admitted(found, self._config)
            grant = self._new(tokens, claims, code.transaction)
            if person(await self._sessions.current(jar)) != errand.asked_by:
                raise RequestRefused(
                    "signed_out_meanwhile", "You signed out here before you had allowed it.", status=403
                )
            if person(grant) != errand.asked_by:
                raise RequestRefused(
                    "another_person", "You are signed in here as one person, and allowed it as another.", status=403
                )
            if tokens.refresh_token is None:
                raise RequestRefused(
                    "no_offline_access", "Lumin was not allowed to go on while you are away.", status=403
                )
            await self._grants.keep(claims["sub"], errand.grant, await self._workspace(tokens), grant)
        except BaseException:
            await self._token_endpoint.revoke(tokens)
            raise

    async def _workspace(self, tokens: TokenSet) -> str | None:
        """The workspace that these tokens open, where they may ask: a token opens one."""
        if not {"workspaces", "workspaces.read"} & set(tokens.scope):
            return None
        try:
            url = f"{self._config.api_url.rstrip('/')}/workspaces/info"
            answer = await self._world.exchange.fetch(url, tokens.access_token)
        except AuthorizationServerError as error:
            say("workspace_unknown", error=error)
            return None
        found = (json_answer(answer) or {}).get("id") if answer.status == 200 else None
        return found if isinstance(found, str) and found else None

    def _new(
        self, tokens: TokenSet, claims: Mapping[str, Any], transaction: Transaction, auth_time: float | None = None
    ) -> Session:
        now = self._world.clock()
        return Session(
            id=self._world.token(ID_BYTES),
            generation=0,
            began=now,
            seen=now,
            tokens=self._kept(tokens),
            claims=claims,
            nonce=nonce_digest(transaction.nonce),
            auth_time=auth_time,
        )

    async def _redeem(self, code: AuthorizationCode) -> TokenSet:
        try:
            return await self._token_endpoint.redeem(code)
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise RequestRefused("invalid_grant", "Lumin did not accept this sign-in any more.") from None
            if error.error in oauth.REFUSES_THE_PERSON:
                raise  # as at the callback
            if error.error in NOT_SET_UP:
                raise NotSetUp(error) from None
            raise AuthorizationServerError(f"the token endpoint answered {error}", "token_refused") from None

    async def _claims(self, tokens: TokenSet, transaction: Transaction) -> tuple[Mapping[str, Any], float | None]:
        """What is known of the person, and when they signed in at the server, if that is known."""
        if tokens.id_token is not None:
            claims = await self._metadata.id_token_claims(
                tokens.id_token, self._config, access_token=tokens.access_token, nonce=transaction.nonce
            )
            return claims, authenticated_at(claims)
        if self._config.id_token == "required" or self._config.backchannel_logout:
            # A logout token names the server's ids; a session that has others would outlive it.
            raise AuthorizationServerError("the token response has no ID token", "no_id_token")
        answer = await self._world.exchange.fetch(f"{self._config.api_url.rstrip('/')}/user/info", tokens.access_token)
        found = user_info_claims(answer)
        if found is None and self._config.id_token != "auto":
            raise RequestRefused("no_subject", f"the API's user/info answered {answer.status}", status=403)
        if found is None:
            say("no_identity", user_info=answer.status)
        return found or {}, None

    def _kept(self, tokens: TokenSet) -> TokenSet:
        """Without the ID token, unless a logout at the server will need it as a hint."""
        if self._config.end_session:
            return tokens
        return TokenSet(tokens.access_token, tokens.expires_at, tokens.lifetime, tokens.scope, tokens.refresh_token)
