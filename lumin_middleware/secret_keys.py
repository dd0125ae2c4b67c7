"""What a secret key must be: random bytes that nobody else has, and enough of them."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable

from .checks import kind, stowaway
from .errors import ConfigurationError

# At least six characters, and written as people write: a random key holds one by chance in some 500 million.
TELLTALE_WORDS = (
    *("secret", "password", "passphrase", "changeme", "change-me", "change_me", "example"),
    *("replace", "your-key", "your_key", "placeholder", "insecure", "default", "generate"),
    *("insert", "sample", "random", "xxxxxx"),
)

PUBLISHED = (b"8Zb0q1-lsk3IwTzX7mD5vUe9NcRfyGPhJa2LoQ4xWtM",)
"""Keys that look random and are in everybody's hands, because a README showed them."""

_SPELLINGS = [form.encode() for word in TELLTALE_WORDS for form in (word, word.upper(), word.title())]

# What makes a key weak: (test, what is wrong with it).
_WEAKNESSES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda key: key in PUBLISHED, "is the one of an example, which everybody knows"),
    (lambda key: key.isascii() and bool(stowaway(key.decode())), "holds white space or control characters"),
    (lambda key: key.startswith(codecs.BOM_UTF8) and key[3:].isascii(), "begins with a byte order mark"),
    (lambda key: len(key) < 32, "is shorter than 32 bytes"),
    (lambda key: len(set(key)) < 10, "has too few different characters"),
    (lambda key: (key + key).find(key, 1) < len(key), "repeats itself"),
    (
        lambda key: sum(abs(a - b) <= 1 for a, b in itertools.pairwise(key)) * 2 > len(key),
        "is a sequence",
    ),
    (lambda key: any(word in key for word in _SPELLINGS), "is a placeholder"),
    (lambda key: key.isascii() and b" " in key, "is words, not random"),
)


def secret_keys(value: object) -> tuple[bytes, ...]:
    keys = value if isinstance(value, list | tuple) else [value]
    if not keys or keys == [""]:
        raise ConfigurationError("secret_key", "is missing; make one with 'lumin-middleware secret'")
    checked = []
    for position, key in enumerate(keys):
        if not isinstance(key, str | bytes):
            what = f"must be text or bytes, or a list of them with the newest first, and is {kind(key)}"
            raise ConfigurationError("secret_key", what)
        if isinstance(key, str) and key.encode(errors="replace").decode() != key:
            raise ConfigurationError("secret_key", "holds half a character; make one with 'lumin-middleware secret'")
        raw = key.encode() if isinstance(key, str) else bytes(key)
        for weak, wrong in _WEAKNESSES:
            if weak(raw):
                which = f"key {position + 1} of {len(keys)}" if len(keys) > 1 else "the key"
                raise ConfigurationError("secret_key", f"{which} {wrong}; make one with 'lumin-middleware secret'")
        checked.append(raw)
    return tuple(checked)
