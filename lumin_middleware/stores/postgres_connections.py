"""psycopg's connections, each of whose answers must come in time: libpq would wait for a server that hangs for ever.

psycopg is imported when it is asked for, not with this module.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Generator, Mapping
from typing import Any

from ..errors import ConfigurationError
from .hosts import require_host

# Seconds. Requests wait behind these, and a lease must outlive them. A server near by answers in a millisecond or two.
PATIENCE = 2.0
"""For a connection to be made, and for each answer. libpq's own `connect_timeout` takes no less than two."""

TICK = 0.1
"""psycopg looks up so often while it waits. Patience is counted in these, and not by the clock: an event loop that is
late has not waited for the server."""


def import_psycopg() -> Any:
    """psycopg; its pool is there, too. Raises `ConfigurationError`."""
    try:
        import psycopg
        import psycopg_pool as _  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "store", "PostgreSQL needs psycopg and its pool: pip install 'lumin-middleware[postgres]'"
        ) from None
    return psycopg


def require_places(found: Mapping[str, Any]) -> None:
    """libpq looks at hosts and ports when it connects: a port for each host, or one for all.

    Raises `ConfigurationError` for a host, and `ValueError` for a port.
    """
    for host in str(found.get("host") or "").split(","):
        if not host.startswith(("/", "@")):  # where a socket lies in the file system, or is abstract
            require_host(host)
    for port in filter(None, str(found.get("port") or "").split(",")):
        if not re.fullmatch(r"[0-9]+", port) or not 0 < int(port) < 65_536:
            raise ValueError("is no port")


class _TooLateError(Exception):
    """No answer came in time. It is no `TimeoutError`, which psycopg takes for a connection that was closed."""


def _in_time(steps: Generator[int, int, Any], seconds: float) -> Generator[int, int, Any]:
    """psycopg's steps towards an answer, for so long only: a server that hangs says nothing."""
    ticks, ready = 0, None
    try:
        while True:
            ready = yield (next(steps) if ready is None else steps.send(ready))
            ticks = 0 if ready else ticks + 1
            if ticks * TICK > seconds:
                raise _TooLateError
    except StopIteration as done:
        return done.value


def bounded(connection: Any, operational_error: Any) -> Any:
    """psycopg's class of connections, each of whose answers must come in time, and which know when each `began` to be
    made."""

    def too_late(self: Any) -> Any:
        self.pgconn.finish()  # whatever comes now is nobody's answer
        return operational_error(f"no answer within {PATIENCE:g} s")

    if inspect.iscoroutinefunction(connection.wait):

        class AsyncBounded(connection):  # type: ignore[misc]
            @classmethod
            async def connect(cls, *arguments: Any, **options: Any) -> Any:
                began = time.monotonic()
                made = await super().connect(*arguments, **options)
                made.began = began
                return made

            async def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
                try:
                    return await super().wait(_in_time(gen, PATIENCE), TICK)
                except _TooLateError:
                    raise too_late(self) from None

        return AsyncBounded

    class Bounded(connection):  # type: ignore[misc]
        @classmethod
        def connect(cls, *arguments: Any, **options: Any) -> Any:
            began = time.monotonic()
            made = super().connect(*arguments, **options)
            made.began = began
            return made

        def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
            try:
                return super().wait(_in_time(gen, PATIENCE), TICK)
            except _TooLateError:
                raise too_late(self) from None

    return Bounded
