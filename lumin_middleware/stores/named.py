"""The store that a setting names, opened by the process that uses it.

A master that runs as root may start workers that do not (`gunicorn --preload --user`), and a file that root makes is
closed to them. So root opens nothing until it is used; anybody else at once, so that a wrong path fails at start.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from ..ports import AsyncStore, Store
from .url import store_opener


class NamedStore:
    """The store at `url`: the same one for all threads and event loops of a process.

    Arguments and errors are those of `store_from_url`. A call gives the store, and raises what opening it does.
    """

    def __init__(
        self, url: str, *, asynchronous: bool, fingerprint: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._open = store_opener(url, asynchronous=asynchronous, fingerprint=fingerprint, clock=clock)
        self._opening = threading.Lock()
        self._opened: tuple[int, Store | AsyncStore] | None = None
        if _user() != 0:
            self()

    def __call__(self) -> Store | AsyncStore:
        user = _user()
        with self._opening:
            if self._opened is None or self._opened[0] != user:
                self._opened = user, self._open()
            return self._opened[1]


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
