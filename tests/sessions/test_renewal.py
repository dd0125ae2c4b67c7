"""A refresh token is spent once; trouble signs nobody out; the end wins."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import (
    LuminError,
    OAuthError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from lumin_middleware.events import RenewalFailed, session_name
from lumin_middleware.model import Session
from lumin_middleware.protocol.breaker import CircuitOpen
from lumin_middleware.sessions.due import Due, due
from lumin_middleware.sessions.lease import POLL
from lumin_middleware.sessions.pauses import InPause
from lumin_middleware.sessions.records import digest
from tests.fakes import (
    BASE,
    Workers,
    hostile,
    id_token,
    open_circuit,
    release_after,
    token_set,
)

# --- when ---


@pytest.mark.parametrize(
    ("lifetime", "left", "expected"),
    [
        (3600, 3600, Due.LATER),
        (3600, 300.5, Due.LATER),
        (3600, 300, Due.SOON),
        (3600, 15.5, Due.SOON),
        (3600, 15, Due.NOW),
        (3600, 0, Due.NOW),
        (3600, -1, Due.NOW),
        (60, 12.5, Due.LATER),
        (60, 12, Due.SOON),
        (60, 1.2, Due.NOW),
        (1, 1, Due.LATER),
    ],
)
def test_the_windows_are_a_share_of_the_life_and_bounded(lifetime, left, expected):
    assert due(token_set(0, left, lifetime), 0, 300) is expected


def test_how_long_before_its_end_a_token_is_renewed_is_a_setting():
    for renew_before, left, expected in [(60, 61, Due.LATER), (60, 60, Due.SOON), (0, 16, Due.LATER), (0, 15, Due.NOW)]:
        assert due(token_set(0, left, 3600), 0, renew_before) is expected


def test_a_rejected_token_is_due_now_and_another_one_is_not():
    assert due(token_set(0, 3600, 3600), 0, 300, "access") is Due.NOW
    assert due(token_set(0, 3600, 3600), 0, 300, "older") is Due.LATER


@hostile
@given(st.floats(0.001, 31_536_000), st.floats(-1e6, 31_536_000), st.floats(0, 86_400))
def test_is_due_never_says_no_when_fresh_would_do_something(lifetime, left, renew_before):
    workers = Workers(renew_before=renew_before)
    now = workers.clock()
    found = dataclasses.replace(token_set(now, left, lifetime))
    session = Session("id", 0, now, now, found, {})
    if due(found, now, renew_before) is not Due.LATER:
        assert workers.process().renewal.is_due(session)


async def test_a_fresh_session_costs_nothing(workers, process):
    session = await workers.sign_in()
    assert await process.renewal.fresh(session) is session
    assert workers.steps == []


# --- the order of steps ---


async def test_the_order_of_steps(workers, process):
    session = await workers.expired()
    await process.metadata.keys()
    workers.steps.clear()
    renewed = await process.renewal.fresh(session)
    assert workers.steps == [
        "lock",  # 2
        "get session",  # 3
        "get trouble",
        "shield",
        "take lease",  # 4
        "get session",  # 5
        "get trouble",
        "renew lease",
        "refresh",  # 6
        "renew lease",
        "sleep",
        "swap session",  # 7
        "release lease",  # 8
        *(["lock", "get index", "swap index", "unlock"] if process.index else []),  # 9
        "unlock",
    ]
    assert renewed.generation == 1
    assert workers.server.sent == [session.tokens.refresh_token]


async def test_of_one_that_is_listed_a_renewal_makes_sure_and_writes_no_list():
    workers = Workers(sessions="store")
    session = await workers.expired()
    process = workers.process()
    await process.index.add(session)
    workers.steps.clear()
    await process.renewal.fresh(session)
    assert [step for step in workers.steps if step.endswith("index")] == ["get index"]


@pytest.mark.parametrize("trouble", ["get index", "swap index"])
async def test_a_list_that_cannot_be_written_now_is_in_no_renewals_way(trouble):
    workers = Workers(backchannel_logout=True)
    session = await workers.expired()
    workers.store.fails = {trouble}
    renewed = await workers.process().renewal.fresh(session)
    assert renewed.generation == 1
    workers.store.fails = set()
    workers.clock.advance(3600)
    await workers.process().renewal.fresh(renewed)
    [entry] = await workers.process().index.entries("sub person-1")
    assert entry.session_id == session.id, "the next one lists it"


async def test_what_could_not_be_saved_is_not_listed_either_while_a_request_waits():
    workers = Workers(backchannel_logout=True)
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    process = workers.process()
    assert (await process.renewal.fresh(session)).generation == 1
    assert session.id in process.renewal.unsaved
    assert not [step for step in workers.steps if step.endswith("index")]


@pytest.mark.parametrize(
    ("claims", "asked"), [({"iss": BASE, "sub": "person-1"}, True), ({"sub": "api-user-1"}, False)]
)
async def test_keys_that_will_be_needed_are_read_before_the_lease(claims, asked):
    workers = Workers()
    session = dataclasses.replace(await workers.expired(), claims=claims)
    await workers.process().renewal.fresh(session)
    before = workers.steps[: workers.steps.index("take lease")]
    assert ("fetch" in before) is asked


async def test_what_a_renewal_changes_and_what_it_keeps(workers, process):
    session = await workers.expired()
    renewed = await process.renewal.fresh(session)
    now = workers.clock()
    assert renewed.tokens.refresh_token == workers.server.current
    assert renewed.tokens.access_token != session.tokens.access_token
    assert (renewed.tokens.expires_at, renewed.tokens.lifetime) == (now + 3600, 3600)
    assert (renewed.seen, renewed.id, renewed.began, renewed.claims) == (now, session.id, session.began, session.claims)
    assert await workers.recorded(session) == renewed
    assert not [key for key in workers.store.entries() if key.startswith(("lease:", "trouble:"))]


async def test_the_life_of_a_token_counts_from_before_it_was_asked_for(workers, process):
    session = await workers.expired()
    asked_at = workers.clock()
    workers.server.during["refresh"] = lambda: passing(workers, 9)
    assert (await process.renewal.fresh(session)).tokens.expires_at == asked_at + 3600


async def passing(workers: Workers, seconds: float) -> None:
    workers.clock.advance(seconds)


async def test_what_the_server_leaves_out_stays(workers, process):
    session = await workers.expired()
    workers.server.answer = {"access_token": "new", "token_type": "Bearer"}
    renewed = await process.renewal.fresh(session)
    assert renewed.tokens.refresh_token == session.tokens.refresh_token
    assert renewed.tokens.scope == session.tokens.scope


async def test_a_narrower_scope_is_recorded(workers, process):
    session = await workers.expired()
    workers.server.extra = {"scope": "openid"}
    assert (await process.renewal.fresh(session)).tokens.scope == ("openid",)


async def test_an_old_copy_finds_the_newest_and_asks_nobody(workers, process):
    session = await workers.expired()
    renewed = await process.renewal.fresh(session)
    workers.steps.clear()
    assert await workers.process().renewal.fresh(session) == renewed
    assert workers.steps == ["lock", "get session", "unlock"]


async def test_each_renewal_raises_the_generation_and_spends_the_newest_refresh_token(workers):
    first = session = await workers.expired()
    for generation in (1, 2, 3):
        session = await workers.process().renewal.fresh(first)  # the browser kept its first cookie
        assert session.generation == generation
        workers.clock.advance(3600)
    assert workers.server.reused == []


# --- one flight ---


async def test_many_requests_in_many_processes_refresh_once(workers):
    session = await workers.expired()
    workers.suspend()
    processes = [workers.process() for _ in range(4)]
    for process in processes:
        process.world.clock_moves = False
    found = await asyncio.gather(*(process.renewal.fresh(session) for process in processes for _ in range(50)))
    assert workers.server.sent == [session.tokens.refresh_token]
    assert {one.tokens.access_token for one in found} == {(await workers.recorded(session)).tokens.access_token}


async def test_two_sessions_do_not_wait_for_each_other(workers, process):
    one, other = await workers.expired(), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.server.current = one.tokens.refresh_token
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(one))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    workers.server.answer = {"access_token": "other", "token_type": "bearer"}
    assert (await process.renewal.fresh(other)).tokens.access_token == "other"
    assert not first.done()
    held.set()
    assert (await first).tokens.access_token != "other"


async def test_in_the_soft_window_one_renews_and_nobody_waits(workers, process):
    session = await workers.nearly_expired()
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    workers.steps.clear()
    assert await process.renewal.fresh(session) is session  # the same process
    assert workers.steps == []
    assert await workers.process().renewal.fresh(session) is session  # another one
    assert "sleep" not in workers.steps
    held.set()
    assert (await first).generation == 1
    assert len(workers.server.sent) == 1


async def test_in_the_hard_window_everybody_waits_for_the_one(workers, process):
    session = await workers.expired()
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(process.renewal.fresh(session))
    other = workers.process()
    other.world.during_sleep = release_after(held, 5)
    third = asyncio.ensure_future(other.renewal.fresh(session))
    found = await asyncio.gather(first, second, third)
    assert {one.generation for one in found} == {1}
    assert len(workers.server.sent) == 1
    assert other.world.slept[:3] == pytest.approx([POLL[0], POLL[0] * 1.5, POLL[0] * 1.5**2])


# --- the ID token of a refresh ---


@pytest.mark.parametrize("kind", ["cookie", "store"])
async def test_the_id_token_is_kept_for_a_logout_at_the_server(kind):
    workers = Workers(sessions=kind, end_session=True)
    session = await workers.expired(id_token="first")
    assert (await workers.process().renewal.fresh(session)).tokens.id_token == "first"
    workers.clock.advance(3600)
    second = workers.server.extra["id_token"] = id_token(workers.clock())
    assert (await workers.process().renewal.fresh(session)).tokens.id_token == second


# --- no refresh token, rejected tokens ---


async def test_without_a_refresh_token_it_lives_as_long_as_its_access_token(workers, process):
    session = await workers.sign_in(refresh_token=None)
    workers.clock.advance(3599)
    assert await process.renewal.fresh(session) is session
    workers.clock.advance(1)
    with pytest.raises(SessionEnded) as raised:
        await process.renewal.fresh(session)
    assert raised.value.reason == "expired"
    assert workers.steps == []


async def test_a_token_that_the_api_rejected_is_renewed_though_it_lives(workers, process):
    session = await workers.sign_in()
    renewed = await process.renewal.fresh(session, rejected=session.tokens.access_token)
    assert renewed.generation == 1
    assert await process.renewal.fresh(renewed, rejected=session.tokens.access_token) is renewed


@pytest.mark.parametrize("back", [-61, -7200, -86_400])
async def test_a_token_of_a_time_that_lies_ahead_is_renewed_when_the_api_rejects_it(workers, process, back):
    """Its birth lies ahead, since the clock was wrong, and so it is no newborn."""
    renewed = await process.renewal.fresh(await workers.expired())
    workers.clock.advance(back)
    newer = await process.renewal.fresh(renewed, rejected=renewed.tokens.access_token)
    assert newer.generation == 2


async def test_many_rejections_refresh_once(workers):
    session = await workers.sign_in()
    workers.suspend()
    processes = [workers.process() for _ in range(3)]
    found = await asyncio.gather(
        *(one.renewal.fresh(session, rejected=session.tokens.access_token) for one in processes for _ in range(20))
    )
    assert {one.generation for one in found} == {1}
    assert len(workers.server.sent) == 1


async def test_a_rejected_token_does_not_outlast_trouble(workers, process):
    session = await workers.sign_in()
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session, rejected=session.tokens.access_token)


async def test_a_rejected_token_without_a_refresh_token_is_the_end(workers, process):
    session = await workers.sign_in(refresh_token=None)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session, rejected=session.tokens.access_token)


# --- the end wins ---


async def test_the_end_wins_over_a_renewal(workers, process):
    session = await workers.expired()
    workers.server.during["refresh"] = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [workers.server.current]
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(session)


async def test_the_end_wins_even_while_the_access_token_lives(workers, process):
    session = await workers.nearly_expired()
    workers.server.during["refresh"] = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)


async def test_the_end_wins_over_what_was_not_saved(workers, process):
    session = await workers.expired()
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    workers.store.fails = set()
    await workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)


async def test_an_ended_session_is_not_renewed(workers, process):
    session = await workers.expired()
    await workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


# --- cancellation ---


async def gone_away(process: Any, session: Session, hooks: dict[str, Any], step: str) -> None:
    """A request whose renewal is at a step when it goes away."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await go_on.wait()

    hooks[step] = pause
    task = asyncio.ensure_future(process.renewal.fresh(session))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()


@pytest.mark.parametrize("step", ["get session", "take lease", "renew lease", "refresh", "swap session"])
async def test_a_request_that_goes_away_loses_no_token(workers, process, step):
    """Wherever it is cut off, whoever comes next has a session, and no refresh token is sent twice."""
    session = await workers.expired()
    await gone_away(process, session, workers.server.during if step == "refresh" else workers.store.before, step)
    found = await asyncio.gather(process.renewal.fresh(session), workers.process().renewal.fresh(session))
    assert {one.generation for one in found} == {1}
    assert workers.server.sent == [session.tokens.refresh_token]
    assert workers.server.reused == []


# --- what is told ---


@pytest.mark.parametrize("error", [OAuthError("invalid_grant"), OAuthError("invalid_client"), ServerUnavailable("x")])
async def test_no_token_is_logged_or_shown(workers, process, caplog, error):
    caplog.set_level(logging.DEBUG)
    session = await workers.expired()
    workers.server.answer = error
    workers.store.fails = {"release lease", "swap trouble"}
    with pytest.raises(LuminError) as raised:
        await process.renewal.fresh(session)
    shown = caplog.text + repr(raised.value) + str(raised.value) + repr(session)
    assert session.tokens.access_token not in shown
    assert session.tokens.refresh_token not in shown
    assert session.id not in shown


def test_a_key_of_the_store_does_not_name_the_session():
    assert digest("id") != "id"


async def test_an_open_circuit_costs_no_lease_and_says_nothing_of_the_session(workers, process):
    session = await workers.expired()
    await open_circuit(process.token_endpoint.refreshes, said=120)
    with pytest.raises(CircuitOpen) as caught:
        await process.renewal.fresh(session)
    assert caught.value.retry_after == 120
    assert failures(process) == []  # nobody was asked
    assert not {"take lease", "swap trouble"} & set(workers.steps)
    workers.clock.advance(120)
    assert (await process.renewal.fresh(session)).generation == 1


async def test_a_circuit_that_opens_under_the_lease_says_nothing_of_the_session(workers, process):
    session = await workers.expired()
    workers.store.before["renew lease"] = lambda: open_circuit(process.token_endpoint.refreshes, said=120)
    with pytest.raises(CircuitOpen):
        await process.renewal.fresh(session)
    assert not workers.leased(session)
    assert "swap trouble" not in workers.steps
    workers.clock.advance(120)
    assert (await process.renewal.fresh(session)).generation == 1


async def test_a_circuit_that_is_open_for_a_moment_is_waited_for(workers, process):
    session = await workers.expired()
    await open_circuit(process.token_endpoint.refreshes)
    assert (await process.renewal.fresh(session)).generation == 1
    assert 1.0 in process.world.slept
    assert len(workers.server.sent) == 1


def failures(process) -> list[RenewalFailed]:
    return [event for event in process.world.events if isinstance(event, RenewalFailed)]


@pytest.mark.parametrize("trouble", ["server", "store"])
@pytest.mark.parametrize("lives", [True, False], ids=["lives", "is dead"])
async def test_each_attempt_that_fails_is_told_of_once_whether_or_not_the_token_lives(workers, process, lives, trouble):
    session = await (workers.nearly_expired() if lives else workers.expired())
    if trouble == "server":
        workers.server.answer = ServerUnavailable("down")
    else:
        workers.store.fails = {"get session"}
    if lives:
        assert await process.renewal.fresh(session) == session
    else:
        with pytest.raises((ServerUnavailable, StoreUnavailable)):
            await process.renewal.fresh(session)
    once = (session_name(session.id), "renewal_failed")
    assert [(event.session, event.reason) for event in failures(process)] == [once] * max(len(workers.server.sent), 1)


async def test_whoever_waits_for_an_attempt_that_fails_or_comes_in_the_pause_after_it_tells_nothing(workers, process):
    session = await workers.nearly_expired()
    workers.server.answer = ServerUnavailable("down", retry_after=120, said=120)
    alongside = [process.renewal.fresh(session, rejected=session.tokens.access_token) for _ in range(5)]
    found = await asyncio.gather(*alongside, return_exceptions=True)
    assert {type(each) for each in found} == {ServerUnavailable, CircuitOpen}
    other = workers.process()
    for each in (process, other):
        assert await each.renewal.fresh(session) == session
    assert len(workers.server.sent) == 1
    assert len(failures(process)) == 1
    assert failures(other) == []


async def test_an_attempt_that_fails_is_told_of_although_its_request_went_away(workers, process):
    session = await workers.expired()
    workers.server.answer = ServerUnavailable("down", retry_after=120, said=120)
    await gone_away(process, session, workers.server.during, "refresh")
    with pytest.raises(CircuitOpen):
        await process.renewal.fresh(session)
    with pytest.raises(InPause):
        await workers.process().renewal.fresh(session)
    assert len(failures(process)) == 1
