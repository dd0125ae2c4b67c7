"""How each failure is told: the status, which page, and to whom.

A person gets a page that says what to do next and nothing that helps an attacker; a program gets the same as a problem
with a `reason` from a fixed list; the log gets the particulars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from logging import DEBUG
from urllib.parse import urlsplit

from ..config import LuminConfig
from ..errors import (
    InsufficientScope,
    LuminError,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    StoreUnavailable,
)
from ..events import AccessRefused, Event, Loop, ServerTrouble, SignInFailed, StoreTrouble, note
from ..model import Request, Response
from ..ports import World
from ..protocol import oauth
from ..reasons import REASONS, Reason
from ..sessions.records import digest
from ..texts.en import KEYS, TEXTS
from . import pages
from .access import accepts_html, is_navigation, is_page, return_to
from .pages import Draft, permissions
from .places import Places, own_page, target

_HOST = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?")

DETAIL_LIMIT = 300
"""Characters of the server's words that a page repeats."""

# What the server says at the callback. Hydra has two words of its own, with spaces.
_SAID = {
    **dict.fromkeys(("access_denied", "consent request denied", "login request denied"), "access_denied"),
    "server_error": "server_error",
    "temporarily_unavailable": "temporarily_unavailable",
}

_EXPLAINED = ("unclear",)  # a program hears the error's words, which are about what it sent (RFC 9457, 3.1.4)

_OF_ADMISSION = ("not_admitted", "admit_failed")

_LOOP = ("loop.cookies", "loop.name", "loop.clock")


def why(error: LuminError) -> Reason:
    """The reason of an error. What others send names none by itself."""
    if isinstance(error, OAuthError):
        return REASONS[_SAID.get(error.error, "sign_in_failed")]
    return REASONS.get(error.reason, REASONS["server_error"])


class Answers(Places):
    """Our answers for one site."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        super().__init__(config)
        self._world = world
        self._pages = pages.Pages(config)
        self.home = config.app_url or config.after_login
        """Where a person can always go on."""

    def page(
        self,
        request: Request,
        status: int,
        content: Draft,
        *,
        form_action: str = "'self'",
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """A page of this site for whoever made this request, which always has a way on."""
        if not content.links and content.button is None:
            content = replace(content, links=self._ways_on(request, status))
        languages = pages.languages(request)
        return self._pages.page(languages, status, content, form_action=form_action, headers=headers)

    def _ways_on(self, request: Request, status: int) -> tuple[tuple[str, str], ...]:
        """Where there is nothing better: the same once more, where that may help, and the start page."""
        again = (("try_again", ""),) if status >= 500 and request.method in ("GET", "HEAD") else ()
        return (*again, ("home", self.home))

    # --- what the log hears ---

    def _reference(self, request: Request, reason: Reason, status: int, **particulars: object) -> str:
        """A name for this answer, which it shows; where it is worth a line of its own, the line is written."""
        reference = pages.reference(digest(self._world.token(8)))
        if reason.level > DEBUG:  # what is not is in the line that each request has
            event = self._event(request, reason.code, status, particulars.get("cause", ""))
            asked = {"method": request.method, "path": request.path, "status": status}
            note(self._world, event, **{**asked, **particulars}, ref=reference)
        return reference

    def _event(self, request: Request, code: str, status: int, cause: object) -> Event:
        if code in ("loop", "unseen_session"):
            return Loop(reason=code)
        if request.path == self._config.callback_path or code == "not_set_up":
            return SignInFailed(reason=code, status=status, cause=str(cause))
        if code in ("store_unavailable", "signed_out_here_only"):
            return StoreTrouble(reason=code)
        return ServerTrouble(reason=code) if status >= 500 else AccessRefused(reason=code, status=status)

    # --- nobody is signed in, or may not do this ---

    def login_url(self, request: Request, kept: str = "") -> str:
        """The login that leads where the person was: to this page, the one that made this call, or a `kept` form."""
        if kept:
            return self.login_to(kept)
        here = "" if _sends(request) else target(request)
        if request.path in self.ways_in and "?" in here:  # it is the way itself, and says where to
            return here
        if not is_navigation(request):
            here = own_page(request, self._config) or here
        return self.login_to(return_to(here, self._config.after_login))

    def unauthorized(
        self, request: Request, reason: str, *, may_be_page: bool = False, kept: str = "", also: str = ""
    ) -> Response:
        """401 for whoever cannot be redirected (RFC 9110, 15.5.2).

        They cannot be sent on: what they filled in would be lost, or only a part of the page is meant.
        """
        challenge = oauth.challenge(error="" if reason == "no_session" else "invalid_token")
        name = "kept" if kept else "not_sent" if _sends(request) else "no_session"
        content = Draft(name, text=("framed.text",) if name == "no_session" else ())
        told, login_url = REASONS.get(reason, REASONS["ended"]), self.login_url(request, kept) + also
        return self._to_sign_in(request, told, login_url, challenge, content if may_be_page else None)

    def not_recent(self, request: Request, max_age: float, *, may_be_page: bool, kept: str = "") -> Response:
        """401 for somebody whose sign-in is too long ago and who cannot be redirected (RFC 9470, 3)."""
        told = REASONS["insufficient_user_authentication"]
        challenge = oauth.challenge(error=told.code, max_age=str(int(max_age)))
        login_url = f"{self.login_url(request, kept)}&max_age={int(max_age)}"
        text = (f"{told.code}.text", *_of_what_was_sent(request, kept))
        content = Draft(told.code, text=text, links=(("sign_in_again", login_url),))
        return self._to_sign_in(request, told, login_url, challenge, content if may_be_page else None)

    def _to_sign_in(
        self, request: Request, told: Reason, login_url: str, challenge: str, content: Draft | None
    ) -> Response:
        """A problem for a program; for a person who goes to a page of the application, a page, if there is one."""
        # HTMX, which takes no redirect for one, is told where.
        hx = [("HX-Redirect", login_url)] if request.header(b"hx-request") else []
        headers = [("WWW-Authenticate", challenge), *hx]
        reference = self._reference(request, told, 401)
        if content is not None and is_page(request):
            links = content.links or (("sign_in", login_url),)
            content = replace(content, links=links, framed=True, reason=told.code, reference=reference)
            return self.page(request, 401, content, headers=headers)
        return pages.problem(401, told.code, told.title, headers=headers, login_url=login_url, reference=reference)

    def not_connected(self, request: Request, name: str) -> Response:
        """403 for somebody who has not connected and cannot be sent there."""
        url = f"{self.connect_path}?{self.login_url(request).partition('?')[2]}&name={name}"
        told = REASONS["not_connected"]
        reference = self._reference(request, told, 403)
        return pages.problem(403, told.code, told.title, connect_url=url, reference=reference)

    def insufficient_scope(
        self, request: Request, error: InsufficientScope, login_url: str = "", kept: str = ""
    ) -> Response:
        """403: somebody is signed in, but was not given what this needs (RFC 6750, 3.1).

        `login_url` asks for it; without one the answer is to such a request, which was refused.
        """
        reason = why(error)
        challenge = [("WWW-Authenticate", oauth.challenge(error=reason.code, scope=error.scope))]
        reference = self._reference(request, reason, 403, scope=error.scope)
        if accepts_html(request):
            content = Draft(
                reason.code,
                text=(*_of_what_was_sent(request, kept, "allow"), "missing.text"),
                points=permissions(error.scope),
                links=(*([("allow", login_url)] if login_url else []), ("without", self._config.after_login)),
                framed=True,
                reason=reason.code,
                reference=reference,
            )
            return self.page(request, 403, content, headers=challenge)
        members = {"scope": error.scope, "login_url": login_url}
        return pages.problem(403, reason.code, reason.title, headers=challenge, reference=reference, **members)

    def looping(self, request: Request, again: str) -> Response:
        """The sign-ins of this browser lead nowhere."""
        host = self.other_host(request)
        content = Draft(
            "loop",
            points=("loop.host", *_LOOP) if host else _LOOP,
            values={"host": host, "origin": self._config.origin},
            links=(("try_again", again),),
        )
        return self.tell(request, REASONS["loop"].status or 400, "loop", content)

    def unseen(self, request: Request) -> Response:
        """Somebody is signed in, and the page that they were led to sends them to sign in again."""
        error = RequestRefused("unseen_session", REASONS["unseen_session"].what)
        return self.failure(request, error)

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
        self,
        request: Request,
        error: LuminError,
        *,
        return_to: str = "",
        points: tuple[str, ...] = (),
        values: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer to an error of the request, the server, or the store; `return_to` is where a new login leads."""
        at_callback = request.path == self._config.callback_path
        reason = why(error)
        status = error.status_hint
        name, text = reason.code if reason.title and reason.person else "server_error", ""
        headers: list[tuple[str, str]] = []
        match error:
            case OAuthError():
                status = reason.status or 400
            case RequestRefused():
                status = error.status
                if at_callback and reason.code not in _OF_ADMISSION:
                    name = "sign_in_failed"  # whatever it was, the next step is the same
            case ServerUnavailable():
                headers.append(("Retry-After", str(max(math.ceil(error.retry_after), 1))))
            case StoreUnavailable():
                headers.append(("Retry-After", "5"))
                text = "not_completed.text" if at_callback else ""
        as_another = reason.code in ("access_denied", "not_admitted")
        wanted = return_to or self._config.after_login
        links = self.ways_after_failing(wanted, as_another=as_another) if at_callback else []
        content = Draft(
            name,
            text=(text,) if text else (),
            values=values or {},
            said=said_by_the_site(error),
            points=points,
            detail=error.error_description[:DETAIL_LIMIT] if isinstance(error, OAuthError) else "",
            links=links,
        )
        return self.tell(request, status, reason.code, content, headers, error=error)

    def tell(
        self,
        request: Request,
        status: int,
        reason: str,
        content: Draft,
        headers: Iterable[tuple[str, str]] = (),
        **particulars: object,
    ) -> Response:
        """The page for a person; for a program a problem of the same title. The log hears the `particulars`."""
        # Where nothing failed, whoever runs the site need not be told, nor the log.
        reference = self._reference(request, REASONS[reason], status, **particulars) if status >= 400 else ""
        if not accepts_html(request) and not is_navigation(request):
            title = TEXTS[KEYS.get(key := content.title or f"{content.name}.title", key)].format_map(content.values)
            said = {"detail": str(particulars["error"])} if reason in _EXPLAINED else {}
            return pages.problem(status, reason, title, headers=headers, reference=reference, **said)
        return self.page(request, status, replace(content, reason=reason, reference=reference), headers=headers)

    def asked_again(self, request: Request, cookies: list[str]) -> Response:
        """503: a proxy could not ask about a request that may pass, and has passed it on to nobody."""
        headers = [("Retry-After", "5"), *pages.set_cookies(cookies)]
        return self.tell(request, 503, "asked_again", Draft("store_unavailable"), headers)

    def method_not_allowed(self, allow: str) -> Response:
        """405 (RFC 9110, 15.5.6)."""
        reason = REASONS["method_not_allowed"]
        return pages.problem(405, reason.code, reason.title, headers=[("Allow", allow)])

    # --- logout ---

    def logout_page(self, request: Request) -> Response:
        """The page with the button: a GET signs nobody out."""
        content = Draft("logout", button=("sign_out", self.logout_path), links=(("stay", self.home),))
        form_action = pages.ANYWHERE if self._config.end_session else "'self'"
        return self.page(request, 200, content, form_action=form_action)

    def signed_out_here_only(self, request: Request, error: StoreUnavailable) -> Response:
        """503: the cookies are gone, but the session could not be ended for whoever has a copy of them."""
        content = Draft("signed_out_here_only", links=(("sign_in", self.login_path),))
        return self.tell(request, 503, content.name, content, error=error)

    def signed_out(self, request: Request) -> Response:
        """The page for whoever is not signed in any more."""
        again = (("sign_in", self.login_path), ("sign_in_as_another", f"{self.login_path}?prompt=login"))
        return self.page(request, 200, Draft("signed_out", links=again, reason="signed_out"))


def _sends(request: Request) -> bool:
    return request.method not in ("GET", "HEAD")


def _of_what_was_sent(request: Request, kept: str, ask: str = "text") -> tuple[str, ...]:
    """The keys of what became of a person's form, where they sent one; `ask` is the text that names the page's link."""
    return (f"kept.{ask}",) if kept else (f"not_sent.{ask}",) if _sends(request) else ()


def said_by_the_site(error: LuminError) -> str:
    """The sentence that the site's own `admit` has for the person; empty where ours is said."""
    own = isinstance(error, RequestRefused) and error.reason == "not_admitted"
    return str(error) if own and str(error) != REASONS["not_admitted"].person else ""
