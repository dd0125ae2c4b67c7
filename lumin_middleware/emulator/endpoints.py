"""The endpoints that clients call: discovery, keys, token, revocation, userinfo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .authorization_request import Parameters
from .authorization_server import HydraServer, TokenRequest
from .grants import Token
from .refusals import refusal
from .sign_in import parameters


def metadata(issuer: str, base: str) -> dict[str, Any]:
    """The discovery document with the members that Hydra's has (OpenID Connect Discovery, 3).

    Like Hydra's it does not list the application's own scopes, and says `plain` where only S256 works.
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
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "scopes_supported": ["offline_access", "offline", "openid"],
        "claims_supported": ["sub"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "userinfo_signing_alg_values_supported": ["none"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "frontchannel_logout_supported": False,
        "frontchannel_logout_session_supported": False,
    }


def bearer_token(request: Request) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class ClientEndpoints:
    """What `HydraServer` decides, over HTTP."""

    def __init__(self, server: HydraServer, base: str) -> None:
        self.server = server
        self.metadata = metadata(server.signer.issuer, base)
        self.routes = [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/.well-known/oauth-authorization-server", self.discovery),
            Route("/.well-known/jwks.json", self.jwks),
            Route("/oauth2/token", self.token, methods=["POST"]),
            Route("/oauth2/revoke", self.revoke, methods=["POST"]),
            Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
        ]

    async def discovery(self, http: Request) -> Response:
        return JSONResponse(self.metadata)

    async def jwks(self, http: Request) -> Response:
        return JSONResponse(self.server.signer.keys.key_set().as_dict(private=False))

    async def token(self, http: Request) -> Response:
        return await self._form(http, self.server.create_token_response)

    async def revoke(self, http: Request) -> Response:
        return await self._form(http, lambda request: self.server.create_endpoint_response("revocation", request))

    async def _form(self, http: Request, answer: Callable[[TokenRequest], Response]) -> Response:
        """One form, answered as a whole before another is looked at. No parameter may come twice (RFC 6749, 3.2)."""
        given = await parameters(http)
        request = TokenRequest(http.method, http.headers, given)
        if hint := _malformed(given):
            return self.server.handle_error_response(request, refusal("invalid_request", hint))
        with self.server.state.lock:
            return answer(request)

    async def userinfo(self, http: Request) -> Response:
        """The claims about the token's person (OpenID Connect Core, 5.3)."""
        value = bearer_token(http)
        token = self.server.state.live_access_token(value) if value else None
        if token is None:
            return _unauthorized("invalid_token" if value else "request_unauthorized")
        return JSONResponse(self._claims(token))

    def _claims(self, token: Token) -> dict[str, Any]:
        claims = self.server.signer.claims(token.grant)
        return claims if "openid" in token.grant.scope else {"sub": claims["sub"]}


def _malformed(given: Parameters) -> str | None:
    if not given:
        return "The POST body can not be empty."
    twice = [name for name, count in Counter(name for name, _ in given).items() if count > 1]
    return f"The parameter '{twice[0]}' was given more than once." if twice else None


def _unauthorized(error: str) -> Response:
    refused = refusal(error)
    challenge = f'Bearer error="{error}",error_description="{refused.description}"'
    body = {"error": error, "error_description": refused.description}
    return JSONResponse(body, refused.status_code, headers={"WWW-Authenticate": challenge})
