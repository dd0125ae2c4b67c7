"""The storm with grants: web workers, job workers and a cron process, all for one person at the moment of expiry."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from lumin_middleware.emulator import DEMO_USERS, serve
from lumin_middleware.sessions.lease import TTL
from tests import spawning
from tests.patience import PATIENCE
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN
from tests.storm.clock import SharedClock
from tests.storm.rig import Emulated, Storm, environment
from tests.storm.server import ROOT, Uvicorn
from tests.storm.sites import LIFETIME, Hold
from tests.storm.wire import Connection

MIRA = DEMO_USERS[0]
WEB_REQUESTS = 100
JOBS = 4
CALLS = 10
"""Calls that each job worker makes at once."""


class Job:
    """A process that acts for people who are away."""

    def __init__(self, told: Mapping[str, str], kind: str = "blocking") -> None:
        self.process = spawning.Popen(
            [sys.executable, "-m", "tests.storm.job", kind],
            cwd=ROOT,
            env=os.environ | told,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def begin(self, times: int = CALLS) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{MIRA.sub} {times}\n")
        self.process.stdin.flush()

    async def end(self) -> list[dict[str, Any]]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), PATIENCE)
        found: list[dict[str, Any]] = json.loads(line)
        return found

    async def act(self, times: int = CALLS) -> list[dict[str, Any]]:
        self.begin(times)
        return await self.end()


class Scene:
    """One person with a session and a grant, and everybody who acts for them."""

    def __init__(self, grantor: Emulated, clock: SharedClock, storm: Storm, jobs: list[Job]) -> None:
        self.grantor = grantor
        self.clock = clock
        self.storm = storm
        self.jobs = jobs

    async def begin(self) -> None:
        await self.storm.begin()
        connection = self.storm._kept[0]
        begun = await self.storm._person.get(connection, "/auth/connect", NAVIGATION)
        callback = urlsplit(await asyncio.to_thread(self.grantor.sign_in, begun.header("location") or ""))
        done = await self.storm._person.get(connection, f"{callback.path}?{callback.query}", NAVIGATION)
        assert (done.status, done.header("location")) == (303, "/"), done
        for job in self.jobs:
            assert [each["api"] for each in await job.act(1)] == [200]

    async def expiry(self) -> set[str]:
        """All at once, at the moment of expiry: the access tokens that jobs used."""
        answers = await asyncio.gather(self.storm.expiry(), *(job.act() for job in self.jobs))
        found = [each for answer in answers[1:] for each in answer]
        assert [each["error"] for each in found if each["error"]] == []
        assert {each["api"] for each in found} == {200}
        return {each["token"] for each in found}


@asynccontextmanager
async def scene(directory: Path, combination: str, url: str, timeout: float = 10) -> AsyncIterator[Scene]:
    clock = SharedClock.create(directory / "clock")
    async with AsyncExitStack() as stack:
        grantor = Emulated(stack.enter_context(serve(clients=[CLIENT], clock=clock)).emulator)
        told = environment(grantor, directory, combination, url, timeout)
        server = stack.enter_context(Uvicorn(told))
        jobs = [stack.enter_context(Job(told)) for _ in range(JOBS)]
        jobs.append(stack.enter_context(Job(told, "asyncio")))  # cron's
        storm = Storm(grantor, clock, server, WEB_REQUESTS)
        stack.push_async_callback(storm.end)
        found = Scene(grantor, clock, storm, jobs)
        await found.begin()
        yield found


@pytest.mark.parametrize("combination", ["store + SQLite", "store + Redis", "store + PostgreSQL", "cookie + local"])
async def test_the_session_and_the_grant_are_each_refreshed_once(combination, tmp_path, server_url):
    async with scene(tmp_path, combination, server_url) as here:
        for turn in range(1, 4):
            assert len(await here.expiry()) == 1
            assert here.grantor.refreshes() == 2 * turn
        assert here.storm.figures.failures == []
        assert here.grantor.reuse_events() == 0


async def test_a_sign_out_in_the_middle_leaves_the_jobs_alone(tmp_path, redis_server):
    async with scene(tmp_path, "store + Redis", redis_server.url) as here:
        here.clock.advance(LIFETIME)
        with Hold() as hold:
            here.grantor.emulator.faults.add("/oauth2/token", before=hold, times=1)
            here.jobs[0].begin()
            await hold.reached()
            connection = await Connection.open(here.storm._person.port)
            headers = {**FETCH, "origin": ORIGIN, "cookie": here.storm._person.jar.header.decode()}
            await connection.send("/auth/logout", headers, method="POST")
            hold.release()
            assert (await connection.receive()).status == 204
            await connection.close()
            assert {each["api"] for each in await here.jobs[0].end()} == {200}
        answers = [await job.act() for job in here.jobs]
        assert {each["api"] for answer in answers for each in answer} == {200}
        assert here.grantor.reuse_events() == 0


@pytest.mark.parametrize(
    ("combination", "timeout"), [("store + SQLite", 10), ("store + Redis", 3), ("store + PostgreSQL", 3)]
)
async def test_a_job_that_is_killed_with_the_lease_delays_the_others_by_no_more_than_the_lease(
    combination, timeout, tmp_path, server_url
):
    async with scene(tmp_path, combination, server_url, timeout) as here:
        refreshes = here.grantor.refreshes()
        victim, *others = here.jobs
        here.clock.advance(LIFETIME)
        with Hold() as hold:
            here.grantor.emulator.faults.add("/oauth2/token", before=hold, drop="before", times=1)
            victim.begin(1)
            await hold.reached()
            for job in others:
                job.begin()
            victim.process.kill()
            if combination == "store + SQLite":  # servers go by their own clock
                here.clock.advance(timeout + TTL)
            answers = [await job.end() for job in others]
        assert [each["error"] for answer in answers for each in answer if each["error"]] == []
        assert len({each["token"] for answer in answers for each in answer}) == 1
        assert here.grantor.refreshes() - refreshes == 2  # one that was never acted upon, and one
        assert here.grantor.reuse_events() == 0
