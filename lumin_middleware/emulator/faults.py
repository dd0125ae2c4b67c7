"""Trouble on demand: late, wrong and lost answers, injected in front of the real ones."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Literal, NoReturn

import anyio
import httpx2
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .clock import Clock
from .races import RACE

TRANSPORT = "lumin_emulator.transport"
"""Where `scope["state"]` holds the connection's transport, when the emulator is served over a socket."""

Hook = Callable[[], Awaitable[object]]


@dataclass(eq=False)
class Fault:
    """What happens to requests for `path` (a pattern with `*`), `times` more often, or for ever (None)."""

    path: str
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    act: bool = True
    before: Hook | None = None
    after: Hook | None = None
    race: bool = False
    times: int | None = 1


class Faults:
    """A queue of faults; for each request the oldest that fits is used."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(
        self,
        path: str,
        *,
        status: int | None = None,
        body: bytes | str | dict[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        delay: float = 0.0,
        drop: Literal["before", "after"] | None = None,
        act: bool | None = None,
        before: Hook | None = None,
        after: Hook | None = None,
        race: Literal["postgres"] | None = None,
        times: int | None = 1,
    ) -> None:
        """Let something happen to the next `times` requests for `path` (None: until cleared).

        `status`, `body`, `headers` and `content_type` make an answer of their own; the request is then not
        acted on unless `act` is true (a gateway that answers 502 although the server did its work). `delay`
        is in seconds, and comes after acting, so that a client that gave up finds its request acted upon.
        `drop` closes the connection without an answer, "before" or "after" acting. `before` and `after` are
        awaited at these two moments: with an event's `wait` a request is held as long as a test likes. With
        `race="postgres"` token requests that come at once with one refresh token or code are answered as Hydra does
        on PostgreSQL: several win, some of them with tokens that are dead on arrival; that lasts until cleared.
        """
        answers = status is not None or body is not None
        if isinstance(body, dict):
            body, content_type = json.dumps(body), content_type or "application/json"
        self._queue.append(
            Fault(
                path=path,
                status=(status or 200) if answers else None,
                body=body.encode() if isinstance(body, str) else body or b"",
                headers=dict(headers or {}) | ({"Content-Type": content_type} if content_type else {}),
                delay=delay,
                drop=drop,
                act=act if act is not None else not answers and drop != "before",
                before=before,
                after=after,
                race=race is not None,
                times=None if race else times,
            )
        )

    def clear(self) -> None:
        """No more faults."""
        self._queue.clear()

    def take(self, path: str) -> Fault | None:
        """The fault for this request, counted down."""
        for fault in self._queue:
            if fnmatchcase(path, fault.path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._queue.remove(fault)
                return fault
        return None


class FaultInjector:
    """ASGI middleware that lets the queued faults happen, and writes the (maybe wrong) `Date`."""

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock) -> None:
        self.app = app
        self.faults = faults
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_date(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Date"] = formatdate(self.clock.shown(), usegmt=True)
            await send(message)

        fault = self.faults.take(scope["path"])
        if fault is None:
            await self.app(scope, receive, send_with_date)
        else:
            await self._happen(fault, scope, receive, send_with_date)

    async def _happen(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.before:
            await fault.before()
        if fault.race:
            scope[RACE] = True
        held: list[Message] = []
        if fault.act:
            await self.app(scope, receive, _collect(held))
        if fault.after:
            await fault.after()
        if fault.delay and await _gone_within(fault.delay, receive):
            return
        if fault.drop:
            await drop_connection(scope, receive)
        elif fault.status is not None:
            await Response(fault.body, fault.status, fault.headers)(scope, receive, send)
        else:
            for message in held:
                await send(message)


def _collect(held: list[Message]) -> Send:
    async def collect(message: Message) -> None:
        held.append(message)

    return collect


async def _gone_within(seconds: float, receive: Receive) -> bool:
    """Wait so long. Whether the client went away meanwhile."""
    with anyio.move_on_after(seconds):
        while (await receive())["type"] != "http.disconnect":
            pass
        return True
    return False


async def drop_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer.

    Over a socket the transport is closed, and the client sees what it would see of a server that died. In
    process there is no connection: the same error is raised through the transport that called us.
    """
    transport = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        _disconnected()
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _disconnected() -> NoReturn:
    raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
