"""A clock that processes share: real time, and an offset in a file that all of them have mapped."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

OFFSET = struct.Struct("d")


class SharedClock:
    """Epoch seconds as every process sees them that opened the same file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), OFFSET.size)

    @classmethod
    def create(cls, path: Path) -> SharedClock:
        """A new clock, which shows real time."""
        path.write_bytes(OFFSET.pack(0.0))
        return cls(path)

    def __call__(self) -> float:
        return time.time() + float(OFFSET.unpack_from(self._map)[0])

    def advance(self, seconds: float) -> None:
        """Let it be later, for everybody and at once."""
        OFFSET.pack_into(self._map, 0, OFFSET.unpack_from(self._map)[0] + seconds)
