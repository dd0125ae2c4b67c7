"""How a client proves who it is, in Hydra's order (RFC 6749, 2.3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from .refusals import Refusal, refusal
from .registry import Client


def authenticate(headers: Mapping[str, str], form: Mapping[str, str], clients: Mapping[str, Client]) -> Client:
    """The client, if it used its registered method. Raises `Refusal`."""
    basic = basic_credentials(headers)
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    if not basic and not client_id:
        hint = "Client credentials missing or malformed in both HTTP Authorization header and HTTP POST body."
        raise refusal("invalid_request", hint)
    client = clients.get(client_id)
    if client is None:
        raise refusal("invalid_client", "The requested OAuth 2.0 Client does not exist.")
    registered = client.token_endpoint_auth_method
    if form.get("client_id") and form.get("client_secret") and registered != "client_secret_post":
        raise _other_method(registered, "client_secret_post")
    if basic and secret and registered != "client_secret_basic":
        raise _other_method(registered, "client_secret_basic")
    if registered != "none" and not client.check_client_secret(secret):
        raise refusal("invalid_client", "The provided client secret is wrong.")
    return client


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Client id and secret of a Basic header, each form-urldecoded (RFC 6749, 2.3.1).

    None without a header that Basic can read. Raises `Refusal` where one half cannot be decoded.
    """
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(credentials, validate=True).decode("latin-1").partition(":")
    except ValueError:
        return None
    if not colon:
        return None
    if re.search("%(?![0-9A-Fa-f]{2})", client_id + secret):
        hint = "The client id or secret in the HTTP authorization header could not be decoded."
        raise refusal("invalid_request", hint)
    return unquote_plus(client_id), unquote_plus(secret)


def _other_method(registered: str, used: str) -> Refusal:
    return refusal(
        "invalid_client",
        f"The OAuth 2.0 Client supports client authentication method '{registered}', but method '{used}' was "
        f"requested. You must configure the OAuth 2.0 client's 'token_endpoint_auth_method' value to accept '{used}'.",
    )
