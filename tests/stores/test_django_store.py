"""`DjangoStore` on SQLite and on PostgreSQL: the contract, and what a site's transactions add to it."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.runtime.event_loop import site_store
from lumin_middleware.runtime.off_loop import OffLoop
from lumin_middleware.stores import store_from_url
from lumin_middleware.stores.contract import Opener, SharedStoreContract, opened
from tests.documents import ROOT
from tests.patience import PATIENCE
from tests.postgres_server import Postgres
from tests.stores import django_database

LONG = 3600.0

THREADS = 4
"""Those of a store."""


def on_sqlite(directory: Path) -> tuple[str, dict[str, Any]]:
    # Its transactions ask for the lock when they begin, as Django advises sites with several writers.
    options = {"timeout": 60, "transaction_mode": "IMMEDIATE"}
    return new_database(
        {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "site.sqlite3"), "OPTIONS": options}
    )


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> tuple[str, dict[str, Any]]:
    """One database for all tests, which takes longer to make than most of them take."""
    return new_database(django_database.on_postgres(postgres.new_database(f"django_{uuid.uuid4().hex}")))


@pytest.fixture
def on_postgres(migrated: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """That database, with no record."""
    from lumin_middleware.stores.django.models import Record

    alias, database = migrated
    Record.objects.using(alias).all().delete()
    close(alias)
    return alias, dict(database)


def new_database(database: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its alias and its settings."""
    alias = f"d{uuid.uuid4().hex}"
    django_database.add(alias, database)
    django_database.migrate(alias)
    return alias, database


def close(alias: str) -> None:
    connections[alias].close()


class TestDjangoStoreOnSQLite(SharedStoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Opener]:
        self.alias, database = on_sqlite(tmp_path)
        self.path = Path(database["NAME"])
        yield partial(django_database.open_store, self.alias, database)
        close(self.alias)

    short = 100.0

    def pass_time(self, seconds: float) -> None:
        """Takes so much from what each key has left, which no slow machine can be too late for."""
        from django.db.models import F

        from lumin_middleware.stores.django.models import Record

        Record.objects.using(self.alias).update(expires_at=F("expires_at") - seconds)

    def break_store(self) -> None:
        close(self.alias)
        self.path.write_bytes(b"no database at all" * 1000)


class TestDjangoStoreOnPostgreSQL(TestDjangoStoreOnSQLite):
    @pytest.fixture
    def opener(self, postgres: Postgres, on_postgres: tuple[str, dict[str, Any]]) -> Iterator[Opener]:
        self.server, self.broken = postgres, False
        self.alias, database = on_postgres
        yield partial(django_database.open_store, self.alias, database)
        close(self.alias)
        if self.broken:
            postgres.start()

    def break_store(self) -> None:
        self.broken = True
        self.server.crash()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_database_without_the_table_is_told_with_what_makes_it(kind, request, tmp_path):
    database = unmigrated(request, kind, tmp_path)
    alias = f"d{uuid.uuid4().hex}"
    with opened(partial(django_database.open_store, alias, database)) as store:
        for verb in (partial(store.get, "key"), partial(store.swap, "key", None, b"x", LONG)):
            with pytest.raises(StoreUnavailable, match=f"'manage.py migrate --database {alias}'"):
                verb()
        django_database.migrate(alias)
        assert store.get("key") is None
    close(alias)


def unmigrated(request: pytest.FixtureRequest, kind: str, folder: Path) -> dict[str, Any]:
    """The settings of a database that is empty."""
    if kind == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "empty.sqlite3")}
    url = request.getfixturevalue("postgres").new_database(f"d{uuid.uuid4().hex}")
    return django_database.on_postgres(url)


@pytest.fixture(params=["sqlite", "postgres"])
def alias(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that has the table, on each kind of server."""
    if request.param == "sqlite":
        found, _ = on_sqlite(tmp_path)
    else:
        found, _ = request.getfixturevalue("on_postgres")
    yield found
    close(found)


@pytest.fixture
def store(alias: str) -> Iterator[Any]:
    with opened(partial(django_database.open_store, alias, {})) as store:
        yield store


def test_what_is_swapped_inside_a_transaction_stays_when_that_is_rolled_back(store: Any, alias: str) -> None:
    """As in a view of a site with ATOMIC_REQUESTS, whose client renews a session before the view fails."""
    store.swap("key", None, b"first", LONG)
    held = b"first"
    with transaction.atomic(using=alias, durable=True):
        assert store.get("key") == held
        if connections[alias].vendor != "sqlite":  # where the transaction alone may write
            assert store.swap("key", held, b"second", LONG)
            held = b"second"
            assert store.get("key") == held
        transaction.set_rollback(True, using=alias)
    assert store.get("key") == held


def test_what_its_threads_have_open_is_closed_with_it(store: Any, alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that keeps its connections (CONN_MAX_AGE): nobody comes back to those of threads that are over."""
    from django.db.backends.base.base import BaseDatabaseWrapper

    monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", None)
    opened, connect = [], BaseDatabaseWrapper.connect
    monkeypatch.setattr(BaseDatabaseWrapper, "connect", lambda self: (connect(self), opened.append(self)))
    with transaction.atomic(using=alias):
        before = len(opened)
        assert store.get("key") is None
        assert store.get("another") is None
    apart = opened[before:]
    assert apart
    assert all(each.connection is not None for each in apart)
    store.close()
    assert all(each.connection is None for each in apart)


def test_a_database_without_autocommit_is_refused(store: Any, alias: str) -> None:
    connections[alias].ensure_connection()
    connections[alias].set_autocommit(False)
    try:
        with pytest.raises(StoreUnavailable, match="AUTOCOMMIT"):
            store.swap("key", None, b"value", LONG)
    finally:
        connections[alias].rollback()
        connections[alias].set_autocommit(True)
    assert store.get("key") is None


def test_the_command_deletes_what_has_expired_and_nothing_else(store: Any, alias: str) -> None:
    from lumin_middleware.stores.django.models import Record

    store.swap("alive", None, b"value", LONG)
    for number in range(30):
        store.swap(f"expired {number}", None, b"value", 1e-6)
    time.sleep(0.01)
    assert Record.objects.using(alias).count() == 31
    said = io.StringIO()
    call_command("lumin_clean_up", database=alias, stdout=said)
    assert said.getvalue() == "30 expired records deleted.\n"
    assert Record.objects.using(alias).count() == 1
    assert store.get("alive") == b"value"


def test_the_migration_is_the_model(alias: str) -> None:
    call_command("makemigrations", "lumin_middleware", check=True, dry_run=True, verbosity=0)


def test_a_connection_that_was_closed_meanwhile_is_opened_again(
    postgres: Postgres, on_postgres: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alias, database = on_postgres
    monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", None)
    store = django_database.open_store(alias, database)
    store.swap("key", None, b"value", LONG)
    with psycopg.connect(postgres.new_database(f"other_{uuid.uuid4().hex}"), autocommit=True) as other:
        for old, new in ((b"value", b"new"), (b"new", b"newer")):
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database["NAME"]]
            )
            assert store.swap("key", old, new, LONG)
    close(alias)
    store.close()


# --- whose connection -----------------------------------------------------------------------------------


@pytest.fixture
def count_open(postgres: Postgres, on_postgres: tuple[str, dict[str, Any]]) -> Iterator[Callable[[], int]]:
    """How many connections there are to the database, by the server's own account."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    name = on_postgres[1]["NAME"]
    with psycopg.connect(postgres.new_database(f"other_{uuid.uuid4().hex}"), autocommit=True) as other:
        yield lambda: other.execute(asked, [name]).fetchone()[0]  # type: ignore[index]


def ask_on_loops(store: Any) -> None:
    """As under ASGI; the threads of a loop end with it."""

    async def ask() -> None:
        threads = OffLoop(20)
        threaded = site_store(store, "site", threads)
        await asyncio.gather(*(threaded.get(f"key {number}") for number in range(100)))
        threads.let_go()

    for _ in range(3):
        asyncio.run(ask())


def ask_in_threads(store: Any) -> None:
    """As of a server that has a thread for each request."""
    for _ in range(3):
        together = threading.Barrier(20)

        def ask(number: int, together: threading.Barrier = together) -> None:
            together.wait(PATIENCE)
            store.get(f"key {number}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)


@pytest.mark.parametrize("ask", [ask_on_loops, ask_in_threads])
@pytest.mark.parametrize(("max_age", "left"), [(None, THREADS), (0, 0)])
def test_threads_that_come_and_go_leave_no_connections(
    on_postgres: tuple[str, dict[str, Any]],
    count_open: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Any], None],
    max_age: int | None,
    left: int,
) -> None:
    """CONN_MAX_AGE is for threads that stay; of one that has ended Django's connection is garbage, and open until
    somebody looks for that."""
    alias, database = on_postgres
    monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", max_age)
    with closing(django_database.open_store(alias, database)) as store:
        gc.disable()
        try:
            ask(store)
            assert until(lambda: count_open() <= left)
        finally:
            gc.enable()
    assert until(lambda: count_open() == 0)


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes to that: the server sees a moment later that a connection was closed."""
    deadline = time.monotonic() + PATIENCE
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def test_a_connection_that_the_application_has_open_is_used(
    on_postgres: tuple[str, dict[str, Any]], count_open: Callable[[], int]
) -> None:
    alias, database = on_postgres
    connections[alias].ensure_connection()
    with closing(django_database.open_store(alias, database)) as store:
        assert store.swap("key", None, b"value", LONG)
        assert store.get("key") == b"value"
        assert count_open() == 1
    close(alias)


def test_what_works_in_a_thread_of_the_store_s_is_in_its_caller_s_context(
    on_postgres: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As traces want to have it."""
    alias, database = on_postgres
    span, seen = ContextVar[str]("span"), []
    with closing(django_database.open_store(alias, database)) as store:
        get = store._get
        monkeypatch.setattr(store, "_get", lambda key: (seen.append((span.get(), threading.get_ident())), get(key))[1])
        span.set("of the request")
        store.get("key")
    [(found, thread)] = seen
    assert found == "of the request"
    assert thread != threading.get_ident()


def test_a_store_that_was_closed_opens_again(on_postgres: tuple[str, dict[str, Any]]) -> None:
    store = django_database.open_store(*on_postgres)
    for _ in range(2):
        assert store.get("key") is None
        store.close()


@pytest.mark.parametrize("setting", ["django://{}", "django"])
def test_a_url_names_an_alias(alias: str, setting: str) -> None:
    django_database.add("default", connections.settings[alias])
    url = setting.format(alias)
    store: Any = store_from_url(url, asynchronous=True, fingerprint="f", clock=lambda: 5.0)
    assert (store._alias, store._clock()) == (alias if "{" in setting else "default", 5.0)


def test_an_alias_that_django_does_not_know_is_refused() -> None:
    django_database.configure()
    with pytest.raises(ConfigurationError, match="there is no 'elsewhere' in Django's DATABASES"):
        store_from_url("django://elsewhere", asynchronous=False, fingerprint="f")


def test_the_command_refuses_an_unknown_database() -> None:
    django_database.configure()
    with pytest.raises((CommandError, ConfigurationError)):
        call_command("lumin_clean_up", database="elsewhere")


def test_a_fork_has_connections_of_its_own(on_postgres: tuple[str, dict[str, Any]]) -> None:
    alias, database = on_postgres
    store = django_database.open_store(alias, database)
    store.swap("key", None, b"value", LONG)
    close(alias)
    child = os.fork()
    if child == 0:
        os._exit(not all(store.get("key") == b"value" for _ in range(20)))
    assert all(store.get("key") == b"value" for _ in range(20))
    assert os.waitpid(child, 0)[1] == 0
    close(alias)
    store.close()


AT_THE_END = """
import atexit, sys
from tests.stores import django_database

store = django_database.open_store("ends", {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]})
django_database.migrate("ends")
from django.db import connections, transaction
from lumin_middleware.errors import StoreUnavailable

def inside():
    with transaction.atomic(using="ends"):
        try:
            return store.swap("key", b"last", None, 0)
        except StoreUnavailable as error:
            return str(error).split(":")[0]

@atexit.register
def end():
    print(connections["ends"].connection, store.swap("key", b"first", b"last", 3600.0), store.get("key"))
    print(connections["ends"].connection)
    print(inside())

print(store.swap("key", None, b"first", 3600.0))
"""


def test_at_the_end_of_a_process_whose_threads_are_over_it_is_asked_all_the_same(tmp_path: Path) -> None:
    """What a site could not save is saved then. Inside a transaction nothing could be promised."""
    command = [sys.executable, "-W", "ignore", "-c", AT_THE_END, str(tmp_path / "site.sqlite3")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.splitlines() == [
        "True",
        "None True b'last'",
        "None",
        "there is no thread to ask Django's database in",
    ], done.stderr
