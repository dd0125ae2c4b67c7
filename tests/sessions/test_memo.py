"""What is remembered is bounded in bytes, and whom nobody asked for lately goes first."""

from __future__ import annotations

import gc
import random
import secrets
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from lumin_middleware.sessions.memo import AT_ONCE, Entry, Memo, cost
from tests.fakes import Workers


@dataclass(slots=True)
class Known(Entry):
    number: int


def number(memo: Memo[Known], key: bytes) -> int | None:
    found = memo.get(key)
    return None if found is None else found.number


def test_what_was_used_lately_stays():
    memo: Memo[Known] = Memo(20 * cost(b"00"))
    for each in range(1000):
        memo.put(b"%02d" % each, Known(each))
        assert number(memo, b"00") == 0
        assert len(memo) <= 20
    assert memo.get(b"01") is None
    assert number(memo, b"%02d" % 999) == 999


def test_as_many_as_fit_find_themselves_however_they_take_turns():
    memo: Memo[Known] = Memo(1000 * cost(b"1000", 10))
    people = [b"%04d" % each for each in range(1000)]
    for key in people:
        memo.put(key, Known(int(key)), 10)
    for _ in range(3):
        random.Random(1).shuffle(people)
        assert all(number(memo, key) == int(key) for key in people)
    memo.put(b"more", Known(0), 10)  # all were used: the oldest go
    gone = {b"%04d" % each for each in range(1000 // AT_ONCE)}
    assert {key for key in people if memo.get(key) is None} == gone
    assert len(memo) == 1001 - len(gone)


@pytest.mark.parametrize("limit", [1, 7, AT_ONCE, 3 * AT_ONCE + 1])
def test_nobody_who_was_used_goes_before_somebody_who_was_not(limit):
    """In whatever order they are used, and found again or put anew."""
    order = random.Random(limit)
    memo: Memo[Known] = Memo(limit * cost(b"0000"))
    used: set[bytes] = set()
    for _ in range(20 * limit):
        key = b"%04d" % order.randrange(2 * limit)
        before = {each: entry.used for each, entry in memo._entries.items()}
        if memo.get(key) is not None:
            used.add(key)
            continue
        memo.put(key, Known(int(key)))
        gone = before.keys() - memo._entries.keys()
        assert not gone & used or all(before.values())
        if gone:
            used.clear()  # some of them have had their round
        kept = [*memo._entries]
        assert limit - limit // AT_ONCE <= len(kept) <= limit or len(kept) == len(before) + 1
        assert memo._size == sum(cost(each) for each in kept)


def test_where_many_were_used_nobody_waits_until_the_last_was_looked_at(monkeypatch):
    monkeypatch.setattr("lumin_middleware.sessions.memo.CHANCES", 10)
    memo: Memo[Known] = Memo(100 * cost(b"000"))
    people = [b"%03d" % each for each in range(100)]
    for key in people:
        memo.put(key, Known(0))
        memo.get(key)
    memo.put(b"100", Known(0))
    assert [key for key in people if key not in memo._entries] == [people[10]]
    assert sum(entry.used for entry in memo._entries.values()) == 89


def test_who_comes_once_pushes_out_nobody_who_comes_often():
    memo: Memo[Known] = Memo(1000 * cost(b"00000"))
    regulars = [b"%05d" % each for each in range(300)]
    for key in regulars:
        memo.put(key, Known(0))
    for stranger in range(300, 20_000):
        memo.put(b"%05d" % stranger, Known(0))
        assert memo.get(regulars[stranger % 300]) is not None


def test_what_is_larger_than_all_is_not_kept_and_pushes_nobody_out():
    memo: Memo[Known] = Memo(100_000)
    memo.put(b"small", Known(1))
    memo.put(b"x" * 100_000, Known(2))
    memo.put(b"y", Known(3), 100_000)
    assert [number(memo, key) for key in (b"small", b"x" * 100_000, b"y")] == [1, None, None]
    assert len(memo) == 1


def test_what_grows_takes_its_own_place():
    memo: Memo[Known] = Memo(3 * cost(b"a", 100))
    for key in (b"a", b"b", b"c", b"a"):
        memo.put(key, Known(1), 100)
    assert len(memo) == 3
    entry = Known(2)
    for _ in range(2):
        memo.put(b"a", entry, 150)
    assert [number(memo, key) for key in (b"a", b"b", b"c")] == [2, None, 1]
    memo.put(b"a", entry, 10**6)
    assert [number(memo, key) for key in (b"a", b"c")] == [None, 1]


def test_nothing_is_kept_where_nothing_may_be():
    memo: Memo[Known] = Memo(0)
    memo.put(b"a", Known(1))
    assert memo.get(b"a") is None


def test_threads_use_it_at_once(monkeypatch):
    monkeypatch.setattr("lumin_middleware.sessions.memo.RECKONED_ANEW", 64)
    memo: Memo[Known] = Memo(50 * cost(b"000"))

    def use(start: int) -> None:
        for each in range(start, start + 3000):
            key = b"%03d" % (each % 100)
            memo.put(key, Known(each % 100))
            assert number(memo, key) in (None, each % 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    for each in range(64):
        memo.put(b"%03d" % each, Known(each))
    assert len(memo) == 50


@pytest.mark.parametrize("kind", ["cookie", "store"])
@pytest.mark.parametrize("name", ["Mira Halden", "\N{GRINNING FACE}" * 200, "\N{GREEK SMALL LETTER MU}" * 400])
@pytest.mark.parametrize("renewed", [False, True])
async def test_sessions_cost_no_more_than_is_reckoned(kind, name, renewed):
    """The figures, measured on what Python really takes: sessions as a process comes to know them."""
    workers = Workers()
    process = workers.process(sessions=kind, session_memory=1_000_000)
    template = await workers.sign_in()
    headers = []
    for number in range(500):
        claims = {**template.claims, "name": name, "note": "x" * secrets.randbelow(500)}
        session = replace(template, id=f"{template.id}{number}", claims=claims)
        await process.sessions.begin(session)
        if renewed:
            session = replace(session, generation=1)
            await process.sessions.replace(await process.sessions.newest(session), session)
        lines = process.sessions.set_cookies(session, process.cookies.jar(b""))
        headers.append("; ".join(line.partition(";")[0] for line in lines).encode())
    gc.collect()
    tracemalloc.start()
    try:
        for header in headers:
            assert await process.sessions.load(process.cookies.jar(header))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < len(process.sessions._opened) < 500
    assert taken <= 1_000_000
