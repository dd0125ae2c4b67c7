"""A circuit breaker: a server that does not answer costs a request microseconds, not a timeout.

It stands before one kind of request of one process. After the failures of a few in a row it opens, for short at first;
from then on one request in each pause is the probe, and whoever else comes is told at once when to come again. Only
silence counts, which is what `ServerUnavailable` says; a refusal is an answer, and proves the server alive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from ..errors import LuminError, ServerUnavailable
from .span import OVER, Span

FAILURES = 5
"""How many in a row must fail before it opens: more than a deployment behind a load balancer causes. One who fails
again and again is one: what the server has against somebody is nobody else's affair."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds between two probes, the first, the second and so on: a hiccup is over soon, and so is the last long pause."""

T = TypeVar("T")


class CircuitOpen(ServerUnavailable):
    """Nobody was asked, since the last who were had no answer."""

    def __init__(self, retry_after: float) -> None:
        message = "the token endpoint does not answer; it is left in peace"
        super().__init__(message, retry_after=retry_after, sent=False)


class CircuitBreaker:
    """Counts who had no answer of one endpoint."""

    def __init__(self, clock: Callable[[], float], opened: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._opened = opened
        """Called when it opens, and at each probe that fails: as long as nobody answers, that is to be seen."""
        self._failed: set[int] = set()
        self._rests = 0
        """How many pauses there were in a row; none while it is closed, and everybody passes."""
        self._pause = 0.0
        """Seconds after which those who come in a pause are to come again, at most."""
        self._rest = OVER

    def check(self) -> None:
        """Raises `CircuitOpen` while `call` would."""
        wait = self._rest.left(self._clock())
        if self._rests and wait > 0:
            raise CircuitOpen(min(wait, self._pause))

    async def call(self, who: Hashable, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result, for somebody. Raises `CircuitOpen` at once while it is open."""
        self.check()
        is_probe = self._rests > 0
        if is_probe:
            # It may take as long as a time limit, and be done at once: the others come again soon.
            self._rest, self._pause = Span(self._clock(), PAUSES[-1]), PAUSES[0]
        try:
            result = await operation()
        except ServerUnavailable as error:
            self._count(who, error, is_probe=is_probe)
            raise
        except LuminError:
            self._close()
            raise
        self._close()
        return result

    def _count(self, who: Hashable, error: ServerUnavailable, *, is_probe: bool) -> None:
        told = is_probe or not self._rests
        if not self._rests:
            self._failed.add(hash(who))  # what names somebody may be a secret, and is not kept
        # Those who were on their way when it opened say nothing more than those who opened it.
        if is_probe or error.said or (not self._rests and len(self._failed) >= FAILURES):
            self._pause = max(PAUSES[min(self._rests, len(PAUSES) - 1)], error.said)
            self._rest = Span(self._clock(), self._pause)
            self._rests += 1
            if told:
                self._opened()

    def _close(self) -> None:
        self._failed.clear()
        self._rests = 0
