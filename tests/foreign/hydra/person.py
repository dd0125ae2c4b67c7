"""A person at a browser that goes to Hydra, and what they decide there."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from .serving import CLIENT

MOST_STEPS = 24  # the longest way has eleven


class ErrorPage(Exception):
    """Hydra showed a page instead of going back to the client. `error` is its code."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


class Person(httpx2.Client):
    """One browser with one cookie jar. `home` are the origins where it goes on by itself."""

    def __init__(self, *home: str) -> None:
        super().__init__(**CLIENT)
        self._home = {urlsplit(base).netloc for base in home}

    def go(self, url: str, **decisions: Any) -> str:
        """Go to `url` and through every step, until a redirect leads away; that redirect's target."""
        return self.answer(self.get(url), **decisions)

    def open(self, url: str) -> httpx2.Response:
        """Go to `url`, through its redirects, up to the first page; or the redirect that leads away."""
        return self.settle(self.get(url))

    def form(self, page: httpx2.Response) -> Form | None:
        """The form of a page for a person to decide."""
        if page.has_redirect_location or page.status_code != 200:
            return None
        found = Form(page)
        return found if found.challenge else None

    def settle(self, answer: httpx2.Response) -> httpx2.Response:
        """Through redirects, up to the first page; or the redirect that leads away."""
        while answer.has_redirect_location and self._stays(answer):
            answer = self.get(urljoin(str(answer.url), answer.headers["location"]))
        return answer

    def answer(self, answer: httpx2.Response, **decisions: Any) -> str:
        """Go on from a page, or from what redirects. Raises `ErrorPage`; returns "" where a page is the end."""
        for _ in range(MOST_STEPS):
            if answer.has_redirect_location:
                if not self._stays(answer):
                    return urljoin(str(answer.url), answer.headers["location"])
                answer = self.get(urljoin(str(answer.url), answer.headers["location"]))
            elif urlsplit(str(answer.url)).path == "/error":
                said = {name: values[0] for name, values in parse_qs(urlsplit(str(answer.url)).query).items()}
                raise ErrorPage(said.get("error", ""), said.get("error_description", ""))
            elif form := self.form(answer):
                answer = self.decide(form, **decisions)
            elif answer.status_code == 200:
                return ""
            else:
                raise ErrorPage(str(answer.status_code), answer.text)
        raise AssertionError(f"no end of redirects at {answer.url}")

    def decide(
        self,
        form: Form,
        *,
        sub: str = "ada",
        scope: str | None = None,
        deny: bool | str = False,
        error: str | None = None,
        remember: bool = False,
    ) -> httpx2.Response:
        """Send a form off. `deny` is True or the step to refuse, with `error` for a name; `scope` grants less."""
        step = urlsplit(form.action).path.strip("/")
        refused = deny is True or deny == step
        entries: list[tuple[str, str]] = [("challenge", form.challenge)]
        if step == "login" and not refused:
            entries.append(("sub", sub))
        if step == "consent":
            entries += [("scope", each) for each in form.scopes if scope is None or each in scope.split()]
        if remember:
            entries.append(("remember", "yes"))
        if refused and error is not None:
            entries.append(("error", error))
        entries.append(("deny" if refused else "allow", "yes"))
        return self.post(form.action, data=_fields(entries))

    def _stays(self, answer: httpx2.Response) -> bool:
        return urlsplit(urljoin(str(answer.url), answer.headers["location"])).netloc in self._home


def _fields(entries: list[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in entries:
        fields.setdefault(name, []).append(value)
    return fields


class Form:
    """The form of a page of the login application."""

    def __init__(self, page: httpx2.Response) -> None:
        action = re.search(r'<form method="post" action="([^"]*)"', page.text)
        challenge = re.search(r'name="challenge" value="([^"]*)"', page.text)
        self.action = urljoin(str(page.url), unescape(action[1])) if action else ""
        self.challenge = unescape(challenge[1]) if challenge else ""
        self.scopes = [unescape(each) for each in re.findall(r'name="scope" value="([^"]*)"', page.text)]
