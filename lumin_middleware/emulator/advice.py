"""What whoever develops an application reads on the terminal, where its callback is told nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .authorization_request import Parameters
from .refusals import Refusal
from .registry import Client

logger = logging.getLogger("lumin_middleware.emulator")

LIMIT = 200
"""Characters that are repeated of what was sent."""


def advise(given: Parameters, clients: Mapping[str, Client], refused: Refusal) -> None:
    """Writes a line: what was wrong with an authorization request that ends on a page, and the cure."""
    logger.warning("An authorization request was refused: %s", _advice(given, clients) or refused.description)


def _advice(given: Parameters, clients: Mapping[str, Client]) -> str:
    """Of the two that a setting cures; empty for others."""
    data = dict(reversed(given))  # the first of each name, as it is checked
    name, uri = data.get("client_id", ""), data.get("redirect_uri", "")
    client = clients.get(name)
    if client is None:
        return (
            f"there is no client {name[:LIMIT]!r} here, but {_listed(clients)}. Let the application's LUMIN_CLIENT_ID"
            " be such a one, or start the emulator with --client-id."
        )
    if uri and not client.allows_redirect_to(uri):
        return (
            f"the redirect URI {uri[:LIMIT]!r} is not registered for {name!r}, but {_listed(client.redirect_uris)}. Let"
            " the application's LUMIN_REDIRECT_URI be such a one, to the letter, or start the emulator with"
            " --redirect-uri."
        )
    return ""


def _listed(known: Mapping[str, Client] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, known)) or "none"
