"""A person with a browser, as far as the emulator's pages need one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import httpx2

from tests.emulator.party import BASE, Party


class Form(HTMLParser):
    """The form of a page: where it goes, what it sends by itself, and its buttons."""

    def __init__(self, page: httpx2.Response) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.buttons: list[tuple[str, str]] = []
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values.get("action", "")
        elif tag == "button":
            self.buttons.append((values.get("name", ""), values.get("value", "")))
        elif tag == "input" and (values["type"] == "hidden" or "checked" in values):
            self.fields.append((values["name"], values["value"]))


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(party.emulator.app), base_url=BASE)

    async def open(self, url: str) -> httpx2.Response:
        """Go to `url`, and through what it redirects to, as far as the emulator reaches."""
        return await self.follow(await self.http.get(url))

    async def follow(self, response: httpx2.Response) -> httpx2.Response:
        while "location" in response.headers and not self.left(response):
            response = await self.http.get(response.headers["location"])
        return response

    def left(self, response: httpx2.Response) -> bool:
        return not response.headers["location"].startswith(("/", BASE))

    async def press(
        self, page: httpx2.Response, name: str, value: str | None = None, **changes: str | None
    ) -> httpx2.Response:
        """Press a button of a page; `changes` tick boxes (or, with None, untick all of that name)."""
        form = Form(page)
        pressed = next(button for button in form.buttons if button[0] == name and value in (None, button[1]))
        fields = [field for field in form.fields if field[0] not in changes]
        fields += [(field, new) for field, new in changes.items() if new is not None]
        response = await self.http.post(
            form.action or str(page.url),
            content=urlencode([*fields, pressed]),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        if response.status_code == 303 or response.status_code == 302:
            return response if self.left(response) else await self.open(response.headers["location"])
        return response

    async def sign_in(self, url: str, **changes: str | None) -> httpx2.Response:
        """The whole way to the callback, or as far as it goes."""
        page = await self.open(url)
        for button in ("sub", "allow"):
            if page.status_code == 200:
                page = await self.press(page, button, **(changes if button == "allow" else {}))
        return page


def title(page: httpx2.Response) -> str:
    found = re.search("<h1>(.*?)</h1>", page.text)
    assert found, page.text
    return found[1]
