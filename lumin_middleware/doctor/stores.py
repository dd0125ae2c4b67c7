"""The store: reachable, writable, atomic, quick, and one for all workers."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from secrets import token_hex
from typing import Any

from ..config import LuminConfig
from ..errors import ConfigurationError, StoreUnavailable
from ..ports import Store
from ..runtime.surroundings import workers
from ..stores import MemoryStore, SQLiteStore, store_from_url
from .findings import Finding, doubtful, ok, wrong
from .traces import Trial, traceless

STORE = "store"

TURNS = 20
"""Looks that are timed: over in a moment, and enough for a median."""

SLOW = 0.02
"""Seconds for one look, from which each request feels it."""

SECONDS = 60.0
"""How long what a check writes may live, should it be interrupted."""

_WHY = "Sessions cannot be renewed or ended, and nobody can sign in."
_AS_THE_SITE = "Look at `store` (LUMIN_STORE), and run this as the user that the site runs as."


def store(config: LuminConfig) -> Iterator[Finding]:
    """Holds the store of the settings against its contract, under a key of its own, and leaves nothing behind."""
    if not isinstance(config.store, str):
        yield ok(STORE, "is an object of the application's; `lumin_middleware.testing.StoreContract` is its test")
        return
    with traceless(config.store, config.fingerprint) as trial:
        try:
            first, second = _opened(trial), _opened(trial)
        except (ConfigurationError, StoreUnavailable) as error:
            yield wrong(STORE, f"cannot be opened: {_words(error)}", _WHY, _AS_THE_SITE)
            return
        try:
            yield from _tried(config, trial, first, second)
        except StoreUnavailable as error:
            cure = "Look whether it is up, and may be written to."
            yield wrong(STORE, f"does not answer: {_words(error)}", _WHY, cure)
        finally:
            for each in (first, second):
                with suppress(StoreUnavailable):
                    getattr(each, "close", lambda: None)()


def _opened(trial: Trial) -> Any:
    found: Any = store_from_url(trial.url, asynchronous=False, fingerprint=trial.fingerprint, clock=time.time)
    return found() if callable(found) and not hasattr(found, "get") else found


def _words(error: Exception) -> str:
    return error.problem if isinstance(error, ConfigurationError) else str(error)


def _tried(config: LuminConfig, trial: Trial, first: Store, second: Store) -> Iterator[Finding]:
    key = f"doctor {token_hex(16)}"
    try:
        if not (first.swap(key, None, b"one", SECONDS) and first.get(key) == b"one"):
            yield wrong(STORE, "does not keep what is written", _WHY, "Use another one: docs/stores.md.")
            return
        atomic = not first.swap(key, None, b"two", SECONDS) and first.swap(key, b"one", b"two", SECONDS)
        shared = second.get(key) == b"two"
        took = statistics.median(_timed(first, key) for _ in range(TURNS))
    finally:
        first.swap(key, first.get(key), None, SECONDS)
    if not atomic:
        why = "Two requests renew one session at once, which Lumin takes for theft."
        yield wrong(STORE, "does not compare before it sets", why, "Use another one: docs/stores.md.")
    elif isinstance(first, MemoryStore):
        yield from _in_memory(config)
    elif not shared:
        why = "Workers do not see each other's renewals and sign-outs."
        yield wrong(STORE, "a second handle does not see what the first one wrote", why, "Use one that all share.")
    elif took > SLOW:
        why = "Each renewal waits for it several times, and with sessions='store' each request."
        yield doubtful(STORE, f"a look takes {took * 1000:.0f} ms", why, "Bring it nearer, or look at its load.")
    elif trial.folder:
        why = "It is made at the first start; the folder of a misspelt path is made as well."
        cure = "Make it for the user that the site runs as, or correct `store` (LUMIN_STORE)."
        yield doubtful(STORE, f"would be {trial.path}, and {trial.folder} is not there", why, cure)
    else:
        path = trial.path or (first.path if isinstance(first, SQLiteStore) else "")
        where = f" ({path})" if path else ""
        all_ = "all that run as this user with this HOME" if config.store == "local" else "all"
        yield ok(STORE, f"is written to, atomic, and seen by {all_}; a look takes {took * 1000:.1f} ms{where}")


def _in_memory(config: LuminConfig) -> Iterator[Finding]:
    several = workers(os.environ) > 1
    cure = "Set `store` to sqlite:///path or redis://…."
    if str(config.store) == "local":
        what = "no directory can be written to by this user alone, so that `local` is memory"
        yield wrong(STORE, what, "Workers do not see each other, and a restart forgets who signed out.", cure)
    elif several:
        why = "Each worker knows what it alone has done: sessions are renewed twice, which ends them."
        yield wrong(STORE, "is memory, and WEB_CONCURRENCY asks for several workers", why, cure)
    else:
        yield doubtful(STORE, "is memory", "A restart forgets who signed out; it is for one worker only.", cure)


def _timed(store: Store, key: str) -> float:
    began = time.perf_counter()
    store.get(key)
    return time.perf_counter() - began
