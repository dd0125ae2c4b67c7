"""Whoever makes an event loop for each call leaves nothing behind: neither memory nor what could not be saved."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from contextlib import closing
from contextvars import ContextVar

import pytest

from lumin_middleware import AsyncGrants, LuminMiddleware
from lumin_middleware.errors import ConfigurationError
from lumin_middleware.events import SignedOut
from lumin_middleware.runtime.event_loop import AsyncWorld
from lumin_middleware.runtime.loops import Loops
from lumin_middleware.stores import MemoryStore
from tests.documents import ROOT
from tests.fakes import config
from tests.patience import PATIENCE


class Parts:
    """Of a site: what it could not save."""

    def __init__(self):
        self.unsaved = []
        self.parts = self

    def inherit(self, other):
        self.unsaved += other.unsaved


class World:
    """On a loop."""

    process = os.getpid()

    def let_go(self):
        """It has no threads."""


def test_what_a_closed_loop_could_not_save_the_next_one_has():
    loops = Loops(lambda: (Parts(), World()))

    async def serve(name):
        found, _ = loops.on(asyncio.get_running_loop())
        assert loops.on(asyncio.get_running_loop())[0] is found
        found.unsaved.append(name)
        return found.unsaved

    assert [asyncio.run(serve(name)) for name in "abc"][-1] == ["a", "b", "c"]


def test_each_loop_has_its_own():
    """One after the other in a thread, and at the same time in several, in the middle of each other's requests."""
    loops = Loops(lambda: (Parts(), World()))

    async def serve():
        return loops.here()[0]

    async def serve_beside():
        own, others = await serve(), []
        thread = threading.Thread(target=lambda: others.append(asyncio.run(serve())))
        thread.start()
        thread.join(PATIENCE)  # meanwhile this task is at work
        assert await serve() is own is not others[0]
        return own, *others

    assert len({id(site) for pair in (asyncio.run(serve_beside()), asyncio.run(serve_beside())) for site in pair}) == 4
    with pytest.raises(ConfigurationError, match="another event loop than asyncio's"):
        loops.here()


def test_a_loop_inside_a_task_of_another_has_its_own():
    """Some tools put the running loop aside, to run another one meanwhile."""
    loops = Loops(lambda: (Parts(), World()))

    async def serve():
        return loops.here()[0]

    async def serve_inside():
        outer, loop = await serve(), asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        with closing(asyncio.new_event_loop()) as beside:
            inner = beside.run_until_complete(serve())
        asyncio._set_running_loop(loop)
        assert await serve() is outer is not inner

    asyncio.run(serve_inside())


FORKED = """
import asyncio, os
from types import SimpleNamespace
from lumin_middleware.runtime.loops import Loops

def made():
    return SimpleNamespace(loop=asyncio.get_running_loop(), process=os.getpid()), SimpleNamespace(process=None)

loops = Loops(made)

async def serve():
    site = loops.here()[0]
    return site.loop is asyncio.get_running_loop() and site.process == os.getpid()

async def fork():
    assert await serve()
    child = os.fork()
    if not child:
        os._exit(0 if asyncio.run(serve()) else 7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), await serve())

asyncio.run(fork())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_forked_in_the_middle_of_a_request_has_its_own():
    ran = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.stdout, ran.stderr) == ("0 True\n", "")


@pytest.mark.parametrize("kind", [LuminMiddleware, AsyncGrants])
def test_what_served_on_a_loop_goes_with_it(kind):
    async def app(scope, receive, send): ...

    settings = config(store="memory://")
    served = LuminMiddleware(app, settings) if kind is LuminMiddleware else AsyncGrants(settings)
    seen = []

    async def serve():
        site, _ = served._loops.on(asyncio.get_running_loop())
        seen.append(weakref.ref(site))

    for _ in range(3):
        asyncio.run(serve())
    gc.collect()
    assert [ref() is None for ref in seen] == [True, True, False]


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "left"])
def test_the_threads_of_a_loop_go_with_it(closes, tmp_path):
    """Where each call has a loop of its own they would be hundreds."""
    served, threads = AsyncGrants(config(store=f"sqlite://{tmp_path / 'own' / 'store'}")), []

    async def serve():
        _, world = served._loops.on(asyncio.get_running_loop())
        threads.append(await world._threads.call(threading.current_thread))
        if closes:
            await served.aclose()

    for _ in range(2):
        asyncio.run(serve())
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


async def test_a_token_that_comes_while_the_end_waits_is_saved_at_the_end(monkeypatch):
    """It was asked for before, and `timeout` is what it may take."""
    answered, order, wait = asyncio.Event(), [], asyncio.wait

    async def app(scope, receive, send): ...

    async def renewal():
        await answered.wait()
        order.append("token")

    async def finish():
        order.append("finish")

    async def waited(tasks, *, timeout):
        if not order:  # the time that is not kept back for saving is over
            return set(), set(tasks)
        answered.set()
        return await wait(tasks)

    middleware = LuminMiddleware(app, config(store="memory://", timeout=10))
    party, world = middleware._party()
    renewing = asyncio.ensure_future(world.shield(renewal))
    await asyncio.sleep(0)
    monkeypatch.setattr(party.parts, "finish", finish)
    monkeypatch.setattr(asyncio, "wait", waited)
    await middleware.aclose()
    assert order == ["finish", "token", "finish"]
    await renewing


async def test_one_time_limit_is_for_all_that_the_end_waits_for(monkeypatch):
    """A renewal and a listener that never end: together they get what one of them would."""
    never = asyncio.Event()
    waits = []

    async def listener(event):
        await never.wait()

    async def app(scope, receive, send): ...

    async def wait(tasks, *, timeout):
        waits.append(timeout)
        loop.passed += timeout
        return set(), set(tasks)

    class Later:
        """The loop, as long as that has waited."""

        passed = 0.0

        def time(self):
            return asyncio.get_running_loop().time() + self.passed

    loop = Later()
    middleware = LuminMiddleware(app, config(store="memory://", on_event=listener, timeout=10))
    _, world = middleware._party()
    world.tell(SignedOut(subject="mira", session="0123", at=0.0))
    waiting = asyncio.ensure_future(world.shield(never.wait))
    await asyncio.sleep(0)
    world.loop = loop
    monkeypatch.setattr(asyncio, "wait", wait)
    await middleware.aclose()
    assert len(waits) == 3  # for all but what saving takes, for the rest of it, and for the listener
    assert sum(waits) <= 10
    assert waits[0] > 5
    never.set()
    await waiting


async def test_what_goes_on_beside_the_requests_has_nothing_of_theirs_and_ends_with_the_world():
    request = ContextVar("request", default="none")
    request.set("a request")
    world = AsyncWorld(config(), MemoryStore(), time.time)
    begun, ended, seen = asyncio.Event(), asyncio.Event(), []

    async def action():
        seen.append(request.get())
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    world.beside(action)
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await world.aclose(world.loop.time() + PATIENCE)
        await ended.wait()
    assert seen == ["none"]


STOPPED = """
import asyncio, os, sys
from lumin_middleware import {kind}
from lumin_middleware.events import SignedOut
from tests.fakes import config

async def app(scope, receive, send): ...

settings = config(store="sqlite://" + sys.argv[1], on_event=lambda event: print("heard", flush=True), timeout=120)
served = {made}
loop = asyncio.new_event_loop()

async def renewal(world):
    await world.store.swap("session", None, b"asked for", 60)
    loop.stop()  # as by Daphne
    await asyncio.sleep(0.01)
    print("saved", await world.store.swap("session", b"asked for", b"renewed", 60), flush=True)
    world.tell(SignedOut(subject="mira", session="0123", at=0.0))

async def request():
    site, world = served._loops.on(loop)
    finish = site.parts.finish

    async def told():
        print("finishes", flush=True)
        await finish()

    site.parts.finish = told
    await world.shield(lambda: renewal(world))

task = loop.create_task(request())
loop.run_forever()
print("stopped", flush=True)
child = os.fork()
if child == 0:  # it has an end of its own, and nothing of its parent's in it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # Python tells of the tasks
    sys.exit()
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("kind", "made"), [("LuminMiddleware", "LuminMiddleware(app, settings)"), ("AsyncGrants", "AsyncGrants(settings)")]
)
def test_what_a_loop_was_stopped_in_is_finished_at_the_end_of_the_process(kind, made, tmp_path):
    """No thread can start any more by then: the store is asked in the one that is left."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOPPED.format(kind=kind, made=made), str(tmp_path / "own" / "store")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    first, *then = done.stdout.splitlines()
    assert (first, sorted(then)) == ("stopped", ["finishes", "heard", "saved True"])


def test_the_end_of_a_process_leaves_closed_and_running_loops_alone():
    loops = Loops(lambda: (Parts(), World()))

    async def serve():
        loops.on(asyncio.get_running_loop())

    async def running():
        await serve()
        loops.finish()

    asyncio.run(serve())
    asyncio.run(running())
    loops.finish()
