"""The store that a setting names. No error repeats the setting: it may hold a password."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..ports import AsyncStore, Store

CHOICES = (
    "give local, memory://, sqlite:///path/of/a/file, redis://host:6379/0, rediss://…, unix:///path, "
    "redis+sentinel://host:26379,host:26379/service, redis+cluster://host:6379,host:6379, postgresql://…, "
    "dynamodb://table?region=… or django"
)

REDIS = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}


def store_from_url(
    url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
) -> Store | AsyncStore:
    """The store at `url`, opened: see `store_opener`. Raises whatever the store raises, too."""
    return store_opener(url, asynchronous=asynchronous, fingerprint=fingerprint, clock=clock)()


def store_opener(
    url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
) -> Callable[[], Store | AsyncStore]:
    """What opens the store at `url`; of Redis and PostgreSQL the colour that `asynchronous` asks for, else a `Store`.

    | url | store |
    |---|---|
    | `local` | `local_store(fingerprint)` |
    | `memory://` | a new `MemoryStore` |
    | `sqlite:///path` | `SQLiteStore("/path")`; the path is absolute, not in `/` itself, and percent-encoded |
    | `postgresql://…` | `PostgresStore` or `AsyncPostgresStore`, in libpq's words |
    | `dynamodb://table?region=…&endpoint=…` | `DynamoDBStore`; boto3 finds what is not given |
    | `django`, `django://alias` | `DjangoStore`: the site's own database, or the one of that alias |
    | `redis://…`, `rediss://…`, `unix://…` | `RedisStore` or `AsyncRedisStore`, in redis-py's words |
    | `redis+sentinel://host:26379,host:26379/service` | the same, led to the primary; `rediss+…` with TLS |
    | `redis+cluster://host:6379,host:6379` | the same, for a cluster; `rediss+…` with TLS |

    `clock` gives epoch seconds; Redis and PostgreSQL go by their server's. Raises `ConfigurationError` where `url` is
    none of these; no file is made and nothing connected to before the opening. Only the file of its kind is loaded, and
    not later than now.
    """
    match url.partition("://"):
        case "local", "", "":
            from .local import local_store

            return partial(local_store, fingerprint, clock=clock)
        case "memory", "://", "":
            from .memory import MemoryStore

            return partial(MemoryStore, clock=clock)
        case "sqlite", "://", _:
            from .sqlite import SQLiteStore

            return partial(SQLiteStore, _path(url), clock=clock)
        case scheme, "://", _ if scheme in REDIS:
            from .redis import AsyncRedisStore, RedisStore

            return _unopened(AsyncRedisStore(url) if asynchronous else RedisStore(url))
        case "postgresql" | "postgres", "://", _:
            from .postgres import AsyncPostgresStore, PostgresStore

            return _unopened(AsyncPostgresStore(url) if asynchronous else PostgresStore(url))
        case "dynamodb", "://", _:
            from . import dynamodb

            return _unopened(dynamodb.from_url(url, clock))
        case "django", "" | "://", alias:
            return partial(_django_store, alias or "default", clock)
    raise ConfigurationError("store", f"is no URL of a store; {CHOICES}")


def _unopened(store: Store | AsyncStore) -> Callable[[], Store | AsyncStore]:
    """One that connects when it is used, and whose URL is judged when it is made."""
    return lambda: store


def _path(url: str) -> str:
    path = url.removeprefix("sqlite://")
    if not path.startswith("/") or path.endswith("/") or "?" in path or "#" in path or "%00" in path:
        raise ConfigurationError("store", "names no file; write sqlite:/// and the absolute path of one, encoded")
    parts = unquote(path).lstrip("/").split("/")
    if len(parts) == 1 or {".", ".."} & set(parts):  # what others read as a relative path
        cure = "write sqlite:/// and the absolute path, as in sqlite:////var/lib/shop/lumin.sqlite3"
        raise ConfigurationError("store", f"names a file in the root of the file system, or by a relative path; {cure}")
    return "/" + "/".join(parts)


def _django_store(alias: str, clock: Callable[[], float]) -> Store:
    """Imported when it is asked for: its models can be only where Django is set up."""
    try:
        from .django.store import DjangoStore
    except Exception:  # noqa: BLE001  Django has several ways to say that it is missing or not set up
        cure = "needs a Django site that is set up, with 'lumin_middleware.stores.django' in INSTALLED_APPS"
        raise ConfigurationError("store", f"'django' {cure}") from None
    return DjangoStore(alias, clock=clock)
