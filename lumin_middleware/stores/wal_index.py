"""Has anybody written to an SQLite database since it was last looked at? Answered without a system call.

In WAL mode all processes that have a database open share a mapped file, `<database>-shm`, the WAL
index (sqlite.org/walformat.html, section 2). Its first 48 bytes tell the newest committed transaction:
a change counter, the number of frames, and checksums over the whole log, salted anew each time the log
starts over. Replacing these bytes is what makes a commit visible, and SQLite's own readers decide by
comparing them whether their cache still holds (`walIndexTryHdr` in wal.c). So does this: the same bytes
mean that nothing was committed in between. A writer killed half-way has committed nothing that any
reader could have seen, and whoever repairs the index after it writes other bytes.

The layout carries a version, by which SQLites of different releases refuse one another. Any version
but the one known here is never relied on.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress

HEADER_SIZE = 48
KNOWN_VERSION = struct.pack("=I", 3_007_000)  # in this machine's byte order; unchanged since SQLite 3.7.0


class WalIndex:
    """The WAL index of one database, mapped for reading.

    Opened after this process's first connection to the database (which makes the index) and closed
    after its last: when any descriptor of a file is closed, POSIX drops every lock that the process
    holds on it (fcntl(2)), SQLite's among them.

    Raises `OSError` where there is no such file.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(f"{database}-shm", os.O_RDONLY)
        self._map: mmap.mmap | None = None
        with suppress(OSError, ValueError):  # without a map the file must stay open all the same
            self._map = mmap.mmap(self._file, HEADER_SIZE, access=mmap.ACCESS_READ)

    def header(self) -> bytes:
        """The 48 bytes; nothing when closed. Rely on them only where `is_known` says so."""
        try:
            return self._map[:HEADER_SIZE] if self._map is not None else b""
        except ValueError:  # another thread closed it
            return b""

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        os.close(self._file)


def is_known(header: bytes) -> bool:
    """Whether `header` has the layout that is described above, and is not all zeros."""
    return header.startswith(KNOWN_VERSION)
