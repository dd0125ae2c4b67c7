"""New signing keys while people are at work: nobody is signed out, and whoever signs in meanwhile gets in.

A refreshed ID token carries the key's name that the sign-in had and the new key's signature, which is where whoever
takes `kid` at its word ends the session.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from .server import Hydra
from .soak import LIFETIME, PEOPLE, Soak, comes_back, hosts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("LUMIN_KEY_ROUNDS", "1"))
"""New keys, each of which takes the place of the one before."""

ALL_RENEWED = LIFETIME * 1.5  # seconds in which each session is renewed at least once


@pytest.mark.parametrize("combination", ["cookie + Redis", "store + Redis"])
async def test_new_keys_under_load_sign_nobody_out(combination, tmp_path, redis_server, postgres, figures):
    with Hydra(postgres.new_database("keys_" + combination.partition(" ")[0])) as hydra:
        async with hosts(hydra, tmp_path, combination, redis_server.url) as site:
            soak = Soak()
            living = asyncio.gather(*(soak.live(person) for person in site.people))
            before = site.grantor.refreshes()
            newcomers = []
            for number in range(ROUNDS):
                old = await asyncio.to_thread(hydra.keys)
                await asyncio.to_thread(hydra.new_key, f"under-load-{number}")
                newcomers.append(await site.newcomer(PEOPLE + 2 * number))
                await asyncio.sleep(ALL_RENEWED)
                for kid in old:
                    await asyncio.to_thread(hydra.ask_admin, "DELETE", f"/keys/hydra.openid.id-token/{kid}")
                newcomers.append(await site.newcomer(PEOPLE + 2 * number + 1))
                await asyncio.sleep(ALL_RENEWED)
            soak.end()
            await living
            ends = [await comes_back(person) for person in [*site.people, *newcomers]]
            renewals = site.grantor.refreshes() - before
    figures.append(f"{ROUNDS} new keys, {combination}: {renewals} renewals, {soak}")
    assert set(soak.statuses) == {200}
    assert {each.api for each in soak.seen} == {200}
    assert ends == [True] * len(ends)
    assert renewals >= PEOPLE * ROUNDS * 2
