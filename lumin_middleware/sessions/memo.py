"""What a process remembers, so that the next request need not open it again: bounded in bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

ENTRY_COST = 400
"""Bytes that an entry costs beside its key and its value: a place in the order, and what says how large it is."""

T = TypeVar("T")


RECKONED_ANEW = 4096
"""Changes after which the size is reckoned anew: threads that change it at once may each miss what another did."""

AT_ONCE = 128
"""The part of all entries, by number, that goes at once: to list them all for each that goes would take longer than
to open it again."""


class Memo(Generic[T]):
    """What sealed bytes were found to hold. Whoever was used least recently goes first.

    `size` is what a value costs in bytes. Threads may use it at once; the worst that they do to each other is to
    forget, and to hold a few entries more until the size is reckoned anew.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In the order of their last use: each is taken out and put in again at the end. An `OrderedDict` would write to
        # the neighbours of each as well, which with many people are far from the processor.
        self._entries: dict[bytes, tuple[T, int]] = {}
        self._newest = b""
        """Who is the last of them already: a dict that is small is made anew after a few that are put in again."""
        self._size = 0
        self._changes = 0

    def get(self, key: bytes) -> T | None:
        if key == self._newest:
            found = self._entries.get(key)
            return None if found is None else found[0]
        found = self._entries.pop(key, None)
        if found is None:
            return None
        self._entries[key] = found
        self._newest = key
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
        self._newest = key
        self._size += whole
        self._changes += 1
        if self._changes >= RECKONED_ANEW:
            self._changes, self._size = 0, sum(size for _, size in list(self._entries.values()))
        if self._size > self._limit:
            self._make_room()

    def _make_room(self) -> None:
        least = len(self._entries) // AT_ONCE
        for number, key in enumerate([*self._entries]):
            if number >= least and self._size <= self._limit:
                break
            gone = self._entries.pop(key, None)
            if gone is not None:  # else another thread was here
                self._size -= gone[1]

    def __len__(self) -> int:
        return len(self._entries)


def cost(key: bytes, size: int = 0) -> int:
    """Bytes that an entry costs."""
    return ENTRY_COST + len(key) + size
