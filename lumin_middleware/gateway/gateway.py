"""The gateway: an ASGI application that is another HTTP service.

Behind `LuminMiddleware` it puts a sign-in before whatever speaks HTTP/1.1 at `upstream`, WebSockets included. Bodies
go through piece by piece in both directions and as they are; nothing is kept. `upstream`, httpx2 for WebSockets and the
server around us speak the protocols; which headers pass, `forwarding` says.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from httpx2.websockets import WebSocketUpgradeError
from starlette.types import Receive, Scope, Send
from wsproto.utilities import ProtocolError

from .. import checks
from ..config import LuminConfig
from ..connections import tls_context
from ..errors import ConfigurationError, RequestRefused
from ..journal import say
from ..model import Response
from ..runtime.answering import deny, respond
from ..runtime.startup import require_way_out
from ..runtime.watch import Ending
from ..site.proxies import Proxies
from ..site.verify import identity_headers, require_subject
from . import incoming
from .access_log import client_address, shown
from .answers import Answers
from .forwarding import Forwarding, Header
from .messages import Request, UpstreamTrouble
from .reading import BODILESS
from .relay import BROKEN, close, relay
from .upstream import CONNECT_TIMEOUT, Upstream

WATCHED_AFTER = 0.1
"""Seconds until it is looked whether the client is still there: most answers are through by then."""

MESSAGE_LIMIT = 16 * 2**20
"""Bytes of one WebSocket message, either way; uvicorn's own limit."""

# --- the application ------------------------------------------------------------------------------------


class Gateway:
    """An ASGI application that passes every request on to the service at `upstream`.

    `upstream` is an http(s) URL; its path comes before that of each request. The upstream sees the site's public name
    as `Host`, or with `pass_host=False` its own. `pass_user_headers` adds `X-Auth-Request-User`, `-Email` and
    `-Scope` where somebody is signed in. `timeout` is in seconds, for the upstream to take the next piece of a request,
    and for its answer to begin; how long the rest may take is up to the client, but that somebody who is not signed in
    has that long for the body of a request, and a second more for each 500 bytes. Raises `ConfigurationError`.
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
        require_way_out()
        host = urlsplit(config.origin).netloc.encode() if pass_host else self._url.netloc
        self._forwarding = Forwarding(config, host, str(self._url))
        self._pass_user_headers = pass_user_headers
        self._proxies = Proxies(config.trusted_proxies)
        self._answers = Answers(config)
        self._patience = timeout
        self._upstream = Upstream(str(self._url), timeout)
        self._client = httpx2.AsyncClient(  # for WebSockets, each of which has a connection of its own
            timeout=httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT),
            verify=tls_context(),
            trust_env=False,  # no proxy is between us and the service; SSL_CERT_FILE goes with it, so `verify` has it
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # the browsers keep them, each its own
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self._client.headers.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                try:
                    incoming.check(scope)
                    await self._http(scope, receive, send)
                except RequestRefused as error:
                    await respond(self._answers.refused(error, scope), scope, send)
            case "websocket":
                await receive()
                try:
                    incoming.check(scope)
                    await self._websocket(scope, receive, send)
                except RequestRefused as error:
                    await deny(self._answers.refused(error, scope), scope, receive, send, connected=True)
            case "lifespan":
                await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._upstream.close()
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
        identity: list[tuple[str, str]] = []
        if self._pass_user_headers and (client := _signed_in(scope)) is not None:
            require_subject(client.claims)
            identity = identity_headers(client.claims, sorted(client.scope))
        return self._forwarding.up(scope["headers"], client_address(scope, self._proxies), identity)

    # --- HTTP ---

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        patience = self._patience if _signed_in(scope) is None else None
        body = incoming.Body(scope, receive, patience)
        watch = Watch(body)
        try:
            await self._exchange(scope, body, send)
        except incoming.ClientGone:
            pass
        except asyncio.CancelledError:
            if not watch.takes_back():
                raise
        finally:
            watch.close()

    async def _exchange(self, scope: Scope, body: incoming.Body, send: Send) -> None:
        pieces = body.pieces() if await body.is_there() else None
        request = Request(scope["method"].encode(), self._target(scope), self._headers(scope), pieces)
        try:
            answer = await self._upstream.send(request)
        except UpstreamTrouble as error:
            await respond(self._answers.trouble(error, scope, late=error.late), scope, send)
            return
        try:
            is_bodiless = answer.status in BODILESS and scope["method"] != "HEAD"
            passed = self._forwarding.down(answer.headers, is_bodiless=is_bodiless)
            await send({"type": "http.response.start", "status": answer.status, "headers": passed})
            async for piece in answer.pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except UpstreamTrouble as error:
            # Left unfinished, so that the server closes the connection and nobody takes the part for the whole.
            say("upstream_broke_off", method=scope["method"], path=shown(scope), error=error)
        except OSError:
            pass  # the client has gone
        finally:
            answer.close()

    # --- WebSocket ---

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
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
                await relay(upstream, receive, send)
        except WebSocketUpgradeError as error:
            await deny(self._refusal(error.response), scope, receive, send, connected=True)
        except (httpx2.TransportError, ExceptionGroup) as error:
            if not accepted:
                late = isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout)
                await deny(self._answers.trouble(error, scope, late=late), scope, receive, send, connected=True)
                return
            if isinstance(error, ExceptionGroup) and error.split((httpx2.TransportError, ProtocolError, OSError))[1]:
                raise
            say("upstream_broke_off", method="WebSocket", path=shown(scope), error=repr(error))
            with suppress(OSError):
                await send(close(BROKEN))

    def _refusal(self, response: httpx2.Response) -> Response:
        """What the upstream says to a handshake that it does not take; its words are not read."""
        headers = [item for item in self._forwarding.down(response.headers.raw) if not item[0].startswith(b"content-")]
        return Response(
            response.status_code, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        )


class Watch(Ending):
    """Ends a request whose client has gone, and with it the one to the upstream."""

    def __init__(self, body: incoming.Body) -> None:
        super().__init__(asyncio.current_task())
        self._body = body
        self._task: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        await self._body.until_gone()
        self.end()

    def close(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


def _signed_in(scope: Scope) -> Any:
    """The client of whoever is signed in."""
    return scope.get("state", {}).get("lumin")


def _upstream_url(upstream: str) -> httpx2.URL:
    try:
        url = httpx2.URL(upstream)
        urlsplit(upstream).port  # noqa: B018  what is out of range is no port
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigurationError("upstream", f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigurationError("upstream", f"{upstream!r} must be a plain URL such as http://127.0.0.1:5173")
    checks.host("upstream", url.raw_host.decode("ascii", "backslashreplace"))
    return url
