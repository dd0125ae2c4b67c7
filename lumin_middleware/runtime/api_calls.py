"""Carries a page's call to Lumin's API and the answer back: in pieces, and no faster than they are taken.

Which calls pass and what they look like is `api_proxy`'s to say. Here a call is an application in the place of the
wrapped one, once for ASGI and once for WSGI; the token, its renewal and the second try are those of the client
that an application gets. A page that leaves takes its call with it. Bodies are never decoded, and never kept.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from starlette.types import Receive, Scope, Send

from ..client import LuminClient
from ..errors import LuminError, RequestRefused
from ..journal import say
from ..model import Response
from ..protocol import oauth
from ..reasons import REASONS
from ..site import api_proxy
from ..site.api_proxy import ApiCall, Head
from ..site.visit import Visit
from .answering import respond

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REPEATABLE = 65_536
"""Bytes of a body that are held until the API has taken the token. A larger body is sent once, as it comes."""

PIECE = 65_536
"""Bytes of a body that are read at once."""

# --- what both have in common ---------------------------------------------------------------------------

_TROUBLE = (LuminError, httpx2.HTTPError)


def _options(call: ApiCall, content: object) -> dict[str, Any]:
    # The target is given as it is, since the path of a URL would be written anew.
    return {"content": content, "headers": call.headers, "extensions": {"target": call.target}}


def _head(visit: Visit, call: ApiCall, answer: httpx2.Response) -> Head | Response:
    if answer.status_code == 401 and visit.session is not None:
        # There may be a new token by now that the client could not try, for the body is gone.
        tried, newest = answer.request.headers["authorization"], visit.session.tokens.access_token
        if tried != oauth.bearer(newest):
            return api_proxy.renewed()
    return call.head(answer.status_code, answer.headers.raw)


def _failure(visit: Visit, error: Exception) -> Response:
    match error:
        case LuminError():
            return visit.failure(error)
        case httpx2.LocalProtocolError():  # a header that this server let in, and none should
            return visit.failure(RequestRefused("bad_request", "The request is not well-formed."))
        case _:
            code = "api_timeout" if isinstance(error, httpx2.TimeoutException) else "api_unreachable"
            _say(code, visit, error, status=REASONS[code].status)
            return api_proxy.trouble(code)


def _say(code: str, visit: Visit, error: Exception, **more: object) -> None:
    request = visit.request
    say(code, method=request.method, path=request.path, **more, error=type(error).__name__)


# --- ASGI -----------------------------------------------------------------------------------------------


class AsgiCall:
    """One call, as an ASGI application."""

    def __init__(self, visit: Visit, call: ApiCall) -> None:
        self._visit = visit
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = _Page(receive)
        with anyio.CancelScope() as carrying:
            watch = asyncio.ensure_future(page.on_leaving(carrying.cancel))
            try:
                await self._carry(page, scope, send)
            except _Gone:
                pass
            finally:
                watch.cancel()

    async def _carry(self, page: _Page, scope: Scope, send: Send) -> None:
        call, client = self._call, scope["state"]["lumin"]
        async with AsyncExitStack() as stack:
            try:
                content = await page.content()
                answer = await stack.enter_async_context(
                    client.stream(call.method, call.path, **_options(call, content))
                )
                head = _head(self._visit, call, answer)
            except _TROUBLE as error:
                head = _failure(self._visit, error)
            if isinstance(head, Response):
                await respond(head, scope, send)
                return
            await send({"type": "http.response.start", "status": head.status, "headers": head.headers})
            try:
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except httpx2.HTTPError as error:
                # Left unfinished, so that the server closes the connection and nobody takes the part for the whole.
                _say("api_broke_off", self._visit, error)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Gone(Exception):
    """The page has left before its body was complete."""


class _Page:
    """The body of a request, and whether anybody still waits for the answer."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = asyncio.Event()

    async def content(self) -> bytes | AsyncIterator[bytes]:
        """The body: whole if it is small, else in pieces."""
        start, more = b"", True
        while more:
            piece, more = await self._next()
            start += piece
            if more and len(start) > REPEATABLE:
                return self._pieces(start)
        return start

    async def _pieces(self, piece: bytes) -> AsyncIterator[bytes]:
        try:
            yield piece
            more = True
            while more:
                piece, more = await self._next()
                yield piece
        finally:
            self._read.set()

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        more = message.get("more_body", False)
        if not more:
            self._read.set()
        return message.get("body", b""), more

    async def on_leaving(self, action: Callable[[], object]) -> None:
        """Calls `action` when the page leaves. Servers say so only to whoever reads on after the body."""
        await self._read.wait()
        if (await self._receive())["type"] == "http.disconnect":
            action()


# --- WSGI -----------------------------------------------------------------------------------------------


class WsgiCall:
    """One call, as a WSGI application."""

    def __init__(self, visit: Visit, call: ApiCall, client: LuminClient) -> None:
        self._visit = visit
        self._call = call
        self._client = client

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call, stack = self._call, ExitStack()
        try:
            content = _content(environ)
            answer = stack.enter_context(self._client.stream(call.method, call.path, **_options(call, content)))
            head = _head(self._visit, call, answer)
        except _TROUBLE as error:
            head = _failure(self._visit, error)
        except BaseException:
            stack.close()
            raise
        if isinstance(head, Response):
            stack.close()
            start_response(_status(head.status), head.headers)
            return [] if call.method == "HEAD" else [head.body]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        start_response(_status(head.status), headers)
        return _Pieces(self._visit, answer.iter_raw(), stack)


class _Pieces:
    """The body of an answer on its way; whoever does not want the rest of it closes this."""

    def __init__(self, visit: Visit, pieces: Iterator[bytes], stack: ExitStack) -> None:
        self._visit = visit
        self._pieces = pieces
        self.close = stack.close

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except httpx2.HTTPError as error:
            _say("api_broke_off", self._visit, error)
            # An iterator that ends would end the answer, too. Servers close the connection for this one, and take it
            # as they take a browser's going: without a traceback, where they can.
            raise ConnectionResetError(errno.ECONNRESET, "the API broke off its answer") from None


def _content(environ: WSGIEnvironment) -> bytes | Iterator[bytes]:
    """The body: whole if it is small, else in pieces; to its end where the server marks that."""
    length = environ.get("CONTENT_LENGTH") or ("" if environ.get("wsgi.input_terminated") else "0")
    if not length.isdecimal() and length:
        raise RequestRefused("bad_request", "The body's length is no number.")
    left = int(length) if length else None
    pieces = _read(environ, left)
    start = b""
    for piece in pieces:
        start += piece
        if len(start) > REPEATABLE:
            return _joined(start, pieces)
    return start


def _read(environ: WSGIEnvironment, left: int | None) -> Iterator[bytes]:
    read = environ["wsgi.input"].read
    while left is None or left > 0:
        piece = read(PIECE if left is None else min(PIECE, left))
        if not piece and left:
            raise RequestRefused("bad_request", "The body ended before the length that it says.")
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _status(code: int) -> str:
    return f"{code} {httpx2.codes.get_reason_phrase(code)}"
