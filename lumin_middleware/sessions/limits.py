"""How long a session is good for: as long as it was told, and no longer than the settings say by now.

Settings change while people are signed in, and during a deploy two processes have two of them. What is remembered about
a session, that it has ended, which tokens are its newest, whose it is, must outlast each copy of it, whichever process
wrote that and whichever reads it. So a session carries from its first writing how long it may last at all, and each
writing of it for how long it is good unused. A lower setting counts at once; a higher one for sessions that begin
then, and unused for those that are written then. What was sealed before this was kept goes by the setting alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Self

from ..config import LuminConfig
from ..errors import SessionEnded
from ..model import Session

SLIDES = 10
"""Times that a session in use is written within its idle time: it is over a tenth of that too early at the most."""


class Limits:
    """The limits of one site's sessions, or of another kind of them: `longest` seconds in all, and `idle` unused."""

    def __init__(self, longest: float, idle: float, clock: Callable[[], float]) -> None:
        self._longest = longest
        self._idle = idle
        self._clock = clock

    @classmethod
    def of(cls, config: LuminConfig, clock: Callable[[], float]) -> Self:
        """Those of the sessions that browsers have."""
        return cls(config.absolute_timeout, config.idle_timeout, clock)

    def lasts(self, told: float | None) -> float:
        """Seconds from its beginning in which any process may take it for one, given what it was told."""
        return self._longest if told is None else told

    def is_gone_at(self, began: float, lasts: float | None) -> float:
        """When no process takes it for one any more: until then it must be known what became of it."""
        return began + self.lasts(lasts)

    def ends_at(self, began: float, lasts: float | None) -> float:
        """When it is over here, however much it is used."""
        return began + min(self.lasts(lasts), self._longest)

    def idle(self, session: Session) -> float:
        """Seconds after it was written in which it must be used."""
        return self._idle if session.idle is None else min(session.idle, self._idle)

    def slides_at(self, session: Session) -> float:
        """When its use is to be written again."""
        return session.seen + self.idle(session) / SLIDES

    def is_past(self, session: Session) -> bool:
        """Whether it is over by the idle or the absolute limit, whatever the browser believes."""
        return self._clock() >= min(session.seen + self.idle(session), self.ends_at(session.began, session.lasts))

    def check(self, session: Session) -> None:
        """Raises `SessionEnded` where it is past one of them."""
        if self.is_past(session):
            raise SessionEnded("the session is past one of its limits", "expired")

    def max_age(self, session: Session) -> float:
        """Seconds for which what is written now is good, if nobody uses it."""
        return min(self._idle, self.ends_at(session.began, session.lasts) - self._clock())

    def told(self, session: Session) -> Session:
        """The session as it is written now: with its limits in it."""
        return dataclasses.replace(session, lasts=self.lasts(session.lasts), idle=self._idle)
