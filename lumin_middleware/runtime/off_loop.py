"""What blocks, called off the event loop: in threads that end with the process.

anyio ends its own when that task is done which it takes for the root of the loop, and until then they keep the process.
Where the loop is run by another's hands (under Daphne by Twisted's reactor), it is whichever task asked first: a loop
that stops in the midst of it, as of a renewal, left a process that never ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class OffLoop:
    """So many threads at most. What they are in the midst of when the process ends, they finish."""

    def __init__(self, threads: int) -> None:
        self._make = partial(ThreadPoolExecutor, threads, "lumin-off-loop")
        self._threads = self._make()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:  # type: ignore[return]
        """What it returns or raises, in the context of whoever waits; at the end of the process in this thread.

        A time limit of anyio's does not cut it short, as a swap whose outcome nobody knew.
        """
        turn: list[Callable[[], T]] = [partial(copy_context().run, function, *arguments)]
        try:
            done = self._threads.submit(lambda: turn.pop()())  # whoever takes it does it, and nobody else
        except RuntimeError:  # they take no more by then, or none can start
            if not turn:
                raise
            return turn.pop()()
        with anyio.CancelScope(shield=True):
            return await asyncio.wrap_future(done)

    def let_go(self) -> None:
        """Ends the threads, each as soon as nobody waits for it. Another call makes new ones."""
        threads, self._threads = self._threads, self._make()
        threads.shutdown(wait=False)
