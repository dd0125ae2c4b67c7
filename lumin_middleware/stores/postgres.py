"""A store in a PostgreSQL that the site has already, 12 or newer; psycopg 3 and its pool.

One table, and one statement a verb, so that the server itself says who of many came first. Expiry goes by the server's
clock. A statement that changes something is sent once: where its answer is lost, nobody knows whether it was done, and
`StoreUnavailable` says so. Reading may be repeated, and is, because servers and firewalls cut idle connections.
So a swap reads first: where that finds something else than `old`, it is answered; where it does not, there is a
connection that lives. What the server says that it did not do (it is no primary any more, two transactions crossed)
is asked again.

What is committed is on the disk unless the server says otherwise (`synchronous_commit`); a replica that takes over has
it if the primary waits for that replica (`synchronous_standby_names`).

psycopg is imported when the first store is made, not with this module.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio

from ..errors import ConfigurationError, StoreUnavailable
from .postgres_connections import PATIENCE, bounded, import_psycopg, require_places
from .postgres_statements import CLEAN_UP, CREATE, DELETE, ONE_AT_A_TIME, REPLACE, SELECT, TABLE, schema
from .turns import AsyncTurns, Turns

CLEAN_UP_EVERY = 64
"""Swaps of one process; each adds one row at most, so that the clean-up outruns them."""

# Seconds, as `PATIENCE` is.
QUEUE = 5.0
"""For one of our connections to become free, where the server answers, twice: as long as people wait for a page."""

DOWN = 1.0
"""In which nobody else waits for a server that has just been found away."""

IDLE = 300.0
"""Seconds after which an unused connection is closed, before most firewalls forget it."""

CONNECTIONS = 20
"""Connections of one process, or of one event loop, at most; a server allows a hundred in all (`max_connections`)."""

ATTEMPTS = 5
"""Times that a swap is sent of which the server says that it did nothing."""

CURE = "give postgresql://user:password@host:5432/database"


class _Postgres:
    """What both colours share: settings, statements, and what went wrong."""

    def __init__(self, url: str, *, table: str = TABLE, connections: int = CONNECTIONS) -> None:
        self._psycopg = import_psycopg()
        self._errors = self._psycopg.errors
        try:
            found = self._psycopg.conninfo.conninfo_to_dict(url)
            require_places(found)
        except (self._psycopg.Error, ValueError):
            raise ConfigurationError("store", f"is no URL of PostgreSQL; {CURE}") from None
        self._conninfo = self._psycopg.conninfo.make_conninfo(
            url, **{"connect_timeout": math.ceil(PATIENCE), "application_name": "lumin-middleware"} | found
        )
        # The server cuts names after 63 bytes, without a word; that of the index is longer than the table's.
        if not re.fullmatch(r"(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,49}", table):
            raise ConfigurationError(
                "store", f"{table!r} is no name of a table that needs no quotes, of at most 50 characters"
            )
        self._connections = connections
        self.table = table
        self.schema = schema(table)
        self._select, self._create, self._replace, self._delete, self._clean = (
            text.format(table=table) for text in (SELECT, CREATE, REPLACE, DELETE, CLEAN_UP)
        )
        self._swaps = 0
        self._down_until = float("-inf")

    def _options(self, connection: Any) -> dict[str, Any]:
        """The arguments of a pool that has nothing open until it is asked, and gives nothing up for long."""
        return {
            "conninfo": self._conninfo,
            "connection_class": bounded(connection, self._errors.OperationalError),
            # A pooler between us and the server (PgBouncer) may know nothing of statements that were prepared.
            "kwargs": {"autocommit": True, "prepare_threshold": None},
            "min_size": 0,
            "max_size": self._connections,
            "open": False,
            "timeout": PATIENCE,
            "max_idle": IDLE,
            "reconnect_timeout": 0,  # one more attempt, after a second; whoever comes then begins again
        }

    def _swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> tuple[str, dict[str, Any]] | None:
        """The statement of a swap that found `old`, and its values; None where nothing is to be changed."""
        if ttl <= 0:
            new = None
        if old is None and new is None:
            return None
        statement = self._delete if new is None else self._create if old is None else self._replace
        return statement, {"key": _digest(key), "old": old, "new": new, "ttl": ttl}

    def _is_time_to_clean_up(self) -> bool:
        self._swaps += 1
        return self._swaps % CLEAN_UP_EVERY == 0

    def _refuse_if_down(self) -> None:
        if time.monotonic() < self._down_until:
            raise StoreUnavailable("PostgreSQL: no connection was to be had a moment ago")

    def _is_down(self) -> None:
        self._down_until = time.monotonic() + DOWN

    def _did_nothing(self, error: Exception) -> bool:
        """Whether the server says so, and may do it when it is asked again on another connection."""
        errors = self._errors
        return isinstance(error, errors.ReadOnlySqlTransaction | errors.SerializationFailure | errors.DeadlockDetected)

    def _was_kept(self, connection: Any, error: BaseException, since: float | None) -> bool:
        """Whether another connection may fare better: after the first failure any; then after one of a connection that
        was begun before it, for what is under way as the pool is drained comes to it later."""
        return isinstance(error, self._errors.OperationalError) and (since is None or connection.began < since)

    def _trouble(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, self._errors.UndefinedTable):
            cure = f"there is no table {self.table}; make it with `lumin-middleware store create`"
            return StoreUnavailable(f"PostgreSQL: {cure}")
        return StoreUnavailable(f"PostgreSQL: {error}")


class PostgresStore(_Postgres):
    """Records in the table `table` of the database at `url` (libpq's words: `postgresql://user:password@host/database`).

    `connections` is the most that one process opens. Of several hosts (`postgresql://a,b/database`) it uses the
    primary with `?target_session_attrs=read-write`. Raises `ConfigurationError` where psycopg is missing or the URL is
    wrong. The table is there already: `create()` makes it.
    """

    def __init__(self, url: str, *, table: str = TABLE, connections: int = CONNECTIONS) -> None:
        super().__init__(url, table=table, connections=connections)
        # By process, since a connection does not survive a fork.
        self._pools: dict[int, tuple[Any, Turns]] = {}

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        with self._held(key) as (_, held):
            return held

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        change = self._swap(key, old, new, ttl)
        for attempt in range(1, ATTEMPTS + 1):
            with self._held(key) as (connection, held):
                if held != old or change is None:
                    return held == old
                try:
                    done: bool = connection.execute(*change).rowcount == 1
                except self._errors.Error as error:
                    if attempt == ATTEMPTS or not self._did_nothing(error):
                        raise
                else:
                    self._clean_up(connection)
                    return done
            self._pool()[0].drain()
        raise AssertionError("the last attempt returns or raises")

    def create(self) -> None:
        """Makes the table and its index, where they are not there. Raises `StoreUnavailable`."""
        try:
            with self._pool()[0].connection() as connection, connection.transaction():
                connection.execute(ONE_AT_A_TIME, {"table": self.table})
                connection.execute(self.schema)
        except self._psycopg.Error as error:
            raise self._trouble(error) from error

    def close(self) -> None:
        """Closes this process's connections."""
        if found := self._pools.pop(os.getpid(), None):
            found[0].close()

    @contextmanager
    def _held(self, key: str) -> Iterator[tuple[Any, bytes | None]]:
        """What a key holds, and the connection that said so; asked again where kept connections have died."""
        pool, turns = self._pool()
        with turns.one():
            try:
                connection, held = self._look(pool, key)
                try:
                    yield connection, held
                finally:
                    pool.putconn(connection)
            except self._psycopg.Error as error:
                raise self._trouble(error) from error

    def _look(self, pool: Any, key: str, *, since: float | None = None) -> tuple[Any, bytes | None]:
        self._refuse_if_down()
        try:
            connection = pool.getconn()
        except self._errors.OperationalError:
            self._is_down()
            raise
        try:
            row = connection.execute(self._select, {"key": _digest(key)}).fetchone()
        except BaseException as error:
            pool.putconn(connection)
            if not self._was_kept(connection, error, since):
                raise
        else:
            return connection, None if row is None else row[0]
        pool.drain()
        return self._look(pool, key, since=since or time.monotonic())

    def _clean_up(self, connection: Any) -> None:
        if self._is_time_to_clean_up():
            with suppress(self._psycopg.Error):  # another swap tries again
                connection.execute(self._clean)

    def _pool(self) -> tuple[Any, Turns]:
        process = os.getpid()
        found = self._pools.get(process)
        if found is None:
            from psycopg_pool import ConnectionPool

            new = ConnectionPool(**self._options(self._psycopg.Connection))
            new.open()
            found = self._pools.setdefault(process, (new, Turns("PostgreSQL", self._connections, QUEUE)))
            if found[0] is not new:  # another thread was faster
                new.close()
        return found


class AsyncPostgresStore(_Postgres):
    """`PostgresStore` for asyncio. Connections belong to the event loop that they were made on."""

    def __init__(self, url: str, *, table: str = TABLE, connections: int = CONNECTIONS) -> None:
        super().__init__(url, table=table, connections=connections)
        self._pools: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncTurns]] = {}

    async def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        async with self._held(key) as (_, held):
            return held

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        change = self._swap(key, old, new, ttl)
        for attempt in range(1, ATTEMPTS + 1):
            async with self._held(key) as (connection, held):
                if held != old or change is None:
                    return held == old
                try:
                    done: bool = (await connection.execute(*change)).rowcount == 1
                except self._errors.Error as error:
                    if attempt == ATTEMPTS or not self._did_nothing(error):
                        raise
                else:
                    await self._clean_up(connection)
                    return done
            with anyio.CancelScope(shield=True):
                await (await self._pool())[0].drain()
        raise AssertionError("the last attempt returns or raises")

    async def aclose(self) -> None:
        """Closes the running loop's connections."""
        if found := self._pools.pop(asyncio.get_running_loop(), None):
            await found[0].close()

    @asynccontextmanager
    async def _held(self, key: str) -> AsyncIterator[tuple[Any, bytes | None]]:
        pool, turns = await self._pool()
        async with turns.one():
            with anyio.CancelScope(shield=True):  # anyio cancels each await anew, and the pool would lose a connection
                try:
                    connection, held = await self._look(pool, key)
                    try:
                        yield connection, held
                    finally:
                        await pool.putconn(connection)
                except self._psycopg.Error as error:
                    raise self._trouble(error) from error

    async def _look(self, pool: Any, key: str, *, since: float | None = None) -> tuple[Any, bytes | None]:
        self._refuse_if_down()
        try:
            connection = await pool.getconn()
        except self._errors.OperationalError:
            self._is_down()
            raise
        try:
            row = await (await connection.execute(self._select, {"key": _digest(key)})).fetchone()
        except BaseException as error:
            await pool.putconn(connection)
            if not self._was_kept(connection, error, since):
                raise
        else:
            return connection, None if row is None else row[0]
        await pool.drain()
        return await self._look(pool, key, since=since or time.monotonic())

    async def _clean_up(self, connection: Any) -> None:
        if self._is_time_to_clean_up():
            with suppress(self._psycopg.Error):
                await connection.execute(self._clean)

    async def _pool(self) -> tuple[Any, AsyncTurns]:
        loop = asyncio.get_running_loop()
        found = self._pools.get(loop)
        if found is None:
            from psycopg_pool import AsyncConnectionPool

            for other in [each for each in self._pools if each.is_closed()]:
                del self._pools[other]
            new = AsyncConnectionPool(**self._options(self._psycopg.AsyncConnection))
            await new.open()
            found = self._pools.setdefault(loop, (new, AsyncTurns("PostgreSQL", self._connections, QUEUE)))
            if found[0] is not new:  # another task was faster
                await new.close()
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
