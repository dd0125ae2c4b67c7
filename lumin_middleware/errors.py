"""The tree of errors. Each says whose fault it is and which status it hints.

    LuminError
    ├── ConfigurationError            the operator's: a wrong setting, found at start
    ├── LoginRequired                 nobody is signed in                          401
    │   └── SessionEnded              somebody was, and no longer is               401
    ├── InsufficientScope             somebody is, but may not do this             403
    ├── NotConnected                  nobody has allowed this to be done for them  403
    ├── RequestRefused                the request's: it breaks a rule              400
    ├── Refused                       the site's, by `admit`: somebody stays out   403
    ├── ClientMisused                 the application's: the client's rules        500
    ├── AuthorizationServerError      the authorization server's                   502
    │   ├── OAuthError                it answered with an OAuth error              502
    │   └── ServerUnavailable         it gave no answer                            503
    └── StoreUnavailable              the store's                                  503

`status_hint` is what an HTTP server might answer; `reason` is a short fixed word for programs and
logs. No message ever holds a token, a secret, or a cookie.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any, ClassVar, Self


class LuminError(Exception):
    """The root of every error that this package raises."""

    status_hint: ClassVar[int] = 500
    reason: str = "error"

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the class with the sentence alone, which is not what most of ours take: a process that waits
        # for a worker's error would wait for ever.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConfigurationError(LuminError):
    """A setting is wrong. Raised where the setting is made, so that a wrong one never serves.

    `field` names the setting, `problem` says what is wrong and the cure. Where several are wrong, these are of the
    first, and `problems` holds all of them.
    """

    reason = "configuration"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.problem = message
        self.problems: tuple[tuple[str, str], ...] = ((field, message),)

    @classmethod
    def of(cls, problems: Iterable[tuple[str, str]]) -> Self:
        """One error for all that is wrong: each setting, and what is wrong with it."""
        found = tuple(problems)
        (field, problem), *others = found
        error = cls(field, "; ".join([problem, *(f"{name}: {what}" for name, what in others)]))
        error.problem, error.problems = problem, found
        return error


class LoginRequired(LuminError):
    """Nobody is signed in here."""

    status_hint = 401
    reason = "no_session"


class SessionEnded(LoginRequired):
    """The session is over: signed out, refused by the server, or past one of its limits."""

    def __init__(self, message: str, reason: str = "ended") -> None:
        super().__init__(message)
        self.reason = reason


class InsufficientScope(LuminError):
    """The session lacks a scope. `scope` holds what is missing, space-separated (RFC 6750, 3.1)."""

    status_hint = 403
    reason = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs the scope {scope!r}")
        self.scope = scope


class NotConnected(LuminError):
    """There is no grant of this person, or Lumin ended it. `url` is where the person can give one, signed in."""

    status_hint = 403
    reason = "not_connected"

    def __init__(self, message: str, url: str) -> None:
        super().__init__(f"{message}; connect at {url}")
        self.url = url


class RequestRefused(LuminError):
    """The request breaks a rule of the protocol or of ours; nothing was done."""

    status_hint = 400

    def __init__(self, reason: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


class Refused(LuminError):
    """`LuminConfig(admit=…)` raises it for somebody who may not come in; its sentence is shown to them."""

    status_hint = 403
    reason = "not_admitted"


class ClientMisused(LuminError):
    """The application used the client in a way that would leak a token, after its request, or where nobody is."""

    reason = "client_misused"


class AuthorizationServerError(LuminError):
    """The authorization server answered in a way that cannot be accepted."""

    status_hint = 502
    reason = "server_error"

    def __init__(self, message: str, reason: str = "server_error") -> None:
        super().__init__(message)
        self.reason = reason


class OAuthError(AuthorizationServerError):
    """An error response of the token or revocation endpoint (RFC 6749, 5.2).

    `error` and `error_description` are the wire's.
    """

    def __init__(self, error: str, error_description: str = "") -> None:
        super().__init__(f"{error}: {error_description}" if error_description else error, error)
        self.error = error
        self.error_description = error_description


class ServerUnavailable(AuthorizationServerError):
    """No answer: no connection, too late, broken off, a 5xx or 429.

    Whether the server acted on the request is unknown, unless `sent` is False: then nothing of it left this process.
    `retry_after` is in seconds; `said` is what of it the server's own `Retry-After` asked for, 0 for nothing.
    """

    status_hint = 503

    def __init__(self, message: str, *, retry_after: float = 30.0, said: float = 0.0, sent: bool = True) -> None:
        super().__init__(message, "server_unavailable")
        self.retry_after = max(retry_after, said)
        self.said = said
        self.sent = sent


class StoreUnavailable(LuminError):
    """The store gave no answer. Never means "not found"."""

    status_hint = 503
    reason = "store_unavailable"


ANSWERED = (LoginRequired, InsufficientScope, NotConnected, AuthorizationServerError, StoreUnavailable)
"""What an application may let through: the middleware answers it. The others are mistakes, and stay errors."""


def to_be_answered(error: BaseException | None) -> LuminError | None:
    """The error that the middleware answers, where an application lets this one through; None for what stays an error.

    Of a group (calls that were made at once, in a task group) it is the first, if there is nothing else in it.
    """
    if isinstance(error, ANSWERED):
        return error
    if isinstance(error, BaseExceptionGroup) and error.split(ANSWERED)[1] is None:
        return to_be_answered(error.exceptions[0])
    return None
