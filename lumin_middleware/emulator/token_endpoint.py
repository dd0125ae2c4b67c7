"""The token and revocation endpoints, checked in Hydra's order. No I/O: headers and parameters in, `Response` out."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from .authorization_request import LEAST_ENTROPY, Parameters
from .client_authentication import authenticate
from .grants import AuthorizationCode, Grant, Grants, Token
from .refusals import Refusal, refusal
from .registry import Client
from .tokens import TokenSigner

JSON = "application/json;charset=UTF-8"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
VERIFIER = re.compile("[A-Za-z0-9._~-]+")  # RFC 7636, 4.1

Form = Mapping[str, str]
Handler = Callable[[Form, Client], dict[str, Any]]


class TokenEndpoint:
    """`/oauth2/token` and `/oauth2/revoke`. `id_tokens` says whether answers hold an ID token."""

    def __init__(self, clients: Mapping[str, Client], state: Grants, signer: TokenSigner, *, id_tokens: bool) -> None:
        self.clients = clients
        self.state = state
        self.signer = signer
        self.id_tokens = id_tokens
        self._grant_types: dict[str, Handler] = {
            "authorization_code": self._redeem,
            "refresh_token": self._refresh,
            "client_credentials": self._client_credentials,
        }

    def token(self, headers: Mapping[str, str], given: Parameters) -> Response:
        """The answer to a token request (RFC 6749, 4.1.3, 5 and 6)."""
        try:
            form = _form(given)
            if not form.get("grant_type", "").split():
                raise refusal("invalid_request", "Request parameter 'grant_type' is missing")
            handler = self._grant_types.get(form["grant_type"].strip())
            if handler is None:  # to Hydra an unknown grant type is a request that nobody handles
                raise refusal("invalid_request")
            with self.state.lock:
                answer = handler(form, authenticate(headers, form, self.clients))
        except Refusal as refused:
            return refused_response(refused)
        return JSONResponse(answer, headers=NO_STORE, media_type=JSON)

    def revoke(self, headers: Mapping[str, str], given: Parameters) -> Response:
        """The answer to a revocation (RFC 7009). Either live token kills the grant; whatever else is named is 200
        all the same, and kills nothing: an unknown token, a foreign one, one that is spent or revoked, or none.
        """
        try:
            form = _form(given)
            with self.state.lock:
                client = authenticate(headers, form, self.clients)
                token = self.state.find_token(form.get("token", ""))
                if token and token.check_client(client) and not token.revoked and token.spent_at is None:
                    token.grant.revoke()
        except Refusal as refused:
            return refused_response(refused)
        return Response(headers=NO_STORE)

    # Redeeming a code (RFC 6749, 4.1.3; RFC 7636, 4.6)

    def _redeem(self, form: Form, client: Client) -> dict[str, Any]:
        _check_grant_type(client, "authorization_code")
        code = self._code(form, client)
        _check_proof(code, form.get("code_verifier", ""))
        grant = code.grant
        weak = grant.nonce is not None and len(grant.nonce) < LEAST_ENTROPY
        if "openid" in grant.scope and weak:
            hint = f"Parameter 'nonce' is set but does not satisfy the minimum entropy of {LEAST_ENTROPY} characters."
            raise refusal("insufficient_entropy", hint)
        code.used = True
        return self._tokens(grant, client)

    def _code(self, form: Form, client: Client) -> AuthorizationCode:
        """The code that this client may redeem. One that comes twice takes its grant with it (RFC 6749, 10.5)."""
        found = self.state.find_code(form.get("code", ""))
        if found is None:
            raise refusal("invalid_grant", "The authorization code is malformed or not valid.")
        if found.used:
            self.state.reused(found.grant)
            raise refusal("invalid_grant", "The authorization code has already been used.")
        if self.state.clock() >= found.expires_at or found.grant.revoked:
            raise refusal("invalid_grant", "The authorization code expired.")
        if found.grant.client_id != client.client_id:
            raise refusal("invalid_grant", "The OAuth 2.0 Client ID from this request does not match the code's.")
        if found.redirect_uri and found.redirect_uri != form.get("redirect_uri"):
            raise refusal("invalid_grant", "The 'redirect_uri' does not match the one from the authorize request.")
        return found

    # Refreshing (RFC 6749, 6)

    def _refresh(self, form: Form, client: Client) -> dict[str, Any]:
        _check_grant_type(client, "refresh_token")
        token = self._refresh_token(form, client)
        # Spending comes first: what it kills must not include the new tokens.
        self.state.spend(token)
        return self._tokens(token.grant, client)

    def _refresh_token(self, form: Form, client: Client) -> Token:
        """The token that this client may spend. One that comes twice takes its grant with it."""
        token = self.state.find_token(form.get("refresh_token", ""), "refresh_token")
        if token is None:
            raise refusal("invalid_grant", "The refresh token is malformed or not valid.")
        if self.state.is_reuse(token):
            self.state.reused(token.grant)
            raise refusal("invalid_grant", "The refresh token was already used.")
        if token.revoked:
            raise refusal("invalid_grant", "The refresh token is malformed or not valid.")
        if self.state.clock() >= token.expires_at:
            raise refusal("invalid_grant", "The refresh token expired.")
        if not token.check_client(client):
            raise refusal("invalid_grant", "The OAuth 2.0 Client ID from this request does not match the token's.")
        if lost := set(token.grant.scope) - set(client.scope.split()):
            raise refusal("invalid_scope", f"The OAuth 2.0 Client is not allowed to request scope '{min(lost)}'.")
        return token

    def _client_credentials(self, form: Form, client: Client) -> dict[str, Any]:
        """Nobody's tokens: Lumin gives none, and a client that is registered for them is refused as well."""
        raise refusal("unauthorized_client", "The OAuth 2.0 Client is not allowed to use 'client_credentials'.")

    def _tokens(self, grant: Grant, client: Client) -> dict[str, Any]:
        """The answer with new tokens (RFC 6749, 5.1). `scope` is whole, whatever was asked for."""
        offline = not {"offline", "offline_access"}.isdisjoint(grant.scope)
        offline = offline and client.check_grant_type("refresh_token")
        access_token, refresh_token = self.state.issue(grant, refreshable=offline, write=self.signer.access_token)
        answer: dict[str, Any] = {
            "access_token": access_token.value,
            "expires_in": int(access_token.expires_at - access_token.issued_at),
            "scope": " ".join(grant.scope),
            "token_type": "bearer",
        }
        if refresh_token:
            answer["refresh_token"] = refresh_token.value
        if self.id_tokens and "openid" in grant.scope:
            answer["id_token"] = self.signer.id_token(client, grant, access_token.value)
        return answer


def refused_response(refused: Refusal) -> Response:
    """An error as the client reads it (RFC 6749, 5.2)."""
    body = {"error": refused.error, "error_description": refused.description}
    return JSONResponse(body, refused.status, headers=NO_STORE, media_type=JSON)


def _form(given: Parameters) -> dict[str, str]:
    """The parameters, none of which may come twice (RFC 6749, 3.2). Raises `Refusal`."""
    if not given:
        raise refusal("invalid_request", "The POST body can not be empty.")
    twice = [name for name, count in Counter(name for name, _ in given).items() if count > 1]
    if twice:
        raise refusal("invalid_request", f"The parameter '{twice[0]}' was given more than once.")
    return dict(given)


def _check_grant_type(client: Client, grant_type: str) -> None:
    if not client.check_grant_type(grant_type):
        hint = f"The OAuth 2.0 Client is not allowed to use authorization grant '{grant_type}'."
        raise refusal("unauthorized_client", hint)


def _check_proof(code: AuthorizationCode, verifier: str) -> None:
    """Proof Key for Code Exchange (RFC 7636, 4.6). To Hydra every fault of the verifier is `invalid_grant`.

    Looking at the challenge uses it up: after one wrong verifier no other is right.
    """
    challenge, code.code_challenge = code.code_challenge, None
    if challenge is None:
        if not verifier:
            return
        raise refusal("invalid_grant", "Unable to find initial PKCE data tied to this request")
    if not 43 <= len(verifier) <= 128 or not VERIFIER.fullmatch(verifier):
        raise refusal("invalid_grant", "The PKCE code verifier must be 43 to 128 characters of [a-Z0-9-._~].")
    digest = hashlib.sha256(verifier.encode()).digest()
    if base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge:
        raise refusal("invalid_grant", "The PKCE code challenge did not match the code verifier.")
