"""How long a proxy may hold an answer of `verify`, and what it may hold it for.

An answer depends on the rule of the path, on the cookies of ours where that is not public, and of a handshake on its
`Origin`. So it holds for all plainly written paths of one rule: their class. What anybody could spell anew without end,
an odd path or a handshake, a proxy does not hold. A proxy has no rules; its settings tell classes apart by what was
made of the site's rules when they were written, and name those by a digest. Where the digest is another one, nothing is
held, so that settings which are older than the rules cost time and nothing else.

It holds until something falls due for the session (its token's soft window, the slide of its idle time, its limits),
and no longer than was asked for. What ends a session meanwhile is felt that much later; with `strict_logout`, which
forbids that, nothing is held; nor on a site with `required_auth_age`, whose paths differ by the minute, which no class
knows. Nor is what gives the browser a cookie.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from ..config import LuminConfig
from ..model import Request, Session
from .access import Rule

HELD_LIMIT = 60
"""Seconds that an answer is held at most, whatever is asked for: nobody should stay signed in longer elsewhere."""

_FORMAT = 2
"""Of what the digest stands for: the classes that `gateway.nginx_cache` makes of the rules."""


@dataclass(frozen=True, slots=True)
class Asked:
    """For how many seconds a proxy would hold the answer, and the rules that its settings were made of."""

    seconds: int = 0
    rules: str = ""


NOTHING = Asked()


def asked(cache: str, rules: str) -> Asked:
    """What a question says of it; what is no number of seconds asks for nothing."""
    seconds = int(cache) if cache.isdecimal() and len(cache) <= 3 else 0
    return Asked(min(seconds, HELD_LIMIT), rules)


def digest(config: LuminConfig) -> str:
    """A name for the rules of a site: settings that say the same tell the same paths apart."""
    rules = [_FORMAT, list(config.public), list(config.optional), list(config.required_scopes.items()), config.prefix]
    rules += list(config.required_auth_age.items())
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found of a request that may pass: by which rule, whose session, and until when that is so."""

    rule: Rule
    session: Session | None
    until: float
    cookies: bool
    """Whether the browser gets a cookie."""


class Holding:
    """Says for how many seconds the answers of one site may be held."""

    def __init__(self, config: LuminConfig) -> None:
        self._digest = digest(config)
        self._never = config.strict_logout or bool(config.required_auth_age)

    def knows(self, asked: Asked) -> bool:
        """Whether these settings were made of the rules that there are."""
        return asked.rules == self._digest

    def seconds(self, asked: Asked, request: Request, found: Outcome, *, has_marked: bool, now: float) -> int:
        """Whole seconds; 0 where it may not be held. `has_marked` is whether a cookie came that no service may see.

        One less than there are, since nginx counts in whole seconds and lets the last one pass.
        """
        if self._never or found.cookies or not self.knows(asked) or request.mount or request.root_path:
            return 0
        left: float = asked.seconds
        if found.session is not None:
            left = min(left, found.until - now)
        elif has_marked and not found.rule.public:
            # Of one of ours it is trouble, which may be over with the next request; and any of a name like ours is what
            # the answer would be held by, so that a stranger could fill the memory.
            return 0
        return max(math.floor(left) - 1, 0)
