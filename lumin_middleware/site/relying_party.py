"""The relying party: one request in, one outcome out.

The outcome is a `Response` of ours, or a `Visit`: the request goes on to the application, with or without a
session. Everything that decides is here and below; everything that does is handed in as a `World`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import LuminConfig
from ..errors import (
    AuthorizationServerError,
    ClientMisused,
    InsufficientScope,
    LoginRequired,
    LuminError,
    RequestRefused,
    StoreUnavailable,
)
from ..journal import is_detailed, say, trace
from ..model import NOTHING, Request, Response, Session, Wanted
from ..ports import World
from ..sessions.cookies import Jar
from ..sessions.logins import person
from ..sessions.opened import Opened
from . import access, pages
from .access import Rule, is_navigation
from .account import Account, Route
from .api_proxy import ApiProxy
from .at_once import AtOnce
from .browser import BrowserFile, Popup
from .callback import Callback
from .connect import NAME, Connect
from .kept_form import KeptForm
from .login import Login
from .parts import Parts
from .places import target
from .sign_in import SignIn
from .verify import Verify
from .visit import Came, Passing, Visit


class RelyingParty:
    """A site that signs people in with Lumin."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self.config = config
        self.parts = parts = Parts(config, world)
        self._answers = answers = parts.answers
        self._login = login = Login(parts, is_ours=self._is_no_page)
        self._account = account = Account(parts, login)
        self._connect = Connect(parts, login)
        self._callback = Callback(parts, login, SignIn(parts, account))
        self._api_proxy = ApiProxy(config)
        self._rules = parts.rules
        self._verify = Verify(parts, self.admit)
        self._routes: dict[str, Route] = {
            config.callback_path: self._callback,
            answers.login_path: self._login,
            f"{config.prefix}/verify": self._verify,
            **account.routes,
            **self._connect.routes,
            f"{config.prefix}/lumin.js": BrowserFile(answers, "lumin.js", "text/javascript"),
            f"{config.prefix}/lumin.d.ts": BrowserFile(answers, "lumin.d.ts", "text/plain"),
        }
        self._below = f"{config.prefix}/"  # where all of these are
        self._no_pages = frozenset(self._routes)
        self._kept_form = KeptForm(parts, self._login)
        self._routes[self._kept_form.path] = self._kept_form
        self._routes[answers.popup_path] = Popup(answers)
        self.at_once: Callable[[str, bytes | str, bytes, Came], Passing | None] = AtOnce(
            self, self._below, self._may_be_own
        ).visit

    async def handle(self, request: Request) -> Response | Visit:
        """What becomes of a request. Raises nothing that is ours."""
        jar = self.parts.cookies.jar(request.cookie)
        outcome: Response | Visit
        try:
            outcome = await self._outcome(request, jar)
        except LuminError as error:
            outcome = self.failure(request, error)
        self.trace(request, outcome)
        return outcome

    async def _outcome(self, request: Request, jar: Jar[Opened]) -> Response | Visit:
        if request.path.startswith(self._below) or request.raw_path.startswith(self._below):
            if (route := self._routes.get(request.path)) is not None and not request.websocket:
                self.parts.world.telemetry.route(request.path)
                if request.path in self._connect.routes and (answer := await self._ask_for_more(request, jar)):
                    return answer
                return await route(request, jar)
            if self._api_proxy.concerns(request.path):
                return await self._call_api(request, jar)
            if self._verify.concerns(request):
                return await self._verify(request, jar)
        return await self.admit(request, jar, self._rules.rule(request))

    def _may_be_own(self, path: str) -> bool:
        return path in self._routes or self._api_proxy.concerns(path) or path.startswith(f"{self._below}verify/")

    def by(self, request: Request) -> str:
        """What decides about a request: a route of ours, or which patterns; in words."""
        if request.path in self._routes and not request.websocket:
            return f"route {request.path}"
        if self._api_proxy.concerns(request.path):
            return "api_proxy"
        if self._verify.concerns(request):
            return f"route {self.config.prefix}/verify"
        try:
            return self._rules.ruling(request).by
        except RequestRefused:
            return "none, since the path is a trick"

    def readings(self, request: Request) -> tuple[str, ...]:
        """What the path of a request may be taken for, as far as the rules look; for a trick nothing."""
        try:
            return self._rules.ruling(request).readings
        except RequestRefused:
            return ()

    def trace(self, request: Request, outcome: Response | Visit) -> None:
        """Leaves the line that says what became of a request; one that the application hands back has two."""
        if not is_detailed():
            return
        by = self.by(request)
        if isinstance(outcome, Response):
            reference = f"ref={outcome.reference!r}" if outcome.reference else ""
            trace(outcome.reason, request.method, request.path, outcome.status, by, reference)
        else:
            trace("passed", request.method, request.path, None, by, "" if outcome.session else "nobody is signed in")

    def failure(self, request: Request, error: LuminError) -> Response:
        """The answer to an error that is ours."""
        if isinstance(error, LoginRequired):
            # A form is a person's, who is told that they are to sign in; what is read is for programs.
            return self._answers.unauthorized(request, error.reason, may_be_page=request.method == "POST")
        return self._answers.failure(request, error)

    async def is_overlooked(self, request: Request, jar: Jar[Opened]) -> bool:
        """Whether somebody is signed in and not looked for: a sign-in would lead to the same page, and so for ever."""
        return self._rules.rule(request).public and await self.parts.sessions.current(jar) is not None

    async def _call_api(self, request: Request, jar: Jar[Opened]) -> Response | Visit:
        """`ANY api/…`: a call of a page to Lumin's API, in place of the application."""
        call = self._api_proxy.call(request)
        visit, session = await self._visit(request, jar)
        visit.call = call
        return await self._missing(request, jar, session) or visit

    async def _ask_for_more(self, request: Request, jar: Jar[Opened]) -> Response | None:
        """The answer to somebody who is signed in and may not do at our route what an application's path asks for."""
        session = await self.parts.sessions.current(jar)
        return None if session is None else await self._missing(request, jar, session)

    async def _missing(self, request: Request, jar: Jar[Opened], session: Session) -> Response | None:
        rule = self._rules.needs(request)
        if rule.is_met_by(session, self.parts.world.clock()):
            return None
        return await self.challenge(request, jar, session, Wanted(rule.scope, rule.max_age))

    # --- the application's own paths ---

    async def admit(self, request: Request, jar: Jar[Opened], rule: Rule, *, redirect: bool = True) -> Response | Visit:
        """Whether a request may pass by a rule: a visit, or the answer that asks for what is missing.

        The judge of every front: the edges ask about the request that came, `verify` about one that a proxy names,
        which may have no use for a redirect. Raises `RequestRefused`, `AuthorizationServerError`, `StoreUnavailable`.
        """
        if redirect and request.query and (astray := self._callback.astray(request, jar)) is not None:
            return astray
        if rule.public:
            return Visit(self, request, jar)
        if request.websocket and not self._may_shake_hands(request, jar):
            raise RequestRefused("cross_origin", "The handshake's Origin is missing, or not this site.", status=403)
        try:
            visit, session = await self._visit(request, jar)
            if self.parts.renewal.is_due(session, settled=visit.until > 0):
                session = await visit.fresh()
        except LoginRequired as error:
            if rule.optional:
                return Visit(self, request, jar)
            return await self._turn_away(request, jar, None, rule, redirect=redirect, reason=error.reason)
        except (AuthorizationServerError, StoreUnavailable):
            if rule.optional:
                return Visit(self, request, jar)
            raise
        if not rule.is_met_by(session, self.parts.world.clock()):
            return await self._turn_away(request, jar, session, rule, redirect=redirect)
        return visit

    async def _turn_away(
        self,
        request: Request,
        jar: Jar[Opened],
        session: Session | None,
        rule: Rule,
        *,
        redirect: bool,
        reason: str = "no_session",
    ) -> Response:
        """The answer to somebody who may not pass. Nothing has read the request's body yet, so that a form is kept."""
        kept, cookies = (await self._kept_form.keep(request, jar, session) if redirect else None) or ("", [])
        wanted = Wanted(rule.scope, rule.max_age)
        answer = await self.challenge(request, jar, session, wanted, redirect=redirect, reason=reason, kept=kept)
        answer.headers += pages.set_cookies(cookies)
        return answer

    def _may_shake_hands(self, request: Request, jar: Jar[Opened]) -> bool:
        """Whether a handshake is a page's of this site, or nobody's: no same-origin policy guards it (RFC 6455, 10.2).

        A browser always says its `Origin` (RFC 6455, 4.1). A program that has neither that nor a cookie of ours is
        answered as any request of somebody who is not signed in.
        """
        if any(name == b"origin" for name, _ in request.headers):
            return request.header(b"origin") == self.config.origin
        return not jar.ours

    async def _visit(self, request: Request, jar: Jar[Opened]) -> tuple[Visit, Session]:
        carried = await self.parts.sessions.load(jar, slide=True)
        if carried is None:
            raise LoginRequired("nobody is signed in")
        self.parts.logins.tries.saw(carried.session)
        return Visit(self, request, jar, carried), carried.session

    async def challenge(
        self,
        request: Request,
        jar: Jar[Opened],
        session: Session | None,
        wanted: Wanted = NOTHING,
        *,
        redirect: bool = True,
        reason: str = "no_session",
        kept: str = "",
    ) -> Response:
        """The answer that asks for what is missing, a sign-in if nothing else is, fit for this request.

        `reason` is why nobody is signed in, where nobody is; `kept` is where the form waits that came with it.
        """
        missing = tuple(token for token in wanted.scope if session is None or token not in session.tokens.scope)
        now, max_age = self.parts.world.clock(), wanted.max_age
        if session is not None and max_age is not None and not session.is_recent(max_age, now):
            return await self._require_recent(request, jar, session, max_age, missing, redirect=redirect, kept=kept)
        if session is not None and wanted.grant is not None and not missing:
            return await self._require_grant(request, jar, session, wanted.grant, redirect=redirect)
        if session is None or not missing:
            return await self._require_login(request, jar, reason, missing, wanted, redirect=redirect, kept=kept)
        # What was asked for and not given is not asked for again by itself; that would go round in circles.
        if redirect and is_navigation(request) and not set(missing) <= set(self.config.scope.split()):
            answer = await self._login.begin(
                request, jar, self._here(request), needed=missing, asked_by=person(session)
            )
            return _for_want_of("insufficient_scope", answer)
        login_url = self._answers.login_url(request, kept) + self._login.asking(missing)
        return self._answers.insufficient_scope(request, InsufficientScope(" ".join(missing)), login_url, kept)

    async def _require_login(
        self,
        request: Request,
        jar: Jar[Opened],
        reason: str,
        needed: tuple[str, ...],
        wanted: Wanted,
        *,
        redirect: bool,
        kept: str,
    ) -> Response:
        if not redirect or not is_navigation(request):
            also = self._login.asking(needed, wanted.max_age) if kept else ""  # or the form's page asks for it then
            return self._answers.unauthorized(request, reason, may_be_page=redirect, kept=kept, also=also)
        return _for_want_of(reason, await self._login.begin(request, jar, self._here(request), needed=needed))

    async def _require_recent(
        self,
        request: Request,
        jar: Jar[Opened],
        session: Session,
        max_age: float,
        needed: tuple[str, ...],
        *,
        redirect: bool,
        kept: str,
    ) -> Response:
        """Another sign-in, since this one is too long ago; whoever does not do that keeps the session."""
        if not redirect or not is_navigation(request):
            return self._answers.not_recent(request, max_age, may_be_page=redirect, kept=kept)
        extra = {"max_age": str(int(max_age))}
        answer = await self._login.begin(
            request, jar, self._here(request), needed=needed, asked_by=person(session), extra=extra
        )
        return _for_want_of("insufficient_user_authentication", answer)

    async def _require_grant(
        self, request: Request, jar: Jar[Opened], session: Session, name: str, *, redirect: bool
    ) -> Response:
        if not NAME.fullmatch(name):
            return self.failure(
                request, ClientMisused(f"{name!r} is no name of a grant: letters, digits, and . _ : - are")
            )
        if redirect and is_navigation(request):
            return await self._connect.begin(request, jar, session, self._here(request), name)
        return self._answers.not_connected(request, name)

    def _here(self, request: Request) -> str:
        page = access.here(target(request), "")
        if not page:
            say("not_led_back")
        return page or self.config.after_login

    def _is_no_page(self, path: str) -> bool:
        return path in self._no_pages or self._api_proxy.concerns(path)


def _for_want_of(reason: str, answer: Response) -> Response:
    """The answer says what a sign-in begins for, if one does."""
    if answer.reason == "began":
        answer.reason = reason
    return answer
