"""The endpoints that clients call: discovery, keys, token, revocation, userinfo."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .http import parameters
from .races import RACE, Races
from .token_endpoint import TokenEndpoint

NEVER_STORED = {"Cache-Control": "private, no-cache, no-store, must-revalidate"}
JSON = "application/json; charset=utf-8"
UNAUTHORIZED = "The request could not be authorized. Check that the access token is in the Authorization header."
ONLY_ACCESS_TOKENS = "Only access tokens are allowed in the authorization header."


def metadata(issuer: str, base: str) -> dict[str, Any]:
    """The discovery document with the members that Hydra's has (OpenID Connect Discovery, 3).

    Like Hydra's it does not list the application's own scopes, says `plain` where only S256 works, and names methods
    and response types that the client at hand may not use.
    """
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{base}/oauth2/auth",
        "token_endpoint": f"{base}/oauth2/token",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "userinfo_endpoint": f"{base}/userinfo",
        "revocation_endpoint": f"{base}/oauth2/revoke",
        "end_session_endpoint": f"{base}/oauth2/sessions/logout",
        "subject_types_supported": ["public"],
        "response_types_supported": RESPONSE_TYPES,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": ["authorization_code", "implicit", "client_credentials", "refresh_token"],
        "scopes_supported": ["offline_access", "offline", "openid"],
        "claims_supported": ["sub"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_post",
            "client_secret_basic",
            "private_key_jwt",
            "none",
        ],
        "id_token_signing_alg_values_supported": ["RS256"],
        "id_token_signed_response_alg": ["RS256"],
        "userinfo_signing_alg_values_supported": ["none", "RS256"],
        "userinfo_signed_response_alg": ["RS256"],
        "request_object_signing_alg_values_supported": ["none", "RS256", "ES256"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
        "claims_parameter_supported": False,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
        "credentials_endpoint_draft_00": f"{base}/credentials",
        "credentials_supported_draft_00": [CREDENTIAL],
    }


RESPONSE_TYPES = ["code", "code id_token", "id_token", "token id_token", "token", "token id_token code"]
CREDENTIAL = {
    "format": "jwt_vc_json",
    "types": ["VerifiableCredential", "UserInfoCredential"],
    "cryptographic_binding_methods_supported": ["jwk"],
    "cryptographic_suites_supported": [
        *("PS256", "RS256", "ES256", "PS384", "RS384", "ES384", "PS512", "RS512", "ES512", "EdDSA")
    ],
}


def bearer_token(request: Request) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class ClientEndpoints:
    """What `TokenEndpoint` decides, over HTTP, and what is public."""

    def __init__(self, endpoint: TokenEndpoint, base: str) -> None:
        self.endpoint = endpoint
        self.races = Races(endpoint)
        self.metadata = metadata(endpoint.signer.issuer, base)
        self.routes = [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/.well-known/jwks.json", self.jwks),
            Route("/oauth2/token", self.token, methods=["POST"]),
            Route("/oauth2/revoke", self.revoke, methods=["POST"]),
            Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
        ]

    async def discovery(self, http: Request) -> Response:
        return JSONResponse(self.metadata, headers=NEVER_STORED, media_type=JSON)

    async def jwks(self, http: Request) -> Response:
        keys = self.endpoint.signer.keys.key_set().as_dict(private=False)
        return JSONResponse(keys, headers=NEVER_STORED, media_type=JSON)

    async def token(self, http: Request) -> Response:
        given = await parameters(http)
        if RACE in http.scope:
            return await self.races.answer(http.headers, given)
        return self.endpoint.token(http.headers, given)

    async def revoke(self, http: Request) -> Response:
        return self.endpoint.revoke(http.headers, await parameters(http))

    async def userinfo(self, http: Request) -> Response:
        """The claims about the token's person, whatever its scope (OpenID Connect Core, 5.3)."""
        state = self.endpoint.state
        value = bearer_token(http) or dict(await parameters(http)).get("access_token", "")
        token = state.live_access_token(value)
        if token is not None:
            claims = self.endpoint.signer.claims(token.grant)
            return JSONResponse(claims, headers=NEVER_STORED, media_type=JSON)
        refresh_token = state.find_token(value, "refresh_token")
        if refresh_token and not refresh_token.revoked:
            return _unauthorized("invalid_token", ONLY_ACCESS_TOKENS, body_error="error")
        return _unauthorized("request_unauthorized", UNAUTHORIZED)


def _unauthorized(error: str, description: str, *, body_error: str | None = None) -> Response:
    challenge = f'Bearer error="{error}",error_description="{description}"'
    body = {"error": body_error or error, "error_description": description}
    return JSONResponse(body, 401, headers={"WWW-Authenticate": challenge, **NEVER_STORED})
