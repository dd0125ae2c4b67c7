"""`RedisStore` and `AsyncRedisStore` against a real server: the contract, and what a network adds to it."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.ports import Store
from lumin_middleware.stores import AsyncRedisStore, RedisStore, pulse
from lumin_middleware.stores.contract import Opener, SharedStoreContract, opened
from tests.patience import PATIENCE

from .limits import unhurried
from .queueing import queued
from .redis_server import RedisServer, Relay, free_port

LONG = 3600.0
COLOURS = [RedisStore, AsyncRedisStore]

once = Retry(NoBackoff(), 0)
once_async = AsyncRetry(NoBackoff(), 0)
before_redis_py_6: dict[str, Any] = (
    {"cluster_error_retry_attempts": 0} if int(redis.__version__.partition(".")[0]) < 6 else {}
)


class TestRedisStore(SharedStoreContract):
    short = 100.0
    store_class: Any = RedisStore

    @pytest.fixture
    def opener(self, redis_server: RedisServer) -> Opener:
        self.server = redis_server
        self.prefix = f"{uuid.uuid4()}:"
        return partial(unhurried, self.store_class, redis_server.url, prefix=self.prefix)

    def pass_time(self, seconds: float) -> None:
        """Takes so much from what each key has left, which no slow machine can be too late for."""
        with redis.Redis(port=self.server.port, retry=once) as client:
            for key in client.scan_iter(f"{self.prefix}*"):
                client.pexpire(key, max(0, client.pttl(key) - math.ceil(seconds * 1000)))

    def break_store(self) -> None:
        self.server.stop()


class TestAsyncRedisStore(TestRedisStore):
    store_class = AsyncRedisStore


@pytest.fixture(params=COLOURS)
def store_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4()}:"


@pytest.fixture
def store(store_class: Any, redis_server: RedisServer, prefix: str) -> Iterator[Store]:
    with opened(partial(store_class, redis_server.url, prefix=prefix)) as store:
        yield store


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[Any]:
    """redis-py's own view of the server."""
    with redis.Redis(port=redis_server.port, retry=once) as client:
        yield client


# --- what is in the server ------------------------------------------------------------------------------


def test_a_key_has_the_prefix_and_a_ttl_in_milliseconds(store: Store, server: Any, prefix: str) -> None:
    store.swap("key", None, b"value", 100.5)
    assert server.keys(f"{prefix}*") == [f"{prefix}key".encode()]
    assert 50_000 < server.pttl(f"{prefix}key") <= 100_500


def test_the_server_lets_a_value_expire(store: Store, server: Any, prefix: str) -> None:
    assert store.swap("key", None, b"value", 0.02)
    while store.get("key") is not None:
        time.sleep(0.005)
    assert store.swap("key", None, b"new", LONG)


def test_the_prefix_is_ours_unless_another_is_given(redis_server: RedisServer, server: Any) -> None:
    key = str(uuid.uuid4())
    with closing(RedisStore(redis_server.url)) as store:
        store.swap(key, None, b"value", LONG)
        assert server.exists(f"lumin:{key}")
        store.swap(key, b"value", None, LONG)


def test_a_server_that_forgot_the_script_is_told_again(store: Store, server: Any) -> None:
    assert store.swap("key", None, b"first", LONG)
    server.script_flush()
    assert store.swap("key", b"first", b"second", LONG)
    server.script_flush()
    assert not store.swap("key", b"first", b"third", LONG)
    assert store.get("key") == b"second"


def test_a_value_of_another_type_is_trouble_and_left_alone(store: Store, server: Any, prefix: str) -> None:
    server.rpush(f"{prefix}key", "theirs")
    for verb in every_verb(store):
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            verb()
    assert server.lrange(f"{prefix}key", 0, -1) == [b"theirs"]


def test_a_server_without_memory_refuses_new_values_and_still_reads(
    store: Store, server: Any, request: pytest.FixtureRequest
) -> None:
    store.swap("key", None, b"value", LONG)
    request.addfinalizer(lambda: server.config_set("maxmemory", 0))
    server.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        store.swap("key", b"value", b"new", LONG)
    assert store.get("key") == b"value"


# --- a network ------------------------------------------------------------------------------------------


def every_verb(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.get("key"),
        lambda: store.swap("key", None, b"new", LONG),
        lambda: store.swap("key", b"value", None, LONG),
    ]


def test_a_server_that_was_never_there_is_unavailable(store_class: Any) -> None:
    with opened(partial(store_class, f"redis://127.0.0.1:{free_port()}")) as store:
        for verb in every_verb(store):
            with pytest.raises(StoreUnavailable):
                verb()


def test_a_store_recovers_when_its_server_does(store: Store, redis_server: RedisServer) -> None:
    store.swap("key", None, b"value", LONG)
    redis_server.stop()
    with pytest.raises(StoreUnavailable):
        store.get("key")
    redis_server.start()
    assert store.get("key") is None  # it keeps nothing on disk
    assert store.swap("key", None, b"value", LONG)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
def test_a_server_whose_name_nobody_can_look_up_is_unavailable(store_class: Any, host: str) -> None:
    """A URL that names it is refused; a client that was given may, and a Sentinel or a node of a cluster."""
    module, retry = (redis, once) if store_class is RedisStore else (redis.asyncio, once_async)
    with opened(partial(store_class, module.Redis(host=host, retry=retry))) as store:
        for verb in every_verb(store):
            with pytest.raises(StoreUnavailable):
                verb()


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_so_is_one_that_such_a_server_is_asked_for(
    store_class: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lumin_middleware.stores.redis_clients.require_host", lambda host: None)
    with opened(partial(store_class, f"redis+{kind}://a..b" + ("/service" if kind == "sentinel" else ""))) as store:
        for verb in every_verb(store):
            with pytest.raises(StoreUnavailable):
                verb()


def use_many_connections(store: Store, number_open: Callable[[], int]) -> None:
    start = threading.Barrier(8)

    def use(number: int) -> None:
        start.wait()
        for _ in range(20):
            store.get(f"key {number}")

    with ThreadPoolExecutor(8) as pool:
        while number_open() < 4:
            list(pool.map(use, range(8)))


def test_connections_that_the_server_closed_are_opened_again(store: Store, server: Any) -> None:
    for turn in range(3):
        use_many_connections(store, lambda: len(server.client_list(_type="normal")) - 1)
        server.client_kill_filter(_type="normal", skipme=True)
        assert store.swap(f"key {turn}", None, b"value", LONG)


def test_connections_that_a_firewall_forgot_are_opened_again(
    store_class: Any, redis_server: RedisServer, prefix: str
) -> None:
    with (
        Relay(redis_server.port) as relay,
        opened(partial(store_class, f"redis://127.0.0.1:{relay.port}", prefix=prefix)) as store,
    ):
        use_many_connections(store, lambda: len(relay.clients))
        for old, new in ((None, b"first"), (b"first", b"second")):
            relay.forget()
            assert store.swap("key", old, new, LONG)


def test_a_server_that_never_answers_is_unavailable(store_class: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=0.1"
        with opened(partial(store_class, url)) as store:
            for verb in every_verb(store):
                with pytest.raises(StoreUnavailable):
                    verb()


def test_a_swap_whose_answer_was_lost_is_sent_once_and_its_outcome_unknown(
    store: Store, store_class: Any, redis_server: RedisServer, prefix: str
) -> None:
    store.swap("key", None, b"value", LONG)
    with (
        Relay(redis_server.port, b"EVALSHA", cuts=1, answered=True) as relay,
        opened(partial(store_class, f"redis://127.0.0.1:{relay.port}", prefix=prefix)) as cut,
    ):
        with pytest.raises(StoreUnavailable):
            cut.swap("key", b"value", b"new", LONG)
        assert relay.seen == 1
        assert cut.get("key") == b"new"
        assert cut.swap("key", b"new", b"newer", LONG)


def test_a_get_is_asked_once_more_on_a_new_connection(
    store: Store, store_class: Any, redis_server: RedisServer, prefix: str
) -> None:
    store.swap("key", None, b"value", LONG)
    for cuts, asked in ((1, 2), (2, 2)):
        with (
            Relay(redis_server.port, b"GET", cuts=cuts, answered=False) as relay,
            opened(partial(store_class, f"redis://127.0.0.1:{relay.port}", prefix=prefix)) as cut,
        ):
            if cuts == 1:
                assert cut.get("key") == b"value"
            else:
                with pytest.raises(StoreUnavailable):
                    cut.get("key")
            assert relay.seen == asked


def test_a_unix_socket_serves_too(store_class: Any, redis_server: RedisServer, prefix: str) -> None:
    with opened(partial(store_class, f"unix://{redis_server.socket}", prefix=prefix)) as store:
        assert store.swap("key", None, b"value", LONG)
        assert store.get("key") == b"value"


def test_a_wrong_password_is_unavailable_and_not_repeated(store_class: Any, redis_server: RedisServer) -> None:
    with opened(partial(store_class, f"redis://somebody:s3cret@127.0.0.1:{redis_server.port}")) as store:
        for verb in every_verb(store):
            with pytest.raises(StoreUnavailable) as caught:
                verb()
            assert "s3cret" not in str(caught.value)


def test_a_certificate_is_asked_for_over_tls() -> None:
    store = RedisStore("rediss://127.0.0.1")
    pool = store._client()[0].connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert isinstance(connection, redis.SSLConnection)
    assert (connection.cert_reqs, connection.check_hostname) == (ssl.CERT_REQUIRED, True)


# --- clients --------------------------------------------------------------------------------------------


def test_a_client_that_was_given_is_used_and_not_closed(server: Any, prefix: str) -> None:
    with closing(RedisStore(server, prefix=prefix)) as store:
        assert store.swap("key", None, b"value", LONG)
        assert store.get("key") == b"value"
    connections = server.connection_pool._available_connections
    assert connections
    assert all(connection._sock for connection in connections)


@pytest.mark.parametrize(
    ("store_class", "client", "cure"),
    [
        (RedisStore, partial(redis.Redis, decode_responses=True, retry=once), "decode_responses=False"),
        (RedisStore, partial(redis.Redis, retry=Retry(NoBackoff(), 1)), "retry=Retry"),
        (RedisStore, partial(redis.Redis.from_url, "redis://", retry_on_error=[redis.TimeoutError]), "retry=Retry"),
        (RedisStore, partial(redis.asyncio.Redis, retry=once_async), "give it to AsyncRedisStore"),
        (AsyncRedisStore, partial(redis.asyncio.Redis, decode_responses=True, retry=once_async), "decode_responses"),
        (AsyncRedisStore, partial(redis.asyncio.Redis, retry=AsyncRetry(NoBackoff(), 1)), "retry=Retry"),
        (AsyncRedisStore, partial(redis.Redis, retry=once), "give it to RedisStore"),
    ],
)
def test_a_client_that_cannot_be_relied_on_is_refused(store_class: Any, client: Any, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        store_class(client())
    if store_class is AsyncRedisStore:
        with pytest.raises(ConfigurationError, match=cure):
            store_class(client)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis://somebody:s3cret@localhost:port",
        "redis://somebody:s3/cret@localhost",
        "redis://somebody:s3cret@localhost?db=first",
        "redis://somebody:s3cret@localhost?unheard=of",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(store_class: Any, url: str) -> None:
    with pytest.raises(ConfigurationError, match="give redis://user:password@host:6379/0") as caught:
        store_class(url)
    assert "s3" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("option", ["decode_responses=true", "retry_on_timeout=true"])
def test_a_url_may_not_ask_for_what_a_client_may_not_do(store_class: Any, option: str) -> None:
    with pytest.raises(ConfigurationError, match="set "):
        store_class(f"redis://localhost?{option}")


def test_without_redis_py_the_cure_is_named(store_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'lumin-middleware\[redis\]'"):
        store_class("redis://localhost")


def test_redis_py_is_not_imported_before_a_store_is_made() -> None:
    program = "import sys, lumin_middleware.stores; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def exercise(store: Store, prefix: str) -> None:
    key = f"{prefix} of a cluster"
    assert store.get(key) is None
    assert store.swap(key, None, b"first", LONG)
    assert not store.swap(key, None, b"second", LONG)
    assert store.swap(key, b"first", b"second", LONG)
    assert store.get(key) == b"second"
    assert store.swap(key, b"second", None, LONG)


@pytest.fixture(scope="module")
def cluster(redis_binary: str) -> Iterator[RedisServer]:
    """A cluster of one."""
    with RedisServer(redis_binary, "--cluster-enabled", "yes") as server:
        with redis.Redis(port=server.port, retry=once) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while client.cluster("INFO")["cluster_state"] != "ok":  # a new primary waits for two seconds
                time.sleep(0.05)
        yield server


def test_a_cluster_serves_too(cluster: RedisServer, prefix: str) -> None:
    with redis.RedisCluster(host="127.0.0.1", port=cluster.port, retry=once, **before_redis_py_6) as client:
        exercise(RedisStore(client), prefix)
    with pytest.raises(ConfigurationError, match="set "):
        RedisStore(redis.RedisCluster(host="127.0.0.1", port=cluster.port))


def test_an_async_cluster_serves_too(cluster: RedisServer, prefix: str) -> None:
    make = partial(redis.asyncio.RedisCluster, host="127.0.0.1", port=cluster.port)
    with opened(partial(AsyncRedisStore, partial(make, retry=once_async, **before_redis_py_6))) as store:
        exercise(store, prefix)
    with pytest.raises(ConfigurationError, match="set "):
        AsyncRedisStore(make)


def test_a_sentinel_serves_too(redis_binary: str, redis_server: RedisServer, prefix: str) -> None:
    configuration = f"sentinel monitor sessions 127.0.0.1 {redis_server.port} 1\n"
    with RedisServer(redis_binary, "--sentinel", configuration=configuration) as sentinel:
        client = redis.Sentinel([("127.0.0.1", sentinel.port)]).master_for("sessions", retry=once)
        exercise(RedisStore(client), prefix)
        client.close()


# --- threads, loops, forks ------------------------------------------------------------------------------


def test_more_callers_than_connections_wait_for_one(redis_server: RedisServer, server: Any, prefix: str) -> None:
    async def main() -> None:
        store = AsyncRedisStore(f"{redis_server.url}?max_connections=4", prefix=prefix)
        await store.swap("key", None, b"value", LONG)
        assert await asyncio.gather(*(store.get("key") for _ in range(300))) == [b"value"] * 300
        assert len(store._client()[0].connection_pool._available_connections) <= 4
        await store.aclose()

    asyncio.run(main())


def test_whoever_waits_for_a_connection_is_not_overtaken(redis_server: RedisServer, prefix: str) -> None:
    async def main() -> None:
        store = AsyncRedisStore(f"{redis_server.url}?max_connections=4&timeout=60", prefix=prefix)
        answered = [0] * 40

        async def ask(number: int) -> None:
            while answered[number] < 20:
                await store.get(f"key-{number}")
                answered[number] += 1
                assert max(answered) - min(answered) <= 2

        await asyncio.gather(*map(ask, range(len(answered))))
        await store.aclose()

    asyncio.run(main())


def test_threads_that_wait_for_a_connection_are_not_overtaken(
    redis_server: RedisServer, server: Any, prefix: str
) -> None:
    gate, served = f"{prefix}gate", f"{prefix}served"
    url = f"{redis_server.url}?max_connections=1&timeout=600&socket_timeout=600"
    with closing(RedisStore(url, prefix=prefix)) as store:
        for number in range(8):
            store.swap(f"key {number}", None, b"value", LONG)

        def hold(number: int) -> None:
            store._asked(lambda client, _: client.execute_command("BLPOP", gate, 0))
            ask(number)  # once more, when the others have waited for long

        def ask(number: int) -> None:
            store._asked(lambda client, _: client.rpush(served, number))

        holder = threading.Thread(target=hold, args=(8,))
        holder.start()
        while not any(client["cmd"] == "blpop" for client in server.client_list()):
            time.sleep(0.01)
        with queued(8, ask):
            server.rpush(gate, "")
        holder.join(PATIENCE)
    assert server.lrange(served, 0, -1) == [b"%d" % number for number in range(9)]


@pytest.mark.parametrize("said", [b":abc\r\n", b"$99999999999999999999\r\n"])
def test_a_reply_that_is_none_is_trouble_of_the_store(said: bytes) -> None:
    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                self.wfile.write(said)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"redis://127.0.0.1:{server.server_address[1]}"
        with closing(RedisStore(url)) as store, pytest.raises(StoreUnavailable):
            store.get("key")
        server.shutdown()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_whoever_had_a_connection_at_a_fork_has_none_in_the_child(redis_server: RedisServer, prefix: str) -> None:
    with closing(RedisStore(f"{redis_server.url}?max_connections=1&timeout=1", prefix=prefix)) as store:
        store.swap("key", None, b"value", LONG)
        with store._turn(store._client()[0]):
            child = os.fork()
            if child == 0:
                os._exit(store.get("key") != b"value")
            assert os.waitpid(child, 0)[1] == 0


def test_a_loop_that_is_too_busy_to_see_that_it_was_connected_is_not_told_that_redis_is_down(
    redis_server: RedisServer,
) -> None:
    """A burst at a new worker: a hundred requests at work keep it for longer than a connection may take."""
    limit = 1.5  # seconds, which the second time are more than enough

    async def request(store: AsyncRedisStore) -> bytes | None:
        time.sleep(limit / 40)
        return await store.get("absent")

    async def burst() -> list[bytes | None]:
        store = AsyncRedisStore(f"{redis_server.url}?socket_connect_timeout={limit}")
        try:
            return await asyncio.gather(*(request(store) for _ in range(50)))
        finally:
            await store.aclose()

    assert asyncio.run(burst()) == [None] * 50


def test_a_loop_that_stood_still_while_it_was_answered_asks_once_more(redis_server: RedisServer) -> None:
    limit = 1.5  # seconds, which the second time are more than enough

    async def request(store: AsyncRedisStore) -> bytes | None:
        return await store.get("absent")

    async def standstill() -> list[bytes | None]:
        store = AsyncRedisStore(f"{redis_server.url}?socket_timeout={limit}")
        try:
            await asyncio.gather(*(request(store) for _ in range(5)))  # there are connections
            requests = [asyncio.ensure_future(request(store)) for _ in range(5)]
            for _ in range(5):  # they are sent
                await asyncio.sleep(0)
            time.sleep(limit + 0.1)
            return await asyncio.gather(*requests)
        finally:
            await store.aclose()

    assert asyncio.run(standstill()) == [None] * 5


def test_a_server_that_says_nothing_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop was there all the time, and nothing came; and a swap is never sent twice, whoever was late."""

    class Silent:
        asked: list[str] = []

        def get_encoder(self) -> Any:
            return type("Encoder", (), {"decode_responses": False})

        retry = None

        async def get(self, name: bytes) -> None:
            self.asked.append("get")
            if not late or self.asked == ["get"]:
                raise redis.TimeoutError

        async def execute_command(self, *command: object) -> None:
            self.asked.append(str(command[0]))
            raise redis.TimeoutError

    async def swap() -> None:
        store = AsyncRedisStore(Silent())
        with pytest.raises(StoreUnavailable):
            await store.swap("key", None, b"value", LONG)

    monkeypatch.setattr(pulse.Pulse, "was_missing", lambda self: late)
    late = False
    asyncio.run(swap())
    assert Silent.asked == ["get"]
    late, Silent.asked = True, []
    asyncio.run(swap())
    assert Silent.asked == ["get", "get", "EVALSHA"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that is closed cannot close its connections
def test_one_async_store_serves_one_event_loop_after_another(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That it cannot, redis-py 5 raises where nobody hears it but pytest, which would keep the connections by it.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    store = AsyncRedisStore(redis_server.url, prefix=prefix)
    assert asyncio.run(store.swap("key", None, b"value", LONG))
    assert [asyncio.run(store.get("key")) for _ in range(3)] == [b"value"] * 3
    assert len(store._clients) == 1  # those of closed loops are forgotten
    store._clients.clear()
    for _ in range(2):
        gc.collect()


def test_a_cancelled_get_gives_its_answer_to_nobody_else(redis_server: RedisServer, prefix: str) -> None:
    async def main() -> None:
        store = AsyncRedisStore(f"{redis_server.url}?max_connections=1", prefix=prefix)
        for name in ("mine", "theirs"):
            await store.swap(name, None, name.encode(), LONG)
        for pauses in range(6):
            cancelled = asyncio.create_task(store.get("theirs"))
            for _ in range(pauses):
                await asyncio.sleep(0)
            cancelled.cancel()
            assert await store.get("mine") == b"mine"
        await store.aclose()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(redis_server: RedisServer, prefix: str) -> None:
    with closing(RedisStore(redis_server.url, prefix=prefix)) as store:
        store.swap("key", None, b"value", LONG)
        child = os.fork()
        if child == 0:
            os._exit(not all(store.get("key") == b"value" for _ in range(200)))
        assert all(store.get("key") == b"value" for _ in range(200))
        assert os.waitpid(child, 0)[1] == 0
