"""Whatever happens in whatever order: no refresh token is spent twice, no session is lost, none comes back.

Requests, logouts, crashes, outages and the passing of time, of several people at several processes, in an order
that Hypothesis makes up; `tests/storm/simulation.py` says what a step is. The model beside it knows what was ended,
by whom, and which answers are right.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lumin_middleware.errors import LoginRequired, LuminError
from lumin_middleware.model import Response, Session
from lumin_middleware.protocol.breaker import PAUSES
from lumin_middleware.sessions.due import HARD_MARGIN
from lumin_middleware.sessions.lease import dead_after
from lumin_middleware.sessions.pauses import LONGEST
from lumin_middleware.sessions.records import record_key
from lumin_middleware.stores import MemoryStore, SQLiteStore
from tests.fakes import CookieJar, config, header, request
from tests.site_rig import FETCH, ORIGIN, Clock, query
from tests.storm.simulation import Gone, Grant, Killed, Process, Site, Task

PROCESSES = 3
TIMEOUT = 10.0
LEASE = dead_after(TIMEOUT)
AFTERMATH = LONGEST + PAUSES[-1] + TIMEOUT + LEASE
"""Seconds after trouble in which somebody may still be told to come again."""

PATIENCE = 2 * LEASE + 2 * TIMEOUT + 3
"""Seconds that a request takes at most."""

OUTAGE = 4 * LEASE
"""Seconds that the store is away at most: longer than all tries to save, and than anybody waits for a lease."""

EXAMPLES = int(os.environ.get("LUMIN_TEST_ORDERS", "30"))
"""Orders of events that each of the machines below tries, others on each run; five CPU seconds for a machine."""

orders = st.integers(0, 9999).map(random.Random)
processes = st.integers(0, PROCESSES - 1)
choices = st.integers(0, 99)
crowds = st.lists(processes, min_size=1, max_size=5)


@dataclass(eq=False)
class Known:
    """What the model knows of a session."""

    id: str
    grant: Grant
    began: float
    used: float
    generation: int = 0
    """The newest that the record has had."""
    ended: bool = False
    """The record says so, or is no more."""
    over: bool = False
    """Somebody signed out, and was told so."""
    logouts: int = 0
    may_be_over: bool = False
    """Somebody signs out, or the server knows the grant no more."""


@dataclass(eq=False)
class Cookie:
    """A `Cookie` header that a browser was given once, and what is in it or was when it was made."""

    header: bytes
    known: Known
    issued: float
    session: Session


@dataclass(frozen=True)
class Seen:
    """What the application saw: the session at the end, whether the API took its token, and the cookies that it set."""

    session: Session
    taken: bool
    error: LuminError | None
    set_cookies: list[str]


@dataclass(eq=False)
class Flight:
    """A request under way, and what was known when it began."""

    task: Task
    cookie: Cookie
    began: float
    logs_out: bool
    was_over: bool
    must_live: bool


class Remote(MemoryStore):
    """Memory that, like a store on another machine, is not asked on each request."""

    local = False


class Sessions(RuleBasedStateMachine):
    """Three processes of a site, and everybody who has to do with it."""

    everything_is_saved = True

    def __init__(self, kind: str, store: str, timeout: float = TIMEOUT) -> None:
        super().__init__()
        self.clock = Clock()
        self.directory = tempfile.TemporaryDirectory()
        self.store = self.open_store(store)
        self.site = Site(config(sessions=kind, timeout=timeout), self.store, self.clock, PROCESSES, self.written)
        self.server = self.site.server
        self.everybody: list[Known] = []
        self.flights: list[Flight] = []
        self.cookies: list[Cookie] = []
        """Every one that was ever given to a browser."""
        self.excused_until = float("-inf")
        self.always_asked = kind == "store" or store != "remote"

    def open_store(self, name: str) -> Any:
        match name:
            case "sqlite":
                return SQLiteStore(Path(self.directory.name) / "store.sqlite3", clock=self.clock)
            case "remote":
                return Remote(clock=self.clock)
        return MemoryStore(clock=self.clock)

    def teardown(self) -> None:
        self.site.close()
        if isinstance(self.store, SQLiteStore):
            self.store.close()
        self.directory.cleanup()

    # --- what happens ---

    @initialize()
    def somebody_is_there(self) -> None:
        self.sign_in(0)

    @precondition(lambda self: len(self.everybody) < 3 and not self.is_excused())
    @rule(at=processes)
    def sign_in(self, at: int) -> None:
        process, subject = self.site.processes[at], f"person-{len(self.everybody)}"
        jar = CookieJar()
        begun = self.site.scheduler.alone(process, process.party.handle(request("/auth/login")))
        jar.take_from(begun)
        code = {"state": query(header(begun, "Location"))["state"], "code": self.server.grant(subject)}
        callback = request("/auth/callback", query=urlencode(code), cookie=jar.header)
        done = self.site.scheduler.alone(process, process.party.handle(callback))
        assert done.status == 303
        jar.take_from(done)
        session = self.opened(jar.header)
        now = self.clock()
        known = Known(session.id, self.server.grants[-1], now, now)
        self.everybody.append(known)
        self.cookies.append(Cookie(jar.header, known, now, session))

    @rule(chosen=choices, at=crowds)
    def ask(self, chosen: int, at: list[int]) -> None:
        """Requests with a cookie that somebody has, be it old, at these processes."""
        self.visit_all(self.cookie(chosen), at)

    @precondition(lambda self: not self.site.store_is_down)
    @rule(chosen=choices, at=crowds, left=st.sampled_from([0, 0, 100, 299]), order=orders)
    def ask_at_expiry(self, chosen: int, at: list[int], left: float, order: random.Random) -> None:
        """The same when the session's newest access token expires, or has some seconds left."""
        self.finish(order)
        _, expires_at = self.cookie(chosen).known.grant.access_tokens[-1]
        if not self.site.store_is_down:
            self.site.scheduler.pass_time(expires_at - left)
        self.ask(chosen, at)

    @rule(chosen=choices, at=processes)
    def log_out(self, chosen: int, at: int) -> None:
        process, cookie = self.site.processes[at], self.cookie(chosen)
        headers = {**FETCH, "origin": ORIGIN}
        asked = request("/auth/logout", method="POST", headers=headers, cookie=cookie.header)
        self.start(process, cookie, process.party.handle(asked), logs_out=True)
        cookie.known.may_be_over = True
        cookie.known.logouts += 1

    @precondition(lambda self: not self.site.store_is_down)
    @rule(chosen=choices, at=crowds, order=orders)
    def log_out_at_expiry(self, chosen: int, at: list[int], order: random.Random) -> None:
        """Somebody signs out while others renew."""
        self.ask_at_expiry(chosen, at, 0, order)
        self.log_out(chosen, at[0])
        self.finish(order)

    @rule(order=orders, turns=st.integers(1, 12))
    def go_on(self, order: random.Random, turns: int) -> None:
        """Some of those under way take some steps."""
        for _ in range(turns):
            self.site.scheduler.go_on(order)
        self.land_all()

    @rule(order=orders)
    def finish(self, order: random.Random) -> None:
        """All of those under way come to their ends."""
        self.site.scheduler.settle(order, self.may_come)
        self.land_all()

    @precondition(lambda self: not self.site.store_is_down)
    @rule(order=orders, seconds=st.sampled_from([5, 31, 100, 3600, 6 * 3600, 80_000]))
    def wait(self, order: random.Random, seconds: float) -> None:
        """Everybody finishes, and then nothing happens for a while."""
        self.finish(order)
        if not self.site.store_is_down:
            self.site.scheduler.pass_time(self.clock() + seconds)

    @precondition(lambda self: self.flights)
    @rule(chosen=choices, order=orders, turns=st.integers(0, 12))
    def disconnect(self, chosen: int, order: random.Random, turns: int) -> None:
        """Some steps later a client goes away."""
        self.go_on(order, turns)
        if self.flights:
            self.flights.pop(chosen % len(self.flights)).task.throw(Gone())

    @rule(at=processes, order=orders, turns=st.integers(0, 12))
    def kill(self, at: int, order: random.Random, turns: int) -> None:
        """Some steps later a process is no more."""
        self.go_on(order, turns)
        killed = self.site.kill(at)
        for known in self.everybody:
            if known.grant.rotated_by is killed and known.grant.rotations > known.generation:
                self.server.lost.add(known.grant)

    @rule(chosen=choices, kind=st.sampled_from(["before", "after", "revoked"]))
    def trouble(self, chosen: int, kind: str) -> None:
        """The server does not hear of refreshes, or is not heard, or somebody there revokes a grant."""
        if kind == "revoked":
            known = self.cookie(chosen).known
            known.grant.revoked = known.may_be_over = True
        else:
            self.server.trouble = kind

    @precondition(lambda self: self.server.trouble is not None)
    @rule()
    def recovery(self) -> None:
        self.server.trouble = None
        self.excused_until = self.clock() + AFTERMATH

    # --- what must be ---

    @invariant()
    def no_token_is_spent_twice(self) -> None:
        assert set(self.server.reused) <= self.server.lost

    @invariant()
    def no_token_outlives_a_sign_out(self) -> None:
        """When all have come to their ends: whoever had newer tokens than the one who signed out has revoked them."""
        if self.everything_is_saved and not any(not task.done for task in self.site.scheduler.tasks):
            for known in self.everybody:
                assert not known.over or known.grant.revoked or known.grant in self.server.lost

    def written(self, key: str, value: bytes | None) -> None:
        """Judges what is written to the store: no generation goes back, and no session that was ended comes back."""
        for known in self.everybody:
            if key == record_key(known.id):
                records = self.site.processes[0].party.parts.sessions._records
                sealed = records._sealer.unseal(value, known.id) if value else None
                if sealed is None or sealed.data == b"ended":
                    known.ended = True
                else:
                    generation = Session.load(sealed.data, sealed.sealed_at).generation
                    assert not known.ended
                    assert generation >= known.generation
                    known.generation = generation

    def land(self, flight: Flight) -> None:
        """Judges the answer to a request, and keeps the cookie that it gave."""
        known, answer = flight.cookie.known, flight.task.outcome()
        over = known.over or known.may_be_over or known.grant in self.server.lost
        if isinstance(answer, Response):
            if answer.status == 503:
                assert self.is_excused()
            elif flight.logs_out:
                assert answer.status == 204
                known.over = known.over or flight.must_live
                assert known.ended or not flight.must_live
                others = known.logouts > 1 or known.grant.rotations > known.generation  # are at it
                assert known.grant.revoked or not flight.must_live or others
            else:
                assert answer.status == 401
                assert over or not flight.must_live
            return
        assert answer.session.claims["sub"] == known.grant.subject
        assert not flight.was_over or self.is_excused() or self.nobody_asks_about(flight)
        if isinstance(answer.error, LoginRequired):
            assert over or not flight.must_live
        else:
            assert answer.taken or over or self.is_excused()
        known.used = max(known.used, flight.began)
        if answer.set_cookies:
            assert answer.session.generation >= flight.cookie.session.generation
            jar = CookieJar()
            jar.take(answer.set_cookies)
            self.cookies.append(Cookie(jar.header, known, self.clock(), answer.session))

    def must_live(self, cookie: Cookie) -> bool:
        """Whether there is no reason why a request with this cookie should be refused."""
        known, settings = cookie.known, self.site.config
        touched = cookie.issued if settings.sessions == "cookie" else known.used - settings.idle_timeout / 10
        ends_at = min(known.began + settings.absolute_timeout, touched + settings.idle_timeout)
        return not known.over and not known.may_be_over and self.clock() + PATIENCE < ends_at

    def nobody_asks_about(self, flight: Flight) -> bool:
        """Whether the cookie's own token could be used, and the store is one that need not be asked then."""
        return not self.always_asked and flight.cookie.session.tokens.expires_at - flight.began > HARD_MARGIN

    def is_excused(self) -> bool:
        """Whether somebody may be told to come again."""
        return self.server.trouble is not None or self.site.store_is_down or self.clock() <= self.excused_until

    def may_come(self, moment: float) -> bool:
        """Whether time may go on so far: not beyond the end of an outage."""
        return not self.site.store_is_down or moment <= self.site.down_since + OUTAGE

    # --- how it is done ---

    def cookie(self, chosen: int) -> Cookie:
        """One of all cookies, the newest first."""
        return self.cookies[-1 - chosen % len(self.cookies)]

    def start(self, process: Process, cookie: Cookie, coroutine: Any, *, logs_out: bool = False) -> None:
        task = self.site.scheduler.start(process, coroutine)
        known = cookie.known
        self.flights.append(Flight(task, cookie, self.clock(), logs_out, known.over, self.must_live(cookie)))

    def land_all(self) -> None:
        """Judges all that are done."""
        done = [flight for flight in self.flights if flight.task.done]
        self.flights = [flight for flight in self.flights if not flight.task.done]
        for flight in done:
            if not isinstance(flight.task.error, Killed):
                self.land(flight)

    def visit_all(self, cookie: Cookie, at: list[int]) -> None:
        for number in at:
            process = self.site.processes[number]
            self.start(process, cookie, self.visit(process, cookie))

    async def visit(self, process: Process, cookie: Cookie) -> Response | Seen:
        """A request whose application asks the API, and again with another token when it was refused."""
        asked = request("/", headers=FETCH, cookie=cookie.header)
        await process.party.parts.world.give_way()
        visit = process.party.at_once(asked.path, asked.raw_path, asked.cookie, (lambda _: asked, {}))
        if visit is None:
            visit = await process.party.handle(asked)
        if isinstance(visit, Response):
            return visit
        taken, rejected, error = False, None, None
        try:
            for _ in range(2):
                rejected = (await visit.fresh(rejected=rejected)).tokens.access_token
                await process.party.parts.world.give_way()
                if taken := self.server.takes(rejected):
                    break
        except LuminError as raised:
            error = raised
        return Seen(visit.session, taken, error, await visit.set_cookies())

    def opened(self, cookie: bytes) -> Session:
        """The session that a cookie holds or leads to."""
        process = self.site.processes[0]
        found = self.site.scheduler.alone(
            process, process.party.parts.sessions.load(process.party.parts.cookies.jar(cookie))
        )
        assert found is not None
        session: Session = found.session
        return session


class StoreOutages(Sessions):
    """The same, with a store that goes away now and then, for longer than whoever needs it may wait.

    It does so again only when all who met the last outage have come to their ends.
    """

    everything_is_saved = False

    def __init__(self, kind: str, store: str, timeout: float) -> None:
        super().__init__(kind, store, timeout)
        self.has_settled = True

    def land_all(self) -> None:
        super().land_all()
        in_outage = self.site.store_is_down or self.site.store_goes_next
        self.has_settled = not in_outage and (self.has_settled or all(task.done for task in self.site.scheduler.tasks))

    @precondition(lambda self: self.has_settled)
    @rule()
    def store_goes(self) -> None:
        self.has_settled = False
        self.site.lose_the_store(now=True)

    @precondition(lambda self: self.has_settled)
    @rule()
    def store_will_go(self) -> None:
        """Just when a token has been spent, and the new ones are to be saved."""
        self.has_settled = False
        self.site.store_goes_next = True

    @precondition(lambda self: self.site.store_is_down)
    @rule()
    def store_comes_back(self) -> None:
        self.site.store_is_down = False
        self.excused_until = self.clock() + AFTERMATH

    @precondition(lambda self: self.has_settled)
    @rule(chosen=choices, at=crowds, order=orders)
    def store_goes_at_expiry(self, chosen: int, at: list[int], order: random.Random) -> None:
        """And is back soon; and those who had no answer, or did not get it, come again with the cookie they had."""
        cookie = self.cookie(chosen)
        self.ask_at_expiry(chosen, at, 0, order)
        self.store_will_go()
        self.finish(order)
        self.store_comes_back()
        self.visit_all(cookie, at)


@pytest.mark.parametrize("store", ["memory", "remote", "sqlite"])
@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_no_order_of_events_loses_a_session_or_brings_one_back(kind, store):
    run(lambda: Sessions(kind, store))


@pytest.mark.parametrize("timeout", [TIMEOUT, 1.0])
@pytest.mark.parametrize("store", ["memory", "remote"])
@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_no_order_of_events_does_so_where_the_store_goes_away(kind, store, timeout):
    run(lambda: StoreOutages(kind, store, timeout))


def run(machine: Callable[[], Sessions]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
