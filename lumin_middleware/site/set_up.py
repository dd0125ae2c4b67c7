"""What only the operator can mend: settings that the authorization server, or a proxy before us, does not agree with.

The person learns that the site is not set up correctly; the log names the cause, once a minute for each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import AuthorizationServerError, OAuthError

logger = logging.getLogger("lumin_middleware")

PAUSE = 60.0
"""Seconds between two lines about the same cause: anybody can begin a sign-in that fails."""

NOT_SET_UP = {
    "invalid_client": "client_id, client_secret or token_endpoint_auth_method is not what the server has on file; "
    "or its database is down, in which case it answers just so",
    "unauthorized_client": "the client may not use the authorization code grant or response type 'code'",
    "invalid_scope": "the client may not ask for one of the scopes in scope= or required_scopes=",
    "unsupported_response_type": "the client or the server does not know response type 'code'",
    "unsupported_response_mode": "the client or the server does not know the response mode",
    "unsupported_grant_type": "the client or the server does not know the authorization code grant",
    "invalid_request": "the server does not understand the request; its own words say why",
    "invalid_redirect_uri": "redirect_uri is not registered for this client",
    "invalid_target": "the client may not ask for this resource or audience",
    "request_not_supported": "the server does not take request objects",
    "request_uri_not_supported": "the server does not take request_uri",
    "insufficient_entropy": "the server wants a longer state or nonce",
    "invalid_state": "the server wants a longer state",
}
"""OAuth errors that are the site's fault, and what is wrong (RFC 6749, 4.1.2.1 and 5.2)."""


class NotSetUp(AuthorizationServerError):
    """The server refuses the site, not the person."""

    def __init__(self, error: OAuthError) -> None:
        super().__init__(str(error), "not_set_up")
        self.error = error


class Alarm:
    """Tells the operator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at: dict[str, float] = {}

    def refused(self, error: OAuthError, where: str) -> None:
        """The server refused the site at one of its endpoints."""
        cause = NOT_SET_UP.get(error.error, "see the server's own words")
        self._tell(error.error, "Nobody can sign in: the %s answered %r. Probable cause: %s", where, str(error), cause)

    def astray(self, path: str, expected: str) -> None:
        """An answer of the server came to another path than the callback's."""
        self._tell(
            "astray",
            "Nobody can sign in: an answer of the authorization server arrived at %r, but redirect_uri names %r. "
            "A proxy changes the path, or redirect_uri is not the address that browsers see",
            path,
            expected,
        )

    def _tell(self, cause: str, message: str, *words: str) -> None:
        now = self._clock()
        if not 0 <= now - self._told_at.get(cause, float("-inf")) < PAUSE:
            self._told_at[cause] = now
            logger.critical(message, *words)
