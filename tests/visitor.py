"""Somebody without JavaScript who signs in at the emulator over HTTP."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

HTML = {"accept": "text/html"}


class Form(HTMLParser):
    """The fields of a page's form as they stand, and where it leads."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, list[str]] = {}
        self.feed(response.text)
        self.target = urljoin(str(response.url), self.action)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "form":
            self.action = found["action"] or ""
        elif tag == "input" and (found["type"] == "hidden" or "checked" in found):
            self.fields.setdefault(found["name"] or "", []).append(found["value"] or "")


def sign_in(person: httpx2.Client, url: str) -> httpx2.Response:
    """What somebody does who opens `url`, chooses the first name there is and allows all."""
    page = person.get(url, headers=HTML)
    assert "Sign in" in page.text, page.text
    sub = re.search(r'name="sub" value="([^"]+)"', page.text)
    assert sub is not None
    form = Form(page)
    consent = person.post(form.target, data={**form.fields, "sub": sub[1]}, headers=HTML)
    form = Form(consent)
    return person.post(form.target, data={**form.fields, "allow": "yes"}, headers=HTML)
