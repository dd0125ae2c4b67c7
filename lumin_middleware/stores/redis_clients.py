"""How a Redis is reached by a URL: one server, the primary that Sentinels name, or a cluster. redis-py speaks to each.

A primary may become a replica under a connection that is kept. It then refuses to write, and reads what is old. So a
connection belongs to a term, and when a server says that it is no primary the term is over: every connection that was
made in it is closed when it is next wanted, and the new one leads to whoever is the primary by then. Sentinels are
asked every second as well: a primary that they have given up may not know it yet, and what it takes then is lost.

redis-py is not imported before it is needed. No error repeats a URL: it may hold a password.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import cache
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import ConfigurationError
from .hosts import require_host
from .turns import AsyncTurns, Turns

# Seconds. Requests wait behind these, and a lease must outlive them. A server near by answers in less than
# a millisecond, so one that takes a second is down. Options of the URL go before them.
WAITS = {"socket_connect_timeout": 1.0, "socket_timeout": 2.0}
POOL = {
    "max_connections": 50,  # of one process, or of one event loop
    "timeout": 2.0,  # for one of them to become free
}

FORMS = (
    "redis://user:password@host:6379/0, rediss://…, unix:///path, "
    "redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379"
)

_SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#@]+)"
    r"(?:/(?P<service>[^/?#]*))?(?:/(?P<db>[0-9]*))?(?:\?(?P<query>[^#]*))?"
)

LOOK = 1.0
"""Seconds between two questions of one process to the Sentinels; they themselves look at their servers every second."""

ALONE = 5.0
"""Seconds for which no write waits after one that waited in vain, for there may be no replica left: ten times what that
one waited, so that a site without replicas feels little of it."""

SENTINEL_PORT = 26379
SERVER_PORT = 6379


def turns_of(client: Any, kind: type[Turns | AsyncTurns]) -> Callable[[], Any]:
    """What gives a turn at a client's connections, where its pool waits for one that is free; any other makes as many
    as are wanted, or refuses."""
    pool: Any = getattr(client, "connection_pool", None)
    return kind("Redis", pool.max_connections, pool.timeout).one if hasattr(pool, "timeout") else nullcontext


def import_redis() -> ModuleType:
    try:
        import redis.asyncio
        import redis.asyncio.sentinel
        import redis.sentinel
    except ImportError:
        raise ConfigurationError("store", "Redis needs redis-py: pip install 'lumin-middleware[redis]'") from None
    return redis


def trouble() -> tuple[type[Exception], ...]:
    """The errors of redis-py that are the system's; a cluster's is a tree of its own. Python's own are of a name that a
    Sentinel gives and nobody can look up, and of a reply that is none."""
    redis = import_redis()
    return redis.RedisError, redis.exceptions.RedisClusterException, OSError, ValueError, OverflowError


class Term:
    """The time of one primary, and how to find the next."""

    def __init__(self, sentinel: Any = None, service: str = "") -> None:
        self.number = 0
        self._sentinel = sentinel
        self._service = service
        self._looked_at = -LOOK
        self._in_vain: float | None = None
        self._seen: object = None

    def is_over(self) -> None:
        self.number += 1

    def is_due(self) -> bool:
        """Whether the Sentinels must be asked once more; the one who hears so asks."""
        now = time.monotonic()
        due = self._sentinel is not None and now - self._looked_at >= LOOK
        if due:
            self._looked_at = now
        return due

    def is_copied(self) -> bool:
        """Whether there are replicas, one of which will take the primary's place, so that a write waits for them. Where
        one waited in vain, another one tries again after a while, and the others do not wait."""
        if self._sentinel is None or self._in_vain is None:
            return self._sentinel is not None
        now = time.monotonic()
        is_due = now - self._in_vain >= ALONE
        if is_due:
            self._in_vain = now
        return is_due

    def waited(self, replicas: int) -> None:
        """So many had a write in the end."""
        self._in_vain = None if replicas else time.monotonic()

    def sees(self, primary: object) -> int:
        """The number of the term in which this is the primary. Whoever learns of another one tells it to all: else one
        connection would take a lease there while the next one reads the old primary's record."""
        if self._seen not in (None, primary):
            self.is_over()
        self._seen = primary
        return self.number

    def primary(self) -> Any:
        """The host and port of the primary, or what gives them when it is awaited; None where only the URL says."""
        return self._sentinel.discover_master(self._service) if self._sentinel is not None else None

    @property
    def sentinels(self) -> list[Any]:
        """The clients of the Sentinels, which must be closed."""
        return list(self._sentinel.sentinels) if self._sentinel is not None else []


class _OfATerm:
    """What is added to a connection of redis-py, blocking."""

    def __init__(self, *, term: Term, **options: Any) -> None:
        super().__init__(**options)
        self._term = term
        self._made_in = term.number

    def connect(self) -> None:  # before each use
        if self._term.is_due():
            with suppress(*trouble()):  # what was found last may do
                self._term.sees(self._term.primary())
        if self._made_in != self._term.number:
            self.disconnect()  # type: ignore[attr-defined]
            self._made_in = self._term.number
        super().connect()  # type: ignore[misc]

    def _connect(self) -> Any:  # only where it is not connected
        if (primary := self._term.primary()) is not None:
            self.host, self.port = primary
            self._made_in = self._term.sees(primary)
        return super()._connect()  # type: ignore[misc]


class _AsyncOfATerm:
    """The same for asyncio."""

    def __init__(self, *, term: Term, **options: Any) -> None:
        super().__init__(**options)
        self._term = term
        self._made_in = term.number

    async def connect(self) -> None:
        if self._term.is_due():
            with suppress(*trouble()):
                self._term.sees(await self._term.primary())
        if self._made_in != self._term.number:
            await self.disconnect()  # type: ignore[attr-defined]
            self._made_in = self._term.number
        await super().connect()  # type: ignore[misc]

    async def _connect(self) -> Any:
        if (primary := self._term.primary()) is not None:
            self.host, self.port = found = await primary
            self._made_in = self._term.sees(found)
        try:
            return await super()._connect()  # type: ignore[misc]
        except TimeoutError:
            # A loop that a hundred requests keep busy is late to see that it was connected. Nothing is sent yet.
            return await super()._connect()  # type: ignore[misc]


@cache
def _of_a_term(connection_class: type[Any], mixin: type[Any]) -> type[Any]:
    return type(f"Kept{connection_class.__name__}", (mixin, connection_class), {})


def client_maker(url: str, *, asynchronous: bool, credential_provider: Any = None) -> Callable[[], tuple[Any, Term]]:
    """What makes a client for `url`, and its term. `credential_provider` is one of redis-py's.

    Nothing is connected to before a client is used, but that a blocking client of a cluster asks for its plan when it
    is made. Raises `ConfigurationError` for a URL that is none.
    """
    redis = import_redis()
    module = redis.asyncio if asynchronous else redis
    extra = {"credential_provider": credential_provider} if credential_provider is not None else {}
    several = _SEVERAL.fullmatch(url)
    try:
        if several is None:
            _require_database(url)
            options = {**WAITS, **POOL, **_tls(url), **extra}
            _pool(module, url, options, Term())
            return lambda: _client(module, url, options, Term())
        parts = several.groupdict(default="")
        if parts["kind"] == "cluster":
            return _cluster(redis, module, parts, extra)
        return _behind_sentinels(redis, module, parts, extra)
    except (redis.RedisError, TypeError, ValueError):
        raise ConfigurationError("store", f"is no URL of redis-py; give {FORMS}") from None


def _require_database(url: str) -> None:
    """redis-py takes a database that is no number for the first one. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]+", parts.path):
        raise ValueError("the database is no number")


def _tls(url: str) -> dict[str, Any]:
    return {"ssl_check_hostname": True} if url.startswith("rediss") else {}  # the default since redis-py 6


def _pool(module: Any, url: str, options: dict[str, Any], term: Term) -> Any:
    pool = module.BlockingConnectionPool.from_url(url, **options)
    mixin = _AsyncOfATerm if module.__name__.endswith("asyncio") else _OfATerm
    pool.connection_class = _of_a_term(pool.connection_class, mixin)
    pool.connection_kwargs["term"] = term
    require_host(pool.connection_kwargs.get("host", ""))
    pool.connection_class(**pool.connection_kwargs)  # which looks at its options, and connects later
    return pool


def _client(module: Any, url: str, options: dict[str, Any], term: Term) -> tuple[Any, Term]:
    return module.Redis.from_pool(_pool(module, url, options, term)), term


def _places(hosts: str, port: int) -> list[tuple[str, int]]:
    """The hosts and ports of a list that commas part. Raises `ValueError`."""
    places = []
    for host in hosts.split(","):
        parts = urlsplit(f"//{host}")
        if not parts.hostname or parts.path:
            raise ValueError("no host")
        require_host(parts.hostname)
        places.append((parts.hostname, parts.port or port))
    return places


def _one(parts: dict[str, str], query: str) -> str:
    """The URL of one server with the options of several; its host is never asked."""
    user = f"{parts['user']}@" if parts["user"] else ""
    return f"{parts['scheme']}://{user}several/{parts['db'] or 0}?{query}"


def _behind_sentinels(
    redis: ModuleType, module: Any, parts: dict[str, str], extra: dict[str, Any]
) -> Callable[[], tuple[Any, Term]]:
    """A client of the primary; `sentinel_username` and `sentinel_password` are for the Sentinels themselves."""
    given = dict(parse_qsl(parts["query"], keep_blank_values=True, strict_parsing=bool(parts["query"])))
    own = {name.removeprefix("sentinel_"): given.pop(name) for name in list(given) if name.startswith("sentinel_")}
    if not parts["service"] or not own.keys() <= {"username", "password"}:
        raise ValueError("no service, or an option that is none")
    url = _one(parts, urlencode(given))
    options = {**WAITS, **POOL, **_tls(url), **extra}
    places = _places(parts["hosts"], SENTINEL_PORT)
    sentinel = module.sentinel.Sentinel if module is redis else redis.asyncio.sentinel.Sentinel
    secured = {"ssl": True, **_tls(url)} if parts["scheme"] == "rediss" else {}

    def make() -> tuple[Any, Term]:
        asked = sentinel(places, sentinel_kwargs={**WAITS, **_once(redis, module), **secured, **own})
        return _client(module, url, options, Term(asked, parts["service"]))

    _pool(module, url, options, Term())
    return make


def _cluster(
    redis: ModuleType, module: Any, parts: dict[str, str], extra: dict[str, Any]
) -> Callable[[], tuple[Any, Term]]:
    if parts["service"] or parts["db"]:  # a cluster has one database
        raise ValueError("a path")
    url = _one(parts, parts["query"])
    _pool(module, url, {**WAITS, **_tls(url), **extra}, Term())
    connection = redis.asyncio.connection if module is not redis else redis.connection
    options = {**WAITS, **_tls(url), **extra, **connection.parse_url(url)}
    for name in ("host", "port", "db"):
        options.pop(name, None)
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    cluster = redis.asyncio.cluster if module is not redis else redis.cluster
    places = _places(parts["hosts"], SERVER_PORT)

    def make() -> tuple[Any, Term]:
        nodes = [cluster.ClusterNode(host, port) for host, port in places]
        # Until redis-py 6 a cluster counted apart.
        attempts = {"cluster_error_retry_attempts": 0} if int(redis.__version__.partition(".")[0]) < 6 else {}
        return module.RedisCluster(startup_nodes=nodes, **_once(redis, module), **attempts, **options), Term()

    return make


def _once(redis: ModuleType, module: Any) -> dict[str, Any]:
    """What keeps a client from sending a command again when its answer is lost."""
    retry = redis.asyncio.retry.Retry if module is not redis else redis.retry.Retry
    return {"retry": retry(redis.backoff.NoBackoff(), 0)}
