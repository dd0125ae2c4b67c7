"""The contract of a store, as tests that any store inherits: of either colour, on whatever system.

`StoreContract` is for every store; `SharedStoreContract` adds what holds between processes, and that
trouble is never "not found". It imports pytest and nothing else that is not Python's own.

    class TestMyStore(SharedStoreContract):
        @pytest.fixture
        def opener(self, tmp_path):
            return partial(MyStore, tmp_path / "records")

        def break_store(self):
            ...
"""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise
from typing import Any, TypeVar, cast

import pytest

from ..errors import StoreUnavailable
from ..ports import AsyncStore, Store

T = TypeVar("T")
Opener = Callable[[], Any]  # gives a Store or an AsyncStore

LONG = 3600.0  # seconds; nothing that is given this ttl expires during a test

VALUES = {
    "empty": b"",
    "every byte": bytes(range(256)),
    "not UTF-8": b"\xff\xfe\x80",
    "looks absent": b"None",
}
# All of them are in the store at one time, each with a value of its own: what is told apart by a byte,
# a case, a space or a code point must stay apart.
KEYS = (
    *("", "a", "A", "a ", " a", "a\0", "a\0b", "a\n", "a\r\nSET b c", "x" * 10_000, "x" * 10_001),
    *("a*", "a?", "[a]", "%", "_", "a'; DROP TABLE record; --", 'a"]] .. redis.call("FLUSHALL")'),
    *("{a}", "{b}:a", "../a", "/a", "é", "e\u0301", "\U0001f511", "\u202e\ufeff"),
)
# (what the key holds, an `old` that it therefore is not)
NEARLY = (
    *((b"a", b"A"), (b"a", b"a\0"), (b"a", b"a "), (b"a", b""), (b"", b"\0")),
    *((b"1", b"1.0"), (b"1", b"01"), (b"\xc3\xa9", b"\xe9")),
)


class StoreContract:
    """What every store does. Override `opener`, and where the store has a clock of its own, `pass_time`."""

    short = 1.0  # a ttl in seconds that a test can wait for, and in which it gets through a few verbs
    largest = 1_048_576  # bytes of a value; a store may be content with 262,144, as the largest lists have 65,536

    @pytest.fixture
    def opener(self) -> Opener:
        """What opens a handle on this test's records, which are none to begin with; each call one more."""
        raise NotImplementedError("override the fixture `opener`")

    @pytest.fixture
    def store(self, opener: Opener) -> Iterator[Store]:
        with opened(opener) as store:
            yield store

    def pass_time(self, seconds: float) -> None:
        """Lets the store's clock go forward by so much, and by what it may round."""
        time.sleep(seconds + 0.02)

    def test_a_key_that_was_never_set_is_none(self, store: Store) -> None:
        assert store.get("key") is None

    def test_a_value_is_created_where_there_is_none(self, store: Store) -> None:
        assert store.swap("key", None, b"value", LONG) is True
        assert store.get("key") == b"value"

    def test_a_value_is_not_created_over_another(self, store: Store) -> None:
        store.swap("key", None, b"first", LONG)
        assert store.swap("key", None, b"second", LONG) is False
        assert store.swap("key", None, b"first", LONG) is False
        assert store.get("key") == b"first"

    def test_a_value_is_replaced(self, store: Store) -> None:
        store.swap("key", None, b"first", LONG)
        assert store.swap("key", b"first", b"second", LONG) is True
        assert store.get("key") == b"second"

    def test_an_absent_value_is_not_replaced(self, store: Store) -> None:
        assert store.swap("key", b"first", b"second", LONG) is False
        assert store.get("key") is None

    @pytest.mark.parametrize(("held", "old"), NEARLY)
    def test_a_value_that_is_not_the_old_one_stays(self, store: Store, held: bytes, old: bytes) -> None:
        store.swap("key", None, held, LONG)
        assert store.swap("key", old, b"new", LONG) is False
        assert store.swap("key", old, None, LONG) is False
        assert store.get("key") == held

    def test_a_value_is_deleted(self, store: Store) -> None:
        store.swap("key", None, b"value", LONG)
        assert store.swap("key", b"value", None, LONG) is True
        assert store.get("key") is None
        assert store.swap("key", b"value", None, LONG) is False
        assert store.swap("key", None, b"again", LONG) is True

    def test_deleting_what_must_be_absent_only_asks(self, store: Store) -> None:
        assert store.swap("key", None, None, LONG) is True
        store.swap("key", None, b"value", LONG)
        assert store.swap("key", None, None, LONG) is False
        assert store.get("key") == b"value"

    def test_an_expired_value_is_absent(self, store: Store) -> None:
        assert store.swap("key", None, b"value", self.short) is True
        assert store.get("key") == b"value"
        self.pass_time(self.short)
        assert store.get("key") is None

    def test_an_expired_value_is_absent_for_a_swap(self, store: Store) -> None:
        for key in ("replaced", "deleted", "created"):
            store.swap(key, None, b"value", self.short)
        self.pass_time(self.short)
        assert store.swap("replaced", b"value", b"new", LONG) is False
        assert store.swap("deleted", b"value", None, LONG) is False
        assert store.swap("created", None, b"new", LONG) is True
        assert [store.get(key) for key in ("replaced", "deleted", "created")] == [None, None, b"new"]

    def test_a_value_lives_by_the_ttl_that_it_came_with(self, store: Store) -> None:
        for key, first, second in (("longer", self.short, LONG), ("shorter", LONG, self.short)):
            store.swap(key, None, b"first", first)
            store.swap(key, b"first", b"second", second)
        self.pass_time(self.short)
        assert store.get("longer") == b"second"
        assert store.get("shorter") is None

    def test_a_refused_swap_changes_no_ttl(self, store: Store) -> None:
        store.swap("key", None, b"value", self.short)
        store.swap("key", None, b"value", LONG)
        store.swap("key", b"other", b"value", LONG)
        self.pass_time(self.short)
        assert store.get("key") is None

    @pytest.mark.parametrize("ttl", [0, -1, -1e9])
    def test_a_ttl_of_zero_or_less_leaves_nothing(self, store: Store, ttl: float) -> None:
        assert store.swap("created", None, b"value", ttl) is True
        assert store.get("created") is None
        store.swap("replaced", None, b"value", LONG)
        assert store.swap("replaced", b"other", b"new", ttl) is False
        assert store.get("replaced") == b"value"
        assert store.swap("replaced", b"value", b"new", ttl) is True
        assert store.get("replaced") is None

    @pytest.mark.parametrize("ttl", [1e-6, 0.0015, 1 / 3])
    def test_a_ttl_may_be_any_fraction_of_a_second(self, store: Store, ttl: float) -> None:
        assert store.swap("key", None, b"value", ttl) is True
        self.pass_time(ttl)
        assert store.get("key") is None

    def test_a_ttl_may_be_a_hundred_years(self, store: Store) -> None:
        assert store.swap("key", None, b"value", 100 * 366 * 86_400.0) is True
        assert store.get("key") == b"value"

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_a_value_comes_back_byte_for_byte(self, store: Store, value: bytes) -> None:
        assert store.swap("key", None, value, LONG) is True
        assert store.get("key") == value
        assert store.swap("key", None, b"new", LONG) is False
        assert store.swap("key", value, value + b"new", LONG) is True
        assert store.get("key") == value + b"new"
        assert store.swap("key", value + b"new", None, LONG) is True

    def test_a_large_value_comes_back_byte_for_byte(self, store: Store) -> None:
        value = bytes(range(256)) * (self.largest // 256)
        assert store.swap("key", None, value, LONG) is True
        assert store.get("key") == value
        assert store.swap("key", value, value[::-1], LONG) is True
        assert store.get("key") == value[::-1]

    def test_a_key_is_any_text_and_no_other(self, store: Store) -> None:
        for number, key in enumerate(KEYS):
            assert store.get(key) is None
            assert store.swap(key, None, b"%d" % number, LONG) is True
        assert [store.get(key) for key in KEYS] == [b"%d" % number for number in range(len(KEYS))]
        for number, key in enumerate(KEYS):
            assert store.swap(key, b"%d" % number, None, LONG) is True
        assert [store.get(key) for key in KEYS] == [None] * len(KEYS)

    def test_threads_lose_no_update(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(_increment, store, "count"), [12] * 8))
        assert store.get("count") == b"96"

    def test_of_threads_that_create_one_wins(self, store: Store) -> None:
        start = threading.Barrier(8)

        def create(number: int) -> list[bool]:
            start.wait()
            return [store.swap(f"key {key}", None, b"%d" % number, LONG) for key in range(20)]

        with ThreadPoolExecutor(8) as pool:
            winners = zip(*pool.map(create, range(8)), strict=True)
        for key, won in enumerate(winners):
            assert won.count(True) == 1
            assert store.get(f"key {key}") == b"%d" % won.index(True)


class SharedStoreContract(StoreContract):
    """What a store does whose records other processes see. Override `break_store` too.

    What `opener` gives must be picklable: other processes call it.
    """

    def break_store(self) -> None:
        """Makes the system behind the store fail, as it might in production."""
        raise NotImplementedError("override `break_store`")

    @pytest.fixture
    def other(self, opener: Opener) -> Iterator[Store]:
        """A second handle, as another process has it."""
        with opened(opener) as store:
            yield store

    def test_another_handle_sees_every_change_at_once(self, store: Store, other: Store) -> None:
        assert (store.get("key"), other.get("key")) == (None, None)
        history: list[bytes | None] = [None, b"created", b"replaced", None, b"again"]
        for turn, (old, new) in enumerate(pairwise(history)):
            writer, reader = (store, other) if turn % 2 else (other, store)
            assert reader.get("key") == old
            assert writer.swap("key", old, new, LONG) is True
            assert reader.get("key") == new
            assert reader.swap("key", old, b"late", LONG) is False

    def test_a_value_outlives_the_handle_that_wrote_it(self, opener: Opener) -> None:
        with opened(opener) as first:
            first.swap("key", None, b"value", LONG)
        with opened(opener) as second:
            assert second.get("key") == b"value"

    def test_processes_lose_no_update_and_agree_on_the_winner(self, store: Store, opener: Opener) -> None:
        processes, rounds = 3, 30
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            contend = partial(_contend, opener, processes, rounds)
            won = list(pool.map(contend, [b"first", b"second", b"third"]))
        assert store.get("count") == b"%d" % (processes * rounds)
        assert sorted(chain.from_iterable(won)) == list(range(rounds))

    def test_trouble_is_never_not_found(self, store: Store) -> None:
        store.swap("present", None, b"value", LONG)
        assert (store.get("present"), store.get("absent")) == (b"value", None)
        self.break_store()
        for key in ("present", "absent", "unheard of") * 2:
            with pytest.raises(StoreUnavailable):
                store.get(key)
        for key, old, new in (("absent", None, b"value"), ("absent", None, None), ("absent", b"value", None)):
            with pytest.raises(StoreUnavailable):
                store.swap(key, old, new, LONG)
        for old, new in ((b"value", b"new"), (b"other", b"new"), (b"value", None), (None, b"new")):
            with pytest.raises(StoreUnavailable):
                store.swap("present", old, new, LONG)


class FromAnyThread:
    """An `AsyncStore` as a `Store`: its verbs run on one event loop in a thread of its own, all at once."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def get(self, key: str) -> bytes | None:
        return self._run(self._store.get(key))

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return self._run(self._store.swap(key, old, new, ttl))

    def close(self) -> None:
        if hasattr(self._store, "aclose"):
            self._run(self._store.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, verb: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(verb, self._loop).result()


@contextmanager
def opened(opener: Opener) -> Iterator[Store]:
    """A handle, spoken to from ordinary code whatever its colour, and closed afterwards."""
    found = opener()
    store = FromAnyThread(found) if inspect.iscoroutinefunction(found.get) else found
    try:
        yield cast("Store", store)
    finally:
        if hasattr(store, "close"):
            store.close()


def _increment(store: Store, key: str, times: int) -> None:
    for _ in range(times):
        while True:
            old = store.get(key)
            if store.swap(key, old, b"%d" % (int(old or 0) + 1), LONG):
                break


def _contend(opener: Opener, processes: int, rounds: int, name: bytes) -> list[int]:
    """In a process of its own: awaits the others, then counts and creates in each round; where it won."""
    won = []
    with opened(opener) as store:
        _increment(store, "ready", 1)
        while store.get("ready") != b"%d" % processes:
            time.sleep(0.001)
        for number in range(rounds):
            _increment(store, "count", 1)
            if store.swap(f"round {number}", None, name, LONG):
                won.append(number)
    return won
