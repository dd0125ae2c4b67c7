"""The way to the authorization endpoint: a login begins on a page, on a link, at the server's wish, or by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from ..errors import RequestRefused
from ..journal import once, say
from ..model import Errand, Request, Response, Session
from ..protocol import oauth
from ..sessions.cookies import Jar
from ..sessions.logins import person
from ..sessions.opened import Opened
from ..sessions.tries import LED_AT_ONCE
from . import access, pages
from .access import is_led, is_of_no_kind, is_whole_page
from .parts import Parts
from .sent import sent

EXTRA_LIMIT = 200
"""Characters of each thing that a browser may add: they travel in `state` as well, which has to stay small."""


LEADING_BACK = ("return_to", "next", "rd", "target_link_uri")
"""Where a login leads, as we say, as Django's `LOGIN_URL` does, as ingress-nginx does with a URL, and as OpenID Connect
Core 1.0, 4 has it. The first that is there counts."""


class Login:
    """The route `login`. `is_ours` tells the paths that nobody is sent to after a sign-in."""

    def __init__(self, parts: Parts, is_ours: Callable[[str], bool]) -> None:
        self._config = parts.config
        self._metadata = parts.metadata
        self._sessions = parts.sessions
        self._logins = parts.logins
        self._long_pages = parts.long_pages
        self._answers = parts.answers
        self._is_ours = is_ours
        self._once = once(parts.world.clock)
        self._rules = parts.rules

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET login`: off to the authorization endpoint; with `iss` at its wish (OpenID Connect Core 1.0, 4)."""
        found = await self._parameters(request)
        if found is None:
            return self._answers.method_not_allowed("GET, HEAD")
        # Nobody goes to sign in by an image, a script, a prefetch, or in a frame.
        if not is_whole_page(request) and not is_of_no_kind(request):
            return self._answers.unauthorized(request, "no_session", may_be_page=True)
        await self._refuse_another_server(found.get("iss"))
        needed = self._logins.asked(found.get("ask", ""))
        asked_by = person(await self._sessions.current(jar)) if needed else ""
        wanted = next(filter(None, map(found.get, LEADING_BACK)), "")
        return await self.begin(
            request, jar, self.return_to(wanted), needed=needed, asked_by=asked_by, extra=_extra(found)
        )

    async def _refuse_another_server(self, issuer: str | None) -> None:
        server = await self._metadata.server_called(issuer)
        if issuer is not None and not oauth.same_issuer(issuer, server.issuer):
            raise RequestRefused("wrong_issuer", "This site does not sign in at the server that was named.")

    async def _parameters(self, request: Request) -> Mapping[str, str] | None:
        """What came with the request; None where its method is not for this address."""
        if request.method in ("GET", "HEAD"):
            return oauth.parameters(request.query)
        if request.method == "POST" and "iss" in (found := await sent(request)):
            return found
        return None

    def asking(self, needed: tuple[str, ...], max_age: float | None = None) -> str:
        """What a link to this route says beside where it leads: the scopes that are needed there, and how many seconds
        ago the sign-in may be at the most."""
        ask = f"&ask={self._logins.ask(needed)}" if needed else ""
        return ask if max_age is None else f"{ask}&max_age={int(max_age)}"

    def return_to(self, wanted: str) -> str:
        """Where a login leads that shall lead there: there, if it is a page of this site."""
        found = access.return_to(wanted, "", self._config.origin)
        if not found and wanted:
            say("not_led_back")
        if not found or self._is_ours(unquote(re.split("[?#]", found)[0])):  # back there would be a loop, or no page
            return self._config.after_login
        return found

    async def begin(
        self,
        request: Request,
        jar: Jar[Opened],
        return_to: str,
        *,
        needed: tuple[str, ...] = (),
        asked_by: str = "",
        grant: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> Response:
        """Off to the authorization endpoint, and back to `return_to`, for which the scopes `needed` must be given.

        `asked_by` is the person who has to give them, where it is somebody; `grant` the name under which what they
        give is kept in place of a session.
        """
        kept = await self._long_pages.keep(return_to)
        host = self._answers.other_host(request)
        if host and not self._config.secure:  # on loopback no proxy has a name of its own for the site
            self._once.say("another_host", host=host, redirect_uri=self._config.redirect_uri)
        errand = self._logins.errand(needed, kept, asked_by=asked_by, grant=grant, extra=dict(extra or {}), host=host)
        return await self._leave(request, jar, errand)

    async def again(self, request: Request, jar: Jar[Opened], state: str, errand: Errand) -> Response:
        """The same by itself, in place of the login `state`, which came to nothing."""
        say("begun_again", times=errand.again + 1)
        return await self._leave(request, jar, replace(errand, again=errand.again + 1), over=state)

    async def _leave(self, request: Request, jar: Jar[Opened], errand: Errand, *, over: str = "") -> Response:
        tries = self._logins.tries
        counted: list[str] = []
        if tries.has_counted(jar):
            session = await self._sessions.current(jar)
            page = await self._long_pages.find(errand.return_to)
            if session is None:
                if tries.is_looping(jar):
                    return self._answers.looping(request, self._answers.login_to(page))
            elif not over and not _asks_for_more(errand) and self._is_unseen(request, page, session):
                if tries.is_led_back(page, jar):
                    return self._answers.unseen(request)
                counted = [tries.count_page(page, jar)]
        server = await self._metadata.server()
        transaction, secret = self._logins.begin(errand)
        location = oauth.authorization_request(self._config, server, transaction, errand.extra)
        cookies = [*self._logins.set_cookies(transaction, secret, jar, over=over), *counted]
        return pages.redirect(location, cookies, reason="began")

    def _is_unseen(self, request: Request, page: str, session: Session) -> bool:
        """Whether a page seems not to see who has just signed in: nobody is seen there (one that is written oddly is
        not judged), or it sent the browser on, straight from the sign-in: the application does not know the person."""
        rule = self._rules.plainly(re.split("[?#]", page)[0])
        if rule is not None and rule.public:
            return self._logins.tries.is_at_once(session)
        return is_led(request) and self._logins.tries.is_at_once(session, LED_AT_ONCE)


def _asks_for_more(errand: Errand) -> bool:
    """Whether a login is not for a session alone, so that somebody who has one may well want it."""
    return bool(errand.needed or errand.grant or errand.extra.keys() - {"ui_locales"})


def _extra(found: Mapping[str, str]) -> dict[str, str]:
    """What a browser may add to the authorization request, as far as it is what it says."""
    extra = {name: found[name] for name in oauth.PASSED_ON if 0 < len(found.get(name, "")) <= EXTRA_LIMIT}
    if not re.fullmatch(r"[0-9]{1,9}", extra.get("max_age", "0")):
        del extra["max_age"]
    return extra
