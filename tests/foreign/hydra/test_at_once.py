"""Many at once before Hydra on PostgreSQL: the storm at expiry, two hosts with one Redis, twelve with one account."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.site_rig import FETCH
from tests.storm.clock import SharedClock
from tests.storm.rig import Person, Storm, environment
from tests.storm.server import Uvicorn
from tests.storm.wire import Connection

from .client import Party
from .hosts import BeforeHydra, environments

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

LIFETIME = 600  # seconds
ROUNDS = 3


@pytest.mark.parametrize("combination", ["cookie + local", "cookie + Redis", "store + SQLite", "store + Redis"])
async def test_a_storm_at_expiry_is_one_renewal(combination, tmp_path, redis_server, hydra_on_postgres, figures):
    clock = SharedClock.create(tmp_path / "clock")
    grantor = BeforeHydra(hydra_on_postgres, LIFETIME)
    with Uvicorn(environment(grantor, tmp_path, combination, redis_server.url, timeout=10)) as server:
        storm = Storm(grantor, clock, server, 100)
        await storm.begin()
        try:
            for _ in range(ROUNDS):
                await storm.expiry()
            await storm.expiry(left=LIFETIME * 0.05)
            assert await storm.is_alive()
        finally:
            await storm.end()
    assert storm.figures.failures == [], server.last_words()
    assert storm.figures.renewals == [1] * (ROUNDS + 1)
    assert storm.figures.reuse_events == 0
    figures.append(f"storm, {combination}: {storm.figures.sent} requests, 4 workers, renewals {storm.figures.renewals}")


@pytest.mark.parametrize("combination", ["cookie + Redis", "store + Redis"])
async def test_two_hosts_with_one_redis_renew_once(combination, tmp_path, redis_server, hydra_on_postgres, figures):
    clock = SharedClock.create(tmp_path / "clock")
    grantor = BeforeHydra(hydra_on_postgres, LIFETIME)
    one, two = environments(grantor, tmp_path, combination, redis_server.url)
    renewals = []
    with Uvicorn(one, workers=2) as first, Uvicorn(two, workers=2) as second:
        person = Person(first.port)
        await person.sign_in(grantor.sign_in)
        for _ in range(ROUNDS):
            clock.advance(LIFETIME)
            before = grantor.refreshes()
            answers = await asyncio.gather(*(ask(person, port) for port in (first.port, second.port) * 10))
            assert {(status, api) for status, api, _ in answers} == {(200, 200)}
            assert len({token for _, _, token in answers}) == 1
            renewals.append(grantor.refreshes() - before)
    assert renewals == [1] * ROUNDS
    figures.append(f"two hosts, {combination}: 20 requests at expiry, renewals {renewals}")


async def ask(person: Person, port: int) -> tuple[int, int, str]:
    """A request to one host with this person's cookies: its status, what the API said, which token it was."""
    connection = await Connection.open(port)
    try:
        answer = await person.get(connection, "/", FETCH)
        said = answer.json()
        return answer.status, said.get("api", 0), said.get("token", "")
    finally:
        await connection.close()


async def test_twelve_people_sign_in_to_one_account_at_once(tmp_path: Path, redis_server, hydra_on_postgres, figures):
    """A kiosk, or a load test: the list of their sessions is one."""
    SharedClock.create(tmp_path / "clock")
    grantor = BeforeHydra(hydra_on_postgres, LIFETIME)
    with Uvicorn(environment(grantor, tmp_path, "store + Redis", redis_server.url, timeout=10), workers=2) as server:
        people = [Person(server.port) for _ in range(12)]
        ends = await asyncio.gather(*(person.sign_in(grantor.sign_in) for person in people), return_exceptions=True)
        assert [end for end in ends if end is not None] == []
        connection = await Connection.open(server.port)
        listed = (await people[0].get(connection, "/auth/sessions")).json()["sessions"]
        await connection.close()
    assert len(listed) == 12
    figures.append("twelve sign-ins of one account at one instant: none refused, twelve in the list")


def test_what_hydra_does_when_many_redeem_at_once(hydra_on_postgres, figures):
    """Why 200 is no proof that tokens live, and only a lease that all share is safe."""
    party = Party(hydra_on_postgres)
    refresh_token = party.tokens()["refresh_token"]
    code = party.code()
    with ThreadPoolExecutor(8) as executor:
        refreshed = list(executor.map(lambda _: party.refresh(refresh_token), range(8)))
        redeemed = list(executor.map(lambda _: party.redeem(code), range(8)))
    for what, answers in (("refresh token", refreshed), ("code", redeemed)):
        winners = [answer.json() for answer in answers if answer.status_code == 200]
        alive = sum(party.opens(tokens) == "alive" for tokens in winners)
        said = Counter(answer.json().get("error", "200") for answer in answers)
        assert set(said) <= {"200", "invalid_request", "invalid_grant", "error", "server_error"}, said
        figures.append(f"eight at once with one {what}: {dict(said)}, of the winners' access tokens {alive} alive")
    party.close()
