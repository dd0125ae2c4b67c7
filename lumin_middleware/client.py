"""What the application finds on its request: a client for the Lumin API that is always signed in.

A thin one: httpx2's arguments and responses, one connection pool for everybody, and an `httpx2.Auth` that puts
the token in. The token goes to the API's origin and to no other, and the client ends with its request.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, Protocol

import httpx2

from .api_paths import build_path
from .config import CONNECT_TIMEOUT, LuminConfig
from .connections import DIRECT, AsyncPool, Pool, is_replayable, no_cookies
from .errors import (
    ClientMisused,
    InsufficientScope,
    LoginRequired,
    LuminError,
    ServerUnavailable,
    StoreUnavailable,
)
from .model import Session
from .ports import run
from .protocol.oauth import bearer

DISCARDED = 65_536
"""Bytes of a refusal's body that are read, so that its connection can be used again; a longer one costs a new one."""

KEEPALIVE = 2.0
"""Seconds that an unused connection is kept; many servers close theirs after 5, and a call that meets that is lost."""


class Holder(Protocol):
    """Whoever holds the session of one request, and renews it."""

    failed: LuminError | None
    """The last error of ours that the application was given."""

    @property
    def session(self) -> Session | None: ...

    async def fresh(self, *, rejected: str | None = None) -> Session: ...


def api_client(config: LuminConfig, context: ssl.SSLContext) -> httpx2.AsyncClient:
    """The connection pool that all share on one event loop."""
    return AsyncPool(**_pool_options(config, context))


def blocking_api_client(config: LuminConfig, context: ssl.SSLContext) -> httpx2.Client:
    """The connection pool that all threads of a process share."""
    return Pool(**_pool_options(config, context))


def _pool_options(config: LuminConfig, context: ssl.SSLContext) -> dict[str, Any]:
    return {
        "base_url": config.api_url,
        "verify": context,
        "mounts": DIRECT,
        "cookies": no_cookies(),
        "timeout": httpx2.Timeout(config.api_timeout, connect=CONNECT_TIMEOUT),
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE),
    }


class LuminAuth(httpx2.Auth):
    """Puts the access token into a request, and once more with a new one if the API answers 401."""

    def __init__(self, holder: Holder, origin: httpx2.Origin) -> None:
        self._holder = holder
        self._origin = origin

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        check_origin(request.url, self._origin)
        sent = (await self._holder.fresh()).tokens.access_token
        request.headers["Authorization"] = bearer(sent)
        response = yield request
        if response.status_code != 401 or not is_replayable(request.stream):
            return
        try:
            renewed = (await self._holder.fresh(rejected=sent)).tokens.access_token
        except (ServerUnavailable, StoreUnavailable):
            return  # the API's 401 is the best answer there is
        if renewed == sent:  # so new that another would fare no better
            return
        await _discard(response)
        request.headers["Authorization"] = bearer(renewed)
        yield request

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        # The same steps; without an event loop the holder never suspends.
        flow = self.async_auth_flow(request)
        answer: Any = None
        with suppress(StopAsyncIteration):
            while True:
                answer = yield run(flow.asend(answer))


async def _discard(response: httpx2.Response) -> None:
    """Takes the body off the connection, which can then be used again, as it came: it may unfold to very much.

    httpx2 reads whatever is answered in the middle of a flow; from here on that is nothing.
    """
    stream, size = response.stream, 0
    with suppress(httpx2.HTTPError):
        if isinstance(stream, httpx2.AsyncByteStream):
            async for piece in stream:
                if (size := size + len(piece)) > DISCARDED:
                    break
            await stream.aclose()
        else:
            assert isinstance(stream, httpx2.SyncByteStream)
            for piece in stream:
                if (size := size + len(piece)) > DISCARDED:
                    break
            stream.close()
    response.stream = httpx2.ByteStream(b"")
    response.headers.pop("content-encoding", None)


def check_origin(url: httpx2.URL, origin: httpx2.Origin) -> None:
    """Raises `ClientMisused` for a URL whose origin is another: the token must not go there."""
    if not url.is_absolute_url or url.origin != origin:
        raise ClientMisused(f"{str(url)!r} is not on {origin}, and the access token goes nowhere else")


class _Client:
    """What both colours share: who it is, and where the token may go."""

    __slots__ = ("_api_url", "_challenge", "_holder", "_http")

    def __init__(self, holder: Holder, http: Any, api_url: httpx2.URL, challenge: Callable[[Any, str], Any]) -> None:
        self._holder: Holder | None = holder
        self._http = http
        self._api_url = api_url
        self._challenge = challenge

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'open' if self._holder else 'closed'}>"

    @property
    def claims(self) -> Mapping[str, Any]:
        """What is known of the person: `sub`, `email`, `name`, … as far as Lumin gave it."""
        return self._session.claims

    @property
    def subject(self) -> str | None:
        """The person's identifier at Lumin, if it is known."""
        return self._session.claims.get("sub")

    @property
    def scope(self) -> frozenset[str]:
        """The scopes that were granted, which may be fewer than were asked for (RFC 6749, 3.3)."""
        return frozenset(self._session.tokens.scope)

    @property
    def expires_at(self) -> float:
        """When the access token expires, in seconds since the epoch. It is renewed by then."""
        return self._session.tokens.expires_at

    def require(self, scope: str) -> None:
        """Raises `InsufficientScope` where one of these scopes, space-separated, was not granted.

        Let it through: the middleware answers 403, or asks the person for the permission.
        """
        missing = " ".join(each for each in scope.split() if each not in self.scope)
        if missing:
            error = self._open().failed = InsufficientScope(missing)
            raise error

    def challenge(self, *, scope: str = "") -> Any:
        """The response that asks for what is missing: return it from your handler.

        Without `scope` it asks for a sign-in, with it for these scopes, space-separated.
        """
        return self._challenge(self._open(), scope)

    def close(self) -> None:
        """The request is over; the middleware calls this."""
        self._holder = None

    def _open(self) -> Holder:
        if self._holder is None:
            raise ClientMisused(
                "this Lumin client belongs to a request that is over; make the call before the answer is complete"
            )
        return self._holder

    @property
    def _session(self) -> Session:
        session = self._open().session
        if session is None:
            raise LoginRequired("nobody is signed in")
        return session

    def _call(self, method: str, path: str, parts: tuple[object, ...], options: dict[str, Any]) -> dict[str, Any]:
        """The arguments of httpx2's `request` and `stream`."""
        holder = self._open()
        if "auth" in options:
            raise ClientMisused("auth= is the middleware's; use another HTTP client for another sign-in")
        path = build_path(path, parts)
        url = httpx2.URL(path)
        if url.host or url.scheme:  # httpx2 would take "//elsewhere/x" for a path below the base
            check_origin(url, self._api_url.origin)
        return {"method": method, "url": path, "auth": LuminAuth(holder, self._api_url.origin), **options}


class AsyncLuminClient(_Client):
    """The Lumin API as the person who is signed in. Lives as long as its request.

    Paths are below the API's base: `await client.get("user/info")`. What comes from outside goes into a path as a
    part of its own: `await client.get("signature_request/{}", id)`, which quotes it, so that it never reaches another
    path. Arguments (`json=`, `params=`, `files=`, `content=`, `headers=`, `timeout=`, …) and responses are httpx2's.
    The token is renewed before it expires, and once when the API refuses it. A call that is cut off before its answer
    began, as on a kept connection that the server just closed, is sent once more where that does no harm: GET, HEAD,
    OPTIONS, PUT and DELETE without a streamed body, never POST or PATCH. Every call may raise `LoginRequired` when the
    session has ended, `ServerUnavailable` when no token can be had now, `ClientMisused` for a URL elsewhere, a path
    with dot segments or a call after the request, and httpx2's own errors.
    """

    __slots__ = ("_blocking", "_make_blocking")
    _http: httpx2.AsyncClient

    def __init__(
        self,
        holder: Holder,
        http: httpx2.AsyncClient,
        api_url: httpx2.URL,
        challenge: Callable[[Any, str], Any],
        make_blocking: Callable[[Any], LuminClient] | None = None,
    ) -> None:
        super().__init__(holder, http, api_url, challenge)
        self._make_blocking = make_blocking
        self._blocking: LuminClient | None = None

    @property
    def blocking(self) -> LuminClient:
        """The same client for code that runs in a thread: `def` endpoints of FastAPI, `def` views of Django.

        Its methods block until the answer is there. Called on the event loop itself, they raise `ClientMisused`.
        """
        if self._blocking is None:
            if self._make_blocking is None:
                raise ClientMisused("this client has no blocking kind")
            self._blocking = self._make_blocking(self._open())
        return self._blocking

    def close(self) -> None:
        super().close()
        if self._blocking is not None:
            self._blocking.close()

    async def access_token(self) -> str:
        """A token that is valid now, for another HTTP library. Do not keep it, log it or send it elsewhere."""
        return (await self._open().fresh()).tokens.access_token

    async def request(self, method: str, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """A call with any method."""
        return await self._http.request(**self._call(method, path, parts, options))

    def stream(
        self, method: str, path: str, *parts: object, **options: Any
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """The same, with the response's body left to be read: `async with client.stream("GET", …) as response`."""
        return self._http.stream(**self._call(method, path, parts, options))

    async def get(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("GET", path, *parts, **options)

    async def head(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("HEAD", path, *parts, **options)

    async def options(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("OPTIONS", path, *parts, **options)

    async def post(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("POST", path, *parts, **options)

    async def put(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("PUT", path, *parts, **options)

    async def patch(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("PATCH", path, *parts, **options)

    async def delete(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return await self.request("DELETE", path, *parts, **options)


class LuminClient(_Client):
    """The same without an event loop: what a WSGI application finds. Every call blocks."""

    __slots__ = ()
    _http: httpx2.Client

    @property
    def blocking(self) -> LuminClient:
        """This client, which blocks already; so that what is written for a thread works on both edges."""
        return self

    def access_token(self) -> str:
        """A token that is valid now, for another HTTP library. Do not keep it, log it or send it elsewhere."""
        return run(self._open().fresh()).tokens.access_token

    def request(self, method: str, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """A call with any method."""
        return self._http.request(**self._call(method, path, parts, options))

    def stream(self, method: str, path: str, *parts: object, **options: Any) -> AbstractContextManager[httpx2.Response]:
        """The same, with the response's body left to be read: `with client.stream("GET", …) as response`."""
        return self._http.stream(**self._call(method, path, parts, options))

    def get(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("GET", path, *parts, **options)

    def head(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("HEAD", path, *parts, **options)

    def options(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("OPTIONS", path, *parts, **options)

    def post(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("POST", path, *parts, **options)

    def put(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("PUT", path, *parts, **options)

    def patch(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("PATCH", path, *parts, **options)

    def delete(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        return self.request("DELETE", path, *parts, **options)
