"""What we say ourselves: a page for a person, `application/problem+json` (RFC 9457) for a program.

One template, nothing from elsewhere, no script but by its hash, every word escaped. Nothing that we say is stored by
anybody.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..model import Response

STYLE = """
:root { color-scheme: light dark; --ink: #16181d; --soft: #5b6270; --paper: #f4f5f7; --card: #fff; --line: #e2e5ea;
  --accent: #1f5eff; --on-accent: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef2; --soft: #a3abba; --paper: #101216; --card: #191c22;
  --line: #2b303a; --accent: #7aa2ff; --on-accent: #0b1020 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.25rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
main { width: 100%; max-width: 27rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .9rem }
h1 { margin: 0 0 .6rem; font-size: 1.35rem; line-height: 1.25 }
p, ul { margin: 0 0 1rem; overflow-wrap: anywhere }
ul { padding-left: 1.2rem; color: var(--soft) }
.detail { color: var(--soft); font-size: .875rem }
.reference { margin: 1.4rem 0 0; color: var(--soft); font-size: .75rem }
.actions { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.4rem 0 0 }
a, button { font: inherit; font-weight: 600; padding: .6rem 1.1rem; border-radius: .55rem; cursor: pointer;
  text-decoration: none; border: 1px solid var(--line); background: transparent; color: inherit }
a:first-child, button { border-color: var(--accent); background: var(--accent); color: var(--on-accent) }
a:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
form { margin: 0 }
"""


def _hash(text: str) -> str:
    """What allows an inline text (Content Security Policy Level 3, 2.3.1)."""
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


_STYLE_HASH = _hash(STYLE)

NO_STORE = ("Cache-Control", "no-store")

SAFETY = (
    NO_STORE,
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)

_SAFETY_OF_FORMS = tuple((name, "same-origin" if name == "Referrer-Policy" else value) for name, value in SAFETY)


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """The words of a page. They are for whoever sees it, so that its `repr` holds none."""

    title: str
    text: str
    points: Sequence[str] = ()
    detail: str = ""
    """What the server or the request said; somebody else's words."""
    links: Sequence[tuple[str, str]] = ()
    """(words, where they lead); the first is the main one."""
    button: tuple[str, str] | None = None
    """(words, where it posts to)."""
    fields: Sequence[tuple[str, str]] = ()
    """What it posts, unseen."""
    script: str = ""
    """Ours, and never with anybody's words in it."""
    framed: bool = False
    """Whether it may stand in a frame of this site; its links then lead the whole window."""
    reason: str = "ours"
    """Why it is shown (`reasons`)."""
    reference: str = ""
    """What its line in the log has, too."""


def page(
    status: int, content: Page, *, form_action: str = "'self'", headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """A page for a person. `form_action` says where its form, and what that redirects to, may lead."""
    script = f"script-src 'sha256-{_hash(content.script)}'; " if content.script else ""
    ancestors = "'self'" if content.framed else "'none'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; {script}form-action {form_action}; "
        f"base-uri 'none'; frame-ancestors {ancestors}"
    )
    body = _html(content).encode("utf-8", "replace")
    return Response(
        status,
        [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            # Without a referrer a browser says "null" for the origin that a form is sent from (Fetch Standard, 3.2).
            *(_SAFETY_OF_FORMS if content.button else SAFETY),
            *headers,
        ],
        body,
        reason=content.reason,
        reference=content.reference,
    )


def _html(content: Page) -> str:
    parts = [f"<h1>{escape(content.title)}</h1>", f"<p>{escape(content.text)}</p>"]
    if content.points:
        parts.append("<ul>" + "".join(f"<li>{escape(point)}</li>" for point in content.points) + "</ul>")
    if content.detail:
        parts.append(f'<p class="detail">{escape(content.detail)}</p>')
    window = ' target="_top"' if content.framed else ""
    actions = [f'<a href="{escape(target)}"{window}>{escape(words)}</a>' for words, target in content.links]
    if content.button:
        words, target = content.button
        hidden = (
            f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">' for name, text in content.fields
        )
        form = f'<form method="post" action="{escape(target)}">{"".join(hidden)}<button>{escape(words)}</button></form>'
        actions.insert(0, form)
    if actions:
        parts.append(f'<div class="actions">{"".join(actions)}</div>')
    if content.reference:
        parts.append(f'<p class="reference">{escape(content.reason)} · {escape(content.reference)}</p>')
    if content.script:
        parts.append(f"<script>{content.script}</script>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content.title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def problem(
    status: int, reason: str, title: str, *, headers: Iterable[tuple[str, str]] = (), **members: str
) -> Response:
    """A problem for a program (RFC 9457, 3.1). `reason` is one of a fixed list."""
    content: Mapping[str, object] = {
        "type": f"urn:lumin-middleware:{reason}",
        "title": title,
        "status": status,
        "reason": reason,
        **members,
    }
    answer = document(status, content, media_type="application/problem+json", headers=headers)
    answer.reason = reason
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


def says_nothing_of_caching(names: Iterable[str]) -> bool:
    """Whether an application left open who may keep its answer; heuristics would let the next person see it."""
    return OF_CACHING.isdisjoint(name.lower() for name in names)


OF_CACHING = frozenset(("cache-control", "expires", "pragma"))
"""The headers that say who may keep an answer (RFC 9111, 5)."""


PRIVATE = ("Cache-Control", "private, no-cache")
"""What is added to a page that was passed for a session: kept by this browser alone, and asked for each time, so that
after a sign-out, and for the next person, it is not shown again (RFC 9111, 4.2.2)."""


def with_cookies(headers: Sequence[tuple[str, str]], cookies: Iterable[str]) -> list[tuple[str, str]]:
    """The application's headers with cookies of ours, and so that no cache gives them to others (RFC 9111, 3.5).

    What the application says of caching stands, unless it would let a shared cache store the answer.
    """
    control = ", ".join(value for name, value in headers if name.lower() == "cache-control").lower()
    kept = list(headers)
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
