"""An answer of ours on its way to the client, under ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import anyio
from starlette.responses import Response as StarletteResponse
from starlette.types import Receive, Scope, Send

from ..errors import LuminError
from ..journal import say
from ..model import Response, Wanted
from ..site import pages
from ..site.visit import Visit
from .event_loop import AsyncWorld

# What a handshake is closed with where its answer cannot be sent; 1013 is "try again later" (RFC 6455, 7.4).
_CLOSE_CODES = {400: 4400, 401: 4401, 403: 4403}


async def deliver(response: Response, world: AsyncWorld, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends an answer of ours; where nobody is left to take one that matters, it is undone."""
    if scope["type"] == "websocket":
        await deny(response, scope, receive, send)
        return
    undo = response.undo
    if undo is None:
        await respond(response, scope, send)
        return
    try:
        if await _is_gone(receive):
            raise OSError("the client has gone")
        await respond(response, scope, send)
    except (OSError, asyncio.CancelledError) as error:
        try:
            await world.shield(undo)
        except LuminError as trouble:
            say("not_undone", error=trouble)
        if isinstance(error, asyncio.CancelledError):
            raise


async def _is_gone(receive: Receive) -> bool:
    """Whether the client has disconnected, as far as the server has noticed."""
    with anyio.move_on_after(0):
        whole = False
        while (message := await receive())["type"] != "http.disconnect":
            if whole:  # behind its end a body goes on: who says so has nothing else to say
                return False
            whole = not message.get("more_body", False)
        return True
    return False


async def deny(response: Response, scope: Scope, receive: Receive, send: Send, *, connected: bool = False) -> None:
    """Refuses a WebSocket handshake, with the answer itself where the server can send it.

    `connected` says that the application has taken the first message already.
    """
    if not connected:
        await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await respond(response, scope, send, "websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": _CLOSE_CODES.get(response.status, 1013), "reason": ""})


RawHeaders = list[tuple[bytes, bytes]]
"""Headers as ASGI has them."""


def raw_headers(headers: list[tuple[str, str]]) -> RawHeaders:
    """Headers of ours as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


PRIVATE = raw_headers([pages.PRIVATE])[0]


def with_cookies(headers: RawHeaders, cookies: list[str]) -> RawHeaders:
    """The application's headers with cookies of ours."""
    said = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return raw_headers(pages.with_cookies(said, cookies))


async def respond(
    response: Response, scope: MutableMapping[str, Any], send: Send, prefix: str = "http.response"
) -> None:
    """Sends an answer of ours."""
    await send({"type": f"{prefix}.start", "status": response.status, "headers": raw_headers(response.headers)})
    body = b"" if scope.get("method") == "HEAD" else response.body
    await send({"type": f"{prefix}.body", "body": body})


class Challenge(StarletteResponse):
    """A response that is worked out when it is sent, since only then is there a loop to ask the server in."""

    def __init__(self, visit: Visit, wanted: Wanted) -> None:
        super().__init__(status_code=401)
        self._visit = visit
        self._wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._visit.challenge(self._wanted)
        if scope["type"] == "websocket":
            await deny(answer, scope, receive, send, connected=True)
        else:
            await respond(answer, scope, send)
