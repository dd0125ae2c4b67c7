"""`PostgresStore` and `AsyncPostgresStore` against a real server: the contract, and what a network adds to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import psycopg
import psycopg_pool
import pytest

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.ports import Store
from lumin_middleware.stores import AsyncPostgresStore, PostgresStore, postgres, postgres_connections
from lumin_middleware.stores.contract import Opener, SharedStoreContract, opened
from tests.patience import PATIENCE
from tests.postgres_server import Postgres

from .limits import unhurried
from .queueing import queued
from .redis_server import Relay, free_port

LONG = 3600.0
COLOURS = [PostgresStore, AsyncPostgresStore]


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.new_database(f"store_{uuid.uuid4().hex}")


@pytest.fixture
def running(postgres: Postgres, url: str) -> Iterator[Postgres]:
    """The server, which the test may stop."""
    yield postgres
    postgres.stop()
    postgres.start()


def new_table(url: str) -> str:
    table = f"record_{uuid.uuid4().hex}"
    with closing(PostgresStore(url, table=table)) as store:
        store.create()
    return table


@pytest.fixture
def table(url: str) -> str:
    return new_table(url)


@pytest.fixture
def sql(url: str) -> Iterator[Any]:
    """psycopg's own view of the server."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class TestPostgresStore(SharedStoreContract):
    short = 100.0
    store_class: Any = PostgresStore

    @pytest.fixture
    def opener(self, postgres: Postgres, url: str, table: str) -> Iterator[Opener]:
        self.server, self.url, self.table, self.broken = postgres, url, table, False
        yield partial(unhurried, self.store_class, url, table=table)
        if self.broken:
            postgres.start()

    def pass_time(self, seconds: float) -> None:
        """Takes so much from what each key has left, which no slow machine can be too late for."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"UPDATE {self.table} SET expires_at = expires_at - {seconds} * interval '1 second'")

    def break_store(self) -> None:
        self.broken = True
        self.server.crash()

    @pytest.mark.usefixtures("limits_of_a_site")  # the pool says that nobody is there when it has waited
    def test_trouble_is_never_not_found(self, store: Store) -> None:
        super().test_trouble_is_never_not_found(store)


class TestAsyncPostgresStore(TestPostgresStore):
    store_class = AsyncPostgresStore


@pytest.fixture(params=COLOURS)
def store_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def store(store_class: Any, url: str, table: str) -> Iterator[Store]:
    with opened(partial(store_class, url, table=table)) as store:
        yield store


def every_verb(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.get("key"),
        lambda: store.swap("key", None, b"new", LONG),
        lambda: store.swap("key", b"value", None, LONG),
    ]


# --- what is in the server ------------------------------------------------------------------------------


def test_a_row_holds_a_digest_of_its_key_and_expires_by_the_servers_clock(store: Store, sql: Any, table: str) -> None:
    store.swap("key", None, b"value", 100.5)
    [row] = sql.execute(f"SELECT length(key), value, expires_at > now() + interval '50 s' FROM {table}").fetchall()
    assert row == (32, b"value", True)


def test_clean_up_outruns_what_expires(store: Store, sql: Any, table: str) -> None:
    for number in range(100):
        store.swap(f"expired {number}", None, b"value", 1e-6)
    for _ in range(2 * postgres.CLEAN_UP_EVERY):
        store.swap("key", store.get("key"), b"value", LONG)
    assert sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0] <= postgres.CLEAN_UP_EVERY


def test_clean_up_finds_what_expired_by_an_index(sql: Any, table: str) -> None:
    sql.execute("SET enable_seqscan = off")
    plan = sql.execute(f"EXPLAIN SELECT key FROM {table} WHERE expires_at <= now() LIMIT 256").fetchall()
    assert f"{table}_expires_at" in str(plan)


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_database_that_isolates_more_loses_no_update(
    store_class: Any, sql: Any, url: str, table: str, isolation: str
) -> None:
    sep = "&" if "?" in url else "?"
    strict = f"{url}{sep}options=-c%20default_transaction_isolation%3D{isolation.replace(' ', '%5C%20')}"
    with opened(partial(store_class, strict, table=table)) as store:

        def count(_: int) -> int:
            done = 0
            while done < 10:
                old = store.get("count")
                with suppress(StoreUnavailable):  # they crossed five times in a row: it was not done
                    done += store.swap("count", old, b"%d" % (int(old or 0) + 1), LONG)
            return done

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(4)))
        assert store.get("count") == b"40"


def test_a_missing_table_is_trouble_and_says_how_to_make_it(store_class: Any, url: str) -> None:
    with opened(partial(store_class, url, table="nobody_made_it")) as store:
        for verb in every_verb(store):
            with pytest.raises(StoreUnavailable, match="lumin-middleware store create"):
                verb()


def test_making_the_table_twice_leaves_what_is_in_it(url: str, table: str) -> None:
    with closing(PostgresStore(url, table=table)) as store:
        store.swap("key", None, b"value", LONG)
        store.create()
        assert store.get("key") == b"value"


def test_many_who_make_the_table_together_all_succeed(url: str, sql: Any) -> None:
    """Containers that start together; PostgreSQL's own "if not exists" fails all but one of them now and then."""
    for _ in range(10):
        table = f"together_{uuid.uuid4().hex}"
        with ExitStack() as stack, ThreadPoolExecutor(6) as threads:
            stores = [stack.enter_context(closing(PostgresStore(url, table=table))) for _ in range(6)]
            assert list(threads.map(lambda store: store.create(), stores)) == [None] * 6
        sql.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("table", ["x" * 51, "x" * 64, f"{'s' * 64}.x", "X", "x-y", "1x", ""])
def test_a_name_that_the_server_would_cut_or_read_otherwise_is_refused(store_class: Any, url: str, table: str) -> None:
    with pytest.raises(ConfigurationError, match="50 characters"):
        store_class(url, table=table)


def test_a_table_may_be_in_a_schema(store_class: Any, url: str, sql: Any) -> None:
    schema = f"schema_{uuid.uuid4().hex}"
    sql.execute(f"CREATE SCHEMA {schema}")
    with closing(PostgresStore(url, table=f"{schema}.record")) as made:
        made.create()
    with opened(partial(store_class, url, table=f"{schema}.record")) as store:
        assert store.swap("key", None, b"value", LONG)
        assert store.get("key") == b"value"


def test_a_standby_is_asked_no_twice_and_never_believed(store: Store, sql: Any, url: str) -> None:
    """As after a failover that the address follows late: what cannot be written is trouble."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    store.swap("key", None, b"value", LONG)
    sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lumin%'")
        with pytest.raises(StoreUnavailable, match="read-only"):
            store.swap("key", b"value", b"new", LONG)
        assert store.get("key") == b"value"
    finally:
        sql.execute("SET default_transaction_read_only = off")
        sql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    # Connections that still think so are not asked a second time.
    assert store.swap("key", b"value", b"new", LONG)


# --- a network ------------------------------------------------------------------------------------------


def relayed(url: str, relay: Relay) -> str:
    port = psycopg.conninfo.conninfo_to_dict(url)["port"]
    return url.replace(f":{port}/", f":{relay.port}/")


def port_of(url: str) -> int:
    return int(str(psycopg.conninfo.conninfo_to_dict(url)["port"]))


@pytest.mark.usefixtures("limits_of_a_site")
def test_a_server_that_was_never_there_is_unavailable(store_class: Any) -> None:
    with opened(partial(store_class, f"postgresql://127.0.0.1:{free_port()}/nobody")) as store:
        with pytest.raises(StoreUnavailable):
            store.get("key")
        with pytest.raises(StoreUnavailable):
            store.swap("key", None, b"new", LONG)


@pytest.mark.usefixtures("limits_of_a_site")
def test_a_store_recovers_when_its_server_does_and_nothing_is_lost(store: Store, running: Postgres) -> None:
    store.swap("key", None, b"value", LONG)
    for _ in range(2):
        running.crash()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        running.start()
        begun = time.monotonic()
        while True:
            try:
                assert store.get("key") == b"value"
                break
            except StoreUnavailable:
                assert time.monotonic() < begun + 60
    assert store.swap("key", b"value", b"new", LONG)


def use_many_connections(store: Store, number_open: Callable[[], int]) -> None:
    start = threading.Barrier(8)

    def use(number: int) -> None:
        start.wait()
        for _ in range(20):
            store.get(f"key {number}")

    with ThreadPoolExecutor(8) as pool:
        while number_open() < 3:
            list(pool.map(use, range(8)))


def test_connections_that_the_server_closed_are_opened_again(store: Store, sql: Any, table: str) -> None:
    ours = "FROM pg_stat_activity WHERE application_name = 'lumin-middleware'"
    for turn in range(3):
        use_many_connections(store, lambda: sql.execute(f"SELECT count(*) {ours}").fetchone()[0])
        sql.execute(f"SELECT pg_terminate_backend(pid, 60000) {ours}")  # milliseconds until it is gone
        assert store.swap(f"key {turn}", None, b"value", LONG)


def test_connections_that_a_firewall_forgot_are_opened_again(store_class: Any, url: str, table: str) -> None:
    with (
        Relay(port_of(url)) as relay,
        opened(partial(store_class, relayed(url, relay), table=table)) as store,
    ):
        use_many_connections(store, lambda: len(relay.clients))
        for old, new in ((None, b"first"), (b"first", b"second")):
            relay.forget()
            assert store.swap("key", old, new, LONG)


def test_a_connection_that_came_to_the_pool_after_others_had_died_is_old_as_well(
    store_class: Any, url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was under way, or somebody gave it back, while the pool was drained of what it kept."""

    async def drain(_: object) -> None: ...

    monkeypatch.setattr(psycopg_pool.ConnectionPool, "drain", lambda _: None)
    monkeypatch.setattr(psycopg_pool.AsyncConnectionPool, "drain", drain)
    with (
        Relay(port_of(url)) as relay,
        opened(partial(store_class, relayed(url, relay), table=table)) as store,
    ):
        use_many_connections(store, lambda: len(relay.clients))
        relay.forget()
        assert store.swap("key", None, b"value", LONG)


def test_a_connection_is_as_old_as_the_wish_for_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of it while it was made, it does not know: a busy machine may look at it long after."""
    now = [1.0]
    monkeypatch.setattr(postgres_connections, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Relay):
        def _serve(self, client: socket.socket) -> None:
            now[0] += 1.0
            super()._serve(client)

    async def begins() -> float:
        made = await postgres_connections.bounded(psycopg.AsyncConnection, psycopg.OperationalError).connect(slow)
        await made.close()
        return float(made.began)

    with Slow(port_of(url)) as relay:
        slow = relayed(url, relay)
        with postgres_connections.bounded(psycopg.Connection, psycopg.OperationalError).connect(slow) as made:
            assert (made.began, now[0]) == (1.0, 2.0)
        assert (asyncio.run(begins()), now[0]) == (2.0, 3.0)


@pytest.mark.usefixtures("limits_of_a_site")
def test_a_server_that_never_answers_is_unavailable(store_class: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/nobody"
        with opened(partial(store_class, url)) as store, pytest.raises(StoreUnavailable):
            store.get("key")


def test_a_server_that_hangs_in_the_middle_is_unavailable(
    store: Store, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "PATIENCE", 0.3)
    store.swap("key", None, b"value", LONG)
    ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'lumin-middleware'"
    pids = [row[0] for row in sql.execute(ours).fetchall()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        # Asked once more, on a new connection, which somebody answers.
        assert store.get("key") == b"value"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_an_answer_that_comes_too_late_is_told_as_that(
    store: Store, sql: Any, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as a connection that broke: a lock, or a slow disk, is not looked for in the network."""
    monkeypatch.setattr(postgres_connections, "PATIENCE", 0.3)
    store.swap("key", None, b"value", LONG)
    with sql.transaction():
        sql.execute(f"LOCK TABLE {table}")
        with pytest.raises(StoreUnavailable, match="no answer within"):
            store.get("key")


def test_a_swap_whose_answer_was_lost_is_sent_once_and_its_outcome_unknown(
    store: Store, store_class: Any, url: str, table: str
) -> None:
    store.swap("key", None, b"value", LONG)
    with (
        Relay(port_of(url), b"UPDATE", cuts=1, answered=True) as relay,
        opened(partial(store_class, relayed(url, relay), table=table)) as cut,
    ):
        with pytest.raises(StoreUnavailable):
            cut.swap("key", b"value", b"new", LONG)
        assert relay.seen == 1
        assert cut.get("key") == b"new"
        assert cut.swap("key", b"new", b"newer", LONG)


def test_a_get_is_asked_once_more_on_a_new_connection(store: Store, store_class: Any, url: str, table: str) -> None:
    store.swap("key", None, b"value", LONG)
    for cuts in (1, 2):
        with (
            Relay(port_of(url), b"SELECT", cuts=cuts, answered=False) as relay,
            opened(partial(store_class, relayed(url, relay), table=table)) as cut,
        ):
            if cuts == 1:
                assert cut.get("key") == b"value"
            else:
                with pytest.raises(StoreUnavailable):
                    cut.get("key")
            assert relay.seen == 2


def test_more_callers_than_connections_wait_for_one(url: str, sql: Any, table: str) -> None:
    async def main() -> None:
        store = AsyncPostgresStore(url, table=table, connections=3)
        await store.swap("key", None, b"value", LONG)
        assert await asyncio.gather(*(store.get("key") for _ in range(200))) == [b"value"] * 200
        await store.aclose()

    asyncio.run(main())


def test_threads_that_wait_for_a_connection_are_not_overtaken(url: str, table: str) -> None:
    served: list[int] = []
    with closing(PostgresStore(url, table=table, connections=1)) as store:

        def ask(number: int) -> None:
            with store._held(f"key {number}"):
                served.append(number)

        def hold(number: int) -> None:
            with store._held("key"):
                held.set()
                assert over.wait(PATIENCE)
            ask(number)  # once more, when the others have waited for long

        held, over = threading.Event(), threading.Event()
        holder = threading.Thread(target=hold, args=(8,))
        holder.start()
        assert held.wait(PATIENCE)
        with queued(8, ask):
            over.set()
        holder.join(PATIENCE)
    assert served == list(range(9))


def test_whoever_waits_for_a_connection_in_vain_is_told(
    store_class: Any, url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "QUEUE", 0.01)
    word = "PostgreSQL: no connection became free within twice 0.01 seconds"

    async def main() -> None:
        store = AsyncPostgresStore(url, table=table, connections=1)
        async with store._held("key"):
            with pytest.raises(StoreUnavailable, match=word):
                await store.get("key")
        assert await store.get("key") is None
        await store.aclose()

    if store_class is AsyncPostgresStore:
        asyncio.run(main())
        return
    with closing(PostgresStore(url, table=table, connections=1)) as store:
        with store._held("key"), pytest.raises(StoreUnavailable, match=word):
            store.get("key")
        assert store.get("key") is None


def test_a_loop_that_was_busy_for_longer_than_anybody_waits_fails_nobody(
    url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "QUEUE", 10_000.0)

    async def main() -> list[bytes | None]:
        store, loop = AsyncPostgresStore(url, table=table, connections=1), asyncio.get_running_loop()
        time, late = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: time() + late)
        async with store._held("key"):
            waiting = [asyncio.create_task(store.get("key")) for _ in range(20)]
            await asyncio.sleep(0)
            late = 3 * postgres.QUEUE
        try:
            return await asyncio.gather(*waiting)
        finally:
            await store.aclose()

    assert asyncio.run(main()) == [None] * 20


# --- settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["postgresql://somebody:s3cret@localhost:port/x?unheard=of", "s3cret"])
def test_a_wrong_url_is_refused_without_repeating_it(store_class: Any, url: str) -> None:
    with pytest.raises(ConfigurationError, match="give postgresql://user:password@host") as caught:
        store_class(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("table", ["", "a.b.c", 'a"b', "a b", "a;b", "{a}"])
def test_a_wrong_table_is_refused(store_class: Any, table: str) -> None:
    with pytest.raises(ConfigurationError, match="no name of a table"):
        store_class("postgresql://localhost/x", table=table)


def test_without_psycopg_the_cure_is_named(store_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'lumin-middleware\[postgres\]'"):
        store_class("postgresql://localhost")


def test_psycopg_is_not_imported_before_a_store_is_made() -> None:
    program = "import sys, lumin_middleware.stores; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


# --- threads, loops, forks ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that is closed cannot close its connections
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_async_store_serves_one_event_loop_after_another(url: str, table: str) -> None:
    store = AsyncPostgresStore(url, table=table)

    async def use(value: bytes | None, new: bytes) -> None:
        assert await store.get("key") == value
        assert await store.swap("key", value, new, LONG)
        await store.aclose()

    asyncio.run(use(None, b"first"))
    asyncio.run(use(b"first", b"second"))
    assert not store._pools


def test_a_cancelled_get_gives_its_answer_to_nobody_else(url: str, table: str) -> None:
    async def main() -> None:
        store = AsyncPostgresStore(url, table=table, connections=1)
        for name in ("mine", "theirs"):
            await store.swap(name, None, name.encode(), LONG)
        for pauses in range(8):
            cancelled = asyncio.create_task(store.get("theirs"))
            for _ in range(pauses):
                await asyncio.sleep(0)
            cancelled.cancel()
            assert await store.get("mine") == b"mine"
        await store.aclose()

    asyncio.run(main())


def test_a_request_that_is_given_up_loses_no_connection(url: str, table: str) -> None:
    """anyio, by which Starlette gives up a request whose client has gone, cancels at each await anew."""

    async def main() -> None:
        store, scope = AsyncPostgresStore(url, table=table, connections=1), anyio.CancelScope()
        assert await store.get("key") is None
        pool, _ = store._pools[asyncio.get_running_loop()]

        async def give_up() -> None:
            with scope:
                async with store._held("key"):
                    await pool._lock.acquire()  # as the pool itself does for moments
                    scope.cancel()

        task = asyncio.create_task(give_up())
        while not scope.cancel_called:
            await asyncio.sleep(0)
        for _ in range(8):
            await asyncio.sleep(0)
        pool._lock.release()
        await task
        assert await store.get("key") is None
        await store.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
def test_requests_that_are_given_up_at_any_moment_lose_no_connection(url: str, table: str, how: str) -> None:
    async def give_up(store: AsyncPostgresStore, seconds: float) -> None:
        if how == "asyncio":
            with suppress(TimeoutError):
                await asyncio.wait_for(store.get("key"), seconds)
        else:
            with anyio.move_on_after(seconds):
                await store.get("key")

    async def main() -> None:
        store = AsyncPostgresStore(url, table=table, connections=2)
        for step in range(100):
            await asyncio.gather(*(give_up(store, (step + part / 4) * 1e-4) for part in range(4)))
        async with store._held("one"), store._held("other"):
            pass
        await store.aclose()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(url: str, table: str) -> None:
    with closing(PostgresStore(url, table=table)) as store:
        store.swap("key", None, b"value", LONG)
        child = os.fork()
        if child == 0:
            os._exit(not all(store.get("key") == b"value" for _ in range(100)))
        assert all(store.get("key") == b"value" for _ in range(100))
        assert os.waitpid(child, 0)[1] == 0
