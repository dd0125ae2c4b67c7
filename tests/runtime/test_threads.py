"""Under WSGI whoever waits can be cut short, and what must come to its end is not: no refresh token is spent twice."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from django.db import connections

from lumin_middleware.errors import ServerUnavailable
from lumin_middleware.grants import Grants
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.ports import run
from lumin_middleware.runtime.threads import ThreadWorld
from lumin_middleware.stores import MemoryStore
from lumin_middleware.wsgi import LuminMiddleware
from tests.documents import ROOT
from tests.fakes import config
from tests.patience import PATIENCE
from tests.stores import django_database

LIMIT = 120.0
"""Of an answer: the longest that a setting takes."""


class Cut(Exception):
    """What a handler of a signal raises in whatever the main thread does."""


def cut(*_: object) -> None:
    raise Cut


@pytest.fixture
def cut_short() -> Iterator[Callable[[], None]]:
    """Cuts the test itself short, as a time limit does."""
    waiter = threading.get_ident()
    assert waiter == threading.main_thread().ident
    before = signal.signal(signal.SIGUSR1, cut)
    yield lambda: signal.pthread_kill(waiter, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def world() -> Iterator[ThreadWorld]:
    world = ThreadWorld(config(timeout=LIMIT), MemoryStore(), time.time)
    yield world
    world.close()


class Action:
    """It has its waiter cut short, and goes on when it may."""

    def __init__(self, cut_short: Callable[[], None]) -> None:
        self._cut_short = cut_short
        self.may_go_on = threading.Event()
        self.is_done = False

    async def __call__(self) -> str:
        self._cut_short()
        assert self.may_go_on.wait(PATIENCE)
        self.is_done = True
        return "done"


def test_only_who_waits_is_cut_short(world, cut_short):
    action = Action(cut_short)
    with pytest.raises(Cut):
        run(world.shield(action))
    assert not action.is_done
    action.may_go_on.set()
    world.settle()
    assert action.is_done
    assert not world._left


def test_what_nobody_is_left_to_take_is_undone(world, cut_short):
    action, undone = Action(cut_short), []

    async def undo(result):
        undone.append((result, threading.current_thread()))

    with pytest.raises(Cut):
        run(world.shield(action, undo))
    assert undone == []
    action.may_go_on.set()
    world.settle()
    [(result, thread)] = undone
    assert result == "done"
    assert thread is not threading.current_thread()


def test_what_failed_left_nothing_to_undo(world, cut_short, caplog):
    async def fails():
        cut_short()
        raise ServerUnavailable("no answer")

    async def undo(result):
        raise AssertionError

    with pytest.raises((Cut, ServerUnavailable)):
        run(world.shield(fails, undo))
    world.settle()
    assert caplog.text == ""


def test_a_renewal_whose_waiter_is_cut_short_is_saved_and_the_token_sent_once(cut_short):
    class Server:
        sent: list[str] = []
        answers = threading.Event()

        async def refresh(self, endpoint: str, token: str) -> dict[str, Any]:
            self.sent.append(token)
            cut_short()
            assert self.answers.wait(PATIENCE)
            return {"access_token": "new", "token_type": "bearer", "expires_in": 3600, "refresh_token": "next"}

        def close(self) -> None: ...

    middleware = LuminMiddleware(lambda environ, start_response: [], config(store=MemoryStore(), timeout=LIMIT))
    party, world = middleware._party()
    world.exchange.close()
    world.exchange = Server()  # type: ignore[assignment]
    now = time.time()
    session = Session(
        "session", 0, now - 60, now, TokenSet("old", now - 1, 60.0, ("openid",), "spent"), {"sub": "mira"}
    )
    with pytest.raises(Cut):
        run(party.parts.renewal.fresh(session))
    threading.Timer(0.1, Server.answers.set).start()  # while the next request waits
    assert run(party.parts.renewal.fresh(session)).tokens.access_token == "new"
    assert Server.sent == ["spent"]
    middleware.close()


@pytest.mark.parametrize(
    ("module", "make", "world"),
    [
        ("grants", lambda: Grants(config(store="memory://")), lambda grants: grants._site()[1]),
        (
            "wsgi",
            lambda: LuminMiddleware(lambda environ, start_response: [], config(store="memory://")),
            lambda middleware: middleware._party()[1],
        ),
    ],
)
def test_threads_that_come_first_together_leave_no_world_open(module, make, world, monkeypatch):
    both = threading.Barrier(2)
    made, closed = [], []

    class Watched(ThreadWorld):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)
            both.wait(PATIENCE)

        def close(self):
            closed.append(self)
            super().close()

    monkeypatch.setattr(f"lumin_middleware.{module}.ThreadWorld", Watched)
    site = make()
    found = []
    threads = [threading.Thread(target=lambda: found.append(world(site))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(made) == 2
    assert found[0] is found[1]
    assert closed == [each for each in made if each is not found[0]]
    site.close()
    assert sorted(map(id, closed)) == sorted(map(id, made))


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, sys, time
from gevent.event import Event
from lumin_middleware.ports import run
from lumin_middleware.runtime.threads import ThreadWorld
from lumin_middleware.stores import MemoryStore
from tests.fakes import config

world = ThreadWorld(config(), MemoryStore(), time.time)
begun, may_go_on = Event(), Event()

async def action():
    begun.set()
    may_go_on.wait()
    print("done")

waiter = gevent.spawn(run, world.shield(action))
begun.wait()
waiter.kill()
assert waiter.dead
gevent.spawn_later(0.1, may_go_on.set)  # when the program is at its end
"""


def test_under_gevent_a_greenlet_that_is_killed_leaves_what_it_began_to_the_end_of_the_process():
    pytest.importorskip("gevent")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GEVENT], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_results_and_errors_come_back_from_a_thread_that_the_end_of_a_process_waits_for(world):
    async def action():
        return threading.current_thread()

    async def fails():
        raise ServerUnavailable("no answer")

    found: list[threading.Thread] = []
    waiter = threading.Thread(target=lambda: found.append(run(world.shield(action))), daemon=True)
    waiter.start()
    waiter.join(PATIENCE)
    assert found[0] is not waiter
    assert not found[0].daemon
    with pytest.raises(ServerUnavailable, match="no answer"):
        run(world.shield(fails))
    assert not world._left


def test_what_is_in_the_waiter_s_context_is_in_the_action_s(world):
    request = ContextVar("request", default="nobody's")
    request.set("mine")

    async def action():
        return request.get()

    assert run(world.shield(action)) == "mine"


def test_a_sign_in_that_asks_the_site_stays_in_the_thread_of_its_request():
    """Its database may be one to a thread: SQLite in memory is, and a transaction of a test's."""
    world = ThreadWorld(config(admit=lambda claims: True), MemoryStore(), time.time)

    async def action():
        return threading.current_thread()

    async def undo(result): ...

    assert run(world.shield(action, undo)) is threading.current_thread()
    assert run(world.shield(action)) is not threading.current_thread()
    world.close()


def test_within_what_is_shielded_no_other_thread_is_needed(world):
    async def inner():
        return threading.current_thread()

    async def outer():
        return threading.current_thread(), await world.shield(inner)

    mine, its = run(world.shield(outer))
    assert mine is its


def test_the_end_of_a_process_does_not_wait_for_what_goes_on_beside_the_requests(world):
    begun = threading.Event()
    threads = []

    async def action() -> None:
        threads.append(threading.current_thread())
        begun.set()

    world.beside(action)
    assert begun.wait(PATIENCE)
    assert threads[0].daemon


def test_where_no_thread_can_start_nothing_goes_on_beside_the_requests(world, monkeypatch):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    async def action() -> None: ...

    assert not world.beside(action)


def test_what_goes_on_beside_the_requests_ends_when_the_connections_are_closed():
    world, ended = ThreadWorld(config(timeout=LIMIT), MemoryStore(), time.time), threading.Event()

    async def action() -> None:
        try:
            await world.sleep(2 * PATIENCE)
        finally:
            ended.set()

    assert world.beside(action)
    world.close()
    assert ended.wait(PATIENCE)


def test_where_no_thread_can_start_it_is_done_by_who_waits(world, monkeypatch):
    """At the end of an interpreter, as of Python 3.12."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    async def action():
        return threading.current_thread()

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run(world.shield(action)) is threading.current_thread()


def test_what_an_action_asked_of_a_django_s_database_keeps_no_connection(world, tmp_path):
    """A site's `admit` may: nobody else closes what belongs to a thread."""
    django_database.add("shielded", {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "site.sqlite3")})

    async def action():
        connections["shielded"].ensure_connection()
        return connections["shielded"]

    assert run(world.shield(action)).connection is None


def test_what_a_failed_action_held_is_not_left_to_the_collector(world):
    """Tokens, say; and it is in trouble that many fail."""

    class Held:
        """What stands in for them."""

    held: list[weakref.ref[Held]] = []

    async def fails() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        raise ServerUnavailable("no")

    gc.disable()
    try:
        with pytest.raises(ServerUnavailable) as raised:
            run(world.shield(fails))
        del raised
        assert [each() for each in held] == [None]
    finally:
        gc.enable()
