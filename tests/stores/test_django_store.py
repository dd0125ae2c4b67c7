"""`DjangoStore` on SQLite and on PostgreSQL: the contract, and what a site's transactions add to it."""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.stores import store_from_url
from lumin_middleware.stores.contract import Opener, SharedStoreContract, opened
from tests.postgres_server import Postgres
from tests.stores import django_database

LONG = 3600.0


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
