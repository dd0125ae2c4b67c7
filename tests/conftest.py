"""What every test can ask for."""

from __future__ import annotations

import gc
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import pytest
from httpx2._transports import default
from hypothesis import settings

from lumin_middleware import connections
from lumin_middleware.protocol import token_endpoint
from lumin_middleware.protocol.patience import patiently
from lumin_middleware.runtime.event_loop import AsyncWorld
from lumin_middleware.runtime.threads import ThreadWorld
from lumin_middleware.sessions import renewal
from tests import short_keys
from tests.foreign.fixtures import oauth_toolkit, oidc_provider
from tests.limits import lift
from tests.postgres_server import Postgres
from tests.site_rig import Browser, Clock, Site
from tests.site_rig import site as make_site

__all__ = ["oauth_toolkit", "oidc_provider"]

T = TypeVar("T")

settings.register_profile("patient", deadline=None)  # how long an example takes is no failure
settings.load_profile("patient")


CASES = int(os.environ.get("LUMIN_TEST_CASES", "0"))
"""Cases of each parametrized test that run, from its first to its last; 0 is all."""


def pytest_configure() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, as all that this starts would: they lose the one that a
    test sends them before they have a handler of their own.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    short_keys.use()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not CASES:
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        whole = item.get_closest_marker("every_case") is not None
        cases.setdefault(item.nodeid if whole else item.nodeid.partition("[")[0], []).append(item)
    kept = {id(each) for found in cases.values() for each in spread(found, CASES)}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


def spread(found: Sequence[T], number: int) -> list[T]:
    """So many of them, as far from each other as can be."""
    if number >= len(found):
        return list(found)
    return [found[index * (len(found) - 1) // max(number - 1, 1)] for index in range(number)]


def pytest_collection_finish() -> None:
    """What was collected stays to the end, and is a million objects: none is looked at again for garbage, nor copied by
    a fork for having been looked at.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause that a request waits for passes at once where a test's own clock stands, which then goes on by it."""

    async def hurriedly(world: Any, *arguments: Any) -> Any:
        is_real = isinstance(world, AsyncWorld | ThreadWorld)
        return await patiently(Hurried(world) if is_real and type(world.clock) is Clock else world, *arguments)

    monkeypatch.setattr(renewal, "patiently", hurriedly)
    monkeypatch.setattr(token_endpoint, "patiently", hurriedly)


@dataclass
class Hurried:
    """A world that does not wait for its clock."""

    world: Any

    @property
    def clock(self) -> Clock:
        clock: Clock = self.world.clock
        return clock

    async def sleep(self, seconds: float) -> None:
        until = self.clock() + seconds
        await self.world.sleep(0)
        self.clock.now = max(self.clock.now, until)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests of a session, each with a database or a table of its own."""
    with Postgres() as server:
        yield server


@pytest.fixture
def long_keys() -> Iterator[None]:
    """The emulator's keys are as long as Hydra's."""
    with short_keys.long():
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """What is there answers, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        lift(patch.setattr)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_trust() -> Iterator[None]:
    """The tests' clients share what they trust: to read that takes longer than most tests, and few speak TLS."""

    def shared(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is True and cert is None:
            return connections.tls_context()
        return httpx2.create_ssl_context(verify, cert, trust_env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", shared)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the default store keeps is this run's, and nothing of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
async def new_site() -> AsyncIterator[Callable[..., Site]]:
    """Makes sites: `new_site(public=["/free"], emulator={"id_token": False})`."""
    async with AsyncExitStack() as stack:

        def new(**options: Any) -> Site:
            site = stack.enter_context(make_site(**options))
            stack.push_async_callback(site.aclose)
            return site

        yield new


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """A site with the default settings."""
    return new_site()


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser at that site."""
    return site.browser()


@pytest.fixture(params=["cookie", "store"])
def each_site(request: pytest.FixtureRequest, new_site: Callable[..., Any]) -> Site:
    """A site with each kind of sessions."""
    return new_site(sessions=request.param)
