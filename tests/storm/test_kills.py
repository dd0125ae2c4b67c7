"""`kill -9`, in the middle of a renewal: of the worker that holds the lease, and of the store that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lumin_middleware.emulator import serve
from lumin_middleware.sessions.lease import TTL
from tests.site_rig import CLIENT, NAVIGATION
from tests.storm.clock import SharedClock
from tests.storm.rig import WORKERS, Emulated, Person, environment, new_database
from tests.storm.server import Uvicorn
from tests.storm.sites import LIFETIME, Hold
from tests.storm.wire import Answer, Connection


class Scene:
    """A person who is signed in at four workers, and a connection to each."""

    def __init__(self, grantor: Emulated, clock: SharedClock, server: Uvicorn) -> None:
        self.grantor = grantor
        self.clock = clock
        self.server = server
        self.person = Person(server.port)
        self.connections: dict[int, Connection] = {}
        """By the worker at the other end."""

    async def begin(self, stack: AsyncExitStack) -> None:
        await self.person.sign_in(self.grantor.sign_in)
        while len(self.connections) < WORKERS:
            connection = await Connection.open(self.server.port)
            stack.push_async_callback(connection.close)
            worker = (await self.person.get(connection, "/worker")).json()["worker"]
            self.connections.setdefault(worker, connection)

    async def ask(self, *workers: int) -> list[Answer]:
        """What each of these workers answers at the same time; all of them, if none is named."""
        connections = [self.connections[worker] for worker in workers or self.connections]
        return await asyncio.gather(*(self.person.get(connection) for connection in connections))

    def hold_the_token_endpoint(self, **fault: Any) -> Hold:
        """From the next refresh on, until it is let go."""
        hold = Hold()
        self.grantor.emulator.faults.add("/oauth2/token", before=hold, **fault)
        return hold


@asynccontextmanager
async def scene(directory: Path, combination: str, redis_url: str, timeout: float) -> AsyncIterator[Scene]:
    clock = SharedClock.create(directory / "clock")
    async with AsyncExitStack() as stack:
        running = stack.enter_context(serve(clients=[CLIENT], clock=clock))
        grantor = Emulated(running.emulator)
        told = environment(grantor, directory, combination, redis_url, timeout)
        found = Scene(grantor, clock, stack.enter_context(Uvicorn(told, workers=WORKERS)))
        await found.begin(stack)
        yield found


BY_THE_MACHINES_CLOCK = ("cookie + local", "store + Django", "store + DynamoDB")
"""Whose records expire by the clock of the workers, which stands still; the other servers go by their own."""


@pytest.mark.parametrize(
    ("combination", "timeout"),
    [
        *(("cookie + local", 10), ("store + Redis", 3), ("store + PostgreSQL", 3)),
        *(("store + Django", 10), ("store + DynamoDB", 10)),
    ],
)
async def test_a_worker_that_is_killed_with_the_lease_delays_the_others_by_no_more_than_the_lease(
    combination, timeout, tmp_path, server_url
):
    async with scene(tmp_path, combination, server_url, timeout) as here:
        victim, *others = here.connections
        here.clock.advance(LIFETIME)
        with here.hold_the_token_endpoint(drop="before") as hold:
            dying = asyncio.ensure_future(here.ask(victim))
            await hold.reached()
            waiting = asyncio.ensure_future(here.ask(*others))
            here.server.kill(victim)
            with pytest.raises(ConnectionError):
                await dying
            if combination in BY_THE_MACHINES_CLOCK:
                here.clock.advance(timeout + TTL)
            assert [answer.status for answer in await waiting] == [200] * len(others)
        assert [answer.status for answer in await here.ask(*others)] == [200] * len(others)
        assert here.grantor.refreshes() == 2  # one that was never acted upon, and one
        assert here.grantor.reuse_events() == 0


@pytest.mark.parametrize("combination", ["cookie + Redis", "store + Redis"])
async def test_a_redis_that_is_killed_in_the_storm_signs_nobody_out(combination, tmp_path, durable_redis):
    """It keeps what it acknowledged, as it does with `appendfsync always`, and is back before the server answers."""
    async with scene(tmp_path, combination, durable_redis.url, timeout=30) as here:
        first, *others = here.connections
        here.clock.advance(LIFETIME)
        with here.hold_the_token_endpoint() as hold:
            renewing = asyncio.ensure_future(here.ask(first))
            await hold.reached()
            durable_redis.stop()
            answers = await here.ask(*others)
            assert [(answer.status, answer.json()["reason"]) for answer in answers] == [(503, "store_unavailable")] * 3
            for worker in others:
                connection = here.connections[worker]
                answer = await here.person.get(connection, headers=NAVIGATION)
                assert (answer.status, answer.header("location"), answer.set_cookies) == (503, None, [])
            durable_redis.start()
            waiting = asyncio.ensure_future(here.ask(*others))
            hold.release()
            answers = [*await renewing, *await waiting]
        assert [answer.status for answer in answers] == [200] * WORKERS
        assert len({answer.json()["token"] for answer in answers}) == 1
        assert (here.grantor.refreshes(), here.grantor.reuse_events()) == (1, 0)


async def test_a_postgresql_that_is_killed_in_the_storm_signs_nobody_out(tmp_path, postgres):
    """All that it acknowledged is there when it is back, before the authorization server answers."""
    url = new_database(postgres, "store + PostgreSQL")
    async with scene(tmp_path, "store + PostgreSQL", url, timeout=30) as here:
        first, *others = here.connections
        here.clock.advance(LIFETIME)
        with here.hold_the_token_endpoint() as hold:
            renewing = asyncio.ensure_future(here.ask(first))
            await hold.reached()
            try:
                await asyncio.to_thread(postgres.crash)
                answers = await here.ask(*others)
            finally:
                await asyncio.to_thread(postgres.start)
            found = [(answer.status, answer.json()["reason"]) for answer in answers]
            assert found == [(503, "store_unavailable")] * 3
            waiting = asyncio.ensure_future(here.ask(*others))
            hold.release()
            answers = [*await renewing, *await waiting]
        while any(answer.status == 503 for answer in answers):  # a pool that is still connecting
            answers = await here.ask()
        assert [answer.status for answer in answers] == [200] * WORKERS
        assert len({answer.json()["token"] for answer in answers}) == 1
        assert (here.grantor.refreshes(), here.grantor.reuse_events()) == (1, 0)


async def test_a_fresh_cookie_session_does_without_redis(tmp_path, durable_redis):
    async with scene(tmp_path, "cookie + Redis", durable_redis.url, timeout=10) as here:
        durable_redis.stop()
        assert [answer.status for answer in await here.ask()] == [200] * WORKERS
        here.clock.advance(LIFETIME * 0.95)
        assert [answer.status for answer in await here.ask()] == [200] * WORKERS
        assert here.grantor.refreshes() == 0
        durable_redis.start()
        assert [answer.status for answer in await here.ask()] == [200] * WORKERS
        assert (here.grantor.refreshes(), here.grantor.reuse_events()) == (1, 0)
