"""The token and revocation endpoints: Authlib's server, made as strict as Hydra.

Authlib decides what a token request must hold and in which order it is checked; what is overridden here
is where Hydra differs. It is synchronous and does no I/O: `TokenRequest` in, Starlette `Response` out.
(Authlib has no type hints, hence the `type: ignore` on each of its classes.)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from authlib.oauth2 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidRequestError, grants
from authlib.oauth2.rfc6749.requests import OAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from .authorization_request import LEAST_ENTROPY, Parameters
from .grants import AuthorizationCode, Grant, Grants, Token
from .refusals import refusal
from .registry import Client
from .tokens import TokenSigner

JSON = "application/json;charset=UTF-8"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class _Form(OAuth2Payload):  # type: ignore[misc]
    def __init__(self, parameters: Parameters) -> None:
        self._data = dict(parameters)

    @property
    def data(self) -> dict[str, str]:
        return self._data


class TokenRequest(OAuth2Request):  # type: ignore[misc]
    """A form POST to one of the endpoints, as Authlib wants it."""

    def __init__(self, method: str, headers: Headers, parameters: Parameters) -> None:
        # Authlib refuses plain http; this server is for local use, and nothing reads the URI.
        super().__init__(method, "https://emulator.invalid/", headers=headers)
        self.payload = _Form(parameters)

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Client id and secret of a Basic header, each form-urldecoded (RFC 6749, 2.3.1); None without one."""
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    if re.search("%(?![0-9A-Fa-f]{2})", client_id + secret):
        raise refusal(
            "invalid_request",
            "The client id or secret in the HTTP authorization header could not be decoded from "
            "'application/x-www-form-urlencoded'.",
        )
    return unquote_plus(client_id), unquote_plus(secret)


class HydraServer(AuthorizationServer):  # type: ignore[misc]
    """Authlib's authorization server over our state. `id_tokens` says whether answers hold an ID token."""

    def __init__(self, clients: Mapping[str, Client], state: Grants, signer: TokenSigner, *, id_tokens: bool) -> None:
        super().__init__()
        self.clients = clients
        self.state = state
        self.signer = signer
        self.id_tokens = id_tokens
        self.register_grant(CodeGrant, [ProofKey(required=True)])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)
        self.register_token_generator("default", self._tokens)

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def authenticate_client(self, request: TokenRequest, methods: Sequence[str], endpoint: str = "token") -> Client:
        """The client, if it used exactly its registered method and nothing besides (RFC 6749, 2.3)."""
        form = request.form
        basic = basic_credentials(request.headers)
        client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
        used = {"client_secret_basic"} if basic else set()
        used |= {"client_secret_post"} if form.get("client_secret") else set()
        client = self.query_client(client_id)
        if client is None:
            raise refusal("invalid_client", "The requested OAuth 2.0 Client does not exist.")
        registered = client.token_endpoint_auth_method
        if (used or {"none"}) != {registered}:
            wrong = min((used or {"none"}) - {registered})
            raise refusal(
                "invalid_client",
                f"The OAuth 2.0 Client supports client authentication method '{registered}', but method '{wrong}' was "
                "requested. You must configure the OAuth 2.0 client's 'token_endpoint_auth_method' value to accept it.",
            )
        if not client.check_client_secret(secret):
            raise refusal("invalid_client", "The provided client secret is wrong.")
        request.auth_method = registered
        return client

    def save_token(self, token: dict[str, Any], request: TokenRequest) -> None:
        """`Grants` saved the tokens when it issued them."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: TokenRequest) -> TokenRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: object) -> Response:
        """Every answer with Hydra's headers; an empty body stays empty (RFC 7009, 2.2)."""
        if not body:
            return Response(status_code=status, headers=NO_STORE)
        return JSONResponse(body, status, headers=NO_STORE, media_type=JSON)

    def handle_error_response(self, request: TokenRequest, error: OAuth2Error) -> Response:
        """Authlib's own errors in Hydra's words."""
        told = error if type(error) is OAuth2Error else refusal(error.error, error.get_error_description())
        response: Response = super().handle_error_response(request, told)
        return response

    def _tokens(self, *, user: Grant, client: Client, include_refresh_token: bool, **_: object) -> dict[str, Any]:
        offline = include_refresh_token and not {"offline", "offline_access"}.isdisjoint(user.scope)
        access_token, refresh_token = self.state.issue(user, refreshable=offline)
        answer: dict[str, Any] = {
            "access_token": access_token.value,
            "expires_in": int(access_token.expires_at - access_token.issued_at),
        }
        if self.id_tokens and "openid" in user.scope:
            answer["id_token"] = self.signer.id_token(client, user, access_token.value)
        if refresh_token:
            answer["refresh_token"] = refresh_token.value
        return answer | {"scope": " ".join(user.scope), "token_type": "bearer"}


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    """Redeeming a code (RFC 6749, 4.1.3). A code that comes twice takes its grant with it (10.5)."""

    @property
    def state(self) -> Grants:
        return self.server.state  # type: ignore[no-any-return]

    def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode:
        found = self.state.find_code(code)
        if found is None:
            raise refusal("invalid_grant", "The authorization code is malformed or not valid.")
        if found.used:
            self.state.reused(found.grant)
            raise refusal("invalid_grant", "The authorization code has already been used.")
        if self.state.clock() >= found.expires_at or found.grant.revoked:
            raise refusal("invalid_grant", "The authorization code expired.")
        if found.grant.client_id != client.client_id:
            raise refusal("invalid_grant", "The OAuth 2.0 Client ID from this request does not match the code's.")
        return found

    def authenticate_user(self, authorization_code: AuthorizationCode) -> Grant:
        """The grant. Everything was checked by now, so the code is spent before anything else can fail."""
        authorization_code.used = True
        grant = authorization_code.grant
        if "openid" in grant.scope and grant.nonce is not None and len(grant.nonce) < LEAST_ENTROPY:
            hint = f"Parameter 'nonce' is set but does not satisfy the minimum entropy of {LEAST_ENTROPY} characters."
            raise refusal("insufficient_entropy", hint)
        return grant

    def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
        """It stays, marked as used: a second use must be recognised."""


class ProofKey(CodeChallenge):  # type: ignore[misc]
    """PKCE (RFC 7636). To Hydra every fault of the verifier is `invalid_grant`."""

    def validate_code_verifier(self, grant: CodeGrant, result: object) -> None:
        try:
            super().validate_code_verifier(grant, result)
        except InvalidRequestError as error:
            raise refusal("invalid_grant", error.description) from None


class RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    """Refreshing (RFC 6749, 6). Tokens rotate; one that comes twice takes its grant with it."""

    INCLUDE_NEW_REFRESH_TOKEN = True

    @property
    def state(self) -> Grants:
        return self.server.state  # type: ignore[no-any-return]

    def authenticate_refresh_token(self, refresh_token: str) -> Token:
        token = self.state.find_token(refresh_token, "refresh_token")
        if token is None:
            raise refusal("invalid_grant", "The refresh token is malformed or not valid.")
        if self.state.is_reuse(token):
            self.state.reused(token.grant)
            raise refusal("invalid_grant", "The refresh token was already used.")
        if token.revoked:
            raise refusal("invalid_grant", "The refresh token is malformed or not valid.")
        if self.state.clock() >= token.expires_at:
            raise refusal("invalid_grant", "The refresh token expired.")
        client = self.request.client
        if not token.check_client(client):
            raise refusal("invalid_grant", "The OAuth 2.0 Client ID from this request does not match the token's.")
        if lost := set(token.grant.scope) - set(client.scope.split()):
            raise refusal("invalid_scope", f"The OAuth 2.0 Client is not allowed to request scope '{min(lost)}'.")
        return token

    def _validate_token_scope(self, token: Token) -> None:
        """Hydra reads no `scope` here: what was granted comes back, whole."""

    def authenticate_user(self, refresh_token: Token) -> Grant:
        return refresh_token.grant

    def issue_token(self, user: Grant, refresh_token: Token) -> dict[str, Any]:
        """Spend the old one first: what spending kills must not include the new ones."""
        self.state.spend(refresh_token)
        return self.generate_token(user=user, include_refresh_token=True)  # type: ignore[no-any-return]

    def revoke_old_credential(self, refresh_token: Token) -> None:
        """`issue_token` has done it."""


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """Revocation (RFC 7009). Either token kills the grant; an unknown or foreign one is 200 all the same."""

    def authenticate_token(self, request: TokenRequest, client: Client) -> Token | None:
        if not request.form.get("token"):
            raise refusal("invalid_request", "Request parameter 'token' is missing.")
        token: Token | None = self.server.state.find_token(request.form["token"])
        return token if token and token.check_client(client) else None

    def revoke_token(self, token: Token, request: TokenRequest) -> None:
        token.grant.revoke()
