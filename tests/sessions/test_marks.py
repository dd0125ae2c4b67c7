"""A login is used once, whoever waits hears what came of it, and what strangers leave in the store is bounded."""

from __future__ import annotations

import types
from collections.abc import Generator, Iterable
from contextlib import suppress
from itertools import combinations, pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.sessions.logins import CLOCK_SETBACK, LIFETIME, short_name
from lumin_middleware.sessions.marks import (
    CONNECTED,
    CONNECTING,
    DONE,
    INLINE_LIMIT,
    MARKS_LIMIT,
    PAGES_LIMIT,
    USED,
    VOID,
    Budget,
    LongPages,
    Marks,
)
from tests.fakes import OLD_KEY, Workers, hostile

STATE = "s" * 240
LONG = "/" + "x" * INLINE_LIMIT


@pytest.fixture
def workers() -> Workers:
    return Workers(after_login="/home")


@pytest.fixture
def marks(workers) -> Marks:
    return workers.process().parts.marks


# --- used once ---


async def test_a_login_can_be_used_once_by_whichever_process(workers, marks):
    assert await marks.outcome(STATE) is None
    assert await marks.use(STATE)
    assert not await marks.use(STATE)
    assert not await workers.process().parts.marks.use(STATE)
    assert await marks.outcome(STATE) == USED


@pytest.mark.parametrize("outcome", [DONE, VOID])
async def test_whoever_waits_hears_what_came_of_it(workers, marks, outcome):
    await marks.use(STATE)
    await workers.process().parts.marks.ended(STATE, outcome)
    assert await marks.outcome(STATE) == outcome
    assert not await marks.use(STATE)


async def test_a_sign_in_that_nobody_took_is_undone(marks):
    await marks.use(STATE)
    await marks.ended(STATE, DONE)
    await marks.ended(STATE, VOID)
    assert await marks.outcome(STATE) == VOID


async def test_that_it_was_used_is_known_as_long_as_it_could_be_used(workers, marks):
    await marks.use(STATE)
    workers.clock.advance(LIFETIME + CLOCK_SETBACK - 1)
    assert not await marks.use(STATE)
    workers.clock.advance(1)
    assert workers.store.entries() == {}


async def test_a_mark_is_small_and_says_nothing(workers, marks):
    await marks.use(STATE)
    ((key, value),) = workers.store.entries().items()
    assert STATE[:20] not in key
    assert len(key) + len(value) < 120


@pytest.mark.parametrize("step", ["get login", "swap login"])
async def test_a_store_in_trouble_is_not_a_login_that_was_not_used(workers, marks, step):
    workers.store.fails = {step}
    with pytest.raises(StoreUnavailable):
        await (marks.use(STATE) if step.startswith("swap") else marks.outcome(STATE))
    await marks.ended(STATE, VOID)  # nobody who has signed in is kept from it by that


def test_a_budget_bounds_what_lives_at_one_time_and_has_something_again_soon():
    now = [0.0]
    budget = Budget(1000, 100, lambda: now[0])
    spent: list[float] = []
    for moment in range(2000):
        now[0] = moment / 4
        while budget.spend(1):
            spent.append(now[0])
        assert len([each for each in spent if each > now[0] - 100]) <= 1000
    assert len([each for each in spent if each == 0]) == 500, "a rush"
    assert max(later - each for each, later in pairwise(spent)) <= 0.25, "and nobody waits for long after it"


def test_a_budget_saves_up_no_more_than_it_has_room_for():
    now = [0.0]
    budget = Budget(20, 100, lambda: now[0])
    now[0] = 1e6
    assert [budget.spend(4) for _ in range(3)] == [True, True, False]
    assert budget.spend(2)
    now[0] = -1.0
    assert not budget.spend(1)
    now[0] = 9.1
    assert budget.spend(1), "a clock that went back begins anew"


async def test_after_a_rush_of_strangers_somebody_can_sign_in_a_moment_later(workers, marks):
    assert marks._budget.spend(MARKS_LIMIT // 2)
    with pytest.raises(StoreUnavailable):
        await marks.use(STATE)
    assert workers.store.entries() == {}
    workers.clock.advance(1)
    assert await marks.use(STATE)


async def test_one_callback_again_and_again_takes_nothing_from_others(marks):
    assert marks._budget.spend(MARKS_LIMIT // 2 - 2)
    assert [await marks.use(STATE) for _ in range(10)] == [True, *[False] * 9]
    assert await marks.use("another")


# --- several at once ---


class InSteps:
    """A store each verb of which is one step, before which others may take theirs."""

    def __init__(self) -> None:
        self.values: dict[str, bytes | None] = {}

    async def get(self, key: str) -> bytes | None:
        await step()
        return self.values.get(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        await step()
        if self.values.get(key) != old:
            return False
        self.values[key] = new
        return True


@types.coroutine
def step() -> Generator[None]:
    yield


class Contest:
    """Logins of one browser, each of which is used by a process of its own."""

    def __init__(self, states: str) -> None:
        self.world = SimpleNamespace(store=InSteps(), clock=lambda: 0.0)
        self.seen: dict[str, list[str]] = {}
        self.won: dict[str, bool] = {}
        self._running = {state: self._use(state, states) for state in states}

    async def _use(self, state: str, states: str) -> None:
        marks = Marks(self.world)
        assert await marks.use(state)
        others = {short_name(other): other for other in states if other != state}
        rivals, done = await marks.rivals(others)
        self.seen[state] = [others[name] for name in rivals]
        if done:
            await marks.ended(state, VOID)
        self.won[state] = not done and await marks.win(state, rivals)

    def go_on(self, turns: Iterable[str]) -> None:
        """Lets them take their steps in this order, as far as they have any, and then the rest."""
        for state in [*turns, *(each for each in self._running for _ in range(20))]:
            with suppress(StopIteration):
                if state in self._running:
                    self._running[state].send(None)
                    continue
            self._running.pop(state, None)

    def assert_one_cookie(self) -> None:
        """One has won, and nobody else."""
        assert list(self.won.values()).count(True) == 1, (self.won, self.seen)
        assert USED not in self.world.store.values.values()


@pytest.mark.parametrize("states", ["ab", "ba"])
def test_of_two_logins_that_are_used_at_once_one_wins_whatever_the_order_of_steps(states):
    met = 0
    for first in combinations(range(12), 6):
        contest = Contest(states)
        contest.go_on(states[0] if turn in first else states[1] for turn in range(12))
        contest.assert_one_cookie()
        met += any(contest.seen.values())
    assert met > 500


@hostile
@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_of_several_logins_that_are_used_at_once_at_most_one_wins(turns):
    contest = Contest("abcd")
    contest.go_on(turns)
    contest.assert_one_cookie()


async def test_a_store_that_fails_takes_no_sign_in_away(marks, workers):
    await marks.use(STATE)
    workers.store.fails = {"get login", "swap login"}
    assert await marks.rivals(["0" * 16]) == ([], [])
    assert await marks.win(STATE, ["0" * 16])


# --- long pages ---


@pytest.fixture
def long_pages(workers) -> LongPages:
    return workers.process().parts.long_pages


async def test_a_short_page_stands_for_itself(workers, long_pages):
    page = LONG[:INLINE_LIMIT]
    assert await long_pages.keep(page) == page
    assert await long_pages.find(page) == page
    assert workers.store.entries() == {}


async def test_a_long_page_waits_in_the_store_where_nobody_can_read_it(workers, long_pages):
    kept = await long_pages.keep(LONG)
    assert len(kept) < 100
    assert await workers.process().parts.long_pages.find(kept) == LONG
    assert LONG[1:100] not in repr(workers.store.entries())
    workers.clock.advance(LIFETIME)
    assert await long_pages.find(kept) == LONG, "as long as the login lives"
    workers.clock.advance(CLOCK_SETBACK)
    assert await long_pages.find(kept) == "/home"


async def test_one_page_is_kept_once_however_many_tabs_wait_for_it(workers, long_pages):
    assert {await long_pages.keep(LONG) for _ in range(5)} == {await long_pages.keep(LONG)}
    assert len(workers.store.entries()) == 1


@pytest.mark.parametrize("step", ["get page", "swap page"])
async def test_without_the_store_a_long_page_is_forgotten_and_that_is_said(workers, long_pages, step, caplog):
    workers.store.fails = {step}
    assert await long_pages.keep(LONG) == "/home"
    assert "is forgotten" in caplog.text


async def test_a_store_that_has_gone_meanwhile_costs_the_page_and_not_the_sign_in(workers, long_pages, caplog):
    kept = await long_pages.keep(LONG)
    workers.store.fails = {"get page"}
    assert await long_pages.find(kept) == "/home"
    assert "cannot be looked up" in caplog.text


async def test_long_pages_are_bounded_in_all(workers, long_pages, caplog):
    assert long_pages._budget.spend(PAGES_LIMIT // 2)
    assert await long_pages.keep(LONG) == "/home"
    assert workers.store.entries() == {}
    workers.clock.advance(1)
    kept = {await long_pages.keep(LONG) for _ in range(100)}
    assert kept.isdisjoint({"/home"}), "one page takes room once, and there is some a moment later"


async def test_what_another_key_has_kept_is_no_page(workers, long_pages):
    kept = await workers.process(secret_key=OLD_KEY).parts.long_pages.keep(LONG)
    assert await long_pages.find(kept) == "/home"


# --- a grant changes no session ---


async def test_a_login_that_brings_a_grant_is_nobodys_rival(workers, marks):
    assert await marks.use("connects", CONNECTING)
    assert await marks.use(STATE)
    names = [short_name("connects")]
    assert await marks.rivals(names) == ([], [])
    await marks.ended("connects", CONNECTED)
    assert await marks.outcome("connects") == CONNECTED
    assert await marks.rivals(names) == ([], [])
    assert await marks.win(STATE, [])
