"""What sites share on each bundled store: nothing between two of them, and all of it among those of one person."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from lumin_middleware.model import Session, TokenSet
from lumin_middleware.ports import run
from lumin_middleware.runtime.event_loop import AsyncWorld
from lumin_middleware.runtime.threads import ThreadWorld
from lumin_middleware.site.relying_party import RelyingParty
from lumin_middleware.stores import AsyncRedisStore, MemoryStore, RedisStore, SQLiteStore
from tests import site_rig
from tests.fakes import KEY, config
from tests.site_rig import CLIENT, FETCH, Browser, Site

from .redis_server import RedisServer

ROUNDS = 100
AT_ONCE = 12
"""Sign-ins of one person at one instant."""


class Seen:
    """A store that several sites share, and the keys that they used."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.keys: set[str] = set()

    async def get(self, key: str) -> bytes | None:
        self.keys.add(key)
        found = self._store.get(key)
        return await found if asyncio.iscoroutine(found) else found

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        self.keys.add(key)
        done = self._store.swap(key, old, new, ttl)
        return await done if asyncio.iscoroutine(done) else done


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Seen]:
    if request.param == "memory":
        yield Seen(MemoryStore(clock=lambda: CLOCK()))
    elif request.param == "sqlite":
        with closing(SQLiteStore(tmp_path / "db" / "x", clock=lambda: CLOCK())) as store:
            yield Seen(store)
    else:
        redis = AsyncRedisStore(request.getfixturevalue("redis_server").url, prefix=f"{secrets.token_hex(4)}:")
        yield Seen(redis)
        await redis.aclose()


CLOCK = site_rig.Clock()


@pytest.fixture
async def new_site(shared: Seen) -> AsyncIterator[Callable[..., Site]]:
    """Sites of other clients at one server, with one secret key and one store."""
    other = type(CLIENT)(**{**vars(CLIENT), "client_id": "b"})
    async with AsyncExitStack() as stack:

        def new(**settings: Any) -> Site:
            options = {"clients": [CLIENT, other]}
            site = stack.enter_context(
                site_rig.site(clock=CLOCK, store=shared, secret_key=KEY, emulator=options, **settings)
            )
            stack.push_async_callback(site.aclose)
            return site

        yield new


async def subject(browser: Browser) -> str | None:
    answer = await browser.fetch("GET", "/who")
    return answer.json()["subject"] if answer.status_code == 200 else None


async def signed_in(site: Site) -> Browser:
    browser = site.browser()
    await browser.sign_in()
    return browser


async def test_two_sites_on_one_store_see_nothing_of_each_other(new_site, shared):
    one = new_site(sessions="store")
    two = one.with_settings(client_id="b")
    people = [await signed_in(site) for site in (one, two, one, two)]
    assert len({await subject(browser) for browser in people}) == 1, "one person, by the server's own id"
    for browser in people:
        listed = (await browser.fetch("GET", "/auth/sessions")).json()["sessions"]
        assert [each["current"] for each in listed].count(True) == 1
        assert len(listed) == 2
    assert (await people[0].fetch("POST", "/auth/sessions/end")).status_code == 204
    assert [await subject(browser) is not None for browser in people] == [True, True, False, True]
    assert (await people[1].fetch("POST", "/auth/sessions/end")).status_code == 204
    assert [await subject(browser) is not None for browser in people] == [True, True, False, False]


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_a_logout_token_for_one_site_ends_nothing_of_the_other(new_site, shared, sessions):
    one = new_site(sessions=sessions, backchannel_logout=True)
    two = one.with_settings(client_id="b")
    first, second = await signed_in(one), await signed_in(two)
    [sid, *_] = [grant.sid for grant in one.emulator.grants]
    told = await one.browser().post(
        "/auth/backchannel-logout", data={"logout_token": one.emulator.logout_token(CLIENT.client_id, sid)}
    )
    assert told.status_code == 200
    assert (await subject(first), await subject(second) is not None) == (None, True)


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_every_key_names_its_site(new_site, shared, sessions):
    """Records, leases, lists, used logins, replays, what was ended."""
    one = new_site(sessions=sessions, backchannel_logout=True)
    two = one.with_settings(client_id="b")
    for site in (one, two):
        browser = await signed_in(site)
        site.clock.advance(3700)
        assert await subject(browser)
        sid = list(site.emulator.grants)[-1].sid
        token = site.emulator.logout_token(site.config.client_id, sid)
        await site.browser().post("/auth/backchannel-logout", data={"logout_token": token})
    kinds: dict[str, set[str]] = {one.config.fingerprint: set(), two.config.fingerprint: set()}
    for key in shared.keys:
        name, _, fingerprint = key.rpartition("@")
        kinds[fingerprint].add(name.partition(":")[0])
    assert kinds[one.config.fingerprint] == kinds[two.config.fingerprint]
    assert {"session", "lease", "index", "jti", "ended"} < kinds[one.config.fingerprint]


async def test_what_another_site_wrote_opens_nothing_even_under_our_key(new_site, shared):
    one = new_site(sessions="store")
    two = one.with_settings(client_id="b")
    browser = await signed_in(one)
    handle = browser.cookies[one.config.session_cookie]
    headers = {**FETCH, "cookie": f"{two.config.session_cookie}={handle}"}
    assert (await two.browser().get("/who", headers=headers)).status_code == 401
    assert json.loads((await two.browser().get("/who", headers=headers)).text)["reason"] == "no_session"


# --- many sign-ins of one person at one instant ---


def a_session(subject: str, now: float) -> Session:
    tokens = TokenSet("access", now + 3600, 3600.0, ("openid",), None)
    return Session(secrets.token_urlsafe(24), 0, now, now, tokens, {"sub": subject, "sid": subject})


async def begin(party: RelyingParty, subject: str) -> str:
    session = a_session(subject, party.parts.world.clock())
    await party._account.begin(session, None, issued_at=session.began, login_took=0)
    return session.id


async def rounds(parties: list[RelyingParty], together: Callable[[list[RelyingParty], str], Any], count: int) -> None:
    for number in range(count):
        name = f"person-{number}"
        begun = await together(parties, name)
        for common in (f"sub {name}", f"sid {name}"):
            listed = {entry.session_id for entry in await parties[0].parts.index.entries(common)}
            assert listed == set(begun), "none is missing from the list"


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("processes", [1, AT_ONCE])
async def test_sign_ins_of_one_person_at_one_instant_all_get_in(kind, processes, redis_server, tmp_path):
    """On an event loop, in one process and in as many as there are sign-ins."""
    prefix = f"{secrets.token_hex(4)}:"
    settings = config(sessions="store")
    async with AsyncExitStack() as stack:
        parties = []
        for _ in range(processes):
            store: Any
            if kind == "redis":
                store = AsyncRedisStore(redis_server.url, prefix=prefix)
                stack.push_async_callback(store.aclose)
            else:
                store = SQLiteStore(tmp_path / "db" / "x")
            world = AsyncWorld(settings, store, lambda: 1_790_000_000.0)
            stack.push_async_callback(world.aclose, 0.0)
            parties.append(RelyingParty(settings, world))

        async def together(parties: list[RelyingParty], name: str) -> list[str]:
            return await asyncio.gather(*(begin(parties[turn % processes], name) for turn in range(AT_ONCE)))

        await rounds(parties, together, ROUNDS if processes > 1 else ROUNDS // 5)
        if kind == "sqlite":
            store.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("processes", [1, AT_ONCE])
async def test_so_they_do_in_threads(kind, processes, redis_server: RedisServer, tmp_path):
    """Under WSGI, where each sign-in has a thread."""
    prefix = f"{secrets.token_hex(4)}:"
    settings = config(sessions="store")
    stores: list[Any] = [
        RedisStore(redis_server.url, prefix=prefix) if kind == "redis" else SQLiteStore(tmp_path / "db" / "x")
        for _ in range(processes)
    ]
    worlds = [ThreadWorld(settings, store, lambda: 1_790_000_000.0) for store in stores]
    parties = [RelyingParty(settings, world) for world in worlds]
    with ThreadPoolExecutor(AT_ONCE) as pool:

        async def together(parties: list[RelyingParty], name: str) -> list[str]:
            def one(turn: int) -> str:
                return run(begin(parties[turn % processes], name))

            return list(pool.map(one, range(AT_ONCE)))

        await rounds(parties, together, ROUNDS if processes > 1 else ROUNDS // 5)
    for each in (*worlds, *stores):
        each.close()
