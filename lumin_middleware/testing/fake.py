"""A Lumin for unit tests: no server, no network, no sign-in. The client is the real one, and a table answers it.

An application stands behind the real edges, too, which here let everybody in. What there is not: pages, redirects,
renewal. For those there is the emulator.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import httpx2

from .. import wsgi
from ..asgi import LuminMiddleware, parameters
from ..client import Api, AsyncLuminClient, LuminClient
from ..config import LuminConfig
from ..errors import InsufficientScope, LoginRequired, LuminError, ServerUnavailable, SessionEnded
from ..model import NOTHING, Request, Response, Session, TokenSet, Wanted
from ..reasons import REASONS
from ..runtime import answering, wsgi_passage
from ..sessions.cookies import Cookies
from ..site import pages
from ..site.places import Places, target
from ..site.visit import Came, Visit
from .inside import without

API = httpx2.URL(LuminConfig.api_url)

CLAIMS: Mapping[str, Any] = {
    "sub": "fake-person",
    "email": "ada@example.com",
    "email_verified": True,
    "name": "Ada Lovelace",
}
"""Who is signed in, unless a test says otherwise."""

SCOPE = LuminConfig.scope

CONFIG = LuminConfig(
    client_id="fake",
    client_secret="fake",
    redirect_uri="https://testserver/auth/callback",
    secret_key=secrets.token_bytes(32),
    store="memory://",
)
"""Settings of a site that nobody signs in to."""

Answers = Mapping[str, Any]


def fake_lumin(
    responses: Answers | None = None,
    *,
    claims: Mapping[str, Any] | None = CLAIMS,
    scope: str = SCOPE,
    expires_in: float = 3600.0,
) -> FakeLumin:
    """A fake whose API answers from `responses`: `fake_lumin({"GET user/info": {"user": {"id": "ada"}}})`.

    A key is a method and a path below the API's base, or a path for all methods; `*` stands for anything, and the
    first key that fits counts. A value is a status, a JSON document, an `httpx2.Response`, or a function that gets
    the `httpx2.Request` and returns one of them. A call that no key fits is an `AssertionError`.

    `claims` is who is signed in, and None is nobody; `scope` is what was granted, and `expires_in` the seconds that
    the token has left, which nothing renews.
    """
    return FakeLumin(dict(responses or {}), claims, scope, expires_in)


class FakeLumin:
    """What `fake_lumin` makes. `client` and `blocking` are for a function under test, `wrap` for an application."""

    def __init__(
        self, responses: dict[str, Any], claims: Mapping[str, Any] | None, scope: str, expires_in: float
    ) -> None:
        self.responses = responses
        """The table, which a test may change at any time."""
        self.calls: list[httpx2.Request] = []
        """Every call to the API, oldest first."""
        self.session = None if claims is None else _session(claims, scope, expires_in)
        self.trouble: LuminError | None = None
        transport = httpx2.MockTransport(self._answer)
        self.http = httpx2.AsyncClient(transport=transport, base_url=API)
        self.blocking_http = httpx2.Client(transport=transport, base_url=API)

    @property
    def client(self) -> AsyncLuminClient:
        """A client as a handler finds it under ASGI."""
        return AsyncLuminClient(_Visit(self), Api(self.http, answering.Challenge, lambda _: self.blocking))

    @property
    def blocking(self) -> LuminClient:
        """A client as a handler finds it under WSGI, and in a thread."""
        return LuminClient(_Visit(self), Api(self.blocking_http, wsgi_passage.Challenge.of))

    def end_session(self) -> None:
        """From now on the session is over: every call raises `SessionEnded`."""
        self.trouble = SessionEnded("the session has ended")

    def be_down(self) -> None:
        """From now on no token is to be had: every call raises `ServerUnavailable`."""
        self.trouble = ServerUnavailable("Lumin does not answer")

    def wrap(self, app: Any) -> Any:
        """The application with the fake in `LuminMiddleware`'s place: ASGI or WSGI, whichever it is.

        Everything is open, and whoever is signed in is so everywhere. An error of ours that the application lets
        through is answered with its status and a problem document. A `LuminMiddleware` that it has already is left out.
        Raises `ValueError` where that stands too deep in it.
        """
        app = without(app)
        return _Wsgi(app, self) if parameters(app) == 2 else _Asgi(app, self)

    def at_once(self, path: str, raw: bytes | str, cookie: bytes, came: Came) -> _Visit:
        """The same for a request that is written plainly."""
        read, *of = came
        return _Visit(self, read(*of))

    async def handle(self, request: Request) -> _Visit:
        """Whoever comes may pass: what `RelyingParty` decides for the edges."""
        return _Visit(self, request)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.calls.append(request)
        found = _first(self.responses, request.method, request.url.path.removeprefix(f"{API.path}/"))
        if callable(found):
            found = found(request)
        if isinstance(found, httpx2.Response):  # which may be given more than once, and is read by now
            body, framing = found.read(), ("content-encoding", "content-length", "transfer-encoding")
            headers = [item for item in found.headers.multi_items() if item[0].lower() not in framing]
            return httpx2.Response(found.status_code, headers=headers, content=body)
        is_status = isinstance(found, int) and not isinstance(found, bool)
        return httpx2.Response(found) if is_status else httpx2.Response(200, json=found)


def _session(claims: Mapping[str, Any], scope: str, expires_in: float) -> Session:
    now = time.time()
    tokens = TokenSet("fake-access-token", now + expires_in, expires_in, tuple(scope.split()))
    return Session("fake", 0, now, now, tokens, dict(claims))


def _first(responses: Answers, method: str, path: str) -> Any:
    for key, found in responses.items():
        wanted, _, pattern = key.rpartition(" ")
        if wanted in ("", method) and fnmatchcase(path, pattern.lstrip("/")):
            return found
    raise AssertionError(f"the application called {method} {path}, which is not among the responses of fake_lumin")


# --- in the place of what decides -----------------------------------------------------------------------


class _Visit(Visit):
    """A request that passes, whatever it brings."""

    def __init__(self, fake: FakeLumin, request: Request | None = None) -> None:
        request = request or Request("GET", "/", "/", "", [])
        super().__init__(fake, request, Cookies(CONFIG).jar(request.cookie))  # type: ignore[arg-type]
        self._fake = fake
        self.session = fake.session

    async def fresh(self, *, rejected: str | None = None) -> Session:
        self.failed = self._fake.trouble or (None if self.session else LoginRequired("nobody is signed in"))
        if self.failed is not None:
            raise self.failed
        assert self.session is not None
        return self.session

    async def is_over(self) -> bool:
        return isinstance(self._fake.trouble, SessionEnded)

    async def challenge(self, wanted: Wanted = NOTHING) -> Response:
        """What `RelyingParty.challenge` asks a program for; of a person's age here is nothing known."""
        granted = self.session.tokens.scope if self.session else wanted.scope
        missing = [token for token in wanted.scope if token not in granted]
        if missing:
            return self.failure(InsufficientScope(" ".join(missing)))
        if self.session and wanted.grant is not None:
            url = Places(CONFIG).connect_to(target(self.request), wanted.grant)
            return pages.problem(403, "not_connected", REASONS["not_connected"].title, connect_url=url)
        return self.failure(LoginRequired("nobody is signed in"))

    async def answer(self, error: LuminError) -> Response:
        return self.failure(error)

    def failure(self, error: LuminError) -> Response:
        return pages.problem(error.status_hint, error.reason, str(error))


class _World:
    """What the edges need of a world to pass a request on."""

    def __init__(self, api: Api) -> None:
        self.api = api

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whichever runs."""
        return asyncio.get_running_loop()

    @contextmanager
    def listening(self, session_id: str) -> Iterator[asyncio.Event]:
        """Nobody announces anything."""
        yield asyncio.Event()

    async def aclose(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


class _Asgi(LuminMiddleware):
    def __init__(self, app: Any, fake: FakeLumin) -> None:
        super().__init__(app, CONFIG)
        challenge = answering.Challenge
        in_threads = Api(fake.blocking_http, challenge)
        api = Api(fake.http, challenge, lambda holder: LuminClient(holder, in_threads))
        self._party: Any = lambda: (fake, _World(api))


class _Wsgi(wsgi.LuminMiddleware):
    def __init__(self, app: Any, fake: FakeLumin) -> None:
        super().__init__(app, CONFIG)
        self._fake = fake

    def _party(self) -> Any:
        return self._fake, _World(Api(self._fake.blocking_http, wsgi_passage.Challenge.of))
