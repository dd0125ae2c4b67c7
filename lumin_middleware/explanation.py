"""What would become of a request, and why: the site decides as it does when it runs, and asks nobody.

The relying party here is the one that the edges ask; only its world is another. Its store is empty, its authorization
server never answers, and whoever is signed in was made up a moment ago. Both remember what they were asked: on that an
explanation depends then, and says so, or cannot be given. The rest is so as long as store and server work.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from .config import AuthorizationServer, LuminConfig
from .errors import LuminError, ServerUnavailable
from .events import Event
from .model import AuthorizationCode, Request, Session, TokenSet
from .ports import Answer, run
from .protocol.metadata import WELL_KNOWN
from .reasons import REASONS, Reason
from .runtime.event_loop import DirectStore
from .runtime.scopes import read
from .runtime.telemetry import Silent
from .sessions.cookies import Jar
from .sessions.opened import Opened
from .site.relying_party import RelyingParty
from .site.visit import Visit
from .stores import MemoryStore

T = TypeVar("T")

LIFETIME = 3600.0
"""Seconds that the made-up session's access token lives: long enough that nothing is to be renewed."""


DISCOVERED = "https://discovered.invalid/"
"""Where the endpoints are that only the server's own document names (RFC 2606, 2: nothing ever is)."""

# --- what an explanation may depend on ------------------------------------------------------------------

HANDLE = (
    "the store: the cookie is a handle. With its session the rule decides, as with --as; without it nobody is signed in"
)
ENDED = "the store: it may know that the session of the cookie has ended, or has newer tokens"
SIGN_IN = "the store: it knows what has become of this sign-in"
RENEWAL = (
    "the server: the session's token is due. Where it is renewed the rule decides, as with --as; where that is refused,"
    " nobody is signed in; in trouble the token serves until it ends, and then the answer is 503"
)
SERVER = "the server: it is asked before anything is answered"
BODY = "the body: this is what becomes of a request whose body is empty"
SENDER = (
    "who sends it: the request names no page. A browser names its own, and a script has to, by the header"
    " 'Origin: {origin}'"
)


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
    reason: Reason | None
    """None where it cannot be told here what becomes of the request."""
    depends: tuple[str, ...] = ()
    """On what else it depends that was not asked; without any, this is what the site does."""


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
    world = Nowhere(config, clock)
    party = RelyingParty(dataclasses.replace(config, on_event=None), world)
    return run(_explain(party, world, _scope(method, target, headers, peer, mount), scope))


def unseen(method: str, target: str, prefixes: Sequence[str]) -> Explanation:
    """What becomes of a request that is for none of the applications in which ours stands, below these prefixes."""
    by = f"none: LuminMiddleware stands in what is mounted at {', '.join(prefixes)}, and never sees this"
    return Explanation(method, target.partition("?")[0], by, (), None, "", REASONS["passed"])


async def _explain(
    party: RelyingParty, world: Nowhere, asked: dict[str, Any], scope: Sequence[str] | None
) -> Explanation:
    brought = party.parts.cookies.jar(_request(party.config, asked, world).cookie)
    if scope is not None:
        cookie = await _signed_in(party, scope, world.clock())
        asked["headers"].append((b"cookie", cookie.encode()))
    request = _request(party.config, asked, world)
    outcome = await party.handle(request)
    found = Explanation(
        request.method, request.path, party.by(request), party.readings(request), None, "", REASONS["passed"]
    )
    if not isinstance(outcome, Visit):
        location = _located(dict(outcome.headers).get("Location", "").partition("?")[0], world)
        found = dataclasses.replace(found, status=outcome.status, location=location, reason=REASONS[outcome.reason])
        if outcome.reason == "cross_origin" and not request.header(b"origin") + request.header(b"sec-fetch-site"):
            found = dataclasses.replace(found, depends=(SENDER.format(origin=party.config.origin),))
    return await _reserved(found, party, world, brought)


def _located(location: str, world: Nowhere) -> str:
    if not location.startswith(DISCOVERED):
        return location
    return f"the {location.removeprefix(DISCOVERED)} that {world.document} names"


async def _reserved(found: Explanation, party: RelyingParty, world: Nowhere, brought: Jar[Opened]) -> Explanation:
    """The same with what it depends on; without an outcome where that decides it."""
    asked, untold, depends = frozenset(world.asked), [], [*found.depends]
    if "refresh" in asked:
        untold.append(RENEWAL)
    elif asked & {"redeem", "fetch"}:
        untold.append(SERVER)
    if "store" in asked and brought.ours:  # of whom the request says nothing, the store knows nothing
        with suppress(LuminError):
            await party.parts.sessions.load(brought, slide=True)
        if brought.opened is None:
            untold.append(SIGN_IN)
        elif brought.opened.session is None:
            untold.append(HANDLE)
        else:
            depends.append(ENDED)
    if "document" in asked:
        depends.append(f"the server: it is asked for {world.document}, which names its endpoints")
    if "body" in asked:
        depends.append(BODY)
    if untold:
        return dataclasses.replace(found, status=None, location="", reason=None, depends=(*untold, *depends))
    return dataclasses.replace(found, depends=tuple(depends))


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


def _request(config: LuminConfig, scope: dict[str, Any], world: Nowhere) -> Request:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def body() -> bytes:
        world.asked.add("body")
        return b""

    return dataclasses.replace(read(scope, receive, config.callback_path), body=body)  # type: ignore[arg-type]


def _raw(text: str) -> bytes:
    """What a terminal gave, as it gave it: browsers send text in headers as UTF-8, too."""
    return text.encode("utf-8", "surrogateescape")


async def _signed_in(party: RelyingParty, scope: Sequence[str], now: float) -> str:
    """The `Cookie` of somebody who has just signed in."""
    tokens = TokenSet("none", now + LIFETIME, LIFETIME, tuple(scope))
    claims = {"iss": party.config.server.issuer, "sub": "somebody"}
    session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, claims)
    await party.parts.sessions.begin(session)
    jar = party.parts.cookies.jar(b"")
    lines = party.parts.sessions.set_cookies(session, jar)
    return "; ".join(line.partition(";")[0] for line in lines)


class _Empty(DirectStore):
    """A store that remembers whether it was asked for anything that it does not have."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float], asked: set[str]) -> None:
        super().__init__(MemoryStore(clock=clock), config.fingerprint)
        self._asked = asked

    async def get(self, key: str) -> bytes | None:
        found = await super().get(key)
        if found is None:
            self._asked.add("store")
        return found


class _Silent:
    """`ports.Exchange` of a server that nobody asks: it remembers for what it would have been.

    Only its own document it has, with the endpoints at `DISCOVERED`: those that the settings give count more.
    """

    def __init__(self, document: str, issuer: str, asked: set[str]) -> None:
        self._document = document
        self._issuer = issuer
        self._asked = asked

    async def redeem(self, token_endpoint: str, code: AuthorizationCode) -> Mapping[str, Any]:
        raise self._nobody("redeem")

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        raise self._nobody("refresh")

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        """Nothing depends on it."""

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        if url != self._document:
            raise self._nobody("fetch")
        self._asked.add("document")
        endpoints = {name: f"{DISCOVERED}{name}" for name in AuthorizationServer.ENDPOINTS}
        return Answer(200, "application/json", json.dumps({"issuer": self._issuer, **endpoints}).encode())

    def _nobody(self, what: str) -> ServerUnavailable:
        self._asked.add(what)
        return ServerUnavailable("nobody is asked here", sent=False)


class Nowhere:
    """`ports.World` in which nothing is kept, and nobody answers. `asked` is what somebody would have been asked."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float]) -> None:
        server = config.server
        self.asked: set[str] = set()
        self.document = f"{server.issuer.removesuffix('/')}{WELL_KNOWN}" if server.discovery else ""
        self.store = _Empty(config, clock, self.asked)
        self.exchange = _Silent(self.document, server.issuer, self.asked)
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
