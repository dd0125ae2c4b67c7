"""Our pages at both edges: in the language of whoever asks, in the site's name or its own HTML, and with a way on."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lumin_middleware import Page
from lumin_middleware.texts import LANGUAGES
from tests.edges.rig import Browser, Edge, Raw, Site

NewEdges = Callable[..., Site]


def heading(answer: Raw) -> str:
    (found,) = re.findall("<h1>(.*?)</h1>", answer.body.decode())
    return unescape(found)


def link(answer: Raw, words: str) -> str:
    found = re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', answer.body.decode())
    return unescape({text: target for target, text in found}[words])


async def signed_in(site: Site, edge: Edge, **person: Any) -> Browser:
    browser = site.browser(edge)
    await browser.sign_in(**person)
    return browser


@pytest.mark.parametrize(("asked", "language"), [("de-CH, en;q=0.5", "de"), ("it", "en"), ("*;q=0.1, ja", "ja")])
async def test_a_page_is_in_the_language_of_whoever_asks(new_edges: NewEdges, edge: Edge, asked: str, language: str):
    browser = await signed_in(new_edges(), edge)
    answer = await browser.navigate("/auth/logout", **{"accept-language": asked})
    assert heading(answer) == LANGUAGES[language]["logout.title"]
    assert f'<html lang="{language}">'.encode() in answer.body
    assert answer.header("cache-control") == "no-store"
    assert answer.header("vary") is None


async def test_a_program_is_told_in_english(new_edges: NewEdges, edge: Edge):
    answer = await new_edges().browser(edge).fetch("GET", "/page", **{"accept-language": "de"})
    assert (answer.status, b"Sign in to go on" in answer.body) == (401, True)


async def test_a_missing_permission_is_asked_for_in_words_and_given_by_a_button(new_edges: NewEdges, edge: Edge):
    site = new_edges(required_scopes={"/sign/*": "sign:requests"})
    browser = await signed_in(site, edge, scope="openid")
    page = await browser.navigate("/sign/x?y=1")
    assert (page.status, heading(page)) == (403, "A permission is missing")
    assert b"<li>Create and view signature requests</li>" in page.body
    begun = await browser.navigate(link(page, "Allow it"))
    wanted = begun.header("location") or ""
    assert "sign:requests" in parse_qs(urlsplit(wanted).query)["scope"][0].split()
    answer = await browser.navigate(site.emulator.sign_in(wanted))
    assert (answer.status, answer.header("location")) == (303, "/sign/x?y=1")
    assert (await browser.navigate("/sign/x?y=1")).status == 200


async def test_a_site_makes_its_own_pages(new_edges: NewEdges, edge: Edge):
    def mine(page: Page) -> str:
        return f"<h1>{page.status} {page.language} {page.title}</h1>"

    browser = await signed_in(new_edges(pages=mine), edge)
    answer = await browser.navigate("/auth/logout", **{"accept-language": "fr"})
    assert heading(answer) == "200 fr Se déconnecter ?"
    assert (answer.header("content-security-policy") or "").endswith("frame-ancestors 'none'; default-src 'self'")


async def test_a_site_whose_function_fails_shows_ours(
    new_edges: NewEdges, edge: Edge, caplog: pytest.LogCaptureFixture
):
    def broken(page: Page) -> str:
        raise ZeroDivisionError

    browser = await signed_in(new_edges(pages=broken, app_name="Tool hire"), edge)
    answer = await browser.navigate("/auth/logout")
    assert heading(answer) == "Sign out?"
    assert b"Tool hire" in answer.body
    assert b"ZeroDivisionError" not in answer.body
    assert [record.levelname for record in caplog.records if "page_failed" in record.message] == ["ERROR"]
