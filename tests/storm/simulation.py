"""A site in slow motion: several processes, of whose requests one at a time takes one step, as a test decides.

The core runs as it is. What it asks of the world (`ports.World`) is answered here, and lets everybody else go first
before it does anything and again before it says so. No thread, no loop, no real time: the clock goes on only
when nobody has anything to do, to the moment for which the first one sleeps.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lumin_middleware.config import LuminConfig
from lumin_middleware.errors import LuminError, OAuthError, ServerUnavailable, StoreUnavailable
from lumin_middleware.ports import Answer, Glance, Store
from lumin_middleware.runtime.telemetry import Silent
from lumin_middleware.site.relying_party import RelyingParty
from tests.fakes import SUFFIX, at, jwks
from tests.site_rig import Clock

T = TypeVar("T")

LIFETIME = 3600.0
"""Seconds that an access token lives."""


IN_A_ROW = (1, 1, 2, 4, 8, 16)
"""Steps that somebody takes before another's turn: where all take one each, few are ever overtaken by much."""


class Killed(BaseException):
    """This process is no more; whatever it still tries comes to nothing."""


class Gone(BaseException):
    """The client of a request went away."""


@dataclass(frozen=True)
class Wait:
    """Somebody goes on when `ready` says so; a sleeper says when that is."""

    ready: Callable[[], bool]
    wakes_at: float | None = None

    def __await__(self) -> Generator[Wait, None, None]:
        yield self


NEXT = Wait(lambda: True)


class Task:
    """A coroutine that takes one step at a time."""

    def __init__(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.process = process
        self.done = False
        self.beside = False
        """Whether nobody waits for its end."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.waits = NEXT
        self._coroutine = coroutine

    def step(self) -> None:
        self._go_on(lambda: self._coroutine.send(None))

    def throw(self, error: BaseException) -> None:
        """Lets the coroutine fail where it stands."""
        if not self.done:
            self._go_on(lambda: self._coroutine.throw(error))

    def _go_on(self, how: Callable[[], Wait]) -> None:
        try:
            self.waits = how()
        except StopIteration as stop:
            self.done, self.result = True, stop.value
        except (LuminError, Killed, Gone) as error:
            self.done, self.error = True, error
        except BaseException:  # a bug, whoever waits for it
            self.done = True
            raise

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class Scheduler:
    """Every task that is under way."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tasks: list[Task] = []

    def start(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> Task:
        task = Task(process, coroutine)
        self.tasks.append(task)
        return task

    def alone(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What comes of a coroutine while all others stand still; it must not wait for any of them."""
        others, self.tasks = self.tasks, []
        task = self.start(process, coroutine)
        while ready := self.ready():
            ready[0].step()
        assert task.done
        self.tasks = [*others, *self.tasks]
        return task.outcome()

    def ready(self) -> list[Task]:
        self.tasks = [task for task in self.tasks if not task.done]
        return [task for task in self.tasks if task.waits.ready()]

    def go_on(self, order: random.Random) -> bool:
        """Lets somebody take some steps in a row, as `order` decides; whether anybody could."""
        ready = self.ready()
        if not ready:
            return False
        task = order.choice(ready)
        for _ in range(order.choice(IN_A_ROW)):
            if not task.done and task.waits.ready():
                task.step()
        return True

    def pass_time(self, moment: float) -> None:
        """Time passes until then. Who goes on beside the others does so as he wakes; all others stand still."""
        while wakes_at := [at for task in self.tasks if task.beside and (at := task.waits.wakes_at) and at <= moment]:
            self.clock.now = max(self.clock.now, min(wakes_at))
            for task in [task for task in self.tasks if task.beside]:
                while not task.done and task.waits.ready():
                    task.step()
            self.tasks = [task for task in self.tasks if not task.done]
        self.clock.now = max(self.clock.now, moment)

    def settle(self, order: random.Random, may_come: Callable[[float], bool]) -> None:
        """Lets all go on to their ends; time passes while all of them sleep.

        `may_come` says whether a moment may come, in epoch seconds; who sleeps until a later one is left asleep.
        """
        while self.go_on(order) or any(not task.beside for task in self.tasks):
            if self.ready():
                continue
            wakes_at = [task.waits.wakes_at for task in self.tasks if task.waits.wakes_at is not None]
            assert wakes_at or not self.tasks, "everybody waits for somebody else"
            if not wakes_at or not may_come(min(wakes_at)):
                return
            self.clock.now = min(wakes_at)


# --- the authorization server ---------------------------------------------------------------------------


@dataclass(eq=False)
class Grant:
    """One sign-in: its tokens, of which only the newest are good."""

    subject: str
    rotations: int = 0
    rotated_by: Process | None = None
    access_tokens: list[tuple[str, float]] = field(default_factory=list)
    refresh_tokens: list[str] = field(default_factory=list)
    revoked: bool = False


class Server:
    """An authorization server that rotates refresh tokens, and kills the grant when an old one comes back.

    `trouble` is what befalls a refresh: `before` the server hears of it, or `after` it did its part.
    """

    def __init__(self, clock: Clock, timeout: float) -> None:
        self.clock = clock
        self.timeout = timeout
        self.grants: list[Grant] = []
        self.reused: list[Grant] = []
        self.lost: set[Grant] = set()
        """Grants whose newest tokens never reached anybody."""
        self.trouble: str | None = None
        self._names = itertools.count()

    def grant(self, subject: str) -> str:
        """Somebody consents: the code."""
        self.grants.append(Grant(subject))
        return f"code-{len(self.grants) - 1}"

    def issue(self, grant: Grant) -> dict[str, Any]:
        name = next(self._names)
        grant.access_tokens.append((f"access-{name}", self.clock() + LIFETIME))
        grant.refresh_tokens.append(f"refresh-{name}")
        return {
            "access_token": f"access-{name}",
            "refresh_token": f"refresh-{name}",
            "token_type": "bearer",
            "expires_in": LIFETIME,
        }

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        grant = self.of(refresh_token)
        if grant.revoked:
            raise OAuthError("invalid_grant", "The grant was revoked.")
        if refresh_token != grant.refresh_tokens[-1]:
            self.reused.append(grant)
            grant.revoked = True
            raise OAuthError("invalid_grant", "The refresh token was already used.")
        grant.rotations += 1
        return self.issue(grant)

    def revoke(self, token: str) -> None:
        """RFC 7009, as Hydra has it: a token that was spent is revoked already, and nothing else dies of it."""
        grant = self.of(token)
        if token == grant.refresh_tokens[-1] or token == grant.access_tokens[-1][0]:
            grant.revoked = True

    def takes(self, access_token: str) -> bool:
        """Whether the API takes this access token: the newest of its grant, while it lives."""
        grant = self.of(access_token)
        name, expires_at = grant.access_tokens[-1]
        return name == access_token and self.clock() < expires_at and not grant.revoked

    def of(self, token: str) -> Grant:
        """The grant that a token belongs to."""
        names = ((grant, [*grant.refresh_tokens, *(name for name, _ in grant.access_tokens)]) for grant in self.grants)
        return next(grant for grant, found in names if token in found)


class Exchange:
    """`ports.Exchange`: the server as one process reaches it."""

    def __init__(self, world: World, site: Site) -> None:
        self._world = world
        self._site = site
        self._server = site.server

    async def redeem(self, token_endpoint: str, code: Any) -> Mapping[str, Any]:
        await self._world.give_way()
        grant = self._server.grants[int(code.code.removeprefix("code-"))]
        return self._server.issue(grant)

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        await self._world.give_way()
        if self._server.trouble == "before":
            raise ServerUnavailable("no connection", sent=False)
        answer = self._server.refresh(refresh_token)
        self._server.of(refresh_token).rotated_by = self._world.process
        self._site.lose_the_store(now=self._site.store_goes_next)
        if self._server.trouble == "after":
            self._server.lost.add(self._server.of(refresh_token))
            await self._world.sleep(self._server.timeout)
            raise ServerUnavailable("no answer in time")
        await self._world.give_way()
        return answer

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        await self._world.give_way()
        self._server.revoke(token)

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        await self._world.give_way()
        content = jwks() if access_token is None else {"user": {"id": self._server.of(access_token).subject}}
        return Answer(200, "application/json", json.dumps(content).encode())


# --- the processes --------------------------------------------------------------------------------------


class Steps:
    """`ports.AsyncStore`: the store as one process reaches it."""

    def __init__(self, world: World, site: Site) -> None:
        self._world = world
        self._site = site
        self.local = getattr(site.store, "local", False)
        self.glance = Glance(self._glance, SUFFIX) if self.local else None

    def _glance(self, place: str) -> bytes | None:
        if self._site.store_is_down:
            raise StoreUnavailable("the store does not answer")
        return self._site.store.get(at(place))

    async def get(self, key: str) -> bytes | None:
        await self._reach()
        value = self._site.store.get(key)
        await self._world.give_way()
        return value

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        await self._reach()
        done = self._site.store.swap(key, old, new, ttl)
        if done:
            self._site.written(key, new)
        await self._world.give_way()
        self._require_up()  # or it was done, and the answer is lost
        return done

    async def _reach(self) -> None:
        await self._world.give_way()
        self._require_up()

    def _require_up(self) -> None:
        if self._site.store_is_down:
            raise StoreUnavailable("the store does not answer")


class World:
    """`ports.World` of one process."""

    def __init__(self, site: Site, process: Process) -> None:
        self.store = Steps(self, site)
        self.exchange = Exchange(self, site)
        self.clock = site.clock
        self._site = site
        self.process = process
        self._held: set[str] = set()

    async def give_way(self) -> None:
        """Lets others go first; a process that was killed gets no further."""
        self._require_alive()
        await NEXT
        self._require_alive()

    def _require_alive(self) -> None:
        if not self.process.alive:
            raise Killed

    def token(self, size: int) -> str:
        digest = hashlib.sha256(str(next(self._site.names)).encode()).hexdigest()
        return digest[: -(-size * 4 // 3)]

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        await Wait(lambda: key not in self._held)
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)

    def locked(self, key: str) -> bool:
        return key in self._held

    async def sleep(self, seconds: float) -> None:
        self._require_alive()
        wakes_at = self.clock() + seconds
        await Wait(lambda: self.clock() >= wakes_at, wakes_at)
        self._require_alive()

    telemetry = Silent()

    def tell(self, event: Any) -> None:
        """Nobody here listens."""

    def announce_end(self, session_id: str) -> None:
        """Nobody here is served for long."""

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        async def run() -> T:
            return await action()

        async def run_undo() -> None:
            await Wait(lambda: task.done)
            if undo is not None and task.error is None:
                await undo(task.result)

        task = self._site.scheduler.start(self.process, run())
        try:
            await Wait(lambda: task.done)
        except Gone:
            self._site.scheduler.start(self.process, run_undo())
            raise
        result: T = task.outcome()
        return result

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        async def run() -> None:
            await action()

        self._site.scheduler.start(self.process, run()).beside = True
        return True


class Process:
    """One process of a site."""

    def __init__(self, site: Site) -> None:
        self.alive = True
        self.party = RelyingParty(site.config, World(site, self))


class Site:
    """A clock, a store, a server, and the processes that share them."""

    def __init__(
        self,
        config: LuminConfig,
        store: Store,
        clock: Clock,
        processes: int,
        written: Callable[[str, bytes | None], None],
    ) -> None:
        self.config = config
        self.written = written
        """Called with the key and the value of each swap that was done."""
        self.store = store
        self.store_is_down = False
        self.store_goes_next = False
        """Whether the store goes away when the server has spent the next refresh token."""
        self.down_since = 0.0
        self.clock = clock
        self.names = itertools.count()
        self.server = Server(clock, config.timeout)
        self.scheduler = Scheduler(clock)
        self.processes = [Process(self) for _ in range(processes)]

    def lose_the_store(self, *, now: bool) -> None:
        if now:
            self.store_is_down, self.store_goes_next, self.down_since = True, False, self.clock()

    def kill(self, number: int) -> Process:
        """`kill -9` of a process, which is returned; another takes its place."""
        killed, self.processes[number] = self.processes[number], Process(self)
        killed.alive = False
        for task in list(self.scheduler.tasks):
            if task.process is killed:
                task.throw(Killed())
        return killed

    def close(self) -> None:
        for number in range(len(self.processes)):
            self.kill(number)
