"""What we say is inert, is stored by nobody, and is the same to people and to programs."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.model import Response
from lumin_middleware.site.pages import (
    SAFETY,
    STYLE,
    Page,
    document,
    empty,
    page,
    problem,
    redirect,
    set_cookies,
    with_cookies,
)
from tests.fakes import any_text, header, hostile, json_values


class Parsed(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(response.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.setdefault(self._open[-1], []).append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


NASTY = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=y>",
    "</title></style></main>",
    "&lt;b&gt; &amp;",
    "{}%s",
    "`",
]
FULL = Page("Title", "Text", ("one", "two"), "Detail", (("Main", "/main?a=1&b=2"), ("Other", "/other")), ("Go", "/go"))


def test_a_page_shows_what_it_is_given():
    found = Parsed(page(403, FULL))
    assert found.words["title"] == found.words["h1"] == ["Title"]
    assert found.words["p"] == ["Text", "Detail"]
    assert found.words["li"] == ["one", "two"]
    assert found.words["a"] == ["Main", "Other"]
    assert [attrs["href"] for attrs in found.of("a")] == ["/main?a=1&b=2", "/other"]
    assert found.of("form") == [{"method": "post", "action": "/go"}]
    assert found.words["button"] == ["Go"]
    assert found.of("html") == [{"lang": "en"}]


def test_a_page_shows_no_more_than_it_is_given():
    found = Parsed(page(200, Page("Title", "Text")))
    tags = [tag for tag, _ in found.tags]
    assert tags == ["html", "head", "meta", "meta", "title", "style", "body", "main", "h1", "p"]


@pytest.mark.parametrize("nasty", NASTY)
def test_every_word_is_inert(nasty):
    found = Parsed(page(200, Page(nasty, nasty, (nasty,), nasty, ((nasty, nasty),), (nasty, nasty))))
    assert [tag for tag, _ in found.tags] == [
        tag for tag, _ in Parsed(page(200, Page(*"abc", "d", (("e", "f"),), ("g", "h")))).tags
    ]
    for tag in ("h1", "li", "a", "button", "title"):
        assert "".join(found.words[tag]) == nasty
    assert found.of("a") == [{"href": nasty}]
    assert found.of("form") == [{"method": "post", "action": nasty}]


@hostile
@given(*[any_text] * 4)
def test_any_words_make_a_page(title, text, point, target):
    response = page(400, Page(title, text, (point,), f"so {text}", ((title, target),), (point, target)))
    found = Parsed(response)
    assert len(found.tags) == len(Parsed(page(400, Page("a", "b", ("c",), "d", (("e", "f"),), ("g", "h")))).tags)
    assert header(response, "Content-Length") == str(len(response.body))


def test_a_page_runs_nothing_and_loads_nothing():
    response = page(200, FULL, form_action="'self' https://lumin.example", headers=[("X-More", "1")])
    digest = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert header(response, "Content-Security-Policy") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self' https://lumin.example; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    assert Parsed(response).words["style"] == [STYLE]
    body = response.body.decode()
    assert not re.search(r"(?i)<script|\bsrc=|@import|url\(| on\w+=|style=", body)
    assert header(response, "X-More") == "1"
    assert header(response, "Content-Type") == "text/html; charset=utf-8"
    assert "form-action 'self';" in header(page(200, FULL), "Content-Security-Policy")


def test_a_script_of_ours_is_allowed_by_its_hash_and_no_other():
    response = page(200, Page("Title", "Text", script="close()"))
    digest = b64encode(hashlib.sha256(b"close()").digest()).decode()
    assert f"script-src 'sha256-{digest}';" in header(response, "Content-Security-Policy")
    assert Parsed(response).words["script"] == ["close()"]
    assert "script-src" not in header(page(200, FULL), "Content-Security-Policy")


ANSWERS = [page(200, FULL), problem(401, "no_session", "Sign in"), document(200, {}), redirect("/x"), empty(200)]


@pytest.mark.parametrize("response", ANSWERS, ids=["page", "problem", "document", "redirect", "empty"])
def test_nobody_stores_it_and_nobody_is_told_where_it_was(response):
    assert header(response, "Cache-Control") == "no-store"
    assert header(response, "Referrer-Policy") == ("same-origin" if b"<form" in response.body else "no-referrer")
    assert header(response, "X-Content-Type-Options") == "nosniff"
    assert header(response, "Content-Length") == str(len(response.body))
    assert len(SAFETY) == 3


def test_a_problem_says_why():
    response = problem(
        401, "no_session", "Sign in to go on", headers=[("WWW-Authenticate", "Bearer")], login_url="/login"
    )
    assert header(response, "Content-Type") == "application/problem+json"
    assert header(response, "WWW-Authenticate") == "Bearer"
    assert response.status == 401
    assert json.loads(response.body) == {
        "type": "urn:lumin-middleware:no_session",
        "title": "Sign in to go on",
        "status": 401,
        "reason": "no_session",
        "login_url": "/login",
    }


@hostile
@given(st.dictionaries(any_text, json_values, max_size=4))
def test_any_document_is_ascii_json(content):
    response = document(200, content)
    assert response.body.isascii()
    assert repr(json.loads(response.body)) == repr(content)
    assert header(response, "Content-Type") == "application/json"


def test_a_redirect_is_a_get_and_sets_each_cookie_in_a_header_of_its_own():
    response = redirect("/page", ["a=1", "b=2"])
    assert (response.status, header(response, "Location"), response.body) == (303, "/page", b"")
    assert [value for name, value in response.headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert set_cookies([]) == []


def test_an_answer_without_a_body_says_so_but_for_204():
    assert header(empty(200), "Content-Length") == "0"
    assert header(empty(200, [("X-More", "1")]), "X-More") == "1"
    names = {name.lower() for name, _ in empty(204).headers}
    assert not {"content-length", "content-type"} & names  # RFC 9110, 8.6
    assert header(empty(204), "Cache-Control") == "no-store"


# --- the application's answers that carry a cookie of ours ---


def combined(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in with_cookies(headers, ["a=1"]) if key.lower() == name]


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ([], ["private"]),
        ([""], ["private"]),
        (["public"], ["private"]),
        (["Public, max-age=60"], ["private, max-age=60"]),
        (["max-age=60, s-maxage=600, must-revalidate"], ["private, max-age=60, must-revalidate"]),
        (["max-age=60", "public"], ["private, max-age=60"]),
        (["no-cache"], ["private, no-cache"]),
        (["no-store"], ["no-store"]),
        (["Private, max-age=60"], ["Private, max-age=60"]),
        (["no-store", "max-age=0"], ["no-store", "max-age=0"]),
    ],
)
def test_no_cache_gives_our_cookie_to_others(said, then):
    assert combined([("Cache-Control", value) for value in said], "cache-control") == then


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ([], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept", "Origin"], ["Accept, Origin, Cookie"]),
        (["X-Cookie"], ["X-Cookie, Cookie"]),
        (["Cookie"], ["Cookie"]),
        (["accept,cookie"], ["accept,cookie"]),
        (["Accept", "COOKIE"], ["Accept", "COOKIE"]),
        (["*"], ["*"]),
    ],
)
def test_what_depends_on_the_cookie_says_so(said, then):
    assert combined([("Vary", value) for value in said], "vary") == then


def test_all_else_of_the_application_stays_in_its_order():
    headers = [("Set-Cookie", "x=1"), ("Content-Type", "text/plain"), ("Set-Cookie", "y=2"), ("ETag", '"e"')]
    found = with_cookies(headers, ["a=1", "b=2"])
    assert found[:4] == headers
    assert [value for name, value in found if name == "Set-Cookie"] == ["x=1", "y=2", "a=1", "b=2"]
    assert len(headers) == 4


def test_pages_share_nothing():
    first: Any = page(200, FULL)
    first.headers.clear()
    assert page(200, FULL).headers
