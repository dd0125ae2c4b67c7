"""What the tests say to this server and ask of it, beside the protocol.

    POST /oauth2/register          RFC 7591 metadata; the package's own endpoint takes too few fields
    GET  /control/token-requests   [[client_id, grant_type, outcome, count], …]

An outcome is `success`, an OAuth error, `reused` (a refresh token that was superseded or revoked;
the package does not remember which, nor codes that were used), or `server_error`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from django.apps import apps
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

ACCESS_TOKEN_LIFETIME = int(os.environ.get("ACCESS_TOKEN_LIFETIME", "3600"))

lifetimes: dict[str, int] = {}  # by client_id, in seconds
counts: Counter[tuple[str, str, str]] = Counter()


def lifetime_of(request: Any) -> int:
    """The lifetime of the access token that answers oauthlib's `request`."""
    return lifetimes.get(request.client.client_id, ACCESS_TOKEN_LIFETIME)


@csrf_exempt  # type: ignore[untyped-decorator]  # Django has no types
def register(request: HttpRequest) -> JsonResponse:
    """A new confidential client. The package lets each authenticate in either way."""
    from oauth2_provider.generators import generate_client_secret

    metadata = json.loads(request.body)
    if "backchannel_logout_uri" in metadata:
        description = "There is no back-channel logout here."
        error = {"error": "invalid_client_metadata", "error_description": description}
        return JsonResponse(error, status=400)
    client_secret = generate_client_secret()
    client = apps.get_model("oauth2_provider", "Application").objects.create(
        client_secret=client_secret,
        client_type="confidential",
        authorization_grant_type="authorization-code",
        algorithm="RS256",
        redirect_uris=" ".join(metadata["redirect_uris"]),
        post_logout_redirect_uris=" ".join(metadata["post_logout_redirect_uris"]),
    )
    lifetimes[client.client_id] = metadata.get("access_token_lifetime", ACCESS_TOKEN_LIFETIME)
    return JsonResponse({"client_id": client.client_id, "client_secret": client_secret}, status=201)


def token_requests(request: HttpRequest) -> JsonResponse:
    """The counts."""
    return JsonResponse([[*key, times] for key, times in counts.items()], safe=False)


def _client_id(request: HttpRequest) -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return str(request.POST.get("client_id", ""))
    return unquote_plus(base64.b64decode(credentials).decode().partition(":")[0])


def _was_revoked(refresh_token: str) -> bool:
    checksum = hashlib.sha256(refresh_token.encode()).hexdigest()
    tokens = apps.get_model("oauth2_provider", "RefreshToken").objects
    return bool(tokens.filter(token_checksum=checksum, revoked__isnull=False).exists())


def _outcome(request: HttpRequest, response: HttpResponse) -> str:
    if response.status_code == 200:
        return "success"
    if response.status_code >= 500:
        return "server_error"
    error: str = json.loads(response.content)["error"]
    reused = error == "invalid_grant" and _was_revoked(request.POST.get("refresh_token", ""))
    return "reused" if reused else error


def count_token_requests(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Django middleware, outside the token endpoint."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path == "/oauth2/token":
            grant_type = request.POST.get("grant_type", "")
            counts[_client_id(request), grant_type, _outcome(request, response)] += 1
        return response

    return middleware
