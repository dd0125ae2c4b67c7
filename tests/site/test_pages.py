"""What we say is stored by nobody, is in the words of whoever asks, and is the same to people and to programs."""

from __future__ import annotations

import html
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.look import Page
from lumin_middleware.site.pages import (
    NOBODYS,
    SAFETY,
    Draft,
    Pages,
    accepted,
    document,
    empty,
    permissions,
    problem,
    redirect,
    reference,
    set_cookies,
    with_cookies,
)
from lumin_middleware.texts import LANGUAGES as TEXTS
from tests.fakes import any_text, config, header, hostile, json_values

FULL = Draft(
    "another_person",
    title="another_person.named",
    values={"name": "Ann"},
    points=("loop.cookies", "scope.sign:requests", "scope.acme:x"),
    detail="Detail",
    links=(("go_on_as", "/go"), ("home", "/")),
    button=("sign_out", "/out"),
    reason="loop",
    reference="1234-ABCD",
)


def site(**settings: Any) -> Pages:
    return Pages(config(**settings))


def text(pages: Pages, language: str = "", draft: Draft = FULL, status: int = 200) -> str:
    return pages.page(language, status, draft).body.decode()


def test_a_page_is_in_the_words_that_the_request_asks_for():
    english, german = text(NOBODYS), text(NOBODYS, "de-AT, en;q=0.5")
    assert '<html lang="en">' in english
    assert "<h1>You are Ann now</h1>" in english
    assert "<li>Create and view signature requests</li><li>acme:x</li>" in english
    assert 'tell whoever runs this site:</p><p class="reference">loop · 1234-ABCD</p>' in english
    assert '<html lang="de">' in german
    assert "<h1>Sie sind jetzt Ann</h1>" in german
    assert "Signaturanfragen erstellen und ansehen" in german
    assert ">Weiter als Ann</a>" in german


@pytest.mark.parametrize(("language", "between"), [("en", ". "), ("ja", "。")])
def test_sentences_stand_as_their_language_writes_them(language, between):
    shown = text(NOBODYS, language, Draft("loop", text=("logout.text", "popup.text")))
    first, second = (TEXTS[language][key] for key in ("logout.text", "popup.text"))
    assert f"{first[:-1]}{between}{second}" in html.unescape(shown)


def test_a_header_that_came_in_parts_is_one_list():
    headers = [(b"accept-language", b"it"), (b"x", b"y"), (b"accept-language", b"ja")]
    assert accepted(headers, b"accept-language") == "it,ja"


def test_permissions_are_scopes():
    assert permissions("openid sign:requests") == ("scope.openid", "scope.sign:requests")
    assert permissions("") == ()


def test_a_reference_can_be_read_out():
    assert reference("0a1b2c3d4e") == "0A1B-2C3D"


def test_a_site_has_its_name_its_colour_and_its_logo():
    pages = site(app_name="Tool hire", app_url="/", accent="#F60", logo="https://cdn.example.com/logo.svg")
    answer = pages.page("", 200, FULL)
    body = answer.body.decode()
    assert '<p class="site"><img src="https://cdn.example.com/logo.svg" alt=""><a href="/">Tool hire</a></p>' in body
    assert "#ff6600" in body
    assert "img-src https://cdn.example.com;" in header(answer, "Content-Security-Policy")
    assert "img-src" not in header(site(app_name="Tool hire").page("", 200, FULL), "Content-Security-Policy")


def test_a_site_has_texts_of_its_own():
    pages = site(texts={"pt-BR": {"another_person.named": "Agora você é {name}"}})
    assert "Agora você é Ann" in text(pages, "pt")


# --- a site's own function ---


def test_a_site_makes_its_own_pages_of_the_page_as_data():
    seen: list[Page] = []

    def mine(page: Page) -> str:
        seen.append(page)
        return f"<!doctype html><title>{page.title}</title>"

    answer = site(pages=mine, app_name="Tool hire").page("de", 403, FULL, headers=[("X-More", "1")])
    assert answer.body == b"<!doctype html><title>Sie sind jetzt Ann</title>"
    assert (answer.status, header(answer, "X-More")) == (403, "1")
    assert header(answer, "Content-Length") == str(len(answer.body))
    for name, value in SAFETY[:1]:
        assert header(answer, name) == value
    (page,) = seen
    assert (page.status, page.language, page.reason, page.reference) == (403, "de", "loop", "1234-ABCD")
    assert page.button == ("Abmelden", "/out")
    assert page.look.app_name == "Tool hire"
    assert "Ann" not in repr(page)


def test_the_policy_of_a_page_of_a_site_is_its_own_but_for_forms_and_frames():
    plain = site(pages=lambda page: "<p>").page("", 200, FULL, form_action="'self' https://lumin.example")
    assert header(plain, "Content-Security-Policy") == (
        "form-action 'self' https://lumin.example; base-uri 'none'; frame-ancestors 'none'; default-src 'self'"
    )
    policy = "default-src 'none'; style-src https://cdn.example.com; form-action *; frame-ancestors *"
    said = header(site(pages=lambda page: ("<p>", policy)).page("", 200, FULL), "Content-Security-Policy")
    assert said == f"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; {policy}"  # the first counts


async def _later(page: Page) -> str:
    return "<p>"


def _raises(page: Page) -> str:
    raise LookupError("secret")


@pytest.mark.parametrize(
    "mine",
    [
        _raises,
        lambda page: None,
        lambda page: "",
        lambda page: " ",
        lambda page: b"<p>",
        lambda page: ("<p>", None),
        lambda page: ("<p>", ""),
        lambda page: ("<p>", "default-src 'self'\r\nX-Evil: 1"),
        lambda page: ("<p>", "default-src 'self', script-src *"),
        lambda page: ("<p>", "x", "y"),
        lambda page: _later(page),
    ],
)
def test_where_the_sites_function_fails_our_page_is_sent_and_the_log_says_so(mine, caplog):
    answer = site(pages=mine).page("", 403, FULL)
    assert answer.body == text(NOBODYS).encode()
    assert "style-src 'sha256-" in header(answer, "Content-Security-Policy")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("page_failed:")
    assert "secret" not in caplog.text
    assert record.exc_info is None


def test_a_page_that_works_by_a_script_is_ours():
    answer = site(pages=_raises).page("", 200, Draft("popup", script="close()"))
    assert b"<script>close()</script>" in answer.body


# --- headers ---

ANSWERS = {
    "page": NOBODYS.page("", 200, FULL),
    "own": site(pages=lambda page: "<form>").page("", 200, FULL),
    "problem": problem(401, "no_session", "Sign in"),
    "document": document(200, {}),
    "redirect": redirect("/x"),
    "empty": empty(200),
}


@pytest.mark.parametrize("response", ANSWERS.values(), ids=ANSWERS)
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


@pytest.mark.parametrize(
    "name",
    [
        "CDN-Cache-Control",
        "cloudflare-cdn-cache-control",
        "Anybodys-Cache-Control",
        "Surrogate-Control",
        "X-Accel-Expires",
        "Edge-Control",
    ],
)
@pytest.mark.parametrize("control", [[], [("Cache-Control", "private")], [("Cache-Control", "public")]])
def test_nor_does_one_that_is_told_so_apart(name, control):
    headers = [*control, (name, "public, max-age=600")]
    assert combined(headers, name.lower()) == []
    assert combined(headers, "cache-control") == ["private"]


@pytest.mark.parametrize("name", ["X-Cache", "Cache-Status", "Surrogate-Key", "X-Accel-Buffering"])
def test_what_says_nothing_of_keeping_an_answer_stays(name):
    assert combined([(name, "x")], name.lower()) == ["x"]


def test_all_else_of_the_application_stays_in_its_order():
    headers = [("Set-Cookie", "x=1"), ("Content-Type", "text/plain"), ("Set-Cookie", "y=2"), ("ETag", '"e"')]
    found = with_cookies(headers, ["a=1", "b=2"])
    assert found[:4] == headers
    assert [value for name, value in found if name == "Set-Cookie"] == ["x=1", "y=2", "a=1", "b=2"]
    assert len(headers) == 4


def test_pages_share_nothing():
    NOBODYS.page("", 200, FULL).headers.clear()
    assert NOBODYS.page("", 200, FULL).headers
