"""What the core asks of the world. It decides; these do.

Everything above the I/O line implements one of them; nothing below it knows which. All are `async def`, and
under WSGI none of them ever suspends.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from .events import Event
from .model import AuthorizationCode

T = TypeVar("T")


# --- stores ---------------------------------------------------------------------------------------------

# Session records, leases, used logins and replay marks are all built above two verbs on bytes, and sealed before
# they get to a store, which never learns what it holds. The comments are the contract, and `testing.StoreContract` is
# the contract as tests. A key is any text that UTF-8 can carry; keys and values are compared exactly. Any number of
# threads, processes and machines may use a store at once, and `swap` is how they agree.


class Store(Protocol):
    """A store whose verbs return when they are done.

    More attributes are discovered, never required:

    - `blocking`, default True. False: neither verb ever waits (memory), so that an event loop may call
      both directly.
    - `instant_get`, default False. True: `get` alone never waits, and takes microseconds.
    - `local`, default False. True: `get` is cheap enough to be asked on every request (memory, a file of
      this machine).
    - `close()` gives back connections. A verb after it may raise `StoreUnavailable`.
    """

    def get(self, key: str) -> bytes | None:
        """The value of `key`; None when it was never set, was deleted, or has expired.

        Expiry is decided here, when reading, not by whether a clean-up came by.

        Raises `StoreUnavailable` for any trouble with the system (no connection, a timeout, a full
        or broken disk). Trouble is never None: "not found" would sign a user out.
        """

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """Compare and set: where `key` holds `old`, it now holds `new`; in one step that nobody can split.

        `old=None` means that the key must be absent, and an expired value is absent. `new=None`
        deletes. `ttl` is the seconds that `new` lives, counted from now; a finite number. A `ttl`
        of zero or less leaves nothing behind, as `new=None` does.

        True when it was done; False when `key` held something else, and then nothing changed. What
        was acknowledged with True stays until its `ttl` has passed: a store that runs out of room
        refuses the new value rather than dropping a living one, because a renewed session whose
        record is lost would have a superseded refresh token sent.

        Raises `StoreUnavailable` for any trouble with the system. Whether the swap was done is then
        unknown, and `get` tells; a store never repeats a swap whose answer was lost.
        """


class AsyncStore(Protocol):
    """The same two verbs, awaited, and the same contract. `aclose()` is the optional `close()`.

    What the core is given may have a `glance` besides (`Glance`), where that never waits; None where it may.
    """

    async def get(self, key: str) -> bytes | None:
        """As `Store.get`."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """As `Store.swap`."""


class Glance(NamedTuple):
    """A look at a store for whoever cannot wait: it takes microseconds."""

    get: Callable[[str], bytes | None]
    suffix: str
    """What stands behind each key there."""


def is_asynchronous(store: Store | AsyncStore) -> bool:
    """Whether the verbs of a store are to be awaited."""
    return inspect.iscoroutinefunction(store.get)


# --- the rest -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole: its body is at most 1 MiB."""

    status: int
    media_type: str
    body: bytes = field(repr=False)
    retry_after: float = 0.0
    """Seconds after which the server asks to be asked again (RFC 9110, 10.2.3); 0 where it does not say."""


class Exchange(Protocol):
    """The authorization server. Raises `OAuthError` for its refusals, `ServerUnavailable` for silence.

    What failed before anything was sent says so (`sent=False`), and `said` is what the server's `Retry-After` says.
    """

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        """RFC 6749, 4.1.3. Sent once, whatever happens."""

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        """RFC 6749, 6. Sent once, whatever happens."""

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """RFC 7009, 2.1, within 3 seconds."""

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        """GET a document of the server or, with a token, of the API."""


class Telemetry(Protocol):
    """Figures and spans for whoever measures. Every method returns at once, and raises nothing of its own."""

    def event(self, event: Event) -> None:
        """Something happened, which may be worth a figure."""

    def count(self, name: str, **attributes: str) -> None:
        """One more."""

    def duration(self, name: str, seconds: float, **attributes: str) -> None:
        """How long something took."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """What happens inside belongs together."""

    def route(self, path: str) -> None:
        """The request that is being answered is for a route of ours."""


class World(Protocol):
    """Everything else: the store, the time, randomness, and order among those who run at once."""

    @property
    def store(self) -> AsyncStore: ...

    @property
    def exchange(self) -> Exchange: ...

    @property
    def clock(self) -> Callable[[], float]:
        """Epoch seconds; every lifetime is measured with it."""

    @property
    def telemetry(self) -> Telemetry: ...

    def tell(self, event: Event) -> None:
        """Hands an event to whoever listens (`on_event`). Returns at once, and raises nothing."""

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

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        """Runs it beside the requests; whether it could begin. The end of all this cuts it short, and does not wait for
        it."""


# --- without an event loop ------------------------------------------------------------------------------


class NoEventLoop(BaseException):
    """What waits meets under WSGI. It is no `Exception`, so that whoever tries again after one does not wait again."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine whose ports never suspend. Raises `RuntimeError` if one does.

    What waits all the same has `NoEventLoop` raised where it does, so that it fails as whatever else it may raise: it
    may be a function of the site's, which is answered for.
    """
    try:
        coroutine.send(None)
        coroutine.throw(NoEventLoop())
    except StopIteration as done:
        result: T = done.value
        return result
    except NoEventLoop:
        pass
    coroutine.close()
    raise RuntimeError("the core was suspended, and there is no event loop to resume it")
