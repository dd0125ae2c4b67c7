"""Logins in flight, and how many there were: both live in small sealed cookies of the browser.

Each login has a cookie of its own, named by a digest of its `state`, so that several tabs can sign in at
once. The store learns one thing only: that a login was used.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from ..config import LuminConfig
from ..model import Transaction
from ..ports import World
from .cookies import DELETIONS_LIMIT, Cookies, Jar
from .records import digest
from .sealing import Sealer

LIFETIME = 600.0
"""Seconds to sign in and consent. Hydra's own limit is 30 minutes, its codes live 10."""

LOGINS_LIMIT = 8
"""Logins in flight of one browser; more tabs than anybody signs in with."""

BYTES_LIMIT = 3500
"""Bytes of all their cookies: with a session's they stay below the 8 KB of header that common servers take."""

CLOCK_TOLERANCE = 60.0
"""Seconds by which our own clock may have gone back since a login was begun."""

TRIES_LIMIT = 3
TRIES_WINDOW = 60.0
"""Sign-ins that end in no session, in seconds, after which another would be a loop."""


class Logins:
    """Begins and finds logins."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._config = config
        self._world = world
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "login", world.clock)
        self._ask_sealer = Sealer(config.keys, "ask", world.clock)
        self._tries_sealer = Sealer(config.keys, "tries", world.clock)
        self._used_sealer = Sealer(config.keys, "used", world.clock)

    # --- one login ---

    def begin(self, return_to: str, needed: tuple[str, ...] = ()) -> Transaction:
        """A new login. `state` and `nonce` have 192 bits (RFC 9700, 4.7 asks for 128), `code_verifier` 256."""
        token = self._world.token
        scope = " ".join(dict.fromkeys([*self._config.scope.split(), *needed]))
        return Transaction(token(24), token(24), token(32), return_to, scope, " ".join(needed))

    def set_cookies(self, transaction: Transaction, jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` values for a login begun, and for those that it pushes out: dead ones, then the oldest."""
        written = self._cookies.set(self._name(transaction.state), self._sealer.seal(transaction.dump()), LIFETIME)
        # Newest first; of those begun in one second the later in the header (RFC 6265, 5.4: the older comes first).
        begun = self._alive(jar)
        alive = sorted(begun, key=lambda name: begun[name])[::-1]
        room, kept = BYTES_LIMIT - len(written), set()
        for name in alive[: LOGINS_LIMIT - 1]:
            room -= len(name) + len(jar.ours[name] or b"")
            if room < 0:
                break
            kept.add(name)
        gone = [name for name in jar.logins() if name not in kept]
        return [written, *map(self._cookies.delete, gone[:DELETIONS_LIMIT])]

    def _alive(self, jar: Jar[Any]) -> dict[str, int]:
        """When each login in flight was begun."""
        found = {}
        for name, value in list(jar.logins().items())[:DELETIONS_LIMIT]:
            unsealed = self._sealer.unseal(value) if value else None
            if unsealed and self._in_time(unsealed.sealed_at):
                found[name] = unsealed.sealed_at
        return found

    def find(self, state: str, jar: Jar[Any]) -> Transaction | None:
        """The login of this browser that `state` belongs to, if it is still good (RFC 6749, 10.12)."""
        value = jar.ours.get(self._name(state))
        unsealed = self._sealer.unseal(value) if value else None
        if unsealed is None or not self._in_time(unsealed.sealed_at):
            return None
        transaction = Transaction.load(unsealed.data)
        # The cookie's name is a digest of the state; whoever swaps cookies among names is found out here.
        return transaction if hmac.compare_digest(transaction.state.encode(), state.encode()) else None

    def forget(self, state: str) -> str:
        """The `Set-Cookie` value that takes a login out of flight."""
        return self._cookies.delete(self._name(state))

    def _name(self, state: str) -> str:
        return self._cookies.login + digest(state)[:16]

    def _in_time(self, sealed_at: float) -> bool:
        return -CLOCK_TOLERANCE <= self._world.clock() - sealed_at < LIFETIME

    # --- scopes that a page needs ---

    def ask(self, needed: tuple[str, ...]) -> str:
        """Text for a link to `login` that asks for these scopes; only we can make it."""
        return self._ask_sealer.seal(" ".join(needed).encode())

    def asked(self, text: str) -> tuple[str, ...]:
        """The scopes that such a link asks for; none if it is not ours."""
        unsealed = self._ask_sealer.unseal(text.encode("latin-1", "replace"))
        return tuple(unsealed.data.decode().split()) if unsealed else ()

    # --- used once ---

    async def use(self, transaction: Transaction) -> bool:
        """Marks a login as used; whether it was not before. Raises `StoreUnavailable`."""
        mark = self._used_sealer.seal(transaction.return_to.encode(), transaction.state).encode()
        lifetime = LIFETIME + CLOCK_TOLERANCE
        return await self._world.store.swap(self._used_key(transaction.state), None, mark, lifetime)

    async def used_for(self, state: str) -> str | None:
        """Where a login led that was used already. Raises `StoreUnavailable`."""
        raw = await self._world.store.get(self._used_key(state))
        unsealed = self._used_sealer.unseal(raw, state) if raw else None
        return unsealed.data.decode() if unsealed else None

    def _used_key(self, state: str) -> str:
        return "login:" + digest(state)

    # --- how many there were ---

    def is_looping(self, jar: Jar[Any]) -> bool:
        """Whether this browser has just signed in again and again, and yet has no session."""
        return len(self._tries(jar)) >= TRIES_LIMIT

    def count(self, jar: Jar[Any]) -> str:
        """The `Set-Cookie` value that counts a sign-in."""
        tries = [*self._tries(jar), self._world.clock()][-TRIES_LIMIT:]
        return self._cookies.set(self._cookies.tries, self._tries_sealer.seal(json.dumps(tries).encode()), TRIES_WINDOW)

    def _tries(self, jar: Jar[Any]) -> list[float]:
        value = jar.ours.get(self._cookies.tries)
        unsealed = self._tries_sealer.unseal(value) if value else None
        now = self._world.clock()
        return [at for at in json.loads(unsealed.data) if abs(now - at) < TRIES_WINDOW] if unsealed else []
