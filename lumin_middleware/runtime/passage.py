"""A request on its way through an ASGI application, and the answer on its way out.

The application finds who is signed in, and a client that ends with the request. The answer gets our cookies with its
first byte; a connection that is served for long ends with its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, MutableMapping
from typing import Any

from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..client import AsyncLuminClient
from ..errors import LoginRequired
from ..model import Response, Session
from ..site import pages
from ..site.relying_party import Visit
from .event_loop import AsyncWorld

WATCH_PAUSE = 15.0
"""Seconds between two looks whether a session that is served for long was ended in another process."""

# How a connection ends whose session is over.
_LAST_WORDS: dict[str, Message] = {
    "http": {"type": "http.response.body", "body": b""},
    "websocket": {"type": "websocket.close", "code": 4401, "reason": "the session has ended"},
}

_FIRST_WORDS = ("http.response.start", "websocket.accept")

MARK = "lumin_middleware"
"""What a scope holds that has passed here."""


class LuminUser(BaseUser):
    """Who is signed in, as Starlette's authentication has it."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        claims = self._session.claims
        return str(claims.get("name") or claims.get("email") or claims.get("sub") or "")

    @property
    def identity(self) -> str:
        return str(self._session.claims.get("sub") or "")


class Passage:
    """One request through the application."""

    __slots__ = ("_complete", "_replaced", "_send", "_started", "_visit", "_watch", "_world")

    def __init__(self, visit: Visit, world: AsyncWorld, send: Send) -> None:
        self._visit = visit
        self._world = world
        self._send = send
        self._started = False
        self._watch: Watch | None = None
        self._replaced = False
        self._complete = False

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Runs the application; a `LoginRequired` that it lets through becomes the challenge."""
        client = self._client()
        try:
            await app(self._scope_for_app(scope, client), receive, self.send)
            if self._watch is not None:
                self._watch.takes_back()  # some frameworks end quietly when they are cancelled
            if self._replaced:
                await self._challenge(scope)
        except LoginRequired:
            if self._started or self._visit.request.websocket:
                raise
            await self._challenge(scope)
        except asyncio.CancelledError:
            if self._watch is None or not self._watch.takes_back():
                raise
        finally:
            if client is not None:
                client.close()
            if self._watch is not None:
                self._watch.close()
        if self._watch is not None and self._watch.over and not self._complete:
            await self._send(_LAST_WORDS[scope["type"]])

    def _client(self) -> AsyncLuminClient | None:
        if self._visit.session is None:
            return None
        return AsyncLuminClient(self._visit, self._world.api, self._world.api_url, Challenge)

    def _scope_for_app(self, scope: Scope, client: AsyncLuminClient | None) -> Scope:
        """A copy of the scope with who is signed in, and without what only we may say or see."""
        visit = self._visit
        passed: dict[str, Any] = dict(scope)
        headers = passed["headers"] = list(visit.request.headers)
        if cookie := visit.cookie:
            headers.append((b"cookie", cookie))
        passed["state"] = {**(scope.get("state") or {}), "lumin": client}
        if (session := visit.session) is None:
            passed["user"], passed["auth"] = UnauthenticatedUser(), AuthCredentials()
        else:
            passed["user"] = LuminUser(session)
            passed["auth"] = AuthCredentials(("authenticated", *session.tokens.scope))
        passed[MARK] = True
        return passed

    async def _challenge(self, scope: Scope) -> None:
        await respond(await self._visit.challenge(), scope, self._send)

    def send(self, message: Message) -> Awaitable[None]:
        """ASGI's `send`, with our cookies in the first message. What was said counts from the call on."""
        visit = self._visit
        if self._replaced:
            return _nothing()
        if visit.lost and message["type"] == "http.response.start" and message["status"] == 500:
            # Starlette answers 500 before it lets an error out; the error was that nobody is signed in any more.
            self._replaced = True
            return _nothing()
        if not self._started and message["type"] in _FIRST_WORDS:
            self._started = True
            if cookies := visit.set_cookies():
                message = _with_cookies(message, cookies)
            if visit.session is not None and _is_long(message):
                self._watch = Watch(visit, self._world)
        elif self._watch is not None:
            self._complete = _is_last(message)
        return self._send(message)


async def _nothing() -> None:
    """What is not sent."""


class Watch:
    """Ends a connection that outlives its session: a WebSocket, an event stream."""

    def __init__(self, visit: Visit, world: AsyncWorld) -> None:
        self._visit = visit
        self._world = world
        self._serving = asyncio.current_task()
        self.over = False
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        session = self._visit.session
        while session is not None and not await self._visit.is_over():
            await self._world.until_announced(session.id, WATCH_PAUSE)
        self.over = True
        if self._serving is not None:
            self._serving.cancel()

    def takes_back(self) -> bool:
        """Whether the cancellation was ours, and nobody else wants one; then the task goes on as if it never was."""
        return self.over and self._serving is not None and self._serving.uncancel() == 0

    def close(self) -> None:
        self._task.cancel()


def _is_long(message: Message) -> bool:
    for name, value in message.get("headers", ()):
        if name.lower() == b"content-type":
            return bytes(value[:17]).lower() == b"text/event-stream"
    return bool(message["type"] == "websocket.accept")


def _is_last(message: Message) -> bool:
    return message["type"] == "websocket.close" or (
        message["type"] == "http.response.body" and not message.get("more_body", False)
    )


class Challenge(StarletteResponse):
    """A response that is worked out when it is sent, since only then is there a loop to ask the server in."""

    def __init__(self, visit: Visit, scope: str) -> None:
        super().__init__(status_code=401)
        self._visit = visit
        self._scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(await self._visit.challenge(scope=self._scope), scope, send)


def _with_cookies(message: Message, cookies: list[str]) -> Message:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
    return {**message, "headers": _raw(pages.with_cookies(headers, cookies))}


def _raw(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def respond(
    response: Response, scope: MutableMapping[str, Any], send: Send, prefix: str = "http.response"
) -> None:
    """Sends an answer of ours."""
    await send({"type": f"{prefix}.start", "status": response.status, "headers": _raw(response.headers)})
    body = b"" if scope.get("method") == "HEAD" else response.body
    await send({"type": f"{prefix}.body", "body": body})
