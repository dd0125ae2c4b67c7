"""What a process remembers, so that the next request need not open it again: bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Generic, TypeVar

ENTRY_COST = 400
"""Bytes that an entry costs beside its key and its value: a place in the order, and what says how large it is."""

T = TypeVar("T")


RECKONED_ANEW = 4096
"""Changes after which the size is reckoned anew: threads that change it at once may each miss what another did."""


class Memo(Generic[T]):
    """What sealed bytes were found to hold. Whoever was used least recently goes first.

    `size` is what a value costs in bytes. Threads may use it at once; the worst that they do to each other is to
    forget, and to hold a few entries more until the size is reckoned anew.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[bytes, tuple[T, int]] = OrderedDict()
        self._size = 0
        self._changes = 0

    def get(self, key: bytes) -> T | None:
        found = self._entries.get(key)
        if found is None:
            return None
        try:  # noqa: SIM105  each request comes here, and `suppress` costs what all the rest does
            self._entries.move_to_end(key)
        except KeyError:  # another thread has just made room
            pass
        return found[0]

    def put(self, key: bytes, value: T, size: int = 0) -> None:
        """Remembers it in place of what was there; what is larger than all may be, is not kept."""
        whole = cost(key, size)
        before = self._entries.pop(key, None)
        if before is not None:
            self._size -= before[1]
        if whole > self._limit:
            return
        self._entries[key] = value, whole
        self._size += whole
        self._changes += 1
        if self._changes >= RECKONED_ANEW:
            self._changes, self._size = 0, sum(size for _, size in list(self._entries.values()))
        with suppress(KeyError):  # other threads have emptied it
            while self._size > self._limit:
                self._size -= self._entries.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._entries)


def cost(key: bytes, size: int = 0) -> int:
    """Bytes that an entry costs."""
    return ENTRY_COST + len(key) + size
