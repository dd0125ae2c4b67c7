"""The relying party: one request in, one outcome out.

The outcome is a `Response` of ours, or a `Visit`: the request goes on to the application, with or without a
session. Everything that decides is here and below; everything that does is handed in as a `World`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from . import access, oauth, pages
from .access import Rules, is_navigation, is_prefetch
from .account import Account, Route
from .answers import Answers, target
from .api_proxy import ApiCall, ApiProxy
from .breaker import CircuitBreaker
from .browser import BrowserFile, Popup
from .config import LuminConfig
from .cookies import Cookies, Jar
from .errors import (
    AuthorizationServerError,
    InsufficientScope,
    LoginRequired,
    LuminError,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    StoreUnavailable,
)
from .identity import kept_claims, user_info_claims
from .logins import Logins
from .metadata import Metadata
from .model import AuthorizationCode, Request, Response, Session, TokenSet, Transaction
from .ports import World
from .renewal import Renewal
from .sessions import ID_BYTES, Carried, Opened, sessions
from .verify import Verify

logger = logging.getLogger("lumin_middleware")


class Visit:
    """A request that goes on to the application."""

    __slots__ = ("_carried", "_jar", "_party", "call", "lost", "request", "session")

    def __init__(self, party: RelyingParty, request: Request, jar: Jar[Opened], carried: Carried | None = None) -> None:
        self._party = party
        self._jar = jar
        self._carried = carried
        self.request = request
        self.session = carried.session if carried else None
        self.lost = False
        """Whether the session ended while the application was at work."""
        self.call: ApiCall | None = None
        """The call to the API that takes the application's place."""

    @property
    def cookie(self) -> bytes:
        """The `Cookie` header as the application may see it."""
        return self._jar.rest

    async def fresh(self, *, rejected: str | None = None) -> Session:
        """The session with tokens that can be used now; `rejected` is an access token that the API did not take.

        Raises `LoginRequired`, `ServerUnavailable`, `StoreUnavailable`.
        """
        if self.session is None:
            raise LoginRequired("nobody is signed in")
        try:
            self.session = await self._party.renewal.fresh(self.session, rejected=rejected)
        except LoginRequired:
            self.lost = True
            raise
        return self.session

    async def is_over(self) -> bool:
        """Whether the session has ended since; for what is served for long."""
        return self.session is not None and await self._party.sessions.is_over(self.session)

    def set_cookies(self) -> list[str]:
        """The `Set-Cookie` values that this answer must carry: none, unless the session changed."""
        carried, session = self._carried, self.session
        if carried is None or session is None or (session is carried.session and not carried.stale):
            return []
        return self._party.sessions.renewed_cookies(session, self._jar)

    async def challenge(self, *, scope: str = "") -> Response:
        """The answer that asks for a sign-in or, with `scope`, for a permission that is missing."""
        return await self._party.challenge(self.request, self._jar, self.session, scope=tuple(scope.split()))

    def failure(self, error: LuminError) -> Response:
        """The answer to an error that is ours."""
        return self._party.failure(self.request, error)


class RelyingParty:
    """A site that signs people in with Lumin."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self.config = config
        self.world = world
        self.cookies = Cookies(secure=config.secure)
        self.metadata = Metadata(config.server, world)
        self.sessions = sessions(config, world, self.cookies)
        self.breaker = CircuitBreaker(world.clock)
        self.renewal = Renewal(config, world, self.sessions, self.metadata, self.breaker)
        self.logins = Logins(config, world, self.cookies)
        self.answers = Answers(config)
        self.account = Account(config, world, self.cookies, self.sessions, self.renewal, self.metadata, self.answers)
        self._api_proxy = ApiProxy(config)
        self._rules = Rules(config.public, config.optional, config.required_scopes)
        self._routes: dict[str, Route] = {
            config.callback_path: self.callback,
            self.answers.login_path: self.login,
            f"{config.prefix}/verify": Verify(config, self.answers, self._visit, self.challenge),
            **self.account.routes,
            f"{config.prefix}/lumin.js": BrowserFile(self.answers, "lumin.js", "text/javascript"),
            f"{config.prefix}/lumin.d.ts": BrowserFile(self.answers, "lumin.d.ts", "text/plain"),
        }
        self._loops = frozenset(self._routes)
        self._routes[f"{config.prefix}/popup"] = Popup(self.answers)

    async def handle(self, request: Request) -> Response | Visit:
        """What becomes of a request. Raises nothing that is ours."""
        jar = self.cookies.jar(request.cookie)
        try:
            if (route := self._routes.get(request.path)) is not None and not request.websocket:
                return await route(request, jar)
            if self._api_proxy.concerns(request.path):
                return await self._call_api(request, jar)
            return await self._authenticate(request, jar)
        except LuminError as error:
            return self.failure(request, error)

    def failure(self, request: Request, error: LuminError) -> Response:
        """The answer to an error that is ours."""
        if isinstance(error, LoginRequired):
            return self.answers.unauthorized(request, error.reason)
        return self.answers.failure(request, error)

    async def _call_api(self, request: Request, jar: Jar[Opened]) -> Visit:
        """`ANY api/…`: a call of a page to Lumin's API, in place of the application."""
        call = self._api_proxy.call(request)
        visit, _ = await self._visit(request, jar)
        visit.call = call
        return visit

    # --- the application's own paths ---

    async def _authenticate(self, request: Request, jar: Jar[Opened]) -> Response | Visit:
        rule = self._rules.rule(request)
        if rule.public:
            return Visit(self, request, jar)
        if request.websocket and request.header(b"origin") != self.config.origin:
            # No same-origin policy guards a handshake (RFC 6455, 10.2).
            raise RequestRefused("cross_origin", "The handshake's Origin is not this site.", status=403)
        try:
            visit, session = await self._visit(request, jar)
            if self.renewal.is_due(session):
                session = await visit.fresh()
        except LoginRequired as error:
            if rule.optional:
                return Visit(self, request, jar)
            return await self._require_login(request, jar, error.reason, rule.scope)
        except (ServerUnavailable, StoreUnavailable):
            if rule.optional:
                return Visit(self, request, jar)
            raise
        if rule.scope and not set(rule.scope) <= set(session.tokens.scope):
            return await self.challenge(request, jar, session, scope=rule.scope)
        return visit

    async def _visit(self, request: Request, jar: Jar[Opened]) -> tuple[Visit, Session]:
        carried = await self.sessions.load(jar)
        if carried is None:
            raise LoginRequired("nobody is signed in")
        if carried.outdated:
            await self.account.list_anew(carried.session)
        return Visit(self, request, jar, carried), carried.session

    async def challenge(
        self, request: Request, jar: Jar[Opened], session: Session | None, *, scope: tuple[str, ...] = ()
    ) -> Response:
        """The answer that asks for a sign-in or for scopes that are missing, fit for this request."""
        missing = tuple(token for token in scope if session is None or token not in session.tokens.scope)
        if session is None or not missing:
            return await self._require_login(request, jar, "no_session", missing)
        # What was asked for and not given is not asked for again by itself; that would go round in circles.
        if is_navigation(request) and not set(missing) <= set(self.config.scope.split()):
            return await self._begin_login(request, jar, self._here(request), needed=missing)
        login_url = f"{self.answers.login_url(request)}&ask={self.logins.ask(missing)}"
        return self.answers.insufficient_scope(request, InsufficientScope(" ".join(missing)), login_url)

    async def _require_login(
        self, request: Request, jar: Jar[Opened], reason: str, needed: tuple[str, ...] = ()
    ) -> Response:
        if not is_navigation(request):
            return self.answers.unauthorized(request, reason)
        return await self._begin_login(request, jar, self._here(request), needed=needed)

    def _here(self, request: Request) -> str:
        return access.return_to(target(request), self.config.after_login)

    # --- login ---

    async def login(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET login`: off to the authorization endpoint."""
        if request.method not in ("GET", "HEAD"):
            return self.answers.method_not_allowed("GET, HEAD")
        if is_prefetch(request):  # nobody asked to sign in yet
            return self.answers.unauthorized(request, "no_session")
        found = oauth.parameters(request.query)
        return_to = access.return_to(found.get("return_to", ""), self.config.after_login)
        path = unquote(re.split("[?#]", return_to)[0])
        if path in self._loops or self._api_proxy.concerns(path):  # back here would be a loop, or no page
            return_to = self.config.after_login
        extra = {name: found[name] for name in oauth.PASSED_ON if found.get(name)}
        return await self._begin_login(request, jar, return_to, needed=self.logins.asked(found.get("ask", "")), **extra)

    async def _begin_login(
        self, request: Request, jar: Jar[Opened], return_to: str, *, needed: tuple[str, ...] = (), **extra: str
    ) -> Response:
        if self.logins.is_looping(jar) and await self.sessions.current(jar) is None:
            return self.answers.looping(self.answers.login_url(request))
        server = await self.metadata.server()
        transaction = self.logins.begin(return_to, needed)
        location = oauth.authorization_request(self.config, server, transaction, extra)
        return pages.redirect(location, self.logins.set_cookies(transaction, jar))

    # --- callback ---

    async def callback(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET` at the redirect URI. The order of the checks is the protocol's defence: see `oauth`."""
        if request.method != "GET":
            return self.answers.method_not_allowed("GET")
        if is_prefetch(request):
            raise RequestRefused("prefetch", "A sign-in is not completed ahead of time.")
        found = oauth.parameters(request.query)
        state = found.get("state") or ""
        transaction = self.logins.find(state, jar)
        if transaction is None:
            return await self._stray_callback(state, jar)
        forget = self.logins.forget(state)
        try:
            server = await self.metadata.server()
            code = oauth.authorization_response(found, transaction, self.config, server)
            if not await self.logins.use(transaction):
                return await self._stray_callback(state, jar)
            session, cookies = await self.world.shield(
                lambda: self._sign_in(code, jar), undo=lambda signed_in: self.account.sign_out(signed_in[0])
            )
        except LuminError as error:
            answer = self.answers.failure(request, error, return_to=transaction.return_to)
            answer.headers += pages.set_cookies([forget])
            return answer
        cookies += [forget, self.logins.count(jar)]
        missing = [token for token in transaction.needed.split() if token not in session.tokens.scope]
        if missing:
            answer = self.answers.insufficient_scope(request, InsufficientScope(" ".join(missing)))
            answer.headers += pages.set_cookies(cookies)
        else:
            answer = pages.redirect(transaction.return_to, cookies)
        answer.undo = lambda: self.account.sign_out(session)
        return answer

    async def _stray_callback(self, state: str, jar: Jar[Opened]) -> Response:
        """A callback of no login in flight; a repeated one leads where the first led, if it signed this browser in."""
        led_to = await self.logins.used_for(state) if state else None
        if led_to is not None and await self.sessions.current(jar) is not None:
            return pages.redirect(led_to)
        raise RequestRefused("unknown_login", "This sign-in is unknown, was used, or took too long.")

    async def _sign_in(self, code: AuthorizationCode, jar: Jar[Opened]) -> tuple[Session, list[str]]:
        """Redeems the code and makes the session. From here on, what fails must not leave tokens behind."""
        transaction = code.transaction
        tokens = await self._redeem(code)
        try:
            claims = await self._claims(tokens, transaction)
            now = self.world.clock()
            session = Session(
                id=self.world.token(ID_BYTES),
                generation=0,
                began=now,
                seen=now,
                tokens=self._kept(tokens),
                claims=claims,
            )
            cookies = self.sessions.set_cookies(session, jar)
            await self.account.begin(session, await self.sessions.current(jar))
        except LuminError:
            await self.renewal.revoke(tokens)
            raise
        return session, cookies

    async def _redeem(self, code: AuthorizationCode) -> TokenSet:
        now = self.world.clock()
        server = await self.metadata.server()
        try:
            found = await self.breaker.call(lambda: self.world.exchange.redeem(server.token_endpoint or "", code))
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise RequestRefused("invalid_grant", "Lumin did not accept this sign-in any more.") from None
            logger.error("The token endpoint refused a code: %r", str(error))
            raise AuthorizationServerError(f"the token endpoint answered {error.error}", "token_refused") from None
        return oauth.token_set(found, requested=code.transaction.scope, before=None, now=now)

    async def _claims(self, tokens: TokenSet, transaction: Transaction) -> Mapping[str, Any]:
        if tokens.id_token is not None:
            claims = await self.metadata.id_token_claims(
                tokens.id_token, self.config, access_token=tokens.access_token, nonce=transaction.nonce
            )
            return kept_claims(claims, self.config)
        if self.config.id_token == "required":
            raise AuthorizationServerError("the token response has no ID token", "no_id_token")
        answer = await self.world.exchange.fetch(f"{self.config.api_url.rstrip('/')}/user/info", tokens.access_token)
        found = user_info_claims(answer)
        if found is None:
            logger.warning("Somebody signed in without an identity: the API's user/info answered %d", answer.status)
        return kept_claims(found or {}, self.config)

    def _kept(self, tokens: TokenSet) -> TokenSet:
        """Without the ID token, unless a logout at the server will need it as a hint."""
        if self.config.end_session:
            return tokens
        return TokenSet(tokens.access_token, tokens.expires_at, tokens.lifetime, tokens.scope, tokens.refresh_token)
