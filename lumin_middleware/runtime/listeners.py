"""Whoever listens to events, told apart from the requests that bring them about.

Events wait in a queue that is bounded. A thread hands a plain function one after the other; an `async` function runs on
the event loop of its site, where there is one. A function that is too slow misses events, which are counted; one that
raises is told of in the log. No request ever waits for either, and none is what they are called in: they see nothing
of its context (`contextvars`). At the end of a process without a loop, what is still to be told is.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from weakref import WeakSet

from ..events import Event, Listener
from ..journal import Seldom, say
from .off_loop import OffLoop

LIMIT = 1_000
"""Events that wait: some 300 KB, and a burst that a listener of 1 ms has caught up with in a second."""

AT_EXIT = 5.0
"""Seconds that the end of a process waits for all its listeners: half of what Docker gives it until it is killed, since
a session may have to be saved as well."""


def _nobody(event: Event) -> None:
    """Nobody counts."""


class _Listeners:
    """What both kinds share: the queue, and what is said of a listener."""

    def __init__(
        self, listener: Listener | None, clock: Callable[[], float], count: Callable[[Event], None] = _nobody
    ) -> None:
        self._listener = listener
        self._count = count
        self._seldom = Seldom(clock)
        self._waiting: deque[Event] = deque()
        self.dropped = 0
        """How many events nobody heard of."""

    def _takes(self, event: Event) -> bool:
        """Whether an event waits by now."""
        self._count(event)
        if self._listener is None:
            return False
        if len(self._waiting) >= LIMIT:
            self.dropped += 1
            self._seldom.say("events_dropped", so_far=self.dropped)
            return False
        self._waiting.append(event)
        return True

    def _called(self, event: Event) -> object:
        """What the listener returns, in a thread that is nobody else's: there `SystemExit`, too, ends nothing."""
        try:
            return self._listener(event) if self._listener is not None else None
        except BaseException as error:  # noqa: BLE001  whatever it is, it is not the request's affair
            self._failed(error)
            return None

    def _failed(self, error: BaseException) -> None:
        self._seldom.say("listener_failed", error=type(error).__name__)


class LoopListeners(_Listeners):
    """On an event loop."""

    def __init__(
        self, listener: Listener | None, clock: Callable[[], float], count: Callable[[Event], None] = _nobody
    ) -> None:
        super().__init__(listener, clock, count)
        self._thread = OffLoop(1)
        self._task: asyncio.Task[None] | None = None

    def tell(self, event: Event) -> None:
        """As `ports.World.tell`; from this loop alone."""
        if self._takes(event) and (self._task is None or self._task.done()):
            # Not by the loop's task factory: an eager task would begin before the request goes on. And not in the
            # request's context: the events are others', too.
            self._task = asyncio.Task(self._deliver(), loop=asyncio.get_running_loop(), context=Context())

    async def _deliver(self) -> None:
        while self._waiting:
            await self._hand(self._waiting.popleft())

    async def _hand(self, event: Event) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            if inspect.iscoroutinefunction(listener):
                found: object = listener(event)
            else:
                found = await self._thread.call(self._called, event)
            if inspect.isawaitable(found):
                await found
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is not the request's affair
            self._failed(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the loop's end; else the listener says so by itself
                raise
            self._failed(error)

    async def aclose(self, patience: float) -> None:
        """Waits for what is still to be told, so many seconds at most."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self._task], timeout=patience)

    def let_go(self) -> None:
        """Ends the thread, after what it is in the midst of."""
        self._thread.let_go()


class ThreadListeners(_Listeners):
    """Without one, in a thread of its own."""

    def __init__(
        self, listener: Listener | None, clock: Callable[[], float], count: Callable[[Event], None] = _nobody
    ) -> None:
        super().__init__(listener, clock, count)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        _ALL.add(self)

    def tell(self, event: Event) -> None:
        """As `ports.World.tell`; from any thread."""
        with self._lock:
            if self._takes(event) and self._thread is None:
                # In a context of its own: whether a thread inherits that of who starts it is a setting of Python's.
                thread = threading.Thread(target=Context().run, args=[self._deliver], name="lumin-events", daemon=True)
                with suppress(RuntimeError):  # there are too many, or the process ends: it waits for the next one
                    thread.start()
                    self._thread = thread

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                event = self._waiting.popleft()
            self._hand(event)

    def _hand(self, event: Event) -> None:
        try:
            found = self._called(event)
            if inspect.iscoroutine(found):
                asyncio.run(found)
        except BaseException as error:  # noqa: BLE001  as in `_called`
            self._failed(error)

    def close(self, patience: float) -> None:
        """Waits for what is still to be told, so many seconds at most."""
        thread = self._thread
        if thread is not None:
            thread.join(patience)

    def leave(self) -> None:
        """Says what nobody heard of, since the process ends."""
        with self._lock:
            if left := len(self._waiting):
                self.dropped += left
                say("events_dropped", so_far=self.dropped)


_ALL: WeakSet[ThreadListeners] = WeakSet()

if hasattr(os, "register_at_fork"):  # a child is not to wait for what its parent's threads will tell
    os.register_at_fork(after_in_child=_ALL.clear)


@atexit.register
def _hear_out() -> None:
    """Threads that nobody waits for end with the process; what has no end itself (a script, WSGI) closes nothing."""
    until = time.monotonic() + AT_EXIT
    for each in list(_ALL):
        each.close(max(until - time.monotonic(), 0.0))
        each.leave()
