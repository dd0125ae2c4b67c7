"""Cookies: reading ours from a hostile header, splitting, joining, writing.

The header is read by exact names only. Malformed neighbours do no harm, and two different cookies of
one name of ours count as none. No value is understood here; that is the sealers' work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ..config import LuminConfig

HEADER_LIMIT = 7000
"""Bytes of a `Cookie` header that may be ours. Common servers take lines of 8 KB (8,190 bytes in gunicorn and Apache,
8,192 in nginx) and answer 4xx to everything beyond, sign-out too; the rest is the application's."""

SESSION_LIMIT = 5000
"""Bytes of it that a session may take: as many as leave room for a login in flight, or for several short ones."""

SET_COOKIE_LIMIT = 4000
"""Bytes of one `Set-Cookie` value. Browsers promise 4,096 for name, value and attributes (RFC 6265, 6.1)."""

PIECES_LIMIT = 2
"""Pieces of one session."""

_COUNTS = {b"%d" % count for count in range(2, PIECES_LIMIT + 1)}

DELETIONS_LIMIT = 20
"""Cookies that one answer deletes, however many a browser brings."""

SEPARATORS = b" \t"
"""What may stand around a cookie (RFC 6265, 4.2.1, and RFC 9110, 5.6.3). Python's own idea of white space is wider."""

ENDS = b" \t;"
"""What may be left around the other cookies where ours was, and says nothing."""

_UNSEEN = bytes({*range(0x21), *range(0x7F, 0x100)})
"""What a service behind us may strip from a name, and then read one of ours."""

T = TypeVar("T")


class Cookies:
    """The names and attributes of the cookies of one site."""

    def __init__(self, config: LuminConfig) -> None:
        self.session = config.session_cookie
        self.tries = f"{self.session}-tries"
        self.login = f"{self.session}-login-"
        self.past = f"{self.session}-past"
        self.form = f"{self.session}-form-"
        self.attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if config.secure else "")
        self.pieces = tuple(f"{self.session}-{index}" for index in range(PIECES_LIMIT))
        self.room = SESSION_LIMIT - PIECES_LIMIT * (len(self.session) + len("-0=; ")) - 1
        """Characters that a session's value may have."""
        name = re.escape(self.session.encode())
        self.ours = re.compile(rb"%b(?:-[0-%d]|-tries|-past|-(?:login|form)-[0-9a-f]{16})?" % (name, PIECES_LIMIT - 1))
        every = b"__Host-lumin" if config.secure else b"lumin"
        own = self.session.encode()
        self.markers = (every,) if own.startswith(every) else (own, every)
        self.begins = own + b"="
        """How the session's cookie begins, as browsers write it."""
        # Cookies know neither ports nor paths: those of other sites on this host come along, and are as secret. They
        # are known by the names that we choose; any other that begins as ours do is the application's own. The end of a
        # name keeps what it took: a blank after it could be either's, and to try takes a header's length squared.
        self.withheld = re.compile(rb"%b|%b-[a-z]{6}(?:-[^=;,]*+)?+" % (self.ours.pattern, re.escape(every)))
        """What the application does not see: our names, and those that other sites have by default."""

    def jar(self, header: bytes) -> Jar[Any]:
        """The jar of a `Cookie` header."""
        return Jar(header, self)

    def beside(self, before: bytes, after: bytes) -> bytes | None:
        """The cookies beside one of ours, given what is before its name and after its semicolon; None where it does not
        stand there as browsers write it, or where another of ours may be among them.
        """
        if (before and before[-2:] != b"; ") or (after and after[:1] != b" "):
            return None
        others = before + after[1:] if after else before[:-2]
        return None if self.are_marked(others) else others.strip(ENDS)

    def are_marked(self, others: bytes) -> bool:
        """Whether one of ours, or of what is withheld, may be among these cookies: each has a marker in its name."""
        for marker in self.markers:  # noqa: SIM110  of which there are one or two, and each request asks
            if others.partition(marker)[1]:  # faster than `in`, which tries a number first
                return True
        return False

    def set(self, name: str, value: str, max_age: float) -> str:
        return f"{name}={value}; Max-Age={int(max_age)}{self.attributes}"

    def delete(self, name: str) -> str:
        return f"{name}=; Max-Age=0{self.attributes}"

    def write_session(self, value: str, max_age: float, carried: Mapping[str, bytes | None]) -> list[str]:
        """The `Set-Cookie` values for a session of at most `room` characters, in pieces where one is too small.

        `carried` is what the request came with: pieces that are stale now are deleted, and the oldest logins where
        they would take more than our part of the header.
        """
        whole = self.set(self.session, value, max_age)
        if len(whole) <= SET_COOKIE_LIMIT:
            written = {self.session: whole}
        else:
            room = SET_COOKIE_LIMIT - len(self.set(self.pieces[0], "", max_age))
            # The first character of the first piece says how many there are, so that a stale piece more does no harm.
            text = f"{-(-(len(value) + 1) // room)}{value}"
            parts = [text[start : start + room] for start in range(0, len(text), room)]
            written = {name: self.set(name, part, max_age) for name, part in zip(self.pieces, parts, strict=False)}
        stale = self.delete_session(name for name in carried if name not in written)
        return [*written.values(), *stale, *self._delete_logins(HEADER_LIMIT - len(value), carried)]

    def _delete_logins(self, room: int, carried: Mapping[str, bytes | None]) -> Iterator[str]:
        for name, value in list(carried.items())[::-1]:  # the newest come last (RFC 6265, 5.4)
            if name.startswith(self.login):
                room -= len(name) + len(value or b"")
                if room < 0:
                    yield self.delete(name)

    def delete_session(self, carried: Iterable[str]) -> list[str]:
        """Deletes the session cookies among `carried`."""
        return [self.delete(name) for name in carried if name == self.session or name in self.pieces]

    def delete_all(self, carried: Iterable[str]) -> list[str]:
        """Deletes the cookies of ours among `carried`, as a logout does; logins, which end by themselves, last."""
        names = sorted(carried, key=lambda name: name.startswith(self.login))
        return [self.delete(name) for name in names[:DELETIONS_LIMIT]]


class Jar(Generic[T]):
    """The cookies of one request: `ours` by name, and `rest`, the header as the application may see it."""

    __slots__ = ("_cookies", "_found", "header", "opened", "takes_one")

    def __init__(self, header: bytes, cookies: Cookies) -> None:
        self.header = header
        self.opened: T | None = None
        self.takes_one = False
        """Whether the answer goes by a proxy that asks, of which some hand on one `Set-Cookie` and no other."""
        self._cookies = cookies
        self._found: tuple[dict[str, bytes | None], bytes] | None = None

    def _read(self) -> tuple[dict[str, bytes | None], bytes]:
        if self._found is None:
            names, header = self._cookies, self.header
            self._found = _alone(header, names) or (_each(header, names) if names.are_marked(header) else ({}, header))
        return self._found

    @property
    def ours(self) -> dict[str, bytes | None]:
        """Our cookies; None where one came twice with different values."""
        return self._read()[0]

    @property
    def rest(self) -> bytes:
        """The `Cookie` header without ours."""
        return self._read()[1]

    def session_values(self) -> Iterator[bytes]:
        """What may be the session: the single cookie, then the pieces joined."""
        if whole := self.ours.get(self._cookies.session):
            yield whole
        first = self.ours.get(self._cookies.pieces[0])
        if first and first[:1] in _COUNTS:
            pieces = [self.ours.get(name) for name in self._cookies.pieces[: int(first[:1])]]
            if all(pieces):
                yield b"".join(piece for piece in pieces if piece)[1:]

    def logins(self) -> dict[str, bytes | None]:
        """The cookies of logins in flight, by name."""
        return {name: value for name, value in self.ours.items() if name.startswith(self._cookies.login)}


def _alone(header: bytes, names: Cookies) -> tuple[dict[str, bytes | None], bytes] | None:
    """What `_each` finds where the session's cookie is the only one of ours and stands as browsers write it; or None.

    Most headers are like this, and it takes a look at each byte instead of one at each cookie.
    """
    before, begins, after = header.partition(names.begins)
    value, _, after = after.partition(b";")
    rest = names.beside(before, after) if begins else None
    return None if rest is None else ({names.session: value.rstrip(SEPARATORS)}, rest)


def _each(header: bytes, names: Cookies) -> tuple[dict[str, bytes | None], bytes]:
    ours: dict[str, bytes | None] = {}
    rest = []
    for pair in header.split(b";"):
        name, equals, value = pair.strip(SEPARATORS).partition(b"=")
        if equals and names.ours.fullmatch(name):
            key = name.decode()
            ours[key] = value if ours.get(key, value) == value else None
        elif not names.withheld.fullmatch(name.strip(_UNSEEN)):
            rest.append(pair)
    return ours, b";".join(rest).strip(ENDS)
