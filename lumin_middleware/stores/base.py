"""What a store is: two verbs on bytes. The comments here are the contract.

Session records, leases, used logins and replay marks are all built above these two verbs, and sealed
before they get here: a store never learns what it holds. `lumin_middleware.testing.StoreContract`
is this contract as tests; a store of your own inherits it.

A key is any text that UTF-8 can carry, and a value any bytes; both are compared exactly. Any number of
threads, processes and machines may use a store at once, and `swap` is how they agree.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """A store whose verbs return when they are done.

    Three more attributes are discovered, never required:

    - `blocking`, default True. False: neither verb ever waits (memory), so that an event loop may call
      both directly.
    - `local`, default False. True: `get` takes microseconds (memory, a file of this machine), so that
      it may be asked on every request, and directly by an event loop.
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
    """The same two verbs, awaited, and the same contract. `aclose()` is the optional `close()`."""

    async def get(self, key: str) -> bytes | None:
        """As `Store.get`."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """As `Store.swap`."""
