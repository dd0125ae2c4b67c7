"""The gateway: an ASGI application that is another HTTP service.

Behind `LuminMiddleware` it puts a sign-in before whatever speaks HTTP/1.1 at `upstream`, WebSockets included. Bodies
go through piece by piece in both directions and as they are; nothing is kept. httpx2 and the server around us speak
the protocols; which headers pass, `forwarding` says.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import quote, urlsplit

import anyio
import httpx2
from httpx2.websockets import AsyncWebSocketSession, WebSocketDisconnect, WebSocketNetworkError, WebSocketUpgradeError
from starlette.types import Message, Receive, Scope, Send
from wsproto.events import BytesMessage, TextMessage
from wsproto.utilities import ProtocolError

from ..config import LuminConfig
from ..errors import ConfigurationError
from ..model import Response
from ..runtime.answering import respond
from ..site import pages
from ..site.verify import Proxies, identity_headers
from .access_log import client_address, shown
from .forwarding import Forwarding, Header

logger = logging.getLogger("lumin_middleware")

CONNECT_TIMEOUT = 5.0
"""Seconds until the upstream must have taken a connection: it is near."""

KEEPALIVE = 2.0
"""Seconds that an unused connection is kept; Node and uvicorn close theirs after 5, and who is first must be us."""

BROKEN = 1011
"""The close code for a connection to the upstream that broke (RFC 6455, 7.4.1)."""

KEPT = 20
"""Unused connections that are kept: the pool looks at each of them for each request, so more would cost more than a
new connection does."""

MESSAGE_LIMIT = 16 * 2**20
"""Bytes of one WebSocket message, either way; uvicorn's own limit."""

# --- the application ------------------------------------------------------------------------------------


class Gateway:
    """An ASGI application that passes every request on to the service at `upstream`.

    `upstream` is an http(s) URL; its path comes before that of each request. The upstream sees the site's public name
    as `Host`, or with `pass_host=False` its own. `pass_user_headers` adds `X-Auth-Request-User`, `-Email` and
    `-Scope` where somebody is signed in. `timeout` is in seconds, for the upstream to take the next piece of a request,
    and for its answer to begin; how long the rest may take is up to the client. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        upstream: str,
        config: LuminConfig,
        *,
        pass_user_headers: bool = False,
        pass_host: bool = True,
        timeout: float = 60.0,
    ) -> None:
        self._url = _upstream_url(upstream)
        host = urlsplit(config.origin).netloc.encode() if pass_host else self._url.netloc
        self._forwarding = Forwarding(config, host)
        self._pass_user_headers = pass_user_headers
        self._proxies = Proxies(config.trusted_proxies)
        self._timeout = httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT)
        self._client = httpx2.AsyncClient(
            timeout=self._timeout,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # the browsers keep them, each its own
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT, keepalive_expiry=KEEPALIVE),
        )
        self._client.headers.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._client.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    # --- what the upstream sees ---

    def _target(self, scope: Scope) -> bytes:
        """The request target, byte for byte as it came, below the upstream's path."""
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = scope.get("query_string", b"")
        target = self._url.raw_path.rstrip(b"/") + path
        return target + b"?" + query if query else target

    def _headers(self, scope: Scope) -> list[Header]:
        client = scope.get("state", {}).get("lumin") if self._pass_user_headers else None
        identity = identity_headers(client.claims, sorted(client.scope)) if client is not None else ()
        return self._forwarding.up(scope["headers"], client_address(scope, self._proxies), identity)

    # --- HTTP ---

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(scope, receive)
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await incoming.until_gone()
                group.cancel_scope.cancel()  # which closes the connection to the upstream

            group.start_soon(watch)
            with suppress(ClientGone):
                await self._exchange(scope, incoming, send)
            group.cancel_scope.cancel()

    async def _exchange(self, scope: Scope, incoming: Incoming, send: Send) -> None:
        timeout = self._timeout.as_dict()
        request = httpx2.Request(
            scope["method"],
            self._url,
            headers=self._headers(scope),
            content=incoming.body() if incoming.has_body else None,
            extensions={"target": self._target(scope), "timeout": timeout},
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.TransportError as error:
            await respond(_trouble(error, scope), scope, send)
            return
        incoming.ended.set()  # what the upstream did not read of the request, nobody will
        timeout["read"] = None  # a stream of events may be silent for long
        try:
            headers = self._forwarding.down(response.headers.raw)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except httpx2.TransportError as error:
            # Left unfinished, so that the server closes the connection and nobody takes the part for the whole.
            logger.warning("%s %s: the answer was cut short: %r", scope["method"], shown(scope), error)
        except OSError:
            pass  # the client has gone
        finally:
            await response.aclose()

    # --- WebSocket ---

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        accepted = False
        try:
            async with self._client.websocket(
                self._url,
                subprotocols=list(scope.get("subprotocols") or ()) or None,
                headers=httpx2.Headers(self._headers(scope)),
                extensions={"target": self._target(scope)},
                max_message_size_bytes=MESSAGE_LIMIT,
            ) as upstream:
                accepted = True
                headers = self._forwarding.down(upstream.response.headers.raw) if upstream.response else []
                await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol, "headers": headers})
                await _relay(upstream, receive, send)
        except WebSocketUpgradeError as error:
            await _deny(self._refusal(error.response), scope, send)
        except (httpx2.TransportError, ExceptionGroup) as error:
            if not accepted:
                await _deny(_trouble(error, scope), scope, send)
                return
            if isinstance(error, ExceptionGroup) and error.split((httpx2.TransportError, ProtocolError, OSError))[1]:
                raise
            logger.warning("WebSocket %s: the connection broke: %r", shown(scope), error)
            with suppress(OSError):
                await send(_close(BROKEN))

    def _refusal(self, response: httpx2.Response) -> Response:
        """What the upstream says to a handshake that it does not take; its words are not read."""
        headers = [item for item in self._forwarding.down(response.headers.raw) if not item[0].startswith(b"content-")]
        return Response(
            response.status_code, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        )


async def _relay(upstream: AsyncWebSocketSession, receive: Receive, send: Send) -> None:
    """Messages both ways until one side closes; the other is then told the same."""
    async with anyio.create_task_group() as group:

        async def up() -> None:
            with suppress(ProtocolError, WebSocketNetworkError):  # of a connection that ends, as the other task hears
                await _send_up(upstream, receive)
                group.cancel_scope.cancel()

        group.start_soon(up)
        with suppress(OSError):  # the client has gone
            await _send_down(upstream, send)
        group.cancel_scope.cancel()


async def _send_up(upstream: AsyncWebSocketSession, receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await upstream.send_text(text)
        else:
            await upstream.send_bytes(message["bytes"])
    await upstream.close(_spoken(message.get("code", 1005)), message.get("reason") or None)


async def _send_down(upstream: AsyncWebSocketSession, send: Send) -> None:
    try:
        while True:
            match await upstream.receive():
                case TextMessage(data=text):
                    await send({"type": "websocket.send", "text": text})
                case BytesMessage(data=data):
                    await send({"type": "websocket.send", "bytes": bytes(data)})
    except WebSocketDisconnect as closed:
        await send(_close(_spoken(closed.code), closed.reason))
    except WebSocketNetworkError:
        await send(_close(BROKEN))


def _close(code: int, reason: str | None = None) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason or ""}


def _spoken(code: int) -> int:
    """A close code that may stand on the wire: none given is a normal end, a lost connection is "going away"."""
    return {1005: 1000, 1006: 1001, 1015: 1001}.get(code, code)  # RFC 6455, 7.4.1


async def _deny(response: Response, scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await respond(response, scope, send, "websocket.http.response")
    else:
        await send(_close(BROKEN))


# --- one request ----------------------------------------------------------------------------------------


class ClientGone(Exception):
    """The client went away before its request was complete."""


class Incoming:
    """The body of a request and, once it has ended, the watch for the client's going."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        sizes = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
        self.has_body = bool(sizes) and sizes.get(b"content-length") != b"0"
        self.ended = anyio.Event()
        if not self.has_body:
            self.ended.set()
        self._receive = receive

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises `ClientGone`."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            if piece := message.get("body"):
                yield piece
        self.ended.set()

    async def until_gone(self) -> None:
        """Returns when the client has disconnected."""
        await self.ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _trouble(error: Exception, scope: Scope) -> Response:
    """The answer for an upstream that gives none: 504 when it is late, else 502 (RFC 9110, 15.6)."""
    late = isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout)
    status, reason = (504, "upstream_timeout") if late else (502, "upstream_unavailable")
    logger.warning("%s was answered %d: %r", shown(scope), status, error)
    title, text = "Not available now", "The service behind this site does not answer. Please try again."
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    if b"text/html" in accept.lower():
        return pages.page(status, pages.Page(title, text))
    return pages.problem(status, reason, title)


def _upstream_url(upstream: str) -> httpx2.URL:
    try:
        url = httpx2.URL(upstream)
    except httpx2.InvalidURL as error:
        raise ConfigurationError("upstream", f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigurationError("upstream", f"{upstream!r} must be a plain URL such as http://127.0.0.1:5173")
    return url
