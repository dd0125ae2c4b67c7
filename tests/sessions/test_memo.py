"""What is remembered is bounded in bytes, and whoever was used least recently goes first."""

from __future__ import annotations

import secrets
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

from lumin_middleware.model import Session
from lumin_middleware.sessions.memo import Memo, cost
from lumin_middleware.sessions.sealing import Sealer
from tests.fakes import KEY, Workers


def test_what_was_used_lately_stays():
    memo: Memo[int] = Memo(20 * cost(b"00"))
    for number in range(1000):
        memo.put(b"%02d" % number, number)
        assert memo.get(b"00") == 0
        assert len(memo) <= 20
    assert memo.get(b"01") is None
    assert memo.get(b"%02d" % 999) == 999


def test_as_many_as_fit_into_half_find_themselves_however_they_take_turns():
    memo: Memo[int] = Memo(2000 * cost(b"1000"))
    for _ in range(3):
        for number in range(1000):
            key = b"%04d" % number
            if memo.get(key) is None:
                memo.put(key, number)
    assert all(memo.get(b"%04d" % number) == number for number in range(1000))


def test_what_is_larger_than_half_is_not_kept_and_pushes_nobody_out():
    memo: Memo[int] = Memo(100_000)
    memo.put(b"small", 1)
    memo.put(b"x" * 60_000, 2)
    assert (memo.get(b"small"), memo.get(b"x" * 60_000), len(memo)) == (1, None, 1)


def test_nothing_is_kept_where_nothing_may_be():
    memo: Memo[int] = Memo(0)
    memo.put(b"a", 1)
    assert memo.get(b"a") is None


def test_threads_use_it_at_once():
    memo: Memo[int] = Memo(50 * cost(b"000"))

    def use(start: int) -> None:
        for number in range(start, start + 3000):
            key = b"%03d" % (number % 100)
            memo.put(key, number % 100)
            assert memo.get(key) in (None, number % 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert len(memo) <= 50 + 16  # each thread may add one more while another turns over


async def test_sessions_cost_no_more_than_is_reckoned():
    """The figures of `cost`, measured on what Python really takes."""
    template = await Workers().sign_in()
    sealer = Sealer([KEY], "session", lambda: 0.0)
    limit = 2_000_000
    memo: Memo[Session] = Memo(limit)
    sealed = [sealer.seal(template.dump() + b" " * secrets.randbelow(2000)).encode() for _ in range(500)]
    tracemalloc.start()
    try:
        for value in sealed:
            memo.put(bytes(bytearray(value)), Session.load(sealer.unseal(value).data, 0.0))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < len(memo) < 500
    assert taken <= limit
