"""The authorization endpoint and its two pages: sign in, consent (OpenID Connect Core, 3.1.2).

The way is Hydra's: from the endpoint to a page and back, twice. Each page's form leads to the endpoint with a
*verifier*, which counts once, and only in the browser whose cookie ties it to the request. There is one such cookie
for each client and page, and every new request overwrites it: of two requests of a client in one browser only the
newest comes through, and the other ends as `request_forbidden`.

Cookies have names of the emulator's own, since cookies don't know ports and the app under development shares them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .advice import advise
from .authorization_request import AuthorizationRequest, Refused, check_again
from .authorizations import Answer, Authorizations
from .clock import Clock
from .http import parameters, see_other
from .pages import consent_page, error_page, form_post_page, sign_in_page
from .refusals import Refusal, refusal
from .registry import Client, User, Workspace
from .sign_ins import SignIn, SignIns

AUTHORIZATION = "/oauth2/auth"
INTERACTION_LIFETIME = 1800.0  # seconds; Hydra gives a person half an hour

Step = Literal["login", "consent"]


@dataclass(eq=False)
class Interaction:
    """An authorization request that waits for a person. `query` is the request as it came.

    `ties` holds the value that the browser's cookie must have at each step, `used` the steps that are behind.
    """

    request: AuthorizationRequest
    query: str
    requested_at: float
    sign_in: SignIn | None = None
    signed_in_now: bool = False
    skips_consent: bool = False
    scope: tuple[str, ...] = ()
    workspace_id: str | None = None
    refused: Refusal | None = None
    ties: dict[Step, str] = field(default_factory=dict)
    used: set[Step] = field(default_factory=set)

    def back(self, step: Step, verifier: str) -> Response:
        """To the endpoint, with the request as it was and the verifier of this step."""
        return see_other(f"{AUTHORIZATION}?{self.query}&{urlencode({f'{step}_verifier': verifier})}")


class AuthorizationEndpoint:
    """`/oauth2/auth` and the pages behind it.

    With `one_request_per_browser=False` requests of one browser do not push each other out.
    """

    def __init__(
        self,
        authorizations: Authorizations,
        users: Mapping[str, User],
        workspaces: Mapping[str, Workspace],
        clock: Clock,
        sign_ins: SignIns,
        *,
        one_request_per_browser: bool = True,
    ) -> None:
        self.authorizations = authorizations
        self.users = users
        self.workspaces = workspaces
        self.clock = clock
        self.sign_ins = sign_ins
        self.one_request_per_browser = one_request_per_browser
        self._interactions: dict[str, Interaction] = {}  # by challenge, and by verifier
        self._consents: dict[tuple[str, str], set[str]] = {}  # (sub, client_id) -> scopes to ask for no more
        self.routes = [
            Route(AUTHORIZATION, self.authorize, methods=["GET", "POST"]),
            Route("/login", self.show_login),
            Route("/login", self.login, methods=["POST"]),
            Route("/consent", self.show_consent),
            Route("/consent", self.consent, methods=["POST"]),
        ]

    # The endpoint

    async def authorize(self, http: Request) -> Response:
        """A new request, or one that comes back from a page (its verifier counts in the query only)."""
        given = await parameters(http)
        try:
            request = self.authorizations.check(given)
            if verifier := http.query_params.get("consent_verifier"):
                return self._after_consent(http, request, verifier)
            if verifier := http.query_params.get("login_verifier"):
                return self._after_login(http, request, verifier)
            return self._begin(http, request)
        except Refused as refused:
            if refused.destination is None:
                advise(given, self.authorizations.clients, refused.refusal)
            return self._tell(refused)

    def _begin(self, http: Request, request: AuthorizationRequest) -> Response:
        sign_in = self.sign_ins.of(http)
        if sign_in is not None and request.parameters.get("max_age") and request.max_age is None:
            raise self.authorizations.refused(request, "error", "The 'max_age' parameter is not a number.")
        if sign_in is not None and self._must_sign_in(sign_in, request):
            sign_in = None
        if sign_in is None and "none" in request.prompt:
            raise self.authorizations.refused(request, "login_required")
        self.authorizations.check_hint(request, sign_in.user.sub if sign_in else None)
        interaction = Interaction(request, http.url.query, self.clock(), sign_in)
        return self._show("login", interaction, http)

    def _after_login(self, http: Request, request: AuthorizationRequest, verifier: str) -> Response:
        interaction = self._verified("login", http, request, verifier)
        sign_in = interaction.sign_in
        assert sign_in is not None
        asks = "consent" in request.prompt or not self._has_consented(sign_in, request)
        if asks and "none" in request.prompt:
            raise self.authorizations.refused(request, "consent_required")
        if not asks:
            interaction.scope, interaction.skips_consent = request.scope, True
        response = self._show("consent", interaction, http)
        if interaction.signed_in_now:
            self.sign_ins.begin(sign_in, response)
        return response

    def _after_consent(self, http: Request, request: AuthorizationRequest, verifier: str) -> Response:
        interaction = self._verified("consent", http, request, verifier)
        sign_in = interaction.sign_in
        assert sign_in is not None
        check_again(request)
        self.authorizations.check_hint(request, sign_in.user.sub)
        decided = interaction.scope, interaction.requested_at, interaction.workspace_id
        return _deliver(self.authorizations.approve(request, sign_in, *decided))

    def _verified(self, step: Step, http: Request, request: AuthorizationRequest, verifier: str) -> Interaction:
        """The interaction of a verifier, which counts once. Raises `Refused`."""
        interaction = self._interactions.get(verifier)
        if interaction is None or step in interaction.used or interaction.request.client != request.client:
            hint = f"The {step} verifier has already been used, has not been granted, or is invalid."
            raise self.authorizations.refused(request, "access_denied", hint)
        interaction.used.add(step)
        if interaction.refused:
            raise Refused(interaction.refused, request.destination)
        if self._is_late(interaction):
            hint = f"The {step} request has expired, please try again."
            raise self.authorizations.refused(request, "request_unauthorized", hint)
        if http.cookies.get(cookie_name(step, request.client)) != interaction.ties[step]:
            raise self.authorizations.refused(request, "request_forbidden", "No CSRF value in the session cookie.")
        return interaction

    def _show(self, step: Step, interaction: Interaction, http: Request) -> Response:
        """To the page of this step. From now on the browser is tied to this request."""
        name = cookie_name(step, interaction.request.client)
        kept = None if self.one_request_per_browser else http.cookies.get(name)
        interaction.ties[step] = kept or secrets.token_urlsafe(24)
        challenge = self._remember(interaction)
        response = see_other(f"/{step}?" + urlencode({"challenge": challenge}), 302)
        self.sign_ins.set_cookie(response, name, interaction.ties[step])
        return response

    def _tell(self, refused: Refused) -> Response:
        """Where an error is told: to the callback, or on a page."""
        if refused.destination is None:
            return error_page(refused.refusal.error, refused.refusal.description, max(400, refused.refusal.status))
        return _deliver(self.authorizations.error(refused.refusal, refused.destination))

    # What there is to ask

    def _must_sign_in(self, sign_in: SignIn, request: AuthorizationRequest) -> bool:
        if not request.prompt.isdisjoint({"login", "registration"}):
            return True
        # max_age=0 asks for a new sign-in, whatever the clock's resolution
        return request.max_age is not None and self.clock() - sign_in.auth_time >= request.max_age >= 0

    def _has_consented(self, sign_in: SignIn, request: AuthorizationRequest) -> bool:
        return set(request.scope) <= self._consents.get((sign_in.user.sub, request.client.client_id), set())

    def _remember(self, interaction: Interaction) -> str:
        """A new name for an interaction; those that are over are forgotten."""
        self._interactions = {key: other for key, other in self._interactions.items() if not self._is_late(other)}
        name = secrets.token_urlsafe(24)
        self._interactions[name] = interaction
        return name

    def _is_late(self, interaction: Interaction) -> bool:
        return self.clock() - interaction.requested_at >= INTERACTION_LIFETIME

    def _open(self, given: Mapping[str, str], step: Step) -> Interaction | None:
        interaction = self._interactions.get(given.get("challenge", ""))
        return (
            None if interaction is None or self._is_late(interaction) or step not in interaction.ties else interaction
        )

    # The pages

    async def show_login(self, http: Request) -> Response:
        interaction = self._open(http.query_params, "login")
        if interaction is None or "login" in interaction.used:
            return _over()
        if interaction.sign_in is not None:
            return interaction.back("login", self._remember(interaction))
        return sign_in_page(interaction.request, self.users.values(), http.query_params["challenge"])

    async def login(self, http: Request) -> Response:
        form = dict(await parameters(http))
        interaction = self._open(form, "login")
        if interaction is None:
            return _over()
        user = self.users.get(form.get("sub", ""))
        if user is None:
            interaction.refused = refusal("access_denied")
        elif "login" not in interaction.used:
            interaction.sign_in, interaction.signed_in_now = SignIn(user, self.clock()), True
        return interaction.back("login", self._remember(interaction))

    async def show_consent(self, http: Request) -> Response:
        interaction = self._open(http.query_params, "consent")
        if interaction is None or "consent" in interaction.used or interaction.sign_in is None:
            return _over()
        if interaction.skips_consent:
            return interaction.back("consent", self._remember(interaction))
        user = interaction.sign_in.user
        workspaces = [each for each in self.workspaces.values() if user.sub in each.members]
        return consent_page(interaction.request, user, workspaces, http.query_params["challenge"])

    async def consent(self, http: Request) -> Response:
        given = await parameters(http)
        form = dict(given)
        interaction = self._open(form, "consent")
        if interaction is None or interaction.sign_in is None:
            return _over()
        request = interaction.request
        if "allow" not in form:
            interaction.refused = refusal("access_denied")
            return interaction.back("consent", self._remember(interaction))
        ticked = {value for name, value in given if name == "scope"}
        interaction.scope = tuple(scope for scope in request.scope if scope in ticked)
        interaction.workspace_id = form.get("workspace")
        if "remember" in form:
            key = (interaction.sign_in.user.sub, request.client.client_id)
            self._consents.setdefault(key, set()).update(interaction.scope)
        return interaction.back("consent", self._remember(interaction))


def cookie_name(step: Step, client: Client) -> str:
    """The cookie that ties a browser to its newest request of this client."""
    return f"lumin_emulator_{step}_{hashlib.sha256(client.client_id.encode()).hexdigest()[:8]}"


def _deliver(answer: Answer) -> Response:
    return see_other(answer.location) if answer.form is None else form_post_page(answer.location, answer.form)


def _over() -> Response:
    return error_page("request_not_found", "This sign-in is over, or unknown. Go back to the application.")
