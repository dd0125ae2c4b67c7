"""ST: sessions in a store, and a store in trouble (each bundled store that needs no server)."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.sessions.logins import CLOCK_SETBACK, LIFETIME
from lumin_middleware.sessions.records import record_key
from lumin_middleware.stores import MemoryStore, SQLiteStore
from tests.acceptance.harness import (
    REVOKE,
    SESSION,
    TOKEN,
    call,
    cookies,
    session_cookies,
    session_records,
    subject,
    with_cookies,
)
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION, Clock, Site


class Watched:
    """A store that counts, and fails when it is told to. `fails` is asked with the verb and the key."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.blocking = store.blocking if hasattr(store, "blocking") else True
        self.local = getattr(store, "local", False)
        self.fails: Callable[[str, str, bytes | None], bool] = lambda verb, key, new: False
        self.writes: list[tuple[str, float]] = []

    def get(self, key: str) -> bytes | None:
        if self.fails("get", key, None):
            raise StoreUnavailable("the test says so")
        return self.store.get(key)

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        if self.fails("delete" if new is None else "swap", key, new):
            raise StoreUnavailable("the test says so")
        self.writes.append((key, ttl))
        return self.store.swap(key, old, new, ttl)


@pytest.fixture(params=["memory", "sqlite"])
def store_site(request: pytest.FixtureRequest, new_site: Any, tmp_path: Path) -> Iterator[Site]:
    """A site with sessions in a watched store of each kind."""
    clock = Clock()
    if request.param == "memory":
        yield new_site(sessions="store", store=Watched(MemoryStore(clock=clock)), clock=clock)
        return
    with closing(SQLiteStore(tmp_path / "db" / "x", clock=clock)) as store:
        yield new_site(sessions="store", store=Watched(store), clock=clock)


# --- ST-01 ----------------------------------------------------------------------------------------------


async def test_st_01_ids_are_random_and_the_stores_key_is_a_digest(store_site):
    ids = set()
    for _ in range(20):
        browser = store_site.browser()
        await browser.sign_in()
        ids.add(session_cookies(browser)[SESSION])
    keys = {key for key, _ in store_site.store.writes if key.startswith("session:")}
    assert len(ids) == len(keys) == 20
    for key in keys:
        assert re.fullmatch(rf"session:[0-9a-f]{{64}}@{store_site.config.fingerprint}", key)
        for value in ids:
            assert key.partition(":")[2].partition("@")[0] not in value
    party = store_site.middleware._party()[0]
    for value in ids:
        session_id = party.parts.sessions._handle_sealer.unseal(value.encode()).data.decode()
        assert len(base64.urlsafe_b64decode(session_id + "=" * (-len(session_id) % 4))) * 8 >= 128
        assert f"{record_key(session_id)}@{store_site.config.fingerprint}" in keys


async def test_st_01_the_record_gives_nobody_a_token_without_the_cookie(store_site):
    browser = store_site.browser()
    await browser.sign_in()
    store_site.clock.advance(3700)
    await subject(browser)
    dumped = b"".join(store_site.store.get(key) or b"" for key, _ in store_site.store.writes)
    readable = dumped + b"".join(base64.urlsafe_b64decode(part[: len(part) // 4 * 4]) for part in dumped.split(b"."))
    for secret in (b"ory_at_", b"ory_rt_", b"mira.halden", b"sign:requests"):
        assert secret not in readable


@pytest.mark.parametrize("planted", ["x", "A" * 43, "B" * 200, "..", "session:1", "%00", "1", "' OR 1=1 --"])
async def test_st_01_an_unknown_id_is_nobody_and_is_never_adopted(store_site, planted):
    answer = await call(store_site.middleware, "/x", headers={**FETCH, "cookie": f"{SESSION}={planted}"})
    assert answer.status == 401
    assert store_site.store.writes == []
    browser = store_site.browser()
    browser.cookies.set(SESSION, planted, domain="app.example.com", path="/")
    await browser.sign_in()
    assert session_cookies(browser)[SESSION] != planted
    assert await subject(browser)


async def test_st_01_an_expired_id_is_nobody_and_a_sign_in_mints_another(store_site):
    browser = store_site.browser()
    await browser.sign_in()
    old = session_cookies(browser)[SESSION]
    [key] = {key for key, _ in store_site.store.writes if key.startswith("session:")}
    store_site.clock.advance(store_site.config.idle_timeout + 1)
    assert await subject(browser) is None
    assert store_site.store.get(key) is None
    await browser.sign_in()
    assert session_cookies(browser)[SESSION] != old
    assert len({key for key, _ in store_site.store.writes if key.startswith("session:")}) == 2


async def test_st_01_a_sealed_id_that_the_store_does_not_know_is_nobody(store_site):
    """The same secret, another store: a restored backup, a flushed cache."""
    browser = store_site.browser()
    await browser.sign_in()
    other = store_site.with_settings(store=MemoryStore(clock=store_site.clock))
    carried = other.browser()
    carried.cookies = browser.cookies
    assert await subject(carried) is None


# --- ST-02 ----------------------------------------------------------------------------------------------


async def test_st_02_a_store_that_cannot_be_read_is_503_and_signs_nobody_in_or_out(store_site):
    browser = store_site.browser()
    await browser.sign_in()
    before = cookies(browser)
    reached = len(store_site.app.scopes)
    store_site.store.fails = lambda verb, key, new: verb == "get"
    for answer in (
        await browser.fetch("GET", "/x"),
        await browser.navigate("/x"),
        await browser.fetch("GET", "/auth/session"),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
    assert len(store_site.app.scopes) == reached
    assert cookies(browser) == before
    store_site.store.fails = lambda verb, key, new: False
    assert await subject(browser)


async def test_st_02_somebody_without_a_cookie_does_not_suffer_from_it(store_site):
    store_site.store.fails = lambda verb, key, new: True
    browser = store_site.browser()
    assert (await browser.fetch("GET", "/x")).status_code == 401
    assert (await browser.navigate("/x")).status_code == 303


async def test_st_02_a_page_that_is_public_or_optional_is_served_all_the_same(store_site):
    site = store_site.with_settings(public=["/free"], optional=["/maybe"])
    browser = site.browser()
    await browser.sign_in("/x")
    before = cookies(browser)
    store_site.store.fails = lambda verb, key, new: True
    assert (await browser.navigate("/free")).status_code == 200
    answer = await browser.navigate("/maybe")
    assert (answer.status_code, answer.json()["authenticated"]) == (200, False)
    assert cookies(browser) == before


@pytest.mark.parametrize("what", ["login:", "session:"])
async def test_st_02_a_store_that_cannot_be_written_at_the_callback_signs_nobody_in(store_site, what):
    browser = store_site.browser()
    callback = store_site.emulator.sign_in(await browser.begin("/x"))
    store_site.store.fails = lambda verb, key, new: verb == "swap" and key.startswith(what)
    answer = await browser.navigate(callback)
    assert answer.status_code == 503
    assert session_cookies(browser) == {}
    assert int(answer.headers["retry-after"]) > 0
    if what == "login:":
        assert store_site.emulator.calls_to(TOKEN) == [], "the code was not spent"
    else:
        assert all(grant.revoked for grant in store_site.emulator.grants), "nobody has these tokens"
        assert len(store_site.emulator.calls_to(REVOKE)) == 1


async def test_st_02_a_store_that_cannot_delete_at_a_logout_is_told_and_the_cookie_goes_all_the_same(store_site):
    browser = store_site.browser()
    await browser.sign_in()
    store_site.store.fails = lambda verb, key, new: verb == "delete" and key.startswith("session:")
    answer = await browser.log_out()
    assert answer.status_code == 503
    assert cookies(browser) == {}
    assert await subject(browser) is None


async def test_st_02_a_logout_whose_store_cannot_be_read_is_told_and_the_cookie_goes_all_the_same(store_site):
    browser = store_site.browser()
    await browser.sign_in()
    store_site.store.fails = lambda verb, key, new: True
    answer = await browser.log_out()
    assert answer.status_code == 503
    assert cookies(browser) == {}
    assert "still signed in" not in answer.text, "this browser is not, and the page must not say so"


async def test_st_02_a_refresh_whose_result_cannot_be_saved_is_not_lost(store_site):
    """The old refresh token is spent: the new one is kept by this process until the store is back."""
    browser = store_site.browser()
    await browser.sign_in()
    store_site.clock.advance(3700)
    store_site.store.fails = lambda verb, key, new: verb == "swap" and key.startswith("session:")
    first = await browser.fetch("GET", "/x")
    store_site.store.fails = lambda verb, key, new: False
    assert first.status_code in (200, 503)
    for _ in range(3):
        assert await subject(browser)
        store_site.clock.advance(3700)
    assert store_site.emulator.reuse_events == 0


async def test_st_02_a_session_that_slides_while_the_store_cannot_be_written_is_not_over(store_site):
    """What is read is good; that it was used is noted another time."""
    browser = store_site.browser()
    await browser.sign_in()
    store_site.clock.advance(3000)
    site = store_site.with_settings(idle_timeout=7200)
    carried = site.browser()
    carried.cookies = browser.cookies
    store_site.store.fails = lambda verb, key, new: verb == "swap" and key.startswith("session:")
    answer = await carried.fetch("GET", "/x")
    assert answer.status_code in (200, 503)
    store_site.store.fails = lambda verb, key, new: False
    assert await subject(carried)


async def test_st_02_a_broken_record_is_nobody_and_no_error(new_site):
    site = new_site(sessions="store")
    for junk in (b"", b"x", b"\xff" * 100, b"A" * 5000):
        browser = site.browser()
        await browser.sign_in()
        key = next(iter(session_records(site)))
        _, expires_at = site.store._entries[key]
        site.store._entries[key] = (junk, expires_at)
        assert await subject(browser) is None
        site.store._entries.clear()


async def test_st_02_a_record_of_somebody_else_is_not_taken(new_site):
    """Whoever can write to the store must not be able to exchange sessions: the record is bound to its id."""
    site = new_site(sessions="store")
    people = list(site.emulator.users)
    one, two = site.browser(), site.browser()
    await one.sign_in(sub=people[0])
    await two.sign_in(sub=people[1])
    (key_one, record_one), (key_two, record_two) = [(key, site.store._entries[key]) for key in session_records(site)]
    site.store._entries[key_one], site.store._entries[key_two] = record_two, record_one
    assert await subject(one) is None
    assert await subject(two) is None


# --- ST-04 ----------------------------------------------------------------------------------------------


@pytest.mark.by_the_thousand
async def test_st_04_hits_of_nobody_leave_nothing_in_the_store(store_site):
    """Some thousands in place of a hundred thousand: what one leaves, all leave."""
    targets = [
        "/x",
        "/free",
        "/auth/login",
        "/auth/callback?code=x&state=y",
        "/auth/logout",
        "/auth/session",
        "/x/../y",
    ]
    for number in range(300):
        for target in targets:
            headers = {**(NAVIGATION if number % 2 else FETCH), "cookie": f"{SESSION}=junk{number}; x={number}"}
            await call(store_site.middleware, f"{target}{'&' if '?' in target else '?'}n={number}", headers=headers)
    assert store_site.store.writes == []


async def test_st_04_what_a_login_leaves_is_one_mark_that_expires(store_site):
    browser = store_site.browser()
    callback = store_site.emulator.sign_in(await browser.begin("/x"), deny=True)
    await browser.navigate(callback)
    assert [key for key, _ in store_site.store.writes if key.startswith("session:")] == []
    await browser.sign_in("/x")
    for key, ttl in store_site.store.writes:
        of_the_site = key.startswith("keys@")  # not of a person: which keys it had
        assert of_the_site or 0 <= ttl <= store_site.config.absolute_timeout, key
    marks = [ttl for key, ttl in store_site.store.writes if key.startswith("login:")]
    assert len(marks) <= 2
    assert max(marks) <= LIFETIME + CLOCK_SETBACK


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_st_04_a_slow_store_does_not_stall_other_requests(new_site, sessions):
    """While one request waits for the store, another that needs none is answered."""
    released = threading.Event()
    waiting = threading.Event()

    class Slow:
        def __init__(self) -> None:
            self.inner = MemoryStore()
            self.hold = False

        def get(self, key: str) -> bytes | None:
            if self.hold:
                waiting.set()
                assert released.wait(PATIENCE)
            return self.inner.get(key)

        def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
            return self.inner.swap(key, old, new, ttl)

    store = Slow()
    site = new_site(sessions=sessions, store=store, public=["/free"], strict_logout=True)
    browser = site.browser()
    await browser.sign_in("/x")
    store.hold = True
    headers = with_cookies(browser, FETCH)
    slow = [asyncio.ensure_future(call(site.middleware, "/x", headers=headers)) for _ in range(30)]
    while not waiting.is_set():
        await asyncio.sleep(0)
    for _ in range(20):
        assert (await call(site.middleware, "/free")).status == 200
        assert (await call(site.middleware, "/x", headers=FETCH)).status == 401
    assert not [task for task in slow if task.done()]
    released.set()
    assert {answer.status for answer in await asyncio.gather(*slow)} == {200}


async def test_st_04_an_end_mark_outlives_every_cookie_that_it_ends(new_site):
    """In cookie mode a logout leaves one record, for as long as a copy could be replayed, and no longer."""
    site = new_site()
    browser = site.browser()
    await browser.sign_in()
    copied = with_cookies(browser, FETCH)
    site.clock.advance(1000)
    await browser.log_out()
    [(_, expires_at)] = [entry for key, entry in site.store._entries.items() if key.startswith("session:")]
    began = site.clock.now - 1000
    assert began + site.config.absolute_timeout <= expires_at <= began + site.config.absolute_timeout + 60
    while site.clock.now < expires_at + 10:
        assert (await call(site.middleware, "/x", headers=copied)).status == 401
        site.clock.advance(site.config.idle_timeout / 2)
