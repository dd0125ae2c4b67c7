"""What is known of a cookie: what it holds, and for how long that is all there is to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import Session


@dataclass(slots=True)
class Carried:
    """The session of a request, and whether the browser's copy must be written again."""

    session: Session
    stale: bool
    outdated: bool = field(default=False, compare=False)
    """Whether it was sealed with a key that will go."""
    since: float = field(default=0.0, compare=False)
    until: float = field(default=0.0, compare=False)
    """Epoch seconds between which neither a limit, nor the slide, nor a renewal falls due; 0 where something does."""
    seen: bool = field(default=False, compare=False)
    """Whether it is known already that it came back (`Tries.saw`)."""


class Settled(NamedTuple):
    """What a cookie means from `carried.since` until `carried.until`, as long as its record is `raw`."""

    raw: bytes | None
    carried: Carried
    size: int
    """Bytes that this costs beside the cookie."""

    def __repr__(self) -> str:
        return f"Settled(…, {self.carried!r})"


@dataclass(slots=True)
class Opened:
    """What is known of a cookie: the session that it holds, or in a store its id; where its record is; and by which
    key it was sealed. `size` is the bytes that all this costs."""

    session: Session | None
    session_id: str = field(repr=False)
    key: str
    newest_key: bool
    size: int
    settled: Settled | None = None
    others: bytes = field(default=b"", repr=False)
    """The cookies that came beside it lately, none of which is ours."""

    @property
    def weight(self) -> int:
        """Bytes of it all."""
        return self.size + len(self.others) + (self.settled.size if self.settled else 0)


OPENED_COST = 1200
"""Bytes that an opened session costs beside its text: some 25 Python objects."""
