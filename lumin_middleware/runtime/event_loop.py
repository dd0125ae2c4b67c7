"""The event loop's side of the core's ports: stores, order, sleep, shield, and the connections of one loop."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from functools import cached_property, partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import httpx2

from ..authorization import Holder
from ..client import Api, LuminClient, no_challenge
from ..config import LuminConfig
from ..connections import api_client, blocking_api_client, tls_context
from ..errors import ClientMisused, LuminError
from ..model import Session, Wanted
from ..ports import AsyncStore, Glance, Store, is_asynchronous
from .exchange import AsyncExchange
from .listeners import LoopListeners
from .off_loop import OffLoop
from .surroundings import warn_of_memory, workers
from .telemetry import telemetry, timed

T = TypeVar("T")

THREADS = 20
"""Threads that wait for a synchronous store at once, apart from those of the application."""


# What a site sees of a store is its own part: each key ends in the site's fingerprint, so that sites which share one
# can neither read nor overwrite each other's.


def _glance(store: Store, site: str) -> Glance | None:
    """`ports.Glance` of a store, if it never makes anybody wait."""
    may_wait = getattr(store, "blocking", True) and not getattr(store, "instant_get", False)
    return None if may_wait else Glance(store.get, site)


class DirectStore:
    """A synchronous store whose verbs never wait, called as it is."""

    def __init__(self, store: Store, site: str) -> None:
        self._store = store
        self._site = f"@{site}"
        self.local = getattr(store, "local", False)
        self.glance = _glance(store, self._site)

    async def get(self, key: str) -> bytes | None:
        return self._store.get(key + self._site)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return self._store.swap(key + self._site, old, new, ttl)


class ThreadedStore:
    """A synchronous store, called in threads of its own; but where a look is a matter of microseconds, directly."""

    def __init__(self, store: Store, site: str, threads: OffLoop) -> None:
        self._store = store
        self._site = f"@{site}"
        self._threads = threads
        self.local = getattr(store, "local", False)
        self._direct = getattr(store, "instant_get", False)
        self.glance = _glance(store, self._site)

    async def get(self, key: str) -> bytes | None:
        if self._direct:  # the way to a thread and back takes 50 µs
            return self._store.get(key + self._site)
        return await self._threads.call(self._store.get, key + self._site)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return await self._threads.call(self._store.swap, key + self._site, old, new, ttl)


class AwaitedStore:
    """An asynchronous store."""

    def __init__(self, store: AsyncStore, site: str) -> None:
        self._store = store
        self._site = f"@{site}"
        self.local = getattr(store, "local", False)

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(key + self._site)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return await self._store.swap(key + self._site, old, new, ttl)


def site_store(store: Store | AsyncStore, site: str, threads: OffLoop) -> AsyncStore:
    """The part of the store that is this site's, as the loop can use it. `site` is the fingerprint of its settings."""
    if is_asynchronous(store):
        return AwaitedStore(store, site)  # type: ignore[arg-type]
    if getattr(store, "blocking", True):
        return ThreadedStore(store, site, threads)  # type: ignore[arg-type]
    return DirectStore(store, site)  # type: ignore[arg-type]


class FromThread:
    """The holder of a session that an event loop renews, asked from a thread."""

    def __init__(self, holder: Holder, loop: asyncio.AbstractEventLoop) -> None:
        self._holder = holder
        self._loop = loop

    @property
    def session(self) -> Session | None:
        return self._holder.session

    @property
    def failed(self) -> LuminError | None:
        return self._holder.failed

    @failed.setter
    def failed(self, error: LuminError | None) -> None:
        self._holder.failed = error

    async def fresh(self, *, rejected: str | None = None) -> Session:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise ClientMisused("the blocking client would stop the event loop; call the client itself, with await")
        return asyncio.run_coroutine_threadsafe(self._holder.fresh(rejected=rejected), self._loop).result()


class AsyncWorld:
    """`ports.World` on one event loop."""

    def __init__(
        self,
        config: LuminConfig,
        store: Store | AsyncStore,
        clock: Callable[[], float],
        challenge: Callable[[Any, Wanted], Any] = no_challenge,
    ) -> None:
        context = tls_context()
        self.telemetry = telemetry()
        self._threads = OffLoop(THREADS)
        self.store = timed(site_store(store, config.fingerprint, self._threads), self.telemetry)
        self.exchange = AsyncExchange(config, context, clock)
        self.clock = clock
        warn_of_memory(store, several=workers() > 1)
        self._challenge = challenge
        self.api = Api(api_client(config, context), challenge, self._blocking_client)
        self.loop = asyncio.get_running_loop()
        self.process = os.getpid()
        """Whose end it has: to a child that is forked, all this is its parent's."""
        self._listeners = LoopListeners(config.on_event, clock, self.telemetry.event)
        self.tell = self._listeners.tell
        self._make_blocking_http = partial(blocking_api_client, config, context)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._shielded: set[asyncio.Future[Any]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self.patience = config.timeout
        """Seconds that the end of all this may take."""

    @cached_property
    def _blocking_http(self) -> httpx2.Client:
        """The API's connections for threads of the application, made when one asks."""
        return self._make_blocking_http()

    def _blocking_client(self, holder: Holder) -> LuminClient:
        """A client for a thread of the application, on whose behalf this loop renews."""
        api = Api(self._blocking_http, lambda _, wanted: self._challenge(holder, wanted))
        return LuminClient(FromThread(holder, self.loop), api)

    def token(self, size: int) -> str:
        return secrets.token_urlsafe(size)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def locked(self, key: str) -> bool:
        lock = self._locks.get(key)
        return lock is not None and lock.locked()

    def announce_end(self, session_id: str) -> None:
        for event in self._waiting.get(session_id, ()):
            event.set()

    @contextmanager
    def listening(self, session_id: str) -> Iterator[asyncio.Event]:
        """What is set when the end of a session is announced in this process, from now on."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(session_id, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(session_id, None)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        task = self._keep(action())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if undo is not None and not task.cancelled():
                self._keep(self._undo(task, undo))
            raise

    async def _undo(self, task: asyncio.Future[T], undo: Callable[[T], Awaitable[object]]) -> None:
        with suppress(LuminError):  # of the action, which then left nothing; undoing does what it can
            await undo(await task)

    def _keep(self, coroutine: Awaitable[T]) -> asyncio.Future[T]:
        """A task that is not lost: the loop itself holds tasks weakly."""
        task = asyncio.ensure_future(coroutine)
        self._shielded.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._shielded.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        task = self.loop.create_task(awaited(action()), context=Context())  # no part of the request that began it
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return True

    async def settle(self, until: float) -> bool:
        """Waits for what must not be cut short, until then by the loop's time; whether there was anything."""
        if not self._shielded:
            return False
        await asyncio.wait(set(self._shielded), timeout=max(until - self.loop.time(), 0.0))
        return True

    async def aclose(self, until: float) -> None:
        """Closes the connections, after `settle`; listeners may take until then."""
        for task in self._beside:
            task.cancel()
        await self._listeners.aclose(max(until - self.loop.time(), 0.0))
        await self.exchange.aclose()
        await self.api.http.aclose()
        self._blocking_http.close()  # made now, if nobody had asked: who asks from here on finds them closed
        self.let_go()

    def let_go(self) -> None:
        """Ends the threads that wait for nothing: all that a closed loop has left."""
        self._threads.let_go()
        self._listeners.let_go()


async def awaited(action: Awaitable[T]) -> T:
    """A coroutine of whatever is to be awaited, for who takes nothing else."""
    return await action
