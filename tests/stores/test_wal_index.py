"""`WalIndex`: its bytes change with every commit of anybody, with nothing else, and are never trusted when strange."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lumin_middleware.stores.wal_index import HEADER_SIZE, WalIndex, is_known


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n)")
        yield connection


@pytest.fixture
def index(connection: sqlite3.Connection, path: Path) -> Iterator[WalIndex]:
    index = WalIndex(str(path))
    yield index
    connection.close()  # before the index: see its rule
    index.close()


def test_every_commit_of_anybody_changes_it(index: WalIndex, connection: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        seen = {index.header()}
        for number in range(3000):  # three checkpoints, after each of which the log starts over
            (connection, other)[number % 2].execute("INSERT INTO t VALUES (?)", (number,))
            assert is_known(index.header())
            seen.add(index.header())
    assert len(seen) == 3001


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM t",
        "DELETE FROM t WHERE n = 'nothing'",
        "UPDATE t SET n = 1 WHERE n = 'nothing'",
        "BEGIN IMMEDIATE; INSERT INTO t VALUES (1); ROLLBACK",
        "PRAGMA wal_checkpoint",
    ],
)
def test_what_changes_nothing_does_not_change_it(
    index: WalIndex, connection: sqlite3.Connection, statement: str
) -> None:
    connection.execute("INSERT INTO t VALUES (0)")
    before = index.header()
    connection.executescript(statement)
    assert index.header() == before


def test_one_that_was_closed_shows_nothing_that_could_be_relied_on(connection: sqlite3.Connection, path: Path) -> None:
    index = WalIndex(str(path))
    connection.close()
    index.close()
    assert index.header() == b""
    assert not is_known(index.header())


def test_without_the_file_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WalIndex(str(tmp_path / "database"))


@pytest.mark.parametrize("content", [b"", b"\0" * HEADER_SIZE, b"\xff" * HEADER_SIZE])
def test_a_file_of_another_layout_is_never_relied_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "database-shm").write_bytes(content)
    with closing(WalIndex(str(tmp_path / "database"))) as index:
        assert not is_known(index.header())
