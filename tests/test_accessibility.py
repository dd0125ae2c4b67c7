"""axe-core (Deque) finds nothing on any page: the site's, the emulator's, the demo's; and none is wider than a phone.

axe-core comes from npm, once, into a folder beside its `package.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser_rig as rig
from tests import pictures
from tests.foreign import node

AXE = Path(__file__).parent / "axe"

WIDTHS = (1000, 320)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
def axe() -> str:
    """The program that looks."""
    node.install(AXE)
    return (AXE / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def demo() -> Iterator[rig.Demo]:
    with rig.demo("--no-open", "--port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=rig.chromium(), args=rig.FLAGS, env=rig.away_from_home())
        yield browser
        browser.close()


def found(page: Page, axe: str) -> dict[str, list[Any]]:
    """What is wrong with a page in each colour scheme: the rule, and where it was broken."""
    page.evaluate(axe)
    wrong = {}
    for scheme in SCHEMES:  # the page that is there changes its colours, as when evening comes
        page.emulate_media(color_scheme=scheme)
        wrong[scheme] = _seen(page)
    return wrong


def _seen(page: Page) -> list[Any]:
    result = page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
    wrong = [(each["id"], [at["html"] for at in each["nodes"]]) for each in result["violations"]]
    # What axe cannot measure it leaves open; of colours it can measure all here.
    wrong += [("unclear", each["id"]) for each in result["incomplete"] if each["id"] == "color-contrast"]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        wrong.append("scrolls sideways")
    return wrong


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_a_barrier(width, browser, axe):
    context = browser.new_context(viewport={"width": width, "height": 700})
    stored = pictures.pages("")
    pictures.serve(context, stored)
    page, wrong = context.new_page(), {}
    assert len(stored) > 40
    for name in stored:
        if name == "site-popup":  # closes itself
            continue
        page.goto(f"{pictures.HOST}/{name}")
        wrong[name] = found(page, axe)
    context.close()
    assert {name: what for name, what in wrong.items() if any(what.values())} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_demos_story_has_no_barrier_and_ends(width, browser, demo, axe):
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    wrong = {name: found(page, axe) for name in pictures.story(page, demo.origin)}
    context.close()
    assert len(wrong) == 7
    assert {name: what for name, what in wrong.items() if any(what.values())} == {}


def test_it_does_find_a_barrier(browser, axe):
    page = browser.new_page()
    page.set_content("<p style='color:#aaa;width:3000px'>pale</p><img src='x'>")
    for wrong in found(page, axe).values():
        rules = {each[0] if isinstance(each, tuple) else each for each in wrong}
        assert {"color-contrast", "image-alt", "html-has-lang", "scrolls sideways"} <= rules
    page.close()
