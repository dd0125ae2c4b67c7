"""The keys that the emulator signs with: two of 4096 bits, as Hydra has them, one for each kind of token.

RSA keys of that length take seconds to make, so that a few lie ready in keys.json. They are no secret, and guard
nothing: what an emulator has of its own are their names. Each is loaded when it is first needed.
"""

from __future__ import annotations

import functools
import json
import threading
import uuid
from importlib.resources import files
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
)
from joserfc.jwk import ECKey, KeyParameters, KeySet, RSAKey
from joserfc.util import urlsafe_b64decode

Key = RSAKey | ECKey

BITS = 4096


@functools.cache
def _ready_made() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(files(__package__).joinpath("keys.json").read_text())["keys"]
    return found


@functools.cache
def _rsa(number: int) -> RSAPrivateKey:
    """The RSA key of this number; those that keys.json lacks are made. Checking one takes as long as it is long, and
    these were checked when they were made.
    """
    if number >= len(_ready_made()):
        return generate_private_key(65537, BITS)
    found = {name: _integer(value) for name, value in _ready_made()[number].items() if name != "kty"}
    public = RSAPublicNumbers(found["e"], found["n"])
    p, q, d, dp, dq, qi = (found[name] for name in ("p", "q", "d", "dp", "dq", "qi"))
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key(unsafe_skip_rsa_key_validation=True)


def _integer(value: str) -> int:
    return int.from_bytes(urlsafe_b64decode(value.encode()))


class SigningKeys:
    """The keys of one server. The newest of an algorithm signs ID tokens; another signs JWT access tokens."""

    def __init__(self) -> None:
        self._id_tokens: list[Key] = []  # newest first
        self._access_tokens: Key | None = None
        self._made = 0
        self._lock = threading.RLock()

    def current(self, alg: str) -> Key:
        """The key that signs ID tokens with `alg`."""
        with self._lock:
            return next((key for key in self._id_tokens if key.alg == alg), None) or self._add(alg)

    def signing(self) -> list[Key]:
        """The keys that sign ID tokens now, one for each algorithm in use."""
        with self._lock:
            return [self.current(alg) for alg in sorted({str(key.alg) for key in self._id_tokens})]

    def kid(self, alg: str) -> str:
        """The name of that key."""
        return str(self.current(alg).kid)

    def for_access_tokens(self) -> Key:
        """The key that signs JWT access tokens."""
        with self._lock:
            if self._access_tokens is None:
                self._access_tokens = self._make("RS256")
            return self._access_tokens

    def rotate(self, *, keep: bool = True) -> None:
        """A new key for every algorithm in use; the old ones stay published where `keep`."""
        with self._lock:
            algorithms = {str(key.alg) for key in self._id_tokens} or {"RS256"}
            self.key_set()  # as somebody may have fetched it, before
            if not keep:
                self._id_tokens.clear()
            for alg in sorted(algorithms):
                self._add(alg)

    def key_set(self) -> KeySet:
        """Every published key (RFC 7517, 5)."""
        with self._lock:
            self.current("RS256")
            return KeySet([*self._id_tokens, self.for_access_tokens()])

    def _add(self, alg: str) -> Key:
        key = self._make(alg)
        self._id_tokens.insert(0, key)
        return key

    def _make(self, alg: str) -> Key:
        parameters: KeyParameters = {"kid": str(uuid.uuid4()), "use": "sig", "alg": alg}
        if alg == "ES256":
            return ECKey.generate_key("P-256", parameters)
        private: Any = _rsa(self._made)
        self._made += 1
        return RSAKey(private, private, parameters)
