"""What follows from the names of a request's headers, in their order: found once for each of the few that come."""

from __future__ import annotations

from collections.abc import Callable
from typing import AnyStr, Generic, TypeVar

ORDERS_LIMIT = 128
"""Orders that are remembered. Browsers and programs have a handful; where more come, they are found anew."""

NAMES_LIMIT = 2000
"""Characters of all names of an order that is remembered: three times what browsers send through proxies. Longer ones
are somebody's who wants them kept."""

T = TypeVar("T")


class Orders(dict[tuple[AnyStr, ...], T], Generic[AnyStr, T]):
    """What `find` says of names, by the names."""

    def __init__(self, find: Callable[[tuple[AnyStr, ...]], T]) -> None:
        super().__init__()
        self._find: Callable[[tuple[AnyStr, ...]], T] = find

    def __missing__(self, names: tuple[AnyStr, ...]) -> T:
        found = self._find(names)
        if sum(map(len, names)) <= NAMES_LIMIT:
            if len(self) >= ORDERS_LIMIT:
                self.clear()
            self[names] = found
        return found
