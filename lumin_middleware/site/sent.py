"""What is asked of a route of ours that changes something: by its query, or by the form that is sent to it.

A form says there what a query says. Whatever nobody reads could be what was meant: the name of the one session that is
to end, in a field that is spelt otherwise or in a body of another type, so that all the others do. So what cannot be
told is refused, and nothing is done on a guess.
"""

from __future__ import annotations

import re

from ..errors import RequestRefused
from ..model import Request, Response
from ..protocol import oauth
from . import pages
from .access import accepts_html, is_page

FORM = re.compile(r'application/x-www-form-urlencoded *(?:; *charset="?utf-8"?)?', re.IGNORECASE)
"""The type of a form that says what a query says (WHATWG URL, 5)."""

MAY_BE_EMPTY = ("return_to",)
"""What a page may have a field for and nothing to put there: then it is as if it were not named."""


async def sent(request: Request) -> dict[str, str]:
    """The parameters of a request, by its query and its form. Raises `RequestRefused` where they cannot be told."""
    found = oauth.parameters(request.query)
    for name, value in (await _form(request)).items():
        if found.setdefault(name, value) != value:
            raise unclear("The address and the form say two things by one name.")
    return found


async def meant(request: Request, *known: str) -> dict[str, str]:
    """The same for a route that takes these parameters and no other, each of which says something."""
    found = await sent(request)
    if not found.keys() <= set(known):
        raise unclear(f"{request.path} takes {', '.join(known)} and nothing else, not even a framework's CSRF token.")
    for name, value in found.items():
        if not value and name not in MAY_BE_EMPTY:
            raise unclear(f"{name} is empty: give it a value, or leave it out.")
    return found


async def _form(request: Request) -> dict[str, str]:
    body = b"" if request.body is None else await request.body()
    if not body:
        return {}
    if not FORM.fullmatch(request.header(b"content-type")):
        raise unclear("The body is no form: send application/x-www-form-urlencoded, a query, or nothing.")
    try:
        return oauth.parameters(body.decode("ascii"))
    except (RequestRefused, UnicodeDecodeError):
        raise unclear("The form cannot be read, or names something twice.") from None


def done(request: Request, location: str) -> Response:
    """What was asked for is done: a person goes on from there, and a page whose script asked stays as it is."""
    return pages.redirect(location) if goes_on(request) else pages.empty(204)


def goes_on(request: Request) -> bool:
    """Whether whoever asked is a person, who is shown what comes next."""
    return is_page(request) and accepts_html(request)


def nothing_to_end() -> RequestRefused:
    """What was named is none of this person's, or has ended already: which of the two, nobody is told."""
    return RequestRefused("nothing_to_end", "Nothing of yours has this name, or it has ended already.", status=404)


def unclear(message: str) -> RequestRefused:
    """The request says something that nobody can be sure of. `message` is for whoever wrote the page that sent it."""
    return RequestRefused("unclear", message)
