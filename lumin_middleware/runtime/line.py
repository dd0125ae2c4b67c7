"""The line between a client and an application under ASGI: what is said goes out in the order in which it was said.

What takes its time is sent by a task of its own, ahead of whatever follows. Where the person's session ends, the line
is hung up: the application hears that nobody is there, and what it says from then on goes nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from .watch import Watch

_GONE: dict[str, Message] = {
    "http": {"type": "http.disconnect"},
    "websocket": {"type": "websocket.disconnect", "code": 4401, "reason": "the session has ended"},
}


class Line:
    """Of one request. `plain` says whether an answer goes out as it comes: nothing of it is held or on its way, and it
    is not served for long."""

    _scope: Scope
    _receive: Receive
    _send: Send
    plain: bool

    _watch: Watch | None = None
    _ahead: asyncio.Task[None] | None = None  # the last that sends what takes its time, or waits for that
    _complete = _connected = False
    _receiving: set[asyncio.Task[Any]] | None = None  # that wait in `receive`

    async def receive(self) -> Message:
        """ASGI's `receive`. Of a handshake it is noted whether the application has begun it."""
        self._connected = True
        if self._watch is not None and self._watch.over:
            return self._gone()
        task = asyncio.current_task()
        if task is None:  # whoever runs an application by hand
            return await self._receive()
        receiving = self._who_receives()
        receiving.add(task)
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._watch is None or not self._watch.has_told(task):
                raise
            return self._gone()
        finally:
            receiving.discard(task)

    def _gone(self) -> Message:
        return {**_GONE[self._scope["type"]]}  # which is the application's from here on

    def _who_receives(self) -> set[asyncio.Task[Any]]:
        if self._receiving is None:
            self._receiving = set()
        return self._receiving

    def _send_behind(self, message: Message) -> Awaitable[None] | None:
        """Sends what follows something that is on its way, or nothing, to nobody; None where there is neither."""
        if self._watch is not None and self._watch.over:
            return nothing()
        ahead = self._ahead
        if ahead is None or ahead.done():
            return None

        async def follow() -> None:
            await ahead
            self._complete = is_last(message)
            await self._send(message)

        return sent(self._send_ahead(follow))

    def _send_ahead(self, sending: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        self.plain = False
        self._ahead = task = asyncio.ensure_future(sending())
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # so it was seen
        return task

    async def _all_sent(self) -> None:
        while (ahead := self._ahead) is not None and not ahead.done():
            await asyncio.shield(ahead)


async def nothing() -> None:
    """To nobody nothing is sent."""


async def sent(sending: asyncio.Task[None]) -> None:
    await asyncio.shield(sending)  # who gives up waiting has said it all the same


def is_last(message: Message) -> bool:
    return message["type"] == "websocket.close" or (
        message["type"] == "http.response.body" and not message.get("more_body", False)
    )
