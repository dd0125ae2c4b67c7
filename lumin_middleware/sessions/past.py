"""The logins that a browser once began: one small sealed cookie of names, for those whose own cookies had no room.

It is written when a login loses its cookie. Several tabs may write it at once, and the last one counts; so each
writes all the names that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..config import LuminConfig
from ..ports import World
from .cookies import Cookies, Jar
from .sealing import Sealer

PAST_LIMIT = 48
"""Logins that are remembered: more tabs than anybody has on one site, in half a kilobyte."""

PAST_LIFETIME = 1800.0
"""Seconds that they are; as long as a login lives."""

_SIZE = 8  # bytes of a name, as the names of the cookies have


class Past:
    """Reads and writes that cookie. A name is that of a login's cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._clock = world.clock
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "past", world.clock)

    def has(self, name: str, jar: Jar[Any]) -> bool:
        """Whether a login was this browser's."""
        return self._short(name) in self._read(jar)

    def remember(self, names: Iterable[str], jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` value that remembers these logins, too."""
        known = dict.fromkeys([*self._read(jar), *map(self._short, names)])
        return [self._write(list(known)[-PAST_LIMIT:])]

    def forget(self, name: str, jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` value that forgets one, if it was remembered."""
        known, short = self._read(jar), self._short(name)
        return [self._write([each for each in known if each != short])] if short in known else []

    def _short(self, name: str) -> bytes:
        return bytes.fromhex(name.removeprefix(self._cookies.login))

    def _read(self, jar: Jar[Any]) -> list[bytes]:
        value = jar.ours.get(self._cookies.past)
        unsealed = self._sealer.unseal(value) if value else None
        if unsealed is None or abs(self._clock() - unsealed.sealed_at) >= PAST_LIFETIME:
            return []
        return [unsealed.data[start : start + _SIZE] for start in range(0, len(unsealed.data), _SIZE)]

    def _write(self, names: list[bytes]) -> str:
        if not names:
            return self._cookies.delete(self._cookies.past)
        return self._cookies.set(self._cookies.past, self._sealer.seal(b"".join(names)), PAST_LIFETIME)
