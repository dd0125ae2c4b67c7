"""Sites of several processes, in one: what the tests about late cookies and about faults have in common."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.stores import MemoryStore, SQLiteStore
from tests.patience import PATIENCE
from tests.site_rig import Browser, Clock, Site

LIFETIME = 3600.0
"""Seconds that the emulator's access tokens live."""


class RemoteStore(MemoryStore):
    """Memory that, like a store on another machine, is not asked on each request, and that may not answer."""

    local = False
    down = False
    before: Callable[[str, bytes | None], object] | None = None
    """Called with the key and the new value ahead of each swap."""

    def get(self, key: str) -> bytes | None:
        self._require_up()
        return super().get(key)

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        if self.before is not None:
            self.before(key, new)
        self._require_up()
        return super().swap(key, old, new, ttl)

    def _require_up(self) -> None:
        if self.down:
            raise StoreUnavailable("the store does not answer")


def store(kind: str, clock: Clock, directory: Path) -> Any:
    """A store of that kind on that clock."""
    match kind:
        case "memory":
            return MemoryStore(clock=clock)
        case "sqlite":
            return SQLiteStore(directory / "sessions" / "store.sqlite3", clock=clock)
    return RemoteStore(clock=clock)


class Hold:
    """A hook for the emulator's faults that holds a request until it is let go, at the latest when the block ends."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def __call__(self) -> None:
        """On the emulator's loop, which is another thread's."""
        self._loop, self._released = asyncio.get_running_loop(), asyncio.Event()
        self._reached.set()
        await self._released.wait()

    async def reached(self) -> None:
        """Waits until a request is held. Raises `TimeoutError` where none comes."""
        if not await asyncio.to_thread(self._reached.wait, PATIENCE):
            raise TimeoutError("no request came to be held")

    def release(self) -> None:
        if self._loop is not None and self._released is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._released.set)


async def ask_the_api(request: Request) -> Response:
    """What the application answers here: the access token, and what the API says to it."""
    client = request.state.lumin
    answer = await client.get("user/info")
    content = {"subject": client.subject, "token": await client.access_token(), "api": answer.status_code}
    return JSONResponse(content)


def process(site: Site, **settings: Any) -> Site:
    """Another process of a site, with the same application."""
    other = site.with_settings(**settings)
    other.app.handler = site.app.handler
    return other


def same_browser(browser: Browser, site: Site) -> Browser:
    """That browser, whose requests another process gets: one cookie jar."""
    other = site.browser()
    other.cookies = browser.cookies.jar
    return other


def copy(browser: Browser, site: Site) -> Browser:
    """A browser with a copy of the cookies as they are now, whose requests that process gets."""
    other = site.browser()
    other.cookies = httpx2.Cookies(browser.cookies)
    return other


def refreshes(site: Site) -> int:
    """How often a refresh token was sent."""
    calls = site.emulator.calls_to("/oauth2/token")
    return sum(call.form["grant_type"] == ["refresh_token"] for call in calls)
