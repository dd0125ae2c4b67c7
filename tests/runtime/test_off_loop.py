"""What blocks waits elsewhere, and neither a loop that stops nor a process that ends is left waiting for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextvars import ContextVar

import anyio
import pytest

from lumin_middleware.runtime.off_loop import OffLoop
from tests.documents import ROOT
from tests.patience import PATIENCE

where: ContextVar[str] = ContextVar("where", default="nowhere")


async def test_it_is_called_in_another_thread_and_in_the_context_of_whoever_waits():
    where.set("here")

    def look(*given: int) -> tuple[bool, str, tuple[int, ...]]:
        return threading.current_thread() is not threading.main_thread(), where.get(), given

    assert await OffLoop(1).call(look, 1, 2) == (True, "here", (1, 2))


async def test_what_it_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        await OffLoop(1).call(lambda: 1 / 0)


async def test_no_more_wait_at_once_than_there_are_threads():
    both, threads = threading.Barrier(2), OffLoop(2)
    at_once, most, lock = 0, 0, threading.Lock()

    def wait() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        both.wait(PATIENCE)
        with lock:
            at_once -= 1

    await asyncio.gather(*(threads.call(wait) for _ in range(6)))
    assert most == 2


async def test_a_time_limit_of_anyio_s_waits_for_it():
    begun, goes_on = threading.Event(), threading.Event()
    done = []

    def swap() -> None:
        begun.set()
        goes_on.wait(PATIENCE)
        done.append("done")

    async with anyio.create_task_group() as group:
        group.start_soon(OffLoop(1).call, swap)
        await asyncio.to_thread(begun.wait, PATIENCE)
        group.cancel_scope.cancel()
        goes_on.set()
    assert done == ["done"]


async def test_who_is_cancelled_waits_no_longer_and_what_has_not_begun_is_left_out():
    begun, goes_on, threads = threading.Event(), threading.Event(), OffLoop(1)
    done = []

    def first() -> None:
        begun.set()
        goes_on.wait(PATIENCE)
        done.append("first")

    waiting = [asyncio.ensure_future(threads.call(each)) for each in (first, lambda: done.append("second"))]
    await asyncio.to_thread(begun.wait, PATIENCE)
    for each in waiting:
        each.cancel()
    assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    goes_on.set()
    await threads.call(lambda: None)
    assert done == ["first"]


async def test_where_no_thread_can_start_it_is_called_here_and_once(monkeypatch):
    """Under a limit of the system's, and in a process whose main thread is over."""
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads, called = OffLoop(1), []
    for number in range(3):
        assert await threads.call(called.append, number) is None
    monkeypatch.undo()
    await threads.call(lambda: None)  # the first that gets a thread: what was put in its queue before is not done again
    assert called == [0, 1, 2]


async def test_what_is_called_here_finds_no_loop_to_block(monkeypatch):
    """Django refuses to ask its database on a loop."""
    monkeypatch.setattr(threading.Thread, "start", refuse)

    def look() -> str:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return "none"

    assert await OffLoop(1).call(look) == "none"
    assert asyncio.get_running_loop()


async def test_where_another_thread_takes_it_meanwhile_that_one_is_waited_for(monkeypatch):
    """A queue takes what no thread could be started for, and a thread that is there may come free just then."""
    threads, called = OffLoop(1), []

    def submit(turn):
        thread = threading.Thread(target=turn)
        thread.start()
        thread.join(PATIENCE)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads._threads, "submit", submit)
    assert await threads.call(lambda: called.append("once") or "done") == "done"
    assert called == ["once"]


async def test_threads_that_are_let_go_end_and_others_take_their_place():
    begun, goes_on, threads = threading.Event(), threading.Event(), OffLoop(2)

    def wait() -> str:
        begun.set()
        goes_on.wait(PATIENCE)
        return "done"

    waiting = asyncio.ensure_future(threads.call(wait))
    await asyncio.to_thread(begun.wait, PATIENCE)
    idle = await threads.call(threading.current_thread)
    threads.let_go()
    await asyncio.to_thread(idle.join, PATIENCE)
    assert not idle.is_alive()
    assert await threads.call(threading.current_thread) is not idle
    goes_on.set()
    assert await waiting == "done"


def refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


STOPPED = """
import asyncio
from lumin_middleware.runtime.off_loop import OffLoop

loop, threads = asyncio.new_event_loop(), OffLoop(1)

async def renew():
    await threads.call(int)
    loop.stop()  # by whoever else runs it
    await asyncio.sleep(0)
    await threads.call(int)

task = loop.create_task(renew())
loop.run_forever()
print("stopped", task.done())
"""


def test_a_process_ends_whose_loop_was_stopped_in_the_midst_of_it():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOPPED], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "stopped False\n")
