"""Pictures of every page in five states, for people to look at: `python -m tests.pictures [FOLDER]`.

The pages are those of the gallery, and the demo's on the way through its story. Each state becomes contact sheets.
"""

from __future__ import annotations

import logging
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests import browser_rig as rig
from tests import gallery
from tests.fakes import config

DESK, PHONE = {"width": 1000, "height": 700}, {"width": 320, "height": 640}

STATES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "forced": {"forced_colors": "active", "viewport": DESK},
    "german-phone": {"color_scheme": "dark", "viewport": PHONE, "locale": "de-DE"},
    "japanese": {"color_scheme": "light", "viewport": DESK, "locale": "ja-JP"},
}
"""How a browser may stand: light, dark, narrow, in its owner's colours, in another language."""

HOST = "http://pages.example"

LOGO = (
    "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2010%2010'%20width='40'%20"
    "height='40'%3E%3Crect%20width='10'%20height='10'%20rx='3'%20fill='%23f60'/%3E%3C/svg%3E"
)
SITE = config(app_name="Tool hire", app_url="/", accent="#ff6600", logo=LOGO)

Stored = tuple[int, dict[str, str], bytes]


def pages(language: str) -> dict[str, Stored]:
    """Each page that looks like no other, as a server would send it."""
    found: dict[str, Stored] = {}
    seen = set()
    for name, page in gallery.site(config(), language).items():
        words = re.sub(r'[a-z_]+ · [0-9A-F-]{9}|href="[^"]*"', "", page.body.decode())
        if words not in seen:
            seen.add(words)
            found[f"site-{name}"] = page.status, dict(page.headers), page.body
    own = gallery.site(SITE, language)
    for name in ("missing", "logout", "error-server_unavailable"):
        found[f"own-{name}"] = own[name].status, dict(own[name].headers), own[name].body
    for name, answer in gallery.emulator().items():
        found[f"emulator-{name}"] = answer.status_code, dict(answer.headers), bytes(answer.body)
    return found


def serve(context: BrowserContext, stored: dict[str, Stored]) -> None:
    """Lets a browser find the pages at `HOST`, without a server."""

    def answer(route: Route) -> None:
        status, headers, body = stored[route.request.url.removeprefix(f"{HOST}/")]
        headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        route.fulfill(status=status, headers=headers, body=body)

    context.route(f"{HOST}/**", answer)


def story(page: Page, origin: str) -> Iterator[str]:
    """The demo from its first page to the last; the name of each page that is shown."""
    page.goto(f"{origin}/")
    yield "demo-welcome"
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Mira Halden").click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("You are Mira Halden")).to_be_visible()
    yield "demo-nothing-sent"
    page.get_by_label("Title").fill("Lease of a very large excavator with all of its shovels")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("waits for you")).to_be_visible()
    yield "demo-sent"
    page.get_by_role("button", name="Sign Lease").click()
    expect(page.get_by_role("button", name="Sign", exact=True)).to_be_visible()
    yield "demo-to-sign"
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Signed")
    yield "demo-signed-at-lumin"
    page.get_by_role("link", name="Back to the application").click()
    page.get_by_role("link", name="Your requests").click()
    expect(page.get_by_text("signed", exact=True).last).to_be_visible()
    yield "demo-signed"
    page.evaluate(
        "document.querySelector('input').removeAttribute('required'); document.querySelector('input').value = ''"
    )
    page.evaluate("document.querySelector('input').removeAttribute('pattern')")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The title is missing")
    yield "demo-title-missing"


def take(browser: Browser, state: str, folder: Path, origin: str) -> list[Path]:
    """A picture of each page in one state."""
    options = STATES[state]
    context = browser.new_context(**options)
    stored = pages(options.get("locale", ""))
    serve(context, stored)
    page = context.new_page()
    made = []

    def shoot(name: str) -> None:
        made.append(folder / state / f"{name}.png")
        page.screenshot(path=made[-1], full_page=True)

    for name in stored:
        page.goto(f"{HOST}/{name}")
        shoot(name)
    for name in story(page, origin):
        shoot(name)
    context.close()
    return made


def sheets(browser: Browser, state: str, pictures: list[Path], folder: Path) -> None:
    """Contact sheets of the pictures of a state."""
    columns, rows = (8, 2) if STATES[state]["viewport"] == PHONE else (4, 4)
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    for number, at in enumerate(range(0, len(pictures), columns * rows), 1):
        cells = "".join(
            f'<figure><img src="data:image/png;base64,{b64encode(each.read_bytes()).decode()}">'
            f"<figcaption>{each.stem}</figcaption></figure>"
            for each in pictures[at : at + columns * rows]
        )
        style = (
            f"body{{display:grid;grid-template-columns:repeat({columns},1fr);gap:8px;margin:8px;background:#888}}"
            "figure{margin:0}img{width:100%}figcaption{font:12px sans-serif}"
        )
        page.set_content(f"<style>{style}</style>{cells}")
        page.screenshot(path=folder / f"{state}-{number}.png", full_page=True)
    page.close()


def main(folder: Path, states: list[str]) -> None:
    logging.disable()  # the failures are made up
    with rig.browser() as browser, rig.demo("--no-open", "--port", "0") as demo:
        for state in states or list(STATES):
            sheets(browser, state, take(browser, state, folder, demo.origin), folder)
            print(f"{folder}/{state}-*.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else rig.SCREENSHOTS / "pages", sys.argv[2:])
