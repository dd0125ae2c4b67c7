"""What becomes of an authorization request, without HTTP: a code, or an error, and where that goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .authorization_request import (
    AuthorizationRequest,
    Destination,
    Parameters,
    Refused,
    authorization_request,
    callback,
)
from .grants import Grant, Grants
from .refusals import Refusal, refusal
from .registry import Client, Workspace
from .sign_ins import SignIn
from .tokens import TokenSigner


@dataclass(frozen=True)
class Answer:
    """Where the browser goes, and what it posts there; None where it is redirected (OAuth 2.0 Form Post Response
    Mode).
    """

    location: str
    form: Mapping[str, str] | None = None


class Authorizations:
    """Checks, grants and refuses. `clients` and `workspaces` may change while it runs."""

    def __init__(
        self, clients: Mapping[str, Client], workspaces: Mapping[str, Workspace], grants: Grants, signer: TokenSigner
    ) -> None:
        self.clients = clients
        self.workspaces = workspaces
        self.grants = grants
        self.signer = signer

    def check(self, given: Parameters) -> AuthorizationRequest:
        """The checked request. Raises `Refused`."""
        return authorization_request(given, self.clients)

    def check_hint(self, request: AuthorizationRequest, sub: str | None) -> None:
        """That `id_token_hint` is an ID token of ours, and of this person where there is one. Raises `Refused`."""
        hint = request.parameters.get("id_token_hint")
        if not hint:
            return
        claims = self.signer.read(hint)
        if claims is None:
            raise self.refused(request, "invalid_request", "The id_token_hint could not be decoded.")
        if sub not in (None, claims.get("sub")):
            raise self.refused(request, "login_required", "The id_token_hint is of another person.")

    def refused(self, request: AuthorizationRequest, error: str, hint: str = "") -> Refused:
        """An error that the request's callback is told of."""
        return Refused(refusal(error, hint), request.destination)

    def approve(
        self,
        request: AuthorizationRequest,
        sign_in: SignIn,
        scope: tuple[str, ...],
        requested_at: float,
        workspace_id: str | None = None,
    ) -> Answer:
        """Grant `scope` in one workspace of the person's, and issue a code (RFC 6749, 4.1.2)."""
        grant = Grant(
            client_id=request.client.client_id,
            user=sign_in.user,
            scope=scope,
            sid=sign_in.sid,
            auth_time=sign_in.auth_time,
            requested_at=requested_at,
            nonce=request.nonce,
            kid=self.signer.keys.kid(request.client.id_token_signed_response_alg),
            workspace_id=self._workspace(sign_in, workspace_id),
        )
        with self.grants.lock:
            code = self.grants.authorize(
                grant,
                redirect_uri=request.redirect_uri if request.redirect_uri_given else None,
                code_challenge=request.code_challenge,
            )
        parameters = {"code": code.value, "scope": " ".join(scope), "state": request.destination.state}
        return self._answer(request.destination, parameters)

    def _workspace(self, sign_in: SignIn, chosen: str | None) -> str:
        mine = [each.id for each in self.workspaces.values() if sign_in.user.sub in each.members]
        return chosen if chosen in mine else next(iter(mine), "")

    def error(self, refused: Refusal, destination: Destination) -> Answer:
        """How the callback is told (RFC 6749, 4.1.2.1). `state` is always there, if need be empty, as with Hydra."""
        parameters = {"error": refused.error, "error_description": refused.description, "state": destination.state}
        return self._answer(destination, parameters)

    def _answer(self, destination: Destination, parameters: Mapping[str, str]) -> Answer:
        if destination.response_mode == "form_post":
            return Answer(destination.redirect_uri, parameters)
        fragment = destination.response_mode == "fragment"
        return Answer(callback(destination.redirect_uri, parameters, fragment=fragment))
