"""Signing in: off to the authorization endpoint, back with a code, and a session made of it.

The order of the checks in `callback` is the protocol's defence; what each of them checks is in `oauth`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from ..errors import AuthorizationServerError, InsufficientScope, LuminError, OAuthError, RequestRefused
from ..model import AuthorizationCode, Request, Response, Session, TokenSet, Transaction
from ..protocol import oauth
from ..protocol.identity import kept_claims, user_info_claims
from ..sessions.cookies import Jar
from ..sessions.sessions import ID_BYTES, Opened
from . import access, pages
from .access import is_prefetch
from .account import Account
from .parts import Parts

logger = logging.getLogger("lumin_middleware")


class SignIn:
    """The routes `login` and `callback`. `is_ours` tells the paths that nobody is sent to after a sign-in."""

    def __init__(self, parts: Parts, account: Account, is_ours: Callable[[str], bool]) -> None:
        self._config = parts.config
        self._world = parts.world
        self._logins = parts.logins
        self._sessions = parts.sessions
        self._metadata = parts.metadata
        self._token_endpoint = parts.token_endpoint
        self._answers = parts.answers
        self._account = account
        self._is_ours = is_ours

    # --- login ---

    async def login(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET login`: off to the authorization endpoint."""
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        if is_prefetch(request):  # nobody asked to sign in yet
            return self._answers.unauthorized(request, "no_session")
        found = oauth.parameters(request.query)
        return_to = access.return_to(found.get("return_to", ""), self._config.after_login)
        if self._is_ours(unquote(re.split("[?#]", return_to)[0])):  # back there would be a loop, or no page
            return_to = self._config.after_login
        extra = {name: found[name] for name in oauth.PASSED_ON if found.get(name)}
        return await self.begin(request, jar, return_to, needed=self._logins.asked(found.get("ask", "")), **extra)

    async def begin(
        self, request: Request, jar: Jar[Opened], return_to: str, *, needed: tuple[str, ...] = (), **extra: str
    ) -> Response:
        """Off to the authorization endpoint, and back to `return_to`, for which the scopes `needed` must be given."""
        if self._logins.is_looping(jar) and await self._sessions.current(jar) is None:
            return self._answers.looping(self._answers.login_url(request))
        server = await self._metadata.server()
        transaction = self._logins.begin(return_to, needed)
        location = oauth.authorization_request(self._config, server, transaction, extra)
        return pages.redirect(location, self._logins.set_cookies(transaction, jar))

    # --- callback ---

    async def callback(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET` at the redirect URI. The order of the checks is the protocol's defence."""
        if request.method != "GET":
            return self._answers.method_not_allowed("GET")
        if is_prefetch(request):
            raise RequestRefused("prefetch", "A sign-in is not completed ahead of time.")
        found = oauth.parameters(request.query)
        state = found.get("state") or ""
        transaction = self._logins.find(state, jar)
        if transaction is None:
            return await self._stray_callback(state, jar)
        forget = self._logins.forget(state)
        try:
            server = await self._metadata.server()
            code = oauth.authorization_response(found, transaction, self._config, server)
            if not await self._logins.use(transaction):
                return await self._stray_callback(state, jar)
            session, cookies = await self._world.shield(
                lambda: self._sign_in(code, jar), undo=lambda signed_in: self._account.sign_out(signed_in[0])
            )
        except LuminError as error:
            answer = self._answers.failure(request, error, return_to=transaction.return_to)
            answer.headers += pages.set_cookies([forget])
            return answer
        cookies += [forget, self._logins.count(jar)]
        missing = [token for token in transaction.needed.split() if token not in session.tokens.scope]
        if missing:
            answer = self._answers.insufficient_scope(request, InsufficientScope(" ".join(missing)))
            answer.headers += pages.set_cookies(cookies)
        else:
            answer = pages.redirect(transaction.return_to, cookies)
        answer.undo = lambda: self._account.sign_out(session)
        return answer

    async def _stray_callback(self, state: str, jar: Jar[Opened]) -> Response:
        """A callback of no login in flight; a repeated one leads where the first led, if it signed this browser in."""
        led_to = await self._logins.used_for(state) if state else None
        if led_to is not None and await self._sessions.current(jar) is not None:
            return pages.redirect(led_to)
        raise RequestRefused("unknown_login", "This sign-in is unknown, was used, or took too long.")

    async def _sign_in(self, code: AuthorizationCode, jar: Jar[Opened]) -> tuple[Session, list[str]]:
        """Redeems the code and makes the session. From here on, what fails must not leave tokens behind."""
        transaction = code.transaction
        tokens = await self._redeem(code)
        try:
            claims = await self._claims(tokens, transaction)
            now = self._world.clock()
            session = Session(
                id=self._world.token(ID_BYTES),
                generation=0,
                began=now,
                seen=now,
                tokens=self._kept(tokens),
                claims=claims,
            )
            cookies = self._sessions.set_cookies(session, jar)
            await self._account.begin(session, await self._sessions.current(jar))
        except LuminError:
            await self._token_endpoint.revoke(tokens)
            raise
        return session, cookies

    async def _redeem(self, code: AuthorizationCode) -> TokenSet:
        try:
            return await self._token_endpoint.redeem(code)
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise RequestRefused("invalid_grant", "Lumin did not accept this sign-in any more.") from None
            if error.error in oauth.REFUSES_THE_PERSON:
                raise  # as at the callback
            logger.error("The token endpoint refused a code: %r", str(error))
            raise AuthorizationServerError(f"the token endpoint answered {error.error}", "token_refused") from None

    async def _claims(self, tokens: TokenSet, transaction: Transaction) -> Mapping[str, Any]:
        if tokens.id_token is not None:
            claims = await self._metadata.id_token_claims(
                tokens.id_token, self._config, access_token=tokens.access_token, nonce=transaction.nonce
            )
            return kept_claims(claims, self._config)
        if self._config.id_token == "required":
            raise AuthorizationServerError("the token response has no ID token", "no_id_token")
        answer = await self._world.exchange.fetch(f"{self._config.api_url.rstrip('/')}/user/info", tokens.access_token)
        found = user_info_claims(answer)
        if found is None:
            logger.warning("Somebody signed in without an identity: the API's user/info answered %d", answer.status)
        return kept_claims(found or {}, self._config)

    def _kept(self, tokens: TokenSet) -> TokenSet:
        """Without the ID token, unless a logout at the server will need it as a hint."""
        if self._config.end_session:
            return tokens
        return TokenSet(tokens.access_token, tokens.expires_at, tokens.lifetime, tokens.scope, tokens.refresh_token)
