"""Cookies: reading ours from a hostile header, splitting, joining, writing.

The header is read by exact names only. Malformed neighbours do no harm, and two different cookies of
one name of ours count as none. No value is understood here; that is the sealers' work.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Generic, TypeVar

from ..config import LuminConfig
from ..errors import LuminError

SET_COOKIE_LIMIT = 4000
"""Bytes of one `Set-Cookie` value. Browsers promise 4,096 for name, value and attributes (RFC 6265, 6.1)."""

PIECES_LIMIT = 5
"""Pieces of one session: 20,000 bytes, which is more than common servers take in a header."""

DELETIONS_LIMIT = 20
"""Cookies that one answer deletes, however many a browser brings."""

MEMO_LIMIT = 1000
"""Jars that a process remembers: a few MB, and only somebody who is signed in gets in."""

T = TypeVar("T")


class Memo(Generic[T]):
    """A bounded dictionary that forgets its oldest entry."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[bytes, T] = OrderedDict()
        self.get = self._entries.get

    def put(self, key: bytes, value: T) -> None:
        if len(self._entries) >= self._limit:
            self._entries.popitem(last=False)
        self._entries[key] = value


class SessionTooLarge(LuminError):
    """The sealed session does not fit into the cookies that a browser keeps."""

    status_hint = 502
    reason = "session_too_large"


class Cookies:
    """The names and attributes of the cookies of one site."""

    def __init__(self, config: LuminConfig) -> None:
        self.session = config.session_cookie
        self.tries = f"{self.session}-tries"
        self.login = f"{self.session}-login-"
        self.attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if config.secure else "")
        self.pieces = tuple(f"{self.session}-{index}" for index in range(PIECES_LIMIT))
        self.marker = self.session.encode()
        self.ours = re.compile(rb"%s(?:-[0-4]|-tries|-login-[0-9a-f]{16})?" % re.escape(self.marker))

        self._jars: Memo[Jar[Any]] = Memo(MEMO_LIMIT)

    def jar(self, header: bytes) -> Jar[Any]:
        """The jar of a `Cookie` header."""
        return self._jars.get(header) or Jar(header, self)

    def remember(self, jar: Jar[Any]) -> None:
        """Keeps a jar that held a session, so that the next request with the same cookies need not open it."""
        self._jars.put(jar.header, jar)

    def set(self, name: str, value: str, max_age: float) -> str:
        return f"{name}={value}; Max-Age={int(max_age)}{self.attributes}"

    def delete(self, name: str) -> str:
        return f"{name}=; Max-Age=0{self.attributes}"

    def write_session(self, value: str, max_age: float, carried: Iterable[str]) -> list[str]:
        """The `Set-Cookie` values for a session, in pieces where one is too small.

        `carried` are the names that the request came with: those that are stale now are deleted.
        Raises `SessionTooLarge`.
        """
        whole = self.set(self.session, value, max_age)
        if len(whole) <= SET_COOKIE_LIMIT:
            written = {self.session: whole}
        else:
            room = SET_COOKIE_LIMIT - len(self.set(self.pieces[0], "", max_age))
            # The first character of the first piece says how many there are, so that a stale piece more does no harm.
            count = -(-(len(value) + 1) // room)
            if count > PIECES_LIMIT:
                raise SessionTooLarge(
                    f"the sealed session has {len(value)} bytes, which is more than {PIECES_LIMIT} cookies hold; "
                    "use sessions='store'"
                )
            text = f"{count}{value}"
            written = {
                name: self.set(name, text[index * room : (index + 1) * room], max_age)
                for index, name in enumerate(self.pieces[:count])
            }
        return [*written.values(), *self.delete_session(name for name in carried if name not in written)]

    def delete_session(self, carried: Iterable[str]) -> list[str]:
        """Deletes the session cookies among `carried`."""
        return [self.delete(name) for name in carried if name == self.session or name in self.pieces]

    def delete_all(self, carried: Iterable[str]) -> list[str]:
        """Deletes the cookies of ours among `carried`, as a logout does; logins, which end by themselves, last."""
        names = sorted(carried, key=lambda name: name.startswith(self.login))
        return [self.delete(name) for name in names[:DELETIONS_LIMIT]]


class Jar(Generic[T]):
    """The cookies of one request: `ours` by name, and `rest`, the header as the application may see it.

    Equal headers have equal jars, so one that held a session is remembered, with what was opened in it.
    """

    def __init__(self, header: bytes, cookies: Cookies) -> None:
        self.header = header
        self.opened: T | None = None
        self._cookies = cookies

    @cached_property
    def _read(self) -> tuple[dict[str, bytes | None], bytes]:
        marker = self._cookies.marker
        if marker not in self.header:
            return {}, self.header
        ours: dict[str, bytes | None] = {}
        rest = []
        for pair in self.header.split(b";"):
            name, equals, value = pair.strip().partition(b"=")
            if not equals or not name.startswith(marker) or not self._cookies.ours.fullmatch(name):
                rest.append(pair)
            else:
                key = name.decode()
                ours[key] = value if ours.get(key, value) == value else None
        return ours, b";".join(rest).strip()

    @cached_property
    def ours(self) -> dict[str, bytes | None]:
        """Our cookies; None where one came twice with different values."""
        return self._read[0]

    @cached_property
    def rest(self) -> bytes:
        """The `Cookie` header without ours."""
        return self._read[1]

    def session_values(self) -> Iterator[bytes]:
        """What may be the session: the single cookie, then the pieces joined."""
        if whole := self.ours.get(self._cookies.session):
            yield whole
        first = self.ours.get(self._cookies.pieces[0])
        if first and first[:1] in (b"2", b"3", b"4", b"5"):
            pieces = [self.ours.get(name) for name in self._cookies.pieces[: int(first[:1])]]
            if all(pieces):
                yield b"".join(piece for piece in pieces if piece)[1:]

    def logins(self) -> dict[str, bytes | None]:
        """The cookies of logins in flight, by name."""
        return {name: value for name, value in self.ours.items() if name.startswith(self._cookies.login)}
