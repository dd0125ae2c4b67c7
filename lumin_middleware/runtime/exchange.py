"""The authorization server over HTTP: Authlib speaks OAuth, httpx2 carries it.

One short-lived Authlib client for each operation, so that no token outlives it, on a connection pool that it
can't close. Its own reading of a token response is replaced by ours: Authlib takes any JSON object
without `error` for tokens. Nothing is ever sent twice.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import zlib
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, quote_plus, urlencode

import anyio
import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client

from ..config import CONNECT_TIMEOUT, LuminConfig
from ..connections import ANEW, DIRECT, no_cookies
from ..errors import OAuthError, ServerUnavailable
from ..model import AuthorizationCode
from ..ports import Answer
from ..protocol import oauth
from .surroundings import ClockWatch

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer that are read. Token responses have some 2,000; key sets some 10,000."""

REVOKE_TIMEOUT = 3.0
"""Seconds that a person who signs out waits for the server at most."""

# Compressed answers are not asked for, since a small one can unfold to a large one. Some proxies send them anyway.
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


def client_secret_basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """RFC 6749, 2.3.1: both halves form-encoded before they are joined, which Authlib leaves out."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return uri, headers, body


def client_secret_post(client: Any, method: str, uri: str, headers: Any, body: bytes) -> tuple[str, Any, Any]:
    """RFC 6749, 2.3.1. Authlib's own fails where what the body holds is not ASCII."""
    pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
    pairs += [("client_id", client.client_id), ("client_secret", client.client_secret)]
    return uri, headers, urlencode(pairs).encode()


def media_type(response: httpx2.Response) -> str:
    """The media type without its parameters (RFC 9110, 8.3.1)."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _answer(response: httpx2.Response) -> Answer:
    headers = response.headers
    said = oauth.retry_after(headers.get("retry-after", ""), headers.get("date", ""))
    return Answer(response.status_code, media_type(response), response.content, said)


class _Strict:
    """Authlib's client with `oauth.token_response` as its judge."""

    token: Any = None  # in place of Authlib's property, which reads `expires_in` in a way of its own

    def parse_response_token(self, resp: httpx2.Response) -> Any:
        self.token = oauth.token_response(_answer(resp))
        return self.token


class _AsyncStrictClient(_Strict, AsyncOAuth2Client):  # type: ignore[misc]
    pass


class _StrictClient(_Strict, OAuth2Client):  # type: ignore[misc]
    pass


class _Exchange(ABC):
    """`ports.Exchange`, but for how an operation is performed."""

    client_class: ClassVar[type[Any]]

    def __init__(self, config: LuminConfig, pool: Any) -> None:
        self._config = config
        self._pool = pool

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        """RFC 6749, 4.1.3 with RFC 7636, 4.5."""
        found: Mapping[str, Any] = await self._perform(
            lambda client: client.fetch_token(
                token_endpoint,
                grant_type="authorization_code",
                code=code.code,
                code_verifier=code.transaction.code_verifier,
            ),
            self._config.timeout,
        )
        return found

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        """RFC 6749, 6."""
        found: Mapping[str, Any] = await self._perform(
            lambda client: client.refresh_token(token_endpoint, refresh_token=refresh_token), self._config.timeout
        )
        return found

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """RFC 7009, 2.1."""
        response: httpx2.Response = await self._perform(
            lambda client: client.revoke_token(revocation_endpoint, token=token),
            min(REVOKE_TIMEOUT, self._config.timeout),
        )
        if response.status_code != 200:
            raise OAuthError("revocation_refused", f"the revocation endpoint answered {response.status_code}")

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        """GET, with the token in the header and nowhere else (RFC 6750, 2.1)."""
        headers = {"Authorization": oauth.bearer(access_token)} if access_token else {}
        response: httpx2.Response = await self._perform(
            lambda client: client.request("GET", url, headers=headers, withhold_token=True), self._config.timeout
        )
        return _answer(response)

    def _client(self, seconds: float) -> Any:
        config = self._config
        client = self.client_class(
            client_id=config.client_id,
            client_secret=str(config.client_secret),
            redirect_uri=config.redirect_uri,
            token_endpoint_auth_method=config.token_endpoint_auth_method,
            revocation_endpoint_auth_method=config.token_endpoint_auth_method,
            transport=self._pool,
            trust_env=False,  # the pool's client has looked at the environment already
            timeout=httpx2.Timeout(seconds, connect=min(CONNECT_TIMEOUT, seconds)),
            headers=_HEADERS,
        )
        client.register_client_auth_method(("client_secret_basic", client_secret_basic))
        client.register_client_auth_method(("client_secret_post", client_secret_post))
        return client

    @abstractmethod
    async def _perform(self, operation: Callable[[Any], Any], seconds: float) -> Any:
        """What the operation makes of a client, within the time. Raises `ServerUnavailable`."""


_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
"""The errors after which nothing of a request has left this process."""


def _unavailable(error: Exception) -> ServerUnavailable:
    message = f"the server gave no answer: {type(error).__name__}"
    return ServerUnavailable(message, retry_after=1.0, sent=not isinstance(error, _UNSENT))


def _options(context: ssl.SSLContext) -> dict[str, Any]:
    # Where a server closes a connection that it kept just as a token is sent on it, the outcome would be unknown.
    return {"verify": context, "mounts": DIRECT, "cookies": no_cookies(), "limits": ANEW}


_KEPT = frozenset({b"content-type", b"retry-after", b"date"})
"""The headers of an answer that anybody here reads."""


def _whole(request: httpx2.Request, response: httpx2.Response, body: bytearray) -> httpx2.Response:
    headers = [(name, value) for name, value in response.headers.raw if name.lower() in _KEPT]
    content = unfolded(bytes(body), response.headers.get("content-encoding", ""))
    return httpx2.Response(response.status_code, headers=headers, content=content, request=request)


def unfolded(body: bytes, coding: str) -> bytes:
    """The content of a body in one of the codings that zlib reads (RFC 9110, 8.4.1); of another, the body as it came.

    Never more than `BODY_LIMIT` bytes are unfolded. Of a body that is cut or broken nothing is left, so that its status
    still counts. Raises `RemoteProtocolError` for one that is longer.
    """
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of either
    try:
        content = decoder.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        return b""
    if len(content) > BODY_LIMIT:
        raise httpx2.RemoteProtocolError("the answer is too long when it is unfolded")
    return content if decoder.eof else b""


# --- on an event loop -----------------------------------------------------------------------------------


class _AsyncPool(httpx2.AsyncBaseTransport):
    """Sends through a shared client that nobody who uses this can close, and reads a bounded answer."""

    def __init__(self, client: httpx2.AsyncClient, clocks: ClockWatch) -> None:
        self._client = client
        self._clocks = clocks

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise httpx2.RemoteProtocolError("the answer is too long")
        finally:
            await response.aclose()
        self._clocks.compare(response.headers.get("date", ""))
        return _whole(request, response, body)


class AsyncExchange(_Exchange):
    """The authorization server for an event loop."""

    client_class = _AsyncStrictClient

    def __init__(self, config: LuminConfig, context: ssl.SSLContext, clock: Callable[[], float] = time.time) -> None:
        self._http = httpx2.AsyncClient(**_options(context))
        super().__init__(config, _AsyncPool(self._http, ClockWatch(clock)))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _perform(self, operation: Callable[[Any], Any], seconds: float) -> Any:
        try:
            with anyio.fail_after(seconds):
                return await operation(self._client(seconds))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise _unavailable(error) from None


# --- without one ----------------------------------------------------------------------------------------


class _Limit:
    """A time limit on one operation: at its end the connection is shut, whatever is being waited for on it.

    httpx2 limits each wait alone, so that a server which sends a byte a second would hold a thread for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        with suppress(RuntimeError):  # no thread can start when the interpreter ends: each wait is limited all the same
            self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        for each in self._sockets:
            each.close()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore2's `trace` extension: learns of the connection, also of one to a proxy.

        Of a duplicate of its socket, since TLS takes the socket itself away.
        """
        if event.endswith(".connect_tcp.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            if self.is_over:
                self._shut()

    def _end(self) -> None:
        self.is_over = True
        self._shut()

    def _shut(self) -> None:
        for each in [*self._sockets]:
            with suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)


class _Pool(httpx2.BaseTransport):
    """The same, blocking."""

    def __init__(self, client: httpx2.Client, clocks: ClockWatch) -> None:
        self._client = client
        self._clocks = clocks

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = bytearray()
        with _Limit(request.extensions["timeout"]["read"]) as limit:
            request.extensions["trace"] = limit.trace
            with closing(self._client.send(request, stream=True)) as response:
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        raise httpx2.RemoteProtocolError("the answer is too long")
        if limit.is_over:  # a body that ends with its connection may look whole
            raise httpx2.RemoteProtocolError("the answer takes too long")
        self._clocks.compare(response.headers.get("date", ""))
        return _whole(request, response, body)


class Exchange(_Exchange):
    """The authorization server for a thread: nothing here suspends."""

    client_class = _StrictClient

    def __init__(self, config: LuminConfig, context: ssl.SSLContext, clock: Callable[[], float] = time.time) -> None:
        self._http = httpx2.Client(**_options(context))
        super().__init__(config, _Pool(self._http, ClockWatch(clock)))

    def close(self) -> None:
        self._http.close()

    async def _perform(self, operation: Callable[[Any], Any], seconds: float) -> Any:
        try:
            return operation(self._client(seconds))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise _unavailable(error) from None
