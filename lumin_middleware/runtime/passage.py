"""A request on its way through an ASGI application, and the answer on its way out.

The application finds who is signed in, and a client that ends with the request. The answer gets our cookies with its
first byte; a connection that is served for long ends with its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..client import AsyncLuminClient
from ..errors import LuminError, to_be_answered
from ..site import pages
from ..site.visit import Visit
from .answering import PRIVATE, RawHeaders, deny, respond, with_cookies
from .event_loop import AsyncWorld
from .line import Line, is_last, nothing, sent
from .scopes import READ, UNCHANGED
from .user import LuminUser
from .watch import Watch

# How a connection ends whose session is over.
_LAST_WORDS: dict[str, Message] = {
    "http": {"type": "http.response.body", "body": b""},
    "websocket": {"type": "websocket.close", "code": 4401, "reason": "the session has ended"},
}

HELD_LIMIT = 65_536
"""Bytes of an application's 500 that are held; a framework's debug page has some 30,000."""

HELD_SECONDS = 0.05
"""For which a 500 is held where the application is still at work. Who lets an error out behind its answer does so at
once; who has something else to do yet, or answers in pieces, may do it for long."""

_FIRST_WORDS = ("http.response.start", "websocket.accept", "websocket.http.response.start")

MARK = "lumin_middleware"
"""What a scope holds that has passed here: the visit."""

_OURS = frozenset(("headers", "state", "user", "auth", MARK))  # what the application gets of its own
_ABSENT = object()
_NOTHING: dict[str, Any] = {}
_NOBODY, _NO_CREDENTIALS = UnauthenticatedUser(), AuthCredentials()


class Passage(Line):
    """One request through the application, which gets `passed`, `receive` and `send`.

    When it is done comes `finish`, or `takes` for what it lets out; then `over`, and `hang_up`.
    """

    passed: dict[str, Any]
    """The scope for the application."""

    _held: tuple[Message, ...] = ()
    _timer: asyncio.TimerHandle | None = None
    _started = False
    _known: dict[str, Any]
    """What of the state the application was given, or has given: whoever stands before us may change it, too."""

    def __init__(
        self,
        app: ASGIApp,
        visit: Visit,
        world: AsyncWorld,
        task: asyncio.Task[Any] | None,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: RawHeaders,
        changed: Mapping[str, Any] = UNCHANGED,
    ) -> None:
        """`headers` are those of the request for the application, which has them to itself, and `changed` is what of
        its scope it sees otherwise. `task` is the one that serves."""
        self.app = app
        self._visit = visit
        self._world = world
        self._serving = task  # another one may begin the answer
        self._changed = changed
        self._scope = scope
        self._receive = receive
        self._send = send
        self._direct: Send | None = None  # the server's `send`, once the answer goes out as it comes
        self.plain = True
        if cookie := visit.cookie:
            headers.append((b"cookie", cookie))
        # A copy of the scope with who is signed in, and without what only we may say or see.
        self.passed = passed = {**scope, **changed}
        passed["headers"] = headers
        if (session := visit.session) is None:  # whom another middleware has found stays
            client = None
            passed.setdefault("user", _NOBODY)
            passed.setdefault("auth", _NO_CREDENTIALS)
        else:
            client = AsyncLuminClient(visit, world.api)
            passed["user"] = passed["auth"] = LuminUser(session)
        self._client = client
        state = scope.get("state")
        self._known = {**state} if state else _NOTHING
        self._state = passed["state"] = {**self._known, "lumin": client}
        passed[MARK] = visit
        self._before = passed.copy()

    async def finish(self) -> None:
        """The application is done, and its answer did not go out as it came: a 500 of its own goes out now, unless all
        that it says is that an error of ours happened."""
        if self._watch is not None:
            self._watch.takes_back()  # some frameworks end quietly when they are cancelled
        await self._settle()
        error = to_be_answered(self._visit.failed)
        if self._held:
            await (self._release() if error is None else self._answer(error))

    async def takes(self, error: BaseException) -> bool:
        """Whether what the application lets out is for us: an error of ours, which is answered as our own are, or that
        we have hung up."""
        if isinstance(error, asyncio.CancelledError):
            return self._watch is not None and self._watch.takes_back()
        with suppress(Exception):  # nobody takes what was let go of: the error is the application's all the same
            await self._settle()
        ours = to_be_answered(error)
        if ours is None or self._started:
            await self._release()
            return False
        await self._answer(ours)
        return True

    def over(self) -> None:
        """The request is over, and its client with it, whatever the application has left in its scope."""
        client = self._client
        if client is not None:
            client.close()
        if not self.plain:
            self._stop()
        try:
            is_same = self.passed == self._before
        except Exception:  # noqa: BLE001  of whatever an application keeps there, and compares in its own way
            is_same = False
        if not is_same or len(self._state) > 1:
            self._hand_back()
        # What is not handed back would lead round to us, and what is said late is nobody's any more.
        self.passed = self._before = self._state = self._known = _NOTHING

    async def hang_up(self) -> None:
        """Ends a connection whose session is over, where the application has not."""
        if self._watch is not None and self._watch.over and not self._complete:
            await self._send(_LAST_WORDS[self._scope["type"]])

    async def _answer(self, error: LuminError) -> None:
        self._held = ()
        self._started = True
        self._direct = self._send if self.plain else None
        self._hand_back()
        answer = await self._visit.answer(error)
        if self._scope["type"] == "websocket":
            await deny(answer, self._scope, self._receive, self._send, connected=self._connected)
        else:
            await respond(answer, self._scope, self._send)

    async def _release(self) -> None:
        held, self._held = self._held, ()
        for message in held:
            if self._started:
                self._complete = is_last(message)
                await self._send(message)
            else:
                await (self._begin_with_cookies if message["type"] in _FIRST_WORDS else self._send)(message)

    def _hand_back(self) -> None:
        """What the application has found out of its request, for whoever stands before us: `route`, `path_params`, …

        By the first byte of an answer, which is when a measuring middleware looks, and at the end.
        """
        scope, before = self._scope, self._before
        for name, value in self.passed.items():
            if before.get(name, _ABSENT) is not value and name not in _OURS and name not in self._changed:
                if name in READ:  # where an application takes a prefix off, its person comes back to the whole path
                    self._visit.keep()
                scope[name] = before[name] = value
        state, known = self.passed.get("state"), self._known
        if not isinstance(state, Mapping) or (state is self._state and len(state) == 1):
            return
        found = {name: value for name, value in state.items() if known.get(name, _ABSENT) is not value}
        found.pop("lumin", None)
        if found:
            theirs = scope.get("state")
            if not isinstance(theirs, MutableMapping):  # a server may have none
                theirs = scope["state"] = {}
            theirs.update(found)
            self._known = {**known, **found}

    def send(self, message: Message) -> Awaitable[None]:
        """ASGI's `send`, with our cookies in the first message. What was said counts from the call on.

        A small 500 is held until the application is done: Starlette, like others, answers it before it lets an error
        out, and Flask's kin let none out at all.
        """
        direct = self._direct
        if direct is not None:
            return direct(message)
        if self.plain and message["type"] == "http.response.start" and message["status"] != 500:
            return self._begin(message)
        return self._send_closely(message)

    def _send_closely(self, message: Message) -> Awaitable[None]:
        if (waits := self._send_behind(message)) is not None:
            return waits
        if self._started:
            self._complete = is_last(message)
            return self._send(message)
        if self._held or self._may_be_ours(message):
            return self._hold(message)
        return self._begin(message) if message["type"] in _FIRST_WORDS else self._send(message)

    def _may_be_ours(self, message: Message) -> bool:
        """Whether this may say no more than that an error of ours happened."""
        match message["type"]:
            case "http.response.start":
                return bool(message["status"] == 500)
            case "websocket.http.response.start":
                return message["status"] == 500 and to_be_answered(self._visit.failed) is not None
            case "websocket.close":  # of a handshake that was not accepted: a framework's own word for an error
                return to_be_answered(self._visit.failed) is not None
        return False

    def _hold(self, message: Message) -> Awaitable[None]:
        self.plain = False
        self._held = (*self._held, message)
        if sum(len(each.get("body", b"")) for each in self._held) > HELD_LIMIT:
            return sent(self._send_ahead(self._release))
        if self._timer is None:
            self._timer = self._world.loop.call_later(HELD_SECONDS, self._let_go)
        return nothing()

    def _let_go(self) -> None:
        if to_be_answered(self._visit.failed) is None:
            self._send_ahead(self._release)

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.close()
        for each in (self._timer, self._ahead):
            if each is not None:
                each.cancel()

    async def _settle(self) -> None:
        """What is on its way is sent to its end, and what is held stays."""
        if self._timer is not None:
            self._timer.cancel()
        await self._all_sent()

    async def _begin_with_cookies(self, message: Message) -> None:
        await self._begin(message, await self._visit.set_cookies())

    def _begin(self, message: Message, cookies: list[str] | None = None) -> Awaitable[None]:
        """Sends the first message of an answer, with what is ours."""
        visit = self._visit
        self._started = True
        if visit.writes and cookies is None:
            return sent(self._send_ahead(partial(self._begin_with_cookies, message)))
        passed, before, state = self.passed, self._before, self.passed.get("state")
        if (
            len(passed) != len(before)
            or state is not self._state
            or len(state) > 1
            or ("endpoint" in passed and passed["endpoint"] is not before.get("endpoint"))  # a router below another's
        ):
            self._hand_back()
        send = self._send
        self._direct = send if self.plain else None
        if visit.session is None:
            return send(message)
        headers = [*(message.get("headers") or ())]  # any iterable may come, and some can be read once
        is_long = message["type"] != "http.response.start"
        is_open = not is_long  # to whoever caches, as far as the application says
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-type":
                is_long = is_long or (len(value) > 16 and value[:17].lower() == _STREAM)
            elif lowered in _OF_CACHING:
                is_open = False
        if is_long:
            self.plain, self._direct = False, None
            self._watch = Watch(visit, self._world, self._serving, self._who_receives())
        if cookies:
            headers = with_cookies(headers, cookies)
        elif is_open:
            headers.append(PRIVATE)
        return send({**message, "headers": headers})


_STREAM = b"text/event-stream"
_OF_CACHING = frozenset(name.encode() for name in pages.OF_CACHING)
