"""Where do records live that must outlast a cookie?

One file a store, and what several of them need; `ports` has their contract, and `contract` holds any of them to it. A
site has one kind, so that each is loaded when somebody names it: here, or in a setting (`url`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dynamodb import DynamoDBStore
    from .local import local_store
    from .memory import MemoryStore
    from .named import NamedStore
    from .postgres import AsyncPostgresStore, PostgresStore
    from .redis import AsyncRedisStore, RedisStore
    from .sqlite import SQLiteStore
    from .url import store_from_url

__all__ = [
    "AsyncPostgresStore",
    "AsyncRedisStore",
    "DynamoDBStore",
    "MemoryStore",
    "NamedStore",
    "PostgresStore",
    "RedisStore",
    "SQLiteStore",
    "local_store",
    "store_from_url",
]


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__name__", "__file__", "__path__"])


if not TYPE_CHECKING:
    _FILES = {
        "DynamoDBStore": "dynamodb",
        "local_store": "local",
        "MemoryStore": "memory",
        "NamedStore": "named",
        "AsyncPostgresStore": "postgres",
        "PostgresStore": "postgres",
        "AsyncRedisStore": "redis",
        "RedisStore": "redis",
        "SQLiteStore": "sqlite",
        "store_from_url": "url",
    }

    def __getattr__(name: str) -> object:
        if name not in _FILES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_FILES[name]}", __name__), name)
