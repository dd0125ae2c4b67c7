"""What the application finds on its request: a client for the Lumin API that is always signed in.

A thin one: httpx2's arguments and responses, one connection pool for everybody (`connections`), and an `httpx2.Auth`
that puts the token in (`authorization`). The client ends with its request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import httpx2
from starlette.responses import Response

from .api_paths import build_path
from .authorization import Holder, LuminAuth, check_open, check_origin
from .errors import ClientMisused, InsufficientScope, LoginRequired
from .model import Session, Wanted
from .ports import run

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

URLS = 256
"""URLs of the API that are remembered, those of an application and of the documents at hand: to make one takes a tenth
of what a call takes here."""


T = TypeVar("T")


class WsgiAnswer(Protocol):
    """What `LuminClient.challenge` gives: a WSGI application, and its parts for a framework that takes none."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]: ...


def no_challenge(holder: Any, wanted: Wanted) -> Any:
    """In the place of a challenge, where there is no request to answer."""
    raise ClientMisused("nobody is there to be asked: this client acts for somebody who is away")


class Api:
    """What the clients of one site have in common, so that each has but its holder.

    `http` are the connections that all share. `challenge` makes the response that asks a holder's person for what is
    missing, and `blocking` the client for a thread.
    """

    __slots__ = ("base", "blocking", "challenge", "http", "origin")

    def __init__(
        self,
        http: httpx2.AsyncClient | httpx2.Client,
        challenge: Callable[[Any, Wanted], Any] = no_challenge,
        blocking: Callable[[Any], LuminClient] | None = None,
    ) -> None:
        self.http: Any = http
        self.base = str(http.base_url)
        self.origin = http.base_url.origin
        """Where the token may go."""
        self.challenge = challenge
        self.blocking = blocking


@lru_cache(maxsize=URLS)
def _url(base: str, path: str) -> httpx2.URL:
    """The URL of a path below the API's base, as httpx2 joins them, or one of the API's. Raises `ClientMisused`."""
    url, below = httpx2.URL(path), httpx2.URL(base)
    if url.host or url.scheme:  # httpx2 would take "//elsewhere/x" for a path below the base
        check_origin(url, below.origin)
        return url
    return below.copy_with(raw_path=below.raw_path + url.raw_path.lstrip(b"/"))


class _Client(Generic[T]):
    """What both colours share: who it is, and where the token may go."""

    __slots__ = ("_api", "_holder")

    def __init__(self, holder: Holder, api: Api) -> None:
        self._holder: Holder | None = holder
        self._api = api

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'open' if self._holder else 'closed'}>"

    def __reduce__(self) -> Any:
        raise ClientMisused(
            "a Lumin client cannot be copied, or sent to another process: it ends with its request; hand over"
            " client.subject, and act for the person there by a grant of theirs (Grants)"
        )

    @property
    def claims(self) -> Mapping[str, Any]:
        """What is known of the person: `sub`, `email`, `name`, … as far as Lumin gave it.

        A copy: all requests of a session in a process share what is known, and nobody may write on it.
        """
        return deepcopy(self._session.claims)

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

        Let it through: the middleware answers 403, or asks the person for the permission. Who would catch it looks at
        `scope` instead: a 500 of the application's that comes after it is taken for it.
        """
        missing = " ".join(each for each in scope.split() if each not in self.scope)
        if missing:
            error = self._open().failed = InsufficientScope(missing)
            raise error

    @property
    def auth_time(self) -> float:
        """When the person proved to Lumin who they are, in seconds since the epoch: the ID token's `auth_time`, or
        where it has none, when they signed in here."""
        session = self._session
        return session.began if session.auth_time is None else session.auth_time

    def challenge(
        self, *, scope: str = "", max_age: float | None = None, offline: bool = False, name: str = "default"
    ) -> T:
        """The response that asks for what is missing: return it from your handler.

        `scope` asks for these scopes, space-separated; `max_age` for a sign-in at Lumin that is no longer ago, in
        seconds (compare `auth_time` first); `offline` to be acted for while away, by a grant of that `name` (`Grants`;
        look with `find` first, since the person comes back to this page). Without any it asks for a sign-in.
        Under ASGI it is a response of Starlette's (also that of `blocking`), under WSGI a WSGI application.
        """
        found: T = self._api.challenge(self._open(), Wanted(tuple(scope.split()), max_age, name if offline else None))
        return found

    def close(self) -> None:
        """The request is over; the middleware calls this."""
        self._holder = None

    def _open(self) -> Holder:
        if self._holder is None:
            raise ClientMisused(
                "this Lumin client belongs to a request that is over; make the call before the answer is complete,"
                " or act for the person by a grant of theirs (Grants)"
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
        check_open(self._api.http, holder)
        url = _url(self._api.base, build_path(path, parts))
        return {"method": method, "url": url, "auth": LuminAuth(holder, self._api.origin, self._api.http), **options}


class AsyncLuminClient(_Client[Response]):
    """The Lumin API as the person who is signed in. Lives as long as its request.

    Paths are below the API's base: `await client.get("user/info")`. What comes from outside goes into a path as a
    part of its own: `await client.get("signature_request/{}", id)`, which quotes it, so that it never reaches another
    path. Arguments (`json=`, `params=`, `files=`, `content=`, `headers=`, `timeout=`, …) and responses are httpx2's.
    The token is renewed before it expires, and once when the API refuses it. A call that is cut off before its answer
    began, as on a kept connection that the server just closed, is sent once more where that does no harm: GET, HEAD,
    OPTIONS, PUT and DELETE without a streamed body, never POST or PATCH. Every call may raise `LoginRequired` when the
    session has ended, `ServerUnavailable` when no token can be had now or the site has closed its connections,
    `ClientMisused` for a URL elsewhere, a path with dot segments or a call after the request, and httpx2's own errors.
    """

    __slots__ = ("_blocking",)

    def __init__(self, holder: Holder, api: Api) -> None:
        self._holder = holder  # written out, since each request makes one
        self._api = api
        self._blocking: LuminClient | None = None

    @property
    def blocking(self) -> LuminClient:
        """The same client for code that runs in a thread: `def` endpoints of FastAPI, `def` views of Django.

        Its methods block until the answer is there. Called on the event loop itself, they raise `ClientMisused`.
        """
        if self._blocking is None:
            if self._api.blocking is None:
                raise ClientMisused("this client has no blocking kind")
            self._blocking = self._api.blocking(self._open())
        return self._blocking

    def close(self) -> None:
        self._holder = None
        if self._blocking is not None:
            self._blocking.close()

    async def access_token(self) -> str:
        """A token that is valid now, for another HTTP library. Do not keep it, log it or send it elsewhere."""
        return (await self._open().fresh()).tokens.access_token

    async def request(self, method: str, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """A call with any method: `parts` stand for each `{}` of the path, `options` are httpx2's arguments."""
        response: httpx2.Response = await self._api.http.request(**self._call(method, path, parts, options))
        return response

    def stream(
        self, method: str, path: str, *parts: object, **options: Any
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """The same, with the response's body left to be read: `async with client.stream("GET", …) as response`."""
        streamed: AbstractAsyncContextManager[httpx2.Response] = self._api.http.stream(
            **self._call(method, path, parts, options)
        )
        return streamed

    async def get(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`GET`: see `request`."""
        return await self.request("GET", path, *parts, **options)

    async def head(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`HEAD`: see `request`."""
        return await self.request("HEAD", path, *parts, **options)

    async def options(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`OPTIONS`: see `request`."""
        return await self.request("OPTIONS", path, *parts, **options)

    async def post(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`POST`: see `request`."""
        return await self.request("POST", path, *parts, **options)

    async def put(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`PUT`: see `request`."""
        return await self.request("PUT", path, *parts, **options)

    async def patch(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`PATCH`: see `request`."""
        return await self.request("PATCH", path, *parts, **options)

    async def delete(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`DELETE`: see `request`."""
        return await self.request("DELETE", path, *parts, **options)


class LuminClient(_Client[WsgiAnswer]):
    """The same without an event loop: what a WSGI application finds. Every call blocks."""

    __slots__ = ()

    @property
    def blocking(self) -> LuminClient:
        """This client, which blocks already; so that what is written for a thread works on both edges."""
        return self

    def access_token(self) -> str:
        """A token that is valid now, for another HTTP library. Do not keep it, log it or send it elsewhere."""
        return run(self._open().fresh()).tokens.access_token

    def request(self, method: str, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """A call with any method: `parts` stand for each `{}` of the path, `options` are httpx2's arguments."""
        response: httpx2.Response = self._api.http.request(**self._call(method, path, parts, options))
        return response

    def stream(self, method: str, path: str, *parts: object, **options: Any) -> AbstractContextManager[httpx2.Response]:
        """The same, with the response's body left to be read: `with client.stream("GET", …) as response`."""
        streamed: AbstractContextManager[httpx2.Response] = self._api.http.stream(
            **self._call(method, path, parts, options)
        )
        return streamed

    def get(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`GET`: see `request`."""
        return self.request("GET", path, *parts, **options)

    def head(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`HEAD`: see `request`."""
        return self.request("HEAD", path, *parts, **options)

    def options(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`OPTIONS`: see `request`."""
        return self.request("OPTIONS", path, *parts, **options)

    def post(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`POST`: see `request`."""
        return self.request("POST", path, *parts, **options)

    def put(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`PUT`: see `request`."""
        return self.request("PUT", path, *parts, **options)

    def patch(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`PATCH`: see `request`."""
        return self.request("PATCH", path, *parts, **options)

    def delete(self, path: str, *parts: object, **options: Any) -> httpx2.Response:
        """`DELETE`: see `request`."""
        return self.request("DELETE", path, *parts, **options)
