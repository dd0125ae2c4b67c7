"""Keys of 2048 bits for the emulator, which sign in a sixth of the time.

Its own have 4096, as Hydra's have: a signature takes six milliseconds, and each sign-in and each renewal has one.
How long they are, only an ID token's length tells; what is about that asks for the fixture `long_keys`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lumin_middleware.emulator import keys

BITS = 2048
LONG: dict[str, Any] = {"BITS": keys.BITS, "_ready_made": keys._ready_made}


@functools.cache
def ready_made() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_text())["keys"]
    return found


SHORT: dict[str, Any] = {"BITS": BITS, "_ready_made": ready_made}


def use(kind: dict[str, Any] = SHORT) -> None:
    """The keys of all emulators that this process makes from here on."""
    vars(keys).update(kind)
    keys._rsa.cache_clear()


@contextmanager
def long() -> Iterator[None]:
    """The emulator's own in their place."""
    use(LONG)
    try:
        yield
    finally:
        use()
