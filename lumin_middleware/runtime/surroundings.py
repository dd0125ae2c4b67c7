"""What a process can see of where it runs: how many workers there are, and what time it is elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from ..journal import once, say
from ..stores import MemoryStore

CLOCK_LIMIT = 30.0
"""Seconds by which two clocks may differ unnoticed: half of what ID tokens forgive, and more than answers take."""

_WORKERS = re.compile(r"(?:-w|--workers|--web-concurrency|--processes)(?:=?(\d+))?")


def workers(environ: Mapping[str, str] = os.environ, arguments: Sequence[str] = sys.argv) -> int:
    """How many workers the server was told to have: by its options, or by `WEB_CONCURRENCY`; 1 where nobody says."""
    for position, argument in enumerate(arguments):
        if found := _WORKERS.fullmatch(argument):
            number = found[1] or next(iter(arguments[position + 1 : position + 2]), "")
            return int(number) if number.isdecimal() else 1
    number = environ.get("WEB_CONCURRENCY", "")
    return int(number) if number.isdecimal() else 1


def warn_of_memory(store: object, *, several: bool) -> None:
    """Says that a store in memory is not one store, where there are several workers."""
    if several and isinstance(store, MemoryStore):
        say("memory_not_shared")


class ClockWatch:
    """Compares our clock with the server's, which each of its answers tells (RFC 9110, 6.6.1)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._once = once(clock)

    def compare(self, date: str) -> None:
        """Says once that they differ. What is no date says nothing."""
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        if abs(ahead := self._clock() - theirs) > CLOCK_LIMIT:
            self._once.say("clock_differs", ours_is_ahead_by=f"{ahead:.0f} s")
