"""The store of a site's settings: one that they name, opened by the process that uses it, or one that they hold.

A master that runs as root may start workers that do not (`gunicorn --preload --user`), and a file that root makes is
closed to them. So root opens nothing until it is used; anybody else at once, so that a wrong path fails at start.

Whoever opened a store closes it: we the one that is named, and the application its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import anyio.to_thread

from ..errors import ConfigurationError
from ..ports import AsyncStore, Store, is_asynchronous
from .url import store_opener


class NamedStore:
    """The store at `url`: the same one for all threads and event loops of a process.

    Arguments and errors are those of `store_from_url`. A call gives the store, and raises what opening it does. After
    it was closed, the next call opens it anew.
    """

    def __init__(
        self, url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._open = store_opener(url, asynchronous=asynchronous, fingerprint=fingerprint, clock=clock)
        self._opening = threading.Lock()
        self._opened: tuple[int, Store | AsyncStore] | None = None
        if _user() != 0:
            self()

    def __call__(self) -> Store | AsyncStore:
        user = _user()
        with self._opening:
            if self._opened is None or self._opened[0] != user:
                self._opened = user, self._open()
            return self._opened[1]

    def close(self) -> None:
        """Gives back what this process has open of a blocking store. One in memory is kept, with what it holds."""
        with self._opening:
            close = getattr(self._opened and self._opened[1], "close", None)
            if close is not None:
                self._opened = None
                close()

    async def aclose(self, *, in_use: bool = False) -> None:
        """The same on an event loop. Of an asynchronous store, the connections of the loop that runs.

        `in_use` says that other loops of this process are served: a store that they share with this one stays open.
        """
        aclose = getattr(self._opened and self._opened[1], "aclose", None)
        if aclose is not None:
            await aclose()
        elif not in_use:
            await anyio.to_thread.run_sync(self.close)  # it may wait, and Django's refuses to on a loop


class GivenStore:
    """A store that the application made. It is the application that closes it."""

    def __init__(self, store: Store | AsyncStore) -> None:
        self._store = store

    def __call__(self) -> Store | AsyncStore:
        return self._store

    def close(self) -> None: ...

    async def aclose(self, *, in_use: bool = False) -> None: ...


def of_setting(
    store: str | Store | AsyncStore, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float]
) -> NamedStore | GivenStore:
    """What gives a site the store of its setting `store`, and closes it.

    `asynchronous` says that there is an event loop. Raises `ConfigurationError` where there is none and the store needs
    one; arguments and errors are else those of `store_from_url`.
    """
    if isinstance(store, str):
        return NamedStore(store, asynchronous=asynchronous, fingerprint=fingerprint, clock=clock)
    if not asynchronous and is_asynchronous(store):
        cure = "WSGI and `Grants` need the blocking kind, such as RedisStore"
        raise ConfigurationError("store", f"is asynchronous, and there is no event loop; {cure}")
    return GivenStore(store)


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
