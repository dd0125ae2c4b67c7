"""What would become of a request, and why: the site decides as it does when it runs, and asks nobody.

The relying party here is the one that the edges ask; only its world is another. Its store is empty, its authorization
server never answers, and whoever is signed in was made up a moment ago.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from .config import AuthorizationServer, LuminConfig
from .errors import ServerUnavailable
from .events import Event
from .model import AuthorizationCode, Request, Session, TokenSet
from .ports import Answer, run
from .reasons import REASONS, Reason
from .runtime.event_loop import DirectStore
from .runtime.scopes import read
from .runtime.telemetry import Silent
from .site.relying_party import RelyingParty
from .site.visit import Visit
from .stores import MemoryStore

T = TypeVar("T")

LIFETIME = 3600.0
"""Seconds that the made-up session's access token lives: long enough that nothing is to be renewed."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of a request. `status` is None where it goes on to the application."""

    method: str
    path: str
    by: str
    """Which route or which patterns decide."""
    readings: tuple[str, ...]
    """What the path may be taken for."""
    status: int | None
    location: str
    """Where it is redirected to, without what is random."""
    reason: Reason


def explain(
    config: LuminConfig,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    scope: Sequence[str] | None = None,
    peer: str = "",
    mount: str = "",
    clock: Callable[[], float],
) -> Explanation:
    """What the site with these settings makes of a request, whose `target` is as it stands on the wire.

    `mount` is the prefix below which another application serves this one. `scope` are the scopes of somebody who is
    signed in; None: nobody is but whom a `Cookie` among the `headers` names.
    """
    party = RelyingParty(_offline(config), Nowhere(config, clock))
    return run(_explain(party, _scope(method, target, headers, peer, mount), scope))


def unseen(method: str, target: str, prefixes: Sequence[str]) -> Explanation:
    """What becomes of a request that is for none of the applications in which ours stands, below these prefixes."""
    by = f"none: LuminMiddleware stands in what is mounted at {', '.join(prefixes)}, and never sees this"
    return Explanation(method, target.partition("?")[0], by, (), None, "", REASONS["passed"])


async def _explain(party: RelyingParty, asked: dict[str, Any], scope: Sequence[str] | None) -> Explanation:
    if scope is not None:
        cookie = await _signed_in(party, scope, party.parts.world.clock())
        asked["headers"].append((b"cookie", cookie.encode()))
    request = _request(party.config, asked)
    outcome = await party.handle(request)
    by, readings = party.by(request), party.readings(request)
    if isinstance(outcome, Visit):
        return Explanation(request.method, request.path, by, readings, None, "", REASONS["passed"])
    location = dict(outcome.headers).get("Location", "")
    return Explanation(
        request.method, request.path, by, readings, outcome.status, location.partition("?")[0], REASONS[outcome.reason]
    )


def _offline(config: LuminConfig) -> LuminConfig:
    """The settings, without a question to the server: where its endpoints are is not the question here."""
    if not config.server.discovery:
        return dataclasses.replace(config, on_event=None)
    known = AuthorizationServer.at(config.server.issuer.rstrip("/"), issuer=config.server.issuer)
    return dataclasses.replace(config, server=known, on_event=None)


def _scope(method: str, target: str, headers: Sequence[tuple[str, str]], peer: str, mount: str) -> dict[str, Any]:
    raw, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "root_path": mount,
        "path": unquote_to_bytes(_raw(raw)).decode("utf-8", "replace"),
        "raw_path": _raw(raw),
        "query_string": _raw(query),
        "headers": [(_raw(name.lower()), _raw(value)) for name, value in headers],
        "client": (peer, 0) if peer else None,
    }


def _request(config: LuminConfig, scope: dict[str, Any]) -> Request:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    request = read(scope, receive, config.callback_path)  # type: ignore[arg-type]
    return dataclasses.replace(request, body=_no_body)


def _raw(text: str) -> bytes:
    """What a terminal gave, as it gave it: browsers send text in headers as UTF-8, too."""
    return text.encode("utf-8", "surrogateescape")


async def _no_body() -> bytes:
    return b""


async def _signed_in(party: RelyingParty, scope: Sequence[str], now: float) -> str:
    """The `Cookie` of somebody who has just signed in."""
    tokens = TokenSet("none", now + LIFETIME, LIFETIME, tuple(scope))
    claims = {"iss": party.config.server.issuer, "sub": "somebody"}
    session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, claims)
    await party.parts.sessions.begin(session)
    jar = party.parts.cookies.jar(b"")
    lines = party.parts.sessions.set_cookies(session, jar)
    return "; ".join(line.partition(";")[0] for line in lines)


class _Silent:
    """`ports.Exchange` of a server that nobody asks."""

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        raise ServerUnavailable("nobody is asked here", sent=False)

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        raise ServerUnavailable("nobody is asked here", sent=False)

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        raise ServerUnavailable("nobody is asked here", sent=False)

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        raise ServerUnavailable("nobody is asked here", sent=False)


class Nowhere:
    """`ports.World` in which nothing is kept, and nobody answers."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float]) -> None:
        self.store = DirectStore(MemoryStore(clock=clock), config.fingerprint)
        self.exchange = _Silent()
        self.clock = clock
        self.telemetry = Silent()

    def tell(self, event: Event) -> None:
        """Nobody listens."""

    def token(self, size: int) -> str:
        return secrets.token_urlsafe(size)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        yield

    def locked(self, key: str) -> bool:
        return False

    def announce_end(self, session_id: str) -> None:
        """Nobody is served for long."""

    async def sleep(self, seconds: float) -> None:
        """No time passes."""

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        return await action()
