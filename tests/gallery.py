"""Every page that we say ourselves, made without a browser or a server: for tests that walk through all of them.

`site(config, language)` are the site's, by what they are; `emulator()` the emulator's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from starlette.responses import HTMLResponse

from lumin_middleware.config import LuminConfig
from lumin_middleware.emulator import DEMO_CLIENT, DEMO_USERS
from lumin_middleware.emulator import pages as emulators
from lumin_middleware.emulator.registry import SCOPES, workspaces_of
from lumin_middleware.errors import (
    AuthorizationServerError,
    ClientMisused,
    ConfigurationError,
    InsufficientScope,
    LuminError,
    NotConnected,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    StoreUnavailable,
)
from lumin_middleware.gateway.answers import Answers as GatewaysAnswers
from lumin_middleware.model import Errand, Request, Response, Session, TokenSet
from lumin_middleware.reasons import REASONS
from lumin_middleware.runtime.startup import not_set_up
from lumin_middleware.sessions.forms import Form
from lumin_middleware.site import browser, kept_form, sign_in_pages
from lumin_middleware.site.answers import Answers
from tests.fakes import BASE, World, request
from tests.site_rig import NAVIGATION, Clock

CALLBACK = "/auth/callback"
AGAIN = "/auth/login?return_to=/"

SAID_BY_THE_SITE = "Only for members of the club."

REFUSED_BY_THE_SERVER = ("access_denied", "server_error", "temporarily_unavailable", "login_required")

ERRORS: dict[str, LuminError] = {
    "server_unavailable": ServerUnavailable("no answer"),
    "store_unavailable": StoreUnavailable("no answer"),
    "client_misused": ClientMisused("after its request"),
    "not_connected": NotConnected("no grant", "/auth/connect"),
    **{code: OAuthError(code, "The server's own words.") for code in REFUSED_BY_THE_SERVER},
    "said_by_the_site": RequestRefused("not_admitted", SAID_BY_THE_SITE, status=403),
}


class _Site:
    def __init__(self, config: LuminConfig, language: str) -> None:
        self._config = config
        self._language = language
        self.answers = Answers(config, World(None, None, Clock()))

    def asked(self, path: str = "/page", *, method: str = "GET", host: str = "", **headers: str) -> Request:
        said = {**NAVIGATION, **headers, **({"host": host} if host else {}), "accept-language": self._language}
        return request(path, method=method, headers=said)

    def pages(self) -> Iterator[tuple[str, Response]]:
        yield from self._nobody()
        yield from self._failures()
        yield from self._sign_ins()
        yield from self._others()

    def _nobody(self) -> Iterator[tuple[str, Response]]:
        answers, page = self.answers, self.asked()
        framed = self.asked(**{"sec-fetch-dest": "iframe"})
        yield "framed", answers.unauthorized(framed, "no_session", may_be_page=True)
        yield "not-sent", answers.unauthorized(self.asked(method="POST"), "ended", may_be_page=True)
        yield "kept", answers.unauthorized(self.asked(method="POST"), "expired", may_be_page=True, kept="/auth/form")
        yield "not-recent", answers.not_recent(framed, 300, may_be_page=True)
        yield "missing", answers.insufficient_scope(page, InsufficientScope("sign:requests acme:things"), AGAIN)
        sent = self.asked(method="POST")
        for name, kept in (("missing-not-sent", ""), ("missing-kept", "/auth/form")):
            yield name, answers.insufficient_scope(sent, InsufficientScope("sign:requests"), AGAIN, kept)
        yield "not-recent-kept", answers.not_recent(sent, 300, may_be_page=True, kept="/auth/form")
        every = InsufficientScope(" ".join(SCOPES))
        yield "missing-asked", answers.insufficient_scope(page, every)
        yield "loop", answers.looping(self.asked(CALLBACK, host="other.example"), AGAIN)

    def _failures(self) -> Iterator[tuple[str, Response]]:
        told = [reason.code for reason in REASONS.values() if reason.title and reason.person]
        refused = {code: RequestRefused(code, _said(code)) for code in told if code not in ERRORS}
        server = {f"from-server-{code}": AuthorizationServerError("x", code) for code in ("bad_id_token", "no_keys")}
        for name, error in {**ERRORS, **refused, **server}.items():
            yield f"error-{name}", self.answers.failure(self.asked(), error)
            yield f"callback-{name}", self.answers.failure(self.asked(CALLBACK), error, return_to="/wanted")
        denied = OAuthError("access_denied")
        yield "popup-denied", self.answers.failure(self.asked(CALLBACK), denied, return_to="/auth/popup")
        yield "posted", self.answers.failure(self.asked(method="POST"), ServerUnavailable("no answer"))

    def _sign_ins(self) -> Iterator[tuple[str, Response]]:
        tell, page = self.answers.tell, self.asked(CALLBACK)
        ann = _session(email="ann@example.org")
        yield "not-set-up", tell(page, 400, "not_set_up", sign_in_pages.not_set_up(AGAIN))
        yield "waiting", tell(page, 200, "waiting", sign_in_pages.waiting(AGAIN))
        yield "came-to-nothing", tell(page, 400, "sign_in_failed", sign_in_pages.came_to_nothing(f"{BASE}/auth", AGAIN))
        yield "another-person", self.answers.page(page, 200, sign_in_pages.another_person(ann, "/", AGAIN))
        yield "another-nobody", self.answers.page(page, 200, sign_in_pages.another_person(_session(), "/", AGAIN))
        kept_back = sign_in_pages.permission_not_given("templates acme:things", "/", AGAIN)
        yield "kept-back", tell(page, 403, "access_denied", kept_back)
        yield "old-sign-in", tell(page, 403, "insufficient_user_authentication", sign_in_pages.not_recent("/", AGAIN))
        for why in ("", "signed_out_meanwhile", "another_person", "no_offline_access", "invalid_grant", "no_subject"):
            content = sign_in_pages.not_connected(why, "", "/", AGAIN)
            yield f"no-grant-{why}", tell(page, 403, why or "access_denied", content)
        for host in ("", "other.example"):
            errand = Errand("/", "openid", host=host)
            points, values = sign_in_pages.unknown_login(errand, "app.example.com", self._config.origin)
            error = RequestRefused("unknown_login", "Words for a program.")
            yield f"unknown-login-{host}", self.answers.failure(page, error, points=points, values=values)

    def _others(self) -> Iterator[tuple[str, Response]]:
        answers, page = self.answers, self.asked()
        yield "logout", answers.logout_page(page)
        yield "signed-out", answers.signed_out(page)
        yield "signed-out-here-only", answers.signed_out_here_only(page, StoreUnavailable("no answer"))
        form = Form("/send?x=1", "/page", [("title", "Lease")])
        ann = _session(name="Ann <b>Oakley</b> & Co", sub="1")
        yield "form", answers.page(page, 200, kept_form._page(replace(form, sender="1"), ann))
        yield "form-of-nobody", answers.page(page, 200, kept_form._page(form, ann))
        nobody = _session()
        yield "form-as-nobody", answers.page(page, 200, kept_form._page(replace(form, action=f"/{'x' * 300}"), nobody))
        yield "form-gone", answers.tell(page, 404, "form_gone", kept_form.GONE)
        yield "popup", answers.page(page, 200, browser.LANDED)
        yield from self._gateways()

    def _gateways(self) -> Iterator[tuple[str, Response]]:
        answers = GatewaysAnswers(self._config)
        headers = [(b"accept", b"text/html"), (b"accept-language", self._language.encode())]
        scope: Any = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b""}
        scope["headers"] = headers
        for late in (False, True):
            yield f"gateway-late-{late}", answers.trouble(OSError(), scope, late=late)
        for code, status in (("bad_request", 400), ("method_not_allowed", 405), ("too_slow", 408)):
            yield f"gateway-{code}", answers.refused(RequestRefused(code, "For a program.", status=status), scope)


def _said(code: str) -> str:
    # What `admit` says is for the person; without words of the site's own it is ours.
    return REASONS[code].person if code == "not_admitted" else "Words for a program."


def _session(**claims: str) -> Session:
    return Session("id", 0, 0, 0, TokenSet("token", 0, 0, ("openid",)), claims)


def site(config: LuminConfig, language: str = "") -> dict[str, Response]:
    """The pages of a site, by what they are."""
    return dict(_Site(config, language).pages())


def nobodys(language: str = "") -> Response:
    """The page of a site whose settings are wrong, and so unknown."""
    return not_set_up(ConfigurationError("scope", "is wrong"), "text/html", language)


def emulator() -> dict[str, HTMLResponse]:
    """The emulator's pages."""
    wanted: Any = SimpleNamespace(
        client=DEMO_CLIENT, redirect_uri="http://127.0.0.1:8000/auth/callback", login_hint="", scope=tuple(SCOPES)
    )
    user, workspaces = DEMO_USERS[0], workspaces_of(DEMO_USERS)
    grant: Any = SimpleNamespace(
        user=user, client_id=DEMO_CLIENT.client_id, scope=tuple(SCOPES), workspace_id=workspaces[0].id
    )
    client = replace(DEMO_CLIENT, client_name="A".ljust(60, "n"))
    clients = {DEMO_CLIENT.client_id: DEMO_CLIENT, "long": client}
    known = {each.id: each for each in workspaces}
    return {
        "sign-in": emulators.sign_in_page(wanted, DEMO_USERS, "challenge"),
        "consent": emulators.consent_page(wanted, user, workspaces[:2], "challenge"),
        "form-post": emulators.form_post_page("http://127.0.0.1:8000/auth/callback", {"code": "x"}),
        "error": emulators.error_page("invalid_client", "No application has this client ID."),
        "sign-out": emulators.sign_out_page(user, "challenge", None),
        "still-signed-in": emulators.still_signed_in_page(),
        "signed-out": emulators.signed_out_page(),
        "to-sign": emulators.signing_page("Photo release", user.name, signed=False, back="http://127.0.0.1:8000/"),
        "signed": emulators.signing_page("Photo release", user.name, signed=True, back=""),
        "home": emulators.home_page(
            "http://127.0.0.1:9000", clients, {each.sub: each for each in DEMO_USERS}, known, [(0, grant)]
        ),
        "home-empty": emulators.home_page("http://127.0.0.1:9000", clients, {}, {}, []),
    }
