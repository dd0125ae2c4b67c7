"""What only the operator can mend: settings that the authorization server, or a proxy before us, does not agree with.

The person learns that the site is not set up correctly; the log names the cause, once a minute for each.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import AuthorizationServerError, OAuthError
from ..journal import Seldom


class NotSetUp(AuthorizationServerError):
    """The server refuses the site, not the person."""

    def __init__(self, error: OAuthError) -> None:
        super().__init__(str(error), "not_set_up")
        self.error = error


class Alarm:
    """Tells the operator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._seldom = Seldom(clock)  # anybody can begin a sign-in that fails

    def refused(self, error: OAuthError, where: str) -> None:
        """The server refused the site at one of its endpoints."""
        self._seldom.say(error.error, where=where, error=error)

    def astray(self, path: str, expected: str) -> None:
        """An answer of the server came to another path than the callback's."""
        self._seldom.say("astray", path=path, expected=expected)
