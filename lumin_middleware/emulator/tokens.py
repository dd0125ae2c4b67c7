"""Signing keys, ID tokens and logout tokens (OpenID Connect Core 2; Back-Channel Logout 2.4)."""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeyParameters, KeySet, RSAKey

from .clock import Clock
from .grants import Grant
from .registry import Client

Key = RSAKey | ECKey
Forger = Callable[[dict[str, Any], dict[str, Any], Key], str]

ID_TOKEN_LIFETIME = 3600.0
BACKCHANNEL_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ALGORITHMS = ["RS256", "ES256"]


def _generate(alg: str) -> Key:
    parameters: KeyParameters = {"kid": str(uuid.uuid4()), "use": "sig", "alg": alg}
    if alg == "ES256":
        return ECKey.generate_key("P-256", parameters)
    return RSAKey.generate_key(2048, parameters)


class SigningKeys:
    """The server's keys, made when first needed. The newest of an algorithm signs; all are published."""

    def __init__(self) -> None:
        self._keys: list[Key] = []  # newest first
        self._lock = threading.RLock()

    def current(self, alg: str) -> Key:
        """The key that signs with `alg`."""
        with self._lock:
            for key in self._keys:
                if key.alg == alg:
                    return key
            return self._add(alg)

    def rotate(self, *, keep: bool = True) -> None:
        """A new key for every algorithm in use; the old ones stay published where `keep`."""
        with self._lock:
            algorithms = {str(key.alg) for key in self._keys} or {"RS256"}
            if not keep:
                self._keys.clear()
            for alg in sorted(algorithms):
                self._add(alg)

    def _add(self, alg: str) -> Key:
        key = _generate(alg)
        self._keys.insert(0, key)
        return key

    def key_set(self) -> KeySet:
        """Every published key (RFC 7517, 5)."""
        self.current("RS256")
        return KeySet(list(self._keys))


def _half_hash(value: str) -> str:
    """at_hash (OpenID Connect Core, 3.1.3.6)."""
    return urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).decode().rstrip("=")


class TokenSigner:
    """Writes ID tokens and logout tokens in the issuer's name, and reads its own ID tokens back.

    `forge`, where set, is given header, claims and key of each ID token, and returns what is sent instead.
    """

    def __init__(self, issuer: str, clock: Clock) -> None:
        self.issuer = issuer
        self.clock = clock
        self.keys = SigningKeys()
        self.forge: Forger | None = None

    def claims(self, grant: Grant) -> dict[str, Any]:
        """What is known about a grant and its person: the claims of userinfo."""
        skew = self.clock.skew
        return {
            "iss": self.issuer,
            "sub": grant.user.sub,
            "aud": [grant.client_id],
            "iat": int(self.clock.shown()),
            "rat": int(grant.requested_at + skew),
            "auth_time": int(grant.auth_time + skew),
            **grant.user.claims(),
        }

    def id_token(self, client: Client, grant: Grant, access_token: str) -> str:
        """An ID token with the claims, and the array as `aud`, that Hydra sends."""
        claims = self.claims(grant)
        claims |= {"exp": claims["iat"] + int(ID_TOKEN_LIFETIME), "sid": grant.sid, "jti": str(uuid.uuid4())}
        claims["at_hash"] = _half_hash(access_token)
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        return self._sign(claims, client.id_token_signed_response_alg, self.forge)

    def logout_token(self, client: Client, sid: str) -> str:
        """A logout token as Hydra writes it: with `sid`, without `sub` and `exp`."""
        claims = {
            "iss": self.issuer,
            "aud": [client.client_id],
            "iat": int(self.clock.shown()),
            "jti": secrets.token_urlsafe(16),
            "sid": sid,
            "events": {BACKCHANNEL_LOGOUT_EVENT: {}},
        }
        return self._sign(claims, "RS256", None)

    def _sign(self, claims: dict[str, Any], alg: str, forge: Forger | None) -> str:
        key = self.keys.current(alg)
        header = {"alg": alg, "kid": str(key.kid), "typ": "JWT"}
        return forge(header, claims, key) if forge else jwt.encode(header, claims, key, algorithms=[alg])

    def read(self, id_token: str) -> dict[str, Any] | None:
        """The claims of an ID token of ours, however old; None when it isn't one."""
        try:
            claims = jwt.decode(id_token, self.keys.key_set(), algorithms=ALGORITHMS).claims
        except (JoseError, ValueError):
            return None
        return claims if claims.get("iss") == self.issuer and "sid" in claims else None
