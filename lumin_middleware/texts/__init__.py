"""In which words, and in whose language, do our pages speak?

There is a file for each language. A text has a key, and names in braces what stands for something else. What decides
passes keys; only here they become words. A site may add languages, and change texts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import Formatter

from ..errors import ConfigurationError
from . import de, en, es, fr, ja, vi

ENGLISH = "en"
"""What is spoken where nothing else is asked for, and where a text is missing."""

LANGUAGES: Mapping[str, Mapping[str, str]] = {
    ENGLISH: en.TEXTS,
    "de": de.TEXTS,
    "es": es.TEXTS,
    "fr": fr.TEXTS,
    "ja": ja.TEXTS,
    "vi": vi.TEXTS,
}
"""The texts of each language, by its BCP 47 tag."""

HEADER_LIMIT = 1000
"""Characters of an `Accept-Language` that are read: browsers send less than a hundred."""

RANGES_LIMIT = 32
"""Languages of it that are looked at: more than anybody speaks."""

_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,7}")

# RFC 9110, 12.4.2 and 12.5.4; of the weight's digits three count.
_RANGE = re.compile(
    r"(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


# --- a site's own ---------------------------------------------------------------------------------------


def table(own: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Ours and a site's own, each language whole: what it does not have stands in ours, or else in English.

    Raises `ConfigurationError` that names a language, a key or a placeholder that is wrong.
    """
    if not isinstance(own, Mapping):
        raise ConfigurationError("texts", "must map languages to texts, such as {'de': {'logout.title': 'Abmelden?'}}")
    found = dict(LANGUAGES)
    for language, texts in own.items():
        if not isinstance(language, str) or not _TAG.fullmatch(language):
            raise ConfigurationError("texts", f"{language!r} is no language tag, such as 'pt' or 'pt-BR'")
        if not isinstance(texts, Mapping):
            raise ConfigurationError("texts", f"{language!r} must map keys to texts")
        for key, text in texts.items():
            _check(f"{language}: {key!r}", key, text)
        base = LANGUAGES.get(language.partition("-")[0].lower(), {})
        found[language] = {**en.TEXTS, **base, **texts}
    return found


def _check(where: str, key: object, text: object) -> None:
    known = en.TEXTS.get(key) if isinstance(key, str) else None
    if known is None and not (isinstance(key, str) and key.startswith("scope.")):
        like = difflib.get_close_matches(str(key), en.TEXTS, 1)
        raise ConfigurationError("texts", f"{where} is no key" + (f"; do you mean {like[0]!r}?" if like else ""))
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError("texts", f"{where} must be a text")
    try:
        named = placeholders(text)
    except ValueError as error:
        raise ConfigurationError("texts", f"{where} has braces that do not match: {error}") from None
    if named - placeholders(known or ""):
        allowed = ", ".join(f"{{{name}}}" for name in sorted(placeholders(known or ""))) or "none"
        wrong = ", ".join(f"{{{name}}}" for name in sorted(named - placeholders(known or "")))
        raise ConfigurationError("texts", f"{where} names {wrong}; what it may name: {allowed}")


def placeholders(text: str) -> frozenset[str]:
    """What a text names in braces. Raises `ValueError` where they do not match, or hold more than a name."""
    named = set()
    for _, name, form, conversion in Formatter().parse(text):
        if form or conversion:
            raise ValueError("only a name may stand in braces")
        named.update([] if name is None else [name])
    return frozenset(named)


# --- whose words ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def preferred(accept_language: str, available: tuple[str, ...]) -> str:
    """The language to answer in (RFC 9110, 12.5.4), found by look-up (RFC 4647, 3.4): `de-CH` finds `de`, and `pt`
    finds `pt-BR`. English where nothing fits: somebody who reads none of ours is still told something.
    """
    weights = {tag.lower(): weight for tag, weight in _ranges(accept_language)}
    tags = {tag.lower(): tag for tag in available}
    refused = {tag for tag, weight in weights.items() if weight == 0}
    # Sorting keeps the order of equals, which is the order of what is liked.
    for wanted, weight in sorted(weights.items(), key=lambda item: -item[1]):
        if not weight:
            break
        for tag in _candidates(wanted, tags):
            if tag not in refused:
                return tags[tag]
    return ENGLISH


def _candidates(wanted: str, tags: Mapping[str, str]) -> Iterable[str]:
    """The languages that a range may mean, the likeliest first."""
    if wanted == "*":
        yield from (ENGLISH, *tags)
    parts = wanted.split("-")
    for length in range(len(parts), 0, -1):
        prefix = "-".join(parts[:length])
        if prefix in tags:
            yield prefix
    yield from (tag for tag in tags if tag.startswith(f"{wanted}-"))


def _ranges(accept_language: str) -> list[tuple[str, float]]:
    items = accept_language[:HEADER_LIMIT].split(",")[:RANGES_LIMIT]
    if len(accept_language) > HEADER_LIMIT:
        items = items[:-1]  # which may be cut off
    found = [match for item in items if (match := _RANGE.fullmatch(item.strip(" \t")))]
    return [(match[1], 1.0 if match[2] is None else float(match[2])) for match in found]


class Words:
    """The texts of one site."""

    def __init__(self, own: Mapping[str, Mapping[str, str]]) -> None:
        self._table = table(own)
        self._available = tuple(self._table)

    def language(self, accept_language: str) -> str:
        """The language of a request that says this."""
        return preferred(accept_language, self._available)

    def say(self, language: str, key: str, values: Mapping[str, str]) -> str:
        """A text in a language. A scope that has no words stands for itself."""
        texts = self._table[language]
        text = texts.get(en.KEYS.get(key, key))
        return key.removeprefix("scope.") if text is None else text.format_map(values)
