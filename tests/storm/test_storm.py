"""Five hundred requests, four workers, one expiry: the refresh token is spent once, and nobody is signed out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumin_middleware.emulator import serve
from tests.site_rig import CLIENT
from tests.storm.clock import SharedClock
from tests.storm.rig import COMBINATIONS, Emulated, Foreign, Storm, environment
from tests.storm.server import Uvicorn

ROUNDS = {"cookie": 2, "store": 1}
"""Expiries in a row, by the kind of sessions, if STORM_ROUNDS does not say; `python -m tests.storm` has more of them.
At the second one, half of the requests come with a cookie from before a renewal; a session in the store has one cookie.
"""


@pytest.mark.parametrize("combination", COMBINATIONS)
async def test_a_storm_at_expiry_refreshes_once_and_fails_nobody(combination, tmp_path, server_url):
    clock = SharedClock.create(tmp_path / "clock")
    with serve(clients=[CLIENT], clock=clock) as running:
        grantor = Emulated(running.emulator)
        await ride_out(grantor, clock, tmp_path, combination, server_url, requests=500)


@pytest.mark.parametrize("combination", ["cookie + local", "store + Redis"])
async def test_a_storm_at_a_server_that_nobody_here_wrote(combination, tmp_path, redis_server, oidc_provider):
    clock = SharedClock.create(tmp_path / "clock")
    await ride_out(Foreign(oidc_provider), clock, tmp_path, combination, redis_server.url, requests=100)


async def ride_out(grantor, clock, directory: Path, combination: str, redis_url: str, *, requests: int) -> None:
    told = environment(grantor, directory, combination, redis_url, timeout=10)
    rounds = int(os.environ.get("STORM_ROUNDS", ROUNDS[COMBINATIONS[combination][0]]))
    with Uvicorn(told) as server:
        storm = Storm(grantor, clock, server, requests)
        await storm.begin()
        try:
            for _ in range(rounds):
                await storm.expiry()
            # In the soft window one renews, and the others meet a server that kills the old token at once.
            await storm.expiry(left=grantor.lifetime * 0.05)
            assert await storm.is_alive()
        finally:
            await storm.end()
        figures = storm.figures
        assert figures.failures == [], server.last_words()
        assert figures.renewals == [1] * (rounds + 1)
        assert figures.reuse_events == 0
        assert figures.sent == requests * (rounds + 1)
        assert figures.workers <= server.pids
        assert len(figures.workers) > 1  # which of them take part is the kernel's to say
