"""OAuth 2.0, one pure function per protocol step, named after it.

A step is a pair: what is sent, and what may come back. Nothing here does I/O; the sending is
Authlib's (`exchange.py`). Whatever comes back is hostile until a function here has looked at it.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping
from email.utils import parsedate
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from ..checks import SCOPE_TOKEN
from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError, OAuthError, RequestRefused, ServerUnavailable
from ..model import _CHECKED, AuthorizationCode, TokenSet, Transaction
from ..ports import Answer
from .documents import json_answer, present

PASSED_ON = ("login_hint", "prompt", "ui_locales", "max_age", "acr_values")
"""What a browser may add to the authorization request (OpenID Connect Core 1.0, 3.1.2.1); nothing else."""

PARAMETERS_LIMIT = 100
"""Parameters of a query that are looked at; a callback has five."""

DEFAULT_LIFETIME = 3600.0
"""Seconds that a token is taken to live when the server does not say, which RFC 6749, 5.1 allows; Lumin's value."""

LIFETIME_LIMIT = 31_536_000.0
"""A longer `expires_in`, a year, is no lifetime but a mistake."""

CODE_LIMIT = 2000
"""Characters of a code that is worth sending; Hydra's have some 90."""

RETRY_AFTER_LIMIT = 300.0
"""Seconds of a server's `Retry-After` that are obeyed: nobody is turned away for hours by one header."""

REFUSES_THE_PERSON = frozenset(
    {"access_denied", "interaction_required", "login_required", "consent_required", "account_selection_required"}
)
"""The errors by which a server refuses this person, now or without being asked (RFC 6749, 4.1.2.1; OpenID Connect
Core 1.0, 3.1.2.6). Hydra gives `access_denied` at the token endpoint where its token hook does."""


# --- the authorization endpoint -------------------------------------------------------------------------


def authorization_request(
    config: LuminConfig, server: AuthorizationServer, transaction: Transaction, extra: Mapping[str, str]
) -> str:
    """RFC 6749, 4.1.1, with PKCE (RFC 7636, 4.3) and a nonce (OpenID Connect Core 1.0, 3.1.2.1)."""
    same = _same_for_all(server.authorization_endpoint, config.client_id, config.redirect_uri, transaction.scope)
    code_challenge = create_s256_code_challenge(transaction.code_verifier)
    # The three are made of letters that no URL needs escaped (RFC 3986, 2.3); what a browser adds may be of any.
    own = f"{same}&state={transaction.state}&nonce={transaction.nonce}&code_challenge={code_challenge}"
    return f"{own}&{urlencode(extra)}" if extra else own


@lru_cache(maxsize=64)
def _same_for_all(authorization_endpoint: str | None, client_id: str, redirect_uri: str, scope: str) -> str:
    """The part of the request that is nobody's own. No endpoint has a fragment (RFC 6749, 3.1), so there may follow
    more."""
    uri: str = prepare_grant_uri(
        authorization_endpoint,
        client_id,
        "code",
        redirect_uri=redirect_uri,
        scope=scope,
        code_challenge_method="S256",
    )
    return uri


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query, each at most once (RFC 6749, 3.1). Raises `RequestRefused`."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_LIMIT, errors="strict")
    except ValueError:
        raise RequestRefused("bad_query", "The query cannot be read.") from None
    if len(found := dict(pairs)) != len(pairs):
        raise RequestRefused("duplicate_parameter", "The query repeats a parameter.")
    return found


def authorization_response(
    found: Mapping[str, str], transaction: Transaction, config: LuminConfig, server: AuthorizationServer
) -> AuthorizationCode:
    """RFC 6749, 4.1.2 and RFC 9207, 2.4: the code, if it belongs to this login and to this server.

    The order matters: `state` (by which the caller found the login), `iss`, `error`, `code`. Raises
    `RequestRefused` for a response that is not the server's, `OAuthError` for the server's error.
    """
    issuer = found.get("iss")
    if issuer is None and server.authorization_response_iss_parameter_supported:
        raise RequestRefused("missing_issuer", "The answer does not say which server it is from.")
    if issuer is not None and not same_issuer(issuer, server.issuer):
        raise RequestRefused("wrong_issuer", "The answer is from another server than the one that was asked.")
    if "error" in found:
        if "code" in found:
            raise RequestRefused("bad_callback", "The answer holds an error and a code.")
        raise OAuthError(found["error"], found.get("error_description", ""))
    if not found.get("code"):
        raise RequestRefused("missing_code", "The answer holds no code.")
    if not _is_code(found["code"]):
        raise RequestRefused("bad_code", "The answer holds a code that no server gives.")
    return AuthorizationCode(found["code"], transaction, checked=_CHECKED)


def _is_code(value: str) -> bool:
    # RFC 6749, appendix A.11: printable ASCII. Whatever else stands there need not trouble the server.
    return len(value) <= CODE_LIMIT and value.isascii() and value.isprintable()


def same_issuer(seen: object, configured: str) -> bool:
    """Whether two issuers are one: equal, or different by one trailing slash, which Hydra's versions disagree on."""
    return isinstance(seen, str) and seen.removesuffix("/") == configured.removesuffix("/")


# --- the token endpoint ---------------------------------------------------------------------------------


def token_response(answer: Answer) -> dict[str, Any]:
    """RFC 6749, 5.1 and 5.2: the parameters of a token response.

    Raises `OAuthError` for an error response, `ServerUnavailable` for a server that cannot answer now, and
    `AuthorizationServerError` for everything else that is not tokens: somebody answered, and what is wrong is this
    request, or whoever stands before the server.
    """
    found = json_answer(answer)
    if answer.status >= 500 or answer.status == 429:
        raise ServerUnavailable(
            f"the token endpoint answered {answer.status}", retry_after=1.0, said=answer.retry_after
        )
    if answer.status not in (200, 201):  # 201 says that tokens were made, as some servers do
        error = found.get("error") if found else None
        if isinstance(error, str) and error:
            description = found.get("error_description") if found else None
            raise OAuthError(error, description if isinstance(description, str) else "")
        raise _no_tokens(f"the token endpoint answered {answer.status} without an OAuth error")
    if found is None:
        raise _no_tokens(
            f"the token endpoint answered {answer.status} with {answer.media_type or 'no media type'}, "
            "not a JSON object that agrees with itself"
        )
    if "error" in found:
        raise _no_tokens("the token endpoint answered with tokens and an error")
    _check_tokens(found)
    return found


def _no_tokens(message: str) -> AuthorizationServerError:
    return AuthorizationServerError(message, "bad_token_response")


def retry_after(value: str, date: str) -> float:
    """RFC 9110, 10.2.3: the seconds of a `Retry-After`, at most `RETRY_AFTER_LIMIT`; 0 where it says nothing.

    A point in time counts from the answer's own `Date`, so that nobody's clock matters but the server's.
    """
    if re.fullmatch(r"[0-9]{1,10}", value):
        seconds = float(value)
    else:
        try:
            seconds = float(timegm(parsedate(value)) - timegm(parsedate(date)))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):  # neither is a date that there is
            return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT)


def _check_tokens(found: Mapping[str, Any]) -> None:
    token_type = found.get("token_type")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":  # RFC 6749, 5.1: case-insensitive
        raise _no_tokens("the token response's token_type is not 'bearer'")
    if not _is_token(found.get("access_token")):
        raise _no_tokens("the token response has no usable access_token")
    for name in ("refresh_token", "id_token"):
        if present(found.get(name)) and not _is_token(found[name]):
            raise _no_tokens(f"the token response's {name} is not text")


def _is_token(value: object) -> bool:
    # RFC 6749, appendix A.12: visible ASCII. What is not would also break a header.
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable() and " " not in value


def token_set(found: Mapping[str, Any], *, requested: str, before: TokenSet | None, now: float) -> TokenSet:
    """The tokens of a checked response (RFC 6749, 5.1 and 6).

    What a refresh leaves out stays as it was `before`: the scope, and the refresh token, which may be empty as well.
    But a `scope` that is there and empty grants nothing. It is no scope by the grammar (3.3), and so nobody's way to
    say "as asked"; where what was granted differs from what was asked for, the member is required, and Hydra writes ""
    where a person has granted nothing.
    """
    lifetime = _lifetime(found.get("expires_in"))
    scope = found.get("scope")
    if scope is None:
        granted = before.scope if before else tuple(requested.split())
    else:
        granted = (
            tuple(token for token in scope.split() if SCOPE_TOKEN.fullmatch(token)) if isinstance(scope, str) else ()
        )
    return TokenSet(
        access_token=found["access_token"],
        expires_at=now + lifetime,
        lifetime=lifetime,
        scope=granted,
        refresh_token=found.get("refresh_token") or (before.refresh_token if before else None),
        id_token=found.get("id_token") or None,
    )


def _lifetime(expires_in: object) -> float:
    """Seconds from now: none for a token that has expired already, the usual ones where no number is given."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return DEFAULT_LIFETIME
    if isinstance(expires_in, int) and expires_in <= 0:  # also one that no float holds
        return 0.0
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFETIME
    if seconds <= 0:
        return 0.0
    return seconds if seconds <= LIFETIME_LIMIT else DEFAULT_LIFETIME


# --- the end-session endpoint ---------------------------------------------------------------------------


def end_session_request(config: LuminConfig, end_session_endpoint: str, id_token: str | None, state: str) -> str:
    """OpenID Connect RP-Initiated Logout 1.0, section 2: where to send the browser after a local logout.

    Without an ID token to prove who asks, Hydra answers an error page to everything but the bare request.
    """
    if id_token is None:
        return end_session_endpoint
    query = [("id_token_hint", id_token), ("client_id", config.client_id)]
    if config.post_logout_redirect_uri is not None:
        query += [("post_logout_redirect_uri", config.post_logout_redirect_uri), ("state", state)]
    uri: str = add_params_to_uri(end_session_endpoint, query)
    return uri


def bearer(access_token: str) -> str:
    """RFC 6750, 2.1: the value of `Authorization`."""
    return f"Bearer {access_token}"


def challenge(*, error: str = "", scope: str = "", max_age: str = "") -> str:
    """RFC 6750, 3, and RFC 9470, 3: the value of `WWW-Authenticate`."""
    given = (("error", error), ("scope", scope), ("max_age", max_age))
    parts = [f'{name}="{quote(value, safe=" :._-")}"' for name, value in given if value]
    return " ".join(["Bearer", ", ".join(['realm="lumin"', *parts])])
