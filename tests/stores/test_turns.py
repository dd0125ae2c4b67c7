"""Turns at a few connections, of threads and of tasks: first come, first served, and none is ever lost."""

from __future__ import annotations

import asyncio
import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio
import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.stores import turns as module
from lumin_middleware.stores.turns import AsyncTurns, Turns
from tests.patience import PATIENCE

from .queueing import queued

AGES = 10_000.0
"""Seconds that nobody waits here."""

IN_VAIN = r"^Store: no connection became free within twice 0\.01 seconds$"


def assert_all_are_free(turns: Turns) -> None:
    assert (len(turns._waiting), len(turns._served)) == (0, 0)
    with turns.one():
        pass


async def assert_free(turns: AsyncTurns, count: int) -> None:
    """So many may have a turn together, and no more."""
    for _ in range(count):
        assert not turns._turns.locked()
        await turns._turns.acquire()
    assert turns._turns.locked()


# --- threads --------------------------------------------------------------------------------------------


def test_threads_are_served_as_they_came_and_who_comes_again_is_the_last() -> None:
    turns, served = Turns("Store", 1, AGES), []

    def come(number: int) -> None:
        with turns.one():
            served.append(number)

    with turns.one(), queued(8, come):
        turns._leave(next(iter(turns._served)))
        come(8)
    assert served == list(range(9))


def test_as_many_threads_as_there_are_connections_have_a_turn_at_once() -> None:
    turns, together = Turns("Store", 3, AGES), threading.Barrier(3)

    def come(_: int) -> None:
        with turns.one():
            assert len(turns._served) <= 3
            together.wait(PATIENCE)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not together.broken
    assert_all_are_free(turns)


def test_a_thread_that_waits_in_vain_is_told_and_takes_no_turn_with_it() -> None:
    turns = Turns("Store", 1, 0.01)
    with turns.one(), pytest.raises(StoreUnavailable, match=IN_VAIN), turns.one():
        raise AssertionError("there is one connection")
    assert_all_are_free(turns)


def test_a_process_that_stood_still_for_longer_than_anybody_waits_fails_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everybody's limit is over then, whose turn it would have been or not."""

    class Late(threading.Event):
        late = False

        def wait(self, timeout: float | None = None) -> bool:
            first, self.late = not self.late, True
            return False if first and not self.is_set() else super().wait(timeout)

    turns, served = Turns("Store", 1, AGES), []

    def come(number: int) -> None:
        with turns.one():
            served.append(number)

    monkeypatch.setattr(module.threading, "Event", Late)
    with turns.one(), queued(8, come):
        turns._leave(next(iter(turns._served)))
    assert served == list(range(8)), "in their order"


class Interrupted(BaseException):
    """As Ctrl-C, or as gevent ends a greenlet."""


@pytest.mark.parametrize("its_turn_comes", [False, True])
def test_a_thread_that_is_interrupted_as_it_waits_takes_no_turn_with_it(
    monkeypatch: pytest.MonkeyPatch, its_turn_comes: bool
) -> None:
    turns = Turns("Store", 1, AGES)

    class Cut(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if its_turn_comes:
                turns._leave(held)
                assert self.is_set()
            raise Interrupted

    with turns.one():
        [held] = turns._served
        monkeypatch.setattr(module.threading, "Event", Cut)
        with pytest.raises(Interrupted), turns.one():
            raise AssertionError("there is one connection")
        monkeypatch.undo()
    assert_all_are_free(turns)


def test_a_thread_that_is_interrupted_at_any_step_on_its_way_takes_no_turn_with_it() -> None:
    def interrupted(step: int) -> Callable[[FrameType, str, Any], Any]:
        left = step

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename != module.__file__:
                return None
            # Between a block's end and `__exit__`, which has the same line, Python itself interrupts nobody.
            is_block = linecache.getline(module.__file__, frame.f_lineno).strip().startswith("with ")
            left -= event == "line" and not is_block
            if left < 0:
                raise Interrupted  # after which nothing is traced any more
            return trace

        return trace

    before = sys.gettrace()
    for step in range(100):
        turns, has_arrived = Turns("Store", 1, AGES), False
        sys.settrace(interrupted(step))
        try:
            with turns.one():
                sys.settrace(None)
                has_arrived = True
        except Interrupted:
            pass
        finally:
            sys.settrace(before)
        assert_all_are_free(turns)
        if has_arrived:
            break
    assert 5 < step < 99


@pytest.mark.parametrize("failure", [ValueError, Interrupted])
def test_a_thread_that_fails_in_its_turn_gives_it_back(failure: type[BaseException]) -> None:
    turns = Turns("Store", 1, AGES)
    with pytest.raises(failure), turns.one():
        raise failure
    assert_all_are_free(turns)


# --- tasks ----------------------------------------------------------------------------------------------


async def test_tasks_are_served_as_they_came_and_who_comes_again_is_the_last() -> None:
    turns, served = AsyncTurns("Store", 2, AGES), []

    async def come(number: int) -> None:
        for round_ in range(5):
            async with turns.one():
                served.append((round_, number))
                await asyncio.sleep(0)

    await asyncio.gather(*map(come, range(9)))
    assert served == sorted(served)
    await assert_free(turns, 2)


async def test_a_task_that_waits_in_vain_is_told_and_takes_no_turn_with_it() -> None:
    turns = AsyncTurns("Store", 1, 0.01)
    async with turns.one():
        with pytest.raises(StoreUnavailable, match=IN_VAIN):
            async with turns.one():
                raise AssertionError("there is one connection")
    await assert_free(turns, 1)


async def test_a_loop_that_was_busy_for_longer_than_anybody_waits_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, served, loop = AsyncTurns("Store", 1, AGES), [], asyncio.get_running_loop()
    time, late = loop.time, 0.0

    async def come(number: int) -> None:
        async with turns.one():
            served.append(number)
            await asyncio.sleep(0)

    monkeypatch.setattr(loop, "time", lambda: time() + late)
    async with turns.one():
        waiting = [asyncio.create_task(come(number)) for number in range(20)]
        await asyncio.sleep(0)
        late = 3 * AGES
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert served == list(range(20)), "in their order"


@pytest.mark.parametrize("pauses", range(4))
@pytest.mark.parametrize("how", ["asyncio", "anyio"])
async def test_a_task_that_is_cancelled_takes_no_turn_with_it(pauses: int, how: str) -> None:
    """While it waits, as its turn comes, in its turn, and after it."""
    turns, scope = AsyncTurns("Store", 1, AGES), anyio.CancelScope()

    async def come() -> None:
        with scope:
            async with turns.one():
                await asyncio.sleep(0)

    async with turns.one():
        task, other = asyncio.create_task(come()), asyncio.create_task(turns._wait())
        await asyncio.sleep(0)
    for _ in range(pauses):
        await asyncio.sleep(0)
    task.cancel() if how == "asyncio" else scope.cancel()
    await asyncio.wait([task, other], timeout=PATIENCE)
    assert other.done()
    turns._turns.release()
    await assert_free(turns, 1)


@pytest.mark.parametrize("failure", [ValueError, Interrupted])
async def test_a_task_that_fails_in_its_turn_gives_it_back(failure: type[BaseException]) -> None:
    turns = AsyncTurns("Store", 1, AGES)
    with pytest.raises(failure):
        async with turns.one():
            raise failure
    await assert_free(turns, 1)


def test_without_a_limit_threads_wait() -> None:
    turns, served = Turns("Store", 1, None), []

    def come(number: int) -> None:
        with turns.one():
            served.append(number)

    with turns.one(), queued(2, come):
        turns._leave(next(iter(turns._served)))
    assert served == [0, 1]


async def test_without_a_limit_tasks_wait() -> None:
    turns, served = AsyncTurns("Store", 1, None), []

    async def come(number: int) -> None:
        async with turns.one():
            await asyncio.sleep(0)
            served.append(number)

    await asyncio.gather(come(0), come(1))
    assert served == [0, 1]
