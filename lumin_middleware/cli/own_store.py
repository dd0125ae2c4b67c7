"""A store object that an application made, for a command, which has no event loop of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..ports import AsyncStore, Store, is_asynchronous


@contextmanager
def spoken_to(store: Store | AsyncStore) -> Iterator[Store]:
    """The store; one that is asynchronous works on an event loop in a thread of its own, and is closed afterwards."""
    if not is_asynchronous(store):
        yield cast("Store", store)
        return
    found: Any = store
    with start_blocking_portal() as portal:
        try:
            yield _OnALoop(found, portal)
        finally:
            if hasattr(found, "aclose"):
                portal.call(found.aclose)


class _OnALoop:
    """An `AsyncStore` as a `Store`."""

    def __init__(self, store: AsyncStore, portal: BlockingPortal) -> None:
        self._store = store
        self._portal = portal

    def get(self, key: str) -> bytes | None:
        return self._portal.call(self._store.get, key)

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return self._portal.call(self._store.swap, key, old, new, ttl)
