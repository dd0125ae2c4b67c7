"""When a token must be renewed. Times are in seconds."""

from __future__ import annotations

from enum import Enum

from ..model import CLOCK_TOLERANCE, TokenSet

SOFT_SHARE = 0.2
"""The last part of a token's life in which one request renews and no other waits; `renew_before` bounds it."""

HARD_SHARE, HARD_MARGIN = 0.02, 15.0
"""The last part, and its most seconds, in which a token may be refused before it arrives: everybody waits."""


class Due(Enum):
    """When a token must be renewed."""

    LATER = 0
    SOON = 1
    NOW = 2


def due(tokens: TokenSet, now: float, renew_before: float, rejected: str | None = None) -> Due:
    """When these tokens must be renewed.

    At once if the access token is the one that the API `rejected`, or if more is left of it than it ever had: the clock
    was wrong when it came, and nobody knows how old it is.
    """
    left = tokens.expires_at - now
    if (
        left <= min(HARD_SHARE * tokens.lifetime, HARD_MARGIN)
        or tokens.access_token == rejected
        or now < _since(tokens)
    ):
        return Due.NOW
    return Due.SOON if left <= min(SOFT_SHARE * tokens.lifetime, renew_before) else Due.LATER


def later(tokens: TokenSet, renew_before: float) -> tuple[float, float]:
    """From when and until when `due` says later, in epoch seconds."""
    lifetime = tokens.lifetime
    soft, hard = min(SOFT_SHARE * lifetime, renew_before), min(HARD_SHARE * lifetime, HARD_MARGIN)
    return _since(tokens), tokens.expires_at - max(soft, hard)


def _since(tokens: TokenSet) -> float:
    """When the tokens came, at the earliest: hosts whose clocks differ a little share them."""
    return tokens.expires_at - tokens.lifetime - CLOCK_TOLERANCE
