"""What blocks, called off the event loop: in threads that end with the process.

anyio ends its own when that task is done which it takes for the root of the loop, and until then they keep the process.
Where the loop is run by another's hands (under Daphne by Twisted's reactor), it is whichever task asked first: a loop
that stops in the midst of it, as of a renewal, left a process that never ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        work: Callable[[], T] = partial(copy_context().run, function, *arguments)
        done: Future[T] = Future()
        turns = iter([None])

        def turn() -> None:
            for _ in turns:  # whoever takes it does it, and nobody else
                if done.set_running_or_notify_cancel():
                    _fulfil(done, work)

        try:
            self._threads.submit(turn)
        except RuntimeError:  # they take no more by then, or none can start: it may be another's turn all the same
            _apart(turn)
        with anyio.CancelScope(shield=True):
            return await asyncio.wrap_future(done)

    def let_go(self) -> None:
        """Ends the threads, each as soon as nobody waits for it. Another call makes new ones."""
        threads, self._threads = self._threads, self._make()
        threads.shutdown(wait=False)


def _fulfil(done: Future[T], work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001  it is the waiter's
        done.set_exception(error)


def _apart(action: Callable[[], None]) -> None:
    """In the loop's own thread as if there was no loop: Django refuses to block one."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        action()
    finally:
        asyncio._set_running_loop(loop)
