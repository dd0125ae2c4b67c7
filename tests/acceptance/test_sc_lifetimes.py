"""SC: how long a session is good."""

from __future__ import annotations

import re

from tests.acceptance.harness import (
    SESSION,
    call,
    cookies,
    put_cookie,
    subject,
    with_cookies,
)
from tests.site_rig import FETCH, set_cookies

# --- SC-08 ----------------------------------------------------------------------------------------------


async def test_sc_08_a_session_that_was_not_used_is_over_whatever_the_browser_believes(new_each_site):
    site = new_each_site(idle_timeout=3600, absolute_timeout=36_000)
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(3599)
    witness_cookies = cookies(browser)
    other = site.browser()
    for name, value in witness_cookies.items():
        put_cookie(other, name, value)
    assert await subject(other)
    site.clock.advance(3601)
    assert await subject(browser) is None


async def test_sc_08_a_replayed_cookie_is_over_after_the_absolute_limit(new_each_site):
    site = new_each_site(idle_timeout=3600, absolute_timeout=7200)
    browser = site.browser()
    await browser.sign_in()
    kept = [with_cookies(browser, FETCH)]
    for _ in range(8):
        site.clock.advance(850)
        assert await subject(browser)
        kept.append(with_cookies(browser, FETCH))
    site.clock.advance(850)
    for headers in kept:
        assert (await call(site.middleware, "/who", headers=headers)).status == 401
    assert await subject(browser) is None
    site.clock.advance(100_000)
    assert await subject(browser) is None


async def test_sc_08_rolling_and_renewing_never_extend_past_the_absolute_limit(new_each_site):
    site = new_each_site(idle_timeout=7200, absolute_timeout=20_000)
    browser = site.browser()
    answer = await browser.sign_in()
    began = site.clock.now
    lines = [set_cookies(answer)[SESSION]]
    for _ in range(9):
        site.clock.advance(2000)
        answer = await browser.fetch("GET", "/who")
        assert answer.status_code == 200
        lines += [line for name, line in set_cookies(answer).items() if name == SESSION]
        left = began + 20_000 - site.clock.now
        for line in lines[1:]:
            [max_age] = re.findall(r"Max-Age=(\d+)", line)
            assert int(max_age) <= min(7200, left)
        lines[1:] = []
        for key, (_value, expires_at) in site.store._entries.items():
            of_the_site = key.startswith("keys@")  # not of a person: which keys it had
            assert of_the_site or expires_at <= began + 20_000 + 660, "no record outlives its session"
    site.clock.advance(2000)
    assert await subject(browser) is None


async def test_sc_08_the_stores_lifetime_is_the_smaller_of_both(new_site):
    site = new_site(sessions="store", idle_timeout=3600, absolute_timeout=5000)
    browser = site.browser()
    await browser.sign_in()
    [expires_at] = [at for key, (_, at) in site.store._entries.items() if key.startswith("session:")]
    assert expires_at == site.clock.now + 3600
    site.clock.advance(3000)
    assert await subject(browser)
    [expires_at] = [at for key, (_, at) in site.store._entries.items() if key.startswith("session:")]
    assert expires_at == site.clock.now + 2000


async def test_sc_08_a_clock_that_went_back_signs_nobody_out(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(-50)
    assert await subject(browser)
