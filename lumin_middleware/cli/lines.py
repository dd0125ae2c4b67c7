"""What a command that serves writes to stderr: our log, a line for each thing.

It needs nothing of a terminal's, for the workers behind a proxy have it as well, and each of them starts by itself.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime

STDERR = 2


class _Lines(logging.Formatter):
    """Lines whose time is written as nginx writes it beside them (ISO 8601, with the offset)."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  logging's name
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


def log_to_stderr(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(level)


def write(text: bytes) -> None:
    """Writes to stderr, past Python's buffer, which would hold on to what cannot be written.

    What nobody takes (a closed terminal, a collector that died, a full disk) is lost, as with `logging`: who serves
    people goes on.
    """
    with suppress(OSError):
        while text:
            text = text[os.write(STDERR, text) :]


def tell(message: str) -> None:
    """A line to whoever reads stderr, if anybody does."""
    write(f"{message}\n".encode())
