"""What we say ourselves: a page for a person, `application/problem+json` (RFC 9457) for a program.

What decides says which page, by the keys of its words (`texts`); here they become words in the language that the
request asks for, and the site's own function may make the HTML of them. Nothing that we say is stored by anybody, and
so no page needs `Vary: Accept-Language`, which is for caches (RFC 9110, 12.5.5).
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .. import look
from ..config import LuminConfig
from ..journal import say
from ..look import Look, Page
from ..model import Request, Response
from ..texts import Words

NO_STORE = ("Cache-Control", "no-store")

SAFETY = (
    NO_STORE,
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)

_SAFETY_OF_FORMS = tuple((name, "same-origin" if name == "Referrer-Policy" else value) for name, value in SAFETY)

ANYWHERE = "'self' https: http:"
"""The `form-action` of a form that posts to this site, from where others lead on: Lumin, who asks on a page of another
host of its own, or the application. Browsers hold a form to it through all redirects, which nobody knows beforehand."""

OWN_POLICY = "default-src 'self'"
"""What a page that the site makes may load, unless it says so itself."""

# What a policy of one's own may hold (Content Security Policy Level 3, 2.2.1), so that it ends no header.
_POLICY = re.compile(r"[\x20-\x2B\x2D-\x7E]+")


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """A page that is to be said: which one, and what its words stand for. No word of any language."""

    name: str
    """Its title is the text `<name>.title`."""
    text: Sequence[str] = ()
    """The keys of its sentences; by default `<name>.text` alone."""
    title: str = ""
    """The key of its title, where it is not the page's own."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What the names in the texts stand for."""
    said: str = ""
    """A sentence of the site's own, in place of the text."""
    points: Sequence[str] = ()
    """The keys of what is listed."""
    detail: str = ""
    """What the server said; somebody else's words."""
    links: Sequence[tuple[str, str]] = ()
    """(the key of the words behind `do.`, where they lead); the first is the main one."""
    button: tuple[str, str] | None = None
    """(the key of the words behind `do.`, where it posts to)."""
    fields: Sequence[tuple[str, str]] = ()
    """What it posts, unseen."""
    script: str = ""
    """Ours, and never with anybody's words in it."""
    framed: bool = False
    """Whether it may stand in a frame of this site."""
    reason: str = "ours"
    reference: str = ""


def permissions(scope: str) -> tuple[str, ...]:
    """The keys of what scopes are in words."""
    return tuple(f"scope.{token}" for token in scope.split())


class Pages:
    """The pages of one site, or of nobody's where its settings are not known."""

    def __init__(self, config: LuminConfig | None = None) -> None:
        self._words = Words(config.texts if config else {})
        self._look = (
            Look(config.app_name or "", config.app_url or "", config.accent or "", config.logo or "")
            if config
            else look.PLAIN
        )
        self._own = config.pages if config else None

    def page(
        self,
        accept_language: str,
        status: int,
        draft: Draft,
        *,
        form_action: str = "'self'",
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """A page for a person. `form_action` says where its form, and what that redirects to, may lead."""
        content = self._in_words(draft, status, self._words.language(accept_language))
        html, policy = self._made_by_the_site(content, form_action) or (
            look.html(content),
            look.policy(
                self._look.style,
                script=content.script,
                images=self._look.images,
                form_action=form_action,
                framed=content.framed,
            ),
        )
        body = html.encode("utf-8", "replace")
        return Response(
            status,
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Content-Security-Policy", policy),
                # Without a referrer a browser says "null" for the origin that a form is sent from (Fetch, 3.2).
                *(_SAFETY_OF_FORMS if content.button else SAFETY),
                *headers,
            ],
            body,
            reason=draft.reason,
            reference=draft.reference,
        )

    def _in_words(self, draft: Draft, status: int, language: str) -> Page:
        def words(key: str) -> str:
            return self._words.say(language, key, draft.values)

        return Page(
            status=status,
            language=language,
            title=words(draft.title or f"{draft.name}.title"),
            text=draft.said or _joined(map(words, draft.text or (f"{draft.name}.text",))),
            points=tuple(map(words, draft.points)),
            detail=draft.detail,
            links=tuple((words(f"do.{key}"), target) for key, target in draft.links),
            button=(words(f"do.{draft.button[0]}"), draft.button[1]) if draft.button else None,
            fields=tuple(draft.fields),
            script=draft.script,
            framed=draft.framed,
            reason=draft.reason,
            reference=draft.reference,
            footnote=words("footnote") if draft.reference else "",
            look=self._look,
        )

    def _made_by_the_site(self, content: Page, form_action: str) -> tuple[str, str] | None:
        """The HTML that the site's own function makes, and its policy; None where it makes none."""
        if self._own is None or content.script:  # a page with a script works by itself, and is gone at once
            return None
        try:
            made = self._own(content)
        except Exception as error:  # noqa: BLE001  whatever it is, the person gets a page
            say("page_failed", error=type(error).__name__, status=content.status, shown=content.reason)
            return None
        html, policy = made if isinstance(made, tuple) and len(made) == 2 else (made, OWN_POLICY)
        if not (isinstance(html, str) and html.strip() and isinstance(policy, str) and _POLICY.fullmatch(policy)):
            if inspect.iscoroutine(made):
                made.close()
            say("page_failed", error=f"returned {type(made).__name__}", status=content.status, shown=content.reason)
            return None
        # The first of two directives of one name counts (Content Security Policy Level 3, 2.2.1): ours.
        return html, f"{look.bounds(form_action=form_action, framed=content.framed)}; {policy}"


def _joined(sentences: Iterable[str]) -> str:
    """One text of several; Chinese and Japanese have no space after a full stop."""
    return " ".join(sentences).replace("。 ", "。")


NOBODYS = Pages()
"""Pages where no site's settings are known."""


def reference(digits: str) -> str:
    """The name of an answer, of hexadecimal digits, as people can read it out."""
    return f"{digits[:4]}-{digits[4:8]}".upper()


def languages(request: Request) -> str:
    """What a request says of languages; a header that came in parts is one list (RFC 9110, 5.3)."""
    return accepted(request.headers, b"accept-language")


def accepted(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header that is a list, however often it came."""
    return b",".join(value for each, value in headers if each == name).decode("latin-1")


def problem(
    status: int,
    reason: str,
    title: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    reference: str = "",
    **members: str,
) -> Response:
    """A problem for a program (RFC 9457, 3.1). `reason` is one of a fixed list, `reference` the name of the answer."""
    content: Mapping[str, object] = {
        "type": f"urn:lumin-middleware:{reason}",
        "title": title,
        "status": status,
        "reason": reason,
        **members,
        **({"reference": reference} if reference else {}),
    }
    answer = document(status, content, media_type="application/problem+json", headers=headers)
    answer.reason, answer.reference = reason, reference
    return answer


def document(
    status: int,
    content: Mapping[str, object],
    *,
    media_type: str = "application/json",
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    """A JSON document that nobody stores."""
    body = json.dumps(content).encode()
    return Response(status, [("Content-Type", media_type), ("Content-Length", str(len(body))), *SAFETY, *headers], body)


def redirect(location: str, cookies: Iterable[str] = (), *, reason: str = "ours") -> Response:
    """303: whatever was sent, what follows is a GET (RFC 9110, 15.4.4)."""
    answer = empty(303, [("Location", location), *set_cookies(cookies)])
    answer.reason = reason
    return answer


def empty(status: int, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """An answer without a body. All but a 204 say that it is empty (RFC 9110, 8.6), as WSGI's checkers ask."""
    length = [] if status == 204 else [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
    return Response(status, [*length, *SAFETY, *headers])


def set_cookies(cookies: Iterable[str]) -> list[tuple[str, str]]:
    """Each cookie in a header of its own (RFC 6265, 3)."""
    return [("Set-Cookie", cookie) for cookie in cookies]


OF_CACHING = frozenset(("cache-control", "expires", "pragma"))
"""The headers that say who may keep an answer (RFC 9111, 5)."""


# `CDN-Cache-Control` and its like (RFC 9213, 2), and what was there before: of the Edge Architecture, nginx and Akamai.
_OF_SOME_CACHES = re.compile(r"(?i).+-cache-control|surrogate-control|x-accel-expires|edge-control")

PRIVATE = ("Cache-Control", "private, no-cache")
"""What is added to a page that was passed for a session: kept by this browser alone, and asked for each time, so that
after a sign-out, and for the next person, it is not shown again (RFC 9111, 4.2.2)."""


def with_cookies(headers: Sequence[tuple[str, str]], cookies: Iterable[str]) -> list[tuple[str, str]]:
    """The application's headers with cookies of ours, and so that no cache gives them to others (RFC 9111, 3.5).

    What the application says of caching stands, unless it would let a shared cache store the answer. What it says to
    some caches alone, which count that more than all else, does not.
    """
    control = ", ".join(value for name, value in headers if name.lower() == "cache-control").lower()
    kept = [(name, value) for name, value in headers if not _OF_SOME_CACHES.fullmatch(name)]
    if not {"private", "no-store"} & set(_directives(control)):
        kept = [(name, value) for name, value in kept if name.lower() != "cache-control"]
        own = [each for each in _directives(control) if each.partition("=")[0] not in ("public", "s-maxage", "private")]
        kept.append(("Cache-Control", ", ".join(["private", *own])))
    vary = ", ".join(value for name, value in headers if name.lower() == "vary")
    if not re.search(r"(?i)(?:^|[,\s])(?:cookie|\*)(?:$|[,\s])", vary):
        kept = [(name, value) for name, value in kept if name.lower() != "vary"]
        kept.append(("Vary", f"{vary}, Cookie" if vary else "Cookie"))
    return [*kept, *set_cookies(cookies)]


def _directives(control: str) -> list[str]:
    """The directives of a `Cache-Control`; one with a value, such as `private="x"`, is another than one without."""
    return re.findall(r'[^\s,="]+(?:="[^"]*"|=[^\s,"]*)?', control)
