"""What a command that serves writes to stderr: our log, a line for each thing.

It needs nothing of a terminal's, for the workers behind a proxy have it as well, and each of them starts by itself.
"""

from __future__ import annotations

import logging
import os
import select
from contextlib import suppress
from datetime import datetime

STDERR = 2

PATIENCE = 0.1
"""Seconds that whoever reads stderr has to take something, until it is lost."""


class _Lines(logging.Formatter):
    """Lines whose time is written as nginx writes it beside them (ISO 8601, with the offset)."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  logging's name
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


class Stderr(logging.Handler):
    """`write` as a handler: `logging`'s own waits for whoever does not read, and a worker with it, and an engine with
    the worker."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tell(self.format(record))
        except Exception:  # noqa: BLE001  as each handler of `logging` has it: a line is no reason to fail
            self.handleError(record)


def log_to_stderr(level: int = logging.INFO, *, handler: logging.Handler | None = None) -> None:
    handler = handler or logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(level)


def write(text: bytes) -> None:
    """Writes to stderr, past Python's buffer, which would hold on to what cannot be written.

    What nobody takes (a closed terminal, a collector that died or hangs, a full disk) is lost: who serves people goes
    on. A pipe that is ready takes no more at once for sure than `PIPE_BUF`.
    """
    with suppress(OSError):
        while text and select.select([], [STDERR], [], PATIENCE)[1]:
            text = text[os.write(STDERR, text[: select.PIPE_BUF]) :]


def tell(message: str) -> None:
    """A line to whoever reads stderr, if anybody does."""
    write(f"{message}\n".encode(errors="backslashreplace"))
