"""The storm: many requests of one session, over many connections to several workers, at the moment of expiry."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from lumin_middleware.emulator import Emulator
from lumin_middleware.stores import PostgresStore
from lumin_middleware.stores.dynamodb import from_url
from tests.fakes import CookieJar
from tests.foreign.fixtures import ForeignServer
from tests.postgres_server import Postgres
from tests.site_rig import CLIENT, FETCH, NAVIGATION, REDIRECT_URI
from tests.stores import django_database
from tests.stores.dynamodb_server import CREDENTIALS, DynamoDBServer
from tests.storm.clock import SharedClock
from tests.storm.server import Uvicorn
from tests.storm.wire import Answer, Connection

WORKERS = 4

COMBINATIONS = {
    "cookie + local": ("cookie", "local"),
    "cookie + Redis": ("cookie", "redis"),
    "store + SQLite": ("store", "sqlite"),
    "store + Redis": ("store", "redis"),
    "store + PostgreSQL": ("store", "postgres"),
    "store + Django": ("store", "django"),
    "store + DynamoDB": ("store", "dynamodb"),
}
"""The sessions and the stores that the storm is made with."""


class Grantor(Protocol):
    """The authorization server of a storm, as the storm sees it."""

    lifetime: float
    """Seconds that an access token lives."""

    def environment(self) -> Mapping[str, str]: ...

    def sign_in(self, authorization_url: str) -> str: ...

    def refreshes(self) -> int: ...

    def reuse_events(self) -> int: ...


class Emulated:
    """The emulator, which runs in this process."""

    lifetime = 3600.0

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._refreshes = 0

    def environment(self) -> Mapping[str, str]:
        return {
            "LUMIN_CLIENT_ID": CLIENT.client_id,
            "LUMIN_CLIENT_SECRET": CLIENT.client_secret,
            "LUMIN_AUTH_URL": self.emulator.base,
            "LUMIN_API_URL": f"{self.emulator.base}/v1",
        }

    def sign_in(self, authorization_url: str) -> str:
        return self.emulator.sign_in(authorization_url)

    def refreshes(self) -> int:
        calls = self.emulator.calls_to("/oauth2/token")
        self._refreshes += sum(call.form["grant_type"] == ["refresh_token"] for call in calls)
        self.emulator.calls.clear()  # it keeps so many only, and a long storm has more
        return self._refreshes

    def reuse_events(self) -> int:
        return self.emulator.reuse_events


class Foreign:
    """A server that nobody here wrote. Its clock is real, so that its tokens must not live long."""

    lifetime = 60.0

    def __init__(self, server: ForeignServer) -> None:
        self._server = server
        self._client = server.register([REDIRECT_URI], access_token_lifetime=int(self.lifetime))

    def environment(self) -> Mapping[str, str]:
        client_id, client_secret = self._client
        return {
            "LUMIN_CLIENT_ID": client_id,
            "LUMIN_CLIENT_SECRET": client_secret,
            "LUMIN_AUTH_URL": self._server.issuer,
            "LUMIN_API_URL": self._server.api_url,
        }

    def sign_in(self, authorization_url: str) -> str:
        return self._server.sign_in(authorization_url)

    def refreshes(self) -> int:
        counts = self._server.counts(self._client[0])
        return sum(times for (grant_type, _), times in counts.items() if grant_type == "refresh_token")

    def reuse_events(self) -> int:
        return self._server.counts(self._client[0])["refresh_token", "reused"]


def new_database(server: Postgres, combination: str) -> str:
    """A database with the table that a store needs there."""
    url = server.new_database(f"storm_{secrets.token_hex(8)}")
    if COMBINATIONS[combination][1] == "postgres":
        with closing(PostgresStore(url)) as store:
            store.create()
    else:
        alias = f"d{secrets.token_hex(8)}"
        django_database.add(alias, django_database.on_postgres(url))
        django_database.migrate(alias)
    return url


def new_table(server: DynamoDBServer) -> str:
    """The URL of a table of its own."""
    url = f"dynamodb://storm_{secrets.token_hex(8)}?endpoint={server.endpoint}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with closing(from_url(url, time.time)) as store:
            store.create()
    return url


def environment(grantor: Grantor, directory: Path, combination: str, server_url: str, timeout: float) -> dict[str, str]:
    """What the workers are told. `directory` is theirs alone, `server_url` is the Redis or the database of the store,
    `timeout` is the config's.
    """
    sessions, store = COMBINATIONS[combination]
    files = {"local": "local", "sqlite": f"sqlite://{directory}/sessions/store.sqlite3", "django": "django"}
    return {
        **grantor.environment(),
        **(CREDENTIALS if store == "dynamodb" else {}),
        "LUMIN_REDIRECT_URI": REDIRECT_URI,
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
        "LUMIN_SESSIONS": sessions,
        "LUMIN_STORE": files.get(store, server_url),
        "STORM_DJANGO": server_url if store == "django" else "",
        "XDG_STATE_HOME": str(directory),
        "STORM_CLOCK": str(directory / "clock"),
        "STORM_TIMEOUT": str(timeout),
    }


@dataclass
class Figures:
    """What came of a storm. Latencies are in seconds."""

    failures: list[str] = field(default_factory=list)
    renewals: list[int] = field(default_factory=list)
    reuse_events: int = 0
    latencies: list[float] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)

    @property
    def sent(self) -> int:
        return len(self.latencies)

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


class Person:
    """Somebody at a browser: its cookies now, and those that it had first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.jar = CookieJar()
        self.first = CookieJar()

    async def sign_in(self, sign_in: Callable[[str], str]) -> None:
        connection = await Connection.open(self.port)
        try:
            begun = await self.get(connection, "/", NAVIGATION)
            assert begun.status == 303, begun
            callback = urlsplit(await asyncio.to_thread(sign_in, begun.header("location") or ""))
            done = await self.get(connection, f"{callback.path}?{callback.query}", NAVIGATION)
            assert done.status == 303, done
        finally:
            await connection.close()
        self.first.cookies = dict(self.jar.cookies)

    async def get(self, connection: Connection, target: str = "/", headers: Mapping[str, str] = FETCH) -> Answer:
        """A request with the newest cookies; what comes back is kept."""
        answer = await connection.get(target, {**headers, "cookie": self.jar.header.decode()})
        self.jar.take(answer.set_cookies)
        return answer

    async def get_late(self, connection: Connection) -> Answer:
        """A request with the first cookies, as from a tab that never heard of a renewal."""
        return await connection.get("/", {**FETCH, "cookie": self.first.header.decode()})


class Storm:
    """One person's session, and the connections that its requests come over.

    Half of the requests find a connection that is open already, and together they reach every worker; the other
    half open one, and hold the cookies that the sign-in gave, however many renewals ago that was.
    """

    def __init__(self, grantor: Grantor, clock: SharedClock, server: Uvicorn, requests: int) -> None:
        self.grantor = grantor
        self.clock = clock
        self.figures = Figures()
        self._server = server
        self._requests = requests
        self._person = Person(server.port)
        self._kept: list[Connection] = []

    async def begin(self) -> None:
        """Sign in, and open the connections that are kept. Once every worker was reached, no more of them are asked."""
        await self._person.sign_in(self.grantor.sign_in)
        reached: set[int] = set()
        while len(self._kept) < self._requests // 2 or len(reached) < WORKERS:
            opened = await asyncio.gather(*(Connection.open(self._server.port) for _ in range(50)))
            self._kept += opened
            if len(reached) < WORKERS:
                answers = await asyncio.gather(*(self._person.get(connection, "/worker") for connection in opened))
                reached |= {answer.json()["worker"] for answer in answers}

    async def end(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._kept))

    async def expiry(self, *, left: float = 0.0) -> None:
        """Let the access token expire, or nearly, with so many seconds left; and then everybody at once."""
        self.clock.advance(self.grantor.lifetime - left)
        renewals, reuse_events = self.grantor.refreshes(), self.grantor.reuse_events()
        half = self._requests // 2
        kept = [self._timed(self._person.get(connection)) for connection in self._kept[-half:]]
        opened = [self._timed(self._once()) for _ in range(self._requests - half)]
        tokens = {token for token in await asyncio.gather(*kept, *opened) if token}
        if len(tokens) > 1 and not left:
            self.figures.failures.append(f"{len(tokens)} access tokens were used")
        self.figures.renewals.append(self.grantor.refreshes() - renewals)
        self.figures.reuse_events += self.grantor.reuse_events() - reuse_events

    async def is_alive(self) -> bool:
        """Whether the person is still signed in, with the newest cookies and with the first."""
        connection = self._kept[0]
        answers = [await self._person.get(connection), await self._person.get_late(connection)]
        return [(answer.status, answer.json().get("api")) for answer in answers] == [(200, 200), (200, 200)]

    async def _once(self) -> Answer:
        connection = await Connection.open(self._server.port)
        try:
            return await self._person.get_late(connection)
        finally:
            await connection.close()

    async def _timed(self, request: Any) -> str | None:
        """The digest of the access token that a request used, if it did."""
        begun = time.perf_counter()
        try:
            answer: Answer = await request
        except OSError as error:
            answer = Answer(0, [], repr(error).encode())
        self.figures.latencies.append(time.perf_counter() - begun)
        if answer.status != 200 or answer.json()["api"] != 200:
            self.figures.failures.append(f"{answer.status} {answer.body[:300]!r}")
            return None
        self.figures.workers.add(answer.json()["worker"])
        token: str = answer.json()["token"]
        return token


def digest(token: str) -> str:
    """An access token as the application names it."""
    return hashlib.sha256(token.encode()).hexdigest()
