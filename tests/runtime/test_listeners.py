"""Whoever listens hears of everything, in order; and whatever they do, no request waits for it or breaks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest

from lumin_middleware.events import Event, Loop, SignedIn
from lumin_middleware.runtime import listeners
from lumin_middleware.runtime.listeners import LIMIT, LoopListeners, ThreadListeners
from tests.edges import rig
from tests.edges.rig import EDGES
from tests.patience import PATIENCE
from tests.site_rig import Clock


def event(number: int) -> Event:
    return Loop(at=float(number))


async def test_a_plain_function_hears_all_in_order_in_a_thread():
    heard: list[tuple[float, bool]] = []
    here = threading.get_ident()
    told = LoopListeners(lambda each: heard.append((each.at, threading.get_ident() != here)), Clock())
    for number in range(50):
        told.tell(event(number))
    await told.aclose(PATIENCE)
    assert heard == [(float(number), True) for number in range(50)]


async def test_an_async_function_hears_all_in_order_on_the_loop():
    heard: list[float] = []

    async def listen(each: Event) -> None:
        await asyncio.sleep(0)
        asyncio.get_running_loop()
        heard.append(each.at)

    told = LoopListeners(listen, Clock())
    for number in range(50):
        told.tell(event(number))
    await told.aclose(PATIENCE)
    assert heard == [float(number) for number in range(50)]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_under_wsgi_either_hears_all_in_order(kind):
    heard: list[float] = []

    async def listen(each: Event) -> None:
        heard.append(each.at)

    told = ThreadListeners(listen if kind == "async" else lambda each: heard.append(each.at), Clock())
    for number in range(50):
        told.tell(event(number))
    told.close(PATIENCE)
    assert heard == [float(number) for number in range(50)]


async def test_one_that_raises_is_told_of_and_hears_the_next(caplog):
    heard: list[float] = []

    def listen(each: Event) -> None:
        heard.append(each.at)
        raise ValueError("a secret of its own")

    for told in (LoopListeners(listen, Clock()), ThreadListeners(listen, Clock())):
        told.tell(event(1))
        told.tell(event(2))
        await told.aclose(PATIENCE) if isinstance(told, LoopListeners) else told.close(PATIENCE)
    assert heard == [1.0, 2.0, 1.0, 2.0]
    assert caplog.text.count("listener_failed: ") == 2
    assert "a secret of its own" not in caplog.text


@pytest.mark.parametrize("kind", [LoopListeners, ThreadListeners])
async def test_one_that_is_too_slow_misses_some_which_are_counted(kind, monkeypatch, caplog):
    monkeypatch.setattr(listeners, "LIMIT", 5)
    go = threading.Event()
    heard: list[float] = []

    def listen(each: Event) -> None:
        go.wait(PATIENCE)
        heard.append(each.at)

    told = kind(listen, Clock())
    for number in range(20):
        told.tell(event(number))
        await asyncio.sleep(0.01)  # one is with the listener
    go.set()
    await told.aclose(PATIENCE) if isinstance(told, LoopListeners) else told.close(PATIENCE)
    assert told.dropped == 20 - len(heard)
    assert heard[:5] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert told.dropped >= 14
    assert caplog.text.count("events_dropped: ") == 1


async def test_without_a_listener_nothing_is_kept():
    for told in (LoopListeners(None, Clock()), ThreadListeners(None, Clock())):
        for number in range(LIMIT * 2):
            told.tell(event(number))
        assert told.dropped == 0
        assert not told._waiting


@pytest.mark.parametrize("edge", EDGES)
async def test_no_request_waits_for_a_listener_that_hangs(edge):
    go = threading.Event()
    heard: list[Event] = []

    def listen(each: Event) -> None:
        go.wait(PATIENCE)
        heard.append(each)

    with rig.lumin() as lumin:
        site = lumin.site(on_event=listen)
        browser = site.browser(edge)
        began = time.monotonic()
        assert (await browser.sign_in("/page")).header("location") == "/page"
        assert time.monotonic() - began < PATIENCE
        assert not heard
        go.set()
        await site.aclose()
    assert [type(each) for each in heard] == [SignedIn]


# --- whose context they run in ---

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("listeners_of", [LoopListeners, ThreadListeners])
async def test_a_listener_runs_in_no_request_s_context(listeners_of, kind):
    """The events that it hears are others', too: their lines would have the id of the request that woke it."""
    seen: list[str] = []

    def plain(each: Event) -> None:
        seen.append(REQUEST.get())
        REQUEST.set(f"of the listener {each.at}")

    async def later(each: Event) -> None:
        plain(each)

    told = listeners_of(plain if kind == "plain" else later, Clock())

    async def request(name: str) -> None:
        REQUEST.set(name)
        told.tell(event(1))

    for name in ("one", "two"):
        await asyncio.create_task(request(name))
    await told.aclose(PATIENCE) if isinstance(told, LoopListeners) else told.close(PATIENCE)
    assert seen[0] == "none"
    assert not {"one", "two"} & set(seen)


# --- the end of a process ---

SCRIPT = """
import os, sys, threading, time
from lumin_middleware.events import Loop
from lumin_middleware.runtime import listeners
from lumin_middleware.runtime.listeners import ThreadListeners

def listen(event):
    time.sleep(0.05)
    print("heard", event.at, flush=True)

told = ThreadListeners(listen, time.time)
"""


def ended(script: str) -> subprocess.CompletedProcess[str]:
    """A program that came to its end by itself, and what it said."""
    done = subprocess.run([sys.executable, "-c", SCRIPT + script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("how", ["", "sys.exit()", "del told"])
def test_the_end_of_a_program_waits_until_all_is_heard(how):
    done = ended(f"""
listeners.AT_EXIT = {PATIENCE}
for number in range(3):
    told.tell(Loop(at=number))
{how}
""")
    assert done.stdout.splitlines() == ["heard 0", "heard 1", "heard 2"]
    assert done.stderr == ""


def test_the_end_of_a_program_does_not_wait_for_a_listener_that_hangs():
    done = ended("""
hangs = threading.Semaphore(0)

def hang(event):
    hangs.release()
    threading.Event().wait()

listeners.AT_EXIT = 0.2
several = [ThreadListeners(hang, time.time) for _ in range(20)]
for each in several:
    each.tell(Loop(at=1))
    each.tell(Loop(at=2))
    hangs.acquire()
""")
    assert done.stderr.count("events_dropped: ") == done.stderr.count("so_far=1") == 20


def test_what_is_told_when_no_thread_can_begin_any_more_breaks_nothing():
    """Python 3.12 starts none while a process ends."""
    done = ended("""
import atexit

def last():
    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = start
    told.tell(Loop(at=1))
    print("told")

atexit.register(last)
""")
    assert done.stdout == "told\n"
    assert "events_dropped: " in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_waits_for_none_of_its_parent_s_listeners():
    done = ended(f"""
import atexit

def listen(event):
    go.wait()
    print("heard", event.at, "by the parent" if os.getpid() == parent else "by the child", flush=True)

listeners.AT_EXIT, parent, go = {PATIENCE}, os.getpid(), threading.Event()
told = ThreadListeners(listen, time.time)
for number in range(2):
    told.tell(Loop(at=number))
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    print("the child ended", status, flush=True)
    go.set()
else:
    own = ThreadListeners(lambda event: print("the child's own", event.at, flush=True), time.time)
    own.tell(Loop(at=7))
""")
    assert done.stdout.splitlines() == [
        *("the child's own 7", "the child ended 0"),
        *("heard 0 by the parent", "heard 1 by the parent"),
    ]
    assert "events_dropped" not in done.stderr


RAISED = [
    ValueError("no"),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
]
AWAITED = [
    ValueError("no"),
    SystemExit(1),
    asyncio.CancelledError(),
]  # Ctrl-C and the end of the loop are no listener's


class Raising:
    """Hears, and raises the first times: when it is called, or when what it returned is awaited."""

    def __init__(self, error: BaseException, kind: str) -> None:
        self.error = error
        self.heard: list[float] = []
        self.listen = {"plain": self.plain, "async": self.later, "awaitable": lambda each: self.later(each)}[kind]

    def plain(self, each: Event) -> None:
        self.heard.append(each.at)
        if len(self.heard) < 3:
            raise self.error

    async def later(self, each: Event) -> None:
        self.plain(each)


CASES = [
    *(("plain", error) for error in RAISED),
    *((kind, error) for kind in ("async", "awaitable") for error in AWAITED),
]


@pytest.mark.parametrize(("kind", "error"), CASES, ids=repr)
async def test_whatever_a_listener_raises_the_loop_goes_on_and_it_hears_the_next(kind, error, caplog):
    raising = Raising(error, kind)
    told = LoopListeners(raising.listen, Clock())
    for number in range(5):
        told.tell(event(number))
    await told.aclose(PATIENCE)
    assert raising.heard == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert caplog.text.count(f"error='{type(error).__name__}'") == 1


@pytest.mark.parametrize(("kind", "error"), CASES, ids=repr)
def test_whatever_a_listener_raises_its_thread_goes_on_and_it_hears_the_next(kind, error, caplog):
    raising = Raising(error, kind)
    told = ThreadListeners(raising.listen, Clock())
    for number in range(5):
        told.tell(event(number))
    told.close(PATIENCE)
    assert raising.heard == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert caplog.text.count(f"error='{type(error).__name__}'") == 1


async def test_a_loop_that_ends_ends_a_listener_that_takes_long(caplog):
    async def listen(each: Event) -> None:
        await asyncio.Event().wait()

    told = LoopListeners(listen, Clock())
    told.tell(event(0))
    await asyncio.sleep(0)
    task = told._task
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert caplog.text == ""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
async def test_a_loop_of_eager_tasks_hears_all_and_no_request_waits():
    heard: list[float] = []

    async def listen(each: Event) -> None:
        heard.append(each.at)

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    told = LoopListeners(listen, Clock())
    for number in range(20):
        told.tell(event(number))
        assert heard == []
    await told.aclose(PATIENCE)
    told.tell(event(20))
    await told.aclose(PATIENCE)
    assert heard == [float(number) for number in range(21)]
