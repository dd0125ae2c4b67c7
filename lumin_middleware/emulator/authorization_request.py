"""The authorization request and its answers (RFC 6749, 4.1.1 and 4.1.2), checked in Hydra's order.

First what decides where an answer may go, and how: client, request object, response mode, redirect URI. A fault
there is shown to the person and never sent to the callback. Then the rest, whose faults are. Some of it Hydra
looks at only when the person has decided: `RULES` come before the pages, `LATE_RULES` after them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from .refusals import Refusal, refusal
from .registry import Client

Parameters = Sequence[tuple[str, str]]

PROMPTS = {"none", "login", "consent", "registration"}  # newer Hydras take select_account, too
RESPONSE_MODES = {"", "query", "fragment", "form_post"}
LEAST_ENTROPY = 8  # characters of state and nonce


@dataclass(frozen=True)
class Destination:
    """Where an answer goes: the redirect URI, how its parameters travel, and the request's state."""

    redirect_uri: str
    response_mode: str = "query"
    state: str = ""


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request. `scope` is in the order it was asked for; `max_age` is in seconds, and None where it is no
    number. `parameters` is the request as it came, the first of each name.
    """

    client: Client
    destination: Destination
    redirect_uri_given: bool
    scope: tuple[str, ...]
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None
    login_hint: str
    code_challenge: str | None
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def redirect_uri(self) -> str:
        return self.destination.redirect_uri


class Refused(Exception):
    """A request that cannot go on: why, and to which callback that is told; None where a person has to read it."""

    def __init__(self, refused: Refusal, destination: Destination | None = None) -> None:
        super().__init__(str(refused))
        self.refusal = refused
        self.destination = destination


def authorization_request(given: Parameters, clients: Mapping[str, Client]) -> AuthorizationRequest:
    """Check a request, as far as it is checked before a person is asked. Raises `Refused`."""
    data = dict(reversed(given))  # the first of each name
    counts = Counter(name for name, _ in given)
    try:
        client, destination = _destination(data, counts, clients)
    except Refusal as refused:
        raise Refused(refused) from None
    _apply(RULES, data, counts, client, destination)
    return AuthorizationRequest(
        client=client,
        destination=destination,
        redirect_uri_given=bool(data.get("redirect_uri")),
        scope=tuple(dict.fromkeys(words(data.get("scope", "")))),
        nonce=data.get("nonce") or None,
        prompt=frozenset(words(data.get("prompt", ""))),
        max_age=_max_age(data),
        login_hint=data.get("login_hint", ""),
        code_challenge=data.get("code_challenge") or None,
        parameters=data,
    )


def check_again(request: AuthorizationRequest) -> None:
    """What Hydra checks once the person has decided. Raises `Refused`."""
    _apply(LATE_RULES, request.parameters, Counter(), request.client, request.destination)


def words(value: str) -> list[str]:
    """The words of a parameter: only spaces stand between them (RFC 6749, 3.3)."""
    return [word for word in value.split(" ") if word]


def _apply(
    rules: Sequence[_Rule], data: Mapping[str, str], counts: Counter[str], client: Client, destination: Destination
) -> None:
    for rule in rules:
        if refused := rule(data, counts, client):
            raise Refused(refused, destination)


def _destination(
    data: Mapping[str, str], counts: Counter[str], clients: Mapping[str, Client]
) -> tuple[Client, Destination]:
    """Raises `Refusal`."""
    if counts["client_id"] > 1 or counts["redirect_uri"] > 1:
        raise refusal("invalid_request", "The client_id or redirect_uri was given more than once.")
    client = clients.get(data.get("client_id", ""))
    if client is None:
        raise refusal("invalid_client", "The requested OAuth 2.0 Client does not exist.")
    openid = "openid" in words(data.get("scope", ""))
    if openid and (data.get("request") or data.get("request_uri")):
        raise refusal("invalid_request", "The OAuth 2.0 Client has no JSON Web Keys registered for request objects.")
    response_mode = data.get("response_mode", "")
    if response_mode not in RESPONSE_MODES:
        raise refusal("unsupported_response_mode", f"Unsupported response_mode '{response_mode}'.")
    redirect_uri = data.get("redirect_uri") or _default_redirect_uri(client, openid=openid)
    if not client.allows_redirect_to(redirect_uri):
        raise refusal(
            "invalid_request",
            "The 'redirect_uri' parameter does not match any of the OAuth 2.0 Client's pre-registered redirect urls.",
        )
    return client, Destination(redirect_uri, response_mode or "query", data.get("state", ""))


def _default_redirect_uri(client: Client, *, openid: bool) -> str:
    if openid:
        raise refusal("invalid_request", "The 'redirect_uri' parameter is required when using OpenID Connect 1.0.")
    if len(client.redirect_uris) != 1:
        raise refusal("invalid_request", "The 'redirect_uri' parameter is missing.")
    return client.redirect_uris[0]


def _max_age(data: Mapping[str, str]) -> int | None:
    try:
        return int(data["max_age"]) if data.get("max_age") else None
    except ValueError:
        return None


def _no_parameter_twice(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    twice = sorted(name for name, count in counts.items() if count > 1 and name != "audience")
    return refusal("invalid_request", f"The parameter '{twice[0]}' was given more than once.") if twice else None


def _scope(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    for scope in words(data.get("scope", "")):
        if scope not in client.scope.split():
            return refusal("invalid_scope", f"The OAuth 2.0 Client is not allowed to request scope '{scope}'.")
    return None


def _audience(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    for audience in words(data.get("audience", "")):
        if audience not in client.audience:
            return refusal("invalid_request", f"Requested audience '{audience}' has not been whitelisted.")
    return None


def _registration(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    return refusal("registration_not_supported") if data.get("registration") else None


def _response_type(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    if words(data.get("response_type", "")) == ["code"]:
        return None
    return refusal("unsupported_response_type", f"The response_type '{data.get('response_type', '')}' is not known.")


def _state(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    if len(data.get("state", "")) >= LEAST_ENTROPY:
        return None
    return refusal("invalid_state", f"Request parameter 'state' must be at least {LEAST_ENTROPY} characters long.")


def _code_challenge(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
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


def _prompt(data: Mapping[str, str], counts: Counter[str], client: Client) -> Refusal | None:
    prompt = words(data.get("prompt", ""))
    if unknown := set(prompt) - PROMPTS:
        return refusal("invalid_request", f"Used unknown value '{min(unknown)}' for the prompt parameter.")
    if "none" in prompt and len(prompt) > 1:
        return refusal("invalid_request", "Parameter 'prompt' was set to 'none', but contains other values as well.")
    return None


_Rule = Callable[[Mapping[str, str], Counter[str], Client], Refusal | None]
RULES: tuple[_Rule, ...] = (_no_parameter_twice, _scope, _audience, _registration, _response_type, _state)
LATE_RULES: tuple[_Rule, ...] = (_code_challenge, _prompt)


def callback(redirect_uri: str, parameters: Mapping[str, str], *, fragment: bool = False) -> str:
    """The redirect target: the registered URI as it is, its own query kept, and these parameters."""
    if fragment:
        return f"{redirect_uri}#{urlencode(parameters)}"
    before, mark, rest = redirect_uri.partition("#")
    separator = "&" if "?" in before else "?"
    return f"{before}{separator}{urlencode(parameters)}{mark}{rest}"
