"""axe-core (Deque) finds nothing on any page: the site's, the emulator's, the demo's; and none is wider than a phone.

axe-core comes from npm, once, into a folder beside its `package.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

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
    with rig.browser() as running:
        yield running


def found(page: Page) -> dict[str, list[Any]]:
    """What is wrong with a page at each width in each colour scheme: the rule, and where it was broken.

    The page that is there changes, as when a window is made narrow, or when evening comes. In the dark its colours are
    looked at alone: that nothing else is another then is looked at as well.
    """
    wrong = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 700})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            wrong[f"{scheme}, {width}"] = page.evaluate(LOOK, [] if scheme == "light" else ["cat.color"])
    return {state: what for state, what in wrong.items() if what}


LOOK = """
async tags => {
  const options = { resultTypes: ['violations', 'incomplete'], selectors: false, ...tags.length && { runOnly: tags } }
  const found = await axe.run(document, options)
  const wrong = found.violations.map(each => [each.id, each.nodes.map(at => at.html)])
  // What axe cannot measure it leaves open; of colours it can measure all here.
  const unclear = found.incomplete.filter(each => each.id === 'color-contrast')
  if (unclear.length) wrong.push(['unclear', unclear[0].nodes.map(at => at.html)])
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(['scrolls sideways', []])
  const rules = list => [...list].flatMap(rule => [rule, ...rules(rule.cssRules ?? [])])
  const inTheDark = [...document.styleSheets].flatMap(sheet => rules(sheet.cssRules))
    .filter(rule => rule.media?.mediaText.includes('color-scheme')).flatMap(rule => rules(rule.cssRules))
  const isColour = rule => [...rule.style].every(
    name => name.startsWith('--') && /^#[0-9a-f]{6}$/.test(rule.style.getPropertyValue(name).trim()))
  const more = inTheDark.filter(rule => !isColour(rule))
  if (more.length) wrong.push(['more than colours', more.map(rule => rule.cssText)])
  return wrong
}
"""


@pytest.fixture
def page(browser: Browser, axe: str) -> Iterator[Page]:
    """A tab whose every page has the program that looks."""
    with browser.new_context() as context:
        context.add_init_script(axe)
        yield context.new_page()


STORED = {name: each for name, each in pictures.pages("").items() if name != "site-popup"}  # which closes itself
PARTS = 2
"""Parts of the pages, which may be looked at side by side."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_page_has_a_barrier(part, page):
    assert len(STORED) > 40
    pictures.serve(page.context, STORED)
    wrong = {}
    for name in list(STORED)[part::PARTS]:
        page.goto(f"{pictures.HOST}/{name}")
        wrong[name] = found(page)
    assert {name: what for name, what in wrong.items() if what} == {}


def test_the_demos_story_has_no_barrier_and_ends(page, demo):
    wrong = {name: found(page) for name in pictures.story(page, demo.origin)}
    assert len(wrong) == 7
    assert {name: what for name, what in wrong.items() if what} == {}


def test_it_does_find_a_barrier(page):
    page.goto(
        "data:text/html,<style>@media (prefers-color-scheme: dark) { p { font-style: italic } }</style>"
        "<p style='color:%23aaa;width:3000px'>pale</p><img src='x'>"
    )
    wrong = found(page)
    assert len(wrong) == len(WIDTHS) * len(SCHEMES)
    for state, what in wrong.items():
        rules = {rule for rule, _ in what}
        everywhere = set() if state.startswith("dark") else {"image-alt", "html-has-lang"}
        assert {"color-contrast", "scrolls sideways", "more than colours", *everywhere} <= rules
