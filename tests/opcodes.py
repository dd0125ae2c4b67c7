"""What something costs in steps of Python's own machine, which a busy machine does not change.

What C does inside one step is not counted: a look through 8 KB of text is one. Nor is what others left to the
collector, whose last words would be counted as somebody's steps.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Count:
    """Steps so far."""

    steps = 0


@contextmanager
def counted() -> Iterator[Count]:
    """Counts the steps of whatever is called inside. From Python 3.12 on it misses some of what it meets first."""
    count = Count()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            count.steps += 1
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()


async def steps(call: Callable[[], Awaitable[object]]) -> int:
    """The steps of one call, when it was made, and counted, before."""
    await call()
    for _ in range(2):
        with counted() as count:
            await call()
    return count.steps
