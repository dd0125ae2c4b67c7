"""SC: a sign-in makes a new session, whatever was there before."""

from __future__ import annotations

import pytest

from tests.acceptance.harness import (
    SESSION,
    call,
    put_cookie,
    session_cookies,
    session_records,
    subject,
    with_cookies,
)
from tests.site_rig import FETCH

# --- SC-16 ----------------------------------------------------------------------------------------------


async def test_sc_16_a_sign_in_makes_a_new_session_and_the_old_one_is_dead_in_the_store(new_site):
    site = new_site(sessions="store")
    browser = site.browser()
    await browser.sign_in()
    old = with_cookies(browser, FETCH)
    [old_record] = session_records(site)
    begun = await browser.navigate("/auth/login")
    await browser.navigate(site.emulator.sign_in(begun.headers["location"]))
    [new_record] = session_records(site)
    assert new_record != old_record
    assert (await call(site.middleware, "/who", headers=old)).status == 401
    assert await subject(browser)


async def test_sc_16_a_planted_cookie_is_not_adopted(each_site):
    """Fixation: the attacker's own session, or any value, is in the jar before the victim signs in."""
    people = list(each_site.emulator.users)
    attacker, victim = each_site.browser(), each_site.browser()
    await attacker.sign_in(sub=people[1])
    planted = session_cookies(attacker)[SESSION]
    put_cookie(victim, SESSION, planted)
    begun = await victim.navigate("/auth/login")
    await victim.navigate(each_site.emulator.sign_in(begun.headers["location"], sub=people[0]))
    assert session_cookies(victim)[SESSION] != planted
    assert await subject(victim) == people[0]
    assert await subject(attacker) in (None, people[1]), "the attacker's cookie never becomes the victim's session"


@pytest.mark.parametrize("planted", ["x", "A" * 300, "..", ""])
async def test_sc_16_a_planted_value_that_is_no_session_is_replaced(each_site, planted):
    browser = each_site.browser()
    put_cookie(browser, SESSION, planted)
    put_cookie(browser, f"{SESSION}-0", f"3{planted}")
    await browser.sign_in()
    assert planted not in session_cookies(browser).values() or planted == ""
    assert list(session_cookies(browser)) == [SESSION]
    assert await subject(browser)


async def test_sc_16_another_person_finds_nothing_of_the_one_before(each_site):
    people = list(each_site.emulator.users)
    browser = each_site.browser()
    await browser.sign_in(sub=people[0])
    begun = await browser.navigate("/auth/login")
    await browser.navigate(each_site.emulator.sign_in(begun.headers["location"], sub=people[1], scope="openid"))
    session = (await browser.fetch("GET", "/auth/session")).json()
    assert session["subject"] == people[1]
    assert session["claims"]["email"] == each_site.emulator.users[people[1]].email
    assert session["scope"] == ["openid"]


async def test_sc_16_a_session_id_is_never_the_same_twice(each_site):
    seen = set()
    for _ in range(50):
        browser = each_site.browser()
        await browser.sign_in()
        seen.add(session_cookies(browser)[SESSION])
    assert len(seen) == 50
    if each_site.config.sessions == "store":
        assert len(session_records(each_site)) == 50
