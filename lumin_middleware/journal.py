"""What the log says: one line for each thing that happens, in the words of `reasons`, and nothing that is a secret.

A line is the reason's code, what happened, from WARNING on what to do about it, and then particulars as `name=value`.
Whatever stands there, also the server's own words and a path, goes through `shown`: what looks like a token, a code or
an e-mail address, as it is or as URLs, JSON and HTML write it, does not get past it, and no line break does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from html import unescape

from .reasons import REASONS

logger = logging.getLogger("lumin_middleware")

PAUSE = 60.0
"""Seconds between two lines about the same: what each request meets, or anybody can bring about."""

LIMIT = 500
"""Characters of one particular."""

# Whole runs are found first and looked into then: whatever a stranger sends, the time grows with its length alone.
_ENTITY = re.compile("&(?:amp;)*(#[0-9]{1,32};?|#x[0-9a-f]{1,32};?|[a-z]{1,32};)", re.IGNORECASE)
"""A character as HTML writes it, and as often as it did; a name without its semicolon may be a query's."""

_WORD = re.compile(r"[^\s/=&?<>\",;]+")
_AT = r"(?:@|%(?:25)*40|\\u0040)"  # encoded as often as there were hands that it went through
_ADDRESS = re.compile(rf".{_AT}[^\s/=&?<>\"',;]", re.IGNORECASE)
_QUOTED = re.compile(rf"""(?:"[^"]*"|\([^()]*\)){_AT}[^\s/=&?<>"'(),;]*""", re.IGNORECASE)
"""An address whose name stands in quotes, and may hold anything, or ends in a comment (RFC 5322, 3.4.1)."""
_COMMENTED = re.compile(rf"({_AT})(?:\([^()]*\))+", re.IGNORECASE)
"""A comment before the rest of an address."""

_METHOD = re.compile("[A-Z-]{1,20}")
"""Methods that are registered look like this (IANA, HTTP Method Registry); any other word may be anything."""

# Long runs with digits and letters of both cases, or of nothing but hexadecimal digits: what random bytes look like,
# and nothing that is written by hand. Client ids are UUIDs, and no secret is.
_RUN = re.compile(r"[\w~+%-]{20,}")
_HEXADECIMAL = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32,}")


def _no_address(word: re.Match[str]) -> str:
    return "…@…" if _ADDRESS.search(word[0]) else word[0]


def _no_secret(run: re.Match[str]) -> str:
    is_random = all(re.search(kind, run[0]) for kind in ("[0-9]", "[A-Z]", "[a-z]"))
    return "…" if is_random else _HEXADECIMAL.sub("…", run[0])


def shown(value: object) -> str:
    """A particular as a line may hold it: quoted where it is text, without what may be a secret or an address."""
    if isinstance(value, int | float):
        return str(value)
    text = _COMMENTED.sub(r"\1", _ENTITY.sub(lambda entity: unescape(f"&{entity[1]}"), str(value)))
    text = _RUN.sub(_no_secret, _WORD.sub(_no_address, _QUOTED.sub("…@…", text)))
    return repr(text if len(text) <= LIMIT else f"{text[:LIMIT]}…")


def say(code: str, **particulars: object) -> None:
    """Writes the line of a reason, at its level. A particular that is empty is left out."""
    reason = REASONS[code]
    if not logger.isEnabledFor(reason.level):
        return
    words = [f"{code}: {reason.what}"]
    if reason.level >= logging.WARNING:
        words.append(reason.cure)
    words += [f"{name}={shown(value)}" for name, value in particulars.items() if value not in ("", None)]
    logger.log(reason.level, "%s", " ".join(words))


is_logged = logger.isEnabledFor
"""Whether there are lines of a level."""

DETAILS = logging.DEBUG
"""The level at which each request leaves a line."""


def is_detailed() -> bool:
    """Whether each request leaves a line."""
    return is_logged(DETAILS)


def trace(code: str, method: str, path: str, status: int | None, by: str, more: str) -> None:
    """The line of a request: what became of it, why, and which rule that is by."""
    end = "went on to the application" if status is None else f"was answered {status}"
    verb = method if _METHOD.fullmatch(method) else shown(method)
    words = f"{code}: {verb} {shown(path)} {end}; rule: {by}"
    logger.debug("%s", f"{words}; {more}" if more else words)


class Seldom:
    """Says what each request would say again: each once in a while, or once."""

    def __init__(self, clock: Callable[[], float], pause: float = PAUSE) -> None:
        self._clock = clock
        self._pause = pause
        self._said_at: dict[str, float] = {}

    def say(self, code: str, **particulars: object) -> bool:
        """As `say`, and whether it was said."""
        now = self._clock()
        if not 0 <= now - self._said_at.get(code, float("-inf")) < self._pause:
            self._said_at[code] = now
            say(code, **particulars)
            return True
        return False


def once(clock: Callable[[], float]) -> Seldom:
    """Says each thing once in the life of a process."""
    return Seldom(clock, float("inf"))
