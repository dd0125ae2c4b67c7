"""What doctor says of a client is what Hydra has on file: each mistake is made at the real server, and named."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest

from lumin_middleware import AuthorizationServer, LuminConfig
from lumin_middleware.doctor import client, metadata
from lumin_middleware.doctor.findings import Finding

from .server import Hydra

CALLBACK = "https://app.example.com/auth/callback"
SCOPE = "openid offline_access sign:requests"


def looked_at(hydra: Hydra, settings: dict[str, Any] | None = None, **metadata_of_client: Any) -> list[Finding]:
    """What is found of a client that is registered so, with these settings."""
    registered = {"scope": SCOPE, "token_endpoint_auth_method": "client_secret_post", **metadata_of_client}
    made = hydra.register([CALLBACK], **registered)
    config = LuminConfig(
        **{
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
            "redirect_uri": CALLBACK,
            "secret_key": secrets.token_bytes(32),
            "server": AuthorizationServer.at(hydra.base),
            "scope": SCOPE,
            "store": "memory://",
            **(settings or {}),
        }
    )
    document = metadata.document(config)
    server = metadata.resolved(config, document)
    assert server is not None
    return [
        *metadata.discovery(config, document),
        *metadata.keys(config, server),
        *client.known(config, server),
        *client.secret(config, server),
    ]


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_a_client_that_is_right_is_found_right(hydra, method):
    found = looked_at(hydra, {"token_endpoint_auth_method": method}, token_endpoint_auth_method=method)
    assert wrong(found) == []
    assert {each.check for each in found} == {"discovery", "keys", "client", "client secret", "grant types"}


def test_so_is_one_that_is_discovered(hydra):
    assert wrong(looked_at(hydra, {"server": AuthorizationServer.discover(hydra.base)})) == []


MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "an unknown client": ({"client_id": "nobody"}, {}, "client", "does not know the client"),
    "a wrong secret": ({"client_secret": secrets.token_urlsafe(24)}, {}, "client secret", "refuses client_id"),
    "post where basic is registered": (
        {},
        {"token_endpoint_auth_method": "client_secret_basic"},
        *("client secret", "wants the secret by client_secret_basic"),
    ),
    "basic where post is registered": (
        {"token_endpoint_auth_method": "client_secret_basic"},
        {},
        *("client secret", "wants the secret by client_secret_post"),
    ),
    "another redirect URI": (
        {"redirect_uri": "https://app.example.com/auth/callback2"},
        {},
        *("redirect URI", "is not registered"),
    ),
    "a scope that is not the client's": ({"scope": f"{SCOPE} templates"}, {}, "scopes", "may not ask for templates"),
    "offline_access that is not the client's": (
        {},
        {"scope": "openid sign:requests"},
        *("scopes", "may not ask for offline_access"),
    ),
    "no grant type refresh_token": ({}, {"grant_types": ["authorization_code"]}, "grant types", "may not renew"),
    "no grant type authorization_code": ({}, {"grant_types": ["refresh_token"]}, "grant types", "may not redeem codes"),
    "no response type code": ({}, {"response_types": ["token"]}, "grant types", "authorization code grant"),
    "another issuer": (
        {"server": AuthorizationServer.at("https://issuer.example")},
        {},
        *("discovery", "not https://issuer.example"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(hydra, name):
    settings, registered, check, what = MISTAKES[name]
    if name == "another issuer":
        settings = {"server": AuthorizationServer.at(hydra.base, issuer="https://issuer.example")}
    found = wrong(looked_at(hydra, settings, **registered))
    assert any(each.check == check and re.search(what, each.what) and each.cure for each in found), found
