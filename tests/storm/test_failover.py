"""A primary and two replicas, three Sentinels, four workers: the primary changes in the middle of a storm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from lumin_middleware.emulator import serve
from tests.patience import PATIENCE
from tests.site_rig import CLIENT
from tests.stores.redis_server import Watched
from tests.storm.clock import SharedClock
from tests.storm.rig import Emulated, Storm, environment
from tests.storm.server import Uvicorn

REQUESTS = 200

HOW: dict[str, Callable[[Watched], None]] = {
    "lives on as a replica": lambda watched: watched.fail_over("COORDINATED"),
    "is killed": lambda watched: watched.primary().stop(),
}


@pytest.fixture
def watched(redis_binary: str) -> Iterator[Watched]:
    with Watched(redis_binary) as found:
        yield found


@pytest.mark.parametrize("combination", ["cookie + Redis", "store + Redis"])
@pytest.mark.parametrize("how", HOW)
async def test_nobody_is_signed_out_when_the_primary_changes(how, combination, tmp_path, watched):
    clock = SharedClock.create(tmp_path / "clock")
    with serve(clients=[CLIENT], clock=clock) as running:
        grantor = Emulated(running.emulator)
        told = environment(grantor, tmp_path, combination, watched.url, timeout=10)
        with Uvicorn(told) as server:
            storm = Storm(grantor, clock, server, REQUESTS)
            await storm.begin()
            try:
                await storm.expiry()
                old = watched.primary()
                changing = asyncio.create_task(_change(watched, how))
                while watched.primary() is old:
                    await storm.expiry()
                await changing
                await _until_alive(storm)
                storm.figures.failures, unavailable = [], storm.figures.failures
                await storm.expiry()
            finally:
                await storm.end()
        print(f"{how}, {combination}: {len(unavailable)} of {storm.figures.sent} unavailable")
        assert [each for each in unavailable if not each.startswith("503")] == []
        assert storm.figures.failures == []
        assert storm.figures.reuse_events == 0


async def _change(watched: Watched, how: str) -> None:
    await asyncio.sleep(0.05)
    await asyncio.to_thread(HOW[how], watched)


async def _until_alive(storm: Storm) -> None:
    end = time.monotonic() + PATIENCE
    while not await storm.is_alive():
        assert time.monotonic() < end, "somebody is signed out"
        await asyncio.sleep(0.2)
