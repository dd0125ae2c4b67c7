"""The ASGI edge: requests in, outcomes out.

A pure ASGI middleware. Scopes are copied before they are changed; nothing of one request is kept for the next. What
it decides, it has from `RelyingParty`; here it only translates.
"""

from __future__ import annotations

import inspect
import sys
import time
from asyncio import current_task, get_running_loop
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from .config import LuminConfig, checked_config
from .errors import ConfigurationError, LuminError
from .model import Request
from .runtime.answering import Challenge, deliver
from .runtime.api_calls import AsgiCall
from .runtime.event_loop import AsyncWorld
from .runtime.loops import Loops
from .runtime.passage import MARK, Passage
from .runtime.scopes import apart, as_specified, read
from .runtime.startup import NotSetUp, is_being_served, look_at_root_path, require_way_out
from .site.relying_party import RelyingParty
from .site.visit import Visit
from .stores import named

DEPTH = 100
"""Applications inside each other that are looked at; a stand-in for one has another inside without end."""

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application, whichever framework's types it is written in."""

# --- the middleware -------------------------------------------------------------------------------------


class LuminMiddleware:
    """Signs people in with Lumin before they reach an ASGI application.

    `LuminMiddleware(app, config)` around anything that speaks ASGI, or `app.add_middleware(LuminMiddleware,
    config=config)`. Without a config the settings come from the environment (`LuminConfig.from_env`). `clock`
    gives epoch seconds; every lifetime is measured with it.

    A request that passes finds an `AsyncLuminClient` (None on `public` pages, and on `optional` ones when nobody is
    signed in) in `request.state.lumin`, and `scope["user"]` and `scope["auth"]` set. Raises
    `ConfigurationError` for wrong settings.
    """

    def __init__(
        self, app: Application, config: LuminConfig | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        if parameters(app) == 2:
            raise ConfigurationError(
                "app", "takes two arguments, as WSGI applications do; wrap it in lumin_middleware.wsgi.LuminMiddleware"
            )
        self.app = app
        self._root_path = _root_path(app)
        self._clock = clock
        self._not_set_up: NotSetUp | None = None
        try:
            if isinstance(app, LuminMiddleware):
                raise ConfigurationError("app", "is wrapped in LuminMiddleware already; wrap it once")
            self.config = checked_config(config)
            self._store = named.of_setting(
                self.config.store, asynchronous=True, fingerprint=self.config.fingerprint, clock=clock
            )
            require_way_out()
            look_at_root_path(self.config, self._root_path)
        except ConfigurationError as error:
            if not is_being_served():
                raise
            self._not_set_up = NotSetUp(error)
        self._loops = Loops(self._new_party)
        self._party, self._sites = self._loops.here, self._loops.found
        self._reading = self._read  # bound here, since each request hands it on
        self._may_be_plain = not self._root_path and self._not_set_up is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = self._at_once(scope, receive, send) or await self._looked_into(scope, receive, send)
        if passage is None:
            return
        app = passage.app
        try:
            await app(passage.passed, passage.receive, passage.send)
            if not passage.plain:
                await passage.finish()
        except BaseException as error:
            if not await passage.takes(error):
                raise
        finally:
            passage.over()
        if not passage.plain:
            await passage.hang_up()

    def _at_once(self, scope: Scope, receive: Receive, send: Send) -> Passage | None:
        """The passage of a request that passes by one look; None where it takes a closer one.

        It is written so plainly that its path and its cookies say it all, and its loop has had one before it.
        """
        if scope["type"] != "http" or MARK in scope or not self._may_be_plain:
            return None
        try:
            came, path, raw_path = scope["headers"], scope["path"], scope["raw_path"]
            # `partition` is faster than `in`, which tries a number first.
            if scope["root_path"] or scope["query_string"].partition(b"state=")[1] or type(came) is not list:
                return None
            loop = get_running_loop()
            party, world = self._sites[loop]
        except (KeyError, AttributeError, TypeError, RuntimeError):  # left out, said otherwise, or not there yet
            return None
        headers, cookie = apart(came)
        look = party.at_once  # CPython 3.11 calls what an instance holds faster so than as if it were a method
        visit = look(path, raw_path, cookie, (self._reading, scope, receive))
        if visit is None:
            return None
        return Passage(self.app, visit, world, current_task(loop), scope, receive, send, headers)

    async def _looked_into(self, scope: Scope, receive: Receive, send: Send) -> Passage | None:
        """The passage of a request after a closer look; None where it has been answered, or is no request."""
        if scope["type"] not in ("http", "websocket") or self._not_set_up is not None:
            await self._besides(scope, receive, send)
            return None
        if MARK in scope:
            raise _twice()
        try:
            party, world = self._party()
        except LuminError as error:
            await NotSetUp(error)(scope, receive, send)
            return None
        headers, cookie = apart(scope["headers"])
        # The application gets these headers, and may change them.
        outcome = await party.handle(self._read(scope, receive, ([*headers], cookie)))
        if not isinstance(outcome, Visit):
            await deliver(outcome, world, scope, receive, send)
            return None
        app = self.app if outcome.call is None else AsgiCall(outcome, outcome.call)
        changed = as_specified(scope, outcome.request)
        return Passage(app, outcome, world, current_task(), scope, receive, send, headers, changed)

    async def _besides(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is no request, and every message where the site cannot serve."""
        if self._not_set_up is not None:
            await self._not_set_up(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _read(
        self, scope: Scope, receive: Receive, parted: tuple[list[tuple[bytes, bytes]], bytes] | None = None
    ) -> Request:
        return read(scope, receive, self.config.callback_path, self._root_path, parted)

    # --- once for each loop ---

    def _new_party(self) -> tuple[RelyingParty, AsyncWorld]:
        world = AsyncWorld(self.config, self._store(), self._clock, Challenge)
        return RelyingParty(self.config, world), world

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's lifespan, and after it ours; alone ours where the application has none."""
        try:
            if MARK in scope:
                raise _twice()
            self._party()
            look_at_root_path(self.config, scope.get("root_path", ""))
        except LuminError as error:
            await NotSetUp(error)(scope, receive, send)
        asked = answered = False

        async def watch_receive() -> Message:
            nonlocal asked
            message = await receive()
            asked = True
            return message

        async def watch_send(message: Message) -> None:
            nonlocal answered
            answered = True
            if message["type"].startswith("lifespan.shutdown."):
                await self.aclose()
            await send(message)

        try:
            await self.app({**scope, MARK: None}, watch_receive, watch_send)
        except Exception:
            if asked or answered:  # it has a lifespan, and it failed
                raise
        if not answered:
            await self._own_lifespan(receive, send, asked=asked)

    async def _own_lifespan(self, receive: Receive, send: Send, *, asked: bool) -> None:
        if not asked:
            await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def aclose(self) -> None:
        """Finishes what must not be cut short and closes the connections of this event loop.

        Those of a store that a setting names as well; one that you made is yours to close. The server's lifespan does
        this; where it has none, call it, or leave what must not be cut short to the end of the process. The next
        request makes new ones, and one that is still being served has none (`ServerUnavailable`).
        """
        await self._loops.aclose()
        if self._not_set_up is None:
            await self._store.aclose(in_use=self._loops.in_use)


def _twice() -> ConfigurationError:
    return ConfigurationError("app", "has LuminMiddleware twice, one around the other; keep one of them")


def parameters(app: object) -> int | None:
    """How many arguments an application must be given: three in ASGI, two in WSGI; None where nobody can tell."""
    try:
        found = inspect.signature(app).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in found):
        return None
    return sum(1 for each in found if each.default is each.empty and each.kind is not each.KEYWORD_ONLY)


def _root_path(app: object) -> str:
    """The prefix that an application takes off each path by itself, also inside others.

    `FastAPI(root_path=…)`, and Django's setting FORCE_SCRIPT_NAME.
    """
    for _ in range(DEPTH):
        found = _own_prefix(app)
        if isinstance(found, str) and found:
            return found
        app = getattr(app, "app", None)
    return ""


def _own_prefix(app: object) -> object:
    if any(each.__module__ == "django.core.handlers.asgi" for each in type(app).__mro__):
        return sys.modules["django.conf"].settings.FORCE_SCRIPT_NAME
    if isinstance(getattr(app, "import_name", None), str):
        return ""  # Quart, and Flask inside others: `root_path` is the folder of the module that they are named for
    # Also that of a class which nobody knows: a site's own that sets it in the scope would hide paths from the rules.
    return getattr(app, "root_path", "")
