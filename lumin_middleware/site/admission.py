"""Who may come in: `admit`, asked at each sign-in, after the server has said who it is and before a session is made.

It fails closed: whom nobody lets in stays out, and so does everybody while the function that decides is broken.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import LuminConfig
from ..errors import Refused, RequestRefused
from ..journal import say
from ..protocol.claims import kept_claims, verified_email
from ..reasons import REASONS

OF_THE_TOKEN = frozenset({"aud", "exp", "iat", "nbf", "rat", "jti", "nonce", "at_hash", "c_hash", "azp", "auth_time"})
"""Claims about an ID token, and not about a person (OpenID Connect Core 1.0, 2 and 3.3.2.11; RFC 7519, 4.1; `rat` is
Hydra's): who returns all that it was given does not mean them."""


async def admitted(claims: Mapping[str, Any], config: LuminConfig) -> dict[str, Any]:
    """The claims that the session of a person keeps. Raises `RequestRefused` for whoever may not come in."""
    admit = config.admit
    if admit is None:
        return kept_claims(claims, config)
    if not callable(admit):
        # An ID token says whether the address was verified; Lumin's `user/info` knows no other kind.
        vouched = claims.get("email_verified") if "iss" in claims else True
        if not vouched or not names(admit, verified_email(claims)):
            raise _refused()
        return kept_claims(claims, config)
    try:
        changed = admit(dict(claims))
        if inspect.isawaitable(changed):
            changed = await changed
        if changed is None:
            return kept_claims(claims, config)
        # Whom the server has named stays who it is, whatever else is said of it.
        named = {name: claims[name] for name in ("iss", "sub", "sid") if name in claims}
        also = [name for name in changed if name not in OF_THE_TOKEN]
        return kept_claims({**changed, **named}, config, also=also)
    except Refused as refusal:
        raise _refused(str(refusal)) from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise  # of the process, and of whoever drives it
    except BaseException as error:
        # Whatever it is, nobody has said yes. A sign-in cannot be cancelled (`World.shield`), so a `CancelledError` is
        # of what the function waited for.
        say("admit_failed", error=type(error).__name__)
        raise RequestRefused("admit_failed", REASONS["admit_failed"].person, status=500) from error


def _refused(sentence: str = "") -> RequestRefused:
    return RequestRefused("not_admitted", sentence or REASONS["not_admitted"].person, status=403)


def names(patterns: Sequence[str], address: str | None) -> bool:
    """Whether one of these patterns names an address. Only ASCII letters are alike in both cases."""
    if address is None or address.count("@") != 1 or address.startswith("@"):
        return False
    address = _lower(address)
    return any(
        address.endswith(_lower(each[1:])) if each.startswith("*@") else address == _lower(each) for each in patterns
    )


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text
