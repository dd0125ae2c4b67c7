"""A store in the database that a Django site has already, whichever Django knows, through its ORM.

Each verb stands for itself: what it wrote is committed when it returns. Inside a transaction of the application's
(`ATOMIC_REQUESTS`, `atomic()`) that could not be, so there it works in a thread, which has a connection of its own.
And where the application has no connection open: Django keeps one for each thread, also for one that has ended, until
it is found to be garbage, and under ASGI threads come and go. Those of the store are few, and stay.
Expiry goes by this machine's clock, since not every database has one to compare with; machines that share a database
agree on the time by NTP.

SQLite has one writer at a time: an application that is in the middle of a transaction that wrote, and waits for us,
waits in vain, and gets `StoreUnavailable`. It is for development; a site that shares records uses a server.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from ...errors import ConfigurationError, StoreUnavailable
from .models import Record

T = TypeVar("T")

THREADS = 4
"""Verbs that work in threads of the store's own at once; each takes a millisecond or two."""

CLEAN_UP_AT_ONCE = 1000
"""Rows that one statement of the clean-up deletes: no lock is held for long."""


class DjangoStore:
    """Records in the site's database, or in the one that `alias` names in `DATABASES`; `clock` gives epoch seconds.

    `manage.py migrate` makes the table, `manage.py lumin_clean_up` deletes what has expired. Raises
    `ConfigurationError` where there is no such database.
    """

    def __init__(self, alias: str = DEFAULT_DB_ALIAS, *, clock: Callable[[], float] = time.time) -> None:
        if alias not in connections:
            raise ConfigurationError("store", f"there is no {alias!r} in Django's DATABASES")
        self._alias = alias
        self._clock = clock
        self._threads: dict[int, _Threads] = {}  # by process: a thread does not survive a fork

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        return self._do(partial(self._get, key))

    def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        """See `Store.swap`."""
        return self._do(partial(self._swap, key, old, None if ttl <= 0 else new, ttl))

    def clean_up(self) -> int:
        """Deletes what has expired; how many rows that were. Raises `StoreUnavailable`."""
        return self._do(self._clean_up)

    def close(self) -> None:
        """Ends its threads with the connections that they kept; all others are Django's."""
        if found := self._threads.pop(os.getpid(), None):
            found.close()

    # --- one statement a verb, or two ---

    def _get(self, key: str) -> bytes | None:
        found = self._living(key, self._clock()).values_list("value", flat=True).first()
        return None if found is None else bytes(found)

    def _swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        now = self._clock()
        living = self._living(key, now)
        if old is not None:
            same = living.filter(value=old)
            changed: int = same.delete()[0] if new is None else same.update(value=new, expires_at=now + ttl)
            return changed == 1
        if new is None:
            return not living.exists()
        expired = self._records().filter(key=_digest(key), expires_at__lte=now)
        if expired.update(value=new, expires_at=now + ttl) == 1:
            return True
        if living.exists():  # a look spares most an error in the server's log
            return False
        try:
            self._records().create(key=_digest(key), value=new, expires_at=now + ttl)
        except IntegrityError:  # somebody else was faster
            return False
        return True

    def _clean_up(self) -> int:
        deleted = 0
        while True:
            expired = self._records().filter(expires_at__lte=self._clock())
            keys = list(expired.values_list("key", flat=True)[:CLEAN_UP_AT_ONCE])
            if not keys:
                return deleted
            deleted += expired.filter(key__in=keys).delete()[0]

    def _records(self) -> QuerySet[Record]:
        return Record.objects.using(self._alias)

    def _living(self, key: str, now: float) -> QuerySet[Record]:
        return self._records().filter(key=_digest(key), expires_at__gt=now)

    # --- connections ---

    def _do(self, verb: Callable[[], T]) -> T:
        """What a verb returns, which is committed then."""
        connection = connections[self._alias]
        if connection.connection is not None and not connection.in_atomic_block:
            return self._commit(verb)
        process = os.getpid()
        threads = self._threads.get(process) or self._threads.setdefault(process, _Threads(self._alias))
        return threads.run(partial(self._commit, verb))

    def _commit(self, verb: Callable[[], T]) -> T:
        connection = connections[self._alias]
        if connection.connection is not None and not connection.is_usable():
            connection.close()  # servers and firewalls cut idle ones; the verb itself is never repeated
        try:
            if not connection.get_autocommit():
                raise StoreUnavailable(
                    f"the database {self._alias!r} has AUTOCOMMIT off, so that nothing would be kept"
                )
            return verb()
        except (DatabaseError, InterfaceError) as error:
            cure = self._cure(connection)
            connection.close()
            raise StoreUnavailable(f"Django's database {self._alias!r}: {error}{cure}") from error

    def _cure(self, connection: BaseDatabaseWrapper) -> str:
        """What to do where the database answers and has no table of ours: each server says that in its own words."""
        try:
            # One that cannot be reached is not waited for twice.
            if connection.connection is None or Record._meta.db_table in connection.introspection.table_names():
                return ""
        except (DatabaseError, InterfaceError):
            return ""
        of = "" if self._alias == DEFAULT_DB_ALIAS else f" --database {self._alias}"
        return f"; make its table with 'manage.py migrate{of}'"


class _Threads:
    """A few threads, and the connections that they keep as long as `CONN_MAX_AGE` says."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._executor = ThreadPoolExecutor(THREADS, "lumin-store")
        self._theirs: set[BaseDatabaseWrapper] = set()

    def run(self, action: Callable[[], T]) -> T:
        """What it returns or raises in one of them, in the caller's context; at the end of the process in this one."""
        turn = [action]  # whoever takes it does it, and nobody else
        try:
            done = self._executor.submit(copy_context().run, self._with_theirs, lambda: turn.pop()())
        except RuntimeError as error:  # they take no more by then, or none can start
            connection = connections[self._alias]
            if connection.in_atomic_block or not turn:
                raise StoreUnavailable(f"there is no thread to ask Django's database in: {error}") from error
            try:
                return turn.pop()()
            finally:
                connection.close()
        return done.result()

    def _with_theirs(self, action: Callable[[], T]) -> T:
        connection = connections[self._alias]
        self._theirs.add(connection)
        try:
            return action()
        finally:
            connection.close_if_unusable_or_obsolete()  # nobody else does so in this thread

    def close(self) -> None:
        self._executor.shutdown()
        while self._theirs:
            connection = self._theirs.pop()
            connection.inc_thread_sharing()  # its thread is over, and Django asks whose it is
            connection.close()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
