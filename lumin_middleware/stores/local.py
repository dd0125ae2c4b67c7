"""The default store: a file of this user, this configuration and this machine, shared by its workers.

Where no directory can be had that only this user can write to, it is memory, with one warning: each
worker then renews for itself.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator

from ..errors import ConfigurationError
from ..journal import say
from .memory import MemoryStore
from .sqlite import SQLiteStore


def local_store(fingerprint: str, *, clock: Callable[[], float] = time.time) -> SQLiteStore | MemoryStore:
    """The store of the configuration that `fingerprint` (letters, digits, `-`, `_`) stands for.

    It is in the first of `directories()` that only this user can write to, so that workers that were
    started alike find the same one. The machine's name is part of the file's: a home directory may be
    on a network, and SQLite must never see two machines in one file.

    Raises `StoreUnavailable` where the file is there but broken, or the disk full: to fall back to
    memory then would part this worker from the others.
    """
    if not re.fullmatch(r"[\w-]+", fingerprint, re.ASCII):
        raise ValueError("a fingerprint is letters, digits, '-' and '_'")
    refusals = []
    for path in paths(fingerprint):
        try:
            os.makedirs(os.path.dirname(os.path.dirname(path)), mode=0o700, exist_ok=True)
            store = SQLiteStore(path, clock=clock)
        except (ConfigurationError, OSError) as refusal:
            refusals.append(str(refusal))
        else:
            say("own_store", folder=os.path.dirname(path))
            return store
    say("no_private_place", tried="; ".join(refusals))
    return MemoryStore(clock=clock)


def is_shared(fingerprint: str) -> bool:
    """Whether workers that are started alike, as this process was, share the store. Raises `StoreUnavailable`."""
    store = local_store(fingerprint)
    if isinstance(store, MemoryStore):
        return False
    store.close()
    return True


def paths(fingerprint: str) -> Iterator[str]:
    """Where the store of a configuration may be, in order."""
    machine = re.sub(r"[^\w.-]", "_", platform.node(), flags=re.ASCII)
    return (os.path.join(directory, f"{fingerprint}@{machine}.sqlite3") for directory in directories())


def directories() -> Iterator[str]:
    """Where to look, in order. Those that outlive a restart come first, because end marks must.

    XDG Base Directory Specification: a path that is not absolute is ignored.
    """
    state = os.environ.get("XDG_STATE_HOME", ""), os.path.expanduser("~/.local/state")
    for base in (*state, os.environ.get("XDG_RUNTIME_DIR", "")):
        if os.path.isabs(base):
            yield os.path.join(base, "lumin-middleware")
    user = os.geteuid() if hasattr(os, "geteuid") else ""
    yield os.path.join(tempfile.gettempdir(), f"lumin-middleware-{user}")
