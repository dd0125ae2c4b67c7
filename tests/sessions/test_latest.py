"""What many threads remember at once is bounded, and no thread meets another's step half done."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lumin_middleware.sessions.latest import Latest


def test_the_oldest_goes_first():
    latest: Latest[int] = Latest(2)
    assert [latest.put(key, number) for number, key in enumerate("abac")] == [False, False, False, True]
    assert latest.all() == [2, 3]
    assert dict(latest) == {"a": 2, "c": 3}


def test_what_was_remembered_since_is_not_forgotten():
    latest: Latest[str] = Latest(5)
    latest.put("a", "old")
    latest.put("a", "new")
    latest.drop("a", "old")
    latest.drop("b", "old")
    assert dict(latest) == {"a": "new"}
    latest.drop("a", "new")
    assert dict(latest) == {}


@pytest.mark.parametrize("limit", [5, 50])
def test_threads_that_remember_and_forget_at_once_meet_no_error(limit):
    """Sessions whose store is away are given up together."""
    latest: Latest[int] = Latest(limit)

    def work(thread: int) -> None:
        for number in range(3000):
            latest.put(f"{number * thread % 97}", number)
            latest.all()
            latest.pop(f"{number % 97}", None)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(1, 9)))
    finally:
        sys.setswitchinterval(switch)
    assert len(latest) <= limit + 8  # what others add between a look and a step
    latest.put("last", 0)
    assert len(latest) <= limit
