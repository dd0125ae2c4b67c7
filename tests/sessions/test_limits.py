"""Settings that change while people are signed in: two processes of a site, each with limits of its own."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

import pytest

from lumin_middleware.errors import SessionEnded
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.limits import SLIDES, Limits
from lumin_middleware.site.people import People
from tests.fakes import KEY, OLD_KEY, CookieJar, Process, Workers

HALF_AN_HOUR, HOUR, DAY, WEEK = 1800, 3600, 86_400, 604_800

SHORT = {"absolute_timeout": HALF_AN_HOUR, "idle_timeout": HALF_AN_HOUR}
BRISK = {"absolute_timeout": WEEK, "idle_timeout": HALF_AN_HOUR}
LONG = {"absolute_timeout": WEEK, "idle_timeout": DAY}


class Browser(CookieJar):
    """One that forgets what is past its `Max-Age`."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.clock = site.clock
        self.until: dict[str, float] = {}

    def take(self, lines: Any) -> None:
        for line in lines:
            super().take([line])
            name, max_age = line.partition("=")[0], line.partition("Max-Age=")[2].partition(";")[0]
            self.until[name] = self.clock() + int(max_age)

    @property
    def header(self) -> bytes:
        self.cookies = {name: value for name, value in self.cookies.items() if self.clock() < self.until[name]}
        return super().header


class Site(Workers):
    """Two processes: in the one sessions begin, and the other has other settings."""

    def __init__(self, kind: str, settings: dict[str, Any], others: dict[str, Any]) -> None:
        super().__init__()
        kept = {"sessions": kind, "backchannel_logout": True}
        self.here, self.there = (self.process(**{**kept, **each}) for each in (settings, others))
        self.browser = Browser(self)

    async def begin(self, process: Process | None = None) -> Session:
        """A sign-in, after which the browser has the cookie."""
        process, now = process or self.here, self.clock()
        tokens = TokenSet("access-secret", now + HOUR, float(HOUR), ("openid",), "refresh-secret")
        session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, {"sub": "person-1"})
        self.browser.take(process.sessions.set_cookies(session, process.cookies.jar(b"")))
        await process._account.begin(session, None, issued_at=now, login_took=0)
        return session

    async def carries(self, process: Process, header: bytes) -> bool:
        """Whether somebody with these cookies is signed in there."""
        return await process.sessions.current(process.cookies.jar(header)) is not None

    async def is_alive(self, process: Process, session: Session) -> bool:
        """Whether it is one there, for whoever uses it all the time."""
        try:
            found = (await process.sessions.newest(session)).session
        except SessionEnded:
            return False
        return not await process.sessions.is_over(found)

    async def visit(self, process: Process) -> bool:
        """The same for the browser, whose cookie is written anew where that is due."""
        jar = process.cookies.jar(self.browser.header)
        try:
            carried = await process.sessions.load(jar, slide=True)
        except SessionEnded:
            return False
        if carried is not None and carried.stale:
            self.browser.take(await process.sessions.give_back(carried.session, jar))
        return carried is not None

    async def renew(self, process: Process) -> None:
        """A newer generation, whose cookie the browser gets."""
        jar = process.cookies.jar(self.browser.header)
        session = await process.sessions.current(jar)
        assert session is not None
        record = await process.sessions.newest(session)
        newer = dataclasses.replace(record.session, generation=record.session.generation + 1, seen=self.clock())
        assert await process.sessions.replace(record, newer)
        self.browser.take(await process.sessions.give_back(newer, jar))


@pytest.fixture(params=["cookie", "store"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


RAISED, LOWERED, IDLE_RAISED, IDLE_LOWERED = (SHORT, LONG), (LONG, SHORT), (BRISK, LONG), (LONG, BRISK)


@pytest.fixture(params=[RAISED, LOWERED], ids=["raised", "lowered"])
def site(request: pytest.FixtureRequest, kind: str) -> Site:
    return Site(kind, *request.param)


# --- how long one lasts ---


async def test_a_session_ends_when_it_was_told_to_whatever_the_setting_is_later(kind):
    site = Site(kind, *RAISED)
    await site.begin()
    for _ in range(5):
        site.clock.advance(300)
        assert await site.visit(site.there)
    await site.renew(site.there)
    copy = site.browser.header
    site.clock.advance(299)
    assert await site.carries(site.there, copy)
    site.clock.advance(1)
    assert [await site.carries(each, copy) for each in (site.here, site.there)] == [False, False]
    assert not await site.visit(site.there)


async def test_one_that_begins_after_the_setting_was_raised_lasts_longer(kind):
    site = Site(kind, *RAISED)
    await site.begin(site.there)
    site.clock.advance(HALF_AN_HOUR)
    assert await site.visit(site.there)


async def test_a_lower_setting_counts_at_once_and_where_it_is_set(kind):
    site = Site(kind, *LOWERED)
    await site.begin()
    copy = site.browser.header
    site.clock.advance(HALF_AN_HOUR)
    assert [await site.carries(each, copy) for each in (site.here, site.there)] == [True, False]


async def test_what_was_served_for_long_ends_when_it_was_told_to(kind):
    site = Site(kind, *RAISED)
    await site.begin()
    session = await site.there.sessions.current(site.there.cookies.jar(site.browser.header))
    assert session is not None
    site.clock.advance(HALF_AN_HOUR - 1)
    assert not await site.there.sessions.is_over(session)
    site.clock.advance(1)
    assert await site.there.sessions.is_over(session)


# --- what is remembered of one ---


@pytest.mark.parametrize("by", ["here", "there"])
@pytest.mark.parametrize("way", ["known", "listed", "refused"])
@pytest.mark.parametrize("renewed_by", [None, "here", "there"])
async def test_who_was_signed_out_stays_so_for_every_copy_in_every_process(site, by, way, renewed_by):
    await site.begin()
    copies = [site.browser.header]
    if renewed_by:
        site.clock.advance(60)
        await site.renew(getattr(site, renewed_by))
        copies.append(site.browser.header)
    site.clock.advance(600)
    process = getattr(site, by)
    session = await process.sessions.current(process.cookies.jar(copies[0]))
    match way:
        case "known":
            await process.ending.end(session.id, session.began, session)
        case "listed":
            assert await People(process.parts).end_sessions("person-1") == 1
        case "refused":
            await process.renewal._end(session, session.tokens)
    for _ in range(40):
        for each in (site.here, site.there):
            for copy in copies:
                assert not await site.carries(each, copy), f"{site.clock() - session.began} seconds after it began"
        site.clock.advance(HOUR)


async def test_an_older_copy_finds_what_was_renewed_as_long_as_it_is_taken_for_a_session(site):
    """Else a refresh token is sent that was spent."""
    session = await site.begin()
    copy = site.browser.header
    site.clock.advance(60)
    await site.renew(site.there)
    for _ in range(30):
        site.clock.advance(HOUR)
        for each in (site.here, site.there):
            found = await each.sessions.current(each.cookies.jar(copy))
            assert found is None or found.generation == 1, f"{site.clock() - session.began} seconds after it began"


async def test_whoever_is_signed_in_anywhere_is_listed_everywhere(site):
    await site.begin()
    session = await site.here.sessions.current(site.here.cookies.jar(site.browser.header))
    assert session is not None
    for hour in range(30):
        other = await site.begin(site.there if hour % 2 else site.here)  # each writes the list
        await site.there.index.remove(other)
        site.clock.advance(HOUR if hour else 60)
        alive = [each for each in (site.here, site.there) if await site.is_alive(each, session)]
        for each in (site.here, site.there) if alive else ():
            assert session.id in [entry.session_id for entry in await each.index.entries("sub person-1")]


@pytest.mark.parametrize("lowered", [True, False])
async def test_what_a_process_with_another_key_listed_is_carried_along_as_long_as_it_may_live(kind, lowered):
    settings, others = LOWERED if lowered else RAISED
    site = Site(kind, {**settings, "secret_key": [OLD_KEY]}, {**others, "secret_key": [KEY]})
    session = await site.begin()
    for _ in range(20):
        site.clock.advance(120 if not lowered else HOUR)
        at_an_end = site.clock() >= session.began + settings["absolute_timeout"]
        other = await site.begin(site.there)
        await site.there.index.remove(other)
        found = [entry.session_id for entry in await site.here.index.entries("sub person-1")]
        assert found == ([] if at_an_end else [session.id])


async def test_a_list_goes_with_the_last_that_it_names(site):
    await site.begin(site.here)
    await site.begin(site.there)
    [key] = [key for key in site.store.memory._entries if key.startswith("index:")]
    site.clock.advance(WEEK - 1)
    assert site.store.memory.get(key) is not None
    site.clock.advance(2)
    assert site.store.memory.get(key) is None


async def test_who_is_past_the_limit_of_now_is_not_said_to_be_signed_in_and_is_ended_all_the_same(kind):
    site = Site(kind, *LOWERED)
    session = await site.begin()
    copy = site.browser.header
    site.clock.advance(HALF_AN_HOUR)
    people = People(site.there.parts)
    assert (await people.sessions("person-1"), await people.end_sessions("person-1")) == ([], 0)
    assert not await site.carries(site.here, copy)
    assert session.id not in [entry.session_id for entry in await site.here.index.entries("sub person-1")]


# --- unused ---


@pytest.mark.parametrize("settings", [IDLE_RAISED, IDLE_LOWERED], ids=["raised", "lowered"])
async def test_who_uses_a_session_keeps_it_whichever_idle_time_a_process_has(kind, settings):
    """First at both by turns, as while they are deployed, and then at one of them alone."""
    for last in (0, 1):
        site = Site(kind, *settings)
        processes = (site.here, site.there)
        await site.begin()
        for turn in range(1, 48):
            site.clock.advance(HALF_AN_HOUR * 0.6)
            assert await site.visit(processes[turn % 2 if turn < 8 else last]), f"visit {turn}"


async def test_what_was_over_unused_stays_so(kind):
    site = Site(kind, *IDLE_RAISED)
    await site.begin()
    copy = site.browser.header
    site.clock.advance(HALF_AN_HOUR)
    assert not await site.carries(site.there, copy)


async def test_a_longer_idle_time_counts_from_the_next_writing_on(kind):
    site = Site(kind, *IDLE_RAISED)
    await site.begin()
    site.clock.advance(HALF_AN_HOUR / SLIDES)
    assert await site.visit(site.there)
    site.clock.advance(DAY - 1)
    assert await site.visit(site.there)


# --- what was sealed before any of this ---


def test_a_session_that_was_told_nothing_goes_by_the_settings(kind):
    site = Site(kind, *RAISED)
    now = site.clock()
    session = Session("id", 0, now, now, TokenSet("a", now, 1.0, ()), {})
    for process, longest, idle in ((site.here, HALF_AN_HOUR, HALF_AN_HOUR), (site.there, WEEK, DAY)):
        limits: Limits = process.sessions.limits
        assert limits.ends_at(session.began, session.lasts) == limits.is_gone_at(now, None) == now + longest
        assert limits.idle(session) == idle
        told = limits.told(session)
        assert (told.lasts, told.idle) == (longest, idle)
        assert limits.told(told) == told
