"""The authorization endpoint and its two pages: sign in, consent (OpenID Connect Core, 3.1.2).

A browser carries two cookies of ours: the sign-in, and a random value that ties a form to the browser
that asked for it. Their names are the emulator's own, since cookies don't know ports and the app under
development shares them. What a person decides is decided by `AuthorizationEndpoint.approve` and `deny`, which
need no HTTP.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from authlib.oauth2 import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .authorization_request import AuthorizationRequest, Parameters, authorization_request, callback, error_callback
from .clock import Clock
from .grants import Grant, Grants
from .pages import consent_page, error_page, sign_in_page
from .refusals import refusal
from .registry import Client, User

SESSION_COOKIE = "lumin_emulator_session"
BROWSER_COOKIE = "lumin_emulator_browser"
INTERACTION_LIFETIME = 1800.0  # seconds; Hydra gives a person half an hour


@dataclass(eq=False)
class SignIn:
    """Somebody signed in with a browser. `auth_time` is in epoch seconds."""

    user: User
    auth_time: float
    sid: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass(eq=False)
class Interaction:
    """An authorization request that waits for a person. `browser` is the one that began it."""

    request: AuthorizationRequest
    browser: str
    requested_at: float
    sign_in: SignIn | None = None
    signed_in_now: bool = False
    finished: bool = False


async def parameters(request: Request) -> Parameters:
    """The parameters of a request: of its query, or of its form when it is a POST."""
    if request.method != "POST":
        return parse_qsl(request.url.query, keep_blank_values=True)
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return []
    return parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)


def see_other(location: str, status: int = 303) -> Response:
    """A redirect to exactly this location."""
    return Response(status_code=status, headers={"Location": location, "Cache-Control": "no-store"})


class SignIns:
    """Who is signed in, by the cookie's value."""

    def __init__(self, *, secure: bool) -> None:
        self._by_cookie: dict[str, SignIn] = {}
        self._secure = secure

    def of(self, request: Request) -> SignIn | None:
        return self._by_cookie.get(request.cookies.get(SESSION_COOKIE, ""))

    def by_sid(self, sid: str) -> SignIn | None:
        return next((sign_in for sign_in in self._by_cookie.values() if sign_in.sid == sid), None)

    def begin(self, sign_in: SignIn, response: Response | None = None) -> None:
        """Keep a sign-in, and give its cookie to the browser that `response` goes to."""
        cookie = secrets.token_urlsafe(32)
        self._by_cookie[cookie] = sign_in
        if response is not None:
            self.set_cookie(response, SESSION_COOKIE, cookie)

    def end(self, sign_in: SignIn) -> None:
        self._by_cookie = {cookie: other for cookie, other in self._by_cookie.items() if other is not sign_in}

    def set_cookie(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(name, value, httponly=True, secure=self._secure, samesite="lax")


class AuthorizationEndpoint:
    """`/oauth2/auth` and the pages behind it."""

    def __init__(
        self, clients: Mapping[str, Client], users: Mapping[str, User], grants: Grants, clock: Clock, sign_ins: SignIns
    ) -> None:
        self.clients = clients
        self.users = users
        self.grants = grants
        self.clock = clock
        self.sign_ins = sign_ins
        self._interactions: dict[str, Interaction] = {}
        self._consents: dict[tuple[str, str], set[str]] = {}  # (sub, client_id) -> scopes to ask for no more
        self.routes = [
            Route("/oauth2/auth", self.authorize, methods=["GET", "POST"]),
            Route("/login", self.show_login),
            Route("/login", self.login, methods=["POST"]),
            Route("/consent", self.show_consent),
            Route("/consent", self.consent, methods=["POST"]),
        ]

    def check(self, given: Parameters) -> AuthorizationRequest:
        """The checked request. Raises `OAuth2Error`, with a `redirect_uri` where the client is to be told."""
        return authorization_request(given, self.clients)

    def approve(
        self, request: AuthorizationRequest, sign_in: SignIn, scope: tuple[str, ...], requested_at: float
    ) -> str:
        """Grant `scope`, issue a code, and say where the browser goes (RFC 6749, 4.1.2)."""
        grant = Grant(
            client_id=request.client.client_id,
            user=sign_in.user,
            scope=scope,
            sid=sign_in.sid,
            auth_time=sign_in.auth_time,
            requested_at=requested_at,
            nonce=request.nonce,
        )
        with self.grants.lock:
            code = self.grants.authorize(
                grant,
                redirect_uri=request.redirect_uri if request.redirect_uri_given else None,
                code_challenge=request.code_challenge,
            )
        return callback(request.redirect_uri, {"code": code.value, "scope": " ".join(scope), "state": request.state})

    def deny(self, request: AuthorizationRequest, error: str, hint: str = "") -> str:
        """Where the browser goes with an error (RFC 6749, 4.1.2.1)."""
        refused = refusal(error, hint, redirect_uri=request.redirect_uri)
        refused.state = request.state
        return error_callback(refused)

    async def authorize(self, http: Request) -> Response:
        try:
            request = self.check(await parameters(http))
        except OAuth2Error as error:
            if error.redirect_uri:
                return see_other(error_callback(error))
            return error_page(error.error, error.description, max(400, error.status_code))
        browser = http.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
        interaction = Interaction(request, browser, self.clock(), sign_in=self.sign_ins.of(http))
        response = self._next(self._remember(interaction), interaction)
        self.sign_ins.set_cookie(response, BROWSER_COOKIE, browser)
        return response

    def _remember(self, interaction: Interaction) -> str:
        oldest = self.clock() - INTERACTION_LIFETIME
        kept = {key: other for key, other in self._interactions.items() if other.requested_at > oldest}
        challenge = secrets.token_urlsafe(24)
        self._interactions = kept | {challenge: interaction}
        return challenge

    def _next(self, challenge: str, interaction: Interaction) -> Response:
        """The next step: sign in, consent, or back to the client (OpenID Connect Core, 3.1.2.3 and 3.1.2.4)."""
        request, silent = interaction.request, "none" in interaction.request.prompt
        if self._must_sign_in(interaction):
            if silent:
                return self._finish(interaction, self.deny(request, "login_required"))
            return see_other("/login?" + urlencode({"challenge": challenge}), 302)
        sign_in = interaction.sign_in
        if sign_in is None or "consent" in request.prompt or not self._has_consented(sign_in, request):
            if silent:
                return self._finish(interaction, self.deny(request, "consent_required"))
            return see_other("/consent?" + urlencode({"challenge": challenge}), 302)
        return self._finish(interaction, self.approve(request, sign_in, request.scope, interaction.requested_at))

    def _must_sign_in(self, interaction: Interaction) -> bool:
        request, sign_in = interaction.request, interaction.sign_in
        if sign_in is None:
            return True
        if interaction.signed_in_now:
            return False
        if not request.prompt.isdisjoint({"login", "select_account", "registration"}):
            return True
        # max_age=0 asks for a new sign-in, whatever the clock's resolution
        return request.max_age is not None and self.clock() - sign_in.auth_time >= request.max_age

    def _has_consented(self, sign_in: SignIn, request: AuthorizationRequest) -> bool:
        return set(request.scope) <= self._consents.get((sign_in.user.sub, request.client.client_id), set())

    def _finish(self, interaction: Interaction, location: str) -> Response:
        interaction.finished = True
        return see_other(location)

    def _open(self, given: Mapping[str, str]) -> Interaction | None:
        interaction = self._interactions.get(given.get("challenge", ""))
        if interaction is None or self.clock() - interaction.requested_at >= INTERACTION_LIFETIME:
            return None
        return interaction

    def _taken(self, http: Request, form: Mapping[str, str]) -> Interaction | Response:
        """The interaction that a form belongs to, or the answer to one that cannot be taken: it is unknown, comes
        from another browser, or was sent before.
        """
        interaction = self._open(form)
        if interaction is None:
            return error_page("request_not_found", "This sign-in is unknown or too old. Go back to the application.")
        if http.cookies.get(BROWSER_COOKIE) != interaction.browser:
            hint = "No CSRF value available in the session cookie."
            return see_other(self.deny(interaction.request, "request_forbidden", hint))
        if interaction.finished:
            hint = "The verifier has already been used."
            return see_other(self.deny(interaction.request, "access_denied", hint))
        return interaction

    async def show_login(self, http: Request) -> Response:
        interaction = self._open(http.query_params)
        if interaction is None or interaction.finished:
            return error_page("request_not_found", "This sign-in is over. Go back to the application.")
        return sign_in_page(interaction.request, self.users.values(), http.query_params["challenge"])

    async def login(self, http: Request) -> Response:
        form = dict(await parameters(http))
        interaction = self._taken(http, form)
        if isinstance(interaction, Response):
            return interaction
        user = self.users.get(form.get("sub", ""))
        if user is None:
            return self._finish(interaction, self.deny(interaction.request, "access_denied"))
        interaction.sign_in = SignIn(user, self.clock())
        interaction.signed_in_now = True
        response = self._next(form["challenge"], interaction)
        self.sign_ins.begin(interaction.sign_in, response)
        return response

    async def show_consent(self, http: Request) -> Response:
        interaction = self._open(http.query_params)
        if interaction is None or interaction.finished or interaction.sign_in is None:
            return error_page("request_not_found", "This sign-in is over. Go back to the application.")
        return consent_page(interaction.request, interaction.sign_in.user, http.query_params["challenge"])

    async def consent(self, http: Request) -> Response:
        given = await parameters(http)
        form = dict(given)
        interaction = self._taken(http, form)
        if isinstance(interaction, Response):
            return interaction
        sign_in, request = interaction.sign_in, interaction.request
        if sign_in is None or "allow" not in form:
            return self._finish(interaction, self.deny(request, "access_denied"))
        ticked = {value for name, value in given if name == "scope"}
        scope = tuple(scope for scope in request.scope if scope in ticked)
        if "remember" in form:
            self._consents.setdefault((sign_in.user.sub, request.client.client_id), set()).update(scope)
        return self._finish(interaction, self.approve(request, sign_in, scope, interaction.requested_at))
