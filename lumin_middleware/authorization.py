"""The access token on its way into calls to the API: to its origin and no other, and renewed once if it is refused.

An `httpx2.Auth`, written once for both colours. Whoever holds the session renews it; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, Protocol

import httpx2

from .connections import is_replayable, require_open
from .errors import ClientMisused, LuminError, ServerUnavailable, StoreUnavailable
from .model import Session
from .ports import run
from .protocol.oauth import bearer

DISCARDED = 65_536
"""Bytes of a refusal's body that are read, so that its connection can be used again; a longer one costs a new one."""


class Holder(Protocol):
    """Whoever holds the session of one request, and renews it."""

    failed: LuminError | None
    """The last error of ours that the application was given."""

    @property
    def session(self) -> Session | None: ...

    async def fresh(self, *, rejected: str | None = None) -> Session: ...


class LuminAuth(httpx2.Auth):
    """Puts the access token into a request, and once more with a new one if the API answers 401.

    A body that cannot be sent again has the token renewed all the same, for the next call; the answer is then the 401.
    """

    def __init__(self, holder: Holder, origin: httpx2.Origin, http: httpx2.AsyncClient | httpx2.Client) -> None:
        self._holder = holder
        self._origin = origin
        self._http = http

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        check_origin(request.url, self._origin)
        sent = (await self._holder.fresh()).tokens.access_token
        check_open(self._http, self._holder)  # httpx2 has looked before that, which may have taken its time
        request.headers["Authorization"] = bearer(sent)
        response = yield request
        if not self._is_refused(sent, response):
            return
        try:  # also where the body is gone, for else the next call would meet the same
            renewed = (await self._holder.fresh(rejected=sent)).tokens.access_token
        except (ServerUnavailable, StoreUnavailable):
            self._holder.failed = None  # for the application gets the API's 401, the best answer there is
            return
        refused = response.request  # where redirects led, those before it were not, and are not sent again
        if renewed == sent or not is_replayable(refused.stream):  # or so new that another would fare no better
            return
        await _discard(response)
        refused.headers["Authorization"] = bearer(renewed)
        yield refused

    def _is_refused(self, sent: str, response: httpx2.Response) -> bool:
        """Whether it is the API that answers, and this token that it does not take.

        httpx2 follows redirects in the midst of a flow: who answers may be another, who was sent no token.
        """
        asked = response.request
        was_sent = asked.headers.get("Authorization") == bearer(sent)
        return response.status_code == 401 and was_sent and asked.url.origin == self._origin

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


def check_open(http: httpx2.AsyncClient | httpx2.Client, holder: Holder) -> None:
    """Raises `ServerUnavailable` where the connections to the API are closed; `holder` has been told."""
    try:
        require_open(http)
    except ServerUnavailable as error:
        holder.failed = error
        raise


def check_origin(url: httpx2.URL, origin: httpx2.Origin) -> None:
    """Raises `ClientMisused` for a URL whose origin is another: the token must not go there."""
    if not url.is_absolute_url or url.origin != origin:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        ours = f"{origin.scheme}://{host}:{origin.port}"
        raise ClientMisused(f"{str(url)!r} is not on {ours}, and the access token goes nowhere else")
