"""What a command that serves writes to stderr: our log, a line for each thing.

It needs nothing of a terminal's, for the workers behind a proxy have it as well, and each of them starts by itself.
"""

from __future__ import annotations

import logging
from datetime import datetime


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
