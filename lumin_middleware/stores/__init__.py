"""Stores: where records live that must outlast a cookie. One file a store; `base` is the contract."""

from __future__ import annotations

from lumin_middleware.stores.base import AsyncStore as AsyncStore
from lumin_middleware.stores.base import Store as Store
from lumin_middleware.stores.memory import MemoryStore as MemoryStore
