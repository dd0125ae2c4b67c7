"""The way back from the authorization endpoint. The order of the checks is the protocol's defence.

`state` is looked at before all else: what this browser did not begin is refused, whoever sent it. What it did begin
ends at the page that it was begun for, by whichever way is open: signed in now, signed in by another tab meanwhile,
after a moment's wait, or begun again. A code is sent once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..errors import LuminError, OAuthError, RequestRefused
from ..events import ClientRejected
from ..journal import say
from ..model import AuthorizationCode, Errand, Request, Response, Transaction
from ..protocol import oauth
from ..reasons import NOT_SET_UP
from ..sessions.cookies import Jar
from ..sessions.logins import person
from ..sessions.marks import CONNECTED, CONNECTING, PENDING, SUCCESS, USED
from ..sessions.opened import Opened
from ..sessions.records import digest
from . import pages, sign_in_pages
from .access import is_navigation, is_prefetch
from .answers import said_by_the_site
from .arrival import Arrival
from .login import Login
from .parts import Parts
from .set_up import Alarm, NotSetUp
from .sign_in import Overtaken, SignIn

CAME_TO_NOTHING = frozenset({"request_forbidden", "request_unauthorized"})
"""Hydra's errors for a request that a newer one of this browser pushed out, and for one that took too long."""

TROUBLE = frozenset({"error", "server_error", "temporarily_unavailable"})
"""The server's own trouble (RFC 6749, 4.1.2.1); `error` is what Hydra says of what it has no word for."""

DENIED = frozenset({"access_denied", "consent request denied", "login request denied"})

ALONE_LIMIT = 1
"""Times that a login is begun again by itself: where nothing explains why it failed, once shows whether it helps."""

AMONG_OTHERS_LIMIT = 4
"""The same where other tabs push each other out: as their waits differ, one of them gets through each time."""

WAITS_LIMIT = 5
"""Times that a tab waits for another one, one to four seconds each: a sign-in that needs nobody's hand takes one."""

TWIN_PAUSE, TWIN_POLLS = 0.2, 15
"""A request waits three seconds for its twin, which is what people take for slow and not yet for broken."""


class Callback:
    """`GET` at the redirect URI, and what comes to another path instead."""

    def __init__(self, parts: Parts, login: Login, sign_in: SignIn) -> None:
        self._config = parts.config
        self._world = parts.world
        self._metadata = parts.metadata
        self._sessions = parts.sessions
        self._logins = parts.logins
        self._marks = parts.marks
        self._long_pages = parts.long_pages
        self._answers = parts.answers
        self._login = login
        self._sign_in = sign_in
        self._arrival = Arrival(parts)
        self._alarm = Alarm(parts.world.clock)

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        if request.method != "GET":
            return self._answers.method_not_allowed("GET")
        if is_prefetch(request):
            raise RequestRefused("prefetch", "A sign-in is not completed ahead of time.")
        found = oauth.parameters(request.query)
        state = found.get("state") or ""
        transaction = self._logins.find(state, jar)
        if transaction is None:
            return await self._without_login(request, jar, state, is_error="error" in found)
        try:
            server = await self._metadata.server_called(found.get("iss"))
            code = oauth.authorization_response(found, transaction, self._config, server)
        except OAuthError as error:
            return await self._refused(request, jar, transaction, error)
        except RequestRefused as error:
            return await self._failed(request, jar, transaction, error)
        return await self._redeem(request, jar, code)

    # --- a code ---

    async def _redeem(self, request: Request, jar: Jar[Opened], code: AuthorizationCode) -> Response:
        state, errand = code.transaction.state, code.transaction.errand
        try:
            await self._sign_in.prepare()
            first = await self._marks.use(state, CONNECTING if errand.grant else USED)
        except LuminError as error:  # nothing is spent yet: the same address works once the trouble is over
            return self._answers.failure(request, error, return_to=await self._long_pages.find(errand.return_to))
        if not first:
            return await self._twin(request, jar, state, errand)
        if errand.grant:
            return await self._connect(request, jar, code)
        try:
            session, cookies = await self._world.shield(
                lambda: self._sign_in.sign_in(code, jar), undo=lambda made: self._sign_in.undo(code, made[0])
            )
        except Overtaken:
            return await self._arrival.lead_to(errand, await self._over(state, jar))
        except LuminError as error:
            return await self._failed(request, jar, code.transaction, error)
        cookies += [*self._logins.forget(state, jar), self._logins.tries.count(session, jar)]
        answer = await self._arrival.arrive(request, session, errand, cookies)
        answer.undo = lambda: self._sign_in.undo(code, session)
        return answer

    async def _connect(self, request: Request, jar: Jar[Opened], code: AuthorizationCode) -> Response:
        """A code that brings a grant, and leaves the session as it is."""
        try:
            await self._world.shield(lambda: self._sign_in.connect(code, jar))
        except LuminError as error:
            return await self._failed(request, jar, code.transaction, error)
        return await self._arrival.lead_to(code.transaction.errand, self._logins.forget(code.transaction.state, jar))

    async def _twin(self, request: Request, jar: Jar[Opened], state: str, errand: Errand) -> Response:
        """The same callback once more, from the browser that began the login: it ends where the first one ends."""
        outcome: bytes | None = USED
        for _ in range(TWIN_POLLS):
            outcome = await self._marks.outcome(state)
            if outcome not in PENDING:
                break
            await self._world.sleep(TWIN_PAUSE)
        if outcome in SUCCESS:
            return await self._arrival.lead_to(errand, await self._over(state, jar))
        if outcome in PENDING and self._logins.waits(state, jar) < WAITS_LIMIT:
            return await self._wait(request, jar, state, errand)
        return await self._again(request, jar, state, errand, ALONE_LIMIT, lambda: self._unknown(request, jar, state))

    async def _over(self, state: str, jar: Jar[Opened]) -> list[str]:
        """The `Set-Cookie` values that take a login out of flight by which this answer signs nobody in, and those by
        which somebody was: if their answers were lost, they would stand in the way of the next login."""
        _, done = await self._marks.rivals(self._logins.rivals(state, jar))
        return self._logins.retire(state, jar, done)

    # --- no code ---

    async def _refused(
        self, request: Request, jar: Jar[Opened], transaction: Transaction, error: OAuthError
    ) -> Response:
        """The server sent an error. Whose fault it is decides what becomes of it."""
        state, errand = transaction.state, transaction.errand

        def last() -> Response:
            return self._nothing(request)

        if error.error in CAME_TO_NOTHING or _is_used(error):
            return await self._resume(request, jar, state, errand, last)
        if _is_of_the_prompt(error, errand.extra.get("prompt", "")) and errand.again < ALONE_LIMIT:
            extra = {name: value for name, value in errand.extra.items() if name != "prompt"}
            return await self._login.again(request, jar, state, replace(errand, extra=extra))
        if error.error in TROUBLE:
            say("sign_in_trouble", error=error)
            if errand.again < ALONE_LIMIT:
                return await self._login.again(request, jar, state, errand)
        if error.error in DENIED and errand.needed and await self._sessions.current(jar) is not None:
            return await self._kept_back(request, jar, transaction)
        return await self._failed(request, jar, transaction, error)

    async def _kept_back(self, request: Request, jar: Jar[Opened], transaction: Transaction) -> Response:
        """Somebody who is signed in did not give another permission."""
        errand = transaction.errand
        return_to = await self._long_pages.find(errand.return_to)
        if errand.grant:
            content = sign_in_pages.not_connected("", "", return_to, self._answers.connect_to(return_to, errand.grant))
        else:
            again = f"{self._answers.login_to(return_to)}&ask={self._logins.ask(tuple(errand.needed.split()))}"
            content = sign_in_pages.permission_not_given(errand.needed, self._config.after_login, again)
        answer = self._answers.tell(request, 403, "access_denied", content)
        answer.headers += pages.set_cookies(self._logins.forget(transaction.state, jar))
        return answer

    async def _failed(
        self, request: Request, jar: Jar[Opened], transaction: Transaction, error: LuminError
    ) -> Response:
        """The login is over, and nobody was signed in by it."""
        if isinstance(error, NotSetUp) or (isinstance(error, OAuthError) and error.error in NOT_SET_UP):
            refused = error.error if isinstance(error, NotSetUp) else error
            where = "authorization endpoint" if error is refused else "token endpoint"
            is_told = error is not refused and refused.error == "invalid_client"  # by whoever asked the token endpoint
            # What comes from the authorization endpoint comes by a browser, and is told as seldom as it is logged.
            if not is_told and self._alarm.refused(refused, where):
                self._world.tell(ClientRejected(reason=refused.error, at=self._world.clock()))
            status = 502 if error is not refused else 400
            content = sign_in_pages.not_set_up(self._answers.login_path)
            answer = self._answers.tell(request, status, "not_set_up", content, cause=refused.error)
        else:
            return_to = await self._long_pages.find(transaction.errand.return_to)
            if transaction.errand.grant and isinstance(error, RequestRefused):
                again = self._answers.connect_to(return_to, transaction.errand.grant)
                why, said = error.reason, said_by_the_site(error)
                content = sign_in_pages.not_connected(why, said, return_to, again)
                answer = self._answers.tell(request, error.status, why, content)
            else:
                answer = self._answers.failure(request, error, return_to=return_to)
        answer.headers += pages.set_cookies(self._logins.forget(transaction.state, jar))
        return answer

    async def _without_login(self, request: Request, jar: Jar[Opened], state: str, *, is_error: bool) -> Response:
        """A callback for which no code is taken: of another browser, or of a login that is over.

        Where it brings an error or was used, it can sign nobody in. It is then as good as a link to its page.
        """
        errand = self._logins.read(state)
        if errand is None:
            return self._unknown(request, jar, state)
        outcome = await self._marks.outcome(state)
        if (outcome in SUCCESS or is_error) and await self._is_done(jar, errand, outcome):
            return await self._arrival.lead_to(errand, [])
        if not self._logins.is_own(state, jar):
            return self._unknown(request, jar, state, errand, await self._long_pages.find(errand.return_to))
        if outcome in PENDING | SUCCESS:
            return await self._twin(request, jar, state, errand)
        return await self._resume(request, jar, state, errand, lambda: self._nothing(request))

    async def _is_done(self, jar: Jar[Opened], errand: Errand, outcome: bytes | None) -> bool:
        """Whether there is what a login was for: a session that is enough, or a grant of whoever is signed in."""
        session = await self._sessions.current(jar)
        if session is None:
            return False
        return person(session) == errand.asked_by if outcome == CONNECTED else self._arrival.is_enough(session, errand)

    def _unknown(
        self, request: Request, jar: Jar[Opened], state: str, errand: Errand | None = None, return_to: str = ""
    ) -> Response:
        """A login that this browser did not begin, or no longer knows; nothing follows by itself."""
        error = RequestRefused("unknown_login", "This sign-in is unknown, was used, or took too long.")
        hints, named = sign_in_pages.unknown_login(errand, self._answers.host(request), self._config.origin)
        answer = self._answers.failure(request, error, return_to=return_to, points=hints, values=named)
        answer.headers += pages.set_cookies(self._logins.forget(state, jar) if self._logins.is_own(state, jar) else [])
        return answer

    def _nothing(self, request: Request) -> Response:
        """The sign-in came to nothing again and again."""
        endpoint = self._config.server.authorization_endpoint or self._config.server.issuer
        content = sign_in_pages.came_to_nothing(endpoint, self._answers.login_path)
        return self._answers.tell(request, 400, "sign_in_failed", content)

    # --- what came to nothing goes on ---

    async def _resume(
        self, request: Request, jar: Jar[Opened], state: str, errand: Errand, last: Callable[[], Response]
    ) -> Response:
        """On to the page if somebody is signed in by now; else a wait for another tab; else the same again."""
        session = await self._sessions.current(jar)
        if session is not None and self._arrival.is_enough(session, errand):
            return await self._arrival.arrive(request, session, errand, self._logins.retire(state, jar))
        if self._logins.under_way(state, jar, errand.began) and self._logins.waits(state, jar) < WAITS_LIMIT:
            return await self._wait(request, jar, state, errand)
        limit = AMONG_OTHERS_LIMIT if self._logins.others(state, jar) else ALONE_LIMIT
        return await self._again(request, jar, state, errand, limit, last)

    async def _again(
        self,
        request: Request,
        jar: Jar[Opened],
        state: str,
        errand: Errand,
        limit: int,
        last: Callable[[], Response],
    ) -> Response:
        if errand.again < limit:
            return await self._login.again(request, jar, state, errand)
        answer = last()
        answer.headers += pages.set_cookies(self._logins.forget(state, jar))
        return answer

    async def _wait(self, request: Request, jar: Jar[Opened], state: str, errand: Errand) -> Response:
        """A page that asks again by itself after a moment, which differs from tab to tab."""
        again = self._answers.login_to(await self._long_pages.find(errand.return_to))
        seconds = 1 + int(digest(f"{state}{self._logins.waits(state, jar)}")[:8], 16) % 4
        headers = [("Refresh", str(seconds)), *pages.set_cookies([self._logins.wait(state, jar)])]
        return self._answers.tell(request, 200, "waiting", sign_in_pages.waiting(again), headers)

    # --- not at the callback ---

    def astray(self, request: Request, jar: Jar[Opened]) -> Response | None:
        """The page for an answer of the server that came to another path than the callback's, if this is one."""
        if "state=" not in request.query or not is_navigation(request):
            return None
        try:
            found = oauth.parameters(request.query)
        except RequestRefused:
            return None
        state = found.get("state", "")
        if not found.keys() & {"code", "error"} or not self._logins.read(state) or not self._logins.is_own(state, jar):
            return None
        self._alarm.astray(request.path, self._config.callback_path)
        content = sign_in_pages.not_set_up(self._answers.login_path)
        return self._answers.tell(request, 400, "not_set_up", content, cause="astray")


def _is_of_the_prompt(error: OAuthError, prompt: str) -> bool:
    """Whether the same without the prompt may work: the server does not know it, or may ask nobody for `none`."""
    asks_nobody = prompt == "none" and error.error in oauth.REFUSES_THE_PERSON - DENIED
    return asks_nobody or (bool(prompt) and error.error == "invalid_request")


def _is_used(error: OAuthError) -> bool:
    """Whether Hydra refuses since this step was taken before, as after Back or a double click: nobody's refusal."""
    return error.error == "access_denied" and re.search("already (?:been )?used", error.error_description) is not None
