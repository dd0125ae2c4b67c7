"""The authorization request and its answers (RFC 6749, 4.1.1 and 4.1.2), checked in Hydra's order.

First what decides where an answer may go: the client and its redirect URI. A fault there is shown to the
person and never sent to the callback. Then the rest, whose faults are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error

from .refusals import refusal
from .registry import Client

Parameters = Sequence[tuple[str, str]]

PROMPTS = {"none", "login", "consent", "registration", "select_account"}
LEAST_ENTROPY = 8  # characters of state and nonce


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request. `scope` is in the order it was asked for; `max_age` is in seconds."""

    client: Client
    redirect_uri: str
    redirect_uri_given: bool
    scope: tuple[str, ...]
    state: str
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None
    login_hint: str
    code_challenge: str | None


def authorization_request(parameters: Parameters, clients: Mapping[str, Client]) -> AuthorizationRequest:
    """Check a request. Raises `OAuth2Error`, with a `redirect_uri` where the client is to be told."""
    data = dict(reversed(parameters))  # the first of each name
    counts = Counter(name for name, _ in parameters)
    client, redirect_uri = _destination(data, counts, clients)
    for rule in _RULES:
        if error := rule(data, counts, client):
            error.redirect_uri = redirect_uri
            error.state = data.get("state", "")
            raise error
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        redirect_uri_given="redirect_uri" in data,
        scope=tuple(dict.fromkeys(data.get("scope", "").split())),
        state=data["state"],
        nonce=data.get("nonce") or None,
        prompt=frozenset(data.get("prompt", "").split()),
        max_age=_max_age(data),
        login_hint=data.get("login_hint", ""),
        code_challenge=data.get("code_challenge") or None,
    )


def _destination(data: Mapping[str, str], counts: Counter[str], clients: Mapping[str, Client]) -> tuple[Client, str]:
    if counts["client_id"] > 1 or counts["redirect_uri"] > 1:
        raise refusal("invalid_request", "The client_id or redirect_uri was given more than once.")
    client = clients.get(data.get("client_id", ""))
    if client is None:
        raise refusal("invalid_client", "The requested OAuth 2.0 Client does not exist.")
    if "redirect_uri" not in data:
        if "openid" in data.get("scope", "").split():
            raise refusal("invalid_request", "The 'redirect_uri' parameter is required when using OpenID Connect 1.0.")
        if len(client.redirect_uris) != 1:
            raise refusal("invalid_request", "The 'redirect_uri' parameter is missing.")
        return client, client.redirect_uris[0]
    if not client.allows_redirect_to(data["redirect_uri"]):
        raise refusal(
            "invalid_request",
            "The 'redirect_uri' parameter does not match any of the OAuth 2.0 Client's pre-registered redirect urls.",
        )
    return client, data["redirect_uri"]


def _max_age(data: Mapping[str, str]) -> int | None:
    """max_age in seconds. What isn't a number ends on the error page (Hydra's strconv error)."""
    try:
        return int(data["max_age"]) if data.get("max_age") else None
    except ValueError:
        raise refusal("server_error", "The 'max_age' parameter is not a number.") from None


def _no_parameter_twice(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    twice = sorted(name for name, count in counts.items() if count > 1 and name != "audience")
    return refusal("invalid_request", f"The parameter '{twice[0]}' was given more than once.") if twice else None


def _scope(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    for scope in data.get("scope", "").split():
        if scope not in client.scope.split():
            return refusal("invalid_scope", f"The OAuth 2.0 Client is not allowed to request scope '{scope}'.")
    return None


def _audience(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    for audience in data.get("audience", "").split():
        if audience not in client.audience:
            return refusal("invalid_request", f"Requested audience '{audience}' has not been whitelisted.")
    return None


def _response_type(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    if data.get("response_type") == "code":
        return None
    return refusal("unsupported_response_type", f"The response_type '{data.get('response_type', '')}' is not known.")


def _state(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    if len(data.get("state", "")) >= LEAST_ENTROPY:
        return None
    return refusal("invalid_state", f"Request parameter 'state' must be at least {LEAST_ENTROPY} characters long.")


def _code_challenge(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    """S256 or nothing; `plain`, which is also what a missing method means, is refused (RFC 7636, 4.3)."""
    if not data.get("code_challenge"):
        if client.token_endpoint_auth_method != "none":
            return None
        return refusal("invalid_request", "Clients must include a code_challenge, but it is missing.")
    match data.get("code_challenge_method", ""):
        case "S256":
            return None
        case "plain" | "":
            hint = "Clients must use code_challenge_method=S256, plain is not allowed."
        case _:
            hint = "The code_challenge_method is not supported, use S256 instead."
    return refusal("invalid_request", hint)


def _prompt(data: Mapping[str, str], counts: Counter[str], client: Client) -> OAuth2Error | None:
    prompt = set(data.get("prompt", "").split())
    if unknown := prompt - PROMPTS:
        return refusal("invalid_request", f"Used unknown value '{min(unknown)}' for the prompt parameter.")
    if "none" in prompt and len(prompt) > 1:
        return refusal("invalid_request", "Parameter 'prompt' was set to 'none', but contains other values as well.")
    return None


_Rule = Callable[[Mapping[str, str], Counter[str], Client], OAuth2Error | None]
_RULES: tuple[_Rule, ...] = (_no_parameter_twice, _scope, _audience, _response_type, _state, _code_challenge, _prompt)


def callback(redirect_uri: str, parameters: Mapping[str, str]) -> str:
    """The redirect target: the registered URI as it is, its own query kept, and these parameters."""
    before, mark, fragment = redirect_uri.partition("#")
    separator = "&" if "?" in before else "?"
    return f"{before}{separator}{urlencode(parameters)}{mark}{fragment}"


def error_callback(error: OAuth2Error) -> str:
    """Where an error sends the browser. `state` is always there, if need be empty, as with Hydra."""
    parameters = {"error": error.error, "error_description": error.description, "state": error.state or ""}
    return callback(error.redirect_uri, parameters)
