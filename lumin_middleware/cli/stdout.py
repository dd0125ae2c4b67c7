"""stdout that cannot be written, such as a full disk's: one line and a failure, and no blame on what was under way.

An `OSError` of stdout looks like any other to whoever listens, opens a store or asks a server meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any


class Unwritten(Exception):
    """What was said could not be written. Its cause says why."""


class _Stdout:
    """stdout, whose errors are told from all others."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, text: str) -> int:
        with _as_unwritten():
            return int(self._real.write(text))

    def flush(self) -> None:
        with _as_unwritten():
            self._real.flush()


@contextmanager
def _as_unwritten() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritten from error


@contextmanager
def written() -> Iterator[None]:
    """Ends the program where what the block says cannot be written; without a word where nobody reads any more."""
    real: Any = sys.stdout
    if real is None:  # closed before we began
        yield
        return
    told: Any = _Stdout(real)
    try:
        with redirect_stdout(told):
            try:
                yield
            finally:
                told.flush()
    except Unwritten as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), real.fileno())  # to where the interpreter writes the rest as it ends
        why = error.__cause__
        if not isinstance(why, BrokenPipeError):
            sys.stderr.write(f"stdout cannot be written ({getattr(why, 'strerror', why)}).\n")
        sys.exit(1)
