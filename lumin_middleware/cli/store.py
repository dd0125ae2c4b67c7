"""`lumin-middleware store`: makes what a store needs, and tries a real one without touching what is there."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from secrets import token_hex
from typing import Annotated, Any, cast

import typer

from ..doctor.traces import traceless
from ..errors import ConfigurationError, StoreUnavailable
from ..ports import AsyncStore, Store
from ..stores import DynamoDBStore, PostgresStore, store_from_url
from ..stores.postgres_statements import schema
from .own_store import spoken_to
from .terminal import App, Command, fail, settings_of

store = typer.Typer(help="Make a store's table, or try a store.", no_args_is_help=True)

URL = Annotated[
    str,
    typer.Argument(metavar="URL", help="The store. Default: that of the settings (LUMIN_STORE).", show_default=False),
]

LONG = 600.0
"""Seconds; what an interrupted check leaves behind is gone by then."""

SHORT = 1.0
"""Seconds in which a key expires while somebody waits for it."""

TIMES = 200
"""Verbs that are timed: enough for a percentile, and over in a moment."""

THREADS, TURNS = 8, 10
"""Who counts at the same time, and how often each: enough to meet, and soon over."""

NO_TABLE = "Only PostgreSQL and DynamoDB need a table; a Django site makes its own with `manage.py migrate`."


@store.command(cls=Command)
def create(
    url: URL = "",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL for PostgreSQL, and do nothing.")] = False,
    app: App = "",
) -> None:
    """Make the table in PostgreSQL or DynamoDB, if it is not there.

    Other stores need none; in a Django site `manage.py migrate` makes it.
    """
    if sql:
        typer.echo(schema(), nl=False)
        return
    chosen = url or _of_the_settings(app)
    if isinstance(chosen, str) and not chosen.startswith(("postgresql://", "postgres://", "dynamodb://")):
        fail(NO_TABLE)
    with _opened(chosen) as opened:
        if not isinstance(opened, (PostgresStore, DynamoDBStore)):
            fail(f"{NO_TABLE} For another object of the application's, name the store by its URL.")
        opened.create()
        typer.echo(f"The table {opened.table} is there.")


@store.command(cls=Command)
def check(url: URL = "", app: App = "") -> None:
    """Try a store: whether it keeps the contract, and how fast it is.

    What is in it is not touched, and nothing is left behind.
    """
    with _twice(url or _of_the_settings(app), app) as (first, second):
        prefix = f"check {token_hex(16)} "
        keys = [prefix + name for name in ("value", "large", "count", "short")]
        try:
            failures = [words for words, holds in _cases(first, second, *keys) if not _told(words, holds)]
            _time(first, prefix)
        finally:
            for key in keys:
                first.swap(key, first.get(key), None, LONG)
    if failures:
        fail(f"This store breaks the contract in {len(failures)} ways; do not use it.")
    typer.echo("It keeps the contract. Nothing is left of the check.")


def _cases(first: Store, second: Store, value: str, large: str, count: str, short: str) -> Iterator[tuple[str, bool]]:
    """What must hold, in words, and whether it does. The second handle is as another process has it."""
    yield "what was never set is absent", first.get(value) is None and not first.swap(value, b"old", b"new", LONG)
    yield "a value is created where there is none", first.swap(value, None, b"first", LONG)
    yield "another handle sees it at once", second.get(value) == b"first" or _is_memory(first)
    yield "it is not created over another", not first.swap(value, None, b"other", LONG)
    yield "it is replaced by who knows it", first.swap(value, b"first", b"second", LONG)
    yield "and by nobody else", not first.swap(value, b"first", b"third", LONG) and first.get(value) == b"second"
    yield "it is deleted", first.swap(value, b"second", None, LONG) and first.get(value) is None
    content = bytes(range(256)) * 256
    yield "64 KiB come back byte for byte", first.swap(large, None, content, LONG) and first.get(large) == content
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_count, first, count), [TURNS] * THREADS))
    yield "who counts at the same time loses nothing", first.get(count) == b"%d" % (THREADS * TURNS)
    first.swap(short, None, b"value", SHORT)
    time.sleep(SHORT + 0.1)
    yield "what has expired is absent", first.get(short) is None and first.swap(short, None, b"new", LONG)


def _count(opened: Store, key: str, times: int) -> None:
    for _ in range(times):
        while True:
            held = opened.get(key)
            if opened.swap(key, held, b"%d" % (int(held or 0) + 1), LONG):
                break


def _told(words: str, holds: bool) -> bool:
    typer.echo(f"{'ok   ' if holds else 'WRONG'} {words}")
    return holds


def _time(opened: Store, prefix: str) -> None:
    """The latency of each verb, on values as large as a session's record."""
    keys = [f"{prefix}{number}" for number in range(TIMES)]
    record = os.urandom(1500)
    for name, verb in {
        "create": lambda key: opened.swap(key, None, record, LONG),
        "get": opened.get,
        "delete": lambda key: opened.swap(key, record, None, LONG),
    }.items():
        times = [_timed(partial(cast("Callable[[str], object]", verb), key)) for key in keys]
        worst = statistics.quantiles(times, n=100)[98]
        typer.echo(f"{name:6} {statistics.median(times) * 1000:.2f} ms, at worst (1 in 100) {worst * 1000:.2f} ms")


def _timed(verb: Callable[[], object]) -> float:
    begun = time.perf_counter()
    verb()
    return time.perf_counter() - begun


def _is_memory(opened: Store) -> bool:
    return not getattr(opened, "blocking", True)


# --- which store ----------------------------------------------------------------------------------------


def _of_the_settings(app: str) -> str | Store | AsyncStore:
    """The setting. The environment's need not be whole: a store can be made before there is a client."""
    if not app and (url := os.environ.get("LUMIN_STORE")):
        return url
    return settings_of(app).store


@contextmanager
def _twice(chosen: str | Store | AsyncStore, app: str) -> Iterator[tuple[Store, Store]]:
    """The store as two processes have it. Of one that the application made there is that one only."""
    if isinstance(chosen, str):
        fingerprint = settings_of(app).fingerprint if chosen == "local" else "check"
        with (
            traceless(chosen, fingerprint) as trial,
            _opened(trial.url, trial.fingerprint) as first,
            _opened(trial.url, trial.fingerprint) as second,
        ):
            yield first, second
    else:
        with _opened(chosen) as only:
            yield only, only


@contextmanager
def _opened(chosen: str | Store | AsyncStore, fingerprint: str = "check") -> Iterator[Store]:
    try:
        with _named(chosen, fingerprint) if isinstance(chosen, str) else spoken_to(chosen) as opened:
            yield opened
    except (ConfigurationError, StoreUnavailable) as error:
        fail(f"The store cannot be used: {error}")


@contextmanager
def _named(url: str, fingerprint: str) -> Iterator[Store]:
    if url.startswith("django"):
        _set_up_django()
    opened: Any = store_from_url(url, asynchronous=False, fingerprint=fingerprint)
    try:
        yield opened
    finally:
        if hasattr(opened, "close"):
            opened.close()


def _set_up_django() -> None:
    """Django is set up by its environment, as `django-admin` is, unless the application has done it."""
    if (known := sys.modules.get("django.apps")) and known.apps.ready:
        return
    name = "DJANGO_SETTINGS_MODULE"
    if not (module := os.environ.get(name)):
        fail(f"Which Django site? Set {name}.")
    sys.path.insert(0, os.getcwd())
    try:
        import django
        from django.core.exceptions import ImproperlyConfigured
    except ModuleNotFoundError as error:
        fail(f"A Django site needs Django: {error}. Install it, or run this in the site's environment.")
    try:
        django.setup()
    except (ImportError, ImproperlyConfigured) as error:
        fail(f"{name}={module}: {error}. Run this in the site's environment, and where its manage.py is.")
