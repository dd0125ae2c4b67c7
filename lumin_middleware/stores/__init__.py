"""Stores: where records live that must outlast a cookie. One file a store; `base` is the contract."""

from __future__ import annotations

from .base import AsyncStore as AsyncStore
from .base import Store as Store
from .local import local_store as local_store
from .memory import MemoryStore as MemoryStore
from .sqlite import SQLiteStore as SQLiteStore
