"""The end of a login: somebody is signed in, and the page is there that it was begun for."""

from __future__ import annotations

from ..errors import InsufficientScope
from ..journal import say
from ..model import Errand, Request, Response, Session
from ..sessions.logins import person
from . import pages, sign_in_pages
from .parts import Parts


class Arrival:
    """On to the page, if who is signed in is who it is for, and brought what it needs."""

    def __init__(self, parts: Parts) -> None:
        self._config = parts.config
        self._clock = parts.world.clock
        self._long_pages = parts.long_pages
        self._answers = parts.answers

    async def arrive(self, request: Request, session: Session, errand: Errand, cookies: list[str]) -> Response:
        """Somebody is signed in: on to the page, unless it is another person than who asked, or brought too little."""
        if errand.asked_by and person(session) != errand.asked_by:
            say("another_person")
            return_to = await self._long_pages.find(errand.return_to)
            content = sign_in_pages.another_person(session, return_to, self._answers.login_to(return_to))
            answer = self._answers.page(request, 200, content)
        elif missing := _missing(session, errand):
            answer = self._answers.insufficient_scope(request, InsufficientScope(" ".join(missing)))
        elif not self._is_recent(session, errand):
            answer = await self._not_recent(request, errand)
        else:
            return await self.lead_to(errand, cookies)
        answer.headers += pages.set_cookies(cookies)
        return answer

    async def lead_to(self, errand: Errand, cookies: list[str]) -> Response:
        """To the page that a login was begun for."""
        return pages.redirect(await self._long_pages.find(errand.return_to), cookies, reason="signed_in")

    def is_enough(self, session: Session, errand: Errand) -> bool:
        """Whether a session does what a login was for: it has the scopes, and is as new as was asked for."""
        if errand.grant:  # which is another thing than a session
            return False
        anew = errand.extra.get("prompt", "none") != "none"
        is_new = not anew or session.began >= errand.began
        return is_new and not _missing(session, errand) and self._is_recent(session, errand)

    def _is_recent(self, session: Session, errand: Errand) -> bool:
        max_age = errand.extra.get("max_age")
        return max_age is None or session.is_recent(float(max_age), self._clock())

    async def _not_recent(self, request: Request, errand: Errand) -> Response:
        say("max_age_ignored")
        return_to = await self._long_pages.find(errand.return_to)
        again = f"{self._answers.login_to(return_to)}&prompt=login&max_age={errand.extra['max_age']}"
        content = sign_in_pages.not_recent(self._config.after_login, again)
        return self._answers.tell(request, 403, "insufficient_user_authentication", content)


def _missing(session: Session, errand: Errand) -> list[str]:
    return [token for token in errand.needed.split() if token not in session.tokens.scope]
