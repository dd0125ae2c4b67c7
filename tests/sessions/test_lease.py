"""Of all processes one at a time renews a session, and none that died holds the others up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import suppress

import pytest

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import (
    SessionEnded,
    StoreUnavailable,
)
from lumin_middleware.events import Adopted
from lumin_middleware.ports import Answer
from lumin_middleware.sessions.lease import MARGIN, POLL, SAVING, TTL, Lease, dead_after
from lumin_middleware.sessions.records import digest
from tests.fakes import (
    BASE,
    SERVER,
    Workers,
    id_token,
    signing_key,
    token_set,
)

LEASE_TIME = dead_after(10.0)


async def test_the_lease_of_a_process_that_died_runs_out(workers, process):
    session = await workers.expired()
    workers.lease(session, LEASE_TIME)
    assert (await process.renewal.fresh(session)).generation == 1
    assert LEASE_TIME <= sum(process.world.slept) <= LEASE_TIME + 2 * POLL[1]
    assert max(process.world.slept) <= POLL[1]
    assert len(workers.server.sent) == 1


async def test_who_waits_for_the_lease_adopts_what_its_holder_saves(workers, process):
    session = await workers.expired()
    workers.lease(session, LEASE_TIME)
    newer = dataclasses.replace(session, generation=1, tokens=token_set(workers.clock(), 3600, 3600))

    async def the_holder_saves() -> None:
        process.world.during_sleep = None
        other = workers.process().sessions
        assert await other.replace(await other.newest(session), newer)

    process.world.during_sleep = the_holder_saves
    found = await process.renewal.fresh(session)
    assert (found.generation, found.tokens) == (1, newer.tokens)
    assert workers.server.sent == []
    assert len(process.world.slept) == 1
    assert [type(each) for each in process.world.events] == [Adopted]


async def test_who_need_not_wait_for_the_lease_has_adopted_nothing(workers, process):
    session = await workers.nearly_expired()
    workers.lease(session, LEASE_TIME)
    assert (await process.renewal.fresh(session)).generation == 0
    assert process.world.events == []


async def test_who_waits_for_the_lease_learns_that_the_session_was_ended(workers, process):
    session = await workers.expired()
    workers.lease(session, LEASE_TIME)
    process.world.during_sleep = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


async def test_a_lease_whose_holder_does_nothing_is_taken_over(workers, process):
    """However long the store would keep it: the holder may have taken it by a clock that was hours ahead."""
    session = await workers.expired()
    workers.lease(session, 1e6)
    assert (await process.renewal.fresh(session)).generation == 1
    assert LEASE_TIME < sum(process.world.slept) < LEASE_TIME + 1
    assert len(workers.server.sent) == 1


@pytest.mark.parametrize(("timeout", "own"), [(60, 10), (10, 60), (10, 10)])
async def test_a_holder_says_how_long_it_may_do_nothing(workers, timeout, own):
    """Its `timeout` may be longer than that of whoever waits, as while a new setting is deployed."""
    session = await workers.expired()
    holder = Lease(workers.process().world, session, timeout)
    world = workers.process().world

    async def nothing() -> None: ...

    assert await holder.take(nothing) is None
    with suppress(StoreUnavailable):
        await Lease(world, session, own).take(nothing)
    longest = max(timeout, own, sum(SAVING)) + MARGIN
    assert longest < sum(world.slept) < longest + 1


@pytest.mark.parametrize(
    "value", [b"owner", b"owner 0", b"owner 0 x", b"owner 0 inf", b"owner 0 nan", b"owner 0 -1", b""]
)
async def test_a_holder_that_says_nothing_sensible_is_waited_for_no_longer_than_any(workers, value):
    session = await workers.expired()
    workers.store.memory.swap(f"lease:{digest(session.id)}", None, value, 1e6)
    world = workers.process().world

    async def nothing() -> None: ...

    assert await Lease(world, session, 10).take(nothing) is None
    assert sum(world.slept) < dead_after(120) + 1


async def test_while_the_store_is_away_no_lease_is_taken_over(workers, process):
    """Its holder may have new tokens to save as soon as it is back."""
    session = await workers.expired()
    holder = Lease(workers.process().world, session, 10)

    async def nothing() -> None: ...

    assert await holder.take(nothing) is None
    workers.store.fails = {
        f"{verb} {kind}" for verb in ("get", "swap", "take", "renew") for kind in ("session", "lease")
    }
    for _ in range(4):
        with pytest.raises(StoreUnavailable):
            await process.renewal.fresh(session)
        workers.clock.advance(sum(SAVING))
    workers.store.fails = set()

    async def the_holder_saves() -> None:
        process.world.during_sleep = None
        other = workers.process().sessions
        assert await other.replace(await other.newest(session), newer)

    newer = dataclasses.replace(session, generation=1, tokens=token_set(workers.clock(), 3600, 3600))
    process.world.during_sleep = the_holder_saves
    assert (await process.renewal.fresh(session)).generation == 1
    assert workers.server.sent == []


async def test_of_those_who_would_take_it_over_one_does_at_a_time(workers):
    """Here each that does so does nothing with it."""
    session = await workers.expired()
    workers.lease(session, 1e6)
    leases = [Lease(workers.process().world, session, 10) for _ in range(3)]

    async def nothing() -> None: ...

    found = await asyncio.gather(*(lease.take(nothing) for lease in leases), return_exceptions=True)
    assert [type(each) for each in found if each is not None] == [StoreUnavailable]
    assert found.count(None) == 2


async def test_a_holder_who_lives_keeps_it_however_long_others_wait(workers, process):
    session = await workers.expired()
    lease = Lease(workers.process().world, session, 10)

    async def nothing() -> None: ...

    assert await lease.take(nothing) is None
    process.world.during_sleep = lease.keep
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)
    assert 2 * LEASE_TIME < sum(process.world.slept) < 2 * LEASE_TIME + 2
    assert workers.server.sent == []
    await lease.release()
    assert not workers.leased(session)


async def test_a_lease_that_is_kept_in_an_answer_that_gets_lost_is_still_ours(workers):
    session = await workers.expired()
    lease = Lease(workers.process().world, session, 10)

    async def nothing() -> None: ...

    assert await lease.take(nothing) is None
    workers.store.loses = {"renew lease"}
    assert await lease.keep()
    workers.store.loses = set()
    await lease.release()
    assert not workers.leased(session)


async def test_a_lease_that_a_slow_store_used_up_is_not_used(workers, process):
    session = await workers.expired()

    async def slow() -> None:
        workers.store.before["get session"] = slower  # the second look, under the lease

    async def slower() -> None:
        workers.clock.advance(10 + TTL)

    workers.store.before["get session"] = slow
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


DISCOVERED = {
    "issuer": BASE,
    "authorization_endpoint": f"{BASE}/oauth2/auth",
    "token_endpoint": f"{BASE}/oauth2/token",
    "jwks_uri": f"{BASE}/.well-known/jwks.json",
    "revocation_endpoint": f"{BASE}/oauth2/revoke",
}


@pytest.mark.parametrize(
    "case", ["no keys yet", "a key that is not known yet", "nothing discovered yet", "no identity"]
)
async def test_the_lease_outlasts_every_answer_that_is_waited_for_under_it(case):
    """Each answer may take `timeout`; a process that got the lease meanwhile would spend the same token again."""
    server = AuthorizationServer.discover(BASE) if case == "nothing discovered yet" else SERVER
    workers = Workers(server=server)
    workers.server.documents[f"{BASE}/.well-known/openid-configuration"] = json_answer(DISCOVERED)
    process, session = workers.process(), await workers.expired()
    if case == "no identity":
        session = dataclasses.replace(session, claims={})
    kid = "key-1"
    if case == "a key that is not known yet":
        await process.metadata.keys()
        kid = "key-2"
        workers.server.documents[f"{BASE}/.well-known/jwks.json"] = json_answer(
            {"keys": [{**signing_key().as_dict(private=False), "kid": kid}]}
        )
    workers.server.extra = {"id_token": id_token(workers.clock(), header={"kid": kid})}
    begun: dict[bytes, float] = {}
    lost = []

    def nearly_too_slow() -> None:
        held = workers.leased(session)
        if held is not None:
            begun.setdefault(held, workers.clock())
        workers.clock.advance(9.9)
        if held is not None and workers.clock() - begun[held] > LEASE_TIME:
            lost.append(workers.steps[-1])

    workers.server.during_each = nearly_too_slow
    assert (await process.renewal.fresh(session)).generation == 1
    assert workers.server.sent == [session.tokens.refresh_token]
    assert lost == []
    assert begun


def json_answer(document: object) -> Answer:
    return Answer(200, "application/json", json.dumps(document).encode())


async def test_a_lease_that_cannot_be_released_is_logged_and_harms_nobody(workers, process, caplog):
    session = await workers.expired()
    workers.store.fails = {"release lease"}
    assert (await process.renewal.fresh(session)).generation == 1
    assert "lease" in caplog.text


async def test_a_crash_after_the_save_costs_nothing(workers, process):
    """The holder saved and died before it could release: whoever comes next reads the record."""
    session = await workers.expired()
    workers.store.fails = {"release lease"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    workers.steps.clear()
    assert await workers.process().renewal.fresh(session) == renewed
    assert "sleep" not in workers.steps


async def test_a_lease_whose_taking_was_not_answered_is_in_nobodys_way(workers, process):
    session = await workers.expired()
    workers.store.loses = {"take lease"}

    async def recover() -> None:
        workers.store.loses = set()

    workers.store.before["get lease"] = recover
    assert (await process.renewal.fresh(session)).generation == 1
    assert not workers.leased(session)


@pytest.mark.parametrize("timeout", [0.1, 1.0, 6.5, 10.0, 60.0])
def test_a_lease_outlives_the_longest_answer_and_all_attempts_to_save(timeout):
    """Whoever gets it while the renewed session is not saved yet spends a refresh token that is spent already."""
    assert dead_after(timeout) > max(timeout, sum(SAVING))
