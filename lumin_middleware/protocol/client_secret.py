"""What becomes of `invalid_client`: whether our secret is wrong, or the server cannot look it up.

Hydra says the same to both: without its database it answers 401 `invalid_client` to everybody. Nobody can tell the two
apart from one answer. So a secret that worked a moment ago is presumed right until the trouble lasts.
"""

from __future__ import annotations

from collections.abc import Callable

from ..journal import Seldom
from .span import OVER, Span

TRUST = 300.0
"""Seconds for which a secret that has worked is presumed right: longer than a database takes to come back."""


class ClientSecret:
    """What the answers of the token endpoint say about our secret."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._trusted = OVER
        self._seldom = Seldom(clock)

    def worked(self) -> None:
        """The server knew us."""
        self._trusted = Span(self._clock(), TRUST)

    def refused(self) -> None:
        """The server said `invalid_client`; the log hears of it: WARNING at first, CRITICAL when it lasts."""
        is_trusted = self._trusted.left(self._clock()) > 0
        self._seldom.say("client_doubted" if is_trusted else "invalid_client")
