"""Sessions that were there before a setting changed: whoever ends a person's sessions finds them, at both edges."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from lumin_middleware import Grants
from lumin_middleware.stores import MemoryStore
from tests.edges import rig

HOUR, DAY, WEEK = 3600, 86_400, 604_800

SHORT = {"absolute_timeout": HOUR / 2, "idle_timeout": HOUR / 2}
LONG = {"absolute_timeout": WEEK, "idle_timeout": DAY}


@pytest.fixture(scope="module")
def lumin() -> Iterator[rig.Lumin]:
    with rig.lumin() as running:
        yield running


@pytest.fixture(params=rig.EDGES)
def edge(request: pytest.FixtureRequest) -> rig.Edge:
    found: rig.Edge = request.param
    return found


@pytest.fixture(params=["cookie", "store"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Deployed:
    """A site before and after its settings changed. Both are there, as while they are deployed."""

    def __init__(self, lumin: rig.Lumin, edge: rig.Edge, before: dict[str, Any], after: dict[str, Any]) -> None:
        common = {"secret_key": secrets.token_bytes(32), "store": MemoryStore(clock=lumin.clock)}
        self.clock = lumin.clock
        self.before, self.after = (lumin.site(**common, **settings) for settings in (before, after))
        self.browser = self.before.browser(edge)

    async def __aenter__(self) -> Deployed:
        await self.browser.sign_in()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.before.aclose()
        await self.after.aclose()

    async def visits(self, site: rig.Site, jar: dict[str, str] | None = None) -> str | None:
        """Whom the application sees there, with the browser's cookies or with a copy of them as they were."""
        browser = self.browser
        if jar is not None:
            browser = site.browser(self.browser.edge)
            browser.jar = dict(jar)
        browser.site = site
        return await browser.subject()

    async def ended_by(self, site: rig.Site, subject: str) -> int:
        """How many sessions whoever runs the site ends, with those settings."""

        def end() -> int:
            with Grants(site.config, clock=self.clock) as grants:
                assert len(grants.sessions(subject)) == 1
                return grants.end_sessions(subject)

        return await asyncio.to_thread(end)

    async def ended_by_server(self, site: rig.Site) -> int:
        """The status of a logout token for the last sign-in."""
        [*_, grant] = site.emulator.grants
        token = site.emulator.logout_token(site.config.client_id, grant.sid)
        body = urlencode({"logout_token": token}).encode()
        form = {"content-type": "application/x-www-form-urlencoded"}
        path = "/auth/backchannel-logout"
        return (await site.request(self.browser.edge, path, method="POST", headers=form, body=body)).status


# --- limits ---


@pytest.mark.parametrize("raised", [True, False], ids=["raised", "lowered"])
@pytest.mark.parametrize("by", ["before", "after"])
@pytest.mark.parametrize("way", ["button", "operator", "server"])
async def test_who_was_signed_out_stays_so_whatever_the_limit_was_and_is(lumin, edge, kind, raised, by, way):
    settings = (SHORT, LONG) if raised else (LONG, SHORT)
    before, after = ({**each, "sessions": kind, "backchannel_logout": True} for each in settings)
    async with Deployed(lumin, edge, before, after) as site:
        subject, copy = await site.visits(site.before), dict(site.browser.jar)
        assert subject
        site.clock.advance(HOUR / 6)
        site.browser.site = process = getattr(site, by)
        match way:
            case "button":
                assert (await site.browser.log_out()).status == 303
            case "operator":
                assert await site.ended_by(process, subject) == 1
            case "server":
                assert await site.ended_by_server(process) == 200
        for _ in range(8):
            assert [await site.visits(each, copy) for each in (site.before, site.after)] == [None, None]
            site.clock.advance(HOUR / 8)


async def test_who_signed_in_under_a_lower_limit_is_signed_in_no_longer_than_listed(lumin, edge, kind):
    """The list was written for as long as the setting said then, and the session was measured by that of now."""
    hours = {"absolute_timeout": 2 * HOUR, "idle_timeout": 2 * HOUR}
    settings = ({**each, "sessions": kind, "backchannel_logout": True} for each in (hours, LONG))
    async with Deployed(lumin, edge, *settings) as site:
        subject = await site.visits(site.before)
        for minutes in (110, 9):
            site.clock.advance(minutes * 60)
            assert await site.visits(site.after) == subject
        site.clock.advance(60)
        assert await site.visits(site.after) is None
        with Grants(site.after.config, clock=site.clock) as grants:
            assert await asyncio.to_thread(grants.sessions, subject) == []


# --- lists ---


@pytest.mark.parametrize("told_by", ["operator", "server"])
async def test_who_was_signed_in_before_there_were_lists_is_listed_with_the_next_renewal(lumin, edge, told_by):
    before, after = ({"id_token": "required", "backchannel_logout": is_on} for is_on in (False, True))
    async with Deployed(lumin, edge, before, after) as site:
        subject = await site.visits(site.before)
        assert subject
        site.clock.advance(HOUR)
        assert await site.visits(site.after) == subject
        copy = dict(site.browser.jar)
        if told_by == "operator":
            assert await site.ended_by(site.after, subject) == 1
        else:
            assert await site.ended_by_server(site.after) == 200
        assert await site.visits(site.after, copy) is None
