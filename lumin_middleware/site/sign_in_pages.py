"""What a person reads on the way through a sign-in that does not simply end at their page. Words, and no decisions."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..model import Errand, Session
from ..reasons import FAILED, REASONS
from .pages import Page


def not_set_up(again: str) -> Page:
    """The site's own fault."""
    reason = REASONS["not_set_up"]
    return Page(reason.title, reason.person, links=(("Try again", again),))


def waiting(again: str) -> Page:
    """Another request of this browser is at it."""
    reason = REASONS["waiting"]
    return Page(reason.title, reason.person, links=(("Sign in here instead", again),))


def came_to_nothing(authorization_endpoint: str, again: str) -> Page:
    """The server does not know the browser that it has just seen."""
    server = urlsplit(authorization_endpoint).netloc
    return Page(
        FAILED,
        f"You were sent to {server} and back, and it did not know your browser any more. Likely causes:",
        (
            f"The browser, or an extension, refuses the cookies of {server}.",
            "The sign-in page stood open for too long.",
            "Many tabs were signing in at once.",
        ),
        links=(("Start again", again),),
    )


def another_person(session: Session, return_to: str, login: str) -> Page:
    """Somebody asked for more, and somebody else is signed in."""
    claims = session.claims
    name = next((str(claims[each]) for each in ("email", "name", "sub") if claims.get(each)), "somebody else")
    return Page(
        f"You are {name} now",
        REASONS["another_person"].person,
        links=((f"Go on as {name}", return_to), ("Sign in as somebody else", f"{login}&prompt=login")),
    )


def permission_not_given(scope: str, go_on: str, again: str) -> Page:
    """Somebody who is signed in refused to give more."""
    return Page(
        "Permission not given",
        f"The page needs a permission that you did not give: {scope}. You are still signed in.",
        links=(("Go on without it", go_on), ("Ask me again", again)),
    )


def not_recent(go_on: str, again: str) -> Page:
    """The server took an old sign-in for a new one."""
    return Page(
        "Lumin did not ask you to sign in again",
        "The page needs a sign-in that is not so long ago, and Lumin took the one that you had.",
        links=(("Sign in again", again), ("Go on without it", go_on)),
    )


def not_connected(why: str, go_on: str, again: str) -> Page:
    """No grant came of it."""
    return Page(
        "Not connected",
        f"{why or 'You did not allow it.'} Nothing else has changed.",
        links=(("Go on without it", go_on), ("Try again", again)),
    )


def unknown_login(errand: Errand | None, host: str, origin: str) -> tuple[str, ...]:
    """Why a login may be unknown, the likeliest first."""
    causes = [
        "It was begun more than half an hour ago, or in another browser.",
        "It was completed already; go back to the page that you wanted.",
        "The browser refuses cookies, or an extension removes them.",
    ]
    if errand is not None and errand.host and errand.host != host:
        causes.insert(0, f"It was begun at {errand.host}, but this site signs in at {origin}. Open it there.")
    return tuple(causes)
