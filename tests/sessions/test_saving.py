"""The store fails: no renewed token is lost, and none is seen before it is saved or remembered."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from lumin_middleware.errors import (
    OAuthError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from lumin_middleware.sessions import saving
from lumin_middleware.sessions.lease import SAVING, dead_after
from tests.fakes import (
    id_token,
    token_set,
)


@pytest.mark.parametrize("step", ["get session", "get trouble", "take lease", "renew lease"])
async def test_no_token_is_sent_when_the_store_fails_before(workers, process, step):
    living, dead = await workers.nearly_expired(), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.store.fails = {step}
    assert await process.renewal.fresh(living) is living
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(dead)
    assert workers.server.sent == []


async def test_a_save_is_tried_again_before_anybody_sees_the_tokens(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}

    async def recover() -> None:
        if len(process.world.slept) == 3:
            workers.store.fails = set()

    process.world.during_sleep = recover
    renewed = await process.renewal.fresh(session)
    assert tuple(process.world.slept) == SAVING[:3]
    assert await workers.recorded(session) == renewed


async def test_a_save_whose_answer_was_lost_is_not_lost(workers, process):
    session = await workers.expired()
    workers.store.loses = {"swap session"}

    async def recover() -> None:
        if len(process.world.slept) == 2:
            workers.store.loses = set()

    process.world.during_sleep = recover
    renewed = await process.renewal.fresh(session)
    assert (await workers.recorded(session)).tokens == renewed.tokens
    assert len(workers.server.sent) == 1


async def test_a_write_of_the_same_generation_meanwhile_does_not_lose_the_renewed_one(workers, process):
    """A request that slides the idle time writes the record, too."""
    workers.config = dataclasses.replace(workers.config, sessions="store")
    process = workers.process()
    session = await workers.expired()
    sessions = workers.process().sessions

    async def slides() -> None:
        assert await sessions.replace(await sessions.newest(session), session)

    workers.server.during["refresh"] = slides
    renewed = await process.renewal.fresh(session)
    assert renewed.generation == 1
    assert await workers.recorded(session) == renewed


async def test_when_nothing_can_be_saved_this_process_remembers(workers, process, caplog):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    assert renewed.generation == 1
    assert tuple(process.world.slept) == SAVING
    assert caplog.text.count("could not be saved") == len(SAVING)
    assert await process.renewal.fresh(session) == renewed
    assert "still not saved" in caplog.text
    assert len(workers.server.sent) == 1


async def test_while_nothing_could_be_saved_no_other_process_gets_the_lease(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    assert workers.leased(session)
    workers.store.fails = set()
    other = workers.process()

    async def this_process_catches_up() -> None:
        other.world.during_sleep = None
        await process.renewal.fresh(session)

    other.world.during_sleep = this_process_catches_up
    assert (await other.renewal.fresh(session)).generation == 1
    assert len(workers.server.sent) == 1


async def test_a_process_that_nobody_asks_any_more_saves_when_the_store_is_back(workers, process):
    """Else whoever waits elsewhere takes it for dead, and sends the spent refresh token."""
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    other = workers.process()
    waiting = asyncio.create_task(other.renewal.fresh(session))
    process.world.slept.clear()

    async def store_comes_back() -> None:
        if sum(process.world.slept) > 2 * dead_after(workers.config.timeout):
            workers.store.fails = set()

    process.world.during_sleep = store_comes_back
    [goes_on] = process.world.going_on
    await goes_on()
    assert not process.renewal.unsaved
    assert (await waiting).tokens == renewed.tokens
    assert workers.server.reused == []


async def test_it_goes_on_once_and_ends(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    for _ in range(3):
        session = await process.renewal.fresh(session)
        workers.clock.advance(3600)
    [goes_on] = process.world.going_on
    process.world.slept.clear()
    workers.store.fails = set()
    await goes_on()
    assert process.world.slept == [saving.AGAIN]
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    assert len(process.world.going_on) == 2, "anew, for what comes after"


async def test_where_nothing_could_go_on_the_next_that_cannot_be_saved_tries_again(workers, process, monkeypatch):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    with monkeypatch.context() as patch:
        patch.setattr(process.world, "beside", lambda action: False)  # no thread is to be had
        session = await process.renewal.fresh(session)
    workers.clock.advance(3600)
    await process.renewal.fresh(session)
    assert len(process.world.going_on) == 1


async def test_of_a_session_that_is_past_its_limits_nothing_more_is_tried(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    workers.clock.advance(workers.config.absolute_timeout)
    [goes_on] = process.world.going_on
    await goes_on()
    assert not process.renewal.unsaved


async def test_what_was_not_saved_is_saved_when_the_store_is_back(workers, process):
    """Other processes read the record: until it is written they would send the spent refresh token."""
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    assert (await process.renewal.fresh(session)).tokens == renewed.tokens
    assert (await workers.process().renewal.fresh(session)).tokens == renewed.tokens
    assert workers.server.reused == []


async def test_who_waited_while_nothing_could_be_saved_gets_the_same_and_sends_nothing(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    workers.suspend()
    first, second = await asyncio.gather(process.renewal.fresh(session), process.renewal.fresh(session))
    assert first.tokens == second.tokens
    workers.store.fails = set()
    third = await process.renewal.fresh(session)
    assert third.tokens == first.tokens == (await workers.recorded(session)).tokens
    assert len(workers.server.sent) == 1


async def test_what_was_not_saved_is_tried_again_when_another_writes_meanwhile(workers):
    workers.config = dataclasses.replace(workers.config, sessions="store")
    process, session = workers.process(), await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    sessions = workers.process().sessions

    slid = []

    async def slides() -> None:
        assert await sessions.replace(await sessions.newest(session), session)
        slid.append(session)
        if len(slid) == 1:  # and once more before the next swap
            workers.store.before["swap session"] = slides

    workers.store.before["swap session"] = slides
    assert process.renewal.is_due(renewed)
    assert (await process.renewal.fresh(renewed)).tokens == renewed.tokens
    assert process.renewal.is_due(renewed)
    assert (await process.renewal.fresh(renewed)).tokens == renewed.tokens
    assert not process.renewal.is_due(renewed)
    assert await workers.recorded(session) == renewed


async def test_a_record_that_is_newer_still_is_adopted(workers, process):
    """The others were two generations ahead by the time that this process could save."""
    session = await workers.expired()
    newest = dataclasses.replace(session, generation=2, tokens=token_set(workers.clock(), 3600, 3600))

    async def others_go_on() -> None:
        sessions = workers.process().sessions
        assert await sessions.replace(await sessions.newest(session), newest)

    workers.server.during["refresh"] = others_go_on
    assert (await process.renewal.fresh(session)).tokens == newest.tokens
    assert (await workers.recorded(session)).tokens == newest.tokens


async def test_a_session_that_was_not_saved_never_takes_the_place_of_a_newer_one(workers, process):
    """Another process went on with what the browser brought, while this one still remembers."""
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    unsaved = await process.renewal.fresh(session)
    workers.store.fails = set()
    workers.clock.advance(3540)
    newest = await workers.process().renewal.fresh(unsaved)
    assert newest.generation == 2
    workers.clock.advance(3540)
    workers.store.fails = {"get session"}
    assert await process.renewal.fresh(newest) is newest  # its access token lives, the unsaved one's does not


async def test_trouble_that_cannot_be_shared_is_logged(workers, process, caplog):
    session = await workers.expired()
    workers.store.fails = {"swap trouble"}
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session)
    assert "could not be shared" in caplog.text


async def test_an_end_that_cannot_be_written_signs_nobody_out_yet(workers, process):
    session = await workers.expired()
    workers.server.answer = OAuthError("invalid_grant")
    workers.store.fails = {"swap session"}
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)


async def test_tokens_with_a_wrong_id_token_are_revoked_even_if_the_end_cannot_be_written(workers, process):
    session = await workers.expired()
    workers.server.extra = {"id_token": id_token(workers.clock(), sub="person-2")}
    workers.store.fails = {"swap session"}
    with pytest.raises((StoreUnavailable, SessionEnded)):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [workers.server.current]


async def test_whoever_finds_the_store_well_again_saves_for_others(workers, process):
    """They may never come to this process again, and everybody else would send what is spent."""
    sessions = [await workers.sign_in() for _ in range(5)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.fails = {"swap session"}
    renewed = [await process.renewal.fresh(session) for session in sessions[:-1]]
    workers.store.fails = set()
    await process.renewal.fresh(sessions[-1])
    assert [await workers.recorded(session) for session in sessions[:-1]] == renewed
    assert len(process.renewal.saving._unsaved) == 0


async def test_what_was_not_saved_is_revoked_when_its_session_was_ended_elsewhere(workers, process):
    session, other = [await workers.sign_in() for _ in range(2)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    await workers.process().end(session)
    await process.renewal.fresh(other)
    assert workers.server.revoked == [renewed.tokens.refresh_token]


async def test_no_more_than_so_many_are_remembered(workers, process, caplog):
    process.renewal.saving._unsaved.limit = 3
    sessions = [await workers.sign_in() for _ in range(5)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.fails = {"swap session"}
    renewed = [await process.renewal.fresh(session) for session in sessions]
    assert [each.session for each in process.renewal.saving._unsaved.values()] == renewed[2:]
    assert caplog.text.count("sign in again") == 2


async def test_none_is_remembered_longer_than_its_session_may_live(workers, process):
    first = await workers.expired()
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(first)
    assert process.renewal.is_due(first)
    workers.clock.advance(workers.config.absolute_timeout)
    workers.store.fails = set()
    second = await workers.expired()
    workers.store.fails = {"swap session"}
    workers.server.answer = workers.server.grant
    await process.renewal.fresh(second)
    assert list(process.renewal.saving._unsaved) == [second.id]


# --- the end of a process ---


async def test_what_is_unsaved_when_a_process_ends_is_saved_then(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    await process.parts.finish()
    assert await workers.recorded(session) == renewed
    assert not process.renewal.unsaved


async def test_what_cannot_be_saved_even_then_is_said_once_and_nobody_waits_long(workers, process, caplog):
    sessions = [await workers.sign_in() for _ in range(5)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.fails = {"swap session"}
    for session in sessions:
        await process.renewal.fresh(session)
    asked = len(workers.store.steps)
    await process.parts.finish()
    assert caplog.text.count("sessions_not_saved") == 1
    assert "sessions=5" in caplog.text
    assert len(workers.store.steps) <= asked + 2


async def test_each_is_saved_with_one_verb_when_a_process_ends(workers, process):
    """They are saved one after the other, and a store may be slow."""
    sessions = [await workers.sign_in() for _ in range(5)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.fails = {"swap session"}
    renewed = [await process.renewal.fresh(session) for session in sessions]
    workers.store.fails = set()
    asked = len(workers.store.steps)
    await process.parts.finish()
    assert workers.store.steps[asked:] == ["swap session"] * 5
    assert [await workers.recorded(session) for session in sessions] == renewed


async def test_what_another_wrote_meanwhile_is_seen_when_a_process_ends(workers, process):
    """The same tokens, whose answer got lost; or the end, which wins."""
    heard, ended = [await workers.sign_in() for _ in range(2)]
    workers.clock.advance(3600)
    workers.server.answer = workers.server.grant
    workers.store.loses = {"swap session"}
    await process.renewal.fresh(heard)
    workers.store.loses, workers.store.fails = set(), {"swap session"}
    lost = await process.renewal.fresh(ended)
    workers.store.fails = set()
    await workers.process().sessions.end(ended.id, ended.began)
    await process.parts.finish()
    assert not process.renewal.unsaved
    assert (await workers.recorded(heard)).generation == 1
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(ended)
    assert lost.tokens.refresh_token in workers.server.revoked


async def test_what_one_could_not_save_another_inherits_and_saves(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    heir = workers.process()
    heir.parts.inherit(process.parts)
    assert await heir.renewal.fresh(session) == renewed
    assert await workers.recorded(session) == renewed
    assert len(workers.server.sent) == 1
    assert len(heir.renewal.unsaved) == 0


async def test_what_is_still_being_saved_when_a_process_ends_is_saved_then(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    ended = []

    async def the_process_ends() -> None:
        if len(process.world.slept) == 3:
            workers.store.fails = set()
            await process.parts.finish()
            ended.append(await workers.recorded(session))

    process.world.during_sleep = the_process_ends
    renewed = await process.renewal.fresh(session)
    assert ended == [renewed]
    assert not process.renewal.unsaved
    assert not workers.leased(session)
    assert (await workers.process().renewal.fresh(session)) == renewed


async def test_what_is_still_being_saved_and_cannot_be_is_said_when_a_process_ends(workers, process, caplog):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    seen = []

    async def the_process_ends() -> None:
        if len(process.world.slept) == 3:
            seen.append(session.id in process.renewal.unsaved)  # others wait for it until then
            await process.parts.finish()

    process.world.during_sleep = the_process_ends
    await process.renewal.fresh(session)
    assert seen == [False]
    assert "sessions_not_saved" in caplog.text
    assert "sessions=1" in caplog.text


async def test_whose_loop_is_closed_while_it_is_being_saved_another_inherits(workers, process):
    """`asyncio.run` cancels what is left, shielded or not."""
    session = await workers.expired()
    workers.store.fails = {"swap session"}

    async def the_loop_ends() -> None:
        if len(process.world.slept) == 3:
            raise asyncio.CancelledError

    process.world.during_sleep = the_loop_ends
    with pytest.raises(asyncio.CancelledError):
        await process.renewal.fresh(session)
    workers.store.fails = set()
    heir = workers.process()
    heir.parts.inherit(process.parts)
    assert (await heir.renewal.fresh(session)).generation == 1
    assert (await workers.recorded(session)).generation == 1
    assert len(workers.server.sent) == 1


async def test_what_was_saved_or_has_ended_is_nothing_to_finish(workers, process):
    saved, ended = await workers.expired(), await workers.expired()
    workers.server.answer = workers.server.grant
    await process.renewal.fresh(saved)

    async def ends() -> None:
        await workers.process().sessions.end(ended.id, ended.began)

    workers.store.before["swap session"] = ends
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(ended)
    assert process.renewal.saving._under_way.all() == []
