"""A site for the tests: an application behind the middleware, an emulator, and browsers with cookie jars.

Everything is real but the network in front of the application: requests reach it in process, what it asks
of the emulator goes over loopback.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumin_middleware import AuthorizationServer, LuminConfig, LuminMiddleware
from lumin_middleware.emulator import Client, Emulator, serve
from lumin_middleware.stores import MemoryStore

ORIGIN = "https://app.example.com"
REDIRECT_URI = f"{ORIGIN}/auth/callback"
CLIENT = Client(
    client_id="test-client",
    client_secret='s+e/c=r%e&t: é"',
    redirect_uris=(REDIRECT_URI,),
    token_endpoint_auth_method="client_secret_post",
    scope="openid offline_access sign:requests templates workspaces.read",
    post_logout_redirect_uris=(f"{ORIGIN}/bye",),
)
SESSION = LuminConfig(
    client_id=CLIENT.client_id, client_secret="-", redirect_uri=REDIRECT_URI, secret_key=secrets.token_bytes(32)
).session_cookie
"""The name of the session's cookie of that site, on https; all others of ours begin with it."""
NAVIGATION = {
    "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-site": "none",
}
FETCH = {
    "accept": "application/json",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
    "sec-fetch-site": "same-origin",
}


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


async def say_who(request: Request) -> Response:
    """The application's default answer: who it sees, and what it can see."""
    client = request.state.lumin
    return JSONResponse(
        {
            "path": request.url.path,
            "subject": client.subject if client else None,
            "scope": sorted(client.scope) if client else [],
            "authenticated": request.user.is_authenticated,
            "cookie": request.headers.get("cookie", ""),
        }
    )


class App:
    """The application: counts what reaches it and answers with `handler`."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.handler: Callable[[Request], Awaitable[Response]] = say_who

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        request = Request(scope, receive, send)
        await (await self.handler(request))(scope, receive, send)


class Browser(httpx2.AsyncClient):
    """A browser with one cookie jar. `drop` names cookies that it refuses to keep."""

    def __init__(self, app: Any, site: Site) -> None:
        super().__init__(transport=httpx2.ASGITransport(app), base_url=ORIGIN)
        self.site = site

    async def navigate(self, url: str, **headers: str) -> httpx2.Response:
        """Somebody goes to `url`; the answer, not what it redirects to."""
        return await self.get(url, headers={**NAVIGATION, **headers})

    async def fetch(self, method: str, url: str, **headers: str) -> httpx2.Response:
        """A script of the page calls `url`."""
        return await self.request(method, url, headers={**FETCH, "origin": ORIGIN, **headers})

    async def begin(self, path: str = "/") -> str:
        """Goes to a page and is sent to the authorization endpoint: its URL."""
        response = await self.navigate(path)
        assert response.status_code == 303, response.text
        return response.headers["location"]

    async def sign_in(self, path: str = "/", **person: Any) -> httpx2.Response:
        """The whole way; the answer of the callback."""
        return await self.navigate(self.site.emulator.sign_in(await self.begin(path), **person))

    async def log_out(self) -> httpx2.Response:
        return await self.post(
            "/auth/logout", headers={**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}
        )

    def cookie_names(self) -> set[str]:
        return {cookie.name for cookie in self.cookies.jar}


def at_emulator(emulator: Emulator, **settings: Any) -> LuminConfig:
    """The settings of a site that is `CLIENT` at an emulator; those that are given count more."""
    defaults = {
        "client_id": CLIENT.client_id,
        "client_secret": CLIENT.client_secret,
        "redirect_uri": REDIRECT_URI,
        "secret_key": secrets.token_bytes(32),
        "server": AuthorizationServer.at(emulator.base),
        "api_url": f"{emulator.base}/v1",
        "timeout": 60,  # seconds: what answers is waited for, however busy the machine is
    }
    return LuminConfig(**{**defaults, **settings})


class Site:
    """Application, middleware, emulator, clock and store of one test."""

    def __init__(self, emulator: Emulator, clock: Clock, **settings: Any) -> None:
        self.emulator = emulator
        self.clock = clock
        self.app = App()
        self.store = settings.pop("store", None) or MemoryStore(clock=clock)
        self.config = at_emulator(emulator, store=self.store, **settings)
        self.middleware = LuminMiddleware(self.app, self.config, clock=clock)
        self.processes = [self.middleware]

    def with_settings(self, **settings: Any) -> Site:
        """Another process of this site: same store, same emulator, other settings where given."""
        other = Site.__new__(Site)
        other.__dict__.update(self.__dict__)
        other.app = App()
        other.config = replace(self.config, **settings)
        other.middleware = LuminMiddleware(other.app, other.config, clock=self.clock)
        self.processes.append(other.middleware)
        return other

    async def aclose(self) -> None:
        for middleware in self.processes:
            await middleware.aclose()

    def browser(self) -> Browser:
        return Browser(self.middleware, self)


@contextmanager
def site(**options: Any) -> Iterator[Site]:
    """A site with an emulator of its own. `emulator={…}` are the emulator's options, the rest are settings."""
    clock = options.pop("clock", None) or Clock()
    emulator_options = {"clients": [CLIENT], "clock": clock, **options.pop("emulator", {})}
    with serve(**emulator_options) as running:
        yield Site(running.emulator, clock, **options)


def query(url: str) -> dict[str, str]:
    """The parameters of a URL, each of which must stand there once."""
    found = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in found.values()), url
    return {name: values[0] for name, values in found.items()}


def set_cookies(response: httpx2.Response) -> dict[str, str]:
    """The `Set-Cookie` headers of an answer, whole, by cookie name."""
    return {line.partition("=")[0]: line for line in response.headers.get_list("set-cookie")}
