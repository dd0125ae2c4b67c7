"""Threads that wait, one behind the other, for what another one has."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tests.patience import PATIENCE


def is_waiting(thread: threading.Thread) -> bool:
    """Whether it waits for another one, be it in a semaphore, a queue or an event."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("threading", "wait"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def queued(count: int, action: Callable[[int], object]) -> Iterator[list[threading.Thread]]:
    """So many threads, each of which begins its action when the one before waits in it; they are over afterwards."""
    threads = [threading.Thread(target=action, args=(number,), daemon=True) for number in range(count)]
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.start()
        while not is_waiting(thread):
            assert time.monotonic() < deadline
            time.sleep(0.001)
    yield threads
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
