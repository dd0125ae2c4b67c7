"""What nginx needs to hold the answers of `verify`: keys that say what an answer depends on, and where they are kept.

Everything here is told apart in text, as `site.holding` has it. What is not written plainly asks each time, an odd path
as an odd `Cookie` header. So whoever is not signed in adds nothing to what is held: on a public path all have one
answer, whatever they send, and on an optional one all who send no cookie of a name like ours; who does is asked about
each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..config import LuminConfig
from ..sessions.cookies import Cookies

# A path that has one reading only (`site.readings`), and its query. A fragment is refused, and so is odd.
_SEGMENT = r"(?:/(?!\.\.?(?:[/?]|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)"
_PLAIN = rf"{_SEGMENT}*/?(?:\?[\x21\x22\x24-\x7E]*)?$"

_WRITABLE = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@/-]+")
"""Patterns that nginx reads as we do."""

_TOKEN_LIMIT = 3000
"""Characters of one expression: nginx takes 4,096 for a word of its settings."""

_END = r"(?:\?|$)"

_LONGEST = 6000
"""Characters of the cookies and the target by which something is held: a session's at its longest (5,000), and others'
beside it."""

ASKS = rf"~^(?:odd |[a-z]+ [^ ]|[a-z]+  odd|.{{{_LONGEST}}})"
"""What is asked each time: the kind of the cookies, what makes a handshake, the target's class and the cookies are read
as one. What depends on an `Origin`, or is spelled in ways without end, is not held."""


def classes(config: LuminConfig) -> Iterator[tuple[str, str]]:
    """What a request's target is like, as expressions, and the class that it is of; the first that fits counts.

    Where scopes are needed each target is a class of its own. All are odd where a pattern cannot be told to nginx.
    """
    if not all(map(_WRITABLE.fullmatch, (*config.public, *config.optional, *config.required_scopes))):
        return
    for each in _alternatives(_wide(pattern) for pattern in config.required_scopes):
        yield f"~*^(?:{each})", "$request_uri"
    either = (*config.public, *config.optional) if config.optional else ()
    for name, patterns in (("public", config.public), ("optional", either)):
        for each in _alternatives(_narrow(pattern, patterns) for pattern in patterns):
            yield f"~^(?={_PLAIN})(?:{each})", name
    yield f"~^{_PLAIN}", "protected"


def _narrow(pattern: str, patterns: Sequence[str]) -> str:
    folder = pattern[:-1]
    if not pattern.endswith("/*"):
        return re.escape(pattern) + _END
    if folder == "/" or folder in patterns or folder[:-1] in patterns:
        return re.escape(folder)
    return re.escape(folder) + r"(?!\?|$)"


def _wide(pattern: str) -> str:
    if pattern.endswith("/*"):
        return re.escape(pattern[:-2]) + r"(?:[/?]|$)"
    return re.escape(pattern.rstrip("/")) + "/?" + _END


def _alternatives(each: Iterable[str]) -> Iterator[str]:
    found: list[str] = []
    for expression in each:
        if found and sum(map(len, found)) + len(found) + len(expression) > _TOKEN_LIMIT:
            yield "|".join(found)
            found = []
        found.append(expression)
    if found:
        yield "|".join(found)


def cookies(config: LuminConfig) -> list[tuple[str, str]]:
    """What a `Cookie` header is like, and the kind that it is of. One that is of none asks each time.

    `$lumin_ours` is our cookies, side by side as browsers send them, and what stands before and after them is all
    that a service may see.
    """
    withheld = Cookies(config).withheld.pattern.decode()
    other = rf"(?!(?:{withheld})[^\x21-\x7E]*(?:[=;]|$))[\x21-\x3A\x3C-\x7E](?:[^;\x00-\x1F\x7F]*[^;\x00-\x20\x7F])?"
    ours = rf"(?=[\x21-\x3A\x3C\x3E-\x7E]+=)(?:{withheld})=[\x21-\x3A\x3C-\x7E]*"
    run = rf"(?<lumin_ours>{ours}(?:; {ours})*)"
    return [
        ("", "none"),
        (rf"~^{other}(?:; {other})*$", "none"),
        (rf"~^(?<lumin_before>(?:{other}; )*){run}; (?<lumin_after>{other}(?:; {other})*)$", "between"),
        (rf"~^(?:(?<lumin_before>{other}(?:; {other})*); )?{run}$", "last"),
    ]


def table(source: str, target: str, rows: Iterable[tuple[str, str]], default: str) -> str:
    """A `map` of nginx."""
    lines = [f"    default {_quoted(default)};", *(f"    {_quoted(key)} {_quoted(value)};" for key, value in rows)]
    return "\n".join([f"map {source} {target} {{", *lines, "}"])


def _quoted(text: str) -> str:
    escaped = re.sub(r'\\(?=["\\nrt])|"', lambda found: "\\" + found[0], text)
    return f'"{escaped}"'
