"""A finding: what was looked at, what is the matter, why it matters, and what to do. It holds no secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..config import LuminConfig

Level = Literal["ok", "doubtful", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `why` and `cure` are empty where all is well."""

    check: str
    level: Level
    what: str
    why: str = ""
    cure: str = ""


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", what)


def doubtful(check: str, what: str, why: str, cure: str) -> Finding:
    """It works, and may not be what is wanted."""
    return Finding(check, "doubtful", what, why, cure)


def wrong(check: str, what: str, why: str, cure: str) -> Finding:
    """It does not work."""
    return Finding(check, "wrong", what, why, cure)


Check = Callable[[LuminConfig], Iterator[Finding]]
