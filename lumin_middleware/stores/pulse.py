"""Whether an event loop was there while it waited for an answer.

A client that goes by the clock sees its time pass on a loop that stood still for longer, and does not see the answer
that has come meanwhile. A second try is right then; where a server says nothing it would only be another wait.
"""

from __future__ import annotations

import asyncio
from typing import Self

TICK = 0.1
"""Seconds between two signs of life of a loop that waits."""


class Pulse:
    """The signs of life of the loop that runs, as long as this is entered."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._beats = 0

    def __enter__(self) -> Self:
        self._next = self._loop.call_later(TICK, self._beat)
        return self

    def __exit__(self, *raised: object) -> None:
        self._next.cancel()

    def _beat(self) -> None:
        self._beats += 1
        self._next = self._loop.call_later(TICK, self._beat)

    def was_missing(self) -> bool:
        """For more than half of the time until now, half of which a server that is well does not need."""
        return self._beats * TICK < (self._loop.time() - self._began) / 2
