"""What is remembered is bounded in bytes, and whoever was used least recently goes first."""

from __future__ import annotations

import gc
import random
import secrets
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lumin_middleware.sessions.memo import AT_ONCE, Memo, cost
from tests.fakes import Workers


def test_what_was_used_lately_stays():
    memo: Memo[int] = Memo(20 * cost(b"00"))
    for number in range(1000):
        memo.put(b"%02d" % number, number)
        assert memo.get(b"00") == 0
        assert len(memo) <= 20
    assert memo.get(b"01") is None
    assert memo.get(b"%02d" % 999) == 999


def test_as_many_as_fit_find_themselves_however_they_take_turns():
    memo: Memo[int] = Memo(1000 * cost(b"1000", 10))
    people = [b"%04d" % number for number in range(1000)]
    for key in people:
        memo.put(key, int(key), 10)
    for _ in range(3):
        random.Random(1).shuffle(people)
        assert all(memo.get(key) == int(key) for key in people)
    memo.put(b"more", 0, 10)
    gone = people[: 1000 // AT_ONCE]
    assert [key for key in people if memo.get(key) is None] == gone
    assert len(memo) == 1001 - len(gone)


@pytest.mark.parametrize("number", [1, 7, AT_ONCE, 3 * AT_ONCE + 1])
def test_whoever_goes_was_used_before_all_who_stay(number):
    """In whatever order they are used, and found again or put anew."""
    order = random.Random(number)
    memo: Memo[int] = Memo(number * cost(b"0000"))
    used: list[bytes] = []
    for _ in range(20 * number):
        key = b"%04d" % order.randrange(2 * number)
        if memo.get(key) is None:
            memo.put(key, int(key))
        used = [each for each in used if each != key] + [key]
        kept = [*memo._entries]
        assert kept == used[len(used) - len(kept) :]
        assert number - number // AT_ONCE <= len(kept) <= number or len(kept) == len(used)
        assert memo._size == sum(cost(each) for each in kept)


def test_what_is_larger_than_all_is_not_kept_and_pushes_nobody_out():
    memo: Memo[int] = Memo(100_000)
    memo.put(b"small", 1)
    memo.put(b"x" * 100_000, 2)
    memo.put(b"y", 3, 100_000)
    assert (memo.get(b"small"), memo.get(b"x" * 100_000), memo.get(b"y"), len(memo)) == (1, None, None, 1)


def test_what_grows_takes_its_own_place():
    memo: Memo[int] = Memo(3 * cost(b"a", 100))
    for key in (b"a", b"b", b"c", b"a"):
        memo.put(key, 1, 100)
    assert len(memo) == 3
    memo.put(b"a", 2, 150)
    assert (memo.get(b"a"), memo.get(b"b"), memo.get(b"c")) == (2, None, 1)
    memo.put(b"a", 2, 10**6)
    assert (memo.get(b"a"), memo.get(b"c")) == (None, 1)


def test_nothing_is_kept_where_nothing_may_be():
    memo: Memo[int] = Memo(0)
    memo.put(b"a", 1)
    assert memo.get(b"a") is None


def test_threads_use_it_at_once(monkeypatch):
    monkeypatch.setattr("lumin_middleware.sessions.memo.RECKONED_ANEW", 64)
    memo: Memo[int] = Memo(50 * cost(b"000"))

    def use(start: int) -> None:
        for number in range(start, start + 3000):
            key = b"%03d" % (number % 100)
            memo.put(key, number % 100)
            assert memo.get(key) in (None, number % 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    for number in range(64):
        memo.put(b"%03d" % number, number)
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
