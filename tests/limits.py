"""Limits in seconds that must not strike, however busy the machine is, and that no setting changes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from lumin_middleware import config, connections
from lumin_middleware.gateway import gateway, upstream
from lumin_middleware.runtime import exchange
from tests.patience import PATIENCE

LIMITS = ("CONNECT_TIMEOUT", "REVOKE_TIMEOUT")
"""By their names. A connection on loopback is there at once, and may be noticed seconds later."""

HOLDERS = (config, connections, exchange, gateway, upstream)


def lift(setting: Callable[[ModuleType, str, int], object] = setattr) -> None:
    """Has none of them strike in this process, in whichever module it is held."""
    for module in HOLDERS:
        for name in LIMITS:
            if hasattr(module, name):
                setting(module, name, PATIENCE)
