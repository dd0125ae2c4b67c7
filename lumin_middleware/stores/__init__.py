"""Stores: where records live that must outlast a cookie. One file a store; `base` is the contract."""

from __future__ import annotations

from .base import AsyncStore as AsyncStore
from .base import Store as Store
from .local import local_store as local_store
from .memory import MemoryStore as MemoryStore
from .redis import AsyncRedisStore as AsyncRedisStore
from .redis import RedisStore as RedisStore
from .sqlite import SQLiteStore as SQLiteStore
from .url import store_from_url as store_from_url
