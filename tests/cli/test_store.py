"""`lumin-middleware store`: a table where it is missing, and a check that leaves nothing behind."""

from __future__ import annotations

import sqlite3
import sys
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from lumin_middleware import LuminMiddleware
from lumin_middleware.cli import store as commands
from lumin_middleware.stores import MemoryStore, PostgresStore, SQLiteStore
from lumin_middleware.stores.postgres_statements import schema
from tests.browser_rig import ROOT
from tests.cli import coded
from tests.postgres_server import Postgres
from tests.stores import django_database
from tests.stores.dynamodb_server import CREDENTIALS, DynamoDBServer
from tests.stores.limits import lift
from tests.stores.redis_server import RedisServer, find_binary
from tests.stores.test_django_store import on_sqlite

from .test_cli import run


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.new_database(f"cli_{uuid.uuid4().hex}")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(commands.store, arguments)


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    lift(monkeypatch.setattr)


def test_the_table_is_made_and_the_store_then_checked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = invoke("check", url)
    assert missing.exit_code == 1
    assert "make it with `lumin-middleware store create`" in missing.stderr
    monkeypatch.setenv("LUMIN_STORE", url)
    made = invoke("create")
    assert (made.exit_code, made.stdout) == (0, "The table lumin_record is there.\n")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO lumin_record VALUES ('theirs', 'value', now() + interval '1 hour')")
        checked = invoke("check", url)
        assert checked.exit_code == 0, checked.output
        assert checked.stdout.count("ok ") == 10
        assert "It keeps the contract" in checked.stdout
        assert connection.execute("SELECT key, value FROM lumin_record").fetchall() == [(b"theirs", b"value")]


def test_a_table_of_dynamodb_is_made_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with DynamoDBServer(tmp_path) as server:
        url = f"dynamodb://checked?endpoint={server.endpoint}"
        assert invoke("check", url).exit_code == 1
        made = invoke("create", url)
        assert (made.exit_code, made.stdout) == (0, "The table checked is there.\n")
        checked = invoke("check", url)
        assert checked.exit_code == 0, checked.output
        assert checked.stdout.count("ok ") == 10


def test_the_sql_is_what_the_store_makes_and_the_documents_show() -> None:
    shown = run("store", "create", "--sql").stdout
    assert shown == schema()
    documents = Path(__file__).parents[2] / "docs" / "stores.md"
    assert shown in documents.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_each_store_is_checked(kind: str, tmp_path: Path) -> None:
    if kind == "redis":
        binary = find_binary()
        assert binary
        with RedisServer(binary) as server:
            assert invoke("check", server.url).exit_code == 0
    else:
        assert invoke("check", {"memory": "memory://", "sqlite": f"sqlite://{tmp_path}/store"}[kind]).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_there_is_checked_itself(tmp_path: Path) -> None:
    kept = SQLiteStore(tmp_path / "store")
    kept.swap("key", None, b"value", 60)
    assert invoke("check", f"sqlite://{tmp_path}/store").exit_code == 0
    assert kept.get("key") == b"value"
    with closing(sqlite3.connect(tmp_path / "store")) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)


def test_nothing_is_left_of_a_store_that_was_not_there(tmp_path: Path) -> None:
    done = invoke("check", f"sqlite://{tmp_path}/folder/store")
    assert (done.exit_code, list(tmp_path.iterdir())) == (0, [])


def test_a_django_site_s_store_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alias, _ = on_sqlite(tmp_path)
    assert "Set DJANGO_SETTINGS_MODULE" in run("store", "check", f"django://{alias}").stderr
    monkeypatch.setattr(commands, "_set_up_django", django_database.configure)
    done = invoke("check", f"django://{alias}")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("settings", "missing"),
    [(None, "nosuch"), ("INSTALLED_APPS = ['nosuch_app']", "nosuch_app"), ("import nosuch_module", "nosuch_module")],
)
def test_a_django_site_that_cannot_be_set_up_is_named(tmp_path: Path, settings: str | None, missing: str) -> None:
    name = "nosuch.settings"
    if settings is not None:
        name = "site_settings"
        (tmp_path / "site_settings.py").write_text(settings)
    done = run("store", "check", cwd=tmp_path, LUMIN_STORE="django", DJANGO_SETTINGS_MODULE=name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"DJANGO_SETTINGS_MODULE={name}: No module named {missing!r}")
    assert done.stderr.count("\n") == 1
    assert "[cli]" not in done.stderr


DJANGO = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["lumin_middleware.stores.django"], DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "database", "TEST": {"NAME": "database"}}})
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.cli.coded import LuminMiddleware, Starlette, config, replace
app = LuminMiddleware(Starlette(), replace(config, store="django"))
"""


def test_the_store_of_an_application_with_its_settings_in_code_is_checked(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(DJANGO)
    for name, cwd in (("tests.cli.coded:app", ROOT), ("tests.cli.coded:in_memory", ROOT), ("shop:app", tmp_path)):
        done = run("store", "check", "--app", name, cwd=cwd, PYTHONPATH=str(ROOT))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("ok ") == 10
    done = run("store", "check", "--app", "tests.cli.coded:on_a_loop")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The store cannot be used: Redis: ")


@pytest.mark.parametrize(("name", "said"), [("app", "Only PostgreSQL"), ("on_a_loop", "name the store by its URL")])
def test_a_store_of_an_application_that_has_no_table_is_told_of(name: str, said: str) -> None:
    done = run("store", "create", "--app", f"tests.cli.coded:{name}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr


def test_the_table_of_an_application_s_own_store_is_made(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = ModuleType("shop")
    own = replace(coded.config, store=PostgresStore(url, table="their_own"))
    shop.app = LuminMiddleware(lambda *_: None, own)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", shop)
    done = invoke("create", "--app", "shop:app")
    assert (done.exit_code, done.output) == (0, "The table their_own is there.\n")
    own.store.close()  # type: ignore[union-attr]


class Forgetful(MemoryStore):
    """Creates what is there already."""

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        if old is None and new is not None:
            super().swap(key, self.get(key), None, ttl)
        return super().swap(key, old, new, ttl)


def test_a_store_that_breaks_the_contract_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "store_from_url", lambda *_, **__: Forgetful())
    done = invoke("check", "redis://whatever")
    assert done.exit_code == 1
    assert "WRONG it is not created over another" in done.output
    assert "do not use it" in done.output


@pytest.mark.parametrize("url", ["redis://localhost", "sqlite:///x"])
def test_only_postgresql_has_a_table_to_make(url: str) -> None:
    done = invoke("create", url)
    assert (done.exit_code, "Only PostgreSQL" in done.output) == (1, True)


@pytest.mark.parametrize(
    "url", ["redis://a..b", f"redis+sentinel://{'a' * 64}/x", "redis://\udc80", "postgresql://a..b/x"]
)
def test_a_host_that_nobody_can_look_up_is_told_in_one_line(url: str) -> None:
    done = invoke("check", url)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "store: names a host that no name server can be asked for" in done.output


def test_a_wrong_url_is_told_without_repeating_it() -> None:
    done = invoke("check", "mysql://somebody:s3cret@host")
    assert (done.exit_code, "s3cret" in done.output, "give local" in done.output) == (1, False, True)
