"""The emulator as one object: an authorization server and the Lumin API, with state that tests can see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import parse_qsl

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..errors import RequestRefused
from .api import Api
from .api_http import ApiError
from .authorization_request import AuthorizationRequest, Refused, check_again
from .authorizations import Answer, Authorizations
from .calls import Call, CallRecorder
from .clock import Clock
from .endpoints import ClientEndpoints
from .faults import FaultInjector, Faults
from .grants import OPAQUE_LENGTH, Grants
from .http import parameters, see_other
from .logout import LogoutEndpoint
from .pages import error_page, home_page
from .refusals import Refusal
from .registry import DEMO_CLIENT, DEMO_USERS, Client, User, Workspace, workspaces_of
from .sign_in import AuthorizationEndpoint
from .sign_ins import SignIn, SignIns
from .signature_requests import SignatureRequest
from .token_endpoint import TokenEndpoint
from .tokens import Forger, TokenSigner


class Emulator:
    """A local Lumin. `app` is the ASGI application; the API is at `base + "/v1"`.

    Lifetimes and `refresh_token_grace` are in seconds, measured with `clock`. `id_token=False` leaves the
    ID token out of token responses, as Lumin's documentation shows them. `issuer` differs from `base` only
    where a test wants it to. `access_token_length` is in characters; `access_token_strategy` is "opaque" or "jwt".
    `one_request_per_browser=False` lets several authorization requests of one browser through, which Hydra does
    not. Each person owns a workspace and shares another, unless `workspaces` says otherwise. Back-channel logout goes
    out through `backchannel_transport`, where one is given.
    """

    def __init__(
        self,
        base: str = "http://127.0.0.1:4444",
        *,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
        clients: Iterable[Client] = (DEMO_CLIENT,),
        users: Iterable[User] = DEMO_USERS,
        access_token_lifetime: float = 3600,
        refresh_token_lifetime: float = 30 * 86400,
        code_lifetime: float = 600,
        id_token: bool = True,
        refresh_token_grace: float = 0.0,
        access_token_length: int = OPAQUE_LENGTH,
        access_token_strategy: Literal["opaque", "jwt"] = "opaque",  # noqa: S107  (no password)
        one_request_per_browser: bool = True,
        workspaces: Iterable[Workspace] | None = None,
        backchannel_transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.clients = {client.client_id: client for client in clients}
        self.users = {user.sub: user for user in users}
        known = workspaces_of(self.users.values()) if workspaces is None else workspaces
        self.workspaces = {workspace.id: workspace for workspace in known}
        self.calls: list[Call] = []
        self.faults = Faults()
        self._clock = Clock(clock)
        self.grants = Grants(
            self._clock,
            lifetimes={
                "access_token": access_token_lifetime,
                "refresh_token": refresh_token_lifetime,
                "code": code_lifetime,
            },
            grace=refresh_token_grace,
            access_token_length=access_token_length,
        )
        jwt = access_token_strategy == "jwt"
        self._signer = TokenSigner(issuer or self.base, self._clock, jwt_access_tokens=jwt)
        self._sign_ins = SignIns(secure=self.base.startswith("https:"))
        self._authorizations = Authorizations(self.clients, self.workspaces, self.grants, self._signer)
        self._authorization_endpoint = AuthorizationEndpoint(
            self._authorizations,
            self.users,
            self.workspaces,
            self._clock,
            self._sign_ins,
            one_request_per_browser=one_request_per_browser,
        )
        self._token_endpoint = TokenEndpoint(self.clients, self.grants, self._signer, id_tokens=id_token)
        self._logout = LogoutEndpoint(self.clients, self.grants, self._signer, self._sign_ins, backchannel_transport)
        self._api = Api(self.grants, self._clock, self.base, self.clients, self.users, self.workspaces)
        self.app: ASGIApp = self._build()

    def _build(self) -> ASGIApp:
        routes = [
            Route("/", self._home),
            Route("/grants/revoke", self._revoke, methods=["POST"]),
            *self._authorization_endpoint.routes,
            *ClientEndpoints(self._token_endpoint, self.base).routes,
            *self._logout.routes,
            *self._api.routes,
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, ClientDisconnect: _gone})
        return CallRecorder(FaultInjector(app, self.faults, self._clock), self.calls)

    async def _home(self, http: Request) -> Response:
        alive = [(number, grant) for number, grant in enumerate(self.grants) if grant.tokens and not grant.revoked]
        return home_page(self.base, self.clients, self.users, self.workspaces, alive)

    async def _revoke(self, http: Request) -> Response:
        """A person, or Lumin, takes back what was allowed: every token of it is dead at once."""
        number = dict(await parameters(http)).get("grant", "")
        grants = list(self.grants)
        if not number.isdecimal() or int(number) >= len(grants):
            return error_page("not_found", "There is nothing of that number.", 404)
        with self.grants.lock:
            grants[int(number)].revoke()
        return see_other("/")

    def sign_in(
        self,
        authorization_url: str,
        *,
        sub: str | None = None,
        deny: bool | str = False,
        scope: str | None = None,
        workspace: str | None = None,
        ago: float = 0,
    ) -> str:
        """What a browser with a person at it would do, without HTTP. Returns the redirect to the client.

        The person is `sub`, or who `login_hint` names, or the first; they grant all of what is asked, or `scope`, a
        subset, in one of their workspaces, the first or the one with the id `workspace`. They proved who they are `ago`
        seconds ago; a request with `max_age` is not asked what it makes of that. `deny` refuses, with
        `access_denied` or an error of your own. The browser is a new one each time, so that `prompt=none` ends in
        `login_required`. Raises `RequestRefused` where the person would see an error page, or a form.
        """
        endpoint, _, query = authorization_url.partition("?")
        if endpoint != f"{self.base}/oauth2/auth":
            raise RequestRefused("unknown_endpoint", f"{endpoint} is not the authorization endpoint")
        try:
            request = self._authorizations.check(parse_qsl(query.partition("#")[0], keep_blank_values=True))
            answer = self._decided(request, sub, deny, scope, workspace, ago)
        except Refused as refused:
            if refused.destination is None:
                raise RequestRefused(refused.refusal.error, refused.refusal.description) from None
            answer = self._authorizations.error(refused.refusal, refused.destination)
        if answer.form is not None:
            raise RequestRefused("form_post", "the answer comes as a form, for which there is a page only")
        return answer.location

    def _decided(
        self,
        request: AuthorizationRequest,
        sub: str | None,
        deny: bool | str,
        scope: str | None,
        workspace: str | None,
        ago: float,
    ) -> Answer:
        """What a person makes of a request. Raises `Refused`."""
        if "none" in request.prompt:
            raise self._authorizations.refused(request, "login_required")
        if deny:
            raise self._authorizations.refused(request, deny if isinstance(deny, str) else "access_denied")
        now = self._clock()
        sign_in = SignIn(self._person(sub, request.login_hint), now - ago)
        check_again(request)
        self._authorizations.check_hint(request, sign_in.user.sub)
        self._sign_ins.begin(sign_in)
        wanted = set(request.scope if scope is None else scope.split())
        granted = tuple(each for each in request.scope if each in wanted)
        return self._authorizations.approve(request, sign_in, granted, now, workspace)

    async def sign_out(self, end_session_url: str) -> str | None:
        """What a browser would do whose person confirms: end the sign-in that `id_token_hint` names.

        Sends the back-channel logout, and returns where the browser is sent, if anywhere. Raises
        `RequestRefused` where the person would see an error page.
        """
        query = end_session_url.partition("?")[2]
        try:
            request = self._logout.check(parse_qsl(query, keep_blank_values=True), None)
        except Refusal as error:
            raise RequestRefused(error.error, error.description) from None
        if request.sign_in is not None:
            await self._logout.end(request.sign_in)
        return request.location

    def logout_token(self, client_id: str, sid: str) -> str:
        """A logout token for this client and `sid`, as back-channel logout would send it."""
        return self._signer.logout_token(self.clients[client_id], sid)

    def _person(self, sub: str | None, login_hint: str) -> User:
        if sub is not None:
            return self.users[sub]
        people = self.users.values()
        return next((user for user in people if login_hint in (user.sub, user.email)), next(iter(people)))

    @property
    def signature_requests(self) -> dict[str, SignatureRequest]:
        """The API's signature requests, by id."""
        return self._api.signing.signature_requests

    @property
    def documents(self) -> dict[str, dict[str, object]]:
        """What was uploaded with `POST /documents`, by id."""
        return self._api.workspace.documents

    def calls_to(self, path: str) -> list[Call]:
        """The recorded requests for this path, oldest first."""
        return [call for call in self.calls if call.path == path]

    @property
    def reuse_events(self) -> int:
        """How often a spent code or refresh token was presented, outside grace."""
        return self.grants.reuse_events

    @property
    def clock_skew(self) -> float:
        """Seconds by which this server's clock is wrong in what it issues: iat, exp, auth_time, Date."""
        return self._clock.skew

    @clock_skew.setter
    def clock_skew(self, seconds: float) -> None:
        self._clock.skew = seconds

    @property
    def forge_id_token(self) -> Forger | None:
        """Given header, claims and key of each ID token; what it returns is sent instead."""
        return self._signer.forge

    @forge_id_token.setter
    def forge_id_token(self, forger: Forger | None) -> None:
        self._signer.forge = forger

    def rotate_keys(self, *, keep: bool = True) -> None:
        """Sign with a new key from now on. The old one stays in the JWKS, unless `keep` is false.

        As with Hydra, ID tokens of those who signed in before keep the old key's `kid` in their header, and are
        signed with the new one.
        """
        self._signer.keys.rotate(keep=keep)

    def revoke_all(self, *, sub: str | None = None) -> None:
        """Kill every grant, or those of the person `sub`, with all that was issued for it."""
        self.grants.revoke_all(sub)

    def expire_access_tokens(self) -> None:
        """Let every access token issued so far be expired. Refresh tokens live on."""
        self.grants.expire_access_tokens()


async def _gone(http: Request, error: Exception) -> Response:
    """Who went in the middle of a body: nobody reads this."""
    return Response(status_code=400)


async def _http_error(http: Request, error: Exception) -> Response:
    """No such path, or not with this method: in the API's words or on a page."""
    assert isinstance(error, HTTPException)
    if http.url.path.startswith("/v1/"):
        return ApiError(error.status_code, "not_found", error.detail, dict(error.headers or {})).response
    return error_page("not_found", error.detail, error.status_code)
