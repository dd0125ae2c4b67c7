"""What was sealed with a key that is not in `secret_key`: nobody here can read it, and it is there all the same.

A process that has the key goes by it. So it is taken for nothing only by whoever just looks, and never written over.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode

from ..errors import StoreUnavailable


class KeyMissing(StoreUnavailable):
    """What is to be changed, or to be known whole, was sealed with a key that is not in `secret_key`."""

    def __init__(self, what: str, lost: str) -> None:
        cure = "give every process all keys that are in use, the newest first"
        super().__init__(f"{what} was sealed with a key that is not in secret_key: {cure}; if it is lost, {lost}")


def sealed_at(value: bytes) -> int:
    """When a value says that it was sealed, in epoch seconds; 0 where it does not. Without its key nobody vouches for
    that, but the store, of which whoever can write there can as well take it away.
    """
    try:
        _, timestamp, _ = value.rsplit(b".", 2)
        return int.from_bytes(urlsafe_b64decode(timestamp + b"=" * (-len(timestamp) % 4)), "big")
    except ValueError:
        return 0
