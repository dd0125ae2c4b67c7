"""ID tokens, logout tokens and JWT access tokens (OpenID Connect Core 2; Back-Channel Logout 2.4)."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from .clock import Clock
from .grants import Grant
from .keys import Key, SigningKeys
from .registry import Client

Forger = Callable[[dict[str, Any], dict[str, Any], Key], str]

ID_TOKEN_LIFETIME = 3600.0
BACKCHANNEL_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def _half_hash(value: str) -> str:
    """at_hash (OpenID Connect Core, 3.1.3.6)."""
    return urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).decode().rstrip("=")


class TokenSigner:
    """Writes tokens in the issuer's name, and reads its own ID tokens back.

    `forge`, where set, is given header, claims and key of each ID token, and returns what is sent instead. With
    `jwt_access_tokens` access tokens are JWTs as well (Hydra's `strategies.access_token`).
    """

    def __init__(self, issuer: str, clock: Clock, *, jwt_access_tokens: bool = False) -> None:
        self.issuer = issuer
        self.clock = clock
        self.jwt_access_tokens = jwt_access_tokens
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
        key = self.keys.current(client.id_token_signed_response_alg)
        # Hydra names the key that was to sign when the person signed in, whichever signs: a session keeps its header.
        return self._sign(claims, key, grant.kid or str(key.kid), self.forge)

    def access_token(self, grant: Grant, begins: float, ends: float) -> str | None:
        """A JWT access token as Hydra writes it: `typ` is no other than an ID token's, and `aud` is empty."""
        if not self.jwt_access_tokens:
            return None
        skew = self.clock.skew
        claims = {
            "iss": self.issuer,
            "sub": grant.user.sub,
            "aud": [],
            "client_id": grant.client_id,
            "scp": list(grant.scope),
            "ext": {},
            "iat": int(begins + skew),
            "nbf": int(begins + skew),
            "exp": int(ends + skew),
            "jti": str(uuid.uuid4()),
        }
        key = self.keys.for_access_tokens()
        return self._sign(claims, key, str(key.kid))

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
        key = self.keys.current("RS256")
        return self._sign(claims, key, str(key.kid))

    def _sign(self, claims: dict[str, Any], key: Key, kid: str, forge: Forger | None = None) -> str:
        alg = str(key.alg)
        header = {"alg": alg, "kid": kid, "typ": "JWT"}
        return forge(header, claims, key) if forge else jwt.encode(header, claims, key, algorithms=[alg])

    def read(self, id_token: str) -> dict[str, Any] | None:
        """The claims of an ID token of ours, however old; None when it isn't one.

        Hydra looks at no `kid` here: a key that signs no longer has signed nothing.
        """
        for key in self.keys.signing():
            try:
                claims = jwt.decode(id_token, key, algorithms=[str(key.alg)]).claims
            except (JoseError, ValueError):
                continue
            return claims if claims.get("iss") == self.issuer and "sid" in claims else None
        return None
