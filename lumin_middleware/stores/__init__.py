"""Where do records live that must outlast a cookie?

One file a store, and what several of them need; `ports` has their contract, and `contract` holds any of them to it.
"""

from __future__ import annotations

from .dynamodb import DynamoDBStore as DynamoDBStore
from .local import local_store as local_store
from .memory import MemoryStore as MemoryStore
from .named import NamedStore as NamedStore
from .postgres import AsyncPostgresStore as AsyncPostgresStore
from .postgres import PostgresStore as PostgresStore
from .redis import AsyncRedisStore as AsyncRedisStore
from .redis import RedisStore as RedisStore
from .sqlite import SQLiteStore as SQLiteStore
from .url import store_from_url as store_from_url
