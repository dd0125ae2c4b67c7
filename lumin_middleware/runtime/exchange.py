"""The authorization server over HTTP: Authlib speaks OAuth, httpx2 carries it.

One short-lived Authlib client for each operation, so that no token outlives it, on a connection pool that it
can't close (`bounded`). Its own reading of a token response is replaced by ours: Authlib takes any JSON object
without `error` for tokens. Nothing is ever sent twice.
"""

from __future__ import annotations

import ssl
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote_plus, urlencode

import anyio
import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client

from ..config import CONNECT_TIMEOUT, LuminConfig
from ..errors import OAuthError, ServerUnavailable
from ..model import AuthorizationCode
from ..ports import Answer
from ..protocol import oauth
from .bounded import AsyncPool, Pool, options
from .surroundings import ClockWatch

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


# --- on an event loop -----------------------------------------------------------------------------------


class AsyncExchange(_Exchange):
    """The authorization server for an event loop."""

    client_class = _AsyncStrictClient

    def __init__(self, config: LuminConfig, context: ssl.SSLContext, clock: Callable[[], float] = time.time) -> None:
        self._http = httpx2.AsyncClient(**options(context))
        super().__init__(config, AsyncPool(self._http, ClockWatch(clock)))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _perform(self, operation: Callable[[Any], Any], seconds: float) -> Any:
        try:
            with anyio.fail_after(seconds):
                return await operation(self._client(seconds))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise _unavailable(error) from None
        except RuntimeError as error:
            if type(error) is not RuntimeError:  # a mistake, and nobody's trouble
                raise
            # At the end of a process no thread can start to look up a name.
            raise ServerUnavailable(f"nothing was sent: {error}", retry_after=1.0, sent=False) from None


# --- without one ----------------------------------------------------------------------------------------


class Exchange(_Exchange):
    """The authorization server for a thread: nothing here suspends."""

    client_class = _StrictClient

    def __init__(self, config: LuminConfig, context: ssl.SSLContext, clock: Callable[[], float] = time.time) -> None:
        self._http = httpx2.Client(**options(context))
        super().__init__(config, Pool(self._http, ClockWatch(clock)))

    def close(self) -> None:
        self._http.close()

    async def _perform(self, operation: Callable[[Any], Any], seconds: float) -> Any:
        try:
            return operation(self._client(seconds))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise _unavailable(error) from None
