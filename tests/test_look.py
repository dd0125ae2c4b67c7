"""The look: one template whose every word is inert, colours that can be read, and a policy that allows no more."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.look import (
    EDGE_CONTRAST,
    PALETTE,
    STYLE,
    TEXT_CONTRAST,
    Look,
    Page,
    contrast,
    document,
    html,
    policy,
    stylesheet,
    with_accent,
)
from tests.fakes import any_text, hostile


class Parsed(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.setdefault(self._open[-1], []).append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def made(title: str = "Title", **more: Any) -> Page:
    return Page(**{"status": 200, "language": "en", "title": title, "text": "Text", **more})


FULL = made(
    points=("one", "two"),
    detail="Detail",
    links=(("Other", "/other?a=1&b=2"), ("Third", "")),
    button=("Go", "/go"),
    fields=(("name", "value"),),
)

NASTY = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=y>",
    "</title></style></main>",
    "&lt;b&gt; &amp;",
    "{}%s",
    "`",
]

# --- the template ---


def test_a_page_shows_what_it_is_given():
    found = Parsed(html(FULL))
    assert found.words["title"] == found.words["h1"] == ["Title"]
    assert found.words["p"] == ["Text", "Detail"]
    assert found.words["li"] == ["one", "two"]
    assert found.words["a"] == ["Other", "Third"]
    assert [attrs["href"] for attrs in found.of("a")] == ["/other?a=1&b=2", ""]
    assert found.of("form") == [{"method": "post", "action": "/go"}]
    assert found.of("input") == [{"type": "hidden", "name": "name", "value": "value"}]
    assert found.words["button"] == ["Go"]
    assert found.of("html") == [{"lang": "en"}]


def test_a_page_shows_no_more_than_it_is_given():
    tags = [tag for tag, _ in Parsed(html(made())).tags]
    assert tags == ["html", "head", "meta", "meta", "title", "style", "body", "main", "div", "h1", "p"]


@pytest.mark.parametrize("nasty", NASTY)
def test_every_word_is_inert(nasty):
    look = Look(app_name=nasty, app_url=nasty, logo=nasty)

    def page(text: str, look: Look) -> Parsed:
        lists: Any = {"points": (text,), "links": ((text, text),), "button": (text, text), "fields": ((text, text),)}
        words = dict.fromkeys(("text", "detail", "reason", "reference", "footnote", "language"), text)
        return Parsed(html(made(text, **words, **lists, look=look)))

    found = page(nasty, look)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in page("x", Look("x", "x", logo="x")).tags]
    for tag in ("h1", "li", "button"):
        assert "".join(found.words[tag]) == nasty
    assert [attrs["href"] for attrs in found.of("a")] == [nasty, nasty]
    assert found.of("img") == [{"src": nasty, "alt": ""}]
    assert found.of("html")[0]["lang"] == nasty


@hostile
@given(*[any_text] * 4)
def test_any_words_make_a_page(title, text, point, target):
    def page(*words: str) -> Parsed:
        title, text, point, target = words
        return Parsed(html(made(title, text=f"x{text}", points=(point,), links=((title, target),))))

    assert len(page(title, text, point, target).tags) == len(page("a", "b", "c", "d").tags)


def test_the_name_of_the_site_stands_at_the_head_and_in_the_title():
    found = Parsed(html(made(look=Look("Tool hire", "/start", "#ff6600", "/logo.svg"))))
    assert found.words["title"] == ["Title · Tool hire"]
    assert found.of("a")[0] == {"href": "/start"}
    assert found.of("img") == [{"src": "/logo.svg", "alt": ""}]
    assert "#ff6600" in found.words["style"][0]
    assert not Parsed(html(made(look=Look("Tool hire")))).of("a")


def test_the_reference_stands_beside_what_to_do_with_it():
    found = Parsed(html(made(reason="loop", reference="1234-ABCD", footnote="Tell them:")))
    assert found.words["p"][-2:] == ["Tell them:", "loop · 1234-ABCD"]


@pytest.mark.parametrize(("language", "direction"), [("en", None), ("ar", "rtl"), ("he-IL", "rtl"), ("arn", None)])
def test_a_language_is_written_from_its_side(language, direction):
    assert Parsed(html(made(language=language))).of("html")[0].get("dir") == direction


def test_a_page_in_a_frame_leads_the_whole_window():
    assert Parsed(html(made(links=(("Go", "/go"),), framed=True))).of("a")[0]["target"] == "_top"


# --- colours ---

TEXTS = (
    *((ink, ground) for ink in ("ink", "soft", "link") for ground in ("card", "ground")),
    *(("on-accent", "accent"), ("on-mark", "mark")),
)
EDGES = [(edge, ground) for edge in ("edge", "link") for ground in ("card", "ground")]


def readable(palette: Any) -> None:
    for at in (0, 1):
        for one, other in TEXTS:
            assert contrast(palette[one][at], palette[other][at]) >= TEXT_CONTRAST, (one, other, at)
        for one, other in EDGES:
            assert contrast(palette[one][at], palette[other][at]) >= EDGE_CONTRAST, (one, other, at)


def test_the_colours_can_be_read_in_light_and_in_dark():
    readable(PALETTE)


@given(st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}"))
def test_any_accent_can_be_read(accent):
    palette = with_accent(accent)
    readable(palette)
    assert palette["accent"] == (accent, accent)


def test_contrast_is_what_wcag_says():
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")


def test_every_colour_of_the_stylesheet_is_of_the_palette():
    rules = STYLE.partition("}\n@media (prefers-color-scheme: dark)")[2].partition("\n")[2]
    assert not re.search(r"#[0-9a-f]{3}|rgb|hsl|opacity", rules)
    assert set(re.findall(r"var\(--([a-z-]+)\)", STYLE)) == set(PALETTE)


def test_nothing_moves_and_nothing_is_loaded():
    assert not re.search(r"transition|animation|@import|url\(|@font-face", stylesheet())


# --- the policy ---


def test_a_page_runs_nothing_and_loads_nothing():
    digest = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert policy(form_action="'self' https://lumin.example") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self' https://lumin.example; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    assert Parsed(html(FULL)).words["style"] == [STYLE]
    assert not re.search(r"(?i)<script|\bsrc=|@import|url\(| on\w+=|style=", html(FULL))
    assert "frame-ancestors 'self'" in policy(framed=True)


def test_a_script_of_ours_is_allowed_by_its_hash_and_no_other():
    digest = b64encode(hashlib.sha256(b"close()").digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy(script="close()")
    assert Parsed(html(made(script="close()"))).words["script"] == ["close()"]
    assert "script-src" not in policy()


@pytest.mark.parametrize(
    ("logo", "source"),
    [
        ("", ""),
        ("/logo.svg", "'self'"),
        ("https://cdn.example.com/a/logo.svg?v=2", "https://cdn.example.com"),
        ("https://cdn.example.com:8443/logo.svg", "https://cdn.example.com:8443"),
        ("data:image/png;base64,AAAA", "data:"),
    ],
)
def test_an_image_comes_from_the_logos_origin_alone(logo, source):
    assert Look("Name", logo=logo).images == source
    assert ("img-src " in policy(images=source)) == bool(source)


def test_whoever_brings_html_gets_the_same_page_around_it():
    found = Parsed(document("Title", "<h1>Title</h1>", above='<header class="mark">Mark</header>'))
    assert [tag for tag, _ in found.tags][-4:] == ["header", "main", "div", "h1"]
