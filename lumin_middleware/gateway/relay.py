"""A WebSocket through the gateway: messages both ways, and the end of it told to whoever has not heard."""

from __future__ import annotations

from contextlib import suppress

import anyio
from httpx2.websockets import AsyncWebSocketSession, WebSocketDisconnect, WebSocketNetworkError
from starlette.types import Message, Receive, Send
from wsproto.events import BytesMessage, TextMessage
from wsproto.utilities import ProtocolError

BROKEN = 1011
"""The close code for a connection to the upstream that broke (RFC 6455, 7.4.1)."""


async def relay(upstream: AsyncWebSocketSession, receive: Receive, send: Send) -> None:
    """Messages both ways until one side closes; the other is then told the same."""
    async with anyio.create_task_group() as group:

        async def up() -> None:
            with suppress(ProtocolError, WebSocketNetworkError):  # of a connection that ends, as the other task hears
                await _send_up(upstream, receive)
                group.cancel_scope.cancel()

        group.start_soon(up)
        with suppress(OSError):  # the client has gone
            await _send_down(upstream, send)
        group.cancel_scope.cancel()


async def _send_up(upstream: AsyncWebSocketSession, receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await upstream.send_text(text)
        else:
            await upstream.send_bytes(message["bytes"])
    await upstream.close(_spoken(message.get("code", 1005)), message.get("reason") or None)


async def _send_down(upstream: AsyncWebSocketSession, send: Send) -> None:
    try:
        while True:
            match await upstream.receive():
                case TextMessage(data=text):
                    await send({"type": "websocket.send", "text": text})
                case BytesMessage(data=data):
                    await send({"type": "websocket.send", "bytes": bytes(data)})
    except WebSocketDisconnect as closed:
        await send(close(_spoken(closed.code), closed.reason))
    except WebSocketNetworkError:
        await send(close(BROKEN))


def close(code: int, reason: str | None = None) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason or ""}


def _spoken(code: int) -> int:
    """A close code that may stand on the wire: none given is a normal end, a lost connection is "going away"."""
    return {1005: 1000, 1006: 1001, 1015: 1001}.get(code, code)  # RFC 6455, 7.4.1
