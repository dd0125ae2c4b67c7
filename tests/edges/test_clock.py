"""A clock that was hours ahead and is set right: whatever was noted meanwhile delays nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from lumin_middleware import AuthorizationServer
from lumin_middleware.protocol.breaker import FAILURES
from tests.edges import rig
from tests.edges.rig import Browser, Edge, Lumin, Site
from tests.site_rig import Clock

AHEAD = 7200
STEP, DAY = 600, 4 * 3600
"""Seconds between two looks, and how long it is looked: past the wrong time, and past the life of its tokens."""


@pytest.fixture(scope="module")
def lumin() -> Iterator[Lumin]:
    """One that gives no ID tokens, which are refused while the clock is wrong."""
    with rig.lumin(id_token=False) as running:
        yield running


@pytest.fixture(params=["cookie", "store"])
async def site(request: pytest.FixtureRequest, lumin: Lumin) -> AsyncIterator[Site]:
    """A site whose clock is another than the server's."""
    await lumin.site().aclose()
    server = AuthorizationServer.discover(lumin.emulator.base)
    made = Site(lumin.emulator, Clock(rig.START), sessions=request.param, server=server)
    yield made
    await made.aclose()


async def all_is_well(site: Site, lumin: Lumin, *browsers: Browser) -> None:
    """The API takes what it gets, for as long as anything of the wrong time could last."""
    for _ in range(DAY // STEP):
        assert [(await each.fetch("GET", "/api")).status for each in browsers] == [200] * len(browsers)
        for clock in (site.clock, lumin.clock):
            clock.advance(STEP)
    assert site.reuse_events() == 0


async def test_a_session_that_was_renewed_meanwhile(site: Site, lumin: Lumin, edge: Edge) -> None:
    browser = site.browser(edge)
    await browser.sign_in()
    site.clock.advance(AHEAD)
    assert (await browser.navigate("/")).status == 200
    assert site.refreshes() == 1
    site.clock.advance(-AHEAD)
    await all_is_well(site, lumin, browser)


async def test_a_session_that_began_meanwhile(site: Site, lumin: Lumin, edge: Edge) -> None:
    browser = site.browser(edge)
    site.clock.advance(AHEAD)
    await browser.sign_in()
    site.clock.advance(-AHEAD)
    await all_is_well(site, lumin, browser)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/oauth2/token"])
async def test_a_server_that_was_in_trouble_meanwhile(site: Site, lumin: Lumin, edge: Edge, path: str) -> None:
    people = [site.browser(edge) for _ in range(FAILURES + 1)]
    if path == "/oauth2/token":
        for each in people:
            await each.sign_in()
    site.clock.advance(AHEAD)
    site.emulator.faults.add(path, status=500, times=None)
    for each in people[:-1]:
        assert (await each.navigate("/")).status == 503
    site.emulator.faults.clear()
    site.clock.advance(-AHEAD)
    if path != "/oauth2/token":
        for each in people:
            assert (await each.sign_in()).status == 303
    await all_is_well(site, lumin, *people)
