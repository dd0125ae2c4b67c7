"""Who signed a token: a JWS taken apart, and held against the keys that the server publishes.

One algorithm is believed, the one that the settings name (RFC 8725, 3.1). A header chooses among the server's keys, and
nothing else; what it recommends besides is not looked at. Nothing here knows what a claim means.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ..errors import AuthorizationServerError
from .documents import json_object, present

Key = RSAKey | ECKey | OKPKey

TOKEN_LIMIT = 65_536
"""Characters of a token. Hydra's ID tokens have about 1,000; with three hundred groups they have some 20,000."""

_KEY_CLASSES: dict[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class UnknownKey(AuthorizationServerError):
    """No key of the server that we know made this signature."""


class BadSignature(UnknownKey):
    """The key that the token names did not make it, unless it was replaced under its own name."""


def bad_token(message: str) -> AuthorizationServerError:
    return AuthorizationServerError(f"the token {message}", "bad_id_token")


# --- keys -----------------------------------------------------------------------------------------------


def json_web_keys(document: object) -> list[Key]:
    """The signature keys of a JWK Set (RFC 7517, section 5). Unknown kinds are passed over, as it asks."""
    found = document.get("keys") if isinstance(document, dict) else None
    keys: list[Key] = []
    for item in found if isinstance(found, list) else []:
        if not isinstance(item, dict) or item.get("use", "sig") != "sig":
            continue
        if key_class := _KEY_CLASSES.get(str(item.get("kty"))):
            try:
                keys.append(key_class.import_key(item))
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    return keys


def successors(kid: object, keys: Sequence[Key], former: Sequence[Key]) -> list[Key]:
    """The keys that were published after that one: those that are not among the `former`, if it was."""
    if not any(key.get("kid") == kid for key in former):
        return []
    known = {key.thumbprint() for key in former}
    return [key for key in keys if key.thumbprint() not in known]


class _Registry(jws.JWSRegistry):
    """Of the one algorithm that the settings name, without a warning for each token about what the server chose.

    Hydra signs by an Ed25519 key as `EdDSA`, a name that RFC 9864 deprecates.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._model = self.algorithms[algorithm]

    def get_alg(self, name: str) -> Any:
        return self._model


# --- tokens ---------------------------------------------------------------------------------------------


class SignedToken(NamedTuple):
    """A JWS in its compact form (RFC 7515, 7.1) with claims in it. Nothing says yet who signed it."""

    header: Mapping[str, Any]
    claims: dict[str, Any]
    compact: jws.CompactSignature

    def __repr__(self) -> str:
        return f"SignedToken(header={self.header!r}, …)"


def signed_token(token: str) -> SignedToken:
    """Takes a token apart. Raises `AuthorizationServerError` for what is none, or is none that we read."""
    if len(token) > TOKEN_LIMIT:
        raise bad_token(f"has a size of {len(token)} characters, and the limit is {TOKEN_LIMIT}")
    if token.count(".") != 2:  # five parts would be a JWE, which we never asked for
        raise bad_token("is not a signed token, which has three parts")
    try:
        compact = jws.extract_compact(token.encode())
        header = json_object(urlsafe_b64decode(compact.segments["header"] + b"=="))
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise bad_token("is malformed") from None
    if header is None:
        raise bad_token("has a header that is no JSON object, or that contradicts itself")
    # `crit` asks for an extension that we lack, `b64` changes what was signed (RFC 7515, 4.1.11; RFC 7797).
    if "crit" in header or "b64" in header:
        raise bad_token("needs an extension (crit, b64)")
    claims = json_object(compact.payload)
    if claims is None:
        raise bad_token("has claims that are no JSON object, or that contradict each other")
    return SignedToken(header, claims, compact)


def require_signature(token: SignedToken, keys: Sequence[Key], algorithm: str, *, others: Sequence[Key] = ()) -> None:
    """Raises `UnknownKey` unless one of these keys made the signature, with this algorithm.

    `kid` names the key (RFC 7515, 4.1.4). The `others` may have made it whatever they are called: for them `kid` is but
    the hint which one to try first.
    """
    if token.header.get("alg") != algorithm:
        raise bad_token(
            f"is signed with {str(token.header.get('alg'))[:20]!r}, not {algorithm!r}; "
            "set id_token_signed_response_alg if that is right"
        )
    kid = token.header.get("kid")
    named = [key for key in keys if not present(kid) or key.get("kid") == kid]
    candidates = [key for key in (*named, *others) if _is_for(key, algorithm)]
    registry = _Registry(algorithm)
    if not any(_is_by(token, key, registry) for key in candidates):
        where = "(the server's keys are at its jwks_uri)"
        if candidates:
            raise BadSignature(f"the token has a signature that is not the server's {where}", "bad_id_token")
        raise UnknownKey(f"the token names a key that is not published {where}", "bad_id_token")


def _is_for(key: Key, algorithm: str) -> bool:
    return key.key_type == _KEY_TYPES[algorithm[:2]] and (key.get("alg") or algorithm) == algorithm


def _is_by(token: SignedToken, key: Key, registry: jws.JWSRegistry) -> bool:
    try:
        return jws.validate_compact(token.compact, key, registry=registry)
    except (JoseError, ValueError, TypeError, KeyError):  # a key of another curve or size is no fault of the token's
        return False
