"""The store of a site's settings: who opens it, who closes it, and that closing takes nothing from anybody."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis

from lumin_middleware import AsyncGrants, ConfigurationError, Grants, LuminMiddleware
from lumin_middleware.ports import run
from lumin_middleware.stores import AsyncRedisStore, MemoryStore, NamedStore, PostgresStore, named
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.fakes import config
from tests.patience import PATIENCE
from tests.stores import django_database

LONG = 3600.0


async def asgi_application(scope, receive, send): ...


def wsgi_application(environ, start_response): ...


KINDS: dict[str, Callable[[Any], Any]] = {
    "asgi": lambda settings: LuminMiddleware(asgi_application, settings),
    "AsyncGrants": AsyncGrants,
    "wsgi": lambda settings: WsgiMiddleware(wsgi_application, settings),
    "Grants": Grants,
}
ON_LOOPS, IN_THREADS = ["asgi", "AsyncGrants"], ["wsgi", "Grants"]


async def use(served: Any) -> bytes | None:
    """What is in the store under one key, asked for by the part that serves on this loop, or in this process."""
    found = served._loops.on(asyncio.get_running_loop()) if hasattr(served, "_loops") else _in_process(served)
    return await found[1].store.get("key")


def _in_process(served: Any) -> Any:
    return served._site() if isinstance(served, Grants) else served._party()


async def close(served: Any) -> None:
    if hasattr(served, "aclose"):
        await served.aclose()
    else:
        served.close()


Server = tuple[str, Callable[[], set[Any]]]
"""The URL of a store, and what gives the connections that its server has from anybody else than this test."""


@pytest.fixture(params=["Redis", "PostgreSQL"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "Redis":
        url = request.getfixturevalue("redis_server").url
        with redis.Redis.from_url(url) as client:
            yield url, lambda: {each["id"] for each in client.client_list()} - {str(client.client_id())}
        return
    url = request.getfixturevalue("postgres").new_database(f"named_{uuid.uuid4().hex}")
    store = PostgresStore(url)
    store.create()
    store.close()
    theirs = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        yield url, lambda: {row[0] for row in connection.execute(theirs)}


def _until(holds: Callable[[], bool]) -> bool:
    """A server notices in its own time that a connection was closed."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


@pytest.mark.parametrize("kind", KINDS)
def test_connections_to_a_store_that_was_named_are_given_back_and_made_again(kind, server):
    url, connections = server
    before = connections()
    served = KINDS[kind](config(store=url))

    async def serve() -> None:
        for _ in range(2):
            assert await use(served) is None
            assert connections() - before
            await close(served)
            assert _until(lambda: not connections() - before)

    for _ in range(2):  # a loop each
        asyncio.run(serve()) if kind in ON_LOOPS else run(serve())


@pytest.mark.parametrize("kind", ON_LOOPS)
def test_a_loop_closes_what_is_its_own(kind, server):
    url, connections = server
    before = connections()
    served = KINDS[kind](config(store=url))
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(use(served))
        other.run(use(served))
        both = connections() - before
        one.run(close(served))
        assert _until(lambda: 0 < len(connections() - before) < len(both))
        kept = connections()
        assert other.run(use(served)) is None
        assert connections() == kept
        other.run(close(served))
        assert _until(lambda: not connections() - before)


class Closing(MemoryStore):
    """Notes each closing, after which it is of no use."""

    blocking = True  # type: ignore[misc]

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def get(self, key: str) -> bytes | None:
        assert not self.closed
        return super().get(key)

    def close(self) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()  # Django's connections refuse to be closed on one
        self.closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Closing]:
    """What the name was opened as, each time."""
    found: list[Closing] = []

    def open_one() -> Closing:
        found.append(Closing())
        return found[-1]

    monkeypatch.setattr(named, "store_opener", lambda *_, **__: open_one)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_ends_with_its_closing_is_opened_anew(kind, opened):
    served = KINDS[kind](config(store="memory://"))

    async def serve() -> None:
        await use(served)
        await close(served)
        await close(served)

    for _ in range(2):
        asyncio.run(serve()) if kind in ON_LOOPS else run(serve())
    assert [each.closed for each in opened] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_django_s_is_closed_and_opened_anew_also_inside_a_transaction(kind, tmp_path):
    from django.db import connections, transaction

    alias = f"named-{kind}"
    django_database.add(alias, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "database")})
    django_database.migrate(alias)
    served = KINDS[kind](config(store=f"django://{alias}"))

    def look() -> Any:
        with transaction.atomic(alias):  # which has the store work in a thread of its own
            found = served._store().get("key")
        connections[alias].close()
        return found

    async def serve() -> None:
        assert (await asyncio.to_thread(look) if kind in ON_LOOPS else look()) is None
        await close(served)

    for _ in range(2):
        asyncio.run(serve()) if kind in ON_LOOPS else run(serve())


@pytest.mark.parametrize("kind", ON_LOOPS)
def test_what_loops_share_is_closed_with_the_last_of_them(kind, opened):
    served = KINDS[kind](config(store="memory://"))
    with asyncio.Runner() as over:
        over.run(use(served))  # and nobody closes what served there
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(use(served))
        other.run(use(served))
        one.run(close(served))
        other.run(use(served))
        assert [each.closed for each in opened] == [0]
        other.run(close(served))
    assert [each.closed for each in opened] == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_was_given_stays_open(kind):
    store = Closing()
    served = KINDS[kind](config(store=store))

    async def serve() -> None:
        await use(served)
        await close(served)
        await use(served)
        await close(served)

    asyncio.run(serve()) if kind in ON_LOOPS else run(serve())
    assert not store.closed


async def test_an_asynchronous_store_that_was_given_stays_open():
    class Given:
        closed = 0

        async def get(self, key):
            return None

        async def swap(self, key, old, new, ttl):
            return True

        async def aclose(self):
            self.closed += 1

    store = Given()
    for kind in ON_LOOPS:
        served = KINDS[kind](config(store=store))
        await use(served)
        await close(served)
    assert not store.closed


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_keeps_what_it_holds(kind):
    served = KINDS[kind](config(store="memory://"))
    store: Any = served._store()
    asyncio.run(close(served)) if kind in ON_LOOPS else run(close(served))
    assert served._store() is store


@pytest.mark.parametrize("url", ["local", "sqlite://{}/private/store"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_sites_go_on_with_a_file_that_one_of_them_closes(kind, url, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = config(store=url.format(tmp_path))
    served = KINDS[kind](settings)
    other: Any = NamedStore(settings.store, asynchronous=False, fingerprint=settings.fingerprint)
    ends, over = threading.Event(), []

    def write() -> None:
        number = 0
        other().swap("other", None, b"0", LONG)
        while not ends.is_set():
            assert other().swap("other", b"%d" % number, b"%d" % (number + 1), LONG)
            number += 1
            assert other().get("other") == b"%d" % number
        over.append(number)

    async def serve() -> None:
        for _ in range(20):
            await use(served)
            await close(served)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        asyncio.run(serve()) if kind in ON_LOOPS else run(serve())
    finally:
        ends.set()
        writer.join()
    assert over


def test_a_site_that_cannot_serve_is_closed_without_a_word(monkeypatch):
    monkeypatch.setattr("lumin_middleware.asgi.is_being_served", lambda: True)
    asyncio.run(LuminMiddleware(asgi_application, config(store="elsewhere://")).aclose())


@pytest.mark.parametrize("kind", IN_THREADS)
def test_a_store_that_is_to_be_awaited_is_refused_where_nothing_awaits(kind):
    with pytest.raises(ConfigurationError, match="is asynchronous"):
        KINDS[kind](config(store=AsyncRedisStore("redis://127.0.0.1:1")))
