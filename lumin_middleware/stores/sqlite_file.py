"""What one process has open of one SQLite file: where its locks, forks and known rows are looked after.

SQLite's locks are POSIX locks, which belong to the process and vanish when it closes any descriptor of
the file; and what SQLite remembers of them is not inherited well (sqlite.org/howtocorrupt.html, 2.2 and
2.6). So a process has one `SQLiteFile` per file, whoever asks for it, and closes all of them before it
forks; each side opens them again when it needs them.

Cleaners of temporary files delete what looks unused, and a file that is open lives on without its name. Whoever finds
it gone makes a new one at its place and puts into it what the old one holds: an empty one would revive sessions that
were ended. So does whoever finds another one there, which a worker that started meanwhile has made; what that holds is
newer.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from errno import EACCES, ENOENT, ENOTDIR, EPERM, EROFS
from pathlib import Path

from ..errors import ConfigurationError, StoreUnavailable
from ..journal import say
from .private import locked_directory, private_directory, require_private_file
from .wal_index import WalIndex, is_known

APPLICATION_ID = 0x4C4D4E01  # tells our files from other programs'; its last byte is the schema's version
BUSY_TIMEOUT = 5.0  # seconds; a write takes 20 µs, but who holds the lock may wait for its turn on a busy machine

# With rowids: measured on sealed values of 2 KB, faster in each verb than WITHOUT ROWID, which keeps
# such values on overflow pages.
SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE record (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX record_expires_at ON record (expires_at);
"""
SELECT = "SELECT value, expires_at FROM record WHERE key = ?"
CLEAN_UP = "DELETE FROM record WHERE rowid IN (SELECT rowid FROM record WHERE expires_at <= :now LIMIT 256)"
CLEAN_UP_EVERY = 64  # writes; each adds one row at most, so that the clean-up outruns them

NAME = "PRAGMA user_version"  # at random: an inode's number soon belongs to another file
ALL = "SELECT key, value, expires_at FROM record"
FOREVER = 1e18  # epoch seconds
TAKEN = """
INSERT INTO record (key, value, expires_at) VALUES (?, x'', ?) ON CONFLICT (key) DO NOTHING
"""
TAKE = "INSERT INTO record (key, value, expires_at) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"

KEPT_ROWS = 1024  # known rows of one file in one process: some 2 MB of sealed records,
KEPT_SIZE = 16 * 1024  # and 16 MB of the largest values that are kept

Row = tuple[bytes, float]  # value, expires_at
UNKNOWN: Row = (b"", 0.0)  # told by identity; a row that is known to be absent is None


class Connection:
    """A connection that is opened when first needed, and the lock that whoever uses it must hold."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self._path = path
        self._cursor: sqlite3.Cursor | None = None

    @property
    def is_open(self) -> bool:
        return self._cursor is not None

    def cursor(self) -> sqlite3.Cursor:
        if self._cursor is None:
            with ExitStack() as failing:
                connection = failing.enter_context(closing(connect(self._path)))
                connection.execute("PRAGMA synchronous = NORMAL")  # reads the file, which may be broken
                self._cursor = connection.cursor()
                failing.pop_all()  # nothing failed: it stays open
        return self._cursor

    def close(self) -> None:
        if self._cursor is not None:
            with suppress(sqlite3.Error):
                self._cursor.connection.close()
            self._cursor = None


class SQLiteFile:
    """What one process has open of one file: a connection to read, one to write, and the rows it knows.

    Known rows serve for as long as the WAL index says that nobody has written, so that asking for the
    same session on each request costs no query (1.5 µs instead of 5).
    """

    def __init__(self, path: str, identity: tuple[int, int]) -> None:
        self._path = path
        self._identity = identity
        self._reading = Connection(path)
        self._writing = Connection(path)
        self._writes = 0
        self._known: tuple[WalIndex | None, bytes, dict[bytes, Row | None]] = (None, b"", {})

    def read(self, key: bytes) -> Row | None:
        if not self._is_in_place():
            self._move()
        index, header, rows = self._known
        row = rows.get(key, UNKNOWN)
        if row is UNKNOWN or index is None or index.header() != header:
            row = self._query(key)
        return row

    def write(self, statement: str, values: Mapping[str, object]) -> int:
        """Runs `statement`, and now and then the clean-up before it. How many rows it changed."""
        if not self._is_in_place():
            self._move()
        with self._writing.lock:
            try:
                cursor = self._writing.cursor()
                self._writes += 1
                if self._writes % CLEAN_UP_EVERY == 0:
                    cursor.execute(CLEAN_UP, values)
                changed = cursor.execute(statement, values).rowcount
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from error
        if not self._is_in_place():  # whether it was in time for whoever made a new file, nobody knows
            raise StoreUnavailable(f"{self._path} was deleted while it was written to")
        return changed

    def close(self) -> None:
        self.pause()
        self.resume()

    def pause(self) -> None:
        """Closes everything, and keeps everybody out until `resume`."""
        self._reading.lock.acquire()
        self._writing.lock.acquire()
        self._close()

    def _close(self) -> None:
        index, self._known = self._known[0], (None, b"", {})
        self._reading.close()
        self._writing.close()
        if index is not None:
            index.close()

    def resume(self) -> None:
        self._writing.lock.release()
        self._reading.lock.release()

    def _query(self, key: bytes) -> Row | None:
        with self._reading.lock:
            index, known_header, rows = self._known
            # Before the row: should a commit come between, the row is kept under a header that has
            # passed, and never serves.
            header = index.header() if index is not None else b""
            try:
                row: Row | None = self._reading.cursor().execute(SELECT, (key,)).fetchone()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from error
            if index is None:
                with suppress(OSError):
                    self._known = (WalIndex(self._path), b"", {})
            elif is_known(header) and (row is None or len(row[0]) <= KEPT_SIZE):
                if header != known_header or len(rows) >= KEPT_ROWS:
                    rows = {}
                    self._known = (index, header, rows)
                rows[key] = row
            return row

    # --- a file that is gone ---

    def _is_in_place(self) -> bool:
        try:
            found = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be reached: {error.strerror}") from error
        return (found.st_dev, found.st_ino) == self._identity

    def _move(self) -> None:
        """Goes over to the file that is in place, or to a new one, with all that the old one held."""
        try:
            with _files_lock, self._reading.lock, self._writing.lock:
                if self._is_in_place():  # another thread was here
                    return
                name, rows = self._held()
                private_directory(os.path.dirname(self._path))
                identity = _make(self._path)
                self._close()
                taken = _take(self._path, name, rows)
                self._identity = identity
        except ConfigurationError as error:
            raise StoreUnavailable(error.problem) from error
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        said = f"{taken} records were put back" if rows is not None else "what it held is lost to this process"
        say("store_file_replaced", path=self._path, outcome=said)

    def _held(self) -> tuple[int, list[tuple[bytes, bytes, float]] | None]:
        """The old file's name and what it holds; None where nothing of it is open."""
        for connection in (self._reading, self._writing):
            if connection.is_open:
                (name,) = connection.cursor().execute(NAME).fetchone()
                return name, connection.cursor().execute(ALL).fetchall()
        return 0, None


# By path: whatever lies there is one store, and a second `SQLiteFile` of it would drop the locks of the first.
_files: dict[str, SQLiteFile] = {}
_files_lock = threading.Lock()


def open_file(path: str) -> SQLiteFile:
    """The database at `path`, which is made where it is missing. Nothing of it is open yet."""
    directory, name = os.path.split(os.path.abspath(path))
    try:
        private_directory(directory)
        path = os.path.join(os.path.realpath(directory), name)
        with _files_lock:
            identity = _make(path)
            return _files.setdefault(path, SQLiteFile(path, identity))
    except OSError as error:
        if error.errno in (EACCES, ENOENT, ENOTDIR, EPERM, EROFS):
            raise ConfigurationError("store", f"{path}: {error.strerror}; name a place to write to") from error
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def connect(path: str) -> sqlite3.Connection:
    """Opens a file that exists (`mode=rw`): one that was deleted is an error, and no empty store."""
    uri = f"{Path(path).as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def _make(path: str) -> tuple[int, int]:
    """The identity of the file at `path`, which is made where it is missing."""
    if not os.path.lexists(path):
        _create(path)
    require_private_file(path)
    _require_application(path)
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _take(path: str, old: int, rows: list[tuple[bytes, bytes, float]] | None) -> int:
    """Puts the rows of an old file into the one at `path`, once, whoever comes with them. How many are new there."""
    if not rows:
        return 0
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        taken = 0
        if connection.execute(TAKEN, (f"taken {old}".encode(), FOREVER)).rowcount:
            taken = connection.executemany(TAKE, rows).rowcount
        connection.execute("COMMIT")
    return taken


def _create(path: str) -> None:
    """Makes the file complete beside its place, and moves it there; one process at a time."""
    directory = os.path.dirname(path)
    with locked_directory(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as beside:
        if os.path.lexists(path):
            return
        new = os.path.join(beside, "store")
        with closing(sqlite3.connect(new)) as connection:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise ConfigurationError("store", f"{path}: this file system cannot share memory; name a local disk")
            connection.executescript(SCHEMA)
            connection.execute(f"{NAME} = {secrets.randbits(31)}")
        os.chmod(new, 0o600)
        for log in (f"{path}-wal", f"{path}-shm"):  # of a file that was deleted; SQLite would play it back
            with suppress(FileNotFoundError):
                os.unlink(log)
        os.rename(new, path)


def _require_application(path: str) -> None:
    with closing(connect(path)) as connection:
        if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise ConfigurationError("store", f"{path} is another program's; name a file of its own")


def _pause_all() -> None:
    _files_lock.acquire()
    for file in _files.values():
        file.pause()


def _resume_all() -> None:
    for file in _files.values():
        file.resume()
    _files_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_all)
