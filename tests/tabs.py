"""A browser with many tabs, in process: one cookie jar before a site and its authorization server.

A tab goes where it is sent, waits where a page asks it to, and stops where a person is asked.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin

import httpx2

from tests.emulator.person import Form
from tests.site_rig import NAVIGATION, ORIGIN, Site

COUNTS = (2, 6, 12, 20)
"""How many tabs there are."""

ROUNDS = int(os.environ.get("TABS_ROUNDS", "2"))

MOMENT = 0.1
"""Real seconds that a second of waiting takes here."""

WAY = 0.004
"""Real seconds that a request is on its way, at most: others overtake it."""

HOPS_LIMIT = 200
"""Answers after which a tab is going round in circles."""


class Browser(httpx2.AsyncClient):
    """One cookie jar, and everything that answers on the other side: the site, and the pages of `lumin`.

    `lumin` are the origins of the authorization server, the first of which has its authorization endpoint.
    """

    origin = ORIGIN
    """Where the site is."""

    def __init__(self, transports: dict[str, httpx2.AsyncBaseTransport], lumin: tuple[str, ...], **more: Any) -> None:
        self.lumin = lumin
        super().__init__(mounts=transports, headers=NAVIGATION, **more)

    def tab(self, path: str) -> Tab:
        return Tab(self, path)

    async def tabs(self, paths: list[str]) -> list[Tab]:
        """Tabs that are opened at one instant."""
        tabs = [self.tab(path) for path in paths]
        await asyncio.gather(*(tab.go() for tab in tabs))
        return tabs

    def forget_the_site(self) -> None:
        """Its cookies are gone; those of Lumin are not."""
        for cookie in list(self.cookies.jar):
            if cookie.domain.startswith("app.example.com"):
                self.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)


def before_the_emulator(site: Site) -> Browser:
    """A browser whose requests reach a site and its emulator in process."""
    lumin = site.emulator.base
    return Browser(
        {ORIGIN: httpx2.ASGITransport(site.middleware), lumin: httpx2.ASGITransport(site.emulator.app)}, (lumin,)
    )


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
        return self.url == urljoin(self.browser.origin, self.wanted) and self.shown.status_code == 200

    async def go(self, url: str = "") -> None:
        """Goes to an address, or to the page that it wants, and as far as it is sent from there."""
        self.url = urljoin(self.browser.origin, url or self.wanted)
        await asyncio.sleep(random.random() * WAY)
        await self._follow(await self.browser.get(self.url))

    async def press(self, name: str, value: str | None = None) -> None:
        """Presses a button of the emulator's page; consent is to be remembered."""
        form = Form(self.shown)
        pressed = next(button for button in form.buttons if button[0] == name and value in (None, button[1]))
        await self.submit(form.action, [*form.fields, pressed, ("remember", "yes")])

    async def submit(self, action: str, fields: list[tuple[str, str]]) -> None:
        """Sends a form off, and goes as far as it is sent from there."""
        self.url = urljoin(self.url, action)
        kind = {"content-type": "application/x-www-form-urlencoded"}
        await self._follow(await self.browser.post(self.url, content=urlencode(fields), headers=kind))

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
                self.begun += (
                    self.url.startswith(f"{self.browser.lumin[0]}/oauth2/auth?") and "_verifier=" not in self.url
                )
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


def pages(count: int, round_: int) -> list[str]:
    """So many pages of the site, all different."""
    return [f"/round/{round_}/tab/{number}?x=%26" for number in range(count)]


def assert_arrived(tabs: list[Tab]) -> None:
    lost = [(tab.wanted, tab.url, tab.shown.status_code, tab.log[-12:]) for tab in tabs if not tab.has_arrived]
    assert lost == []
    assert max(tab.longest for tab in tabs) < 20, "browsers give up"


class Tally:
    """What it took."""

    def __init__(self) -> None:
        self._most: Counter[str] = Counter()
        self._all: Counter[str] = Counter()

    def add(self, tabs: list[Tab]) -> None:
        self._all["tabs"] += len(tabs)
        for tab in tabs:
            for what in ("redirects", "longest", "begun", "waits"):
                self._most[what] = max(self._most[what], getattr(tab, what))
                self._all[what] += getattr(tab, what)

    def __str__(self) -> str:
        return f"a tab at most {dict(self._most)}, in all {dict(self._all)}"
