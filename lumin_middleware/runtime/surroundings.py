"""What a process can see of where it runs: how many workers there are, and what time it is elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

from ..journal import once, say
from ..stores import MemoryStore

CLOCK_LIMIT = 30.0
"""Seconds by which two clocks may differ unnoticed: half of what ID tokens forgive, and more than answers take."""

_WORKERS = re.compile(r"(?:-w|--workers|--web-concurrency|--processes)(?:=?(\d+))?")

_VARIABLES = ("UVICORN_WORKERS", "GRANIAN_WORKERS", "WEB_CONCURRENCY")
"""What servers read where no option says how many workers they have."""


def workers(environ: Mapping[str, str] = os.environ, arguments: Sequence[str] = sys.argv) -> int:
    """How many workers the server was told to have, or has, if those are more; 1 where nobody says."""
    return max(_told(environ, arguments), _siblings())


def _told(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """What its options say, or else its variables."""
    for words in (arguments, environ.get("GUNICORN_CMD_ARGS", "").split()):
        for position, word in enumerate(words):
            if found := _WORKERS.fullmatch(word):
                return _number(found[1] or next(iter(words[position + 1 : position + 2]), ""))
    return _number(next(filter(None, map(environ.get, _VARIABLES)), ""))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 1


def _siblings() -> int:
    """The workers of the gunicorn that made this process, whose settings may be a program; 0 where it is not seen."""
    if "gunicorn.arbiter" not in sys.modules:
        return 0
    parent = os.getppid()
    try:
        return len(Path(f"/proc/{parent}/task/{parent}/children").read_bytes().split())  # proc_pid_children(5)
    except OSError:  # of another system
        return 0


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
