"""N tabs of one browser before Hydra, which lets one authorization request of a browser through at a time.

Every tab ends at the page that it wanted, and none on a page about a failure.
"""

from __future__ import annotations

import os

import pytest

from tests.site_rig import ORIGIN
from tests.tabs import Tally, assert_arrived, pages

from .site import HydraSite
from .tabs import Browser, Tab, before_hydra

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("TABS_ROUNDS", "1"))
COUNTS = (2, 6, 12, 20)
EACH_ONCE = pytest.mark.parametrize(("edge", "sessions"), [("asgi", "cookie"), ("wsgi", "store")])
"""Both edges and both kinds of sessions, where what differs between them is no matter of time."""


async def assert_signed_in(browser: Browser, tabs: list[Tab], site: HydraSite) -> None:
    """Every tab is at its page, and the token that the application gets lives."""
    assert_arrived(tabs)
    answer = await browser.get(f"{ORIGIN}/token")
    assert answer.status_code == 200
    assert site.hydra.is_alive(answer.text)


@pytest.mark.parametrize("count", COUNTS)
async def test_tabs_that_are_restored_at_once(new_site, count, figures):
    """Hydra remembers the sign-in, so that every tab goes all the way by itself."""
    tally = Tally()
    site = new_site()
    async with before_hydra(site) as browser:
        first = browser.tab("/first")
        await first.go()
        await first.sign_in()
        assert first.has_arrived
        for round_ in range(ROUNDS):
            browser.forget_the_site()
            site.clock.offset += 90
            tabs = await browser.tabs(pages(count, round_))
            await assert_signed_in(browser, tabs, site)
            tally.add(tabs)
    figures.append(f"{count} tabs at once, {site.edge}, {site.config.sessions}, {ROUNDS} rounds: {tally}")


@EACH_ONCE
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("order", ["oldest first", "newest first"])
async def test_tabs_that_a_person_goes_through_one_after_another(new_site, count, order, figures):
    """Nobody is remembered: each tab shows Hydra's sign-in, and the person begins with one of them."""
    tally = Tally()
    site = new_site()
    for round_ in range(ROUNDS):
        async with before_hydra(site) as browser:
            tabs = [browser.tab(page) for page in pages(count, round_)]
            for tab in tabs:
                await tab.go()
            site.clock.offset += 30
            for tab in tabs if order == "oldest first" else tabs[::-1]:
                await tab.sign_in()
            await assert_signed_in(browser, tabs, site)
            tally.add(tabs)
        site.clock.offset += 90
    figures.append(
        f"{count} tabs one after another, {order}, {site.edge}, {site.config.sessions}, {ROUNDS} rounds: {tally}"
    )


@EACH_ONCE
@pytest.mark.parametrize("count", COUNTS)
async def test_tabs_that_are_opened_at_once_and_then_gone_through(new_site, count, figures):
    tally = Tally()
    site = new_site()
    for round_ in range(ROUNDS):
        async with before_hydra(site) as browser:
            tabs = await browser.tabs(pages(count, round_))
            site.clock.offset += 30
            for tab in tabs:
                await tab.sign_in()
            await assert_signed_in(browser, tabs, site)
            tally.add(tabs)
        site.clock.offset += 90
    figures.append(
        f"{count} tabs at once, then one by one, {site.edge}, {site.config.sessions}, {ROUNDS} rounds: {tally}"
    )
