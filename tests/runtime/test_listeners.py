"""Whoever listens hears of everything, in order; and whatever they do, no request waits for it or breaks."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

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
