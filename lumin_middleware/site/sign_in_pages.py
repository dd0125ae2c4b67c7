"""What a person reads on the way through a sign-in that does not simply end at their page. Which, and no words."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..model import Errand, Session
from .pages import Draft, permissions


def not_set_up(again: str) -> Draft:
    """The site's own fault."""
    return Draft("not_set_up", links=(("try_again", again),))


def waiting(again: str) -> Draft:
    """Another request of this browser is at it."""
    return Draft("waiting", links=(("begin_here", again),))


def came_to_nothing(authorization_endpoint: str, again: str) -> Draft:
    """The server does not know the browser that it has just seen."""
    return Draft(
        "sign_in_failed",
        text=("came_to_nothing.text",),
        points=("came_to_nothing.cookies", "came_to_nothing.late", "came_to_nothing.tabs"),
        values={"server": urlsplit(authorization_endpoint).netloc},
        links=(("start_again", again),),
    )


def another_person(session: Session, return_to: str, login: str) -> Draft:
    """Somebody asked for more, and somebody else is signed in."""
    name = next((str(session.claims[each]) for each in ("email", "name", "sub") if session.claims.get(each)), "")
    return Draft(
        "another_person",
        title="another_person.named" if name else "",
        values={"name": name},
        links=(("go_on_as" if name else "go_on", return_to), ("sign_in_as_another", f"{login}&prompt=login")),
    )


def permission_not_given(scope: str, go_on: str, again: str) -> Draft:
    """Somebody who is signed in refused to give more."""
    return Draft("kept_back", points=permissions(scope), links=(("without", go_on), ("ask_again", again)))


def not_recent(go_on: str, again: str) -> Draft:
    """The server took an old sign-in for a new one."""
    return Draft("not_recent", links=(("sign_in_again", again), ("without", go_on)))


_NO_GRANT = {"": "no_grant.text", "another_person": "no_grant.another"}
"""What is said otherwise where a grant was to come of it."""


def not_connected(why: str, said: str, go_on: str, again: str) -> Draft:
    """No grant came of it, for a reason, or because the person did not want it; or `said` is the site's sentence."""
    text = (_NO_GRANT.get(why, f"{why}.text"), "no_grant.end")
    return Draft("no_grant", text=text, said=said, links=(("without", go_on), ("try_again", again)))


def unknown_login(errand: Errand | None, host: str, origin: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Why a login may be unknown, the likeliest first, and what these texts name."""
    causes = ("unknown_login.late", "unknown_login.done", "loop.cookies")
    if errand is not None and errand.host and errand.host != host:
        return ("unknown_login.host", *causes), {"host": errand.host, "origin": origin}
    return causes, {}
