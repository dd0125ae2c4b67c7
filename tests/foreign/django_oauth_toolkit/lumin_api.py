"""As much of Lumin's API as shows whether an access token is alive, whose it is, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, JsonResponse
from oauth2_provider.oauth2_backends import get_oauthlib_core

View = Callable[[HttpRequest], JsonResponse]


def with_scope(scope: str, body: Callable[[Any], dict[str, object]]) -> View:
    """A view that answers `body(user)` to a live token which has `scope`."""

    def view(request: HttpRequest) -> JsonResponse:
        valid, verified = get_oauthlib_core().verify_request(request, scopes=[scope])
        if valid:
            return JsonResponse(body(verified.user))
        error = getattr(verified, "oauth2_error", {}).get("error", "invalid_token")
        refusal = {"error_code": error, "error_message": "The access token does not open this."}
        status = 403 if error == "insufficient_scope" else 401
        challenge = {"WWW-Authenticate": f'Bearer error="{error}"'}  # RFC 6750 section 3
        return JsonResponse(refusal, status=status, headers=challenge)

    return view


user_info = with_scope(
    "openid", lambda user: {"user": {"id": user.username, "email": user.email, "name": user.first_name}}
)
signature_requests = with_scope("sign:requests", lambda user: {"signature_requests": []})
