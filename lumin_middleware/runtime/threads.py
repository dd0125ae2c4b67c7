"""The blocking side of the core's ports: for WSGI, where threads wait and nothing ever suspends.

A thread that waits can be cut short all the same: by a signal's handler that raises (RQ's and Celery's time limits,
gunicorn's abort), by `gevent.Timeout` and `kill`, by whoever raises an error in another thread. So what must come to
its end has a thread of its own, which nobody else knows, and which the end of the process waits for; under gevent it is
a greenlet.

A sign-in that asks the site's own `admit` stays where it is: an application's database may be one to a thread.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ..client import Api, no_challenge
from ..config import LuminConfig
from ..connections import blocking_api_client, tls_context
from ..errors import LuminError
from ..model import Wanted
from ..ports import Store, run
from .event_loop import DirectStore, awaited
from .exchange import Exchange
from .listeners import ThreadListeners
from .surroundings import warn_of_memory, workers
from .telemetry import telemetry, timed

T = TypeVar("T")


class _Closed(BaseException):
    """What went on beside the requests goes on no more."""


class ThreadWorld:
    """`ports.World` for all threads of one process."""

    def __init__(
        self,
        config: LuminConfig,
        store: Store,
        clock: Callable[[], float],
        challenge: Callable[[Any, Wanted], Any] = no_challenge,
        *,
        several: bool = False,
    ) -> None:
        warn_of_memory(store, several=several or workers() > 1)
        context = tls_context()
        self.telemetry = telemetry()
        self.store = timed(DirectStore(store, config.fingerprint), self.telemetry)
        self.exchange = Exchange(config, context, clock)
        self.clock = clock
        self.api = Api(blocking_api_client(config, context), challenge)
        self._listeners = ThreadListeners(config.on_event, clock, self.telemetry.event)
        self.tell = self._listeners.tell
        self._patience = config.timeout
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._making = threading.Lock()
        self._asks = callable(config.admit)
        self._own = threading.local()  # `is_safe` in a thread that is nobody else's, `is_beside` in one of `beside`
        self._closed = threading.Event()
        self._left: set[threading.Thread] = set()
        """Those whose waiter was cut short."""

    def token(self, size: int) -> str:
        return secrets.token_urlsafe(size)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        with self._making:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            yield

    def locked(self, key: str) -> bool:
        lock = self._locks.get(key)
        return lock is not None and lock.locked()

    def announce_end(self, session_id: str) -> None:
        """Nothing is served for long here: a thread is not to be had for that."""

    async def sleep(self, seconds: float) -> None:
        if not getattr(self._own, "is_beside", False):
            time.sleep(seconds)  # noqa: ASYNC251  the thread is what waits
        elif self._closed.wait(seconds):
            raise _Closed

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        if getattr(self._own, "is_safe", False) or (undo is not None and self._asks):
            return await action()
        done: Future[T] = Future()
        # Waited for in one step: an exception in the middle of a Future's own would leave its lock taken for ever.
        gate = threading.Lock()
        gate.acquire()
        done.add_done_callback(lambda _: gate.release())
        # In the waiter's context, as a task on an event loop: a span of its request is ours, too. No daemon, whatever
        # the waiter is: it may have spent a refresh token, and ends by itself, after its last try to save.
        thread = threading.Thread(
            target=copy_context().run, args=[self._work, done, action], name="lumin-shield", daemon=False
        )
        try:
            thread.start()
            gate.acquire()
            return done.result()
        except BaseException as error:
            if done.cancel():  # nothing has begun
                if type(error) is RuntimeError and thread.ident is None:  # too many threads, or the interpreter ends
                    return await action()
                raise
            if not (done.done() and done.exception() is error):  # it is the waiter's own end
                self._leave(thread, done, undo)
            raise
        finally:
            del done  # an error holds this frame, and it the error

    def _work(self, done: Future[T], action: Callable[[], Awaitable[T]]) -> None:
        if not done.set_running_or_notify_cancel():
            return
        self._own.is_safe = True
        try:
            try:
                result = run(awaited(action()))
            finally:
                _close_djangos()
        except BaseException as error:  # noqa: BLE001  it is the waiter's
            done.set_exception(error)
        else:
            done.set_result(result)
        finally:
            del done

    def _leave(self, thread: threading.Thread, done: Future[T], undo: Callable[[T], Awaitable[object]] | None) -> None:
        """Nobody waits for it any more: what it brings is undone in that thread, or here where it has ended."""

        def take_back(done: Future[T]) -> None:
            with suppress(LuminError):  # of the action, which then left nothing; undoing does what it can
                if undo is not None:
                    run(awaited(undo(done.result())))

        self._left.add(thread)
        done.add_done_callback(take_back)
        done.add_done_callback(lambda _: self._left.discard(thread))

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        def work() -> None:
            self._own.is_beside = True
            try:
                with suppress(_Closed):
                    run(awaited(action()))
            finally:
                _close_djangos()

        try:
            threading.Thread(target=work, name="lumin-beside", daemon=True).start()
        except RuntimeError:  # no thread is to be had, or the interpreter ends
            return False
        return True

    def settle(self) -> None:
        """Waits for what nobody waits for any more, so that whoever ends the process knows what came of it."""
        until = time.monotonic() + self._patience
        for thread in list(self._left):
            thread.join(max(until - time.monotonic(), 0.0))

    def close(self) -> None:
        self._closed.set()
        self._listeners.close(self._patience)
        self.exchange.close()
        self.api.http.close()


def _close_djangos() -> None:
    """Django keeps a connection for each thread, and closes those of requests. A site's `admit` may have asked it."""
    django = sys.modules.get("django.db")
    if django is not None and sys.modules["django.conf"].settings.configured:
        with suppress(Exception):  # what a database says at parting changes nothing
            django.connections.close_all()
