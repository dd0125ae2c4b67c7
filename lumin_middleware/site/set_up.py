"""What only the operator can mend: settings that the authorization server, or a proxy before us, does not agree with.

The person learns that the site is not set up correctly; the log names the cause, once a minute for each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..config import LuminConfig
from ..errors import AuthorizationServerError, OAuthError, StoreUnavailable
from ..journal import Seldom, say
from ..ports import World
from ..sessions.records import digest

MEMORY = 31_536_000.0
"""Seconds that it is remembered which keys a site had: a year."""


class NotSetUp(AuthorizationServerError):
    """The server refuses the site, not the person."""

    def __init__(self, error: OAuthError) -> None:
        super().__init__(str(error), "not_set_up")
        self.error = error


class Alarm:
    """Tells the operator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._seldom = Seldom(clock)  # anybody can begin a sign-in that fails

    def refused(self, error: OAuthError, where: str) -> bool:
        """The server refused the site at one of its endpoints. Whether that was told now."""
        return self._seldom.say(error.error, where=where, error=error)

    def astray(self, path: str, expected: str) -> None:
        """An answer of the server came to another path than the callback's."""
        self._seldom.say("astray", path=path, expected=expected)


class KeyWatch:
    """Notices a `secret_key` that is made anew at each start, and signs everybody out by it.

    The store remembers digests of the keys. They are looked at with the first sign-in of a process, which is what
    people do who were signed out.
    """

    def __init__(self, config: LuminConfig, world: World) -> None:
        self._names = [digest(key.hex())[:16] for key in config.keys]
        self._store = world.store
        self._has_looked = False

    async def look(self) -> None:
        """Once in a process; what the store says no word about is nothing to warn of."""
        if self._has_looked:
            return
        self._has_looked = True
        with suppress(StoreUnavailable):
            raw = await self._store.get("keys")
            known = raw.decode().split() if raw else []
            if known and not set(known) & set(self._names):
                say("key_changed")
            if known != self._names:
                await self._store.swap("keys", raw, " ".join(self._names).encode(), MEMORY)
