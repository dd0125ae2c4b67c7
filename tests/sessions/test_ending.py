"""The end of a session: its tokens die with it, whoever has the newest, and whatever cuts the end off."""

from __future__ import annotations

import asyncio

import pytest

from lumin_middleware.errors import SessionEnded, StoreUnavailable
from tests.fakes import Workers


@pytest.fixture(params=["cookie", "store"])
def workers(request: pytest.FixtureRequest) -> Workers:
    return Workers(sessions=request.param)


@pytest.fixture
def process(workers):
    return workers.process()


async def is_over(process, session) -> bool:
    try:
        await process.sessions.newest(session)
    except SessionEnded:
        return True
    return False


async def test_the_newest_tokens_die_although_they_could_not_be_saved(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    await process.ending.end(session.id, session.began, session)
    assert workers.server.revoked == [renewed.tokens.refresh_token]
    assert not process.renewal.unsaved
    assert await is_over(process, session)


async def test_the_newest_tokens_die_although_another_process_renewed_them(workers, process):
    session = await workers.expired()
    renewed = await workers.process().renewal.fresh(session)
    ended = await process.ending.end(session.id, session.began, session)
    assert ended == renewed
    assert workers.server.revoked == [renewed.tokens.refresh_token]


@pytest.mark.parametrize("how", ["fails", "loses"])
@pytest.mark.parametrize("known", [True, False])
async def test_the_tokens_die_although_nobody_can_say_whether_the_record_has(workers, process, how, known):
    session = await workers.expired()
    renewed = await process.renewal.fresh(session)
    setattr(workers.store, how, {"swap session"})
    with pytest.raises(StoreUnavailable):
        await process.ending.end(session.id, session.began, session if known else None)
    assert workers.server.revoked == [renewed.tokens.refresh_token]


async def test_where_the_store_is_away_the_tokens_that_are_known_die(workers, process):
    session = await workers.expired()
    workers.store.fails = {"get session", "swap session"}
    with pytest.raises(StoreUnavailable):
        await process.ending.end(session.id, session.began, session)
    assert workers.server.revoked == [session.tokens.refresh_token]


async def test_an_end_that_is_cut_off_goes_on(workers, process):
    session = await workers.expired()
    renewed = await process.renewal.fresh(session)
    ending = asyncio.ensure_future(process.ending.end(session.id, session.began, session))

    async def cut_off() -> None:
        ending.cancel()

    workers.store.before["swap session"] = cut_off
    with pytest.raises(asyncio.CancelledError):
        await ending
    for _ in range(20):
        await asyncio.sleep(0)
    assert await is_over(process, session)
    assert workers.server.revoked == [renewed.tokens.refresh_token]


async def test_which_tokens_go_with_it_is_for_whoever_ends_it(workers, process):
    session = await workers.expired()
    await process.renewal.fresh(session)
    ended = await process.ending.end(session.id, session.began, revokes=lambda tokens: False)
    assert ended is not None
    assert workers.server.revoked == []
    assert await process.ending.end(session.id, session.began) is None
