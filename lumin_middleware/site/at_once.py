"""One look: a request for which there is nothing to do, and nobody to wait for, passes at once.

`RelyingParty.admit` decides, in the order that stands there. Here is what it comes to for most requests, decided in the
same order by the same rules, but without a step that could wait: a path that is written plainly, a cookie that was
opened before or proves itself, a session in which nothing falls due and whose record is what it was. Whatever is not
like this, or not known to be, gets no answer here but `None`, and goes the whole way. So nobody is ever turned away
here, nothing is renewed, written or begun, and no line is logged.
"""

from __future__ import annotations

from collections.abc import Callable

from ..journal import DETAILS, is_logged
from .access import PROTECTED, Rule
from .visit import Came, Party, Passing

DECIDED_LIMIT, DECIDED_LENGTH = 2000, 200
"""Paths whose rule is remembered, and their longest in characters: as many as most sites have, in 1 MB."""


Decided = tuple[str, Rule | None]
"""A path, and its rule; None where it asks for a session and nothing else."""


class AtOnce:
    """Lets requests of one site pass. The site's own routes are `below` a folder, and `is_own` knows them."""

    def __init__(self, party: Party, below: str, is_own: Callable[[str], bool]) -> None:
        parts = party.parts
        self._party = party
        self._decided: dict[bytes | str, Decided] = {}
        self._rule = parts.rules.plainly
        self._below = below
        self._is_own = is_own
        self._session = parts.sessions.at_once
        self._jar = parts.cookies.jar
        self._saw = parts.logins.tries.saw
        self._unsaved = parts.renewal.unsaved
        self._clock = parts.world.clock

    def visit(self, path: str, raw: bytes | str, cookie: bytes, came: Came) -> Passing | None:
        """The visit of a request that may pass; None where that takes a closer look.

        It is about a request that is no handshake and came without a mount, and whose query holds no answer of the
        server's (`state=`). `raw` is the path as it came. Of what `came` the request is read, if anybody asks for it.
        """
        if is_logged(DETAILS):
            return None
        try:
            decided = self._decided.get(raw)
        except TypeError:  # a server may have its own way of saying it
            return None
        if decided is None and (decided := self._decide(path, raw)) is None:
            return None
        written, rule = decided
        if written != path:  # whoever stands before us has changed one of them
            return None
        if rule is not None and rule.public:
            return Passing(self._party, None, self._jar(cookie).rest, came)
        clock, session_of = self._clock, self._session  # see `LuminMiddleware._at_once`
        now = clock()
        found = session_of(cookie, now)
        if found is None:
            return None
        carried, others = found
        session = carried.session
        if self._unsaved and session.id in self._unsaved:
            return None
        if rule is not None and not rule.is_met_by(session, now):
            return None
        if not carried.seen:
            self._saw(session)
            carried.seen = True
        return Passing(self._party, carried, others, came)

    def _decide(self, path: str, raw: bytes | str) -> Decided | None:
        """The rule for a path of the application's, which is remembered; None for one that takes a closer look."""
        written = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        if path != written or (path.startswith(self._below) and self._is_own(path)):
            return None
        rule = self._rule(path)
        if rule is None:
            return None
        decided = path, None if rule == PROTECTED else rule
        if len(path) <= DECIDED_LENGTH:
            if len(self._decided) >= DECIDED_LIMIT:
                self._decided.clear()
            self._decided[raw] = decided
        return decided
