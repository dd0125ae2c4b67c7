"""How often a browser has signed in lately for nothing: a small sealed cookie that knows loops.

A loop is a sign-in after which the session was never seen. Sign-ins that led to a session that was seen count for
nothing, however many there are. Another loop is a page that does not look at the session: it sends somebody who has
just signed in to sign in again, for that same page.
"""

from __future__ import annotations

import json
from typing import Any

from ..config import LuminConfig
from ..model import Session
from ..ports import World
from .cookies import Cookies, Jar
from .memo import Entry, Memo
from .records import digest
from .sealing import Sealer

TRIES_LIMIT = 3
TRIES_WINDOW = 60.0
"""Sign-ins that end in no session, in seconds, after which another would be a loop. Browsers follow 20 redirects in a
row, and a sign-in at Hydra has seven."""


AT_ONCE = 5.0
"""Seconds after a sign-in in which a page sends somebody on, and nobody reads it and asks for another sign-in."""

LED_AT_ONCE = 2.0
"""The same where other sites' pages, a portal's say, may have a link to the sign-in: time for a redirect, and not to
look at the page and click again."""

_PAGE = "/"
"""What the name of a page begins with, which no name of a session does."""

SEEN_MEMORY = 4 * 2**20
"""Bytes in which it is remembered which sessions came back: some 500, of the last minute."""


class Tries:
    """Reads and writes that cookie: when this browser signed in, and to which session each time."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._clock = world.clock
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "tries", world.clock)
        # Which young sessions came back. Of this process alone, since it saves a page and proves nothing else.
        self._seen: Memo[Entry] = Memo(SEEN_MEMORY)

    def has_counted(self, jar: Jar[Any]) -> bool:
        """Whether this browser has signed in lately, for whatever it was."""
        return self._cookies.tries in jar.ours

    def is_looping(self, jar: Jar[Any]) -> bool:
        """Whether this browser has just signed in again and again, and no session was ever seen."""
        return sum(not name.startswith(_PAGE) for _, name in self._read(jar)) >= TRIES_LIMIT

    def is_led_back(self, page: str, jar: Jar[Any]) -> bool:
        """Whether somebody who had just signed in was sent to sign in by this page already, and `count_page` knows."""
        return any(name == _of_page(page) for _, name in self._read(jar))

    def is_at_once(self, session: Session, within: float = AT_ONCE) -> bool:
        """Whether this session is so young, in seconds, that it is not a person who asks for another."""
        return abs(self._clock() - session.began) < within

    def count(self, session: Session, jar: Jar[Any]) -> str:
        """The `Set-Cookie` value that counts a sign-in."""
        return self._counted(_name(session), jar)

    def count_page(self, page: str, jar: Jar[Any]) -> str:
        """The `Set-Cookie` value that counts a login for this page by somebody who has just signed in."""
        return self._counted(_of_page(page), jar)

    def _counted(self, name: str, jar: Jar[Any]) -> str:
        tries = [*self._read(jar), (self._clock(), name)]
        pages = [each for each in tries if each[1].startswith(_PAGE)]
        sign_ins = [each for each in tries if each not in pages]
        kept = sign_ins[-TRIES_LIMIT:] + pages[-1:]
        return self._cookies.set(self._cookies.tries, self._sealer.seal(json.dumps(kept).encode()), TRIES_WINDOW)

    def saw(self, session: Session) -> None:
        """A request came with this session: whatever led to it was no loop."""
        if self._clock() - session.began < TRIES_WINDOW and not self._seen.get(session.id.encode()):
            self._seen.put(session.id.encode(), Entry())
            self._seen.put(_name(session).encode(), Entry())

    def _read(self, jar: Jar[Any]) -> list[tuple[float, str]]:
        value = jar.ours.get(self._cookies.tries)
        unsealed = self._sealer.unseal(value) if value else None
        now = self._clock()
        tries = json.loads(unsealed.data) if unsealed else []
        return [(at, name) for at, name in tries if abs(now - at) < TRIES_WINDOW and not self._seen.get(name.encode())]


def _name(session: Session) -> str:
    return digest(session.id)[:12]


def _of_page(page: str) -> str:
    return _PAGE + digest(page)[:12]
