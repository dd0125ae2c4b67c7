"""What a process remembers, so that the next request need not open it again: bounded in bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

ENTRY_COST = 4000
"""Bytes that an entry costs beside its key: a session of Lumin's with its claims, as Python objects, has 3,000."""

GROWTH = 3
"""Bytes that a byte of a key costs: itself, and what it says as text once opened."""

T = TypeVar("T")


class Memo(Generic[T]):
    """What sealed bytes were found to hold. Whoever was used least recently goes first.

    Two halves, so that a look costs one step and neither order nor size is kept for each entry: what was used lately
    is in one, and when that is full it takes the place of the other, with all that nobody used since. Threads may use
    it at once; the worst that they do to each other is to forget.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._recent: dict[bytes, T] = {}
        self._older: dict[bytes, T] = {}
        self._size = 0

    def get(self, key: bytes) -> T | None:
        found = self._recent.get(key)
        if found is None and (found := self._older.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: bytes, value: T) -> None:
        size = cost(key)
        if size > self._half:
            return
        if self._size + size > self._half:
            self._older, self._recent, self._size = self._recent, {}, 0
        if key not in self._recent:
            self._size += size
        self._recent[key] = value

    def __len__(self) -> int:
        return len(self._recent.keys() | self._older.keys())


def cost(key: bytes) -> int:
    """Bytes that an entry costs."""
    return ENTRY_COST + GROWTH * len(key)
