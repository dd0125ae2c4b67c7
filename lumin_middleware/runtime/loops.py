"""What there is once for each event loop: connections belong to the loop that they were made on.

And what was begun on a loop and must not be cut short is finished there: by whoever says that it ends, or else, where a
server just stops its loop (Daphne has no lifespan), at the end of the process.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from asyncio import get_running_loop
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from ..errors import ConfigurationError
from ..site.parts import Parts
from .event_loop import AsyncWorld

FOR_SAVING = 2.5
"""Seconds that are left of the patience at the end for what could not be saved: a store that hangs says so after two.
All of it takes `timeout` then, 10 seconds unless that is set, and so long Docker waits before it kills."""


class Site(Protocol):
    """What serves on a loop."""

    @property
    def parts(self) -> Parts: ...


S = TypeVar("S", bound=Site)


class Loops(Generic[S]):
    """The sites of a process by their loops, each with its world; `make` makes one for the loop that runs."""

    def __init__(self, make: Callable[[], tuple[S, AsyncWorld]]) -> None:
        _ALL.add(self)
        self._make = make
        self.found: dict[asyncio.AbstractEventLoop, tuple[S, AsyncWorld]] = {}
        """Those that there are."""

    def here(self) -> tuple[S, AsyncWorld]:
        """The one of the loop that runs. Raises `ConfigurationError` where none of asyncio's does."""
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "server", "runs another event loop than asyncio's (trio?), which lumin_middleware needs"
            ) from None
        return self.on(loop)

    def on(self, loop: asyncio.AbstractEventLoop) -> tuple[S, AsyncWorld]:
        """The one of a loop, made if there is none."""
        found = self.found.get(loop)
        if found is None:
            found = self.found[loop] = self._make()
            for other in [each for each in list(self.found) if each.is_closed()]:  # as `asyncio.run` leaves them
                over = self.found.pop(other, None)
                if over is not None:
                    found[0].parts.inherit(over[0].parts)
                    over[1].let_go()
        return found

    @property
    def in_use(self) -> bool:
        """Whether a loop is served that can still run."""
        return not all(each.is_closed() for each in list(self.found))

    async def aclose(self) -> None:
        """Finishes what must not be cut short, and closes the connections of the loop that runs. One time limit is for
        all that is waited for; what could not be saved is saved one after the other, for as long as the store takes it.
        """
        found = self.found.pop(get_running_loop(), None)
        if found is not None:
            site, world = found
            until = world.loop.time() + world.patience
            await world.settle(until - min(FOR_SAVING, world.patience / 2))
            await site.parts.finish()
            if await world.settle(until):  # a token that was asked for may have come since
                await site.parts.finish()
            await world.aclose(until)

    def finish(self) -> None:
        """The same for the loops of this process that were stopped, and can still run."""
        for loop, (_, world) in list(self.found.items()):
            if world.process == os.getpid() and not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(self.aclose())


_ALL: WeakSet[Loops[Any]] = WeakSet()


@atexit.register
def _finish_all() -> None:
    with ExitStack() as sites:  # each, whatever becomes of the others
        for each in list(_ALL):
            sites.callback(each.finish)
