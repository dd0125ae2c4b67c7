"""A store that machines share: Redis 6 or newer, or a server of its protocol such as Valkey; redis-py 5 to 8.

A swap is one Lua script, which the server runs as one step. It is sent once: where its answer is lost,
nobody knows whether it was done, and `StoreUnavailable` says so. A client that sends again by itself
would be told "no" because of its own first try, and is refused. Reading may be repeated, and is, once,
because servers and firewalls cut idle connections. So a swap reads first: where that finds something
else than `old`, it is answered; where it does not, there is a connection now that lives.

The server must not evict what is alive (`maxmemory-policy noeviction`, the default). Where a replica
takes over, the last moments before it may be lost.

redis-py is imported when the first store is made, not with this module.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..errors import ConfigurationError, StoreUnavailable

SWAP = """
local held = redis.call("GET", KEYS[1])
if held ~= (ARGV[1] == "present" and ARGV[2]) then return 0 end
if ARGV[4] == "0" then redis.call("DEL", KEYS[1])
else redis.call("SET", KEYS[1], ARGV[3], "PX", ARGV[4]) end
return 1
"""
SWAP_SHA = hashlib.sha1(SWAP.encode(), usedforsecurity=False).hexdigest()

# Seconds. Requests wait behind these, and a lease must outlive them. A server near by answers in less than
# a millisecond, so one that takes a second is down. Options of the URL go before them.
OPTIONS = {
    "socket_connect_timeout": 1.0,
    "socket_timeout": 2.0,
    "max_connections": 50,  # of one process, or of one event loop
    "timeout": 2.0,  # for one of them to become free
}


class RedisStore:
    """Records in Redis, under keys that begin with `prefix`.

    `client` is a URL (`redis://`, `rediss://` with TLS, `unix://`) or a client of redis-py, be it a
    cluster's or a sentinel's, that was made with `retry=Retry(NoBackoff(), 0)`.

    Raises `ConfigurationError` where redis-py is missing, the URL is wrong, or the client is one that
    decodes what it reads or sends commands again.
    """

    def __init__(self, client: Any, *, prefix: str = "lumin:") -> None:
        self._redis = _import_redis()
        self._trouble = (self._redis.RedisError, OSError)
        self._prefix = prefix
        self._owned = isinstance(client, str)
        self._client = _checked(_from_url(client, self._redis) if self._owned else client, asynchronous=False)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        name = (self._prefix + key).encode()
        try:
            try:
                return self._client.get(name)  # type: ignore[no-any-return]
            except self._redis.ConnectionError:
                return self._client.get(name)  # type: ignore[no-any-return]
        except self._trouble as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        if self.get(key) != old:
            return False
        arguments = _arguments(self._prefix + key, old, new, ttl)
        try:
            try:
                done = self._client.evalsha(SWAP_SHA, 1, *arguments)
            except self._redis.exceptions.NoScriptError:  # the server is new to it, and ran nothing
                done = self._client.eval(SWAP, 1, *arguments)
        except self._trouble as error:
            raise StoreUnavailable(f"Redis: {error}") from error
        return bool(done)

    def close(self) -> None:
        """Closes the connections, unless they are those of a client that was given."""
        if self._owned:
            self._client.close()


class AsyncRedisStore:
    """`RedisStore` for asyncio.

    Connections belong to the event loop that they were made on, so `client` is a URL or a function that
    makes a client of `redis.asyncio`, each used once for every loop. A client itself will do where
    there is one loop only.

    Raises `ConfigurationError` as `RedisStore` does.
    """

    def __init__(self, client: Any, *, prefix: str = "lumin:") -> None:
        self._redis = _import_redis()
        self._trouble = (self._redis.RedisError, OSError)
        self._prefix = prefix
        self._owned = isinstance(client, str) or callable(client)
        self._make: Callable[[], Any] = client if callable(client) else lambda: client
        if isinstance(client, str):
            self._make = lambda: _from_url(client, self._redis.asyncio)
        _checked(self._make(), asynchronous=True)
        # Not by weak reference, which would never end: an open connection leads back to its loop.
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}

    async def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        name = (self._prefix + key).encode()
        client = self._client()
        try:
            try:
                return await client.get(name)  # type: ignore[no-any-return]
            except self._redis.ConnectionError:
                return await client.get(name)  # type: ignore[no-any-return]
        except self._trouble as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        if await self.get(key) != old:
            return False
        arguments = _arguments(self._prefix + key, old, new, ttl)
        client = self._client()
        try:
            try:
                done = await client.evalsha(SWAP_SHA, 1, *arguments)
            except self._redis.exceptions.NoScriptError:  # the server is new to it, and ran nothing
                done = await client.eval(SWAP, 1, *arguments)
        except self._trouble as error:
            raise StoreUnavailable(f"Redis: {error}") from error
        return bool(done)

    async def aclose(self) -> None:
        """Closes the running loop's connections, unless they are those of a client that was given."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if self._owned and client is not None:
            await client.aclose()

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for other in list(self._clients):
                if other.is_closed():
                    del self._clients[other]
            self._clients[loop] = self._make()
        return self._clients[loop]


def _arguments(name: str, old: bytes | None, new: bytes | None, ttl: float) -> tuple[str | bytes | int, ...]:
    milliseconds = 0 if new is None or ttl <= 0 else math.ceil(ttl * 1000)
    return name.encode(), "absent" if old is None else "present", old or b"", new or b"", milliseconds


def _import_redis() -> ModuleType:
    try:
        import redis.asyncio
    except ImportError:
        raise ConfigurationError("store", "Redis needs redis-py: pip install 'lumin-middleware[redis]'") from None
    return redis


def _from_url(url: str, module: Any) -> Any:
    """A client of `redis` or `redis.asyncio`. No error repeats the URL: it may hold a password."""
    tls = {"ssl_check_hostname": True} if url.startswith("rediss:") else {}  # the default since redis-py 6
    try:
        pool = module.BlockingConnectionPool.from_url(url, **OPTIONS, **tls)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "store", "is no URL of redis-py; give redis://user:password@host:6379/0, rediss://… or unix:///path"
        ) from None
    return module.Redis.from_pool(pool)


def _checked(client: Any, *, asynchronous: bool) -> Any:
    """`client`, whose answers can be relied on."""
    if inspect.iscoroutinefunction(client.execute_command) != asynchronous:
        nature, store = ("not ", "RedisStore") if asynchronous else ("", "AsyncRedisStore")
        raise ConfigurationError("store", f"the Redis client is {nature}asyncio's; give it to {store}")
    if client.get_encoder().decode_responses:
        raise ConfigurationError("store", "the Redis client decodes what it reads; set decode_responses=False")
    if cure := _sends_again(client):
        raise ConfigurationError("store", f"the Redis client sends a command again if its answer is lost; set {cure}")
    return client


def _sends_again(client: Any) -> str | None:
    """Whether `client` does so; and if, the argument that stops it."""
    if getattr(client, "cluster_error_retry_attempts", 0):  # a cluster's, until redis-py 6
        return "cluster_error_retry_attempts=0"
    pool = getattr(client, "connection_pool", None)
    retry = client.retry if pool is None else pool.connection_class(**pool.connection_kwargs).retry
    return "retry=Retry(NoBackoff(), 0)" if retry is not None and retry._retries else None
