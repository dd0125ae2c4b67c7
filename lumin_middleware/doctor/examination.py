"""The examination: the checks in their order. What cannot be looked at for want of another is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..config import LuminConfig
from . import application, client, metadata, network, settings, stores
from .findings import Finding


def examine(config: LuminConfig, app: Any = None) -> Iterator[Finding]:
    """Each finding as it is made."""
    for check in (settings.redirect_uri, settings.secrets, settings.scope, network.proxies, network.names):
        yield from check(config)
    reached = True
    for finding in network.server(config):
        reached = reached and not (finding.check == network.SERVER and finding.level == "wrong")
        yield finding
    if reached:
        yield from _server(config)
    yield from network.api(config)
    yield from stores.store(config)
    if app is not None:
        yield from application.application(app, config)


def _server(config: LuminConfig) -> Iterator[Finding]:
    document = metadata.document(config)
    yield from metadata.discovery(config, document)
    server = metadata.resolved(config, document)
    if server is None:
        yield from client.unresolved(config)
        return
    yield from metadata.keys(config, server)
    yield from client.known(config, server)
    yield from client.secret(config, server)
