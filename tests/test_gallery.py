"""All pages at once: no word that is not in the table, a way on from each, and what to tell whoever runs the site."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lumin_middleware
from lumin_middleware.texts import LANGUAGES, en, placeholders
from tests import gallery
from tests.fakes import config, header
from tests.test_look import Parsed

MARKED = {key: f"⟦{key}{''.join(f' {{{name}}}' for name in sorted(placeholders(en.TEXTS[key])))}⟧" for key in en.TEXTS}
"""A language whose every text is its own key, and whatever it names."""

SITE = config(texts={"qps": MARKED}, after_login="/home")
PAGES = gallery.site(SITE, "qps")
EMULATORS = gallery.emulator()

TOLD = re.compile(r"⟦([a-z_.:]+)[^⟦⟧]*⟧")


def words(body: bytes) -> list[str]:
    """What a page shows, piece by piece; its style and its script are not shown."""
    found = Parsed(body.decode()).words
    return [text for tag, texts in found.items() if tag not in ("style", "script") for text in texts]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_word_that_is_not_in_the_table(name):
    body = PAGES[name].body
    assert b'<html lang="qps">' in body
    for text in words(body):
        left = TOLD.sub("", text).strip()
        left = re.sub(r"^[a-z_]+ · [0-9A-F]{4}-[0-9A-F]{4}$", "", left)
        assert left in ("", "acme:things", "The server's own words.", gallery.SAID_BY_THE_SITE)


def test_every_text_of_the_table_is_on_some_page():
    told = {key for page in PAGES.values() for text in words(page.body) for key in TOLD.findall(text)}
    unseen = {"no_session.text", "expired.text", "ended.text", "interaction_required.text", "cannot_serve.text"}
    assert set(en.TEXTS) - told <= unseen


def test_a_site_whose_settings_are_wrong_says_so_in_a_language_of_ours():
    page = gallery.nobodys("ja")
    found = Parsed(page.body.decode())
    assert found.of("html") == [{"lang": "ja"}]
    assert found.words["h1"] == [LANGUAGES["ja"]["not_set_up.title"]]
    assert found.of("a")[0]["href"] == ""
    assert page.reference in page.body.decode()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_a_way_on_and_a_failure_a_reference(name):
    page = PAGES[name]
    found = Parsed(page.body.decode())
    targets = [attrs["href"] for attrs in found.of("a")] + [attrs["action"] for attrs in found.of("form")]
    assert targets
    assert all(target == "" or (target or "").startswith("/") for target in targets)
    assert ("" not in targets) or page.status >= 500
    if page.status >= 400:
        assert re.fullmatch("[0-9A-F]{4}-[0-9A-F]{4}", page.reference)
        assert f"{page.reason} · {page.reference}" in page.body.decode()
        assert "⟦footnote⟧" in page.body.decode()
    else:
        assert (page.reference, "⟦footnote⟧" in page.body.decode()) == ("", False), "nothing failed"


@pytest.mark.parametrize("name", EMULATORS)
def test_a_page_of_the_emulator_has_a_way_on(name):
    found = Parsed(bytes(EMULATORS[name].body).decode())
    assert found.of("a") or found.of("button")
    assert found.words["strong"][0] == "Lumin emulator"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_can_be_had_in_every_language(language):
    for name, page in gallery.site(config(), language).items():
        body = page.body.decode()
        assert f'<html lang="{language}">' in body, name
        assert "{" not in re.sub("<style>.*?</style>|<script>.*?</script>", "", body, flags=re.DOTALL), name


def test_the_page_of_a_missing_permission_names_it_in_words_and_gives_it():
    page = gallery.site(config())["missing"]
    found = Parsed(page.body.decode())
    assert found.words["li"] == ["Create and view signature requests", "acme:things"]
    assert found.words["a"] == ["Allow it", "Go on without it"]
    assert found.of("a")[0]["href"] == gallery.AGAIN
    assert 'error="insufficient_scope"' in header(page, "WWW-Authenticate")


@pytest.mark.parametrize(
    ("name", "told", "link"),
    [
        ("missing-kept", "Allow what the page needs, and you are asked", "Allow it"),
        ("missing-not-sent", "Allow what the page needs, and you come back", "Allow it"),
        ("not-recent", "This page asks for a sign-in", "Sign in again"),
        ("not-recent-kept", "Sign in, and you are asked", "Sign in again"),
        ("kept", "Sign in, and you are asked", "Sign in"),
    ],
)
def test_a_link_does_what_the_page_tells_a_person_to_do(name, told, link):
    body = gallery.site(config())[name].body.decode()
    assert told in body
    assert Parsed(body).words["a"][0] == link
    assert ("Sign in" in body) == (link != "Allow it")


def test_no_module_makes_a_page_that_is_not_in_the_gallery():
    """Where drafts are made, so that a new place is thought of here."""
    package = Path(lumin_middleware.__file__).parent
    places = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Draft":
                places.add(path.relative_to(package).as_posix())
    assert places == {
        *("runtime/startup.py", "gateway/answers.py", "site/browser/__init__.py", "site/sign_in_pages.py"),
        *("site/kept_form.py", "site/answers.py"),
    }
