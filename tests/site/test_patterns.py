"""A path is looked up in a few steps, and found by the very patterns that name it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.site.patterns import Folders, Narrow, Wide
from tests.fakes import hostile

# Among them what has more cases than two, or is a case of an ASCII letter: long s, Kelvin, dotless and dotted I.
LETTERS = ("a", "A", "b", "s", "k", "i", "ß", "ss", "\u017f", "\u212a", "\u0131", "\u0130", "é", "É")
PIECES = st.sampled_from([*LETTERS, "/", "/", "/a", "/b"])
PATHS = st.lists(PIECES, max_size=6).map(lambda pieces: "/" + "".join(pieces))
PATTERNS = st.lists(st.builds("".join, st.tuples(PATHS, st.sampled_from(["", "/*"]))), max_size=6, unique=True)


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


@hostile
@given(PATTERNS, PATHS)
def test_what_is_public_is_what_an_expression_for_each_pattern_says(patterns, path):
    assert Narrow(patterns).match(path) == any(re.match(narrow(each, patterns), path) for each in patterns)


@hostile
@given(PATTERNS, st.lists(PATHS, max_size=3))
def test_what_needs_scopes_is_what_an_expression_for_each_pattern_says(patterns, paths):
    expected = [
        pattern
        for pattern in patterns
        if any(
            re.match(wide(written), read, re.IGNORECASE)
            for written in cases(pattern)
            for path in paths
            for read in cases(path)
        )
    ]
    assert Wide(patterns).find(paths) == expected


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
