"""The words: every language has all of them, a site's own are checked, and a request gets the one that it asks for."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumin_middleware import ConfigurationError
from lumin_middleware.reasons import REASONS
from lumin_middleware.texts import LANGUAGES, Words, en, placeholders, preferred, table

AVAILABLE = tuple(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_with_the_same_placeholders(language):
    texts = LANGUAGES[language]
    assert set(texts) == set(en.TEXTS)
    for key, text in texts.items():
        assert placeholders(text) == placeholders(en.TEXTS[key]), key
        assert text == text.strip()
        assert text, key


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_a_language_is_not_english(language):
    same = {key for key, text in LANGUAGES[language].items() if text == en.TEXTS[key]}
    assert not same


def test_what_reasons_say_to_people_is_in_the_table():
    for reason in REASONS.values():
        if reason.title and reason.person:
            assert en.TEXTS[en.KEYS[f"{reason.code}.title"]] == reason.title
            assert en.TEXTS[en.KEYS[f"{reason.code}.text"]] == reason.person


# --- whose words ---


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-CH", "de"),
        ("de-CH-1996", "de"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.8, ja;q=0.9", "ja"),
        ("it, es", "es"),
        ("it", "en"),
        ("it, *", "en"),
        ("*", "en"),
        ("en;q=0, *", "de"),
        ("*;q=0.5, vi", "vi"),
        ("de;q=0, de-AT", "en"),
        ("fr;q=0.5, vi;q=0.5", "fr"),
        ("de ; q=0.3 ,\tfr ;Q=0.4", "fr"),
        ("de;q=1.000, en;q=0.999", "de"),
        ("de;q=2", "en"),
        ("de;q=0.1234, fr;q=0.001", "fr"),
        ("de;level=1, fr;q=0.1", "fr"),
        ("de_DE, fr;q=0.1", "fr"),
        (",,, ja", "ja"),
        ("zh-Hant-TW, ja;q=0.2", "ja"),
        ("en;q=0", "en"),
    ],
)
def test_a_request_gets_the_language_that_it_likes_best(asked, found):
    assert preferred(asked, AVAILABLE) == found


def test_a_region_of_a_sites_own_is_found_by_itself_and_by_its_language():
    available = (*AVAILABLE, "pt-BR", "de-CH")
    assert preferred("pt", available) == "pt-BR"
    assert preferred("pt-BR", available) == "pt-BR"
    assert preferred("de-CH, de;q=0.9", available) == "de-CH"
    assert preferred("de", available) == "de"


@given(st.text(max_size=200) | st.text("dejafr-,;=q01.* \t", max_size=200))
@example("de;q=0." + "9" * 5000)
def test_any_header_has_an_answer(asked):
    assert preferred(asked, AVAILABLE) in AVAILABLE


@pytest.mark.parametrize("piece", ["de-", "a-a", ",", ";q=", "de;q=0.1,", "*,", "\t", "de-a-a-a-a-a-a-a-a,"])
def test_a_header_of_any_length_costs_no_more_than_its_beginning(piece):
    long = piece * 200_000
    began = time.process_time()
    preferred(long, AVAILABLE)
    preferred.cache_clear()
    assert time.process_time() - began < 5  # seconds of CPU; without a limit it is minutes


def test_what_is_cut_off_is_not_read_as_something_else():
    assert preferred("x" * 995 + ",de-Latn-1996", AVAILABLE) == "en"


# --- a site's own ---


def test_a_site_changes_a_text_and_the_rest_stays():
    words = Words({"de": {"logout.title": "Tschüs?"}})
    assert words.say("de", "logout.title", {}) == "Tschüs?"
    assert words.say("de", "do.sign_out", {}) == "Abmelden"


def test_a_language_of_a_site_falls_back_to_its_base_or_to_english():
    words = Words({"de-CH": {"do.home": "Zur Startsiite"}, "it": {"do.home": "Alla pagina iniziale"}})
    assert words.language("de-CH") == "de-CH"
    assert words.say("de-CH", "do.sign_out", {}) == "Abmelden"
    assert words.say("it", "do.sign_out", {}) == "Sign out"


def test_a_scope_without_words_stands_for_itself_and_a_site_can_give_it_some():
    words = Words({"en": {"scope.acme:things": "See things"}})
    assert words.say("en", "scope.acme:things", {}) == "See things"
    assert words.say("de", "scope.acme:other", {}) == "acme:other"


def test_reasons_that_say_the_same_share_a_text():
    words = Words({"en": {"unknown_login.text": "Once more, please."}})
    assert words.say("en", "missing_code.text", {}) == "Once more, please."


@pytest.mark.parametrize(
    ("own", "wrong"),
    [
        ("de", "must map languages"),
        ({"de": "x"}, "'de' must map keys"),
        ({1: {}}, "1 is no language tag"),
        ({"d": {}}, "'d' is no language tag"),
        ({"de_DE": {}}, "'de_DE' is no language tag"),
        ({"de": {"logout.titel": "x"}}, "de: 'logout.titel' is no key; do you mean 'logout.title'?"),
        ({"de": {1: "x"}}, "de: 1 is no key"),
        ({"de": {"logout.title": ""}}, "de: 'logout.title' must be a text"),
        ({"de": {"logout.title": 3}}, "de: 'logout.title' must be a text"),
        ({"de": {"do.go_on_as": "Weiter {nam}"}}, "de: 'do.go_on_as' names {nam}; what it may name: {name}"),
        ({"de": {"logout.title": "Weiter {name}"}}, "names {name}; what it may name: none"),
        ({"de": {"do.go_on_as": "Weiter {name.__class__}"}}, "names {name.__class__}"),
        ({"de": {"do.go_on_as": "Weiter {name[0]}"}}, "names {name[0]}"),
        ({"de": {"do.go_on_as": "Weiter {0}"}}, "names {0}"),
        ({"de": {"do.go_on_as": "Weiter {}"}}, "names {}"),
        ({"de": {"do.go_on_as": "Weiter {name!r}"}}, "braces"),
        ({"de": {"do.go_on_as": "Weiter {name:>99999}"}}, "braces"),
        ({"de": {"do.go_on_as": "Weiter {name"}}, "braces"),
        ({"de": {"do.go_on_as": "Weiter }"}}, "braces"),
    ],
)
def test_a_text_that_is_wrong_fails_at_start_and_is_named(own, wrong):
    with pytest.raises(ConfigurationError, match=re.escape(wrong)) as caught:
        table(own)
    assert caught.value.field == "texts"


def test_two_braces_are_one():
    assert Words({"en": {"logout.title": "{{x}}"}}).say("en", "logout.title", {}) == "{x}"
