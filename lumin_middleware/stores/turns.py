"""Who may use one of a few connections at once: first come, first served.

The queues that lie nearer let whoever comes overtake those who wait (a semaphore of threads, redis-py's pools): with
more callers than connections some would wait for longer than anybody has patience, while each connection is free a
thousand times a second.

A caller waits for the limit twice, and keeps its place meanwhile. After a process, or a loop, that stood still for so
long, the first time is over for everybody at once, whose turn it would have been or not.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from ..errors import StoreUnavailable


class _Turns:
    """`count` callers at once; `limit` is in seconds, or None for no end. `system` is what they use, for the error."""

    def __init__(self, system: str, count: int, limit: float | None) -> None:
        self._system = system
        self._count = count
        self._limit = limit

    def _none(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._system}: no connection became free within twice {self._limit:g} seconds")


class Turns(_Turns):
    """Turns of the threads of one process; a child needs new ones, for nobody there gives back what was taken."""

    def __init__(self, system: str, count: int, limit: float | None) -> None:
        super().__init__(system, count, limit)
        self._lock = threading.Lock()
        self._waiting: OrderedDict[threading.Event, None] = OrderedDict()
        self._served: set[threading.Event] = set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Waits for a turn, and has it for as long as the block lasts. Raises `StoreUnavailable`."""
        mine = threading.Event()
        try:
            self._come(mine)
            if not any(mine.wait(self._limit) for _ in range(2)):
                raise self._none()
            yield
        finally:  # be it that the thread is interrupted while it waits
            self._leave(mine)

    def _come(self, mine: threading.Event) -> None:
        with self._lock:
            self._waiting[mine] = None
            self._call()

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            self._waiting.pop(mine, None)
            self._served.discard(mine)
            self._call()

    def _call(self) -> None:
        while self._waiting and len(self._served) < self._count:
            first = next(iter(self._waiting))
            self._served.add(first)
            first.set()
            del self._waiting[first]


class AsyncTurns(_Turns):
    """Turns of the tasks of one event loop, whose own semaphore is fair."""

    def __init__(self, system: str, count: int, limit: float | None) -> None:
        super().__init__(system, count, limit)
        self._turns = asyncio.Semaphore(count)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """As `Turns.one`."""
        await self._wait()
        try:
            yield
        finally:
            self._turns.release()

    async def _wait(self) -> None:
        if self._limit is None or not self._turns.locked():
            await self._turns.acquire()
            return
        loop, limit = asyncio.get_running_loop(), self._limit
        try:
            async with asyncio.timeout(None) as patience:
                again = loop.call_later(limit, lambda: patience.reschedule(loop.time() + limit))
                try:
                    await self._turns.acquire()
                finally:
                    again.cancel()
        except TimeoutError:
            raise self._none() from None
