"""A world for the core without network, threads or waiting: its store, server, time and order are the test's.

`Steps` is the order in which a test's processes asked the world for something. A `Process` is the core in one
process; several share a store, a server and a clock, as the workers of a site do.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import RSAKey

from lumin_middleware.config import AuthorizationServer, LuminConfig
from lumin_middleware.errors import OAuthError, ServerUnavailable, StoreUnavailable
from lumin_middleware.model import Request, Response, Session, TokenSet
from lumin_middleware.ports import Answer, Glance
from lumin_middleware.protocol.breaker import FAILURES, CircuitBreaker
from lumin_middleware.runtime.telemetry import Silent
from lumin_middleware.sessions.records import digest
from lumin_middleware.site.relying_party import RelyingParty
from lumin_middleware.stores import MemoryStore
from tests.site_rig import NAVIGATION, ORIGIN, REDIRECT_URI, Clock

T = TypeVar("T")

KEY = hashlib.sha256(b"the tests' key").digest()
OLD_KEY = hashlib.sha256(b"the tests' older key").digest()
SECRET = 'cs-0ne+t/w=o%3&: é"'
BASE = "https://lumin.example"
SERVER = AuthorizationServer.at(BASE)

SUFFIX = "@site"
"""What stands behind the keys of a store for whoever only glances at it."""


def at(place: str) -> str:
    """The key of a place that is glanced at."""
    assert place.endswith(SUFFIX)
    return place.removesuffix(SUFFIX)


hostile = settings(
    deadline=None, max_examples=75, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
"""For tests with made-up input, which is another one on each run: how long one takes is no failure."""

any_text = st.text(st.characters(), max_size=60)
"""Text with all that Python lets in, lone surrogates and control characters included."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)


def config(**changes: Any) -> LuminConfig:
    """Settings that are right, with changes."""
    return LuminConfig(
        **{
            "client_id": "test-client",
            "client_secret": SECRET,
            "redirect_uri": REDIRECT_URI,
            "secret_key": KEY,
            "server": SERVER,
            "api_url": "https://api.lumin.example/v1",
            **changes,
        }
    )


def request(path: str = "/", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Request:
    """A request as an edge makes it: a navigation, unless `headers` say otherwise."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    navigation = [(name.encode(), value.encode()) for name, value in NAVIGATION.items()]
    return Request(
        **{
            "method": "GET",
            "path": path,
            "raw_path": path,
            "query": "",
            "headers": navigation if headers is None else pairs,
            **fields,
        }
    )


def header(response: Response, name: str) -> str:
    """The one header of that name."""
    (value,) = [value for key, value in response.headers if key.lower() == name.lower()]
    return value


class CookieJar:
    """A browser's cookies: takes `Set-Cookie` values as RFC 6265 has it, gives the `Cookie` header."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def take(self, lines: Iterable[str]) -> None:
        for line in lines:
            assert len(line.encode()) <= 4096, f"a browser drops a Set-Cookie of {len(line)} bytes"
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            (max_age,) = [item.partition("=")[2] for item in attributes if item.startswith("Max-Age=")]
            if int(max_age) > 0:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)

    def take_from(self, response: Response) -> None:
        self.take(value for name, value in response.headers if name == "Set-Cookie")

    @property
    def header(self) -> bytes:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()


# --- the authorization server ---------------------------------------------------------------------------


@cache
def signing_key() -> RSAKey:
    """The server's key, made once."""
    return RSAKey.generate_key(2048, {"kid": "key-1", "use": "sig", "alg": "RS256"})


@cache
def other_key() -> RSAKey:
    """A key that is not the server's, under the name of the one that is."""
    return RSAKey.generate_key(2048, {"kid": "key-1", "use": "sig", "alg": "RS256"})


def jwks(*keys: RSAKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys or (signing_key(),)]}


def id_token(now: float, *, key: RSAKey | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """An ID token that is right, with changes; a claim of None is left out."""
    content = {
        "iss": BASE,
        "sub": "person-1",
        "aud": ["test-client"],
        "iat": int(now),
        "exp": int(now) + 3600,
        "email": "person@example.com",
        **claims,
    }
    payload = json.dumps({name: value for name, value in content.items() if value is not None})
    return jws.serialize_compact({"alg": "RS256", "kid": "key-1", **(header or {})}, payload, key or signing_key())


def unsigned(header: object, payload: object, signature: bytes = b"") -> str:
    """The three parts of a JWS, however wrong."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload, signature)]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class Server:
    """`ports.Exchange`: an authorization server that rotates refresh tokens and revokes the chain when one comes back.

    `answer` replaces what the next calls answer: an exception, parameters, or a function of no arguments.
    `during` runs while a call is on its way, by its name and once; `during_each` with all of them.
    """

    def __init__(self, clock: Clock, steps: list[str]) -> None:
        self.clock = clock
        self.steps = steps
        self.answer: Any = None
        self.during: dict[str, Callable[[], Awaitable[object]]] = {}
        self.during_each: Callable[[], object] = lambda: None
        self.suspends = False
        self.current: str | None = None
        self.reused: list[str] = []
        self.revoked: list[str] = []
        self.sent: list[str] = []
        self.expires_in: object = 3600
        self.extra: dict[str, Any] = {}
        self.documents: dict[str, Answer | Exception] = {
            SERVER.jwks_uri or "": Answer(200, "application/json", json.dumps(jwks()).encode()),
        }
        self.fetched: list[tuple[str, str | None]] = []

    def grant(self) -> dict[str, Any]:
        """New tokens, the refresh token of which is the only good one."""
        self.current = f"refresh-{secrets.token_hex(8)}"
        return {
            "access_token": f"access-{secrets.token_hex(8)}",
            "token_type": "bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.current,
            "scope": "openid offline_access sign:requests",
            **self.extra,
        }

    async def redeem(self, token_endpoint: str, code: Any) -> Mapping[str, Any]:
        self.steps.append("redeem")
        assert token_endpoint == SERVER.token_endpoint
        self.sent.append(code.code)
        return await self._answered("redeem", self.grant)

    async def refresh(self, token_endpoint: str, refresh_token: str) -> Mapping[str, Any]:
        self.steps.append("refresh")
        assert token_endpoint == SERVER.token_endpoint
        self.sent.append(refresh_token)
        return await self._answered("refresh", lambda: self._rotate(refresh_token))

    def _rotate(self, refresh_token: str) -> dict[str, Any]:
        if refresh_token != self.current:
            self.reused.append(refresh_token)
            self.current = None
            raise OAuthError("invalid_grant", "The refresh token was already used.")
        return self.grant()

    async def revoke(self, revocation_endpoint: str, token: str) -> None:
        self.steps.append("revoke")
        assert revocation_endpoint == SERVER.revocation_endpoint
        self.revoked.append(token)
        await self._answered("revoke", dict)

    async def fetch(self, url: str, access_token: str | None = None) -> Answer:
        self.steps.append("fetch")
        self.fetched.append((url, access_token))
        answer: Answer = await self._answered("fetch", lambda: self.documents.get(url, Answer(404, "", b"")))
        return answer

    async def _answered(self, call: str, usual: Callable[[], Any]) -> Any:
        if self.suspends:
            await asyncio.sleep(0)
        answer = usual() if self.answer is None or call == "fetch" else self.answer
        self.during_each()
        if (during := self.during.pop(call, None)) is not None:
            await during()
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        if self.suspends:
            await asyncio.sleep(0)
        return answer


# --- the store ------------------------------------------------------------------------------------------


class Store:
    """`ports.AsyncStore` on a `MemoryStore`, which fails, forgets to answer, or lets others in when told to.

    `fails` and `loses` name steps; one that `loses` does its work and then says that it cannot. `before` runs ahead
    of a step, by its name.
    """

    def __init__(self, clock: Clock, steps: list[str], *, local: bool = False) -> None:
        self.memory = MemoryStore(clock=clock)
        self.steps = steps
        self.local = local
        self.suspends = False
        self.fails: set[str] = set()
        self.loses: set[str] = set()
        self.before: dict[str, Callable[[], Awaitable[object]]] = {}

    @property
    def glance(self) -> Glance | None:
        """Where it is of this machine, it can be asked without waiting."""
        return Glance(self._glance, SUFFIX) if self.local else None

    def _glance(self, place: str) -> bytes | None:
        key = at(place)
        if f"get {_kind(key)}" in self.fails:
            raise StoreUnavailable(f"no get {_kind(key)} today")
        return self.memory.get(key)

    async def get(self, key: str) -> bytes | None:
        return await self._do(f"get {_kind(key)}", lambda: self.memory.get(key))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        verb = "take" if old is None else "release" if new is None else "renew"
        step = f"{verb} lease" if _kind(key) == "lease" else f"swap {_kind(key)}"
        return await self._do(step, lambda: self.memory.swap(key, old, new, ttl))

    async def _do(self, step: str, action: Callable[[], T]) -> T:
        self.steps.append(step)
        if (before := self.before.pop(step, None)) is not None:
            await before()
        if self.suspends:
            await asyncio.sleep(0)
        if step in self.fails:
            raise StoreUnavailable(f"no {step} today")
        done = action()
        if step in self.loses:
            raise StoreUnavailable(f"no answer to {step}")
        if self.suspends:
            await asyncio.sleep(0)
        return done

    def entries(self) -> dict[str, bytes]:
        """What is there, by key."""
        return {key: value for key in self.memory._entries if (value := self.memory.get(key)) is not None}


def _kind(key: str) -> str:
    return key.partition(":")[0]


# --- the rest of the world ------------------------------------------------------------------------------


def token_set(now: float, left: float, lifetime: float) -> TokenSet:
    """Tokens that have so many seconds left of their lifetime."""
    return TokenSet("access", now + left, lifetime, ("openid",), "refresh")


def release_after(event: asyncio.Event, sleeps: int) -> Callable[[], Awaitable[None]]:
    """For `World.during_sleep`: sets `event` at the so-manieth sleep."""
    count = itertools.count(1)

    async def during_sleep() -> None:
        if next(count) == sleeps:
            event.set()

    return during_sleep


async def open_circuit(breaker: CircuitBreaker, *, said: float = 0.0) -> None:
    """Lets so many go unanswered that nobody passes; the server asks for that many seconds, or says nothing."""

    async def no_answer() -> None:
        raise ServerUnavailable("down", said=said)

    for somebody in range(1 if said else FAILURES):
        with suppress(ServerUnavailable):
            await breaker.call(("somebody", somebody), no_answer)


class World:
    """`ports.World` of one process on an event loop. A sleep passes at once, and the clock goes on by it."""

    def __init__(self, store: Any, exchange: Any, clock: Clock, steps: list[str] | None = None) -> None:
        self.store = store
        self.exchange = exchange
        self.clock = clock
        self.steps = [] if steps is None else steps
        self.slept: list[float] = []
        self.announced: list[str] = []
        self.events: list[Any] = []
        self.undone: list[asyncio.Future[object]] = []
        self.going_on: list[Callable[[], Awaitable[None]]] = []
        """What goes on beside the requests, as soon as a test lets it."""
        self.during_sleep: Callable[[], Awaitable[object]] | None = None
        self.clock_moves = True
        self._locks: dict[str, asyncio.Lock] = {}

    def token(self, size: int) -> str:
        return secrets.token_urlsafe(size)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(key, asyncio.Lock()):
            self.steps.append("lock")
            yield
        self.steps.append("unlock")

    def locked(self, key: str) -> bool:
        return key in self._locks and self._locks[key].locked()

    async def sleep(self, seconds: float) -> None:
        self.steps.append("sleep")
        self.slept.append(seconds)
        if self.clock_moves:
            self.clock.advance(seconds)
        if self.during_sleep is not None:
            await self.during_sleep()
        await asyncio.sleep(0)

    def beside(self, action: Callable[[], Awaitable[None]]) -> bool:
        self.going_on.append(action)
        return True

    telemetry = Silent()

    def tell(self, event: Any) -> None:
        self.events.append(event)

    def announce_end(self, session_id: str) -> None:
        self.announced.append(session_id)

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        self.steps.append("shield")
        task = asyncio.ensure_future(action())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear of it
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if undo is not None:
                task.add_done_callback(lambda done: self.undone.append(asyncio.ensure_future(undo(done.result()))))
            raise


class BlockingWorld(World):
    """`ports.World` as under WSGI: everything is done when it returns, and nothing ever suspends."""

    def __init__(self, store: Any, exchange: Any, clock: Clock, steps: list[str] | None = None) -> None:
        super().__init__(store, exchange, clock, steps)
        self._held: set[str] = set()

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        assert key not in self._held, "one thread would wait for itself"
        self._held.add(key)
        try:
            yield
        finally:
            self._held.remove(key)

    def locked(self, key: str) -> bool:
        return key in self._held

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    async def shield(
        self, action: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[object]] | None = None
    ) -> T:
        return await action()


class Process(RelyingParty):
    """The core in one process of a site, its parts at hand."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        super().__init__(config, world)
        vars(self).update(vars(self.parts))

    async def end(self, session: Session) -> None:
        """The end of a session, without what a logout does besides."""
        await self.sessions.end(session.id, session.began)


class Workers:
    """A site without a front: one clock, store and server, and as many processes as a test asks for."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.steps: list[str] = []
        self.store = Store(self.clock, self.steps)
        self.server = Server(self.clock, self.steps)
        self.config = config(**changes)

    def process(self, **changes: Any) -> Process:
        settings = config(**changes) if changes else self.config
        return Process(settings, World(self.store, self.server, self.clock, self.steps))

    def suspend(self) -> None:
        """From here on every call to the store and the server lets others run."""
        self.store.suspends = self.server.suspends = True

    async def sign_in(self, lifetime: float = 3600.0, **changes: Any) -> Session:
        """A session that has just begun."""
        now = self.clock()
        found = self.server.grant()
        tokens = {
            "access_token": found["access_token"],
            "refresh_token": found["refresh_token"],
            "expires_at": now + lifetime,
            "lifetime": lifetime,
            "scope": ("openid", "offline_access", "sign:requests"),
            **changes,
        }
        claims = {"iss": BASE, "sub": "person-1", "email": "person@example.com"}
        session = Session(secrets.token_urlsafe(24), 0, now, now, TokenSet(**tokens), claims)
        await self.process().sessions.begin(session)
        self.steps.clear()
        return session

    async def expired(self, **changes: Any) -> Session:
        """A session whose access token has just expired."""
        session = await self.sign_in(**changes)
        self.clock.advance(3600)
        return session

    async def nearly_expired(self, **changes: Any) -> Session:
        """A session whose access token has a minute left: in the soft window, not in the hard one."""
        session = await self.sign_in(**changes)
        self.clock.advance(3540)
        return session

    async def recorded(self, session: Session) -> Session:
        """What a process that knows nothing yet reads in the store."""
        return (await self.process().sessions.newest(session)).session

    def leased(self, session: Session) -> bytes | None:
        """Who has the lease now, if somebody has."""
        return self.store.memory.get(f"lease:{digest(session.id)}")

    def lease(self, session: Session, seconds: float) -> None:
        """The lease of a process that nobody hears of again."""
        assert self.store.memory.swap(f"lease:{digest(session.id)}", None, b"somebody else", seconds)


__all__ = ["NAVIGATION", "ORIGIN", "REDIRECT_URI", "Clock"]
