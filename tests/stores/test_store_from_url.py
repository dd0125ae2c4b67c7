"""`store_from_url`: what a setting stands for, and what it says of one that stands for nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lumin_middleware import stores
from lumin_middleware.errors import ConfigurationError
from lumin_middleware.stores import (
    AsyncPostgresStore,
    AsyncRedisStore,
    MemoryStore,
    PostgresStore,
    RedisStore,
    SQLiteStore,
    local,
    store_from_url,
)
from tests.patience import PATIENCE

NOW = 1_800_000_000.0

store_at = partial(store_from_url, fingerprint="fingerprint", clock=lambda: NOW)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_memory_is_new_each_time(asynchronous: bool) -> None:
    first, second = (store_at("memory://", asynchronous=asynchronous) for _ in range(2))
    assert isinstance(first, MemoryStore)
    assert first is not second


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("slashes", ["sqlite://", "sqlite:///"])
def test_a_path_is_absolute_and_percent_encoded(tmp_path: Path, asynchronous: bool, slashes: str) -> None:
    path = tmp_path / "a b?#%.sqlite3"
    store = store_at(slashes + quote(str(path)), asynchronous=asynchronous)
    assert isinstance(store, SQLiteStore)
    assert path.is_file()
    assert store.path == str(path)


REDIS = [
    *("redis://localhost/1", "rediss://:pass@localhost", "unix:///run/redis.sock"),
    *("redis+sentinel://one:26379,two,[::1]:26380/service", "rediss+sentinel://u:p@one/service/1?socket_timeout=1"),
    "redis+sentinel://:pass@one/service?sentinel_password=other",
    *("redis+cluster://one:6379,two", "rediss+cluster://u:p%40@one:7000?socket_timeout=1"),
]


@pytest.mark.parametrize("redis", REDIS)
def test_redis_comes_in_the_colour_that_is_asked_for(redis: str) -> None:
    assert isinstance(store_at(redis, asynchronous=False), RedisStore)
    assert isinstance(store_at(redis, asynchronous=True), AsyncRedisStore)


def test_local_is_the_store_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(local, "local_store", lambda fingerprint, clock: asked.append((fingerprint, clock())))
    store_at("local", asynchronous=True)
    assert asked == [("fingerprint", NOW)]


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_the_clock_is_passed_on(tmp_path: Path, scheme: str) -> None:
    now = NOW
    setting = "memory://" if scheme == "memory" else f"sqlite://{tmp_path}/store"
    store: Any = store_from_url(setting, asynchronous=False, fingerprint="f", clock=lambda: now)
    store.swap("key", None, b"value", 10)
    now += 10
    assert store.get("key") is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Local",
        "local://",
        "memory",
        "memory:",
        "memory://s3cret",
        "sqlite",
        "sqlite://",
        "sqlite:///",
        "sqlite://s3cret/store",
        "sqlite:///s3cret/",
        "sqlite:///s3cret?mode=memory",
        "sqlite:///s3cret#",
        "sqlite:///s3cret%00",
        "sqlite:///s3cret",
        "sqlite:////s3cret.db",
        "sqlite://///s3cret",
        "sqlite:///./s3cret",
        "sqlite:///../data/s3cret",
        "sqlite:////var/lib/%2e%2e/s3cret",
        "mysql://somebody:s3cret@host/db",
        "redis:/somebody:s3cret@host",
        "redis",
        "redis+sentinel://:s3cret@host",
        "redis+sentinel://:s3cret@host/",
        "redis+sentinel://:s3cret@host:port/service",
        "redis+sentinel://:s3cret@,/service",
        "redis+sentinel://:s3cret@host/service/first",
        "redis+sentinel://:s3cret@host/service?sentinel_host=x",
        "redis+sentinel://:s3cret@host/service?unheard=of",
        "redis+cluster://:s3cret@host/1",
        "redis+cluster://:s3cret@host/service",
        "redis+cluster://:s3cret@host?unheard=of",
        "redis+cluster://:s3cret@",
        "rediss+unix:///s3cret",
        "redis://:s3cret@host/first",
        "redis://:s3cret@host/0/1",
        "redis://[s3cret",
        "dynamodb://[s3cret",
        "dynamodb://s3cret:x?region=eu-west-1",
        "dynamodb://somebody:s3cret@table",
        "dynamodb://table/s3cret",
        "dynamodb://table?s3cret=x",
        "dynamodb://table#s3cret",
        "postgresql://:s3cret@host:port",
        "postgresql://:s3cret@host:0",
        "postgresql://:s3cret@one:5432,two:65536/db",
        "postgresql://:s3cret@host?port=x",
        "rediss://somebody:s3cret@host:port",
        "somebody:s3cret@redis://host",
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_setting_that_names_no_store_is_refused_with_the_cure_and_not_repeated(
    wrong: str, asynchronous: bool
) -> None:
    with pytest.raises(ConfigurationError, match=r"give |write (sqlite:///|dynamodb://)") as caught:
        store_at(wrong, asynchronous=asynchronous)
    assert caught.value.field == "store"
    assert "s3cret" not in str(caught.value)


UNASKABLE = ["a..b", ".b", f"{'s3cret' * 11}.example", "s3cret\u200e"]
"""Hosts that no name server can be asked for."""


@pytest.mark.parametrize("host", UNASKABLE)
@pytest.mark.parametrize(
    "setting",
    [
        *("redis://{}", "rediss://{}:6379/1", "redis+sentinel://{}/service", "redis+sentinel://one,{}:26379/service"),
        *("redis+cluster://one,{}", "postgresql://{}/db", "postgres://one:5432,{}:5432/db", "postgresql:///db?host={}"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_host_that_nobody_can_look_up_is_refused_with_the_cure_and_not_repeated(
    setting: str, host: str, asynchronous: bool
) -> None:
    with pytest.raises(ConfigurationError, match="no name server can be asked for; give one such as") as caught:
        store_at(setting.format(host), asynchronous=asynchronous)
    assert caught.value.field == "store"
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "setting",
    [
        *("redis://redis_master", f"redis://{'a' * 63}.example", "redis://db.example.", "redis://bücher.example"),
        *("redis://[fe80::1]", f"postgresql:///db?host=/{'a' * 64}", "postgresql:///db?host=@a..b"),
        "postgresql://%2Fvar%2Frun%2Fa..b/db",
    ],
)
def test_a_host_that_somebody_may_look_up_and_a_socket_are_taken(setting: str) -> None:
    assert store_at(setting, asynchronous=False)


@pytest.mark.parametrize("host", [*UNASKABLE, "s3cret\udc80"])
def test_the_same_host_of_a_dynamodb_boto3_refuses(host: str) -> None:
    with pytest.raises(ConfigurationError, match="store: DynamoDB cannot be used: Invalid endpoint"):
        store_at(f"dynamodb://table?region=eu-west-1&endpoint=http://{host}:8000", asynchronous=False)


@pytest.mark.parametrize("setting", ["redis://:s3cret@{}", "redis+sentinel://{}/service", "postgresql://:s3cret@{}/db"])
def test_half_a_character_is_no_host(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="; give ") as caught:
        store_at(setting.format("db\udc80"), asynchronous=False)
    assert "s3cret" not in str(caught.value)


def test_django_that_is_not_set_up_is_told_of() -> None:
    program = (
        "from lumin_middleware.stores import store_from_url\n"
        "store_from_url('django', asynchronous=False, fingerprint='f')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert "ConfigurationError: store: 'django' needs a Django site that is set up" in done.stderr
    assert "lumin_middleware.stores.django" in done.stderr


@pytest.mark.parametrize("setting", ["postgresql://somebody@localhost/db", "postgres://localhost:5433/db"])
def test_postgresql_comes_in_the_colour_that_is_asked_for(setting: str) -> None:
    assert isinstance(store_at(setting, asynchronous=False), PostgresStore)
    assert isinstance(store_at(setting, asynchronous=True), AsyncPostgresStore)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("sqlite:////x/y", "sqlite"),
        ("redis://localhost", "redis"),
        ("postgresql://localhost/db", "postgres"),
        ("dynamodb://table?region=eu-west-1", "dynamodb"),
    ],
)
def test_only_the_kind_that_a_setting_names_is_loaded_and_at_once(setting: str, kind: str) -> None:
    program = (
        "import sys, lumin_middleware\n"
        "from lumin_middleware.stores.url import store_opener\n"
        "def kinds(): return {'sqlite', 'redis', 'postgres', 'dynamodb'} & {\n"
        "    name.removeprefix('lumin_middleware.stores.') for name in sys.modules}\n"
        "assert not kinds(), kinds()\n"
        f"store_opener({setting!r}, asynchronous=False, fingerprint='f')\n"
        f"assert kinds() == {{{kind!r}}}, kinds()\n"
        "assert ('sqlite3' in sys.modules) == ('sqlite' in kinds())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert not done.stderr


@pytest.mark.parametrize(("name", "file"), stores._FILES.items())
def test_each_store_is_to_be_had_of_the_wing_as_the_type_checker_sees_it(name: str, file: str) -> None:
    assert getattr(stores, name).__module__ == f"lumin_middleware.stores.{file}"
    text = Path(stores.__file__).read_text("utf-8")
    assert re.search(rf"^    from \.{file} import (\w+, )*{name}\b", text, re.MULTILINE)
