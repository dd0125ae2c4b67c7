"""A minute of trouble: twelve people on two hosts, while Hydra is killed and hangs, and its database and Redis restart.

Nobody may be signed out. Wherever a page is answered with 200 while nothing is broken, the token that the
application got is tried at Hydra's userinfo (the application's call of the API does that).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.site_rig import FETCH
from tests.storm.clock import SharedClock
from tests.storm.rig import Person
from tests.storm.server import Uvicorn
from tests.storm.wire import Connection

from .hosts import BeforeHydra, environments
from .server import Hydra

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("LUMIN_SOAK_SECONDS", "60"))
LIFETIME = 8  # seconds that an access token lives
PEOPLE = 12
CALM = 1.0  # seconds after trouble until an answer must be right again


class Soak:
    """What was answered, and when something was broken."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.dead: list[str] = []
        self.broken = 0
        self.healed = 0.0
        self.over = False

    def is_calm(self, since: float) -> bool:
        return not self.broken and since > self.healed + CALM

    async def trouble(self, begin: Callable[[], object], end: Callable[[], object], seconds: float) -> None:
        self.broken += 1
        await asyncio.to_thread(begin)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(end)
        self.broken -= 1
        self.healed = time.monotonic()

    async def live(self, person: Person) -> None:
        """Somebody who looks at a page again and again."""
        while not self.over:
            since = time.monotonic()
            status, said = await look(person)
            self.answers[status] += 1
            if status == 200 and said["api"] == 401 and self.is_calm(since):
                self.dead.append(str(said))
            await asyncio.sleep(0.4)


async def look(person: Person) -> tuple[int, dict[str, object]]:
    try:
        connection = await Connection.open(person.port)
        try:
            answer = await person.get(connection, "/", FETCH)
        finally:
            await connection.close()
    except OSError:
        return 0, {}
    return answer.status, answer.json() if answer.body.startswith(b"{") else {}


@pytest.mark.parametrize("combination", ["cookie + Redis", "store + Redis"])
async def test_trouble_signs_nobody_out(combination, tmp_path, redis_server, postgres, figures):
    SharedClock.create(tmp_path / "clock")
    name = "soak_" + combination.partition(" ")[0]
    with Hydra(postgres.new_database(name)) as hydra:
        grantor = BeforeHydra(hydra, LIFETIME)
        hosts = environments(grantor, tmp_path, combination, redis_server.url)
        with Uvicorn(hosts[0], workers=1) as one, Uvicorn(hosts[1], workers=1) as two:
            people = [Person((one, two)[number % 2].port) for number in range(PEOPLE)]
            for number, person in enumerate(people):
                await person.sign_in(lambda url, sub=f"person-{number}": grantor.sign_in(url, sub=sub))
            soak = Soak()
            living = asyncio.gather(*(soak.live(person) for person in people))
            troubles = [
                (hydra.kill, hydra.start, 0.5),
                (hydra.pause, hydra.resume, 3.0),
                (postgres.stop, postgres.start, 1.0),
                (redis_server.stop, redis_server.start, 1.0),
                (hydra.kill, hydra.start, 2.0),
            ]
            for trouble in troubles:
                await asyncio.sleep(SECONDS / (len(troubles) + 1))
                await soak.trouble(*trouble)
            await asyncio.sleep(SECONDS / (len(troubles) + 1))
            soak.over = True
            await living
            ends = [await comes_back(person) for person in people]
    total = sum(soak.answers.values())
    share = soak.answers[503] / total
    figures.append(f"soak, {combination}: {total} answers {dict(soak.answers)}, {share:.1%} of them 503")
    assert set(soak.answers) <= {200, 500, 503}, soak.answers  # 500: the API itself hung, and the application says so
    assert soak.dead == []
    assert ends == [True] * PEOPLE


async def comes_back(person: Person) -> bool:
    """Whether this person is still signed in, once everything is well again; it may take the longest pause."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, said = await look(person)
        if status in (303, 401):
            return False
        if status == 200 and said["api"] == 200:
            return True
        await asyncio.sleep(0.5)
    return False
