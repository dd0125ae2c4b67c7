"""What the authorization server says of itself: its discovery document, its issuer, its keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import httpx2

from ..config import AuthorizationServer, LuminConfig
from ..errors import ConfigurationError
from ..protocol.metadata import WELL_KNOWN
from ..protocol.oauth import same_issuer
from ..protocol.signatures import json_web_keys
from .findings import Finding, doubtful, ok, wrong
from .network import SERVER, client

DISCOVERY, KEYS = "discovery", "keys"

ERRORS = (
    *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
    *("invalid_scope", "server_error", "temporarily_unavailable"),
)
"""What a token endpoint says to who asks it for nothing (RFC 6749, 5.2), and what one in trouble says."""


def document(config: LuminConfig) -> dict[str, Any] | None:
    """The discovery document; None where there is none."""
    server = config.server
    token_endpoint = server.token_endpoint or ""
    base = token_endpoint.removesuffix("/oauth2/token")  # a Hydra's, whatever its issuer is said to be
    if server.discovery or base == token_endpoint:
        base = server.issuer
    return _json(config, f"{base.rstrip('/')}{WELL_KNOWN}")


def _json(config: LuminConfig, url: str) -> dict[str, Any] | None:
    try:
        with client(config) as http:
            answer = http.get(url, headers={"Accept": "application/json"})
        found = answer.json() if answer.status_code == 200 else None
    except (httpx2.HTTPError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def kind(config: LuminConfig, found: dict[str, Any] | None) -> Iterator[Finding]:
    """Whether it is an authorization server at all, of which it is only told where it is none. It learns no secret."""
    if found is not None:
        why = "" if isinstance(found.get("issuer"), str) else "its discovery document names no issuer"
    else:
        why = "" if config.server.discovery else _stranger(config)
    if why:
        cure = (
            "Give the base of Lumin's server alone as `server` (LUMIN_AUTH_URL), as https://auth.luminpdf.com, "
            "or what `lumin-middleware emulator` prints."
        )
        url = config.server.base or config.server.issuer
        yield wrong(SERVER, f"{url} does not answer like an authorization server ({why})", "Nobody can sign in.", cure)


def _stranger(config: LuminConfig) -> str:
    """What is strange in the token endpoint's answer to a request that asks for nothing."""
    try:
        with client(config) as http:
            answer = http.post(config.server.token_endpoint or "", data={"grant_type": "authorization_code"})
        said = answer.json()
    except httpx2.HTTPError:
        return ""  # which is told where the server is looked at
    except ValueError:
        said = None
    known = isinstance(said, dict) and said.get("error") in ERRORS
    return "" if known else f"its token endpoint answers {answer.status_code}, and no error of OAuth's"


def resolved(config: LuminConfig, found: dict[str, Any] | None) -> AuthorizationServer | None:
    """The server with its endpoints; None where they are not known."""
    server = config.server
    if not server.discovery:
        return server
    names = [name for name in AuthorizationServer.ENDPOINTS if getattr(server, name) is None]
    said: dict[str, Any] = found or {}
    values: dict[str, Any] = {name: said[name] for name in names if isinstance(said.get(name), str)}
    try:
        made = dataclasses.replace(server, **values)
    except ConfigurationError:
        return None
    return made if made.authorization_endpoint and made.token_endpoint else None


def discovery(config: LuminConfig, found: dict[str, Any] | None) -> Iterator[Finding]:
    """Whether the document is there, is this issuer's, and names the endpoints in use."""
    server = config.server
    if found is None:
        if server.discovery:
            cure = "Look at `server.issuer`, or name the endpoints: AuthorizationServer.at(base)."
            yield wrong(DISCOVERY, f"{server.issuer} has no document", "Nobody can sign in without it.", cure)
        else:
            yield ok(DISCOVERY, "there is no document, and none is needed")
        return
    issuer = str(found.get("issuer"))
    if same_issuer(issuer, server.issuer):
        yield ok(DISCOVERY, f"the issuer is {issuer}")
    elif server.learns_issuer and found.get("token_endpoint") == server.token_endpoint:
        cure = f"Set server=AuthorizationServer.at({server.base!r}, issuer={issuer!r}) to save the question."
        yield doubtful(DISCOVERY, f"the server calls itself {issuer}", "It is asked for that once in a while.", cure)
    else:
        why = "ID tokens name that issuer and are refused, so that nobody can sign in."
        setting = "`server` (LUMIN_AUTH_URL)" if server.learns_issuer else "`server.issuer`"
        yield wrong(DISCOVERY, f"the server calls itself {issuer}, not {server.issuer}", why, f"Correct {setting}.")


def keys(config: LuminConfig, server: AuthorizationServer) -> Iterator[Finding]:
    """Whether there are keys that ID tokens can be verified with."""
    why = "No ID token can be verified, so that nobody who has one can sign in."
    if server.jwks_uri is None:
        yield wrong(KEYS, "no `jwks_uri` is known", why, "Set `server.jwks_uri`.")
        return
    found = json_web_keys(_json(config, server.jwks_uri) or {})
    if found:
        yield ok(KEYS, f"{len(found)} can be used")
    else:
        yield wrong(KEYS, f"{server.jwks_uri} has no key that can be used", why, "Look at `server.jwks_uri`.")
