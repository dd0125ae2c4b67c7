"""A store that machines share: Redis 6 or newer, or a server of its protocol such as Valkey; redis-py 5 to 8.

A swap is one Lua script, which the server runs as one step. It is sent once: where its answer is lost,
nobody knows whether it was done, and `StoreUnavailable` says so. A client that sends again by itself
would be told "no" because of its own first try, and is refused. Reading may be repeated, and is, once,
because servers and firewalls cut idle connections, and because an event loop that stood still has not seen what was
answered. So a swap reads first: where that finds something else than `old`, it is answered; where it does not, there
is a connection now that lives.

A server that says it is no primary has done nothing, so either verb is sent to another once, on a new connection.

The server must not evict what is alive (`maxmemory-policy noeviction`, the default). Behind Sentinels a swap
is answered when a replica has it, too (`WAIT`): where a primary takes with it who renews, a refresh token is
sent twice, and that ends its session. Where a replica takes over that has not got it, as in any other set-up,
the last moments may be lost.

redis-py is imported when the first store is made, not with this module.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import ConfigurationError, StoreUnavailable
from .pulse import Pulse
from .redis_clients import Term, client_maker, import_redis, trouble, turns_of
from .turns import AsyncTurns, Turns

SWAP = """
local held = redis.call("GET", KEYS[1])
if held ~= (ARGV[1] == "present" and ARGV[2]) then return 0 end
if ARGV[4] == "0" then redis.call("DEL", KEYS[1])
else redis.call("SET", KEYS[1], ARGV[3], "PX", ARGV[4]) end
return 1
"""
SWAP_SHA = hashlib.sha1(SWAP.encode(), usedforsecurity=False).hexdigest()

COPIED = 500
"""Milliseconds that a write waits for a replica to have it. One near by takes less than one."""


class RedisStore:
    """Records in Redis, under keys that begin with `prefix`.

    `client` is a URL (`redis://`, `rediss://` with TLS, `unix://`, `redis+sentinel://host,host/service`,
    `redis+cluster://host,host`) or a client of redis-py, be it a cluster's or a sentinel's, that was made with
    `retry=Retry(NoBackoff(), 0)`. `credential_provider` is redis-py's, beside a URL without a password: it is asked
    for each connection, so that passwords may change.

    Raises `ConfigurationError` where redis-py is missing, the URL is wrong, or the client is one that
    decodes what it reads or sends commands again.
    """

    def __init__(self, client: Any, *, prefix: str = "lumin:", credential_provider: Any = None) -> None:
        self._redis = import_redis()
        self._trouble = trouble()
        self._prefix = prefix
        self._owned = isinstance(client, str)
        self._making = threading.Lock()
        self._made: tuple[Any, Term] | None = None
        self._turns: dict[int, Callable[[], Any]] = {}  # by process: whoever had one at a fork has none in the child
        if self._owned:
            self._make = client_maker(client, asynchronous=False, credential_provider=credential_provider)
            if "+cluster:" not in client:  # which asks for its plan when it is made
                _checked(self._client()[0], asynchronous=False)
        else:
            _require_url(credential_provider)
            self._made = _checked(client, asynchronous=False), Term()

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        name = (self._prefix + key).encode()
        return self._asked(lambda client, _: client.get(name), again=self._redis.ConnectionError)  # type: ignore[no-any-return]

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        if self.get(key) != old:
            return False
        arguments = _arguments(self._prefix + key, old, new, ttl)

        def run(client: Any, term: Term) -> Any:
            try:
                return write(client, term, "EVALSHA", SWAP_SHA, 1, *arguments)
            except self._redis.exceptions.NoScriptError:  # the server is new to it, and ran nothing
                return write(client, term, "EVAL", SWAP, 1, *arguments)

        def write(client: Any, term: Term, *command: Any) -> Any:
            if not term.is_copied():
                return client.execute_command(*command)
            with client.pipeline(transaction=False) as together:  # by one connection, whose writes are waited for
                together.execute_command(*command).execute_command("WAIT", 1, _patience(client))
                return _waited_for(term, *together.execute(raise_on_error=False))

        return bool(self._asked(run))

    def close(self) -> None:
        """Closes the connections, unless they are those of a client that was given."""
        if self._owned and self._made is not None:
            client, term = self._made
            for each in (client, *term.sentinels):
                each.close()

    def _asked(self, ask: Callable[[Any, Term], Any], again: type[Exception] | tuple[()] = ()) -> Any:
        """The answer; asked for again once after an error of that class, or where the server did nothing."""
        try:
            client, term = self._client()
            with self._turn(client):
                try:
                    return ask(client, term)
                except self._trouble as error:
                    if is_no_primary(error, self._redis):
                        term.is_over()
                        if not self._owned and hasattr(client, "connection_pool"):
                            _idle(client.connection_pool.disconnect)
                    elif not isinstance(error, again):
                        raise
                return ask(client, term)
        except self._trouble as error:
            if self._owned and is_lost(error, self._redis):
                self._made = None  # the next asks the places of the URL again
            raise StoreUnavailable(f"Redis: {error}") from error

    def _client(self) -> tuple[Any, Term]:
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _turn(self, client: Any) -> Any:
        process = os.getpid()
        turns = self._turns.get(process) or self._turns.setdefault(process, turns_of(client, Turns))
        return turns()


class AsyncRedisStore:
    """`RedisStore` for asyncio.

    Connections belong to the event loop that they were made on, so `client` is a URL or a function that
    makes a client of `redis.asyncio`, each used once for every loop. A client itself will do where
    there is one loop only.

    Raises `ConfigurationError` as `RedisStore` does.
    """

    def __init__(self, client: Any, *, prefix: str = "lumin:", credential_provider: Any = None) -> None:
        self._redis = import_redis()
        self._trouble = trouble()
        self._prefix = prefix
        self._owned = isinstance(client, str) or callable(client)
        self._make: Callable[[], tuple[Any, Term]]
        if isinstance(client, str):
            self._make = client_maker(client, asynchronous=True, credential_provider=credential_provider)
        else:
            _require_url(credential_provider)
            self._make = (lambda: (client(), Term())) if callable(client) else lambda: (client, Term())
        self._is_url = isinstance(client, str)
        _checked(self._make()[0], asynchronous=True)
        # Not by weak reference, which would never end: an open connection leads back to its loop.
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, Term, Callable[[], Any]]] = {}

    async def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        name = (self._prefix + key).encode()
        return await self._asked(lambda client, _: client.get(name), again=self._redis.ConnectionError)  # type: ignore[no-any-return]

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        if await self.get(key) != old:
            return False
        arguments = _arguments(self._prefix + key, old, new, ttl)

        async def run(client: Any, term: Term) -> Any:
            try:
                return await write(client, term, "EVALSHA", SWAP_SHA, 1, *arguments)
            except self._redis.exceptions.NoScriptError:  # the server is new to it, and ran nothing
                return await write(client, term, "EVAL", SWAP, 1, *arguments)

        async def write(client: Any, term: Term, *command: Any) -> Any:
            if not term.is_copied():
                return await client.execute_command(*command)
            async with client.pipeline(transaction=False) as together:
                together.execute_command(*command).execute_command("WAIT", 1, _patience(client))
                return _waited_for(term, *await together.execute(raise_on_error=False))

        return bool(await self._asked(run))

    async def aclose(self) -> None:
        """Closes the running loop's connections, unless they are those of a client that was given."""
        found = self._clients.pop(asyncio.get_running_loop(), None)
        if self._owned and found is not None:
            for each in (found[0], *found[1].sentinels):
                await each.aclose()

    async def _asked(self, ask: Callable[[Any, Term], Awaitable[Any]], again: type[Exception] | tuple[()] = ()) -> Any:
        """As `RedisStore._asked`."""
        client, term, turn = self._client()
        try:
            async with turn():
                try:
                    with Pulse() as pulse:
                        return await ask(client, term)
                except self._trouble as error:
                    if is_no_primary(error, self._redis):
                        term.is_over()
                        if not self._is_url and hasattr(client, "connection_pool"):
                            await _idle(client.connection_pool.disconnect)
                    elif not isinstance(error, again) and not (again and _is_late(error, pulse, self._redis)):
                        raise
                return await ask(client, term)
        except self._trouble as error:
            if self._owned and is_lost(error, self._redis):
                await self.aclose()
            raise StoreUnavailable(f"Redis: {error}") from error

    def _client(self) -> tuple[Any, Term, Callable[[], Any]]:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for other in list(self._clients):
                if other.is_closed():
                    del self._clients[other]
            client, term = self._make()
            self._clients[loop] = client, term, turns_of(client, AsyncTurns)
        return self._clients[loop]


def _arguments(name: str, old: bytes | None, new: bytes | None, ttl: float) -> tuple[str | bytes | int, ...]:
    milliseconds = 0 if new is None or ttl <= 0 else math.ceil(ttl * 1000)
    return name.encode(), "absent" if old is None else "present", old or b"", new or b"", milliseconds


def _waited_for(term: Term, answer: Any, replicas: Any) -> Any:
    """The answer to a write. Errors come as values: redis-py would put the command into what it raises."""
    term.waited(replicas if isinstance(replicas, int) else 0)
    if isinstance(answer, Exception):
        raise answer
    if str(replicas).startswith("UNBLOCKED"):  # it is a primary no more, and what it took may be lost
        raise replicas
    return answer


def _patience(client: Any) -> int:
    """Milliseconds that a write waits for a replica, which the client itself must outwait."""
    limit = client.connection_pool.connection_kwargs.get("socket_timeout")
    return COPIED if limit is None else max(1, min(COPIED, int(limit * 500)))


def is_no_primary(error: BaseException, redis: Any) -> bool:
    """Whether a server says that it is a replica, or a primary whose replicas have left it, so that nothing was done.

    Redis 6 says so of a script in its own words, and redis-py's Sentinel client in those of another error.
    """
    kinds = (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError)
    said = any(word in str(error) for word in ("READONLY", "NOREPLICAS"))
    return said or isinstance(error, kinds) or isinstance(error.__context__, kinds)


def is_lost(error: BaseException, redis: Any) -> bool:
    """Whether a cluster's client knows no node that answers: it forgets the places that it was given."""
    return isinstance(error, redis.exceptions.RedisClusterException)


def _is_late(error: BaseException, pulse: Pulse, redis: Any) -> bool:
    """Whether it is the loop that came too late, and not the answer."""
    return isinstance(error, redis.TimeoutError) and pulse.was_missing()


def _idle(disconnect: Callable[..., Any]) -> Any:
    """Closes what a client that was given keeps and nobody uses."""
    try:
        return disconnect(inuse_connections=False)
    except TypeError:  # redis-py 5's pool that blocks knows no difference
        return disconnect()


def _require_url(credential_provider: Any) -> None:
    if credential_provider is not None:
        raise ConfigurationError("store", "takes a credential_provider beside a URL; give a client its own")


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
