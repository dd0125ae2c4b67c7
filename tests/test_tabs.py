"""N tabs of one browser, one sign-in: every tab ends at the page that it wanted, and none on a page about a failure.

The emulator does as Hydra does: of two authorization requests of one browser the older comes back as
`request_forbidden`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.site_rig import SESSION, Site, set_cookies
from tests.tabs import COUNTS, ROUNDS, Browser, Tally, assert_arrived, before_the_emulator, pages


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """What it took, for whoever wants to know (`pytest -s`)."""
    tally = Tally()
    yield tally
    print(f"\n{request.node.name}: {tally}")


async def remembered(site: Site) -> Browser:
    """A browser whose person Lumin remembers, and who is not signed in at the site."""
    browser = before_the_emulator(site)
    tab = browser.tab("/first")
    await tab.go()
    await tab.sign_in()
    assert tab.has_arrived
    browser.forget_the_site()
    return browser


@pytest.mark.parametrize("count", COUNTS)
async def test_tabs_that_are_restored_at_once(each_site, count, tally):
    """Lumin remembers the sign-in, so that every tab goes all the way by itself."""
    browser = await remembered(each_site)
    for round_ in range(ROUNDS):
        tabs = await browser.tabs(pages(count, round_))
        assert_arrived(tabs)
        tally.add(tabs)
        browser.forget_the_site()
        each_site.clock.advance(90)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("order", ["oldest first", "newest first"])
async def test_tabs_that_a_person_goes_through_one_after_another(each_site, count, order, tally):
    """Nobody is remembered: each tab shows Lumin's sign-in, and the person begins with one of them."""
    for round_ in range(ROUNDS):
        browser = before_the_emulator(each_site)
        tabs = []
        for page in pages(count, round_):
            tabs.append(browser.tab(page))
            await tabs[-1].go()
            each_site.clock.advance(1)
        for tab in tabs if order == "oldest first" else tabs[::-1]:
            await tab.sign_in()
        assert_arrived(tabs)
        tally.add(tabs)
        await browser.aclose()
        each_site.clock.advance(90)


@pytest.mark.parametrize("count", COUNTS)
async def test_tabs_that_are_opened_at_once_and_then_gone_through(each_site, count, tally):
    for round_ in range(ROUNDS):
        browser = before_the_emulator(each_site)
        tabs = await browser.tabs(pages(count, round_))
        each_site.clock.advance(120)
        for tab in tabs:
            await tab.sign_in()
        assert_arrived(tabs)
        tally.add(tabs)
        await browser.aclose()
        each_site.clock.advance(90)


class Together:
    """A hook for the emulator's faults: requests wait until so many are there."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all_there = asyncio.Event()

    async def __call__(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._all_there.set()
        await self._all_there.wait()


@pytest.mark.parametrize("count", [2, 3])
async def test_of_sign_ins_that_are_completed_at_once_one_session_lives(each_site, count):
    """A browser keeps one cookie. The other sessions end, and their tokens, and every tab is at its page."""
    browser = each_site.browser()
    callbacks = [each_site.emulator.sign_in(await browser.begin(f"/tab/{number}")) for number in range(count)]
    each_site.emulator.faults.add("/oauth2/token", before=Together(count), act=True, times=count)
    answers = await asyncio.gather(*(browser.navigate(callback) for callback in callbacks))
    assert [(each.status_code, each.headers["location"]) for each in answers] == [
        (303, f"/tab/{number}") for number in range(count)
    ]
    given = [each for each in answers if SESSION in set_cookies(each)]
    assert len(given) == 1
    assert (await browser.fetch("GET", "/who")).json()["subject"]
    assert len(each_site.emulator.calls_to("/oauth2/revoke")) == count - 1
    for callback in callbacks:  # once more, by Back
        assert (await browser.navigate(callback)).status_code == 303
    assert (await browser.fetch("GET", "/who")).json()["subject"]


async def test_a_tab_does_not_wait_for_ever_for_one_that_was_closed(each_site):
    browser = await remembered(each_site)
    first = browser.tab("/first")
    await browser.get("https://app.example.com/closed")
    abandoned = await browser.get((await browser.get("https://app.example.com/closed")).headers["location"])
    assert abandoned.status_code == 302
    await first.go()
    assert first.has_arrived


async def test_a_browser_that_refuses_lumin_s_cookies_gets_a_page_that_says_so(each_site):
    browser = before_the_emulator(each_site)
    tab = browser.tab("/page")
    await tab.go()
    for _ in range(10):
        if not tab.asks:
            break
        for cookie in list(browser.cookies.jar):
            if "127.0.0.1" in cookie.domain:
                browser.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)
        await tab.press("sub")
    assert tab.shown.status_code == 400
    assert "refuses the cookies of 127.0.0.1" in tab.shown.text
    assert tab.begun == 2, "begun again once"
    assert 'href="/auth/login' in tab.shown.text


@pytest.mark.parametrize("round_", range(4))
async def test_a_sign_in_that_another_one_overtook_leads_to_its_page_by_back_as_well(each_site, round_):
    """Whichever of the two names comes first, by which the marks are gone through."""
    browser = each_site.browser()
    first, second = [each_site.emulator.sign_in(await browser.begin(f"/tab/{number}")) for number in range(2)]
    under_way = []
    for callback in (first, second):
        arrived, held = threading.Event(), threading.Event()

        async def hold(arrived: threading.Event = arrived, held: threading.Event = held) -> None:
            arrived.set()
            await asyncio.to_thread(held.wait)

        each_site.emulator.faults.add("/oauth2/token", before=hold)
        under_way.append((asyncio.create_task(browser.navigate(callback)), held))
        await asyncio.to_thread(arrived.wait)
    answers = []
    for task, held in under_way:
        held.set()
        answers.append(await task)
    assert [answer.headers["location"] for answer in answers] == ["/tab/0", "/tab/1"]
    assert [SESSION in set_cookies(answer) for answer in answers] == [True, False]
    for number, callback in enumerate((first, second)):
        again = await browser.navigate(callback)
        assert (again.status_code, again.headers.get("location")) == (303, f"/tab/{number}")
