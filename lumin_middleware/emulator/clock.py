"""The emulator's clock: one that lifetimes are measured with, and one that may be wrong."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Called, it gives the time that lifetimes are measured with, in epoch seconds.

    `shown()` is what the server writes on what it issues: the same time plus `skew` seconds.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self.skew = 0.0

    def __call__(self) -> float:
        return self._source()

    def shown(self) -> float:
        return self._source() + self.skew
