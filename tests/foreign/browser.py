"""A user at a browser, as far as a sign-in needs one: it follows redirects and sends off forms.

It stops where a redirect leaves the server, and never goes there.
"""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

MOST_PAGES = 20  # the longest way out has seven; a form that comes back and back has no end


class Unexpected(Exception):
    """The server showed a page that a user cannot answer, such as an error page. `response` is that page."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.status_code} from {response.url}: {response.text}")
        self.response = response


class Form(HTMLParser):
    """The first form of a page: what its fields hold, and its buttons that have a name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a form, a field or a button."""
        attributes = {name: value or "" for name, value in attrs}
        name = attributes.get("name")
        if tag == "form" and self.action is None:
            self.action = attributes.get("action", "")
        elif name and (tag == "button" or attributes.get("type") == "submit"):
            self.buttons[name] = attributes.get("value", "")
        elif name and tag == "input":
            self.fields[name] = attributes.get("value", "")


def leave(client: httpx2.Client, url: str, entries: dict[str, str], *, deny: bool) -> str:
    """Go to `url` and on, until a redirect leads away from its origin; that redirect's target.

    `entries` are typed into the fields of those names. Of a form's buttons those with a name agree,
    and `deny` presses the one without. Raises Unexpected on a page that has no form.
    """
    response = client.get(url, follow_redirects=False)
    for _ in range(MOST_PAGES):
        if response.has_redirect_location:
            target = urljoin(str(response.url), response.headers["location"])
            if httpx2.URL(target).netloc != response.url.netloc:
                return target
            response = client.get(target, follow_redirects=False)
            continue
        form = Form(response.text)
        if form.action is None:
            break
        typed = {name: entries[name] for name in form.fields.keys() & entries.keys()}
        data = form.fields | typed | ({} if deny else form.buttons)
        response = client.post(urljoin(str(response.url), form.action), data=data, follow_redirects=False)
    raise Unexpected(response)
