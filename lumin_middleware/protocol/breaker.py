"""A circuit breaker: a server that does not answer costs a request microseconds, not a timeout.

It stands before the token endpoint of one process. After a few failures in a row it opens; from then on one
request in each pause is the probe, and whoever else comes is told at once when to come again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import LuminError, ServerUnavailable

FAILURES = 5
"""Failures in a row that open it: more than a deployment behind a load balancer causes."""

PAUSE = 10.0
"""Seconds between two probes, so that a server that is back is noticed soon."""

T = TypeVar("T")


class CircuitOpen(ServerUnavailable):
    """Nobody was asked, since the last who were had no answer."""


class CircuitBreaker:
    """Counts the failures of one endpoint."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._probe_at = float("-inf")

    def check(self) -> None:
        """Raises `CircuitOpen` while `call` would."""
        wait = self._probe_at - self._clock()
        if self._failures >= FAILURES and wait > 0:
            raise CircuitOpen("the token endpoint does not answer; it is left in peace", retry_after=wait)

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result. Raises `CircuitOpen` at once while it is open."""
        self.check()
        if self._failures >= FAILURES:
            self._probe_at = self._clock() + PAUSE  # this is the probe; the others wait for what becomes of it
        try:
            result = await operation()
        except ServerUnavailable:
            self._failures += 1
            self._probe_at = self._clock() + PAUSE
            raise
        except LuminError:  # a refusal is an answer
            self._failures = 0
            raise
        self._failures = 0
        return result
