"""What a process remembers of the latest of many; the oldest go first.

Threads share it without a lock. So each step on it is one that no other thread can interrupt: no loop looks at what
another may change meanwhile.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Latest(dict[str, T]):
    """At most `limit` of them."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def put(self, key: str, value: T) -> bool:
        """Remembers this as the latest; whether another had to be forgotten for it."""
        self.pop(key, None)
        self[key] = value
        surplus = len(self) - self.limit
        if surplus <= 0:
            return False
        forgotten = [self.pop(each, None) for each in list(self)[:surplus]]
        return any(each is not None for each in forgotten)

    def drop(self, key: str, value: T) -> None:
        """Forgets this, and nothing that was remembered since in its place."""
        found = self.pop(key, None)
        if found is not None and found is not value:
            self.setdefault(key, found)

    def all(self) -> list[T]:
        """The oldest first."""
        return list(self.copy().values())
