"""The client, as the authorization server has it on file. It says so by its answers to requests that sign nobody in.

| asked | answered | so |
| --- | --- | --- |
| an authorization request | error page `invalid_client` | the client is not known |
| | error page `invalid_request` | the redirect URI is not registered |
| | 404 | the server is not there: `server` is wrong |
| | at the redirect URI: `invalid_scope` | a scope is not the client's |
| | at the redirect URI: `unsupported_response_type`, `unauthorized_client` | the client may not use codes |
| | a way on | all of it is right |
| a made-up code | `invalid_client` | the secret is wrong, or how it is sent |
| | `unauthorized_client` | the client lacks the grant type |
| | `invalid_grant` | all of it is right |
| a made-up refresh token | the same | |
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from secrets import token_urlsafe
from urllib.parse import parse_qsl, quote_plus, urlsplit

import httpx2

from ..config import AuthorizationServer, LuminConfig
from ..model import Errand, Transaction
from ..protocol import oauth
from .findings import Finding, doubtful, ok, wrong
from .network import client as http_client

CLIENT, SECRET, GRANTS = "client", "client secret", "grant types"

_NOBODY = "Nobody can sign in."
_ERRORS = re.compile(r"\b(?:invalid_(?:client|request|scope|state)|un(?:authorized_client|supported_response_type))\b")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the server said; `ours` where it was said at the redirect URI."""

    error: str = ""
    description: str = ""
    ours: bool = False


def known(config: LuminConfig, server: AuthorizationServer) -> Iterator[Finding]:
    """Whether the authorization endpoint knows the client, its redirect URI, the response type and the scopes."""
    with http_client(config) as http:
        try:
            found = _authorize(http, config, server, config.scope)
            refused = [
                token
                for token in config.scope.split()
                if found.error == "invalid_scope"
                and _authorize(http, config, server, _with(token)).error == found.error
            ]
        except httpx2.HTTPError:
            return  # which is told where the server is looked at
    match found.error, found.ours:
        case "", _:
            yield ok(CLIENT, "is known; the redirect URI is registered, and the scopes are the client's")
        case "invalid_scope", _:
            missing = " ".join(refused) or found.description
            cure = "Allow it for your app at Lumin, or take it out of `scope`."
            yield wrong("scopes", f"the client may not ask for {missing}", _NOBODY, cure)
        case "invalid_client", _:
            what = f"the server does not know the client {config.client_id!r}"
            yield wrong(CLIENT, what, _NOBODY, "Copy `client_id` again from your app's details; compare `server`.")
        case (("unsupported_response_type" | "unauthorized_client"), _):
            cure = "Give the client the grant type authorization_code and the response type code."
            yield wrong(GRANTS, "the client may not use the authorization code grant", _NOBODY, cure)
        case "not_found", _:
            what = f"{server.authorization_endpoint} is not there (404)"
            cure = "Give the base of the server alone as `server` (LUMIN_AUTH_URL), as https://auth.luminpdf.com."
            yield wrong("server", what, _NOBODY, cure)
        case _, False:
            what = f"{config.redirect_uri} is not registered for this client"
            cure = "Register exactly this address at Lumin: scheme, host, port, path and the last slash count."
            yield wrong("redirect URI", what, f"{_NOBODY} The server said: {found.description[:200]}", cure)
        case _:
            yield wrong(CLIENT, f"the server refuses: {found.error}", _NOBODY, found.description[:200])


def _with(token: str) -> str:
    return token if token == "openid" else f"openid {token}"


def _authorize(http: httpx2.Client, config: LuminConfig, server: AuthorizationServer, scope: str) -> Refusal:
    transaction = Transaction(token_urlsafe(24), token_urlsafe(24), token_urlsafe(32), Errand("/", scope))
    answer = http.get(oauth.authorization_request(config, server, transaction, {}))
    location = answer.headers.get("location", "")
    if not answer.is_redirect:
        error = _ERRORS.search(answer.text)
        if answer.status_code == 404 and not error:
            return Refusal("not_found")
        return Refusal(error[0] if error else "invalid_request", f"a page with the status {answer.status_code}")
    # A server that does not carry out errors in the query may carry them in the fragment.
    parts = urlsplit(location)
    said = dict(parse_qsl(parts.query) or parse_qsl(parts.fragment))
    ours = location.partition("?")[0] == config.redirect_uri.partition("?")[0]
    return Refusal(said.get("error", ""), said.get("error_description", ""), ours)


# --- the token endpoint ---------------------------------------------------------------------------------

_METHODS = ("client_secret_post", "client_secret_basic")


def secret(config: LuminConfig, server: AuthorizationServer) -> Iterator[Finding]:
    """Whether the client secret is right, and how it is sent; and whether the client may have codes and refreshes."""
    code = {"grant_type": "authorization_code", "code": token_urlsafe(24), "redirect_uri": config.redirect_uri}
    refresh = {"grant_type": "refresh_token", "refresh_token": token_urlsafe(24)}
    method = config.token_endpoint_auth_method
    with http_client(config) as http:
        try:
            said = _token(http, config, server, {**code, "code_verifier": token_urlsafe(32)}, method)
            if said == "invalid_client":
                yield from _refused(http, config, server, code)
                return
            again = _token(http, config, server, refresh, method)
        except httpx2.HTTPError:
            return
    if said not in ("invalid_grant", "invalid_request", "unauthorized_client"):
        cure = "Look at `server.token_endpoint`, and at what stands between here and it."
        yield wrong(SECRET, f"the token endpoint says {said!r} to a made-up code", _NOBODY, cure)
        return
    yield ok(SECRET, f"is right, and sent as the server has it ({method})")
    if said == "unauthorized_client":
        cure = "Give the client the grant type authorization_code."
        yield wrong(GRANTS, "the client may not redeem codes", _NOBODY, cure)
    if again in ("unauthorized_client", "unsupported_grant_type"):
        why = "Sessions end with their access tokens, after an hour."
        yield wrong(GRANTS, "the client may not renew tokens", why, "Give the client the grant type refresh_token.")
    elif said != "unauthorized_client":
        yield ok(GRANTS, "authorization_code and refresh_token")


def _refused(
    http: httpx2.Client, config: LuminConfig, server: AuthorizationServer, code: Mapping[str, str]
) -> Iterator[Finding]:
    [other] = [each for each in _METHODS if each != config.token_endpoint_auth_method]
    if _token(http, config, server, {**code, "code_verifier": token_urlsafe(32)}, other) != "invalid_client":
        what = f"the server wants the secret by {other}, not {config.token_endpoint_auth_method}"
        yield wrong(SECRET, what, _NOBODY, f"Set token_endpoint_auth_method to {other}.")
    else:
        cure = "Copy it again from your app's details at Lumin. If it is right, the server's database does not answer."
        yield wrong(SECRET, "the server refuses client_id and client_secret", f"{_NOBODY} Nobody is renewed.", cure)


def _token(
    http: httpx2.Client, config: LuminConfig, server: AuthorizationServer, form: Mapping[str, str], method: str
) -> str:
    """The error that the token endpoint answers."""
    headers = {"Accept": "application/json"}
    data = dict(form)
    if method == "client_secret_basic":
        pair = f"{quote_plus(config.client_id)}:{quote_plus(str(config.client_secret))}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        data |= {"client_id": config.client_id, "client_secret": str(config.client_secret)}
    answer = http.post(server.token_endpoint or "", data=data, headers=headers)
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def unresolved(config: LuminConfig) -> Iterator[Finding]:
    """There are no endpoints to ask."""
    why = "Its endpoints are read from there, so that nobody can sign in."
    cure = "Look at `server.issuer`, or name the endpoints: AuthorizationServer.at(base)."
    yield doubtful(CLIENT, f"cannot be looked at: {config.server.issuer} has no discovery document", why, cure)
