"""A connection that is served for long, as a WebSocket or an event stream, ends with its session."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from ..site.visit import Visit
from .event_loop import AsyncWorld

WATCH_PAUSE = 15.0
"""Seconds between two looks whether a session that is served for long was ended in another process."""

GRACE = 1.0
"""Seconds that an application has to end by itself which has heard that nobody is there any more."""


class Ending:
    """Ends the task that serves somebody, from beside it."""

    def __init__(self, serving: asyncio.Task[Any] | None) -> None:
        self._serving = serving
        self._has_cancelled = False
        self.over = False

    def end(self) -> None:
        self.over = True
        if self._serving is not None:
            self._has_cancelled = self._serving.cancel()

    def takes_back(self) -> bool:
        """Whether the cancellation was ours, and nobody else wants one; then the task goes on as if it never was."""
        was_ours, self._has_cancelled = self._has_cancelled, False
        return was_ours and self._serving is not None and self._serving.uncancel() == 0


class Watch(Ending):
    """Ends a connection that outlives its session: a WebSocket, an event stream.

    Tasks of the application that are `receiving` hear that the client is gone: some frameworks serve in tasks of their
    own, which no cancellation reaches, and end them when another task of theirs hears that.
    """

    def __init__(
        self,
        visit: Visit,
        world: AsyncWorld,
        serving: asyncio.Task[Any] | None,
        receiving: set[asyncio.Task[Any]],
    ) -> None:
        super().__init__(serving)
        self._receiving = receiving
        self._told: set[asyncio.Task[Any]] = set()
        self._visit = visit
        self._world = world
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whoever begins this knows of it by then, also where tasks begin at once
        session = self._visit.session
        if session is not None:
            with self._world.listening(session.id) as announced:  # also while a look waits for the store
                while not await self._visit.is_over():
                    with anyio.move_on_after(WATCH_PAUSE):
                        await announced.wait()
                    announced.clear()
        self.over = True
        self._told = {task for task in self._receiving if task is not self._serving}
        for task in self._told:
            task.cancel()
        if self._told:
            await asyncio.sleep(GRACE)
        self.end()

    def has_told(self, task: asyncio.Task[Any]) -> bool:
        """Whether its cancellation in `receive` was ours, and nobody else wants one."""
        return task in self._told and task.uncancel() == 0

    def close(self) -> None:
        self._task.cancel()
