"""People who look at a page again and again, on two hosts with one Redis, while things happen; what they are answered.

The application calls the API, which tries the access token at Hydra's userinfo. So each 200 is a proof that the token
lives, or a sign that something was broken just then.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.site_rig import FETCH
from tests.storm.clock import SharedClock
from tests.storm.rig import Person
from tests.storm.server import Uvicorn
from tests.storm.wire import Connection

from .hosts import BeforeHydra, environments
from .server import Hydra

LIFETIME = 8  # seconds that an access token lives
PEOPLE = 12
PAUSE = 0.4  # seconds between two looks
COMES_BACK = 60.0  # seconds: twice the longest pause that a session has


@dataclass(frozen=True)
class Seen:
    """One answer, when its request was sent, and when it came."""

    since: float
    until: float
    status: int
    reason: str
    api: int


@dataclass
class Trouble:
    """Something that was broken for a while."""

    name: str
    began: float
    ended: float = float("inf")

    def explains(self, seen: Seen) -> bool:
        """Whether it was broken while that was asked and answered, or had been so until a pause before.

        A pause is as long as all those before it, and a second more.
        """
        return self.began <= seen.until and seen.since <= self.ended + (self.ended - self.began) + 1


class Soak:
    """What was answered, and what was broken when."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self._is_over = False

    # What happens

    async def trouble(self, name: str, begin: Callable[[], object], end: Callable[[], object], seconds: float) -> None:
        with self._broken(name):
            await asyncio.to_thread(begin)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(end)

    @contextmanager
    def _broken(self, name: str) -> Iterator[None]:
        trouble = Trouble(name, time.monotonic())
        self.troubles.append(trouble)
        yield
        trouble.ended = time.monotonic()

    async def live(self, person: Person) -> None:
        """Somebody who looks again and again."""
        while not self._is_over:
            self.seen.append(await look(person))
            await asyncio.sleep(PAUSE)

    def end(self) -> None:
        self._is_over = True

    # What came of it

    @property
    def statuses(self) -> Counter[int]:
        return Counter(each.status for each in self.seen)

    @property
    def calm(self) -> list[Seen]:
        """What was answered while all was well."""
        return [each for each in self.seen if not any(trouble.explains(each) for trouble in self.troubles)]

    @property
    def dead(self) -> list[Seen]:
        """The dead tokens that the application got while all was well."""
        return [each for each in self.calm if each.status == 200 and each.api == 401]

    def unavailable(self) -> Counter[str]:
        """How often 503 was answered, by what explains it and what it said."""
        found: Counter[str] = Counter()
        for each in self.seen:
            if each.status == 503:
                names = [trouble.name for trouble in self.troubles if trouble.explains(each)]
                found[f"{names[-1] if names else 'nothing'}: {each.reason}"] += 1
        return found

    @staticmethod
    def share(seen: list[Seen]) -> float:
        """Which part of these answers was 503."""
        return sum(each.status == 503 for each in seen) / max(len(seen), 1)

    def __str__(self) -> str:
        lasted = ", ".join(f"{each.name} {each.ended - each.began:.1f} s" for each in self.troubles)
        counts = f"{len(self.seen)} answers {dict(self.statuses)}, {self.share(self.seen):.1%} of them 503"
        return f"{counts} {dict(self.unavailable())} ({lasted})"


async def look(person: Person) -> Seen:
    """What somebody is answered; status 0 where nobody answers."""
    since = time.monotonic()
    try:
        connection = await Connection.open(person.port)
        try:
            answer = await person.get(connection, "/", FETCH)
        finally:
            await connection.close()
    except OSError:
        return Seen(since, time.monotonic(), 0, "", 0)
    said: dict[str, Any] = answer.json() if answer.body.startswith(b"{") else {}
    return Seen(since, time.monotonic(), answer.status, said.get("reason", ""), said.get("api", 0))


async def comes_back(person: Person) -> bool:
    """Whether this person is still signed in, once everything is well again; it may take the longest pause."""
    deadline = time.monotonic() + COMES_BACK
    while time.monotonic() < deadline:
        seen = await look(person)
        if seen.status in (303, 401):
            return False
        if (seen.status, seen.api) == (200, 200):
            return True
        await asyncio.sleep(PAUSE)
    return False


@dataclass
class Hosts:
    """Two hosts of one site, the people who are signed in there, and their server."""

    grantor: BeforeHydra
    ports: tuple[int, int]
    people: list[Person]

    async def newcomer(self, number: int) -> Person:
        """Somebody who signs in at one of the hosts."""
        person = Person(self.ports[number % 2])
        await person.sign_in(lambda url: self.grantor.sign_in(url, sub=f"person-{number}"))
        return person


@asynccontextmanager
async def hosts(hydra: Hydra, directory: Path, combination: str, redis_url: str) -> AsyncIterator[Hosts]:
    """Two hosts before `hydra`, and a dozen people who have signed in."""
    SharedClock.create(directory / "clock")
    grantor = BeforeHydra(hydra, LIFETIME)
    async with AsyncExitStack() as stack:
        running = [
            stack.enter_context(Uvicorn(told, workers=1))
            for told in environments(grantor, directory, combination, redis_url)
        ]
        made = Hosts(grantor, (running[0].port, running[1].port), [])
        for number in range(PEOPLE):
            made.people.append(await made.newcomer(number))
        yield made
