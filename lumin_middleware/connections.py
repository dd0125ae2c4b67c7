"""Connections: what every HTTP client of ours has in common, and a pool whose kept connections may have died.

No client keeps a cookie, and none asks a proxy for this machine itself.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2

from .config import CONNECT_TIMEOUT, LuminConfig
from .errors import ServerUnavailable

DIRECT: Final = dict.fromkeys(("all://localhost", "all://*.localhost", "all://127.0.0.0/8", "all://[::1]"))
"""httpx2's `mounts`: what is on this machine is reached without `HTTP_PROXY`; a proxy's `localhost` is another."""

ANEW = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
"""Each request has a connection of its own."""

KEEPALIVE = 2.0
"""Seconds that an unused connection is kept; many servers close theirs after 5, and a call that meets that is lost."""

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""The methods that do no more when they are done twice (RFC 9110, 9.2.2). POST is never sent twice."""

CUT = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
"""How it looks when a server closes a connection that it kept just as something is sent on it (RFC 9112, 9.3.1)."""


def tls_context() -> ssl.SSLContext:
    """What this process trusts, by `SSL_CERT_FILE` and `SSL_CERT_DIR`: read once, for it takes 20 ms or more."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=1)
def _tls_context(file: str | None, directory: str | None) -> ssl.SSLContext:
    context = httpx2.create_ssl_context()  # which reads these two itself
    context.sslobject_class = _SSLObject
    return context


class _SSLObject(ssl.SSLObject):
    """TLS on an event loop, which tells of a record or an alert that breaks a connection as of any other that broke.

    anyio lets these errors alone pass as they are, so that httpcore2 does not know them for what they are.
    """

    def read(self, *arguments: Any) -> Any:
        with _as_broken():
            return super().read(*arguments)

    def write(self, data: Any) -> int:
        with _as_broken():
            return super().write(data)


@contextmanager
def _as_broken() -> Iterator[None]:
    try:
        yield
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):
        raise  # what TLS is made of
    except ssl.SSLError as error:
        raise ssl.SSLSyscallError(*error.args) from error


def require_open(client: httpx2.Client | httpx2.AsyncClient) -> None:
    """Raises `ServerUnavailable` where the connections are closed, which a request may outlive (`aclose`).

    httpx2's own word for it is a RuntimeError, as of a mistake in the application.
    """
    if client.is_closed:
        raise ServerUnavailable("this site has closed its connections (aclose)", retry_after=1.0, sent=False)


def tell_of_a_name(event: str, info: Mapping[str, Any]) -> None:
    """Raises `ConnectError` where a host has a name that nobody can look up, as for any other that is not there.

    Of httpcore2's `trace`. Without an event loop Python's `idna` refuses such a name, by an error that httpcore2 does
    not know; it may be that of a proxy, or where a redirect leads.
    """
    if event.endswith(".connect_tcp.failed") and isinstance(info["exception"], UnicodeError):
        raise httpx2.ConnectError("the host's name cannot be looked up") from info["exception"]


def no_cookies() -> CookieJar:
    """A jar that takes none: they would be one person's in another's call, and grow for ever."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def is_replayable(stream: object) -> bool:
    """Whether a body can be sent again: bytes, and forms of bytes; not what was read from somewhere."""
    files = [getattr(field, "file", b"") for field in getattr(stream, "fields", ())]
    return isinstance(stream, httpx2.ByteStream) or (
        bool(files) and all(isinstance(file, bytes | str) for file in files)
    )


class _Attempt:
    """One request on its way: whether it went over a connection that was there before."""

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request
        self._is_new = False
        self._trace = request.extensions.get("trace")
        """The application's own, if it has one."""

    def may_be_repeated(self) -> bool:
        """Whether it was cut off by the end of a kept connection, and does no harm when it is done twice."""
        return not self._is_new and self.request.method in REPEATABLE and is_replayable(self.request.stream)

    def _see(self, event: str) -> None:
        if event == "connection.connect_tcp.started" or event.endswith("start_tls.complete"):
            self._is_new = True  # by TLS through a proxy: the head of the proxy's own answer is none
        elif event.endswith("receive_response_headers.complete"):
            self._is_new = False  # what follows on it, as after a redirect or a 401, finds it kept

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore2's `trace` extension."""
        self._see(event)
        if self._trace is not None:
            self._trace(event, info)
        tell_of_a_name(event, info)

    async def atrace(self, event: str, info: dict[str, Any]) -> None:
        """The same for an event loop."""
        self._see(event)
        if self._trace is not None:
            await self._trace(event, info)


class AsyncPool(httpx2.AsyncClient):
    """httpx2's client, which sends once more, on a new connection, what a kept one cut off before its answer began."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = options

    @cached_property
    def _anew(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(**{**self._options, "limits": ANEW})

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        attempt = _Attempt(request)
        request.extensions = {**request.extensions, "trace": attempt.atrace}
        try:
            response = await super().send(request, stream=True, **options)
        except CUT:
            if self.is_closed or not attempt.may_be_repeated():
                raise
            response = await self._anew.send(request, stream=True, **options)
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    async def aclose(self) -> None:
        await super().aclose()
        if "_anew" in vars(self):  # few ever need it
            await self._anew.aclose()


class Pool(httpx2.Client):
    """The same, blocking."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = options

    @cached_property
    def _anew(self) -> httpx2.Client:
        return httpx2.Client(**{**self._options, "limits": ANEW})

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        attempt = _Attempt(request)
        request.extensions = {**request.extensions, "trace": attempt.trace}
        try:
            response = super().send(request, stream=True, **options)
        except CUT:
            if self.is_closed or not attempt.may_be_repeated():
                raise
            response = self._anew.send(request, stream=True, **options)
        if not stream:
            try:
                response.read()
            except BaseException:
                response.close()
                raise
        return response

    def close(self) -> None:
        super().close()
        if "_anew" in vars(self):
            self._anew.close()


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
