"""The end of a session: its tokens die with it, whoever has the newest, and whatever cuts the end off."""

from __future__ import annotations

import asyncio

import pytest

from lumin_middleware.errors import SessionEnded, StoreUnavailable
from lumin_middleware.events import SignedOut, session_name
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


async def test_an_end_that_is_cut_off_goes_on_and_is_told_of(workers, process):
    session = await workers.expired()
    renewed = await process.renewal.fresh(session)
    process.world.events.clear()
    ending = asyncio.ensure_future(process.ending.end(session.id, session.began, session, tells=SignedOut.of))

    async def cut_off() -> None:
        ending.cancel()

    workers.store.before["swap session"] = cut_off
    with pytest.raises(asyncio.CancelledError):
        await ending
    for _ in range(20):
        await asyncio.sleep(0)
    assert await is_over(process, session)
    assert workers.server.revoked == [renewed.tokens.refresh_token]
    assert [type(event) for event in process.world.events] == [SignedOut]


async def test_which_tokens_go_with_it_is_for_whoever_ends_it(workers, process):
    session = await workers.expired()
    await process.renewal.fresh(session)
    ended = await process.ending.end(session.id, session.began, revokes=lambda tokens: False)
    assert ended is not None
    assert workers.server.revoked == []
    assert await process.ending.end(session.id, session.began) is None


# --- who is told ---


@pytest.mark.parametrize("renewed", [False, True], ids=["never renewed", "renewed"])
@pytest.mark.parametrize("known", [False, True], ids=["only listed", "known"])
async def test_an_end_is_told_of_once_whatever_is_known_of_the_session(workers, process, known, renewed):
    session = await workers.expired()
    if renewed:
        await process.renewal.fresh(session)
    told = process.world.events
    told.clear()
    for each in (process, workers.process(), process):  # the one in the middle has a list of its own
        each.world.events = told
        await each.ending.end(
            session.id, session.began, session if known else None, subject="person-1", tells=SignedOut.of
        )
    assert [(type(event), event.session, event.subject) for event in told] == [
        (SignedOut, session_name(session.id), "person-1")
    ]


@pytest.mark.parametrize("renewed", [False, True], ids=["never renewed", "renewed"])
async def test_two_who_end_a_session_at_once_tell_of_one_end(workers, process, renewed):
    session = await workers.expired()
    if renewed:
        await process.renewal.fresh(session)
    process.world.events.clear()
    workers.suspend()
    await asyncio.gather(
        *(process.ending.end(session.id, session.began, session, tells=SignedOut.of) for _ in range(5))
    )
    assert [type(event) for event in process.world.events] == [SignedOut]


async def test_an_end_of_which_nobody_can_say_whether_it_was_one_is_told_of_when_it_is(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    with pytest.raises(StoreUnavailable):
        await process.ending.end(session.id, session.began, session, tells=SignedOut.of)
    assert process.world.events == []
    workers.store.fails = set()
    await process.ending.end(session.id, session.began, session, tells=SignedOut.of)
    assert [type(event) for event in process.world.events] == [SignedOut]
