"""The blocking side of the core's ports: for WSGI, where threads wait and nothing ever suspends."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ..client import Api, no_challenge
from ..config import LuminConfig
from ..connections import blocking_api_client, tls_context
from ..model import Wanted
from ..ports import Store
from .event_loop import DirectStore
from .exchange import Exchange
from .listeners import ThreadListeners
from .surroundings import warn_of_memory, workers
from .telemetry import telemetry, timed

T = TypeVar("T")


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
        time.sleep(seconds)  # noqa: ASYNC251  the thread is what waits

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        return await action()  # nobody can cancel a thread

    def close(self) -> None:
        self._listeners.close(self._patience)
        self.exchange.close()
        self.api.http.close()
