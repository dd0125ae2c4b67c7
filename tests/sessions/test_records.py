"""A record opens for who knows the session's id, and says who may go on; or that nobody may."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import SessionEnded, StoreUnavailable
from lumin_middleware.sessions.records import PATIENCE, Record, Records, digest, record_key
from tests.fakes import OLD_KEY, Workers, World, config, hostile

DAY = 86_400


@pytest.fixture
def workers() -> Workers:
    return Workers()


def records(workers: Workers, **changes) -> Records:
    """Those of one process."""
    world = World(workers.store, workers.server, workers.clock, workers.steps)
    return Records(config(**changes), world)


async def test_what_was_written_is_read_by_another_process(workers):
    session = await workers.sign_in()
    assert await records(workers).replace(Record(None, session), session, DAY)
    other = records(workers)
    raw = await other.raw(session.id)
    assert other.read(raw, session.id) == (session, False)


async def test_who_writes_must_know_what_is_there(workers):
    session = await workers.sign_in()
    ours = records(workers)
    assert await ours.replace(Record(None, session), session, DAY)
    assert not await ours.replace(Record(None, session), session, DAY)
    assert await ours.replace(Record(await ours.raw(session.id), session), session, DAY)


async def test_a_record_that_an_older_key_sealed_is_read_and_known_for_it(workers):
    session = await workers.sign_in()
    old = records(workers, secret_key=OLD_KEY)
    await old.replace(Record(None, session), session, DAY)
    both = records(workers, secret_key=[config().secret_key, OLD_KEY])
    raw = await both.raw(session.id)
    assert both.read(raw, session.id) == (session, True)


async def test_a_record_opens_for_nobody_else_s_id(workers):
    session = await workers.sign_in()
    ours = records(workers)
    await ours.replace(Record(None, session), session, DAY)
    raw = await ours.raw(session.id)
    assert ours.read(raw, session.id) == (session, False)
    for reader in (ours, records(workers)):
        with pytest.raises(SessionEnded):
            reader.read(raw, "another")


@hostile
@given(st.binary(max_size=300))
def test_what_is_no_record_lets_nobody_in(raw):
    with pytest.raises(SessionEnded):
        records(Workers()).read(raw, "id")


async def test_the_end_mark_stays_for_its_time_and_opens_to_nobody(workers):
    session = await workers.sign_in()
    ours = records(workers)
    await ours.end(session.id, DAY)
    raw = await ours.raw(session.id)
    with pytest.raises(SessionEnded):
        ours.read(raw, session.id)
    workers.clock.advance(DAY)
    assert await ours.raw(session.id) is None


async def test_an_end_without_a_mark_leaves_nothing(workers):
    session = await workers.sign_in()
    ours = records(workers)
    await ours.replace(Record(None, session), session, DAY)
    await ours.end(session.id, None)
    await ours.end(session.id, None)
    assert workers.store.entries() == {}


@pytest.mark.parametrize("lifetime", [DAY, None])
async def test_an_end_that_others_write_over_again_and_again_is_told(workers, lifetime):
    session = await workers.sign_in()
    ours = records(workers)
    await ours.replace(Record(None, session), session, DAY)
    workers.steps.clear()

    async def write_over():
        workers.store.memory.swap(record_key(session.id), await ours.raw(session.id), secrets.token_bytes(8), DAY)
        workers.store.before["swap session"] = write_over

    workers.store.before["swap session"] = write_over
    with pytest.raises(StoreUnavailable):
        await ours.end(session.id, lifetime)
    assert PATIENCE < sum(ours._world.slept) < PATIENCE + 1


def test_the_store_does_not_learn_the_id():
    assert record_key("id") == f"session:{digest('id')}"
    assert "id" not in digest("id")
    assert digest("id") != digest("id ")
