"""A login is used once, whoever waits hears what came of it, and what strangers leave in the store is bounded."""

from __future__ import annotations

import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.sessions.logins import CLOCK_TOLERANCE, LIFETIME
from lumin_middleware.sessions.marks import (
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
from tests.fakes import OLD_KEY, Workers

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
    workers.clock.advance(LIFETIME + CLOCK_TOLERANCE - 1)
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


async def test_a_process_marks_no_more_logins_than_leave_room_for_sessions(workers, marks):
    marks._budget.spend(MARKS_LIMIT)
    with pytest.raises(StoreUnavailable):
        await marks.use(STATE)
    assert workers.store.entries() == {}
    workers.clock.advance(LIFETIME)
    assert await marks.use(STATE)


def test_a_budget_is_what_it_says_in_each_half_hour():
    now = [0.0]
    budget = Budget(10, lambda: now[0])
    assert [budget.spend(4) for _ in range(3)] == [True, True, False]
    assert budget.spend(2)
    now[0] = LIFETIME
    assert budget.spend(10)
    now[0] = -1.0
    assert budget.spend(10), "a clock that went back begins anew"


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
    assert "xxxx" not in repr(workers.store.entries())
    workers.clock.advance(LIFETIME)
    assert await long_pages.find(kept) == LONG, "as long as the login lives"
    workers.clock.advance(CLOCK_TOLERANCE)
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
    long_pages._budget.spend(PAGES_LIMIT)
    assert await long_pages.keep(LONG) == "/home"
    assert workers.store.entries() == {}


async def test_what_another_key_has_kept_is_no_page(workers, long_pages):
    kept = await workers.process(secret_key=OLD_KEY).parts.long_pages.keep(LONG)
    assert await long_pages.find(kept) == "/home"
