"""What is known of a person: what the API says, what a session keeps of it, and what of that is an identity."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..config import LuminConfig
from ..errors import AuthorizationServerError, ServerUnavailable
from ..ports import Answer
from .documents import json_answer, present

CLAIMS_LIMIT = 2048
"""Bytes of JSON that the kept claims may have."""

# An address is worth what is said of it, so that neither is kept without the other.
_TOGETHER = {"email": ("email", "email_verified")}


def is_subject(value: object) -> bool:
    """Whether this can be a `sub`: text of at most 255 characters (OpenID Connect Core 1.0, 2)."""
    # Sessions are compared and listed by it, so that half a character is none.
    return isinstance(value, str) and 0 < len(value) <= 255 and value.encode("utf-8", "replace").decode() == value


def user_info_claims(answer: Answer) -> dict[str, Any] | None:
    """The claims that Lumin's `GET /user/info` gives: `{"user": {"id", "email", "name"}}`.

    None when the API refuses (4xx). Raises `ServerUnavailable` or `AuthorizationServerError` otherwise.
    """
    if 400 <= answer.status < 500 and answer.status != 429:
        return None
    if answer.status != 200:
        raise ServerUnavailable(f"the API's user/info answered {answer.status}")
    user = (json_answer(answer) or {}).get("user")
    if not isinstance(user, dict) or not is_subject(user.get("id")):
        raise AuthorizationServerError("the API's user/info is not a user", "bad_user_info")
    claims = {"sub": user["id"], "email": user.get("email"), "name": user.get("name")}
    return {name: value for name, value in claims.items() if isinstance(value, str) and value}


def kept_claims(claims: Mapping[str, Any], config: LuminConfig, *, also: Iterable[str] = ()) -> dict[str, Any]:
    """The claims that the settings name, and those `also` named, in this order, as long as they fit; before them what
    we go by."""
    kept: dict[str, Any] = {}
    for name in ("iss", "sub", "sid", *config.claims, *also):
        more = {each: claims[each] for each in _TOGETHER.get(name, (name,)) if each in claims and claims[each] != ""}
        if name in more and _size({**kept, **more}) <= CLAIMS_LIMIT:
            kept |= more
    return kept


def named_before(claims: Mapping[str, Any], before: Iterable[str]) -> dict[str, Any]:
    """Of new claims those that a session has `before`, and what we go by: what `admit` left out stays out.

    But an address comes with whether it is verified: it may be another one by now, which nobody vouches for.
    """
    names = {each for name in ("iss", "sub", "sid", *before) for each in _TOGETHER.get(name, (name,))}
    return {name: value for name, value in claims.items() if name in names}


def _size(claims: Mapping[str, Any]) -> int:
    return len(json.dumps(claims, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def display_name(claims: Mapping[str, Any]) -> str:
    """What somebody is called: their name, or else their address, or their identifier; empty where nobody said."""
    return str(claims.get("name") or verified_email(claims) or claims.get("sub") or "")


def verified_email(claims: Mapping[str, Any]) -> str | None:
    """The e-mail address that somebody may be known by; None when the server does not vouch for it.

    `email_verified` (OpenID Connect Core 1.0, 5.1) is a boolean, and text at some servers. Where it is missing, as in
    Lumin's own answers, the server has no word for an address that is not verified.
    """
    address, verified = claims.get("email"), claims.get("email_verified")
    vouched = not present(verified) or verified is True or (isinstance(verified, str) and verified.lower() == "true")
    return address if isinstance(address, str) and address and vouched else None
