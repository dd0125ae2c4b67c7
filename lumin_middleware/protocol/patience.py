"""Patience: a failure that is over soon is felt as a pause, not as an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import ServerUnavailable
from ..ports import World

PATIENCE = 3.0
"""Seconds that a request waits at most until it may ask again. A person takes it for a slow page, and a proxy, a
browser or a worker's time limit do not mind; it covers the first two pauses, of 1 and of 2 seconds."""

T = TypeVar("T")


async def patiently(
    world: World, limit: float, attempt: Callable[[], Awaitable[T]], kind: type[ServerUnavailable]
) -> T:
    """The result of an attempt, which is made again after each error of that `kind` that says "soon".

    The time that the attempts themselves take counts: what a server in silence has used up is not added to. `limit` is
    how long one answer may take, in seconds: who wants it sooner than `PATIENCE` waits no longer for a pause, either.
    """
    left = min(PATIENCE, limit)
    while True:
        began = world.clock()
        try:
            return await attempt()
        except kind as error:
            left -= error.retry_after + max(world.clock() - began, 0.0)
            if left < 0:
                raise
            await world.sleep(error.retry_after)
