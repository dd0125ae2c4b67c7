"""Sealing: what leaves the process is encrypted, signed, and good for one purpose only.

AES-256-GCM inside, itsdangerous' `TimestampSigner` outside. Every purpose has keys of its own (HKDF), and
its name is authenticated data as well, so that a login can never be read as a session. Any key of
the list opens; the first, newest, seals. Whatever cannot be opened is `None`: there is one answer for every
way in which a value can be bad.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import TimestampSigner, want_bytes

from ..errors import StoreUnavailable

VERSION = b"\x02"
"""The format of what is inside. Version N also reads N-1."""

VERSIONS = (VERSION, b"\x01")
"""What is read. In version 1 the values of a session had names."""

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: random, 96 bits

SIGNATURE_LENGTH = 43
"""Characters at the end of a sealed value: 32 bytes."""


class Unsealed(NamedTuple):
    """What was inside, when it was sealed (epoch seconds, whole), and whether by the newest key."""

    data: bytes
    sealed_at: int
    newest_key: bool

    def __repr__(self) -> str:
        return f"Unsealed(…, sealed_at={self.sealed_at}, newest_key={self.newest_key})"


class _Signer(TimestampSigner):
    """`TimestampSigner` on our clock, reading the time as a number."""

    def __init__(self, keys: list[bytes], salt: bytes, clock: Callable[[], float]) -> None:
        super().__init__(keys, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        self._clock = clock
        # Each begun once: what is signed or read is then hashed by a copy, which spares the setting up.
        self._newest_first = [HMAC(self.derive_key(key), SHA256()) for key in reversed(self.secret_keys)]

    def get_timestamp(self) -> int:
        return int(self._clock())

    def get_signature(self, value: str | bytes) -> bytes:
        return _signature(self._newest_first[0], want_bytes(value))

    def unsign_at(self, value: bytes) -> tuple[bytes, int, int] | None:
        """What was signed, when, and by which key; None with another signature.

        Each request that is new here waits for this, so that it does in a few calls into C what the class does in
        twenty lines of Python. The signature is compared as it is written: its last character has two bits to spare,
        and one signature would have four spellings.
        """
        signed, given = value[: -SIGNATURE_LENGTH - 1], value[-SIGNATURE_LENGTH - 1 :]
        for position, begun in enumerate(self._newest_first):
            if compare_digest(b"." + _signature(begun, signed), given):
                data, _, timestamp = signed.rpartition(b".")
                return data, int.from_bytes(_decoded(timestamp), "big"), position
        return None


def _signature(begun: HMAC, signed: bytes) -> bytes:
    mac = begun.copy()
    mac.update(signed)
    return urlsafe_b64encode(mac.finalize())[:SIGNATURE_LENGTH]


class Sealer:
    """Seals and opens the values of one purpose."""

    def __init__(self, keys: Sequence[bytes], purpose: str, clock: Callable[[], float]) -> None:
        self._purpose = purpose.encode()
        self._keys = [_derive(key, f"lumin seal {purpose}") for key in keys]
        self._ciphers = [AESGCM(key) for key in self._keys]
        # itsdangerous signs with the last key of its list and reads from the last to the first.
        signing = [_derive(key, f"lumin sign {purpose}") for key in reversed(keys)]
        self._signer = _Signer(signing, purpose.encode(), clock)

    def seal(self, data: bytes, handle: str = "") -> str:
        """Text that is safe in a cookie. With a `handle`, whoever opens it must have the handle too."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(0, handle).encrypt(nonce, data, VERSION + self._purpose)
        return self._signer.sign(urlsafe_b64encode(VERSION + nonce + sealed).rstrip(b"=")).decode()

    def unseal(self, value: bytes, handle: str = "") -> Unsealed | None:
        """What `seal` was given, or None."""
        try:
            signed = self._signer.unsign_at(value)
            if signed is None:
                return None
            data, sealed_at, position = signed
            raw = _decoded(data)
            version, nonce, sealed = raw[:1], raw[1 : 1 + NONCE_BYTES], raw[1 + NONCE_BYTES :]
            if version not in VERSIONS:
                return None
            data = self._cipher(position, handle).decrypt(nonce, sealed, version + self._purpose)
            return Unsealed(data, sealed_at, position == 0)
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, position: int, handle: str) -> AESGCM:
        if not handle:
            return self._ciphers[position]
        return AESGCM(hmac.digest(self._keys[position], handle.encode("utf-8", "surrogatepass"), "sha256"))


class KeyMissing(StoreUnavailable):
    """What is to be changed, or to be known whole, was sealed with a key that is not in `secret_key`.

    Nobody here can read it, and it is there all the same: a process that has the key goes by it. So it is taken for
    nothing only by whoever just looks, and never written over.
    """

    def __init__(self, what: str, lost: str) -> None:
        cure = "give every process all keys that are in use, the newest first"
        super().__init__(f"{what} was sealed with a key that is not in secret_key: {cure}; if it is lost, {lost}")


def sealed_at(value: bytes) -> int:
    """When a value says that it was sealed, in epoch seconds; 0 where it does not. Without its key nobody vouches for
    that, but the store, of which whoever can write there can as well take it away.
    """
    try:
        return int.from_bytes(_decoded(value[: -SIGNATURE_LENGTH - 1].rpartition(b".")[2]), "big")
    except ValueError:
        return 0


def _decoded(text: bytes) -> bytes:
    """Base64 in the alphabet for URLs, without padding (RFC 4648, 5). Raises `ValueError`."""
    return a2b_base64(text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4))


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(key)
