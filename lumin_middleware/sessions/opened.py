"""What is known of a cookie: what it holds, and for how long that is all there is to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..model import Session
from .memo import Entry
from .records import record_key

OPENED_COST = 1200
"""Bytes that an opened session costs beside its text: some 25 Python objects."""

Came = tuple[bytes, int, int, bytes]
"""A `Cookie` header, where in it a value begins and ends, and what is left without its cookie, which has none of ours.
One value, since threads look at it at once."""


@dataclass(slots=True)
class Carried:
    """The session of a request, and whether the browser's copy must be written again.

    One that is `settled` (`Opened`) never changes, but for `seen`: threads look at it at once.
    """

    session: Session
    stale: bool
    until: float = field(default=0.0, compare=False)
    """Epoch seconds until which neither a limit, nor the slide, nor a renewal falls due; 0 where something does."""
    raw: bytes | None = field(default=None, repr=False, compare=False)
    """The record by which this is so, and for as long as it is the record; None where there is none, or where the store
    is not asked about each request."""
    seen: bool = field(default=False, compare=False)
    """Whether it is known already that it came back (`Tries.saw`)."""


@dataclass(slots=True)
class Opened(Entry):
    """What is known of a cookie: the session that it holds, or in a store its id; and by which key it was sealed.
    `size` is the bytes that all this costs."""

    session: Session | None
    session_id: str = field(repr=False)
    newest_key: bool
    size: int
    settled: Carried | None = None
    """What it was found to carry, with nothing falling due."""
    signature: bytes = field(default=b"", repr=False)
    """The end of the cookie's value, by which it is found."""
    listed: bool = field(default=False, repr=False)
    """Whether what lists it was sealed anew."""
    came: Came = field(default=(b"", 0, 0, b""), repr=False)
    """Where it came lately."""
    place: str = field(default="", repr=False)
    """Where the record is for a glance (`ports.Glance`), once somebody has looked there."""
    _record: str = field(default="", repr=False)

    @property
    def record(self) -> str:
        """Where in the store the record is. Most cookies are never looked up there."""
        if not self._record:
            self._record = record_key(self.session_id)
        return self._record

    def is_of(self, value: bytes) -> bool:
        """Whether this is what is known of a value; others may end as it does."""
        header, begin, end, _ = self.came
        return header[begin:end] == value

    @property
    def weight(self) -> int:
        """Bytes of it all."""
        weight = self.size + len(self.came[0]) + len(self.came[3])
        if self.settled is not None:
            raw = len(self.settled.raw or b"")
            weight += raw if self.settled.session is self.session else OPENED_COST + 2 * raw
        return weight
