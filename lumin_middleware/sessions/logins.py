"""Logins in flight: what a browser has begun, and how it is found again when it comes back.

`state` carries what a login is for, sealed, so that nobody has to remember it. A cookie of its own, named by a digest
of `state`, carries the secret from which nonce and verifier are made: it says that this browser began the login, and
several tabs can sign in at once. A login that the cookies have no room for is remembered by its name.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from ..config import LuminConfig
from ..model import Errand, Session, Transaction
from ..ports import World
from .cookies import DELETIONS_LIMIT, Cookies, Jar
from .past import Past
from .records import digest
from .sealing import Sealer, Unsealed
from .tries import Tries

LIFETIME = 1800.0
"""Seconds to sign in and consent; Hydra's own limit for both."""

LOGINS_LIMIT = 8
"""Logins in flight of which a browser keeps the secrets: 1.5 KB of the 8 KB of header that common servers take."""

CLOCK_SETBACK = 60.0
"""Seconds by which our own clock may have gone back since a login was begun."""

UNDER_WAY = 15.0
"""Seconds after which a login that has not come back waits for a person, whom no other tab should wait for."""

SECRET_BYTES = 32  # 256 bits, as RFC 7636, 7.1 recommends for the verifier that is made of it

RANDOM_BYTES = 24
"""Of `state`: 192 bits, where RFC 9700, 4.7 asks for 128."""

_RANDOM_LENGTH = RANDOM_BYTES * 4 // 3  # as base64 letters


class Logins:
    """Begins logins, and finds them again."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._config = config
        self._world = world
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "login", world.clock)
        self._state_sealer = Sealer(config.keys, "state", world.clock)
        self._ask_sealer = Sealer(config.keys, "ask", world.clock)
        self._past = Past(config, world, cookies)
        self.tries = Tries(config, world, cookies)

    # --- one login ---

    def begin(self, errand: Errand) -> tuple[Transaction, str]:
        """A new login, and the secret that its browser must keep."""
        random, secret = self._world.token(RANDOM_BYTES), self._world.token(SECRET_BYTES)
        # Whole groups of base64 letters, so that `state` can be decoded as what it looks like, though nobody need.
        data = errand.dump()
        state = random + self._state_sealer.seal(data + b" " * (-len(data) % 3), random)
        return self._transaction(state, secret.encode(), errand), secret

    def errand(self, scope: Sequence[str], return_to: str, **fields: Any) -> Errand:
        """What a login is for that asks for the site's scopes and for these."""
        asked = " ".join(dict.fromkeys([*self._config.scope.split(), *scope]))
        return Errand(return_to, asked, " ".join(scope), **fields)

    def read(self, state: str) -> Errand | None:
        """What a login of this site is for, whoever began it and however long ago. It proves nothing of the browser."""
        random, sealed = state[:_RANDOM_LENGTH], state[_RANDOM_LENGTH:]
        unsealed = self._state_sealer.unseal(sealed.encode("ascii", "replace"), random)
        return Errand.load(unsealed.data, unsealed.sealed_at) if unsealed else None

    def find(self, state: str, jar: Jar[Any]) -> Transaction | None:
        """The login of this browser that `state` belongs to, if a code may come for it (RFC 6749, 10.12)."""
        unsealed = self._opened(self.name(state), jar)
        if unsealed is None or not self._in_time(unsealed.sealed_at) or unsealed.data[0] > 0:
            return None
        errand = self.read(state)
        return self._transaction(state, unsealed.data[1:], errand) if errand else None

    def _transaction(self, state: str, secret: bytes, errand: Errand) -> Transaction:
        def made(name: str, size: int) -> str:
            made = hmac.digest(secret, f"{name} {state}".encode(), "sha256")[:size]
            return urlsafe_b64encode(made).rstrip(b"=").decode()

        return Transaction(state, made("nonce", 24), made("code_verifier", 32), errand)

    def is_own(self, state: str, jar: Jar[Any]) -> bool:
        """Whether this browser began that login, which may have come to nothing since, or be too old."""
        name = self.name(state)
        return self._opened(name, jar) is not None or self._past.has(name, jar)

    # --- those of one browser ---

    def set_cookies(self, transaction: Transaction, secret: str, jar: Jar[Any], *, over: str = "") -> list[str]:
        """The `Set-Cookie` values for a login begun, and for those that it pushes out: dead ones, then the oldest.

        `over` is the `state` of the login in whose place this one was begun.
        """
        written = self._cookie(self.name(transaction.state), 0, secret.encode())
        begun = self._begun(jar)
        before = self.name(over) if over else ""
        # Newest first; of those begun in one second the later in the header (RFC 6265, 5.4: the older comes first).
        newest = sorted((name for name in begun if name != before), key=lambda name: begun[name])[::-1]
        kept, gone = newest[: LOGINS_LIMIT - 1], [*newest[LOGINS_LIMIT - 1 :], *filter(None, [before])]
        remembered = self._past.remember([*begun, *gone], jar) if gone else []
        dead = [name for name in jar.logins() if name not in kept]
        return [written, *remembered, *map(self._cookies.delete, dead[:DELETIONS_LIMIT])]

    def under_way(self, state: str, jar: Jar[Any], since: float) -> bool:
        """Whether this browser has another login, begun no earlier, that should come back soon."""
        since = max(since, self._world.clock() - UNDER_WAY)
        opened = (self._opened(name, jar) for name in jar.logins() if name != self.name(state))
        return any(each is not None and each.data[0] == 0 and each.sealed_at >= int(since) for each in opened)

    def others(self, state: str, jar: Jar[Any]) -> bool:
        """Whether this browser has other logins than this one, whatever became of them."""
        return bool(self._begun(jar).keys() - {self.name(state)})

    def rivals(self, state: str, jar: Jar[Any]) -> list[str]:
        """The short names of the other logins that this browser has in flight."""
        return [name.removeprefix(self._cookies.login) for name in self._begun(jar) if name != self.name(state)]

    def _begun(self, jar: Jar[Any]) -> dict[str, int]:
        """When each login in flight was begun."""
        found = {}
        for name in list(jar.logins())[:DELETIONS_LIMIT]:
            unsealed = self._opened(name, jar)
            if unsealed and self._in_time(unsealed.sealed_at):
                found[name] = unsealed.sealed_at
        return found

    # --- what comes back for nothing ---

    def waits(self, state: str, jar: Jar[Any]) -> int:
        """How often a login that came to nothing has waited for another one of this browser."""
        unsealed = self._opened(self.name(state), jar)
        return unsealed.data[0] if unsealed else 0

    def wait(self, state: str, jar: Jar[Any]) -> str:
        """The `Set-Cookie` value of a login that waits once more. No code is taken for it any more."""
        return self._cookie(self.name(state), min(self.waits(state, jar) + 1, 255), b"")

    def retire(self, state: str, jar: Jar[Any], rivals: Iterable[str] = ()) -> list[str]:
        """The `Set-Cookie` values that take a login out of flight, but remember that it was this browser's; and
        `rivals` with it, by their short names."""
        names = [self.name(state), *(self._cookies.login + name for name in rivals)]
        return [*map(self._cookies.delete, names), *self._past.remember([*self._begun(jar), *names], jar)]

    def forget(self, state: str, jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` values that leave nothing of a login."""
        name = self.name(state)
        return [self._cookies.delete(name), *self._past.forget(name, jar)]

    # --- cookies ---

    def name(self, state: str) -> str:
        """The name of a login's cookie."""
        return self._cookies.login + short_name(state)

    def _cookie(self, name: str, waits: int, secret: bytes) -> str:
        # Sealed for this name: whoever swaps cookies among names is found out.
        return self._cookies.set(name, self._sealer.seal(bytes([waits]) + secret, name), LIFETIME)

    def _opened(self, name: str, jar: Jar[Any]) -> Unsealed | None:
        value = jar.ours.get(name)
        return self._sealer.unseal(value, name) if value else None

    def _in_time(self, sealed_at: float) -> bool:
        return -CLOCK_SETBACK <= self._world.clock() - sealed_at < LIFETIME

    # --- scopes that a page needs ---

    def ask(self, needed: tuple[str, ...]) -> str:
        """Text for a link to `login` that asks for these scopes; only we can make it."""
        return self._ask_sealer.seal(" ".join(needed).encode())

    def asked(self, text: str) -> tuple[str, ...]:
        """The scopes that such a link asks for; none if it is not ours."""
        unsealed = self._ask_sealer.unseal(text.encode("latin-1", "replace"))
        return tuple(unsealed.data.decode().split()) if unsealed else ()


def short_name(state: str) -> str:
    """What a login is called where its `state` is too long: 64 bits, and only we make what it is the digest of."""
    return digest(state)[:16]


def person(session: Session | None) -> str:
    """A short name for who is signed in; empty where nobody is, or nobody vouches for them."""
    subject = session.claims.get("sub") if session else None
    return digest(subject)[:16] if isinstance(subject, str) and subject else ""
