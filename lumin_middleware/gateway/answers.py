"""What the gateway says itself: that the service gives no answer, or that a request cannot be passed on."""

from __future__ import annotations

import secrets

from starlette.types import Scope

from ..config import LuminConfig
from ..errors import RequestRefused
from ..journal import say
from ..model import Response
from ..reasons import REASONS
from ..site import pages
from ..texts.en import KEYS
from .access_log import shown


class Answers:
    """The gateway's answers for one site."""

    def __init__(self, config: LuminConfig) -> None:
        self._pages = pages.Pages(config)
        self._home = config.app_url or config.after_login

    def trouble(self, error: Exception, scope: Scope, *, late: bool) -> Response:
        """The answer for an upstream that gives none: 504 when it is late, else 502 (RFC 9110, 15.6)."""
        status, reason = (504, "upstream_timeout") if late else (502, "upstream_unavailable")
        reference = pages.reference(secrets.token_hex(4))
        say(reason, path=shown(scope), error=repr(error), ref=reference)
        return self._told(scope, status, reason, REASONS[reason].title, REASONS[reason].person, reference)

    def refused(self, error: RequestRefused, scope: Scope) -> Response:
        """The answer to a request that cannot be passed on."""
        reference = pages.reference(secrets.token_hex(4))
        asked = {"method": scope.get("method"), "path": shown(scope), "status": error.status}
        say(error.reason, **asked, error=error, ref=reference)
        answer = self._told(scope, error.status, error.reason, "This request was refused", str(error), reference)
        if error.status != 403:  # nobody knows where in the bytes of its connection such a request ends
            answer.headers.append(("Connection", "close"))
        if error.status == 405:
            answer.headers.append(("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
        return answer

    def _told(self, scope: Scope, status: int, reason: str, title: str, text: str, reference: str) -> Response:
        if "text/html" not in pages.accepted(scope["headers"], b"accept").lower():
            return pages.problem(status, reason, title, reference=reference, detail=text)
        again = [("try_again", "")] if status >= 500 and scope.get("method") in ("GET", "HEAD") else []
        draft = pages.Draft(
            reason if f"{reason}.text" in KEYS else "bad_request",
            links=[*again, ("home", self._home)],
            reason=reason,
            reference=reference,
        )
        return self._pages.page(pages.accepted(scope["headers"], b"accept-language"), status, draft)
