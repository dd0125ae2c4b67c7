import asyncio
import json

import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.index import ENTRIES_LIMIT, Index, by_sid, by_subject
from lumin_middleware.sessions.records import PATIENCE
from tests.fakes import KEY, OLD_KEY, World, config
from tests.site_rig import Clock

WEEK = 604_800


class Store:
    """A dictionary whose swaps others may get in between of."""

    def __init__(self):
        self.values = {}
        self.contended = 0

    async def get(self, key):
        value = self.values.get(key)
        await asyncio.sleep(0)
        return value

    async def swap(self, key, old, new, ttl):
        if self.contended:
            self.contended -= 1
            return False
        if self.values.get(key) != old:
            return False
        self.values[key] = new
        if new is None:
            del self.values[key]
        return True


@pytest.fixture
def world():
    return World(Store(), None, Clock())


@pytest.fixture
def index(world):
    return Index(config(), world)


def session(number, world, sub="person", sid=None):
    tokens = TokenSet("access", world.clock() + 3600, 3600.0, ("openid",), "refresh")
    claims = {"sub": sub} | ({"sid": sid} if sid else {})
    return Session(f"session-{number}", 0, world.clock(), world.clock(), tokens, claims)


async def listed(index, common="sub person"):
    return [entry.session_id for entry in await index.entries(common)]


async def test_sessions_are_found_by_person_and_by_the_server_s_session(world, index):
    await index.add(session(1, world, sid="at-server"))
    await index.add(session(2, world))
    await index.add(session(3, world, sub="another"))
    assert await listed(index) == ["session-1", "session-2"]
    assert await listed(index, "sid at-server") == ["session-1"]
    assert await listed(index, "sub another") == ["session-3"]
    assert await listed(index, "sub nobody") == []


async def test_a_session_that_ended_is_not_listed_and_an_empty_list_is_not_kept(world, index):
    one = session(1, world, sid="at-server")
    await index.add(one)
    await index.remove(one)
    await index.remove(one)
    assert world.store.values == {}


async def test_a_session_without_an_identity_is_in_no_list(world, index):
    nobody = session(1, world, sub="")
    assert (by_subject(nobody), by_sid(nobody)) == (None, None)
    await index.add(nobody)
    assert world.store.values == {}


async def test_entries_past_the_absolute_limit_are_dropped(world, index):
    await index.add(session(1, world))
    world.clock.advance(WEEK)
    assert await listed(index) == []
    await index.add(session(2, world))
    assert await listed(index) == ["session-2"]


async def test_a_list_that_is_too_long_is_named_and_loses_nothing_by_itself(world, index):
    """Whoever is pushed out is ended first: what lives and is not listed would be found by nobody."""
    for number in range(ENTRIES_LIMIT):
        assert await index.add(session(number, world, sid=f"at-server-{number % 2}")) == {}
    too_long = await index.add(session(ENTRIES_LIMIT, world))
    assert list(too_long) == ["sub person"]
    names = [f"session-{number}" for number in range(ENTRIES_LIMIT + 1)]
    assert [entry.session_id for entry in too_long["sub person"]] == names
    assert await listed(index) == names
    await index.forget("sub person", ["session-0"])
    assert await index.add(session(1, world)) == {}


async def test_those_who_write_at_once_lose_nothing(world, index):
    await asyncio.gather(*(index.add(session(number, world)) for number in range(40)))
    assert sorted(await listed(index)) == sorted(f"session-{number}" for number in range(40))


async def test_a_list_that_changes_all_the_time_is_trouble(world, index):
    world.store.contended = 1000
    with pytest.raises(StoreUnavailable):
        await index.add(session(1, world))
    assert PATIENCE < sum(world.slept) < PATIENCE + 1


async def test_whoever_loses_waits_longer_each_time_and_then_writes(world, index):
    world.store.contended = 20
    await index.add(session(1, world))
    assert await listed(index) == ["session-1"]
    assert len(world.slept) == 20


async def test_a_session_that_was_pushed_into_no_list_is_forgotten_by_name(world, index):
    for number in range(3):
        await index.add(session(number, world))
    await index.forget("sub person", ["session-0", "session-2", "unknown"])
    assert await listed(index) == ["session-1"]


async def test_when_the_server_told_of_a_session_is_kept_as_long_as_it_is_listed(world, index):
    one = session(1, world, sid="at-server")
    await index.add(one, 1234)
    await index.add(one)
    for common in ("sub person", "sid at-server"):
        assert [entry.issued_at for entry in await index.entries(common)] == [1234]
    await index.remove(one)
    await index.add(one)
    assert [entry.issued_at for entry in await index.entries("sub person")] == [None]


async def test_the_store_sees_neither_people_nor_sessions(world, index):
    await index.add(session(1, world, sid="at-server"))
    seen = repr(world.store.values)
    assert not any(word in seen for word in ("person", "session-1", "at-server"))


async def test_a_list_is_sealed_for_its_person(world, index):
    await index.add(session(1, world))
    ((key, value),) = world.store.values.items()
    await index.add(session(2, world, sub="another"))
    (other,) = set(world.store.values) - {key}
    world.store.values[other] = value
    assert await listed(index, "sub another") == []


# --- keys ---


def with_keys(world, *keys):
    return Index(config(secret_key=list(keys)), world)


async def test_what_another_key_sealed_nobody_sees_here_and_nobody_loses_there(world, index, caplog):
    other = with_keys(world, OLD_KEY)
    await other.add(session(1, world))
    assert await listed(index) == []
    assert "sessions_unreadable: " in caplog.text
    await index.add(session(2, world))
    await index.add(session(3, world))
    await index.forget("sub person", ["session-1", "session-3"])
    await other.add(session(4, world))
    assert await listed(index) == ["session-2"]
    assert sorted(await listed(other)) == ["session-1", "session-4"]
    assert sorted(await listed(with_keys(world, KEY, OLD_KEY))) == ["session-1", "session-2", "session-4"]
    await index.remove(session(2, world))
    assert sorted(await listed(with_keys(world, OLD_KEY))) == []  # since whoever had both keys sealed them with the new
    for number in (1, 4):
        await index.remove(session(number, world))
    assert world.store.values == {}


async def test_whoever_ends_all_sessions_hears_that_there_may_be_more(world, index):
    await index.check("sub person")
    await index.add(session(1, world))
    await index.check("sub person")
    with pytest.raises(StoreUnavailable, match="all keys that are in use"):
        await with_keys(world, OLD_KEY).check("sub person")


async def test_what_nobody_can_open_goes_when_all_that_it_names_is_over(world, index):
    await index.add(session(1, world))
    other = with_keys(world, OLD_KEY)
    world.clock.advance(WEEK - 10)
    await other.add(session(2, world))
    assert await listed(index) == ["session-1"]
    world.clock.advance(10)
    await other.check("sub person")
    await other.remove(session(2, world))
    assert world.store.values == {}


async def test_what_nobody_can_open_says_when_it_goes_whatever_the_setting_is_there(world):
    """It names sessions that last for a week, as they were told."""
    short = Index(config(absolute_timeout=3600, idle_timeout=60), world)
    other = with_keys(world, OLD_KEY)
    await other.add(session(1, world))
    world.clock.advance(WEEK - 1)
    await short.add(session(2, world))
    assert await listed(other) == ["session-1"]
    with pytest.raises(StoreUnavailable):
        await short.check("sub person")
    world.clock.advance(1)
    await short.check("sub person")
    await short.remove(session(2, world))
    assert world.store.values == {}


@pytest.mark.parametrize("said", [b"", b".", b"x.", b"9999999999999.", b"-1.", b"1e9.", "².".encode()])
async def test_a_part_that_does_not_say_when_it_goes_does_so_by_the_setting(world, index, said):
    await with_keys(world, OLD_KEY).add(session(1, world))
    [(key, value)] = world.store.values.items()
    world.store.values[key] = said + value.partition(b".")[2]
    world.clock.advance(WEEK - 1)
    with pytest.raises(StoreUnavailable):
        await index.check("sub person")
    world.clock.advance(1)
    await index.check("sub person")


async def test_a_list_that_was_sealed_before_its_sessions_said_how_long_they_last_is_read(world, index):
    one = session(1, world)
    sealed = index._sealer.seal(json.dumps([[one.id, one.began, False, 1234]]).encode(), "sub person")
    await index.add(one)
    [key] = world.store.values
    world.store.values[key] = sealed.encode()
    [entry] = await index.entries("sub person")
    assert (entry.session_id, entry.issued_at, entry.lasts) == (one.id, 1234, None)
    await index.add(one)
    [entry] = await index.entries("sub person")
    assert (entry.issued_at, entry.lasts) == (1234, WEEK)


async def test_whoever_is_listed_already_is_not_written_again(world, index):
    await index.add(session(1, world))
    before = dict(world.store.values)
    await index.add(session(1, world))
    await index.forget("sub person", ["unknown"])
    assert world.store.values == before


async def test_looking_seals_a_list_with_the_newest_key(world):
    await with_keys(world, OLD_KEY).add(session(1, world), 1234)
    both, alone = with_keys(world, KEY, OLD_KEY), with_keys(world, KEY)
    world.store.contended = 1000
    assert await listed(both) == ["session-1"], "it can be read, whatever the store takes"
    assert await listed(alone) == []
    world.store.contended = 0
    assert await listed(both) == ["session-1"]
    assert [(entry.session_id, entry.issued_at) for entry in await alone.entries("sub person")] == [("session-1", 1234)]
    before = dict(world.store.values)
    await listed(both)
    assert world.store.values == before, "once is enough"


async def test_the_parts_of_a_list_are_one_for_whoever_can_open_them(world):
    await with_keys(world, KEY).add(session(1, world), 1234)
    old = with_keys(world, OLD_KEY)
    world.clock.advance(5)
    await old.add(session(2, world))
    world.clock.advance(-5)
    await old.add(session(1, world))
    both = with_keys(world, KEY, OLD_KEY)
    assert [(each.session_id, each.issued_at) for each in await both.entries("sub person")] == [
        ("session-1", 1234),
        ("session-2", None),
    ]


async def test_what_a_person_sees_of_a_session_opens_nothing(world, index):
    await index.add(session(1, world))
    (entry,) = await index.entries("sub person")
    assert entry.session_id not in entry.name
    assert len(entry.name) == 16
