"""Who somebody is: an ID token, or a logout token, to claims.

A token is verified in full. What it says is looked at first and its signature last, so that nobody's made-up token has
the server asked for keys; nothing of it is believed before both are right. What cannot be verified is an error, never a
guess. One kind of token is never taken for another (RFC 8725, 3.11), though one server signs them all.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError
from ..model import Session
from .claims import is_subject, kept_claims, named_before
from .documents import present
from .oauth import same_issuer
from .signatures import Key, SignedToken, bad_token, require_signature, signed_token, successors

TOLERANCE = 60
"""Seconds by which the server's clock may differ from ours."""

RENEWED_TOLERANCE = 300
"""The same for the ID token of a refresh, which brings news and decides nothing: a clock that drifts loses none."""

ID_TOKEN_AGE = 1800
"""Seconds since an ID token was written, at a login: it holds the login's nonce, and no login takes longer."""

LOGOUT_TOKEN_AGE = 300
"""Seconds after which a logout token is stale; Hydra sends it within 30."""

DATE_LIMIT = 253_402_300_800
"""The first second that is no date: the year 10000 (RFC 3339, 1). What is later is a mistake or a trick."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class AnotherIdentity(AuthorizationServerError):
    """The token names another person, issuer, audience or sign-in; whoever signed it, it is not for us."""


class AnotherIssuer(AnotherIdentity):
    """The token names `issuer`, which is not the server's as we know it."""

    def __init__(self, issuer: object, expected: str) -> None:
        shown = str(issuer)[:200]
        super().__init__(
            f"the token is from issuer {shown!r}, not {expected!r}; set server.issuer if that's right", "bad_id_token"
        )
        self.issuer = issuer


def _another(message: str) -> AnotherIdentity:
    return AnotherIdentity(f"the token {message}", "bad_id_token")


# --- the ID token ---------------------------------------------------------------------------------------


def id_token_claims(
    id_token: str,
    keys: Sequence[Key],
    config: LuminConfig,
    server: AuthorizationServer,
    *,
    now: float,
    access_token: str,
    nonce: str,
    former: Sequence[Key] = (),
) -> dict[str, Any]:
    """OpenID Connect Core 1.0, 3.1.3.7: the claims of an ID token that is this server's, for us, for this login, now.

    The key that it names signed it; or, if that is one of the `former` keys, one that was published since: Hydra writes
    the name with the code, and signs when the code is redeemed. Raises `AnotherIssuer`, and `UnknownKey` when other
    keys might help; `AuthorizationServerError` otherwise.
    """
    token = signed_token(id_token)
    _require_names(token.claims, config, server)
    if not _equal(token.claims.get("nonce"), nonce):
        raise _another("is for another login (nonce)")
    _require_id_token(token, access_token, config)
    _require_dates(token.claims, now, TOLERANCE, required=("exp", "iat"), age=ID_TOKEN_AGE)
    others = successors(token.header.get("kid"), keys, former)
    require_signature(token, keys, config.id_token_signed_response_alg, others=others)
    return token.claims


def refreshed_claims(
    id_token: str,
    keys: Sequence[Key],
    config: LuminConfig,
    server: AuthorizationServer,
    *,
    now: float,
    access_token: str,
    before: Session,
) -> dict[str, Any]:
    """OpenID Connect Core 1.0, 12.2: the claims that a session has after a refresh that brought an ID token.

    Its names must be those that the session has, its nonce, if it has one, that of the sign-in. `kid` is a hint: Hydra
    goes on to name the key of the sign-in when it signs with a newer one. Raises as `id_token_claims`, and
    `AnotherIdentity` when the tokens are not this session's.
    """
    token = signed_token(id_token)
    claims = token.claims
    _require_names(claims, config, server)
    is_the_servers = "iss" in before.claims  # else the identity came from the API, whose ids need not be the server's
    if is_the_servers and claims["sub"] != before.claims.get("sub"):
        raise _another("is another person's (sub)")
    nonce = claims.get("nonce")
    if before.nonce is not None and present(nonce) and not _equal(nonce_digest(nonce), before.nonce):
        raise _another("is of another login (nonce)")
    _require_id_token(token, access_token, config)
    _require_dates(claims, now, RENEWED_TOLERANCE, required=("exp", "iat"))
    require_signature(token, keys, config.id_token_signed_response_alg, others=keys)
    if not is_the_servers:
        return dict(before.claims)
    if callable(config.admit):
        claims = named_before(claims, before.claims)
    known = dict(before.claims)
    if present(claims.get("email")):
        known.pop("email_verified", None)  # which was said of the address before
    return kept_claims({**known, **claims}, config, also=known)


def nonce_digest(nonce: object) -> str:
    """What a session keeps of its sign-in's nonce: enough to know it again."""
    digest = hashlib.sha256(str(nonce).encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _require_id_token(token: SignedToken, access_token: str, config: LuminConfig) -> None:
    claims = token.claims
    _require_type(token, "jwt")
    if present(claims.get("jti")) and not isinstance(claims["jti"], str):
        raise bad_token("has a name of its own that is no text (jti)")
    if "events" in claims:
        raise bad_token("is no ID token, but tells of an event (events)")
    # An access token (RFC 9068, 2.2; Hydra's `scp`) holds no nonce and no hash of itself. An ID token that holds one
    # of these may say whatever else the server likes to say of somebody.
    if not {"nonce", "at_hash"} & claims.keys() and (found := {"client_id", "scope", "scp"} & claims.keys()):
        raise bad_token(f"is no ID token, but an access token ({', '.join(sorted(found))})")
    if "at_hash" in claims and not any(
        _equal(claims["at_hash"], half) for half in _at_hashes(access_token, config.id_token_signed_response_alg)
    ):
        raise bad_token("is for another access token (at_hash)")


def _at_hashes(access_token: str, algorithm: str) -> set[str]:
    """What `at_hash` may be: half of the hash that the signature has (OpenID Connect Core 1.0, 3.1.3.6), which for
    Ed25519 is SHA-512; or half of SHA-256, which is Hydra's for every algorithm."""
    size = algorithm[2:] if algorithm[2:].isdigit() else "512"
    digests = [hashlib.new(name, access_token.encode()).digest() for name in ("sha256", f"sha{size}")]
    return {urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode() for digest in digests}


# --- the logout token -----------------------------------------------------------------------------------


def logout_token_claims(
    logout_token: str, keys: Sequence[Key], config: LuminConfig, server: AuthorizationServer, *, now: float
) -> dict[str, Any]:
    """OpenID Connect Back-Channel Logout 1.0, 2.6: the claims of a logout token that is this server's, for us, now.

    There is a `sub`, a `sid`, or both, as text that is not empty, and nothing empty beside it. A token without `exp`,
    as Hydra writes them, is judged by `iat` alone: it is fresh for five minutes. Raises as `id_token_claims`. Whether
    its `jti` was seen before is the caller's to know.
    """
    token = signed_token(logout_token)
    claims = {name: value for name, value in token.claims.items() if name not in ("sub", "sid") or present(value)}
    _require_type(token, "jwt", "logout+jwt")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise bad_token("is no logout token (events)")
    if "nonce" in claims:  # what tells an ID token that somebody passes off as a logout token
        raise bad_token("is no logout token (nonce)")
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise bad_token("has no name of its own (jti)")
    named = [claims[name] for name in ("sub", "sid") if name in claims]
    if not named or not all(isinstance(value, str) for value in named):
        raise bad_token("names neither a person nor a session (sub, sid)")
    _require_dates(claims, now, TOLERANCE, required=("iat",), age=LOGOUT_TOKEN_AGE)
    _require_audience(claims, config)
    _require_issuer(claims, server)
    require_signature(token, keys, config.id_token_signed_response_alg)
    return claims


# --- what both have in common ---------------------------------------------------------------------------


def _require_names(claims: Mapping[str, Any], config: LuminConfig, server: AuthorizationServer) -> None:
    _require_issuer(claims, server)
    _require_audience(claims, config)
    if not is_subject(claims.get("sub")):
        raise _another("names nobody, or has a name that cannot be kept (sub)")


def _require_issuer(claims: Mapping[str, Any], server: AuthorizationServer) -> None:
    if not same_issuer(claims.get("iss"), server.issuer):
        raise AnotherIssuer(claims.get("iss"), server.issuer)


def _require_audience(claims: Mapping[str, Any], config: LuminConfig) -> None:
    """OpenID Connect Core 1.0, 3.1.3.7 (3 to 5)."""
    found = claims.get("aud")
    audience = found if isinstance(found, list) else [found]
    if config.client_id not in audience:
        raise _another(f"is not for this client (aud): seen {str(found)[:200]!r}, expected {config.client_id!r}")
    if not all(one == config.client_id or one in config.trusted_audiences for one in audience):
        seen = str(found)[:200]
        raise _another(f"is for others, too (aud): seen {seen!r}; name them in trusted_audiences if that is right")
    if (party := claims.get("azp", None if len(audience) > 1 else config.client_id)) != config.client_id:
        seen = str(party)[:200]
        raise _another(f"was issued to another client (azp): seen {seen!r}, expected {config.client_id!r}")


def _require_type(token: SignedToken, *types: str) -> None:
    """RFC 8725, 3.11: of this kind where it says which; most servers say `JWT`, which is any kind, or nothing."""
    typ = token.header.get("typ")
    if not present(typ):
        return
    written = typ.lower().removeprefix("application/") if isinstance(typ, str) else ""  # RFC 7515, 4.1.9
    if written not in types:
        raise bad_token(f"is of another kind (typ {str(typ)[:40]!r})")


def _require_dates(
    claims: Mapping[str, Any], now: float, tolerance: float, *, required: Sequence[str], age: float | None = None
) -> None:
    """RFC 7519, 4.1.4 to 4.1.6. With `age` it must have been written no more than that many seconds ago."""
    dates = {name: claims[name] for name in ("exp", "iat") if claims.get(name) is not None}
    dates |= {name: claims[name] for name in ("nbf", "auth_time") if _is_given(claims.get(name))}
    for name in required:
        if name not in dates:
            raise bad_token(f"does not say when ({name})")
    for name, date in dates.items():
        if isinstance(date, bool) or not isinstance(date, int | float) or not 0 < date < DATE_LIMIT:
            raise bad_token(f"has something in {name} that is no date")
    clock = f"by this machine's clock ({int(now)}); compare it with the server's"
    if "exp" in dates and dates["exp"] + tolerance <= now:
        raise bad_token(f"expired {now - dates['exp']:.0f} s ago {clock} (exp)")
    for name in ("iat", "nbf", "auth_time"):
        if name in dates and dates[name] - tolerance > now:
            raise bad_token(f"is of a time that is {dates[name] - now:.0f} s ahead {clock} ({name})")
    if age is not None and dates["iat"] + age + tolerance < now:
        raise bad_token(f"was written {now - dates['iat']:.0f} s ago, and is too old, {clock} (iat)")


def authenticated_at(claims: Mapping[str, Any]) -> float:
    """When the person proved to the server who they are, in epoch seconds; where it does not say, when it told of it
    (OpenID Connect Core 1.0, 2).
    """
    return float(claims["auth_time"] if _is_given(claims.get("auth_time")) else claims["iat"])


def _is_given(date: object) -> bool:
    """Whether a date that may be missing is there. Some servers write nothing as an empty text, as 0 or the year 1."""
    return date not in (None, "") and (not isinstance(date, int | float) or isinstance(date, bool) or not date <= 0)


def _equal(seen: object, expected: str) -> bool:
    return isinstance(seen, str) and hmac.compare_digest(seen.encode("utf-8", "surrogatepass"), expected.encode())
