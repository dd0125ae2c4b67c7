"""`MemoryStore`: the contract, and what only memory has: a bound, and nobody to wait for."""

from __future__ import annotations

import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.stores import MemoryStore
from lumin_middleware.stores.contract import Opener, StoreContract
from lumin_middleware.stores.memory import ENTRY_OVERHEAD

from .clock import NOW, Clock


class TestMemoryStore(StoreContract):
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @pytest.fixture
    def opener(self) -> Opener:
        self.clock = Clock()
        return lambda: MemoryStore(clock=self.clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def room_for(entries: int, clock: Clock) -> MemoryStore:
    """A store in which `entries` fit whose key and value are 10 bytes together."""
    return MemoryStore(max_bytes=entries * (ENTRY_OVERHEAD + 10), clock=clock)


def fill(store: MemoryStore, entries: int, ttl: float) -> None:
    for number in range(entries):
        assert store.swap(f"{ttl:03}-{number:03}"[:7], None, b"123", ttl)


def test_it_tells_an_event_loop_that_it_never_waits_and_is_cheap() -> None:
    assert (MemoryStore.blocking, MemoryStore.local) == (False, True)


def test_a_full_store_refuses_a_new_entry_and_drops_no_living_one(clock: Clock) -> None:
    store = room_for(3, clock)
    fill(store, 3, 100)
    with pytest.raises(StoreUnavailable, match="full: 3 entries are alive"):
        store.swap("one too", None, b"123", 100)
    assert [store.get(f"100-{number:03}") for number in range(3)] == [b"123"] * 3


def test_a_full_store_still_deletes_and_replaces_within_its_bound(clock: Clock) -> None:
    store = room_for(3, clock)
    fill(store, 3, 100)
    assert store.swap("100-000", b"123", b"456", 100)
    with pytest.raises(StoreUnavailable):
        store.swap("100-000", b"456", b"4567", 100)
    assert store.get("100-000") == b"456"
    assert store.swap("100-000", b"456", None, 0)
    fill(store, 1, 100)


def test_expired_entries_make_room(clock: Clock) -> None:
    store = room_for(3, clock)
    fill(store, 3, 10)
    clock.now += 10
    fill(store, 3, 100)
    assert store.get("100-002") == b"123"


def test_an_entry_that_got_longer_to_live_is_not_dropped_at_its_first_expiry(clock: Clock) -> None:
    store = room_for(3, clock)
    store.swap("renewed", None, b"123", 10)
    store.swap("renewed", b"123", b"456", 100)
    clock.now += 10
    assert store.swap("another", None, b"123", 10)
    assert store.get("renewed") == b"456"


def test_bytes_are_counted_back_however_an_entry_goes(clock: Clock) -> None:
    store = room_for(2, clock)
    for _ in range(300):  # replaced, deleted, and expired, over and over
        assert store.swap("replace", None, b"123", 100)
        assert store.swap("replace", b"123", b"1", 100)
        assert store.swap("replace", b"1", None, 100)
        assert store.swap("expires", None, b"123", 10)
        clock.now += 10
    fill(store, 2, 100)


def test_replacing_one_entry_for_ever_does_not_grow_the_store(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    value = None
    for number in range(10_000):
        assert store.swap("key", value, value := b"%d" % number, 1e6)
    assert len(store._queue) < 100


def test_a_clock_that_goes_back_revives_nothing_that_was_dropped(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    store.swap("key", None, b"value", 10)
    clock.now += 10
    assert store.swap("other", None, b"value", 10)
    clock.now = NOW
    assert store.get("key") is None
