"""A Redis whose primary changes: behind a name, behind Sentinels, in a cluster; and passwords that change."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from lumin_middleware.errors import ConfigurationError, StoreUnavailable
from lumin_middleware.ports import Store
from lumin_middleware.stores import AsyncRedisStore, RedisStore
from lumin_middleware.stores.contract import opened
from lumin_middleware.stores.redis import _waited_for
from lumin_middleware.stores.redis_clients import Term, client_maker
from tests.patience import PATIENCE

from .redis_server import RedisServer, Relay, Watched, until

LONG = 3600.0


@pytest.fixture(params=[RedisStore, AsyncRedisStore])
def store_class(request: pytest.FixtureRequest) -> Any:
    return request.param


def open_many(store: Store, number: int = 8) -> None:
    """Has so many connections open, or nearly."""
    start = threading.Barrier(number)

    def use(thread: int) -> None:
        start.wait()
        for _ in range(20):
            store.get(f"key {thread}")

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(use, range(number)))


def exercise(store: Store) -> None:
    key = str(uuid.uuid4())
    assert store.get(key) is None
    assert store.swap(key, None, b"first", LONG)
    assert not store.swap(key, None, b"second", LONG)
    assert store.swap(key, b"first", b"second", LONG)
    assert store.get(key) == b"second"
    assert store.swap(key, b"second", None, LONG)


def recover(store: Store) -> None:
    """Goes on until the store serves again; meanwhile it may say that it is unavailable, and nothing else."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(StoreUnavailable):
            exercise(store)
            return
        time.sleep(0.02)
    raise AssertionError("the store does not recover")


# --- behind a name --------------------------------------------------------------------------------------


def change_places(old: RedisServer, new: RedisServer) -> None:
    with redis.Redis(port=old.port) as before, redis.Redis(port=new.port) as after:
        until(lambda: after.info("replication")["master_link_status"] == "up")
        after.replicaof("NO", "ONE")
        before.replicaof("127.0.0.1", new.port)
        until(lambda: before.info("replication")["role"] == "slave")


def clients(store_class: Any, url: str) -> Any:
    """What a store is made of: a URL, and a client that was given."""
    if store_class is RedisStore:
        return [url, redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))]
    return [url, partial(redis.asyncio.Redis.from_url, url, retry=AsyncRetry(NoBackoff(), 0))]


@pytest.mark.parametrize("given", [0, 1], ids=["URL", "client"])
def test_a_primary_that_lives_on_as_a_replica_is_left_at_once(store_class: Any, given: int, redis_binary: str) -> None:
    with (
        RedisServer(redis_binary) as one,
        RedisServer(redis_binary, "--replicaof", f"127.0.0.1 {one.port}") as two,
        Relay(one.port) as relay,
    ):
        client = clients(store_class, f"redis://127.0.0.1:{relay.port}")[given]
        with opened(partial(store_class, client)) as store:
            store.swap("key", None, b"value", LONG)
            for old, new in ((one, two), (two, one)):
                open_many(store)
                change_places(old, new)
                relay.upstream = ("127.0.0.1", new.port)
                for _ in range(10):  # over whichever connection
                    exercise(store)
                assert store.get("key") == b"value"
        if given and store_class is RedisStore:
            client.close()


def test_where_both_are_replicas_it_is_unavailable(store_class: Any, redis_binary: str) -> None:
    with (
        RedisServer(redis_binary) as one,
        RedisServer(redis_binary, "--replicaof", f"127.0.0.1 {one.port}") as two,
        opened(partial(store_class, two.url)) as store,
    ):
        with pytest.raises(StoreUnavailable):
            store.swap("key", None, b"value", LONG)
        with redis.Redis(port=two.port) as after:
            after.replicaof("NO", "ONE")
        exercise(store)


# --- Sentinels ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(redis_binary: str) -> Iterator[Watched]:
    with Watched(redis_binary) as found:
        yield found


def test_sentinels_lead_to_the_primary_and_to_the_next(store_class: Any, watched: Watched) -> None:
    with opened(partial(store_class, watched.url)) as store:
        exercise(store)
        open_many(store)
        old = watched.primary()
        watched.fail_over()
        while watched.primary() is old:
            with suppress(StoreUnavailable):
                exercise(store)
        recover(store)
        for _ in range(10):
            exercise(store)
        with redis.Redis(port=watched.primary().port) as client:
            assert client.info("replication")["role"] == "master"
    until(lambda: all(watched._knows_all(sentinel) for sentinel in watched.sentinels))


@contextmanager
def replicas_that_do_nothing(watched: Watched) -> Iterator[list[RedisServer]]:
    until(lambda: all(watched._knows_all(sentinel) for sentinel in watched.sentinels))
    replicas = [server for server in watched.servers if server is not watched.primary()]
    with ExitStack() as stack:
        for replica in replicas:
            stack.enter_context(replica.stopped_short())
        yield replicas


def test_what_was_written_is_at_a_replica(store_class: Any, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is lost with the primary: a lease, and two would renew; a new token, and the old one would be sent."""
    monkeypatch.setattr("lumin_middleware.stores.redis.COPIED", PATIENCE * 1000)
    with (
        opened(partial(store_class, f"{watched.url}?socket_timeout={PATIENCE}")) as store,
        ThreadPoolExecutor() as pool,
    ):
        key = str(uuid.uuid4())
        exercise(store)
        with replicas_that_do_nothing(watched) as replicas:
            writing = pool.submit(store.swap, key, None, b"value", LONG)
            with pytest.raises(TimeoutError):
                writing.result(0.2)
        assert writing.result(PATIENCE)
        held = []
        for replica in replicas:
            with redis.Redis(port=replica.port) as client:
                held.append(client.get(f"lumin:{key}"))
        assert b"value" in held


def test_where_no_replica_answers_writing_goes_on(
    store_class: Any, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And waits once in a while only."""
    monkeypatch.setattr("lumin_middleware.stores.redis.COPIED", 20)
    monkeypatch.setattr("lumin_middleware.stores.redis_clients.ALONE", PATIENCE)
    with opened(partial(store_class, watched.url)) as store, redis.Redis(port=watched.primary().port) as primary:
        exercise(store)  # the server has our script from here on, which else is sent a second time
        before = primary.info("commandstats")["cmdstat_wait"]["calls"]
        with replicas_that_do_nothing(watched):
            for _ in range(3):
                exercise(store)
        assert primary.info("commandstats")["cmdstat_wait"]["calls"] == before + 1


def test_a_client_that_waits_for_less_long_outwaits_the_replicas(store_class: Any, watched: Watched) -> None:
    url = f"{watched.url}?socket_timeout=0.4"
    with opened(partial(store_class, url)) as store, replicas_that_do_nothing(watched):
        recover(store)
        exercise(store)


def test_what_a_primary_took_that_is_none_any_more_is_unknown(
    store_class: Any, redis_binary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lumin_middleware.stores.redis.COPIED", PATIENCE * 1000)
    with (
        Watched(redis_binary) as watched,
        opened(partial(store_class, f"{watched.url}?socket_timeout={PATIENCE}")) as store,
        ThreadPoolExecutor() as pool,
    ):
        exercise(store)
        with redis.Redis(port=watched.primary().port) as primary, replicas_that_do_nothing(watched) as replicas:
            writing = pool.submit(store.swap, "key", None, b"value", LONG)
            until(lambda: primary.info("clients")["blocked_clients"] == 1)
            primary.replicaof("127.0.0.1", replicas[0].port)
            with pytest.raises(StoreUnavailable):
                writing.result(PATIENCE)


def test_one_write_at_a_time_tries_whether_there_are_replicas_again(monkeypatch: pytest.MonkeyPatch) -> None:
    term = Term(sentinel=object())
    assert term.is_copied()
    with pytest.raises(ConnectionError):  # which did not happen, and waited all the same
        _waited_for(term, ConnectionError(), 0)
    assert not term.is_copied()
    monkeypatch.setattr("lumin_middleware.stores.redis_clients.ALONE", 0.0)
    assert term.is_copied()
    monkeypatch.setattr("lumin_middleware.stores.redis_clients.ALONE", LONG)
    assert not term.is_copied()
    assert _waited_for(term, 1, 1) == 1
    assert term.is_copied()


@pytest.fixture
def two_primaries(redis_binary: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Two servers that know nothing of each other, each with its own number; the Sentinels name the last of the list,
    and are asked for new connections only."""
    monkeypatch.setattr("lumin_middleware.stores.redis_clients.LOOK", LONG)
    with RedisServer(redis_binary) as one, RedisServer(redis_binary) as two:
        for number, server in enumerate((one, two)):
            with redis.Redis(port=server.port) as client:
                client.set("number", number)
        places = [("127.0.0.1", two.port), ("127.0.0.1", one.port)]

        async def discovered(self: Any, service: str) -> tuple[str, int]:
            return places[-1]

        monkeypatch.setattr(redis.sentinel.Sentinel, "discover_master", lambda self, service: places[-1])
        monkeypatch.setattr(redis.asyncio.sentinel.Sentinel, "discover_master", discovered)
        yield places


UNASKED = "redis+sentinel://127.0.0.1:1/sessions"


def test_whoever_finds_the_next_primary_finds_it_for_all(two_primaries: list[tuple[str, int]]) -> None:
    """Else a lease is taken at one, and the record read at the other."""
    client, _ = client_maker(UNASKED, asynchronous=False)()
    with client:
        with client.client() as kept:
            assert kept.get("number") == b"0"
            two_primaries.pop()
            with client.client() as new:
                assert new.get("number") == b"1"
        with client.client() as one, client.client() as other:
            assert (one.get("number"), other.get("number")) == (b"1", b"1")


async def test_whoever_finds_the_next_primary_finds_it_for_all_on_a_loop(two_primaries: list[tuple[str, int]]) -> None:
    client, _ = client_maker(UNASKED, asynchronous=True)()
    async with client:
        async with client.client() as kept:
            assert await kept.get("number") == b"0"
            two_primaries.pop()
            async with client.client() as new:
                assert await new.get("number") == b"1"
        async with client.client() as one, client.client() as other:
            assert (await one.get("number"), await other.get("number")) == (b"1", b"1")


def test_a_sentinel_that_is_down_is_passed_over(store_class: Any, watched: Watched) -> None:
    watched.sentinels[0].stop()
    try:
        with opened(partial(store_class, watched.url)) as store:
            exercise(store)
    finally:
        watched.sentinels[0].start()


def test_a_service_that_no_sentinel_knows_is_unavailable(store_class: Any, watched: Watched) -> None:
    url = watched.url.removesuffix(watched.SERVICE) + "unknown"
    with opened(partial(store_class, url)) as store, pytest.raises(StoreUnavailable):
        store.get("key")


def test_a_primary_that_is_killed_is_followed(store_class: Any, redis_binary: str) -> None:
    with Watched(redis_binary) as watched, opened(partial(store_class, watched.url)) as store:
        exercise(store)
        old = watched.primary()
        old.stop()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        recover(store)
        assert watched.primary() is not old


# --- a cluster ------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(redis_binary: str) -> Iterator[list[RedisServer]]:
    """A primary that has all slots, and its replica."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")
    # The bus is at another port, which must be free as well.
    with RedisServer(redis_binary, *options) as one, RedisServer(redis_binary, *options) as two:
        with redis.Redis(port=one.port) as primary, redis.Redis(port=two.port) as replica:
            primary.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            until(lambda: primary.cluster("INFO")["cluster_state"] == "ok")
            replica.execute_command("CLUSTER", "MEET", "127.0.0.1", one.port)
            name = primary.execute_command("CLUSTER", "MYID")
            until(lambda: len(primary.cluster("NODES")) == len(replica.cluster("NODES")) == 2)
            until(lambda: _follows(replica, name))
            until(lambda: replica.info("replication").get("master_link_status") == "up")
        yield [one, two]


def _follows(replica: Any, name: bytes) -> bool:
    with suppress(redis.ResponseError):  # it does not know that node yet
        return bool(replica.execute_command("CLUSTER", "REPLICATE", name))
    return False


def cluster_url(servers: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


def test_a_cluster_is_followed_to_its_next_primary(store_class: Any, cluster: list[RedisServer]) -> None:
    with opened(partial(store_class, cluster_url(cluster))) as store:
        exercise(store)
        with redis.Redis(port=cluster[1].port) as replica:
            replica.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            while replica.info("replication")["role"] != "master":
                with suppress(StoreUnavailable):
                    exercise(store)
        recover(store)
        for _ in range(10):
            exercise(store)


def test_a_cluster_whose_primary_is_killed_is_followed(store_class: Any, cluster: list[RedisServer]) -> None:
    with opened(partial(store_class, cluster_url(cluster))) as store:
        exercise(store)
        cluster[0].stop()
        with pytest.raises(StoreUnavailable):
            exercise(store)
        with redis.Redis(port=cluster[1].port) as replica:
            replica.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        recover(store)


def test_a_cluster_that_is_not_there_is_unavailable_and_no_wrong_setting(
    store_class: Any, cluster: list[RedisServer]
) -> None:
    for server in cluster:
        server.stop()
    with opened(partial(store_class, cluster_url(cluster))) as store, pytest.raises(StoreUnavailable):
        store.get("key")


# --- passwords that change ------------------------------------------------------------------------------


class Provider(CredentialProvider):
    def __init__(self) -> None:
        self.password = "first"

    def get_credentials(self) -> tuple[str, str]:
        return "default", self.password


def test_credentials_are_asked_for_each_connection(store_class: Any, redis_binary: str) -> None:
    provider = Provider()
    with (
        RedisServer(redis_binary, "--requirepass", "first") as server,
        opened(partial(store_class, server.url, credential_provider=provider)) as store,
    ):
        exercise(store)
        with redis.Redis(port=server.port, password="first") as client:
            client.config_set("requirepass", "second")
            client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreUnavailable):
            exercise(store)
        provider.password = "second"
        exercise(store)


def test_a_provider_goes_with_a_url_without_a_password(store_class: Any) -> None:
    for client in ("redis://user:s3cret@localhost", redis.Redis(), "redis+cluster://:s3cret@localhost"):
        with pytest.raises(ConfigurationError) as raised:
            store_class(client, credential_provider=Provider())
        assert "s3cret" not in str(raised.value)
