"""The lists of grants: whoever connects or disconnects at the same time, nobody is missing and nobody too many."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import pytest

from lumin_middleware.errors import SessionEnded
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.grants import BUCKETS, FOREVER, LISTED_LIMIT, GrantRecords, Listed, Lists
from lumin_middleware.sessions.records import Record, Records
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
    assert [each.id for each in await lists.of("mira")] == ["id-2", "id-3", "id-4"]


async def test_a_list_is_bounded_and_says_what_it_pushes_out(lists: Lists) -> None:
    for number in range(LISTED_LIMIT):
        assert await lists.add("mira", listed(number, name=f"n{number}")) == []
    assert await lists.add("mira", listed(500, name="one more")) == [listed(0, name="n0")]
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


async def test_a_list_of_an_unknown_key_is_empty(config: Any, world: World) -> None:
    await Lists(config, world).add("mira", listed())
    stranger = Lists(replace(config, secret_key=secrets.token_bytes(32)), world)
    assert (await stranger.of("mira"), await stranger.subjects()) == ([], [])


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
