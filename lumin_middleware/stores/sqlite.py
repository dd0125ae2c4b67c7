"""A store in one file, for all processes of one machine: SQLite, in WAL mode. No dependency.

It survives `kill -9` of any process at any moment. A power cut may cost what the last seconds wrote
(`synchronous=NORMAL`): awaiting the disk on each swap would hold all renewals of the machine in one
queue of milliseconds. WAL needs memory that processes share, so the file must be on a local disk;
machines that share sessions want Redis.

A database that is locked for too long, full, or broken is `StoreUnavailable`, never "not found". A file that
is deleted under running processes is made again with what it held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import ClassVar

from .sqlite_file import open_file

CREATE = """
INSERT INTO record (key, value, expires_at) VALUES (:key, :new, :expires_at)
ON CONFLICT (key) DO UPDATE SET value = :new, expires_at = :expires_at WHERE expires_at <= :now
"""
REPLACE = """
UPDATE record SET value = :new, expires_at = :expires_at
WHERE key = :key AND value = :old AND expires_at > :now
"""
DELETE = "DELETE FROM record WHERE key = :key AND value = :old AND expires_at > :now"


class SQLiteStore:
    """Records in the SQLite file at `path`, which nobody but this user may read or write.

    The file is made with mode 0600, and its directory, where missing, with mode 0700. `clock` gives
    epoch seconds.

    Raises `ConfigurationError` where others could write to the file or its directory, or this user
    cannot, and `StoreUnavailable` where the disk or the file fails.
    """

    local: ClassVar[bool] = True
    instant_get: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.path = os.fspath(path)
        """The file."""
        self._file = open_file(self.path)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        row = self._file.read(key.encode())
        return row[0] if row is not None and row[1] > self._clock() else None

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`. One statement, which SQLite runs as one transaction."""
        now = self._clock()
        if ttl <= 0:
            new = None
        if old is None and new is None:
            return self.get(key) is None
        statement = DELETE if new is None else CREATE if old is None else REPLACE
        values = {"key": key.encode(), "old": old, "new": new, "expires_at": now + ttl, "now": now}
        return self._file.write(statement, values) == 1

    def close(self) -> None:
        """Gives back what this process has open of the file; whichever store needs it next reopens it."""
        self._file.close()
