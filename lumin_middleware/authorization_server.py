"""An authorization server as a value: its endpoints, in the words of its metadata. Asks nobody anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from . import checks
from .errors import ConfigurationError

_ENDPOINT = re.compile(r"/(?:oauth2/(?:auth|token|revoke|sessions/logout)|\.well-known/[a-z.-]+)\Z")
"""How an address of Hydra's ends that is not its base."""


REQUESTED = (
    *("response_type", "client_id", "redirect_uri", "scope", "state"),
    *("nonce", "code_challenge", "code_challenge_method"),
)
"""What is added to an authorization endpoint (RFC 6749, 4.1.1; RFC 7636, 4.3; OpenID Connect Core 1.0, 3.1.2.1)."""


@dataclass(frozen=True, kw_only=True)
class AuthorizationServer:
    """An OAuth 2.0 authorization server, in the words of its metadata (RFC 8414, section 2).

    A field that is given always wins over discovery. With `discovery` the missing ones are read from
    `<issuer>/.well-known/openid-configuration`, lazily and only after its `issuer` was compared. With a `base` that is
    the `issuer`, nobody has said what the issuer is: where a token names another one, the document at the base decides.
    """

    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    jwks_uri: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False  # RFC 9207, section 3
    discovery: bool = False
    base: str | None = None

    ENDPOINTS = (
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "revocation_endpoint",
        "end_session_endpoint",
    )

    def __post_init__(self) -> None:
        checks.url("server.issuer", self.issuer)
        for name in ("authorization_response_iss_parameter_supported", "discovery"):
            checks.boolean(f"server.{name}", getattr(self, name))
        if self.base is not None:
            checks.url("server.base", self.base)
        for name in self.ENDPOINTS:
            if (endpoint := getattr(self, name)) is not None:
                parts = checks.url(f"server.{name}", endpoint, query=True)
                if name == "authorization_endpoint":
                    checks.query(f"server.{name}", parts.query, REQUESTED)
        if not self.discovery and not (self.authorization_endpoint and self.token_endpoint):
            raise ConfigurationError(
                "server",
                "needs authorization_endpoint and token_endpoint; or use AuthorizationServer.at(…) or .discover(…)",
            )

    @property
    def learns_issuer(self) -> bool:
        """Whether the issuer is not known but presumed: it is the base as long as no token says otherwise."""
        return self.base is not None and self.issuer == self.base

    @classmethod
    def at(cls, base: str, issuer: str | None = None) -> Self:
        """An Ory Hydra at `base`: every endpoint at Hydra's path, no discovery.

        Without an `issuer` it is `base`, unless the server's tokens and the document at the base name the same other
        one: a Hydra behind a domain of its own may. An issuer that is given is the only one.
        """
        checks.url("server", base)
        base = base.rstrip("/")
        if found := _ENDPOINT.search(base):
            raise ConfigurationError(
                "server", f"{base!r} is one endpoint of the server; give its base, {base[: found.start()]!r}"
            )
        return cls(
            issuer=issuer or base,
            base=None if issuer else base,
            authorization_endpoint=f"{base}/oauth2/auth",
            token_endpoint=f"{base}/oauth2/token",
            jwks_uri=f"{base}/.well-known/jwks.json",
            revocation_endpoint=f"{base}/oauth2/revoke",
            end_session_endpoint=f"{base}/oauth2/sessions/logout",
        )

    @classmethod
    def discover(cls, issuer: str) -> Self:
        """The server that `issuer` describes (OpenID Connect Discovery 1.0, section 4); read when first needed."""
        return cls(issuer=issuer, discovery=True)


LUMIN = AuthorizationServer.at("https://auth.luminpdf.com")
"""Lumin's authorization server."""
