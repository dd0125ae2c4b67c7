"""A path is looked up in a few steps, and found by the very patterns that name it."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.site.patterns import Folders, Narrow, Wide
from tests.fakes import hostile
from tests.opcodes import steps

# Among them what has more cases than two, or is a case of an ASCII letter: long s, Kelvin, dotless I.
LETTERS = ("a", "A", "b", "s", "k", "i", "ß", "ss", "\u017f", "\u212a", "\u0131", "é", "É")
DOTTED = ("\u0130", "i\u0307", "I\u0307", "\u0131\u0307", "\u0307")


def paths(*letters: str) -> st.SearchStrategy[str]:
    pieces = st.sampled_from([*letters, "/", "/", "/a", "/b"])
    return st.lists(pieces, max_size=6).map(lambda pieces: "/" + "".join(pieces))


def patterns(paths: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.builds("".join, st.tuples(paths, st.sampled_from(["", "/*"]))), max_size=6, unique=True)


PATHS, DOTTED_PATHS = paths(*LETTERS), paths(*LETTERS, *DOTTED)
PATTERNS, DOTTED_PATTERNS = patterns(PATHS), patterns(DOTTED_PATHS)


def narrow(pattern: str, patterns: list[str]) -> str:
    """One pattern of `public` as an expression."""
    folder = pattern[:-1]
    if not pattern.endswith("/*"):
        return re.escape(pattern) + r"\Z"
    itself = folder == "/" or folder in patterns or folder[:-1] in patterns
    return re.escape(folder) + ("" if itself else r"(?!\Z)")


def wide(pattern: str) -> str:
    """One pattern of `required_scopes` as an expression, for letters of either case."""
    end = r"(?:/|\Z)" if pattern.endswith("/*") else r"/?\Z"
    return re.escape(pattern[:-2] if pattern.endswith("/*") else pattern.rstrip("/")) + end


def cases(text: str) -> list[str]:
    return [text] if text.isascii() else [text, text.casefold()]


def said(patterns: list[str], paths: list[str]) -> list[str]:
    """Which patterns name any of these paths, as their expressions say."""
    return [
        pattern
        for pattern in patterns
        if any(
            re.match(wide(written), read, re.IGNORECASE)
            for written in cases(pattern)
            for path in paths
            for read in cases(path)
        )
    ]


@hostile
@given(DOTTED_PATTERNS, DOTTED_PATHS)
def test_what_is_public_is_what_an_expression_for_each_pattern_says(patterns, path):
    assert Narrow(patterns).match(path) == any(re.match(narrow(each, patterns), path) for each in patterns)


@hostile
@given(PATTERNS, st.lists(PATHS, max_size=3))
def test_what_needs_scopes_is_what_an_expression_for_each_pattern_says(patterns, paths):
    assert Wide(patterns).find(paths) == said(patterns, paths)


@hostile
@given(DOTTED_PATTERNS, st.lists(DOTTED_PATHS, max_size=3))
def test_with_an_i_that_has_a_dot_nothing_that_an_expression_names_is_missed(patterns, paths):
    assert set(Wide(patterns).find(paths)) >= set(said(patterns, paths))


def test_no_letter_of_any_script_has_a_case_that_is_missed():
    for letter in map(chr, range(sys.maxunicode + 1)):
        for other in {letter.lower(), letter.upper(), letter.title(), letter.casefold(), letter.swapcase()} - {letter}:
            assert Wide([f"/{letter}"]).find([f"/{other}"]), (letter, other)
            assert Wide([f"/{other}"]).find([f"/{letter}"]), (letter, other)
            assert "/" not in other


@pytest.mark.parametrize("pattern", ["/x/\u0307/", "/x/e\u0307", "/\u0307/*"])
def test_a_dot_counts_where_it_is_of_no_i(pattern):
    assert Wide([pattern]).find([pattern.replace("*", "below")]) == [pattern]
    assert Wide([pattern]).find([pattern.replace("\u0307", "")]) == []


@pytest.mark.parametrize("path", ["/\xe9/nothing", "/area3/\xe9", "/\xe94/x", "/AREA\u0131/\u0130", "/plain"])
async def test_however_many_patterns_there_are_a_path_in_any_letters_costs_as_much(path):
    async def cost(count: int) -> int:
        found = Wide([pattern for n in range(count) for pattern in (f"/area{n}/*", f"/\xe9{n}/*")])

        async def find() -> None:
            found.find([path, f"{path}/", f"{path};x"])

        return await steps(find)

    assert await cost(1000) == await cost(10)


@pytest.mark.parametrize("count", [1, 1000])
def test_however_many_patterns_there_are_a_path_is_looked_up_as_often(count, monkeypatch):
    asked = []

    class Counted(dict):
        def get(self, key, *default):
            asked.append(key)
            return super().get(key, *default)

    folders = Folders()
    for number in range(count):
        folders.add_below(f"/p{number}/", f"/p{number}/*")
        folders.add_below(f"/p{number}/x/", f"/p{number}/x/*")
    folders._whole, folders._below = Counted(folders._whole), Counted(folders._below)
    assert folders.find("/p0/x/y" + "/z" * 5000) == ["/p0/*", "/p0/x/*"]
    assert len(asked) == 4
