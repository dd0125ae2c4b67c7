"""A browser with many tabs, in process: one cookie jar before a site and its emulator, which share it as Hydra does.

A tab goes where it is sent, waits where a page asks it to, and stops where a person is asked.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin

import httpx2

from tests.emulator.person import Form
from tests.site_rig import NAVIGATION, ORIGIN, Site

MOMENT = 0.1
"""Real seconds that a second of waiting takes here."""

WAY = 0.004
"""Real seconds that a request is on its way, at most: others overtake it."""

HOPS_LIMIT = 200
"""Answers after which a tab is going round in circles."""


class Browser(httpx2.AsyncClient):
    """One cookie jar, and everything that answers on the other side."""

    def __init__(self, site: Site) -> None:
        self.lumin = site.emulator.base
        transports = {
            ORIGIN: httpx2.ASGITransport(site.middleware),
            self.lumin: httpx2.ASGITransport(site.emulator.app),
        }
        super().__init__(mounts=transports, headers=NAVIGATION)

    async def tabs(self, paths: list[str]) -> list[Tab]:
        """Tabs that are opened at one instant."""
        tabs = [Tab(self, path) for path in paths]
        await asyncio.gather(*(tab.go() for tab in tabs))
        return tabs


@dataclass
class Tab:
    """One tab: where it is, what it shows, and how it came there."""

    browser: Browser
    wanted: str
    url: str = ""
    answer: httpx2.Response | None = None
    redirects: int = 0
    longest: int = 0
    """The most redirects in a row: browsers give up after twenty."""
    begun: int = 0
    waits: int = 0
    log: list[str] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        """Whether a page of Lumin waits for a person."""
        return self.url.startswith(self.browser.lumin) and self.shown.status_code == 200

    @property
    def shown(self) -> httpx2.Response:
        assert self.answer is not None
        return self.answer

    @property
    def has_arrived(self) -> bool:
        """Whether it shows the page that it wanted."""
        return self.url == urljoin(ORIGIN, self.wanted) and self.shown.status_code == 200

    async def go(self, url: str = "") -> None:
        """Goes to an address, or to the page that it wants, and as far as it is sent from there."""
        self.url = urljoin(ORIGIN, url or self.wanted)
        await asyncio.sleep(random.random() * WAY)
        await self._follow(await self.browser.get(self.url))

    async def press(self, name: str, value: str | None = None) -> None:
        """Presses a button of Lumin's page; consent is to be remembered."""
        form = Form(self.shown)
        pressed = next(button for button in form.buttons if button[0] == name and value in (None, button[1]))
        self.url = urljoin(self.url, form.action)
        content = urlencode([*form.fields, pressed, ("remember", "yes")])
        kind = {"content-type": "application/x-www-form-urlencoded"}
        await self._follow(await self.browser.post(self.url, content=content, headers=kind))

    async def sign_in(self, person: str | None = None) -> None:
        """A person at this tab does what it asks, until it asks no more."""
        while self.asks:
            buttons = [name for name, _ in Form(self.shown).buttons]
            await (self.press("sub", person) if "sub" in buttons else self.press("allow"))

    async def _follow(self, answer: httpx2.Response) -> None:
        in_a_row = 0
        for _ in range(HOPS_LIMIT):
            self.log.append(f"{answer.status_code} {self.url[:120]}")
            if location := answer.headers.get("location"):
                self.redirects += 1
                in_a_row += 1
                self.longest = max(self.longest, in_a_row)
                self.url = urljoin(self.url, location)
                self.begun += self.url.startswith(f"{self.browser.lumin}/oauth2/auth?") and "_verifier=" not in self.url
            elif seconds := answer.headers.get("refresh"):
                in_a_row = 0
                self.waits += 1
                await asyncio.sleep(int(seconds) * MOMENT)
            else:
                self.answer = answer
                return
            await asyncio.sleep(random.random() * WAY)
            answer = await self.browser.get(self.url)
        raise AssertionError("\n".join(["it goes round in circles:", *self.log[-30:]]))
