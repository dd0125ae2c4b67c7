"""What a browser has tried lately: a small sealed cookie that knows loops and the logins that had no room.

A loop is a sign-in after which the session was never seen. Sign-ins that led to a session that was seen count for
nothing, however many there are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..config import LuminConfig
from ..model import Session
from ..ports import World
from .cookies import MEMO_LIMIT, Cookies, Jar, Memo
from .records import digest
from .sealing import Sealer

TRIES_LIMIT = 3
TRIES_WINDOW = 60.0
"""Sign-ins that end in no session, in seconds, after which another would be a loop. Browsers follow 20 redirects in a
row, and a sign-in at Hydra has seven."""

REMEMBERED_LIMIT = 48
"""Logins that are remembered by name: more tabs than anybody has on one site, in half a kilobyte."""

REMEMBERED_LIFETIME = 1800.0
"""Seconds that they are; as long as a login lives."""

_NAME_BYTES = 8  # as many as the names of their cookies say
_TAG_BYTES = 8  # of a session's name: nobody but the browser itself can make two equal ones


class Memory(NamedTuple):
    """When this browser signed in, to which session each time, and the names of its logins that had no room."""

    tries: tuple[tuple[int, bytes], ...] = ()
    names: tuple[bytes, ...] = ()

    def dump(self) -> bytes:
        tries = b"".join(struct.pack(">I", at) + tag for at, tag in self.tries)
        return bytes([len(self.tries)]) + tries + b"".join(self.names)

    @classmethod
    def load(cls, data: bytes) -> Memory:
        size = 4 + _TAG_BYTES
        tries, names = data[1 : 1 + data[0] * size], data[1 + data[0] * size :]
        return cls(
            tuple((int.from_bytes(each[:4]), each[4:]) for each in _split(tries, size)),
            tuple(_split(names, _NAME_BYTES)),
        )


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


class Tries:
    """Reads and writes that cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._clock = world.clock
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "tries", world.clock)
        # Which young sessions came back. Of this process alone, since it saves a page and proves nothing else.
        self._seen: Memo[bool] = Memo(MEMO_LIMIT)

    # --- loops ---

    def is_looping(self, jar: Jar[Any]) -> bool:
        """Whether this browser has just signed in again and again, and no session was ever seen."""
        return len([tag for _, tag in self._read(jar).tries if not self._seen.get(tag)]) >= TRIES_LIMIT

    def count(self, session: Session, jar: Jar[Any]) -> str:
        """The `Set-Cookie` value that counts a sign-in."""
        memory = self._read(jar)
        unseen = [each for each in memory.tries if not self._seen.get(each[1])]
        tries = [*unseen, (int(self._clock()), _tag(session))][-TRIES_LIMIT:]
        return self._write(Memory(tuple(tries), memory.names))

    def saw(self, session: Session) -> None:
        """A request came with this session: whatever led to it was no loop."""
        if self._clock() - session.began < TRIES_WINDOW and not self._seen.get(tag := _tag(session)):
            self._seen.put(tag, True)

    # --- logins that had no room ---

    def remembers(self, name: bytes, jar: Jar[Any]) -> bool:
        """Whether a login of that name was this browser's."""
        return name in self._read(jar).names

    def remembers_any(self, jar: Jar[Any]) -> bool:
        """Whether this browser had logins that are over."""
        return bool(self._read(jar).names)

    def remember(self, names: Iterable[bytes], jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` value that remembers these, too."""
        memory = self._read(jar)
        known = tuple(dict.fromkeys([*memory.names, *names]))[-REMEMBERED_LIMIT:]
        return [self._write(Memory(memory.tries, known))]

    def forget(self, name: bytes, jar: Jar[Any]) -> list[str]:
        """The `Set-Cookie` value that forgets one, if it was remembered."""
        memory = self._read(jar)
        rest = tuple(each for each in memory.names if each != name)
        return [] if rest == memory.names else [self._write(Memory(memory.tries, rest))]

    # --- the cookie ---

    def _read(self, jar: Jar[Any]) -> Memory:
        value = jar.ours.get(self._cookies.tries)
        unsealed = self._sealer.unseal(value) if value else None
        if unsealed is None:
            return Memory()
        memory, now = Memory.load(unsealed.data), self._clock()
        recent = tuple(each for each in memory.tries if abs(now - each[0]) < TRIES_WINDOW)
        return Memory(recent, memory.names if abs(now - unsealed.sealed_at) < REMEMBERED_LIFETIME else ())

    def _write(self, memory: Memory) -> str:
        lifetime = REMEMBERED_LIFETIME if memory.names else TRIES_WINDOW
        return self._cookies.set(self._cookies.tries, self._sealer.seal(memory.dump()), lifetime)


def _tag(session: Session) -> bytes:
    return bytes.fromhex(digest(session.id))[:_TAG_BYTES]
