"""Behind Sentinels, the primary dies in the middle of a storm, and nobody is signed out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from lumin_middleware.stores import AsyncRedisStore
from tests.patience import PATIENCE
from tests.site_rig import Clock
from tests.stores.redis_server import Watched
from tests.storm.sites import ask_the_api

REQUESTS = 100
EXPIRED = 3700.0


@pytest.fixture
def watched(redis_binary: str) -> Iterator[Watched]:
    with Watched(redis_binary) as found:
        yield found


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_nobody_is_signed_out_when_the_primary_is_killed(sessions, new_site, watched):
    clock = Clock()
    store = AsyncRedisStore(watched.url)
    site = new_site(sessions=sessions, store=store, clock=clock)
    site.app.handler = ask_the_api
    browser = site.browser()
    await browser.sign_in()
    old = watched.primary()
    changing = asyncio.create_task(asyncio.to_thread(old.stop))
    seen: set[int] = set()
    end = time.monotonic() + PATIENCE
    while watched.primary() is old or not changing.done():
        assert time.monotonic() < end
        if 503 not in seen:  # or a day without a request would go by
            clock.advance(EXPIRED)
        answers = await asyncio.gather(*(browser.fetch("GET", "/") for _ in range(REQUESTS)))
        seen |= {answer.status_code for answer in answers}
    await changing
    while (await browser.fetch("GET", "/")).status_code == 503:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    clock.advance(EXPIRED)
    after = await asyncio.gather(*(browser.fetch("GET", "/") for _ in range(REQUESTS)))
    assert {answer.status_code for answer in after} == {200}
    assert seen <= {200, 503}
    assert site.emulator.reuse_events == 0
    await store.aclose()
