"""A record of every request that reached the emulator, for tests to read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_CALLS = 10_000  # then the oldest go


@dataclass(frozen=True, eq=False)
class Call:
    """One request. `query` and `form` hold a list for each name; `status` is None until it was answered."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Headers
    form: dict[str, list[str]]
    status: int | None = None


class CallRecorder:
    """ASGI middleware that adds each request to `calls` when it has arrived, and its status before it is sent."""

    def __init__(self, app: ASGIApp, calls: list[Call]) -> None:
        self.app = app
        self.calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        body = b""
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            whole = await _read(receive)
            if whole is None:
                return  # half a form must not be acted upon, and nobody is left to be told
            body, receive = whole, _once(whole, receive)
        call = Call(
            method=scope["method"],
            path=scope["path"],
            query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers=headers,
            form=parse_qs(body.decode(errors="replace"), keep_blank_values=True),
        )
        del self.calls[: max(0, len(self.calls) + 1 - MOST_CALLS)]
        self.calls.append(call)

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(call, message["status"])
            await send(message)

        await self.app(scope, receive, send_and_note)

    def _note(self, call: Call, status: int) -> None:
        for index in range(len(self.calls) - 1, -1, -1):  # the latest are at the end
            if self.calls[index] is call:
                self.calls[index] = replace(call, status=status)
                return


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when the client went away before its end."""
    chunks, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body again, and then what `receive` gives."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
