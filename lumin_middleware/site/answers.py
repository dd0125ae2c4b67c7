"""How each failure is told: the status, the words, and to whom.

The words are data. A person gets a page that says what to do next and nothing that helps an attacker; a program
gets the same as a problem with a `reason` from a fixed list; the log gets the particulars.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from ..config import LuminConfig
from ..errors import (
    AuthorizationServerError,
    ClientMisused,
    InsufficientScope,
    LuminError,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    StoreUnavailable,
)
from ..model import Request, Response
from ..protocol import oauth
from . import pages
from .access import accepts_html, is_navigation, is_page, percent_encoded, return_to

logger = logging.getLogger("lumin_middleware")

_HOST = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?")

DETAIL_LIMIT = 300
"""Characters of the server's words that a page repeats."""

# What the server says at the callback: (status, reason, title, text). Hydra has two of its own, with spaces.
_DENIED = (403, "access_denied", "Access was denied", "You, or Lumin, did not allow this application to sign you in.")
_ERRORS: dict[str, tuple[int, str, str, str]] = {
    "access_denied": _DENIED,
    "consent request denied": _DENIED,
    "login request denied": _DENIED,
    "server_error": (
        502,
        "server_error",
        "Lumin has a problem",
        "Lumin's sign-in has an error of its own. Please try again later.",
    ),
    "temporarily_unavailable": (
        503,
        "temporarily_unavailable",
        "Lumin is busy",
        "Lumin's sign-in is not available now. Please try again soon.",
    ),
}
_FAILED = (400, "sign_in_failed", "Sign-in failed", "The sign-in could not be completed. Please start again.")

_TROUBLE: tuple[tuple[type[LuminError], str, str], ...] = (
    (ClientMisused, "This page has a fault", "Please tell whoever runs this site; its log says what is wrong."),
    (StoreUnavailable, "Not available now", "Your session cannot be looked up at the moment. You are still signed in."),
    (ServerUnavailable, "Lumin is not available", "Lumin's sign-in does not answer at the moment. Please try again."),
    (AuthorizationServerError, "Sign-in failed", "Lumin's answer could not be accepted. Please start again."),
)

_NOT_COMPLETED = ("Not available now", "The sign-in cannot be completed at the moment. Please try again.")

# What a person reads who cannot be sent on: what they filled in would be lost, or only a part of the page is meant.
_NOT_SENT = (
    "You are not signed in any more",
    "What you sent was not taken. Sign in, and you come back to the page that you sent it from; send it again there.",
)
_FRAMED = ("Sign in to go on", "This part of the page needs a sign-in.")

_LOOP = pages.Page(
    title="Too many sign-ins in a row",
    text="You signed in, and yet this site does not know you. Going round again would not help. Likely causes:",
    points=(
        "The browser refuses cookies, or an extension removes them.",
        "The site was opened under another name, or with http instead of https, than it signs in with.",
        "The clock of the server or of this device is wrong.",
    ),
)


class Answers:
    """Our answers for one site."""

    def __init__(self, config: LuminConfig) -> None:
        self._config = config
        self.login_path = f"{config.prefix}/login"
        self.logout_path = f"{config.prefix}/logout"
        self.connect_path = f"{config.prefix}/connect"

    # --- nobody is signed in, or may not do this ---

    def login_url(self, request: Request) -> str:
        """The login that leads back to where the person is: this page, or the page that made this call."""
        here = target(request) if request.method in ("GET", "HEAD") else ""
        page = request.header(b"hx-current-url") or request.header(b"referer")
        if page.startswith(f"{self._config.origin}/") and not is_navigation(request):
            here = page[len(self._config.origin) :]
        return self.login_to(return_to(here, self._config.after_login))

    def login_to(self, wanted: str) -> str:
        """The login that leads to a page."""
        return f"{self.login_path}?return_to={quote(wanted, safe='/')}"

    def connect_to(self, wanted: str, name: str) -> str:
        """Where somebody gives the grant of this name, which leads to a page then."""
        return f"{self.connect_path}?return_to={quote(wanted, safe='/')}&name={quote(name, safe='')}"

    def unauthorized(self, request: Request, reason: str, *, may_be_page: bool = False) -> Response:
        """401 for whoever cannot be redirected (RFC 9110, 15.5.2).

        A problem for a program; for a person who goes to a page of the application, a page.
        """
        login_url = self.login_url(request)
        error = "" if reason == "no_session" else "invalid_token"
        headers = [("WWW-Authenticate", oauth.challenge(error=error))]
        if request.header(b"hx-request"):
            headers.append(("HX-Redirect", login_url))
        if may_be_page and is_page(request):
            title, text = _NOT_SENT if request.method not in ("GET", "HEAD") else _FRAMED
            links = (("Sign in", login_url),)
            return pages.page(401, pages.Page(title, text, links=links, framed=True), headers=headers)
        return pages.problem(401, reason, "Sign in to go on", headers=headers, login_url=login_url)

    def not_recent(self, request: Request, max_age: float, *, may_be_page: bool) -> Response:
        """401 for somebody whose sign-in is too long ago and who cannot be redirected (RFC 9470, 3)."""
        login_url = f"{self.login_url(request)}&max_age={int(max_age)}"
        challenge = oauth.challenge(error="insufficient_user_authentication", max_age=str(int(max_age)))
        headers = [("WWW-Authenticate", challenge)]
        if request.header(b"hx-request"):
            headers.append(("HX-Redirect", login_url))
        title, text = "Sign in once more", "This needs a sign-in that is not so long ago. You are still signed in."
        if may_be_page and is_page(request):
            links = (("Sign in", login_url),)
            return pages.page(401, pages.Page(title, text, links=links, framed=True), headers=headers)
        return pages.problem(401, "insufficient_user_authentication", title, headers=headers, login_url=login_url)

    def not_connected(self, request: Request) -> Response:
        """403 for somebody who has not connected and cannot be sent there."""
        url = f"{self.connect_path}?{self.login_url(request).partition('?')[2]}"
        return pages.problem(403, "not_connected", "Connect first", connect_url=url)

    def insufficient_scope(self, request: Request, error: InsufficientScope, login_url: str = "") -> Response:
        """403: somebody is signed in, but was not given what this needs (RFC 6750, 3.1).

        `login_url` asks for it; without one the answer is to such a request, which was refused.
        """
        challenge = [("WWW-Authenticate", oauth.challenge(error=error.reason, scope=error.scope))]
        if accepts_html(request):
            text = f"This page needs a permission that was not given: {error.scope}."
            links = [("Give it", login_url)] if login_url else [("Go on without it", self._config.after_login)]
            return pages.page(403, pages.Page("A permission is missing", text, links=links), headers=challenge)
        return pages.problem(
            403, error.reason, "A permission is missing", headers=challenge, scope=error.scope, login_url=login_url
        )

    def looping(self, request: Request, again: str) -> Response:
        """The sign-ins of this browser lead nowhere."""
        logger.warning("A browser signs in again and again, and no session is ever seen; it was told the likely causes")
        host = self.other_host(request)
        named = f"The site was opened at {host}, but it signs in at {self._config.origin}. Open it there."
        points = (named, *_LOOP.points) if host else _LOOP.points
        return pages.page(400, pages.Page(_LOOP.title, _LOOP.text, points, links=(("Try again", again),)))

    def host(self, request: Request) -> str:
        """The `Host` that a request names, to be shown and never used; empty where it could not be one."""
        host = request.header(b"host").lower()
        return host if _HOST.fullmatch(host) else ""

    def other_host(self, request: Request) -> str:
        """The same, where it is not the site's own."""
        host = self.host(request)
        return "" if host == urlsplit(self._config.origin).netloc else host

    # --- something went wrong ---

    def failure(
        self, request: Request, error: LuminError, *, return_to: str = "", points: tuple[str, ...] = ()
    ) -> Response:
        """The answer to an error of the request, the server, or the store; `return_to` is where a new login leads."""
        at_callback = request.path == self._config.callback_path
        headers: list[tuple[str, str]] = []
        reason = error.reason
        match error:
            case OAuthError():
                status, reason, title, text = _ERRORS.get(error.error, _FAILED)
            case RequestRefused():
                status, title, text = error.status, *_FAILED[2:]
                if not at_callback:
                    title, text = "This request was refused", str(error)
            case StoreUnavailable() if at_callback:
                status, title, text = error.status_hint, *_NOT_COMPLETED
            case _:
                status = error.status_hint
                title, text = next((words for kind, *words in _TROUBLE if isinstance(error, kind)), _FAILED[2:])
        if isinstance(error, ServerUnavailable):
            headers.append(("Retry-After", str(max(math.ceil(error.retry_after), 1))))
        elif isinstance(error, StoreUnavailable):
            headers.append(("Retry-After", "5"))
        log = logger.warning if status >= 500 else logger.info
        log("%s %r was answered %d: %s: %r", request.method, request.path, status, reason, str(error))
        detail = error.error_description[:DETAIL_LIMIT] if isinstance(error, OAuthError) else ""
        again = self.login_to(return_to or self._config.after_login)
        links = [("Start again", again)] if at_callback else []
        if links and reason == "access_denied":  # the server may remember somebody who is not let in
            links.append(("As somebody else", f"{again}&prompt=login"))
        return self.tell(request, status, reason, pages.Page(title, text, points, detail, links), headers)

    def tell(
        self, request: Request, status: int, reason: str, content: pages.Page, headers: Iterable[tuple[str, str]] = ()
    ) -> Response:
        """The page for a person; for a program a problem of the same title."""
        if not self._wants_page(request):
            return pages.problem(status, reason, content.title, headers=headers)
        return pages.page(status, content, headers=headers)

    def method_not_allowed(self, allow: str) -> Response:
        """405 (RFC 9110, 15.5.6)."""
        return pages.problem(
            405, "method_not_allowed", "This method is not for this address", headers=[("Allow", allow)]
        )

    def _wants_page(self, request: Request) -> bool:
        return accepts_html(request) or is_navigation(request)

    # --- logout ---

    def logout_page(self) -> Response:
        """The page with the button: a GET signs nobody out."""
        content = pages.Page(
            "Sign out?", "You will be signed out of this site in this browser.", button=("Sign out", self.logout_path)
        )
        return pages.page(200, content, form_action=self._form_action())

    def _form_action(self) -> str:
        # Browsers hold a form to this through redirects as well, and a logout may go on to the server.
        endpoint = self._config.server.end_session_endpoint if self._config.end_session else None
        if self._config.end_session and endpoint is None:
            return "'self' https:"  # known only once discovered
        parts = urlsplit(endpoint or "")
        return f"'self' {parts.scheme}://{parts.netloc}" if endpoint else "'self'"

    def signed_out_here_only(self, request: Request, error: StoreUnavailable) -> Response:
        """503: the cookies are gone, but the session could not be ended for whoever has a copy of them."""
        logger.warning("Somebody was signed out in their browser only: %s", error)
        text = "You are signed out in this browser, but not yet everywhere. Please sign in and out again in a minute."
        if not self._wants_page(request):
            return pages.problem(503, error.reason, text)
        return pages.page(503, pages.Page("Signed out here only", text, links=(("Sign in", self.login_path),)))

    def signed_out(self) -> Response:
        """The page for whoever is not signed in any more."""
        again = (("Sign in", self.login_path), ("Sign in as somebody else", f"{self.login_path}?prompt=login"))
        return pages.page(200, pages.Page("You are signed out", "You can close this page.", links=again))


def target(request: Request) -> str:
    """The request target in origin form (RFC 9112, 3.2.1), as it came."""
    raw = f"{request.raw_path}?{request.query}" if request.query else request.raw_path
    return percent_encoded(raw.encode("latin-1", "replace"))
