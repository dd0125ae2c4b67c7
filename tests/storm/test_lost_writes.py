"""What a failover may cost: the last writes that a store acknowledged are lost, at each moment of a renewal.

A Redis answers before its replicas have what it took, so the next primary may know less (`docs/deploying.md`). Here it
is a store that forgets its last writes, however many, after each step of somebody who renews; and then somebody comes
to another process. Whoever was signed out lost one of two things (`Loss`), and nobody is left who could have told.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import Enum
from itertools import count
from typing import Any

import pytest

from lumin_middleware.errors import LoginRequired
from lumin_middleware.model import Response
from lumin_middleware.sessions.records import digest, record_key
from lumin_middleware.stores import MemoryStore
from tests.fakes import CookieJar
from tests.storm.simulation import Task
from tests.test_state_machine import Cookie, Seen, Sessions

HERE, THERE = 0, 1
"""The processes: one that renews when the store forgets, and another."""


class Loss(Enum):
    """What may sign somebody out, of all that the store can forget."""

    NOTHING = "what nobody needs any more, or nobody has made use of yet"
    TOKENS = "the record with the new tokens: with whatever is older comes the refresh token that was spent"
    LEASE = "the lease, after its holder's last look at it and before the record: another may renew as well"


class Forgetful(MemoryStore):
    """Memory, as on another machine, that can forget what it acknowledged last."""

    local = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.writes: list[dict[str, tuple[bytes, float]]] = []
        """What there was before each."""

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        before = dict(self._entries)
        done = super().swap(key, old, new, ttl)
        if done:
            self.writes.append(before)
        return done

    def forget(self, number: int) -> None:
        self._entries = self.writes[-number] if number else self._entries


class Failover(Sessions):
    """Somebody whose token has expired, and whose request has come so many steps when the store forgets."""

    def __init__(self, kind: str, steps: int) -> None:
        super().__init__(kind, "forgetful")
        self.sign_in(HERE)
        self.cookie = self.cookies[-1]
        self.grant = self.everybody[0].grant
        self.acknowledged = len(self.store.writes)
        """What no failover takes with it."""
        self.expire()
        self.first = self.comes(HERE)
        for _ in range(steps):
            self.step([])

    def open_store(self, name: str) -> Any:
        return Forgetful(clock=self.clock)

    def written(self, key: str, value: bytes | None) -> None:
        """A record may go back here."""

    def forget(self, number: int) -> Loss:
        record, lease = record_key(self.cookie.session.id), "lease:" + digest(self.cookie.session.id)
        saved, held = self.generation(record), self.store.get(lease) or b""
        self.store.forget(number)
        if self.generation(record) < saved:
            return Loss.TOKENS
        is_used = not saved and not held.endswith(b" 0")  # which it is until it is looked at once more
        return Loss.LEASE if is_used and held and self.store.get(lease) is None else Loss.NOTHING

    def generation(self, record: str) -> int:
        raw = self.store.get(record)
        records = self.site.processes[HERE].party.parts.sessions._records
        return records.read(raw, self.cookie.session.id)[0].generation if raw else 0

    def expire(self) -> None:
        self.clock.now = self.grant.access_tokens[-1][1] + 1

    def comes(self, at: int) -> Task:
        process = self.site.processes[at]
        return self.site.scheduler.start(process, self.visit(process, self.cookie))

    def step(self, others: list[Task]) -> bool:
        """One step of whoever is not of the others; whether there was any."""
        ready = [task for task in self.site.scheduler.ready() if task not in others]
        if ready:
            ready[-1].step()
        return bool(ready)

    def settled(self, task: Task) -> Task:
        self.site.scheduler.settle(random.Random(0), lambda moment: True)
        return task

    def has_newest_cookie(self) -> None:
        """The browser had its answer, with its cookie if there is one, and an hour has passed."""
        answer = self.settled(self.first).outcome()
        if isinstance(answer, Seen) and answer.set_cookies:
            jar = CookieJar()
            jar.take(answer.set_cookies)
            self.cookie = Cookie(jar.header, self.cookie.known, self.clock(), answer.session)
        self.expire()

    def others_come(self, *, first: bool) -> None:
        """Somebody comes there, and gets an answer `first` if that waits for nobody."""
        under_way = list(self.site.scheduler.tasks)
        other = self.comes(THERE)
        while first and self.step(under_way):
            pass
        self.answers = [self.settled(other), *(self.settled(self.comes(at)) for at in (HERE, THERE)), self.first]

    @property
    def is_lost(self) -> bool:
        """Whether the server has seen a token twice, or somebody was refused."""
        return bool(self.server.reused) or any(_is_refused(each.outcome()) for each in self.answers)


def _is_refused(answer: Response | Seen) -> bool:
    """A 503 signs nobody out."""
    return answer.status == 401 if isinstance(answer, Response) else isinstance(answer.error, LoginRequired)


def failovers(kind: str) -> Iterator[tuple[Failover, Loss]]:
    """One after each step of a renewal, for each number of writes that it may take with it."""
    for steps in count():
        site = Failover(kind, steps)
        is_done, writes = site.first.done, len(site.store.writes) - site.acknowledged
        site.teardown()
        for number in range(writes + 1):
            site = Failover(kind, steps)
            yield site, site.forget(number)
            site.teardown()
        if is_done:
            return


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_nobody_is_signed_out_unless_what_only_the_store_knew_is_lost(kind, first):
    """Whoever comes has the cookie of before, as a second request of the same page, or one whose answer got lost."""
    lost = set()
    for site, loss in failovers(kind):
        site.others_come(first=first)
        assert loss is not Loss.NOTHING or not site.is_lost
        lost |= {loss} if site.is_lost else set()
    assert lost == {Loss.TOKENS, Loss.LEASE}


@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_a_browser_with_the_newest_cookie_has_the_newest_tokens(kind):
    """So of sessions in cookies a failover signs nobody out who comes with the cookie that they were given last."""
    lost = set()
    for site, loss in failovers(kind):
        site.has_newest_cookie()
        site.others_come(first=True)
        lost |= {loss} if site.is_lost else set()
    assert lost == ({Loss.TOKENS} if kind == "store" else set())
