"""The examination: the checks in their order. What cannot be looked at for want of another is left out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from ..config import LuminConfig
from . import application, client, metadata, network, settings, stores
from .findings import Finding

Looking = Callable[[str], None]
"""Is told what is looked at next."""


def examine(config: LuminConfig, app: Any = None, looking: Looking = lambda what: None) -> Iterator[Finding]:
    """Each finding as it is made."""
    looking("the settings")
    for check in (settings.redirect_uri, settings.secrets, settings.scope):
        yield from check(config)
    if (yield from _sound(network.proxies(config), network.PROXIES)):
        yield from _network(config, looking)
    looking("the store")
    yield from stores.store(config)
    if app is not None:
        looking("the application")
        yield from application.application(app, config)


def _sound(findings: Iterator[Finding], check: str) -> Generator[Finding, None, bool]:
    """Tells the findings, and gives whether none of this check is wrong."""
    sound = True
    for finding in findings:
        sound = sound and not (finding.check == check and finding.level == "wrong")
        yield finding
    return sound


def _network(config: LuminConfig, looking: Looking) -> Iterator[Finding]:
    yield from network.names(config)
    looking("the authorization server")
    if (yield from _sound(network.server(config), network.SERVER)):
        yield from _server(config, looking)
    looking("the API")
    yield from network.api(config)


def _server(config: LuminConfig, looking: Looking) -> Iterator[Finding]:
    document = metadata.document(config)
    if not (yield from _sound(metadata.kind(config, document), network.SERVER)):
        return
    yield from metadata.discovery(config, document)
    server = metadata.resolved(config, document)
    if server is None:
        yield from client.unresolved(config)
        return
    yield from metadata.keys(config, server)
    looking("the client")
    yield from client.known(config, server)
    yield from client.secret(config, server)
