"""What a process remembers, so that the next request need not open it again: bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

ENTRY_COST = 400
"""Bytes that an entry costs beside its key and what it holds: a place in the order, and what says how large it is."""

RECKONED_ANEW = 4096
"""Changes after which the size is reckoned anew: threads that change it at once may each miss what another did."""

AT_ONCE = 128
"""The part of all entries, by number, that goes at once: to list them all for each that goes would take longer than
to open it again."""


CHANCES = 10_000
"""Entries at the most that stay for another round before one of them goes all the same: to look at so many takes some
eight milliseconds, in which nobody else is served."""


@dataclass(slots=True)
class Entry:
    """That something is remembered; what else there is to know is for classes below this one."""

    used: bool = field(default=False, init=False, repr=False, compare=False)
    """Whether somebody asked for it since it was last looked at for its going."""
    cost: int = field(default=0, init=False, repr=False, compare=False)
    """Bytes that it was put in with."""


T = TypeVar("T", bound=Entry)


class Memo(Generic[T]):
    """What is known by a key: of sealed bytes, what they hold. Whom nobody asked for lately goes first.

    It is the clock algorithm: in the order in which they were put in, each that was used stays for another round, and
    the others go. Who is asked for is only marked: to put each in order every time is felt where there are many.
    Threads may use it at once; the worst that they do to each other is to forget, and to hold a few entries more until
    the size is reckoned anew.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[bytes, T] = {}
        self.look: Callable[[bytes], T | None] = self._entries.get
        """What is known by a key. Whoever makes use of it marks it as `used`, as `get` does."""
        self._size = 0
        self._changes = 0

    def get(self, key: bytes) -> T | None:
        found = self._entries.get(key)
        if found is not None:
            found.used = True
        return found

    def put(self, key: bytes, entry: T, size: int = 0) -> None:
        """Remembers it in place of what was there; what is larger than all may be, is not kept. `size` is what it holds
        in bytes."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._size -= before.cost
        entry.cost = cost(key, size)
        if entry.cost > self._limit:
            return
        self._changes += 1
        if self._changes >= RECKONED_ANEW:
            self._changes, self._size = 0, sum(each.cost for each in [*self._entries.values()])
        if self._size + entry.cost > self._limit:
            self._make_room(self._limit - entry.cost)
        self._entries[key] = entry
        self._size += entry.cost

    def _make_room(self, limit: int) -> None:
        least = len(self._entries) // AT_ONCE
        chances = CHANCES
        while self._size > limit and self._entries:
            for key in [*self._entries]:
                if least <= 0 and self._size <= limit:
                    break
                entry = self._entries.pop(key, None)
                if entry is None:  # another thread was here
                    continue
                if entry.used and chances:
                    chances -= 1
                    entry.used = False
                    self._entries[key] = entry
                else:
                    self._size -= entry.cost
                    least -= 1

    def __len__(self) -> int:
        return len(self._entries)


def cost(key: bytes, size: int = 0) -> int:
    """Bytes that an entry costs."""
    return ENTRY_COST + len(key) + size
