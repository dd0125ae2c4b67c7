"""`SQLiteStore`: the contract, and what only a file has: modes, owners, links, locks, forks, and `kill -9`."""

from __future__ import annotations

import errno
import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.stores import SQLiteStore, sqlite_file
from lumin_middleware.stores.contract import Opener, SharedStoreContract
from lumin_middleware.stores.sqlite_file import SQLiteFile
from tests import spawning
from tests.patience import PATIENCE

from .clock import NOW, Clock

LONG = 3600.0


class TestSQLiteStore(SharedStoreContract):
    short = 100.0

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        self.path = tmp_path / "store.sqlite3"
        self.clock = Clock()
        return partial(SQLiteStore, self.path, clock=self.clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    def break_store(self) -> None:
        self.path.unlink()
        self.path.mkdir()  # so that it cannot be made again


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path)) as store:
        yield store


def count_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM record").fetchone()[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the file -------------------------------------------------------------------------------------------


def test_file_and_directory_are_private_whatever_the_umask(path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(SQLiteStore(path)) as store:
            store.swap("key", None, b"value", LONG)
            files = {file.name: oct(mode(file)) for file in path.parent.iterdir()}
    finally:
        os.umask(umask)
    names = ("store.sqlite3", "store.sqlite3-shm", "store.sqlite3-wal")
    assert files == dict.fromkeys(names, "0o600")
    assert mode(path.parent) == 0o700


def test_a_directory_above_the_last_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        SQLiteStore(tmp_path / "typo" / "private" / "store.sqlite3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [0o020, 0o002, 0o777])
def test_a_directory_that_others_can_write_to_is_refused(path: Path, bits: int) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o700 | bits)
    with pytest.raises(ConfigurationError, match=f"open to other users: chmod go-w {path.parent}"):
        SQLiteStore(path)


@pytest.mark.parametrize("bits", [0o040, 0o020, 0o004, 0o002])
def test_a_file_that_others_can_read_or_write_is_refused(store: SQLiteStore, path: Path, bits: int) -> None:
    path.chmod(0o600 | bits)
    with pytest.raises(ConfigurationError, match=f"open to other users: chmod 600 {path}"):
        SQLiteStore(path)


def test_a_directory_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    with pytest.raises(ConfigurationError, match=f"{path.parent} belongs to another user"):
        SQLiteStore(path)


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SQLiteStore(path)
    owners = iter([os.geteuid(), os.geteuid() + 1])  # asked for the directory, then for the file
    monkeypatch.setattr(os, "geteuid", lambda: next(owners))
    with pytest.raises(ConfigurationError, match=f"{path} belongs to another user"):
        SQLiteStore(path)


def test_a_link_is_refused_as_file_and_as_directory(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path.parent)
    with pytest.raises(ConfigurationError, match="no directory; where it is a link"):
        SQLiteStore(tmp_path / "link" / path.name)
    for name, target in (("link", path.name), ("dangling", "nowhere")):
        (path.parent / name).symlink_to(target)
        with pytest.raises(ConfigurationError, match="no file; where it is a link"):
            SQLiteStore(path.parent / name)


def test_a_link_further_up_is_the_same_file(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    alias = SQLiteStore(tmp_path / "link" / path.parent.name / path.name)
    assert alias._file is store._file


def test_what_is_no_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="no file"):
        SQLiteStore(path)


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program's"):
        SQLiteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EROFS, ConfigurationError), (errno.EACCES, ConfigurationError), (errno.ENOSPC, StoreUnavailable)],
)
def test_a_place_that_cannot_be_written_to_is_the_operators_and_a_full_disk_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(error, match=os.strerror(number)):
        SQLiteStore(path)


def test_a_file_system_without_shared_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *_: connect(":memory:"))  # it too answers no "wal"
    with pytest.raises(ConfigurationError, match="name a local disk"):
        SQLiteStore(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "50%", "a?mode=memory", "a#b", "ü", "a'b", "-", ".hidden"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with closing(SQLiteStore(tmp_path / name)) as store:
        assert store.swap("key", None, b"value", LONG)
        assert store.get("key") == b"value"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_processes_that_start_together_make_one_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    start = threading.Barrier(8)
    won = []

    def begin(number: int) -> None:
        start.wait()
        sqlite_file._create(str(path))
        won.append(SQLiteStore(path).swap("key", None, b"%d" % number, LONG))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1
    SQLiteStore(path).close()
    assert os.listdir(path.parent) == [path.name]


# --- trouble --------------------------------------------------------------------------------------------


def every_verb(store: SQLiteStore) -> list[Callable[[], object]]:
    return [
        lambda: store.get("asked before"),
        lambda: store.get("never asked"),
        lambda: store.swap("key", None, b"new", LONG),
        lambda: store.swap("key", b"value", None, LONG),
    ]


# --- a file that a cleaner deletes ----------------------------------------------------------------------


def delete(path: Path, what: str) -> None:
    """As a cleaner of temporary files does it, which may leave some of the files."""
    match what:
        case "the file":
            path.unlink()
        case "all of it":
            for file in path.parent.iterdir():
                file.unlink()
        case "the directory":
            for file in path.parent.iterdir():
                file.unlink()
            path.parent.rmdir()


WHAT = ["the file", "all of it", "the directory"]


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("first", range(3))
def test_a_deleted_file_is_made_again_with_what_it_held(
    store: SQLiteStore, path: Path, what: str, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    store.swap("key", None, b"value", LONG)
    store.swap("gone", None, b"value", LONG)
    assert (store.get("key"), store.get("asked before")) == (b"value", None)
    delete(path, what)
    verbs: list[tuple[Callable[[], object], object]] = [
        (lambda: store.get("key"), b"value"),
        (lambda: store.swap("new", None, b"new", LONG), True),
        (lambda: store.swap("gone", b"value", None, LONG), True),
    ]
    for verb, answer in verbs[first:] + verbs[:first]:
        assert verb() == answer
    assert (store.get("key"), store.get("new"), store.get("gone")) == (b"value", b"new", None)
    assert mode(path) == 0o600
    [record] = caplog.records
    assert str(path) in record.getMessage()
    with closing(SQLiteStore(path)) as another:
        assert another.get("key") == b"value"


def test_it_may_be_deleted_again_and_again(store: SQLiteStore, path: Path) -> None:
    for turn in range(5):
        store.swap(f"key {turn}", None, b"value", LONG)
        delete(path, WHAT[turn % 3])
        assert [store.get(f"key {before}") for before in range(turn + 1)] == [b"value"] * (turn + 1)


def test_what_a_worker_wrote_that_started_meanwhile_is_newer(store: SQLiteStore, path: Path) -> None:
    for key in ("theirs", "ours"):
        store.swap(key, None, b"old", LONG)
    path.unlink()
    assert run(SWAP, path, "theirs", "", "new").stdout == "True\n"
    assert (store.get("theirs"), store.get("ours")) == (b"new", b"old")
    assert store.swap("ours", b"old", None, LONG)
    assert store.get("ours") is None


def test_one_process_has_a_file_open_once_whichever_store_was_made_when(store: SQLiteStore, path: Path) -> None:
    store.swap("key", None, b"old", LONG)
    path.unlink()
    with closing(SQLiteStore(path)) as later:  # makes the file, which is empty until somebody goes over to it
        assert (later.get("key"), store.get("key")) == (b"old", b"old")
        assert later.swap("key", b"old", b"new", LONG)
        assert store.get("key") == b"new"
        path.unlink()
        assert (later.get("key"), store.get("key")) == (b"new", b"new")


def test_a_file_in_the_inode_of_an_earlier_one_is_another_file(store: SQLiteStore, path: Path) -> None:
    with path.open("rb"):  # or the system might give that inode to a file of this very test
        insert = "INSERT INTO record (key, value, expires_at) VALUES (:key, x'00', 9e9)"
        first = store._file._identity
        one, two = (SQLiteFile(str(path), first) for process in range(2))
        one.write(insert, {"key": b"before", "now": 0})
        two.read(b"before")
        delete(path, "all of it")
        assert one.read(b"before") == two.read(b"before") == (b"\0", 9e9)
        delete(path, "all of it")
        one.write(insert, {"key": b"since", "now": 0})
        delete(path, "all of it")
        one._identity = first  # which the system gave to the file that was just deleted
        assert two.read(b"before") == (b"\0", 9e9)
        assert one.read(b"since") == two.read(b"since") == (b"\0", 9e9)
        one.close()
        two.close()


def test_what_was_open_nowhere_is_lost_and_the_log_says_so(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.swap("key", None, b"value", LONG)
    store.close()  # as after a fork
    path.unlink()
    assert store.get("key") is None
    assert store.swap("key", None, b"new", LONG)
    assert "is lost" in caplog.text


DELETED = """
import sys, time
from pathlib import Path
from lumin_middleware.stores import SQLiteStore
path, name = Path(sys.argv[1]), sys.argv[2]
store = SQLiteStore(path)
for number in range(300):
    assert store.swap(f"{name} {number}", None, b"value", 3600), number
    if number == 50:
        print("there", flush=True)
        sys.stdin.readline()
missing = [number for number in range(300) if store.get(f"{name} {number}") != b"value"]
assert not missing, missing
"""


def test_several_processes_go_over_to_one_new_file_and_none_loses_what_was_acknowledged(path: Path) -> None:
    command = [sys.executable, "-c", DELETED, str(path)]
    workers = [
        spawning.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in ("one", "two", "three")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "there\n"
    path.unlink()
    for worker in workers:
        said = worker.communicate("go\n", timeout=PATIENCE)
        assert worker.returncode == 0, said
    with closing(SQLiteStore(path)) as store:
        found = [store.get(f"{name} {number}") for name in ("one", "two", "three") for number in range(300)]
        assert found == [b"value"] * 900


def test_a_database_locked_for_too_long_is_unavailable_to_writers_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT", 0.05)
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path)) as other:
        store.swap("key", None, b"value", LONG)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            store.swap("key", b"value", b"new", LONG)
        assert store.get("key") == b"value"
        other.rollback()
        assert store.swap("key", b"value", b"new", LONG)


def test_a_broken_file_is_unavailable_and_not_held_open(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, connections = sqlite3.connect, []

    def remember(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    store.swap("key", None, b"value", LONG)
    store.close()
    path.write_bytes(b"\xff" * path.stat().st_size)
    for verb in every_verb(store):
        with pytest.raises(StoreUnavailable, match="not a database"):
            verb()
    with pytest.raises(StoreUnavailable, match="not a database"):
        SQLiteStore(path)
    assert len(connections) == 6
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.cursor()


def test_a_truncated_file_is_unavailable(store: SQLiteStore, path: Path) -> None:
    store.swap("key", None, b"value", LONG)
    store.close()
    os.truncate(path, 0)
    for verb in every_verb(store):
        with pytest.raises(StoreUnavailable, match="no such table"):
            verb()


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return spawning.run([sys.executable, "-c", program, *arguments])


FILL_THE_DISK = """
import resource, signal, sys
from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.stores import SQLiteStore

store = SQLiteStore(sys.argv[1])
assert store.swap("key", None, b"value", 3600)
assert store.get("key") == b"value"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.swap("big", None, bytes(200_000), 3600)
except StoreUnavailable:
    pass
else:
    sys.exit("a full disk was not noticed")
assert store.get("big") is None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.swap("key", b"value", b"new", 3600)
assert store.swap("big", None, bytes(200_000), 3600)
assert store.get("key") == b"new"
"""


def test_a_full_disk_is_unavailable_and_heals(path: Path) -> None:
    process = run(FILL_THE_DISK, path)
    assert (process.returncode, process.stderr) == (0, "")


# --- forks, threads, processes --------------------------------------------------------------------------


def in_a_fork(action: Callable[[], object]) -> None:
    """Runs `action` in a forked child; an exception there is an error here."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_open_before_the_first_verb(path: Path) -> None:
    store = SQLiteStore(path)
    assert os.listdir(path.parent) == [path.name]
    store.get("key")
    assert len(os.listdir(path.parent)) == 3
    store.close()
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_and_its_parent_share_the_file_and_no_connection(store: SQLiteStore, path: Path) -> None:
    store.swap("key", None, b"0", LONG)
    assert store.get("key") == b"0"

    def child() -> None:
        assert store.get("key") == b"0"
        assert store.swap("key", b"0", b"1", LONG)
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN EXCLUSIVE")  # no lock is left from before the fork

    in_a_fork(child)
    assert store.get("key") == b"1"
    in_a_fork(lambda: store.close() or gc.collect())
    assert store.swap("key", b"1", b"2", LONG)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_forks_among_busy_threads_neither_hang_nor_lose_an_update(store: SQLiteStore) -> None:
    done = threading.Event()

    def increment(key: str) -> int:
        value = int(store.get(key) or 0)
        assert store.swap(key, b"%d" % value if value else None, b"%d" % (value + 1), LONG)
        return value + 1

    def work(name: str, counts: dict[str, int]) -> None:
        while not done.is_set():
            counts[name] = increment(name)

    counts: dict[str, int] = {}
    threads = [threading.Thread(target=work, args=(name, counts)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 11):
            in_a_fork(lambda: increment("forks"))
            assert store.get("forks") == b"%d" % number
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert {name: store.get(name) for name in counts} == {name: b"%d" % n for name, n in counts.items()}


WRITE_FOR_EVER = """
import sys
from lumin_middleware.stores import SQLiteStore

store = SQLiteStore(sys.argv[1])
number = 0
while store.swap(f"{sys.argv[2]} {number}", None, bytes([number % 256]) * 3000, 3600):
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_kill_9_in_mid_write(store: SQLiteStore, path: Path) -> None:
    for name in ("first", "second", "third"):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, path, name], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(300):
                writer.stdout.readline()
            writer.kill()
            acknowledged = 300 + writer.stdout.read().count(b"\n")
        for number in range(acknowledged):
            assert store.get(f"{name} {number}") == bytes([number % 256]) * 3000
        assert store.swap(name, None, b"still writable", LONG)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_close_gives_everything_back_and_the_next_verb_opens_again(store: SQLiteStore, path: Path) -> None:
    descriptors = len(os.listdir("/dev/fd"))
    other = SQLiteStore(path)
    for _ in range(3):
        assert store.swap("key", None, b"value", LONG)
        assert other.get("key") == b"value"
        store.close()
        assert len(os.listdir("/dev/fd")) == descriptors
        assert other.swap("key", b"value", None, LONG)
        other.close()


SWAP = """
import sys
from lumin_middleware.stores import SQLiteStore

store = SQLiteStore(sys.argv[1])
for key, old, new in [sys.argv[2:]] if sys.argv[2:] else map(str.split, sys.stdin):
    print(store.swap(key, old.encode() or None, new.encode(), 3600), flush=True)
"""


# --- known rows -----------------------------------------------------------------------------------------


class Queries:
    """Counts what reaches the reading connection."""

    def __init__(self, store: SQLiteStore) -> None:
        store.get("open")
        self._statements: list[str] = []
        store._file._reading.cursor().connection.set_trace_callback(self._statements.append)

    def __call__(self) -> int:
        count = len(self._statements)
        self._statements.clear()
        return count


def test_a_key_that_was_asked_for_costs_no_query_until_anybody_writes(store: SQLiteStore, path: Path) -> None:
    store.swap("present", None, b"value", LONG)
    queries = Queries(store)
    assert (store.get("present"), store.get("absent")) == (b"value", None)
    assert queries() == 2
    for _ in range(3):
        assert (store.get("present"), store.get("absent")) == (b"value", None)
    assert queries() == 0
    assert run(SWAP, path, "absent", "", "new").stdout == "True\n"
    assert (store.get("present"), store.get("absent")) == (b"value", b"new")
    assert queries() == 2


def test_what_another_process_wrote_is_seen_from_its_answer_on(store: SQLiteStore, path: Path) -> None:
    store.swap("key", None, b"0", LONG)
    command = [sys.executable, "-c", SWAP, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for number in range(1500):  # far enough for the log to start over, more than once
            assert store.get("key") == b"%d" % number
            other.stdin.write(f"key {number} {number + 1}\n")
            assert other.stdout.readline() == "True\n"
            assert store.get("key") == b"%d" % (number + 1)
        other.stdin.close()


def test_a_fresh_file_that_nobody_wrote_to_costs_no_query_either(store: SQLiteStore) -> None:
    queries = Queries(store)
    assert [store.get("key") for _ in range(5)] == [None] * 5
    assert queries() == 1


def test_a_known_row_expires_all_the_same(path: Path) -> None:
    now = NOW
    with closing(SQLiteStore(path, clock=lambda: now)) as store:
        store.swap("key", None, b"value", 10)
        queries = Queries(store)
        assert store.get("key") == b"value"
        now += 10
        assert store.get("key") is None
        assert queries() == 1


def test_big_values_and_many_keys_are_not_kept(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "KEPT_ROWS", 3)
    monkeypatch.setattr(sqlite_file, "KEPT_SIZE", 100)
    store.swap("big", None, bytes(101), LONG)
    queries = Queries(store)
    assert [store.get("big") for _ in range(2)] == [bytes(101)] * 2
    assert queries() == 2
    for number in range(50):
        store.get(f"key {number}")
    assert len(store._file._known[2]) <= 3


def test_without_a_wal_index_that_is_understood_nothing_is_kept(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lumin_middleware.stores.wal_index.KNOWN_VERSION", b"\xff\xff\xff\xff")
    queries = Queries(store)
    assert [store.get("key") for _ in range(3)] == [None] * 3
    assert queries() == 3


# --- clean-up -------------------------------------------------------------------------------------------


def test_expired_rows_are_cleaned_up_as_others_are_written(path: Path) -> None:
    now = NOW
    with closing(SQLiteStore(path, clock=lambda: now)) as store:
        for number in range(200):
            store.swap(f"old {number}", None, b"value", 10)
        store.swap("kept", None, b"value", 1000)
        now += 10
        for number in range(sqlite_file.CLEAN_UP_EVERY):
            store.swap(f"new {number}", None, b"value", 1000)
        assert count_rows(path) == sqlite_file.CLEAN_UP_EVERY + 1
        assert store.get("kept") == b"value"
