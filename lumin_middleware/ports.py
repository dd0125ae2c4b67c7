"""What the core asks of the world. It decides; these do.

Everything above the I/O line implements one of them; nothing below it knows which. All are `async def`, and
under WSGI none of them ever suspends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .model import AuthorizationCode

T = TypeVar("T")


class Store(Protocol):
    """Two verbs on bytes. Whatever goes wrong with the system raises `StoreUnavailable`, never "not found".

    Two attributes may say more: `blocking = False`, the verbs never wait; `local = True`, they are cheap
    enough to be asked on each request.
    """

    def get(self, key: str) -> bytes | None:
        """The value; None when it is missing or has expired."""

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """Replace `old` by `new` for `ttl` seconds, at once or not at all; whether it was done.

        `old=None`: the key must be absent or expired. `new=None`: delete.
        """


class AsyncStore(Protocol):
    """The same two verbs for an event loop."""

    async def get(self, key: str) -> bytes | None: ...

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole: its body is at most 1 MiB."""

    status: int
    media_type: str
    body: bytes


class Exchange(Protocol):
    """The authorization server. Raises `OAuthError` for its refusals, `ServerUnavailable` for silence."""

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        """RFC 6749, 4.1.3. Sent once, whatever happens."""

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        """RFC 6749, 6. Sent once, whatever happens."""

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """RFC 7009, 2.1, within 3 seconds."""

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        """GET a document of the server or, with a token, of the API."""


class World(Protocol):
    """Everything else: the store, the time, randomness, and order among those who run at once."""

    @property
    def store(self) -> AsyncStore: ...

    @property
    def exchange(self) -> Exchange: ...

    @property
    def clock(self) -> Callable[[], float]:
        """Epoch seconds; every lifetime is measured with it."""

    def token(self, size: int) -> str:
        """URL-safe text from `size` random bytes."""

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """One at a time in this process, for each key."""

    def locked(self, key: str) -> bool:
        """Whether somebody holds that lock now."""

    def announce_end(self, session_id: str) -> None:
        """A session is over; whoever in this process serves it for long should hear of it."""

    async def sleep(self, seconds: float) -> None: ...

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        """Run it to its end even if whoever waits for it is cancelled; what nobody is left to take is undone."""
