"""The lists of grants: whoever connects or disconnects at the same time, nobody is missing and nobody too many."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from lumin_middleware.errors import SessionEnded, StoreUnavailable
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions import grants
from lumin_middleware.sessions.grants import (
    BUCKETS,
    FOREVER,
    LISTED_LIMIT,
    RESERVED,
    Granted,
    GrantRecords,
    Listed,
    Lists,
)
from lumin_middleware.sessions.records import Record, Records
from lumin_middleware.sessions.sealing import KeyMissing
from tests.fakes import Store, World
from tests.fakes import config as make_config
from tests.site_rig import Clock


def listed(number: int = 0, **fields: Any) -> Listed:
    return Listed(**{"id": f"id-{number}", "name": "default", "workspace": None, "connected_at": 5.0, **fields})


def grant_of(world: World) -> Session:
    tokens = TokenSet("access", world.clock() + 3600, 3600, ("openid", "offline_access"), "refresh")
    return Session("an-id", 0, world.clock(), world.clock(), tokens, {"sub": "mira"})


@pytest.fixture
def world() -> World:
    """Whose store lets others run in between."""
    clock = Clock()
    store = Store(clock, [])
    store.suspends = True
    return World(store, None, clock)


@pytest.fixture
def config() -> Any:
    return make_config()


@pytest.fixture
def lists(config: Any, world: World) -> Lists:
    return Lists(config, world)


async def test_a_name_and_a_workspace_have_one_grant(lists: Lists) -> None:
    assert await lists.add("mira", listed(1)) == []
    assert await lists.add("mira", listed(2, name="night")) == []
    assert await lists.add("mira", listed(3, workspace="ws")) == []
    assert await lists.add("mira", listed(4)) == [listed(1)]
    assert [each.id for each in await lists.of("mira")] == ["id-1", "id-2", "id-3", "id-4"]
    await lists.remove("mira", ["id-1"])  # as it has ended
    assert [each.id for each in await lists.of("mira")] == ["id-2", "id-3", "id-4"]


async def test_a_list_is_bounded_and_says_what_it_pushes_out(lists: Lists) -> None:
    for number in range(LISTED_LIMIT):
        assert await lists.add("mira", listed(number, name=f"n{number}")) == []
    assert await lists.add("mira", listed(500, name="one more")) == [listed(0, name="n0")]
    await lists.remove("mira", ["id-0"])
    assert len(await lists.of("mira")) == LISTED_LIMIT


async def test_everybody_who_connects_at_once_is_a_subject(lists: Lists) -> None:
    people = [f"person {number}" for number in range(3 * BUCKETS)]
    await asyncio.gather(*(lists.add(subject, listed(number)) for number, subject in enumerate(people)))
    assert sorted(await lists.subjects()) == sorted(people)
    await asyncio.gather(*(lists.remove(subject, [f"id-{number}"]) for number, subject in enumerate(people)))
    assert await lists.subjects() == []


async def test_whoever_connects_while_their_last_grant_goes_is_still_a_subject(lists: Lists) -> None:
    for turn in range(20):
        await lists.add("mira", listed(turn, name="old"))
        await asyncio.gather(lists.remove("mira", [f"id-{turn}"]), lists.add("mira", listed(1000 + turn)))
        assert await lists.subjects() == ["mira"]
        await lists.remove("mira", [f"id-{1000 + turn}"])
        assert await lists.subjects() == []


async def test_lists_are_sealed_anew_with_the_newest_key(config: Any, world: World) -> None:
    await Lists(config, world).add("mira", listed())
    old, new = config.secret_key, secrets.token_bytes(32)
    both = Lists(replace(config, secret_key=[new, old]), world)
    assert (await both.of("mira"), await both.subjects()) == ([listed()], ["mira"])
    alone = Lists(replace(config, secret_key=new), world)
    assert (await alone.of("mira"), await alone.subjects()) == ([listed()], ["mira"])


async def test_lists_can_be_read_while_the_store_takes_no_new_seal(config: Any, world: World) -> None:
    await Lists(config, world).add("mira", listed())
    both = Lists(replace(config, secret_key=[secrets.token_bytes(32), config.secret_key]), world)
    world.store.fails = {"swap grants", "swap subjects"}
    assert (await both.of("mira"), await both.subjects()) == ([listed()], ["mira"])


async def test_a_grant_can_be_used_while_the_store_takes_no_new_seal(config: Any, world: World) -> None:
    grant = grant_of(world)
    await GrantRecords(config, world).begin(grant)
    both = GrantRecords(replace(config, secret_key=[secrets.token_bytes(32), config.secret_key]), world)
    world.store.fails = {"swap grant"}
    assert await both.opened(grant.id) == grant


def neighbour(subject: str) -> str:
    """Somebody else whose name is in the same list."""
    return next(each for each in map(str, itertools.count()) if grants._bucket_of(each) == grants._bucket_of(subject))


async def test_a_list_of_an_unknown_key_is_empty_to_who_looks_and_nobody_changes_it(
    config: Any, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    own = Lists(config, world)
    await own.add("mira", listed())
    await own.add(neighbour("mira"), listed(1))
    before = world.store.entries()
    stranger = Lists(replace(config, secret_key=secrets.token_bytes(32)), world)
    assert (await stranger.of("mira"), await stranger.subjects()) == ([], [])
    assert "grants_unreadable: " in caplog.text
    for subject in ("mira", neighbour("mira")):
        with pytest.raises(KeyMissing, match="all keys that are in use"):
            await stranger.add(subject, listed(2))
        for gone in ([], ["id-0"]):
            with pytest.raises(KeyMissing, match="abandon_unreadable"):
                await stranger.remove(subject, gone)
    assert world.store.entries() == before
    assert await own.of("mira") == [listed()]
    assert sorted(await own.subjects()) == sorted(["mira", neighbour("mira")])


async def test_where_a_key_is_lost_what_it_sealed_is_given_up_once_and_for_all(config: Any, world: World) -> None:
    await Lists(config, world).add("mira", listed())
    left = Lists(replace(config, secret_key=secrets.token_bytes(32)), world)
    other = next(each for each in map(str, range(1000)) if grants._bucket_of(each) != grants._bucket_of("mira"))
    await left.add(other, listed(1))
    world.clock.advance(60)
    await left.abandon()
    world.clock.advance(60)
    assert await left.subjects() == [other]
    await left.add("mira", listed(2))
    assert await left.of("mira") == [listed(2)]
    assert sorted(await left.subjects()) == sorted([other, "mira"])
    with pytest.raises(KeyMissing):  # who has not that key gives up nothing by it
        await Lists(replace(config, secret_key=secrets.token_bytes(32)), world).add("mira", listed(3))


async def test_what_is_sealed_after_that_is_not_given_up(config: Any, world: World) -> None:
    left = Lists(replace(config, secret_key=secrets.token_bytes(32)), world)
    await left.abandon()
    world.clock.advance(1)
    await Lists(config, world).add("mira", listed())
    with pytest.raises(KeyMissing):
        await left.add("mira", listed(1))
    assert await Lists(config, world).of("mira") == [listed()]


@pytest.mark.parametrize("lifetime", [None, 600])
async def test_a_grant_has_no_limit_but_its_lifetime(config: Any, world: World, lifetime: float | None) -> None:
    records = GrantRecords(replace(config, grant_lifetime=lifetime), world)
    grant = grant_of(world)
    await records.begin(grant)
    assert await records.opened(grant.id) == grant
    world.clock.now += (lifetime or FOREVER / 2) - 1
    records.check_limits(grant)
    assert await records.opened(grant.id) == grant
    world.clock.now += FOREVER
    with pytest.raises(SessionEnded):
        records.check_limits(grant)
    assert await records.opened(grant.id) is None


async def test_a_session_s_record_is_no_grant(config: Any, world: World) -> None:
    session = grant_of(world)
    await Records(config, world).replace(Record(None, session), session, 600)
    assert await GrantRecords(config, world).opened(session.id) is None


# --- a store that fails in the middle -------------------------------------------------------------------


class Lumin:
    """Stands for the token endpoint, and knows whose tokens were revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def revoke(self, tokens: TokenSet) -> None:
        assert tokens.refresh_token is not None
        self.revoked.add(tokens.refresh_token)


class Failing(Store):
    """Which fails from its so-manieth call on, for so many calls; those it `answers_late` it has done all the same."""

    left: float = float("inf")
    failures: float = 0
    answers_late = False

    async def _do(self, step: str, action: Any) -> Any:
        self.left -= 1
        if self.left > 0 or self.left <= -self.failures:
            return await super()._do(step, action)
        if self.answers_late:
            action()
        raise StoreUnavailable(f"{step} fails")


class Person:
    """Connects as `sign_in` does: whatever is not kept is revoked at Lumin. The records that live are `alive`."""

    def __init__(self, config: Any) -> None:
        self.clock = Clock()
        self.store = Failing(self.clock, [])
        self.lumin = Lumin()
        metadata: Any = None
        endpoint: Any = self.lumin
        self.granted, self.elsewhere = (
            Granted(config, World(self.store, None, self.clock), metadata, endpoint) for process in range(2)
        )
        self.records = GrantRecords(config, World(self.store, None, self.clock))
        self.ids: list[str] = []

    async def connect(self, grant_id: str, name: str = "default") -> bool:
        tokens = TokenSet("access", self.clock() + 3600, 3600, ("openid",), grant_id)
        grant = Session(grant_id, 0, self.clock(), self.clock(), tokens, {"sub": "mira"})
        self.ids.append(grant_id)
        try:
            await self.granted.keep("mira", name, None, grant)
        except StoreUnavailable:
            await self.lumin.revoke(tokens)
            return False
        return True

    async def listed(self) -> set[str]:
        return {each.id for each, _ in await self.granted.of("mira")}

    async def alive(self) -> set[str]:
        return {each for each in self.ids if await self.records.opened(each) is not None}

    def fail(self, call: float, failures: float, *, answers_late: bool = False) -> None:
        self.store.left, self.store.failures, self.store.answers_late = call, failures, answers_late

    def heal(self) -> bool:
        """Whether the store has failed since."""
        failed = self.store.left <= 0
        self.store.left = float("inf")
        return failed


CALLS = range(1, 26)
"""Connecting in the place of another asks the store so often, or less."""

FAILURES = [1, float("inf")]
"""One call fails, or all from there on, those that clean up among them."""


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("failures", FAILURES)
@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("call", CALLS)
async def test_wherever_connecting_fails_what_lives_is_listed_and_can_be_ended(
    config: Any, call: int, others: int, failures: float, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "LISTED_LIMIT", 4)
    person = Person(config)
    for number in range(others):
        assert await person.connect(f"other-{number}", f"n{number}")
    if others:
        assert await person.connect("old")
    person.fail(call, failures, answers_late=late)
    connected = await person.connect("new")
    if not person.heal():
        assert connected
        assert call > 1
    alive, listed = await person.alive(), await person.listed()
    assert alive == listed
    if not (late and failures > 1):  # what the store has done and then hides, nobody can take back
        assert (listed - {"old"}).isdisjoint(person.lumin.revoked)
        assert ("new" in alive) == connected
        assert connected or "old" not in person.lumin.revoked
        assert connected == ("new" not in person.lumin.revoked)
    assert {each for each in person.ids if each.startswith("other")} <= listed
    assert await person.granted.subjects() == ["mira"] or not listed
    assert await person.granted.revoke("mira") >= len(listed)
    assert (await person.alive(), await person.listed(), await person.granted.subjects()) == (set(), set(), [])
    assert alive <= person.lumin.revoked
    person.clock.now += RESERVED
    assert person.store.entries() == {}


async def test_the_calls_are_all_of_them(config: Any) -> None:
    person = Person(config)
    assert await person.connect("old")
    person.fail(CALLS[-1], 1)
    assert await person.connect("new")
    assert not person.heal()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("failures", FAILURES)
@pytest.mark.parametrize("call", CALLS)
async def test_wherever_a_revocation_fails_what_lives_is_listed_and_the_next_ends_it(
    config: Any, call: int, failures: float, late: bool
) -> None:
    person = Person(config)
    for name in ("a", "b", "c"):
        assert await person.connect(name, name)
    person.fail(call, failures, answers_late=late)
    with suppress(StoreUnavailable):
        await person.granted.revoke("mira")
    person.heal()
    alive = await person.alive()
    assert await person.listed() == alive
    assert {"a", "b", "c"} - alive <= person.lumin.revoked
    await person.granted.revoke("mira")
    assert (await person.alive(), await person.granted.subjects()) == (set(), [])
    assert person.lumin.revoked == {"a", "b", "c"}
    assert person.store.entries() == {}


async def test_whoever_looks_while_another_connects_takes_nothing_off_the_list(config: Any) -> None:
    for step in ("swap subjects", "swap grants", "get subjects", "swap grant"):
        person = Person(config)
        person.store.before[step] = lambda person=person: person.elsewhere.of("mira")  # type: ignore[misc]
        assert await person.connect("new")
        assert await person.listed() == {"new"}


@pytest.mark.parametrize("call", CALLS)
async def test_a_revocation_while_somebody_connects_misses_nothing_that_lives(config: Any, call: int) -> None:
    person = Person(config)
    assert await person.connect("old")
    do, count = person.store._do, 0

    async def counted(step: str, action: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            await person.elsewhere.revoke("mira")
        return await do(step, action)

    person.store._do = counted  # type: ignore[method-assign]
    connected = await person.connect("new")
    person.store._do = do  # type: ignore[method-assign]
    alive = await person.alive()
    assert await person.listed() == alive
    assert alive.isdisjoint(person.lumin.revoked)
    assert connected or alive == set()
    assert set(await person.granted.subjects()) == ({"mira"} if alive else set())


async def test_a_store_that_is_away_does_not_end_a_grant_whose_token_lives() -> None:
    person = Person(make_config())
    assert await person.connect("a-grant")
    [(_, grant)] = await person.granted.of("mira")
    person.fail(1, 100)
    assert await person.granted.fresh(grant) == grant
    assert person.heal()


# --- a process with another key -------------------------------------------------------------------------


def with_another_key(person: Person) -> Granted:
    settings = make_config(secret_key=secrets.token_bytes(32))
    metadata: Any = None
    endpoint: Any = person.lumin
    return Granted(settings, World(person.store, None, person.clock), metadata, endpoint)


async def test_a_process_of_another_key_neither_connects_nor_revokes_and_leaves_all_as_it_is() -> None:
    person = Person(make_config())
    assert await person.connect("a-grant")
    before = person.store.entries()
    right, person.granted = person.granted, with_another_key(person)
    assert not await person.connect("new")
    with pytest.raises(KeyMissing):
        await person.granted.revoke("mira")
    assert person.lumin.revoked == {"new"}
    assert (await person.granted.of("mira"), await person.granted.subjects()) == ([], [])
    assert person.store.entries() == before
    assert await right.revoke("mira") == 1
    assert person.lumin.revoked == {"new", "a-grant"}


async def test_who_looks_is_told_whatever_keeps_the_list_from_being_tidied() -> None:
    person = Person(make_config(grant_lifetime=600))
    assert await person.connect("a-grant")
    person.clock.advance(700)
    person.store.fails = {"swap grants"}
    assert await person.granted.of("mira") == []
    person.store.fails = set()
    assert await person.granted.of("mira") == []
    assert await person.granted.subjects() == []
