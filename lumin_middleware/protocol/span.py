"""Spans of time, by a clock that may be set right meanwhile.

An instant that was noted while the clock was hours ahead is hours away once it is right. So what ends is remembered by
its beginning and its length: whatever begins later than now never began, and no more than the length is ever left.
"""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """So many seconds from an instant on, which is in epoch seconds."""

    began: float
    seconds: float

    def left(self, now: float) -> float:
        """Seconds until it is over; none before it has begun."""
        gone = now - self.began
        return max(self.seconds - gone, 0.0) if gone >= 0 else 0.0


OVER = Span(0.0, 0.0)
"""One of which nothing is left at any time."""
