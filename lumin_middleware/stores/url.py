"""The store that a setting names. No error repeats the setting: it may hold a password."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..ports import AsyncStore, Store
from .local import local_store
from .memory import MemoryStore
from .redis import AsyncRedisStore, RedisStore
from .sqlite import SQLiteStore

CHOICES = "give local, memory://, sqlite:///path/of/a/file, redis://host:6379/0, rediss://…, unix:///path, \
redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379"

REDIS = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}


def store_from_url(
    url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
) -> Store | AsyncStore:
    """The store at `url`, opened: see `store_opener`. Raises whatever the store raises, too."""
    return store_opener(url, asynchronous=asynchronous, fingerprint=fingerprint, clock=clock)()


def store_opener(
    url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
) -> Callable[[], Store | AsyncStore]:
    """What opens the store at `url`; for Redis one of the colour that `asynchronous` asks for, else a `Store`.

    | url | store |
    |---|---|
    | `local` | `local_store(fingerprint)` |
    | `memory://` | a new `MemoryStore` |
    | `sqlite:///path` | `SQLiteStore("/path")`; the path is absolute, and percent-encoded |
    | `redis://…`, `rediss://…`, `unix://…` | `RedisStore` or `AsyncRedisStore`, in redis-py's words |
    | `redis+sentinel://host:26379,host:26379/service` | the same, led to the primary; `rediss+…` with TLS |
    | `redis+cluster://host:6379,host:6379` | the same, for a cluster; `rediss+…` with TLS |

    `clock` gives epoch seconds; Redis goes by its server's. Raises `ConfigurationError` where `url` is
    none of these; no file is made and nothing connected to before the opening.
    """
    match url.partition("://"):
        case "local", "", "":
            return partial(local_store, fingerprint, clock=clock)
        case "memory", "://", "":
            return partial(MemoryStore, clock=clock)
        case "sqlite", "://", _:
            return partial(SQLiteStore, _path(url), clock=clock)
        case scheme, "://", _ if scheme in REDIS:
            store = AsyncRedisStore(url) if asynchronous else RedisStore(url)
            return lambda: store
    raise ConfigurationError("store", f"is no URL of a store; {CHOICES}")


def _path(url: str) -> str:
    path = url.removeprefix("sqlite://")
    if not path.startswith("/") or path.endswith("/") or "?" in path or "#" in path or "%00" in path:
        raise ConfigurationError("store", "names no file; write sqlite:/// and the absolute path of one, encoded")
    return unquote(path)
