"""Behind Sentinels, the primary changes in the middle of a storm at four workers, and nobody is signed out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis

from lumin_middleware.emulator import serve
from tests.patience import PATIENCE
from tests.site_rig import CLIENT
from tests.stores.redis_server import RedisServer, Watched, until
from tests.storm.clock import SharedClock
from tests.storm.rig import WORKERS, Emulated, Person, environment
from tests.storm.server import Uvicorn
from tests.storm.sites import LIFETIME
from tests.storm.wire import Connection

REQUESTS = 100
"""At each expiry, over a quarter as many kept connections."""

# So that a primary takes nothing which its next one does not have: the server that is promoted leaves it first.
CAREFUL = ("--min-replicas-to-write", "2")


class Crowd:
    """A person at four workers, over connections that are kept all the time."""

    def __init__(self, grantor: Emulated, clock: SharedClock, server: Uvicorn) -> None:
        self.grantor = grantor
        self.clock = clock
        self.server = server
        self._person = Person(server.port)
        self._connections: list[Connection] = []
        self.refused: list[str] = []
        """What nobody may be told: answers that are neither good nor say that the store is not there."""

    async def begin(self, stack: AsyncExitStack) -> None:
        await self._person.sign_in(self.grantor.sign_in)
        reached: set[int] = set()
        while len(self._connections) < REQUESTS // 4 or len(reached) < WORKERS:
            connection = await Connection.open(self.server.port)
            stack.push_async_callback(connection.close)
            self._connections.append(connection)
            reached.add((await self._person.get(connection, "/worker")).json()["worker"])

    async def asks(self, times: int = 1) -> set[int]:
        """The statuses of so many requests over each connection, and of as many with the oldest cookies."""
        answers = await asyncio.gather(*(self._ask(connection, times) for connection in self._connections))
        return set().union(*answers)

    async def _ask(self, connection: Connection, times: int) -> set[int]:
        statuses = set()
        for _ in range(times):
            for get in (self._person.get, self._person.get_late):
                answer = await get(connection)
                statuses.add(answer.status)
                if answer.status not in (200, 503):
                    self.refused.append(f"{get.__name__}: {answer}")
        return statuses


@asynccontextmanager
async def crowd(directory: Path, sessions: str, url: str) -> AsyncIterator[Crowd]:
    clock = SharedClock.create(directory / "clock")
    async with AsyncExitStack() as stack:
        grantor = Emulated(stack.enter_context(serve(clients=[CLIENT], clock=clock)).emulator)
        told = environment(grantor, directory, f"{sessions} + Redis", url, timeout=30)
        found = Crowd(grantor, clock, stack.enter_context(Uvicorn(told, workers=WORKERS)))
        await found.begin(stack)
        yield found


def killed(watched: Watched, old: RedisServer) -> None:
    old.stop()
    until(lambda: watched.primary() is not old)


def demoted(watched: Watched, old: RedisServer) -> None:
    """It lives on, takes writes until it hears of its successor, and then refuses them on connections that are kept."""
    watched.fail_over()
    until(lambda: watched.primary() is not old)
    with redis.Redis(port=old.port) as client:
        until(lambda: client.info("replication")["role"] == "slave")


def failovers(watched: Watched) -> int:
    """How many there were, as the first Sentinel knows it."""
    with redis.Redis(port=watched.sentinels[0].port, decode_responses=True) as client:
        return int(client.sentinel_master(Watched.SERVICE)["config-epoch"])


@pytest.mark.parametrize("sessions", ["cookie", "store"])
@pytest.mark.parametrize("change", [killed, demoted])
async def test_nobody_is_signed_out_when_the_primary_changes(
    change: Callable[[Watched, RedisServer], None], sessions: str, tmp_path: Path, redis_binary: str
) -> None:
    options = CAREFUL if change is demoted else ()
    with Watched(redis_binary, options=options) as watched:
        async with crowd(tmp_path, sessions, watched.url) as here:
            changing = asyncio.create_task(asyncio.to_thread(change, watched, watched.primary()))
            seen: set[int] = set()
            while not changing.done():
                if 503 not in seen:  # or a day without a request would go by
                    here.clock.advance(LIFETIME)
                seen |= await here.asks()
            await changing
            end = time.monotonic() + PATIENCE
            while 503 in await here.asks():
                assert time.monotonic() < end, here.server.last_words()
                await asyncio.sleep(0.2)
            for _ in range(2):
                here.clock.advance(LIFETIME)
                await here.asks(times=2)
            statuses = await here.asks()
            assert here.refused == [], f"{failovers(watched)} failovers\n{here.server.last_words(200)}"
            assert statuses == {200}
            assert here.grantor.reuse_events() == 0
