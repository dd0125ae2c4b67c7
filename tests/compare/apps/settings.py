"""What `starts` tells an application, by its environment."""

from __future__ import annotations

import os
from typing import Any

SIGN_IN = os.environ.get("SIGN_IN", "")
SECRET = os.environ.get("SECRET", "")
ISSUER = os.environ.get("ISSUER", "")
API_URL = os.environ.get("API_URL", "")
ORIGIN = os.environ.get("ORIGIN", "")
FOLDER = os.environ.get("FOLDER", "")
LIFETIME = int(os.environ.get("LIFETIME", "0"))  # seconds that an access token lives
SCOPE = "openid offline_access sign:requests"
CLIENT: dict[str, Any] = {
    "client_id": os.environ.get("CLIENT_ID", ""),
    "client_secret": os.environ.get("CLIENT_SECRET", ""),
}
METADATA = f"{ISSUER}/.well-known/openid-configuration"
AUTHLIB: dict[str, Any] = {
    **CLIENT,
    "server_metadata_url": METADATA,
    "client_kwargs": {
        "scope": SCOPE,
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
}
RENEWING: dict[str, Any] = {
    **CLIENT,
    "token_endpoint": f"{ISSUER}/oauth2/token",
    "token_endpoint_auth_method": "client_secret_post",
}
"""What Authlib's client needs to renew a token by itself."""


def kept(token: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a token response: what the API needs, without the ID token."""
    return {name: value for name, value in token.items() if name not in ("id_token", "userinfo")}
