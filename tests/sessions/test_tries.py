"""Sign-ins that lead to no session are a loop; those that led to one count for nothing."""

from __future__ import annotations

import pytest

from lumin_middleware.sessions.tries import TRIES_LIMIT, TRIES_WINDOW
from tests.fakes import CookieJar, Workers


class Site(Workers):
    """Workers, and one browser that signs in."""

    def __init__(self) -> None:
        super().__init__()
        self.browser = CookieJar()
        self.party = self.process()
        self.tries = self.party.parts.logins.tries

    @property
    def jar(self):
        return self.party.parts.cookies.jar(self.browser.header)

    async def count(self, seconds: float = 1):
        session = await self.sign_in()
        self.browser.take([self.tries.count(session, self.jar)])
        self.clock.advance(seconds)
        return session


@pytest.fixture
def site() -> Site:
    return Site()


async def test_the_fourth_sign_in_in_a_minute_is_a_loop(site):
    for number in range(TRIES_LIMIT):
        assert not site.tries.is_looping(site.jar), number
        await site.count()
    assert site.tries.is_looping(site.jar)
    await site.count()
    assert site.tries.is_looping(site.jar)


async def test_sign_ins_that_led_to_a_session_that_was_seen_are_no_loop(site):
    for _ in range(20):
        session = await site.count()
        site.tries.saw(session)
        assert not site.tries.is_looping(site.jar)


async def test_one_session_that_was_seen_excuses_no_other(site):
    for _ in range(TRIES_LIMIT):
        session = await site.count()
    site.tries.saw(session)
    await site.count()
    assert site.tries.is_looping(site.jar)


async def test_sign_ins_that_lie_apart_are_no_loop(site):
    for _ in range(20):
        await site.count(TRIES_WINDOW / TRIES_LIMIT)
        assert not site.tries.is_looping(site.jar)


@pytest.mark.parametrize("seconds", [TRIES_WINDOW, -3600])
async def test_a_loop_is_forgotten_after_a_minute_and_by_a_clock_that_went_back(site, seconds):
    for _ in range(TRIES_LIMIT):
        await site.count(0)
    site.clock.advance(seconds)
    assert not site.tries.is_looping(site.jar)


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "[1,2,3]"])
async def test_a_count_that_is_not_ours_counts_nothing(site, value):
    site.browser.cookies[site.party.parts.cookies.tries] = value
    assert not site.tries.is_looping(site.jar)
    await site.count()
    assert not site.tries.is_looping(site.jar)


async def test_the_count_is_small_however_often_it_grows(site):
    for _ in range(20):
        await site.count(0.1)
    assert len(site.browser.cookies[site.party.parts.cookies.tries]) < 300
