"""A store in this process's memory: for one process, for tests, and where no file can be written.

It is shared by the threads of one process and by nobody else; after a fork each process has its own.
It never drops a living entry to make room (see `Store.swap`): when it is full of them, it says so.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from ..errors import StoreUnavailable

# Bytes that an entry costs beside its key and value: 250 by tracemalloc on CPython 3.11, and twice that
# where the queue is mostly of entries that were replaced.
ENTRY_OVERHEAD = 512


class MemoryStore:
    """Entries in a dict, at most `max_bytes` of them in all (keys, values and what holds them).

    The default of 128 MiB has room for 50,000 renewed sessions of a sealed 2 KB each. The bound
    counts bytes, not entries, so that a flood of small short-lived marks cannot crowd out sessions:
    it would take 250,000 of them at one time.

    `clock` gives epoch seconds. Raises `StoreUnavailable` when full.
    """

    blocking: ClassVar[bool] = False
    local: ClassVar[bool] = True

    def __init__(self, *, max_bytes: int = 128 * 1024 * 1024, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[bytes, float]] = {}  # key: (value, when it expires)
        self._queue: list[tuple[float, str]] = []  # a heap: the entry that expires first comes first
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """See `Store.get`. Takes no lock: reading a dict is one step."""
        entry = self._entries.get(key)
        if entry is None or entry[1] <= self._clock():
            return None
        return entry[0]

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`. Raises `StoreUnavailable` when living entries leave no room for `new`."""
        now = self._clock()
        with self._lock:
            self._drop_expired(now)
            if self.get(key) != old:
                return False
            if new is None or ttl <= 0:
                self._drop(key)
            else:
                self._put(key, new, now + ttl)
            return True

    def _put(self, key: str, value: bytes, expires_at: float) -> None:
        freed = _size(key, self._entries[key][0]) if key in self._entries else 0
        size = self._bytes - freed + _size(key, value)
        if size > self._max_bytes:
            raise StoreUnavailable(f"the memory store is full: {len(self._entries)} entries are alive")
        self._bytes = size
        self._entries[key] = (value, expires_at)
        heapq.heappush(self._queue, (expires_at, key))
        if len(self._queue) > 2 * len(self._entries) + 64:  # mostly of entries that were replaced
            self._queue = [(expires_at, key) for key, (_, expires_at) in self._entries.items()]
            heapq.heapify(self._queue)

    def _drop_expired(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            _, key = heapq.heappop(self._queue)
            entry = self._entries.get(key)
            if entry is not None and entry[1] <= now:  # else it was replaced by one that lives longer
                self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[0])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_OVERHEAD
