"""The access log: a line for each request, without cookies, tokens, or the query, any of which may hold a secret."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..site.access import percent_encoded
from ..site.proxies import Proxies

logger = logging.getLogger("lumin_middleware.site.access")


class AccessLog:
    """Writes a line for each request to an ASGI application: address, method, path, status, bytes, seconds."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status, size = time.perf_counter(), 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "websocket.accept":
                status = 101
            elif message["type"].endswith("response.start"):
                status = message["status"]
            size += len(message.get("body") or message.get("bytes") or (message.get("text") or "").encode())
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            logger.info(
                "%s %s %s %s %d %.3f",
                client_address(scope, self._proxies) or "-",
                scope.get("method", "WEBSOCKET"),
                shown(scope),
                status or "-",
                size,
                time.perf_counter() - began,
            )


def client_address(scope: Scope, proxies: Proxies) -> str:
    """Where a request came from, as far as we and the proxies that are trusted know."""
    forwarded_for = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return proxies.client((scope.get("client") or ("",))[0], forwarded_for.decode("latin-1"))


def shown(scope: Scope) -> str:
    """The path of a request, fit for a log: without its query, which may hold a secret."""
    return percent_encoded(scope.get("raw_path") or scope["path"].encode("utf-8", "replace"))
