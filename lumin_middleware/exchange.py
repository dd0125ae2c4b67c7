"""The authorization server over HTTP: Authlib speaks OAuth, httpx2 carries it.

One short-lived Authlib client for each operation, so that no token outlives it, on a connection pool that it
can't close. Its own reading of a token response is replaced by ours: Authlib takes any JSON object
without `error` for tokens. Nothing is ever sent twice.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import anyio
import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc6749 import OAuth2Token

from . import oauth
from .config import LuminConfig
from .errors import OAuthError, ServerUnavailable
from .model import AuthorizationCode
from .ports import Answer

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer that are read. Token responses have some 2,000; key sets some 10,000."""

CONNECT_TIMEOUT = 3.0
"""Seconds to connect, TLS included: enough for three lost packets."""

REVOKE_TIMEOUT = 3.0
"""Seconds that a person who signs out waits for the server at most."""

# Compressed answers are not asked for, since a small one can unfold to a large one.
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


def client_secret_basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """RFC 6749, 2.3.1: both halves form-encoded before they are joined, which Authlib leaves out."""
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return uri, headers, body


def media_type(response: httpx2.Response) -> str:
    """The media type without its parameters (RFC 9110, 8.3.1)."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


class _StrictClient(AsyncOAuth2Client):  # type: ignore[misc]
    """Authlib's client with `oauth.token_response` as its judge."""

    def parse_response_token(self, resp: httpx2.Response) -> Any:
        found = oauth.token_response(Answer(resp.status_code, media_type(resp), resp.content))
        self.token = OAuth2Token(found)
        return self.token


class _Pool(httpx2.AsyncBaseTransport):
    """Sends through a shared client that nobody who uses this can close, and reads a bounded answer."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise httpx2.RemoteProtocolError("the answer is too long")
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.raw if name.lower() == b"content-type"]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)


class AsyncExchange:
    """`ports.Exchange` on an event loop."""

    def __init__(self, config: LuminConfig, context: ssl.SSLContext) -> None:
        self._config = config
        # No idle connections: one that the server closes just as a token is sent leaves the outcome unknown.
        self._client = httpx2.AsyncClient(
            verify=context,
            limits=httpx2.Limits(max_keepalive_connections=0),
            timeout=httpx2.Timeout(config.timeout, connect=min(CONNECT_TIMEOUT, config.timeout)),
        )
        self._pool = _Pool(self._client)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        """RFC 6749, 4.1.3 with RFC 7636, 4.5."""
        found: Mapping[str, Any] = await self._ask(
            lambda client: client.fetch_token(
                token_endpoint,
                headers=None,
                grant_type="authorization_code",
                code=code.code,
                code_verifier=code.transaction.code_verifier,
            )
        )
        return found

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        """RFC 6749, 6."""
        found: Mapping[str, Any] = await self._ask(
            lambda client: client.refresh_token(token_endpoint, refresh_token=refresh_token)
        )
        return found

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """RFC 7009, 2.1."""
        answer: httpx2.Response = await self._ask(
            lambda client: client.revoke_token(revocation_endpoint, token=token),
            seconds=min(REVOKE_TIMEOUT, self._config.timeout),
        )
        if answer.status_code != 200:
            raise OAuthError("revocation_refused", f"the revocation endpoint answered {answer.status_code}")

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        """GET, with the token in the header and nowhere else (RFC 6750, 2.1)."""
        headers = {**_HEADERS, **({"Authorization": oauth.bearer(access_token)} if access_token else {})}
        request = self._client.build_request("GET", url, headers=headers)
        response = await self._in_time(lambda: self._pool.handle_async_request(request), self._config.timeout)
        return Answer(response.status_code, media_type(response), response.content)

    async def _ask(self, operation: Any, seconds: float | None = None) -> Any:
        config = self._config
        client = _StrictClient(
            client_id=config.client_id,
            client_secret=str(config.client_secret),
            redirect_uri=config.redirect_uri,
            token_endpoint_auth_method=config.token_endpoint_auth_method,
            revocation_endpoint_auth_method=config.token_endpoint_auth_method,
            transport=self._pool,
            trust_env=False,
            timeout=self._client.timeout,
            headers=_HEADERS,
        )
        client.register_client_auth_method(("client_secret_basic", client_secret_basic))
        return await self._in_time(lambda: operation(client), seconds or config.timeout)

    async def _in_time(self, operation: Any, seconds: float) -> Any:
        try:
            with anyio.fail_after(seconds):
                return await operation()
        except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
            raise ServerUnavailable(f"the server gave no answer: {type(error).__name__}") from None
