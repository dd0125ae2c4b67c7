"""How the server says no: Hydra's error codes, their statuses and their texts, as one table.

Where a `Refusal` goes depends on who can be told: as JSON to the client, as a redirect to its callback, or as a
page to the person.
"""

from __future__ import annotations

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
    "unsupported_response_type": (
        400,
        "The authorization server does not support obtaining a token using this method.",
    ),
    "unsupported_response_mode": (400, "The authorization server does not support this response mode."),
    "registration_not_supported": (400, "The server does not support the parameter 'registration'."),
    "access_denied": (403, "The resource owner or authorization server denied the request."),
    "login_required": (400, "The Authorization Server requires End-User authentication."),
    "consent_required": (400, "The Authorization Server requires End-User consent."),
    "request_forbidden": (403, "The request is not allowed."),
    "request_unauthorized": (401, "The request could not be authorized."),
    "server_error": (500, "The authorization server encountered an unexpected condition."),
}


class Refusal(Exception):
    """The error code, what is said about it, and the status of an answer that says so."""

    def __init__(self, error: str, description: str, status: int) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


def refusal(error: str, hint: str = "") -> Refusal:
    """The error `error`, with `hint` folded into its description as Hydra folds it.

    Characters that RFC 6749 (5.2) allows in no description are replaced.
    """
    status, text = ERRORS.get(error, (400, ""))
    description = " ".join(f"{text} {hint}".split()).replace('"', "'").replace("\\", "/")
    description = "".join(c if " " <= c <= "~" else "?" for c in description)
    return Refusal(error, description, status)
