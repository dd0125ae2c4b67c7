"""A session is found by whoever carries it, is newest everywhere, and is over everywhere at once."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.config import LuminConfig
from lumin_middleware.errors import SessionEnded, StoreUnavailable
from lumin_middleware.journal import PAUSE
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.cookies import HEADER_LIMIT
from lumin_middleware.sessions.kinds import CookieSessions, StoreSessions
from lumin_middleware.sessions.memo import cost
from lumin_middleware.sessions.opened import Carried
from lumin_middleware.sessions.records import PATIENCE, Record, record_key
from lumin_middleware.sessions.sealing import SIGNATURE_LENGTH
from tests.fakes import KEY, OLD_KEY, CookieJar, Process, Workers, at, hostile
from tests.site_rig import SESSION

DAY, WEEK = 86_400, 604_800


class Site(Workers):
    """Workers, and one browser that has signed in."""

    def __init__(self, *, local: bool = True, **changes: Any) -> None:
        super().__init__(**changes)
        self.store.local = local
        self.browser = CookieJar()

    async def begin(self, process: Process | None = None, **changes: Any) -> Session:
        """A sign-in, as far as sessions go: the browser has the cookie."""
        process = process or self.process()
        now = self.clock()
        tokens = TokenSet("access-secret", now + 3600, 3600.0, ("openid",), "refresh-secret")
        session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, {"sub": "person-1"})
        session = dataclasses.replace(session, **changes)
        await process.sessions.begin(session)
        self.give(process, session)
        self.steps.clear()
        return session

    def give(self, process: Process, session: Session) -> None:
        """The browser gets the session."""
        self.browser.take(process.sessions.set_cookies(session, process.cookies.jar(self.browser.header)))

    async def load(self, process: Process | None = None) -> Carried | None:
        """What a process that knows nothing makes of the browser's cookies."""
        process = process or self.process()
        return await process.sessions.load(process.cookies.jar(self.browser.header), slide=True)

    async def renew(self, session: Session, **changes: Any) -> Session:
        """A newer generation in the store, by some other process."""
        sessions = self.process().sessions
        record = await sessions.newest(session)
        tokens = dataclasses.replace(session.tokens, access_token=f"access-{record.session.generation + 1}")
        newer = dataclasses.replace(
            session, generation=record.session.generation + 1, tokens=tokens, seen=self.clock(), **changes
        )
        assert await sessions.replace(record, newer)
        return newer


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest) -> Site:
    return Site(sessions=request.param)


@pytest.fixture
def cookie_site() -> Site:
    return Site(sessions="cookie")


@pytest.fixture
def store_site() -> Site:
    return Site(sessions="store")


# --- carried ---


async def test_a_browser_brings_its_session_back(site):
    session = await site.begin()
    assert await site.load() == Carried(session, stale=False)


async def test_nobody_brings_nothing(site):
    assert await site.load() is None
    assert site.steps == []


@pytest.mark.parametrize("value", ["x", "", "a.b.c", "%00", '"quoted"', "=" * 10])
async def test_a_cookie_that_is_not_ours_is_nobody_and_costs_no_look_at_the_store(site, value):
    site.browser.cookies[SESSION] = value
    assert await site.load() is None
    assert site.steps == []


@hostile
@given(st.sampled_from(["cookie", "store"]), st.binary(max_size=200), st.binary(max_size=50))
async def test_any_cookies_are_nobody(kind, value, piece):
    process = Site(sessions=kind).process()
    name = SESSION.encode()
    header = b"%b=%b; %b-0=2%b; %b-1=%b" % (name, value, name, piece, name, value)
    assert await process.sessions.load(process.cookies.jar(header)) is None
    assert await process.sessions.current(process.cookies.jar(header)) is None


@pytest.mark.parametrize("name", [None, "shared"])
@pytest.mark.parametrize(
    "difference",
    [{"secret_key": OLD_KEY}, {"client_id": "another"}, {"redirect_uri": "https://app.example.com:8443/auth/callback"}],
)
async def test_what_another_site_sealed_is_nobody(site, name, difference):
    """Sites on different ports of one host get each other's cookies (RFC 6265, 8.5), whatever these are called."""
    kind = site.config.sessions
    session = await site.begin(site.process(sessions=kind, cookie_name=name))
    assert (await site.load(site.process(sessions=kind, cookie_name=name))).session == session
    assert await site.load(site.process(sessions=kind, cookie_name=name, **difference)) is None


async def test_a_sealed_session_is_no_handle_and_a_handle_is_good_wherever_its_record_is():
    sealed, handed = Site(sessions="cookie"), Site(sessions="store")
    await sealed.begin()
    assert await sealed.load(sealed.process(sessions="store")) is None
    session = await handed.begin()
    assert (await handed.load(handed.process(sessions="cookie"))).session == session


async def test_what_stands_beside_our_cookie_does_not_matter_to_what_is_remembered(site, monkeypatch):
    session = await site.begin()
    process = site.process()
    await site.load(process)
    monkeypatch.setattr(process.sessions, "_unseal", lambda value: pytest.fail("opened again"))
    for neighbour in (b"; a=1", b"; _ga=GA1.1.2222", b"; big=" + b"x" * 60_000):
        jar = process.cookies.jar(site.browser.header + neighbour)
        assert (await process.sessions.load(jar)).session == session
    assert len(process.sessions._opened) == 1


async def test_a_value_that_only_ends_like_one_that_is_remembered_is_another(site):
    site.store.local = True
    await site.begin()
    process = site.process()
    header = site.browser.header
    name, _, value = header.partition(b"=")
    assert process.sessions.at_once(header, site.clock()) or await site.load(process)
    signature = value[-SIGNATURE_LENGTH:]
    letter = b"y" if value[5:6] == b"x" else b"x"
    other_values = (
        *(b"x" + value, value[1:], value[:5] + letter + value[6:]),
        *(b"." + signature, signature, value + signature),
    )
    for other in other_values:
        for forged in (name + b"=" + other, b"a=" + value + b"; " + name + b"=" + other):
            assert process.sessions.at_once(forged, site.clock()) is None
            assert await process.sessions.load(process.cookies.jar(forged)) is None
        assert (await process.sessions.load(process.cookies.jar(header))).session


@pytest.mark.parametrize("limit", [0, 40_000, 200_000])
async def test_what_is_remembered_is_bounded_in_bytes(limit):
    site = Site(sessions="cookie")
    process = site.process(session_memory=limit)
    for number in range(60):
        await site.begin(process)
        header = site.browser.header + b"; noise=" + b"%d" % number * 20_000
        assert await process.sessions.load(process.cookies.jar(header))
    kept = process.sessions._opened._entries
    assert sum(cost(value, opened.size) for value, opened in kept.items()) <= limit
    assert sum(map(len, kept)) < 60 * 2000


async def test_what_came_beside_a_cookie_is_told_to_its_own_request(site, monkeypatch):
    """Threads, and browsers that have one cookie, may ask at once: nobody is told what came with another's request."""
    site.store.local = True
    await site.begin()
    process = site.process()
    mine, others = b"a=mine", b"a=another's"
    for each in (mine, others):
        await process.sessions.load(process.cookies.jar(site.browser.header + b"; " + each))

    asked = []

    def meanwhile(place: str) -> bytes | None:
        if not asked:
            asked.append(True)
            assert process.sessions.at_once(site.browser.header + b"; " + others, site.clock())[1] == others
        return site.store.memory.get(at(place))

    assert process.sessions.at_once(site.browser.header + b"; " + mine, site.clock())[1] == mine
    monkeypatch.setattr(process.sessions, "_glance", meanwhile)
    assert process.sessions.at_once(site.browser.header + b"; " + mine, site.clock())[1] == mine


@pytest.mark.parametrize("limit", [0, 40_000, 200_000])
async def test_what_came_beside_a_cookie_counts_as_well(limit):
    site = Site(sessions="cookie")
    process = site.process(session_memory=limit)
    for _ in range(60):
        await site.begin(process)
        for noise in (b"; n=1", b"; n=" + b"x" * 5_000, b"; n=1" + b" " * 21_000, b"; n=" + b"x" * 20_000):
            assert process.sessions.at_once(site.browser.header + noise, site.clock()) is not None
    kept = process.sessions._opened._entries
    assert sum(cost(value, opened.weight) for value, opened in kept.items()) <= limit


async def test_an_older_key_opens_and_has_the_cookie_written_again(site):
    kind = site.config.sessions
    session = await site.begin(site.process(secret_key=OLD_KEY, sessions=kind))
    process = site.process(secret_key=[KEY, OLD_KEY], sessions=kind)
    carried = await site.load(process)
    assert (carried.session, carried.stale) == (session, True)
    site.give(process, session)
    assert await site.load(process) == Carried(session, stale=False)


async def test_a_record_under_an_older_key_is_written_under_the_newest(site):
    """By the time that the older key is dropped, nobody is signed out for want of it."""
    kind = site.config.sessions
    old = site.process(secret_key=OLD_KEY, sessions=kind)
    session = await site.begin(old)
    tokens = dataclasses.replace(session.tokens, access_token="renewed")
    newer = dataclasses.replace(session, generation=1, tokens=tokens)
    assert await old.sessions.replace(await old.sessions.newest(session), newer)
    both = site.process(secret_key=[KEY, OLD_KEY], sessions=kind)
    carried = await site.load(both)
    assert carried is not None
    site.give(both, carried.session)
    assert (await site.process().sessions.newest(session)).session == newer
    assert (await site.load()).session == newer


async def test_equal_cookies_are_opened_once(site, monkeypatch):
    session = await site.begin()
    process = site.process()
    assert await site.load(process) == Carried(session, stale=False)
    monkeypatch.setattr(process.sessions, "_unseal", lambda value: pytest.fail("opened again"))
    assert await site.load(process) == Carried(session, stale=False)


async def test_what_is_remembered_is_checked_again_each_time(site):
    session = await site.begin()
    process = site.process()
    await site.load(process)
    site.clock.advance(DAY)
    assert await process.sessions.current(process.cookies.jar(site.browser.header)) is None
    site.clock.advance(-DAY)
    assert await site.load(process) == Carried(session, stale=False)
    await site.process().end(session)
    assert await process.sessions.current(process.cookies.jar(site.browser.header)) is None


async def test_a_session_of_several_cookies_comes_back(cookie_site):
    session = await cookie_site.begin(claims={"sub": "x" * 3000})
    assert set(cookie_site.browser.cookies) == {f"{SESSION}-0", f"{SESSION}-1"}
    assert await cookie_site.load() == Carried(session, stale=False)


async def test_pieces_of_two_sessions_are_nobody(cookie_site):
    await cookie_site.begin(claims={"sub": "x" * 3000})
    first = dict(cookie_site.browser.cookies)
    await cookie_site.begin(claims={"sub": "y" * 3000})
    cookie_site.browser.cookies[f"{SESSION}-1"] = first[f"{SESSION}-1"]
    assert await cookie_site.load() is None


async def test_a_good_single_cookie_beside_stale_pieces_is_the_session(cookie_site):
    await cookie_site.begin(claims={"sub": "x" * 3000})
    stale = dict(cookie_site.browser.cookies)
    session = await cookie_site.begin()
    cookie_site.browser.cookies |= stale
    assert await cookie_site.load() == Carried(session, stale=False)


async def test_pieces_beside_a_bad_single_cookie_are_the_session(cookie_site):
    session = await cookie_site.begin(claims={"sub": "x" * 3000})
    cookie_site.browser.cookies[SESSION] = "stale"
    assert await cookie_site.load() == Carried(session, stale=False)


@hostile
@given(st.sampled_from(["cookie", "store"]), st.integers(0, 13_000), st.integers(60, WEEK))
async def test_every_cookie_of_a_session_of_any_size_fits_into_a_browser(kind, size, idle):
    site = Site(sessions=kind, idle_timeout=idle)
    session = await site.begin(claims={"sub": "s" * size})  # the jar of a browser checks the size of each
    found = await site.load()
    assert found is not None
    assert found.session == session


# --- sessions that no cookie holds ---

LARGE = {"sub": "x" * 9000}


async def test_a_session_that_no_cookie_holds_lives_in_the_store(cookie_site, caplog):
    session = await cookie_site.begin(claims=LARGE)
    assert set(cookie_site.browser.cookies) == {SESSION}
    assert len(cookie_site.browser.header) < 300
    assert await cookie_site.load() == Carried(session, stale=False)
    assert set(cookie_site.store.entries()) == {record_key(session.id)}
    assert [record.message for record in caplog.records if "sessions='store'" in record.message]


async def test_it_slides_renews_and_ends_as_every_other(cookie_site):
    session = await cookie_site.begin(claims=LARGE)
    cookie_site.clock.advance(DAY - 1)
    carried = await cookie_site.load()
    assert carried == Carried(session, stale=True)
    cookie_site.clock.advance(DAY - 1)
    newer = await cookie_site.renew(session)
    assert (await cookie_site.load()).session == newer
    await cookie_site.process().end(session)
    with pytest.raises(SessionEnded):
        await cookie_site.load()


async def test_a_session_that_grows_at_a_renewal_is_handed_over_to_the_store_and_back(cookie_site):
    session = await cookie_site.begin()
    process = cookie_site.process()
    for claims, pieces in ((LARGE, 1), ({"sub": "x"}, 1), ({"sub": "x" * 3000}, 2), (LARGE, 1)):
        session = await cookie_site.renew(session, claims=claims)
        cookie_site.give(process, session)
        assert len(cookie_site.browser.cookies) == pieces
        assert (await cookie_site.load()).session == session


async def test_it_cannot_be_known_without_the_store_and_is_nobody_when_its_record_is_gone(cookie_site):
    session = await cookie_site.begin(claims=LARGE)
    cookie_site.store.fails = {"get session"}
    with pytest.raises(StoreUnavailable):
        await cookie_site.load()
    cookie_site.store.fails = set()
    raw = cookie_site.store.memory.get(record_key(session.id))
    cookie_site.store.memory.swap(record_key(session.id), raw, None, 1)
    assert await cookie_site.load() is None


@hostile
@given(st.integers(0, 20_000), st.integers(0, 6))
async def test_our_part_of_the_header_is_bounded_whatever_the_size(size, logins):
    site = Site(sessions="cookie")
    site.browser.cookies = {f"{SESSION}-login-{number:016x}": "x" * 900 for number in range(logins)}
    await site.begin(claims={"sub": "s" * size})
    assert len(site.browser.header) <= HEADER_LIMIT + 200  # names and separators
    in_flight = [name for name in site.browser.cookies if "-login-" in name]
    assert in_flight == [f"{SESSION}-login-{number:016x}" for number in range(logins)][-len(in_flight) or logins :]


# --- what others see ---


async def test_what_the_browser_and_the_store_hold_tells_nobody_anything(site):
    session = await site.begin(claims={"sub": "person-secret"})
    await site.renew(session)
    everything = site.browser.header + repr(site.store.entries()).encode()
    for secret in ("access", "refresh", "person", session.id, "openid"):
        assert secret.encode() not in everything


# --- limits ---


@pytest.mark.parametrize(
    ("seconds", "over"), [(0, False), (DAY - 1, False), (DAY, True), (2 * DAY, True), (-3600, False)]
)
async def test_a_session_that_nobody_uses_is_over(site, seconds, over):
    await site.begin()
    site.clock.advance(seconds)
    assert await is_over(site) is over


async def is_over(site: Site, process: Process | None = None) -> bool:
    try:
        carried = await site.load(process)
    except SessionEnded as ended:
        return ended.reason == "expired"
    return carried is None


@pytest.mark.parametrize("changes", [{"idle_timeout": 60}, {"idle_timeout": 60, "absolute_timeout": 3600}])
async def test_a_limit_that_was_made_shorter_holds_for_sessions_that_are_there(site, changes):
    await site.begin()
    site.clock.advance(3600)
    assert await is_over(site, site.process(sessions=site.config.sessions, **changes))
    assert not await is_over(site)


async def test_a_session_that_is_used_lives_on_until_its_absolute_limit(site):
    session = await site.begin()
    process = site.process()
    while site.clock() < session.began + WEEK - DAY / 2:
        site.clock.advance(DAY / 2)
        carried = await site.load(process)
        assert carried is not None
        assert carried.stale
        site.give(process, carried.session)
    site.clock.now = session.began + WEEK - 1
    assert not await is_over(site)
    site.clock.advance(1)
    assert await is_over(site)


async def test_the_cookie_is_written_again_after_a_tenth_of_the_idle_time(site):
    session = await site.begin()
    site.clock.advance(DAY / 10 - 1)
    assert await site.load() == Carried(session, stale=False)
    site.clock.advance(1)
    carried = await site.load()
    assert carried is not None
    assert carried.stale


async def test_a_cookie_that_is_written_again_is_fresh_for_the_idle_time(site):
    await site.begin()
    site.clock.advance(DAY - 1)
    process = site.process()
    carried = await site.load(process)
    assert carried is not None
    site.give(process, carried.session)
    site.clock.advance(DAY - 1)
    assert not await is_over(site)


async def test_a_cookie_that_is_played_again_is_over_when_it_would_have_been(cookie_site):
    """Whatever `Max-Age` said: the time is inside."""
    await cookie_site.begin()
    old = dict(cookie_site.browser.cookies)
    cookie_site.clock.advance(DAY - 1)
    carried = await cookie_site.load()
    cookie_site.give(cookie_site.process(), carried.session)
    cookie_site.clock.advance(2)
    assert not await is_over(cookie_site)
    cookie_site.browser.cookies = old
    assert await is_over(cookie_site)


@pytest.mark.parametrize(("passed", "max_age"), [(0, DAY), (WEEK - 100, 100), (WEEK - DAY - 1, DAY)])
async def test_no_cookie_outlives_its_session(site, passed, max_age):
    process = site.process()
    session = await site.begin(process)
    site.clock.advance(passed)
    (line,) = process.sessions.set_cookies(session, process.cookies.jar(b""))
    assert f"; Max-Age={max_age};" in line


# --- the newest generation ---


@pytest.mark.parametrize("local", [True, False])
async def test_an_old_cookie_finds_the_newest(local):
    site = Site(sessions="cookie", local=local, strict_logout=not local)
    session = await site.begin()
    newer = await site.renew(session)
    assert await site.load() == Carried(newer, stale=True)


async def test_a_handle_finds_the_newest_without_a_new_cookie(store_site):
    newer = await store_site.renew(await store_site.begin())
    assert await store_site.load() == Carried(newer, stale=False)


async def test_a_record_that_is_older_than_the_cookie_is_not_believed(cookie_site):
    """A process that could not save gave the browser what it had."""
    session = await cookie_site.begin()
    await cookie_site.renew(session)
    newest = dataclasses.replace(session, generation=2)
    cookie_site.give(cookie_site.process(), newest)
    assert await cookie_site.load() == Carried(newest, stale=False)
    raw = cookie_site.store.entries()[record_key(session.id)]
    assert await cookie_site.process().sessions.newest(newest) == Record(raw, newest)


async def test_of_one_generation_the_cookie_is_as_good_as_the_record(cookie_site):
    """It may have been written later, and then says when the session was last used."""
    newer = await cookie_site.renew(await cookie_site.begin())
    cookie_site.clock.advance(DAY / 2)
    cookie_site.give(cookie_site.process(), newer)
    carried = await cookie_site.load()
    assert carried == Carried(dataclasses.replace(newer, seen=cookie_site.clock()), stale=False)


async def test_the_newest_without_a_record(site):
    session = await site.begin()
    if site.config.sessions == "cookie":
        assert await site.process().sessions.newest(session) == Record(None, session)
    else:
        await site.process().end(session)
        with pytest.raises(SessionEnded):
            await site.process().sessions.newest(session)


async def test_a_record_lives_as_long_as_any_cookie_that_needs_it(site):
    session = await site.begin()
    newer = await site.renew(session)
    site.clock.advance(DAY - 1)
    assert (await site.process().sessions.newest(session)).session == newer
    if site.config.sessions == "cookie":
        site.clock.now = session.began + WEEK - 1
        assert (await site.process().sessions.newest(session)).session == newer
        site.clock.advance(1)
        assert site.store.entries() == {}
    else:
        site.clock.advance(1)
        assert site.store.entries() == {}


async def test_only_who_saw_the_record_may_replace_it(site):
    session = await site.begin()
    sessions = site.process().sessions
    seen = await sessions.newest(session)
    newer = await site.renew(session)
    assert not await sessions.replace(seen, dataclasses.replace(session, generation=1))
    assert (await site.process().sessions.newest(session)).session == newer


async def test_two_requests_that_slide_a_session_write_it_once(store_site):
    session = await store_site.begin()
    store_site.clock.advance(DAY / 2)
    other = store_site.process()

    async def another_slides() -> None:
        await store_site.load(other)

    store_site.store.before["swap session"] = another_slides
    carried = await store_site.load()
    assert carried == Carried(session, stale=True)
    assert (await store_site.load()).session.seen == store_site.clock()


# --- where a record is, nobody else's is ---


async def test_a_record_under_another_session_s_key_is_not_believed(site):
    """Who can write to the store cannot hand one person another one's session."""
    process = site.process()
    victim = await site.renew(await site.begin(process))
    site.browser = CookieJar()
    attacker = await site.begin(process)
    await process.sessions.newest(victim)  # this process has opened the victim's record
    entries = site.store.entries()
    key = record_key(attacker.id)
    site.store.memory.swap(key, entries.get(key), entries[record_key(victim.id)], DAY)
    with pytest.raises(SessionEnded):
        await process.sessions.newest(attacker)
    with pytest.raises(SessionEnded):
        await site.load(process)


@pytest.mark.parametrize("raw", [b"", b"garbage", b"ended", b"\xff" * 100])
async def test_a_record_that_cannot_be_read_lets_nobody_in(site, raw):
    session = await site.begin()
    key = record_key(session.id)
    site.store.memory.swap(key, site.store.entries().get(key), raw, DAY)
    with pytest.raises(SessionEnded):
        await site.load()
    with pytest.raises(SessionEnded):
        await site.process().sessions.newest(session)
    assert await site.process().sessions.find(session.id) is None


async def test_a_session_is_found_by_its_id(site):
    session = await site.renew(await site.begin())
    assert await site.process().sessions.find(session.id) == session
    assert await site.process().sessions.find("unknown") is None


# --- the end ---


async def test_an_end_is_everywhere(site):
    session = await site.begin()
    newer = await site.renew(session)
    process = site.process()
    await process.end(newer)
    assert process.world.announced == [session.id]
    for one in (session, newer):
        with pytest.raises(SessionEnded):
            await site.process().sessions.newest(one)
    assert await site.process().sessions.current(site.process().cookies.jar(site.browser.header)) is None


async def test_an_end_may_come_twice(site):
    session = await site.begin()
    for _ in range(2):
        await site.process().end(session)
    with pytest.raises(SessionEnded):
        await site.process().sessions.newest(session)


async def test_an_end_wins_against_who_writes_meanwhile(site):
    session = await site.begin()

    async def another_renews() -> None:
        await site.renew(session)

    site.store.before["swap session"] = another_renews
    await site.process().end(session)
    with pytest.raises(SessionEnded):
        await site.process().sessions.newest(session)


async def test_an_end_mark_outlives_every_cookie_and_not_by_much(cookie_site):
    session = await cookie_site.begin()
    await cookie_site.process().end(session)
    cookie_site.clock.now = session.began + WEEK - 1
    assert len(cookie_site.store.entries()) == 1
    cookie_site.clock.advance(1)
    assert cookie_site.store.entries() == {}


async def test_an_end_past_every_limit_is_written_all_the_same(cookie_site):
    session = await cookie_site.begin()
    cookie_site.clock.advance(2 * WEEK)
    await cookie_site.process().end(session)
    with pytest.raises(SessionEnded):
        await cookie_site.process().sessions.newest(session)


async def test_what_is_served_past_every_limit_is_over_though_the_store_is_away(cookie_site):
    session = await cookie_site.begin()
    sessions = cookie_site.process(strict_logout=True).sessions
    cookie_site.store.fails = {"get session"}
    assert not await sessions.is_over(session)
    cookie_site.clock.advance(WEEK)
    assert await sessions.is_over(session)


async def test_an_end_that_always_comes_late_says_so(site):
    session = await site.begin()
    process = site.process()

    async def never(*args: object) -> bool:
        site.steps.append("swap session")
        return False

    site.store.swap = never
    with pytest.raises(StoreUnavailable):
        await process.end(session)
    assert PATIENCE < sum(process.world.slept) < PATIENCE + 1
    assert process.world.announced == []


async def test_an_ended_session_leaves_nothing_in_a_store_of_sessions(store_site):
    session = await store_site.begin()
    await store_site.process().end(session)
    assert store_site.store.entries() == {}
    assert await store_site.load() is None


@pytest.mark.parametrize("seconds", [0, WEEK - 1, WEEK])
async def test_a_session_that_is_being_served_is_over_at_its_end_or_its_limit(site, seconds):
    session = await site.renew(await site.begin(), claims={})
    process = site.process()
    if site.config.sessions == "cookie" or seconds == 0:
        site.clock.advance(seconds)
        assert await process.sessions.is_over(session) is (seconds == WEEK)
    await process.end(session)
    assert await process.sessions.is_over(session)


async def test_a_session_that_is_being_served_goes_on_while_the_store_is_in_trouble(site, caplog):
    session = await site.begin()
    site.store.fails = {"get session"}
    assert not await site.process().sessions.is_over(session)
    assert "not available" in caplog.text


# --- beginning ---


async def test_a_store_that_has_the_id_of_a_new_session_does_not_keep_its_contract(store_site):
    session = await store_site.begin()
    with pytest.raises(StoreUnavailable):
        await store_site.process().sessions.begin(session)


async def test_a_cookie_session_needs_no_store_to_begin(cookie_site):
    cookie_site.store.fails = {"get session", "swap session"}
    assert await cookie_site.begin()
    assert cookie_site.steps == []


# --- trouble with the store ---


async def test_a_store_session_is_not_known_without_its_store(store_site):
    await store_site.begin()
    store_site.store.fails = {"get session"}
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store_site.load()
    with pytest.raises(StoreUnavailable):
        await store_site.process().sessions.current(store_site.process().cookies.jar(store_site.browser.header))


async def test_a_cookie_proves_itself_while_the_store_is_in_trouble(cookie_site, caplog):
    session, process = await cookie_site.begin(), cookie_site.process()
    cookie_site.store.fails = {"get session"}
    for _ in range(10):
        assert await cookie_site.load(process) == Carried(session, stale=False)
    assert caplog.text.count("not available") == 1
    cookie_site.clock.advance(PAUSE)
    await cookie_site.load(process)
    assert caplog.text.count("not available") == 2


async def test_with_strict_logout_it_does_not():
    site = Site(sessions="cookie", local=False, strict_logout=True)
    await site.begin()
    site.store.fails = {"get session"}
    with pytest.raises(StoreUnavailable):
        await site.load()


async def test_a_slide_that_fails_disturbs_nobody(store_site, caplog):
    """The session was read, so the request goes on; the next one tries again."""
    session = await store_site.begin()
    store_site.clock.advance(DAY / 2)
    store_site.store.fails = {"swap session"}
    assert (await store_site.load()).session == session
    assert "could not be written" in caplog.text


# --- what is asked of the store ---


@pytest.mark.parametrize(
    ("local", "changes", "asked"),
    [
        (True, {}, ["get session"]),
        (False, {}, []),
        (False, {"strict_logout": True}, ["get session"]),
        (False, {"backchannel_logout": True}, ["get session"]),
    ],
)
async def test_a_fresh_cookie_session_asks_the_store_for_the_end_mark_only_where_that_is_cheap(local, changes, asked):
    site = Site(sessions="cookie", local=local, **changes)
    await site.begin()
    await site.load()
    assert site.steps == asked


async def test_a_store_that_says_nothing_of_itself_is_not_local(cookie_site):
    del cookie_site.store.local
    await cookie_site.begin()
    await cookie_site.load()
    assert cookie_site.steps == []


async def test_a_store_session_asks_once(store_site):
    await store_site.begin()
    await store_site.load()
    assert store_site.steps == ["get session"]


def test_the_settings_choose_the_kind():
    assert isinstance(Site(sessions="cookie").process().sessions, CookieSessions)
    assert isinstance(Site(sessions="store").process().sessions, StoreSessions)
    assert LuminConfig.sessions == "cookie"


async def test_each_trouble_is_told_though_another_was_just_told(cookie_site, caplog):
    sessions = cookie_site.process().sessions
    sessions.warn("ends_unknown", StoreUnavailable("x"))
    sessions.warn("use_not_written", StoreUnavailable("y"))
    sessions.warn("ends_unknown", StoreUnavailable("z"))
    said = [record.getMessage() for record in caplog.records]
    assert [(each.partition(":")[0], each[-9:]) for each in said] == [
        ("ends_unknown", "error='x'"),
        ("use_not_written", "error='y'"),
    ]
