"""Who somebody is: an ID token, or the API's user info, to claims.

An ID token is verified in full, signature included, with the one algorithm that the settings name; its
header chooses among the server's keys and nothing else. What cannot be verified is an error, never a guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError, ServerUnavailable
from ..ports import Answer
from .oauth import same_issuer

Key = RSAKey | ECKey | OKPKey

TOLERANCE = 60
"""Seconds by which the server's clock may differ from ours."""

RENEWED_TOLERANCE = 300
"""The same for the ID token of a refresh: a clock that drifts must not sign anybody out."""

ID_TOKEN_LIMIT = 16_384
"""Characters of an ID token; Hydra's have about 1,000. More is not looked at."""

CLAIMS_LIMIT = 2048
"""Bytes of JSON that the kept claims may have."""

_KEY_CLASSES: dict[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class UnknownKey(AuthorizationServerError):
    """No key of the server that we know made this signature."""


def bad_id_token(message: str) -> AuthorizationServerError:
    return AuthorizationServerError(f"the ID token {message}", "bad_id_token")


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


# --- the ID token ---------------------------------------------------------------------------------------


def id_token_claims(
    id_token: str,
    keys: Sequence[Key],
    config: LuminConfig,
    server: AuthorizationServer,
    *,
    now: float,
    access_token: str,
    nonce: str | None = None,
    tolerance: int = TOLERANCE,
) -> dict[str, Any]:
    """OpenID Connect Core 1.0, 3.1.3.7: the claims of an ID token that is this server's, for us, now.

    With `nonce` the token must hold it (a login); without, it is not asked for (a refresh, 12.2). Raises
    `UnknownKey` when other keys might help, `AuthorizationServerError` otherwise.
    """
    claims = _signed_claims(id_token, keys, config.id_token_signed_response_alg)
    _check_claims(claims, config, server, int(now), tolerance, sub={"essential": True}, exp={"essential": True})
    if not _is_subject(claims["sub"]):
        raise bad_id_token("names nobody, or has a name that cannot be kept (sub)")
    if nonce is not None and not _equal(claims.get("nonce"), nonce):
        raise bad_id_token("is for another login (nonce)")
    if "at_hash" in claims and not _equal(
        claims["at_hash"], _at_hash(access_token, config.id_token_signed_response_alg)
    ):
        raise bad_id_token("is for another access token (at_hash)")
    return claims


LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

LOGOUT_TOKEN_AGE = 300
"""Seconds after which a logout token is stale; Hydra sends it within 30."""


def logout_token_claims(
    logout_token: str, keys: Sequence[Key], config: LuminConfig, server: AuthorizationServer, *, now: float
) -> dict[str, Any]:
    """OpenID Connect Back-Channel Logout 1.0, 2.6: the claims of a logout token that is this server's, for us, now.

    Raises as `id_token_claims`. Whether its `jti` was seen before is the caller's to know.
    """
    claims = _signed_claims(logout_token, keys, config.id_token_signed_response_alg)
    _check_claims(claims, config, server, int(now), TOLERANCE, jti={"essential": True})
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise bad_id_token("is no logout token (events)")
    if "nonce" in claims:  # what tells an ID token that somebody passes off as a logout token
        raise bad_id_token("is no logout token (nonce)")
    named = [claims[name] for name in ("sub", "sid") if name in claims]
    if not named or not all(isinstance(value, str) and value for value in named):
        raise bad_id_token("names neither a person nor a session (sub, sid)")
    if now - claims["iat"] > LOGOUT_TOKEN_AGE + TOLERANCE:
        raise bad_id_token("is too old (iat)")
    return claims


def _signed_claims(token: str, keys: Sequence[Key], algorithm: str) -> dict[str, Any]:
    try:
        claims = json.loads(_verified(token, keys, algorithm))
    except (ValueError, RecursionError):
        raise bad_id_token("is not JSON") from None
    if not isinstance(claims, dict):
        raise bad_id_token("is not a JSON object")
    return claims


def _verified(id_token: str, keys: Sequence[Key], algorithm: str) -> bytes:
    if (
        len(id_token) > ID_TOKEN_LIMIT or id_token.count(".") != 2
    ):  # five parts would be a JWE, which we never asked for
        raise bad_id_token("is not a signed token of a sane size")
    try:
        token = jws.extract_compact(id_token.encode())
        header = token.headers()
        # `crit` asks for an extension that we lack, `b64` changes what was signed (RFC 7515, 4.1.11; RFC 7797).
        if header.get("alg") != algorithm or "crit" in header or "b64" in header:
            raise bad_id_token(f"is not signed with {algorithm}, or needs an extension")
        candidates = _candidates(keys, algorithm, header.get("kid"))
        if any(_is_by(token, key, algorithm) for key in candidates):
            return token.payload
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise bad_id_token("is malformed") from None
    if candidates:
        raise bad_id_token("has a signature that is not the server's")
    raise UnknownKey("the ID token names a key that the server does not publish", "bad_id_token")


def _is_by(token: jws.CompactSignature, key: Key, algorithm: str) -> bool:
    try:
        return jws.validate_compact(token, key, [algorithm])
    except (JoseError, ValueError):  # a key of another curve or size, which is no fault of the token's
        return False


def _candidates(keys: Sequence[Key], algorithm: str, kid: object) -> list[Key]:
    fitting = [
        key for key in keys if key.key_type == _KEY_TYPES[algorithm[:2]] and (key.get("alg") or algorithm) == algorithm
    ]
    return fitting if kid is None else [key for key in fitting if key.get("kid") == kid]


def _check_claims(
    claims: dict[str, Any],
    config: LuminConfig,
    server: AuthorizationServer,
    now: int,
    tolerance: int,
    **options: ClaimsOption,
) -> None:
    """What both kinds of token have in common; `options` are what one kind must have besides."""
    if not same_issuer(claims.get("iss"), server.issuer):
        raise bad_id_token(
            f"is from issuer {str(claims.get('iss'))[:200]!r}, not {server.issuer!r}; set server.issuer if that's right"
        )
    options |= {"aud": {"essential": True, "value": config.client_id}, "iat": {"essential": True}}
    try:
        JWTClaimsRegistry(now=now, leeway=tolerance, **options).validate(claims)
    except (JoseError, OverflowError) as error:
        raise bad_id_token(
            f"has a claim that is missing or wrong ({getattr(error, 'claim', None) or type(error).__name__})"
        ) from None
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", None if len(audience) > 1 else config.client_id) != config.client_id:
        raise bad_id_token("was issued to another client (azp)")


def _is_subject(value: object) -> bool:
    # At most 255 characters (OpenID Connect Core 1.0, 2), and text: sessions are compared and listed by it.
    return isinstance(value, str) and 0 < len(value) <= 255 and value.encode("utf-8", "replace").decode() == value


def _equal(seen: object, expected: str) -> bool:
    return isinstance(seen, str) and hmac.compare_digest(seen.encode("utf-8", "surrogatepass"), expected.encode())


def _at_hash(access_token: str, algorithm: str) -> str:
    # The hash is the signature's (OpenID Connect Core 1.0, 3.1.3.6); Ed25519 uses SHA-512.
    digest = hashlib.new(f"sha{algorithm[2:] if algorithm[2:].isdigit() else '512'}", access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


# --- the API's user info --------------------------------------------------------------------------------


def user_info_claims(answer: Answer) -> dict[str, Any] | None:
    """The claims that Lumin's `GET /user/info` gives: `{"user": {"id", "email", "name"}}`.

    None when the API refuses (4xx). Raises `ServerUnavailable` or `AuthorizationServerError` otherwise.
    """
    if 400 <= answer.status < 500 and answer.status != 429:
        return None
    if answer.status != 200:
        raise ServerUnavailable(f"the API's user/info answered {answer.status}")
    try:
        document = json.loads(answer.body) if answer.media_type == "application/json" else None
    except (ValueError, RecursionError):
        document = None
    user = document.get("user") if isinstance(document, dict) else None
    if not isinstance(user, dict) or not _is_subject(user.get("id")):
        raise AuthorizationServerError("the API's user/info is not a user", "bad_user_info")
    claims = {"sub": user["id"], "email": user.get("email"), "name": user.get("name")}
    return {name: value for name, value in claims.items() if isinstance(value, str)}


# --- what a session keeps -------------------------------------------------------------------------------


def kept_claims(claims: Mapping[str, Any], config: LuminConfig) -> dict[str, Any]:
    """The claims that the settings name, in their order, as long as they fit; before them what we go by."""
    kept: dict[str, Any] = {}
    for name in ("iss", "sub", "sid", *config.claims):
        if name in claims and _size({**kept, name: claims[name]}) <= CLAIMS_LIMIT:
            kept[name] = claims[name]
    return kept


def _size(claims: Mapping[str, Any]) -> int:
    return len(json.dumps(claims, ensure_ascii=False).encode("utf-8", "surrogatepass"))
