"""The limits in seconds within which a store must answer: long, in each process, where a test is about something else.

A server on loopback answers at once, but on a busy machine not within the second or two that a site waits for one.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from types import ModuleType
from typing import Any

from lumin_middleware.stores import dynamodb, postgres, postgres_connections, redis_clients
from tests.patience import PATIENCE

LIMITS = (
    (dynamodb, "WAITS"),
    (postgres, "PATIENCE"),
    (postgres, "QUEUE"),
    (postgres_connections, "PATIENCE"),
    (redis_clients, "POOL"),
    (redis_clients, "WAITS"),
)
"""Where they are held, by their names: one, or one for each option."""

KEPT = ("max_connections",)
"""Options among them that are no time."""


def lift(setting: Callable[[ModuleType, str, Any], object] = setattr) -> None:
    """Has none of them strike in this process."""
    for module, name in LIMITS:
        held = getattr(module, name)
        if isinstance(held, dict):
            setting(module, name, {each: held[each] if each in KEPT else PATIENCE for each in held})
        else:
            setting(module, name, PATIENCE)


def unhurried(store_class: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A store, for the contract, which opens it in processes of its own as well: those that it starts know nothing of
    what a fixture has set in this one."""
    if multiprocessing.parent_process() is not None:
        lift()
    return store_class(*arguments, **options)
