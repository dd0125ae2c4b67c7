"""How the server says no: Hydra's error codes, their statuses and their texts, as one table.

A refusal is Authlib's `OAuth2Error`. With a `redirect_uri` it goes to the client's callback; without, to
the client as JSON, or to the person as a page.
"""

from __future__ import annotations

from authlib.oauth2 import OAuth2Error

ERRORS: dict[str, tuple[int, str]] = {
    "invalid_request": (
        400,
        """The request is missing a required parameter, includes an invalid parameter value, includes a
        parameter more than once, or is otherwise malformed.""",
    ),
    "invalid_client": (
        401,
        """Client authentication failed (e.g., unknown client, no client authentication included, or
        unsupported authentication method).""",
    ),
    "invalid_grant": (
        400,
        """The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh
        token is invalid, expired, revoked, does not match the redirection URI used in the authorization
        request, or was issued to another client.""",
    ),
    "invalid_scope": (400, "The requested scope is invalid, unknown, or malformed."),
    "invalid_state": (400, "The state is missing or too short, and is therefore considered weak."),
    "insufficient_entropy": (
        400,
        "The request used a security parameter (e.g., anti-replay, anti-csrf) with insufficient entropy.",
    ),
    "unauthorized_client": (400, "The client is not authorized to request a token using this method."),
    "unsupported_grant_type": (400, "The authorization grant type is not supported by the authorization server."),
    "unsupported_response_type": (
        400,
        "The authorization server does not support obtaining a token using this method.",
    ),
    "access_denied": (403, "The resource owner or authorization server denied the request."),
    "login_required": (400, "The Authorization Server requires End-User authentication."),
    "consent_required": (400, "The Authorization Server requires End-User consent."),
    "request_forbidden": (403, "The request is not allowed."),
    "request_unauthorized": (401, "The request could not be authorized."),
    "invalid_token": (401, "The access token is expired, revoked, malformed, or unknown."),
    "server_error": (500, "The authorization server encountered an unexpected condition."),
}


def refusal(error: str, hint: str = "", *, redirect_uri: str | None = None) -> OAuth2Error:
    """The error `error`, with `hint` folded into its description as Hydra folds it.

    Characters that RFC 6749 (5.2) allows in no description are replaced.
    """
    status, text = ERRORS.get(error, (400, ""))
    description = " ".join(f"{text} {hint}".split()).replace('"', "'").replace("\\", "/")
    description = "".join(c if " " <= c <= "~" else "?" for c in description)
    return OAuth2Error(description, error=error, status_code=status, redirect_uri=redirect_uri)
