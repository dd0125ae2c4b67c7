"""What becomes of people: at expiry, after a new key, with many tabs, with a large token, in a script."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import httpx2

from tests.tabs import Browser, Tab

from .peers import Peer
from .sites import Site
from .visitor import fetch, sign_in

AT_ONCE = 50
TABS = 12
PAGE = "/page"
TRIES = 3


@dataclass(frozen=True)
class Expiry:
    """So many requests at once after an access token has expired: `refreshes` that were asked for and `refused`.

    `is_alive` says whether the newest cookies renew once more afterwards; None where nothing renews at all.
    `statuses` are the answers to the requests.
    """

    refreshes: int
    refused: int
    is_alive: bool | None
    statuses: dict[str, int]


async def expiry(sites: Mapping[str, Site], wait: float) -> dict[str, dict[str, Any]]:
    """The storm at each site, one after the other. `wait` is in seconds, until tokens have expired."""
    browsers = {name: await signed_in(site) for name, site in sites.items()}
    await asyncio.sleep(wait)
    storms = {name: await _storm(site, browsers[name]) for name, site in sites.items() if browsers[name]}
    await asyncio.sleep(wait)
    found = {}
    for name, (refreshes, refused, statuses) in storms.items():
        again, refused_again, _ = await _storm(sites[name], browsers[name], 1)
        is_alive = bool(again and not refused_again) if refreshes else None
        found[name] = asdict(Expiry(refreshes, refused, is_alive, statuses))
    return found


async def signed_in(site: Site) -> Browser | None:
    """The browser of somebody who is, with some patience: peers have limits of time that a busy machine exceeds."""
    for _ in range(TRIES):
        if await sign_in(browser := site.browser(), PAGE):
            return browser
    return None


async def _storm(site: Site, browser: Browser | None, count: int = AT_ONCE) -> tuple[int, int, dict[str, int]]:
    assert browser is not None
    assert isinstance(site.peer, Peer)
    before = site.refreshes()
    urls = [site.hosts[number % len(site.hosts)] + site.peer.asks for number in range(count)]
    answers = await asyncio.gather(*(fetch(browser, url) for url in urls))
    asked, refused = (now - then for now, then in zip(site.refreshes(), before, strict=True))
    return asked, refused, dict(Counter(_status(answer) for answer in answers))


def _status(answer: httpx2.Response | None) -> str:
    return str(answer.status_code) if answer is not None else "hung up"


async def tabs(site: Site) -> int:
    """Of `TABS` that are opened at once by somebody whom nobody knows, how many show their page after the sign-ins."""
    browser = site.browser()
    opened = [browser.tab(f"{PAGE}?tab={number}") for number in range(TABS)]
    await asyncio.gather(*(_tried(tab.go()) for tab in opened))
    for tab in opened:
        await _tried(_through(tab))
    return sum(tab.answer is not None and tab.has_arrived for tab in opened)


async def _through(tab: Tab) -> None:
    if tab.answer is not None:
        await tab.sign_in()


async def _tried(step: Any) -> None:
    """A tab that goes round in circles, or is hung up upon, has not arrived; that is all."""
    with suppress(AssertionError, httpx2.HTTPError):
        await step


async def new_key(sites: Mapping[str, Site]) -> dict[str, bool]:
    """Whether somebody gets in who signs in right after the provider began to sign with another key."""
    for site in sites.values():
        await signed_in(site)  # so that each knows the keys
    next(iter(sites.values())).provider.new_key()
    return {name: await signed_in(site) is not None for name, site in sites.items()}


async def large(site: Site) -> bool:
    """Whether somebody gets in whose access token is large."""
    return await sign_in(site.browser(), PAGE)


async def script(site: Site) -> str:
    """The status that a script of a page gets whose person is not signed in."""
    return _status(await fetch(site.browser(), site.hosts[0] + PAGE))
