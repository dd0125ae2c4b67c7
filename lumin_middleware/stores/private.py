"""Directories and files that nobody but this user can have written. Follows no link, trusts no name.

What a store holds is sealed, so that reading it gives nobody a token. Writing is another matter: a
record that somebody puts back revives a session that was ended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows, where a file that is in use cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]


def private_directory(path: str) -> None:
    """Makes the last directory of `path`, with mode 0700, where it is missing.

    Raises `ConfigurationError` where others can write to it, and `OSError` where it cannot be made.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError("store", f"{path} is no directory; where it is a link, name what it leads to")
    _require_ours(path, found, forbidden=stat.S_IWGRP | stat.S_IWOTH, cure=f"chmod go-w {path}")


@contextmanager
def locked_directory(path: str) -> Iterator[None]:
    """One process at a time, by flock(2) on the directory itself; the lock goes with its holder."""
    if fcntl is None:
        yield
        return
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def require_private_file(path: str) -> None:
    """Raises `ConfigurationError` where others can read or write `path`, `OSError` where it is missing."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError("store", f"{path} is no file; where it is a link, name what it leads to")
    _require_ours(path, found, forbidden=stat.S_IRWXG | stat.S_IRWXO, cure=f"chmod 600 {path}")


def _require_ours(path: str, found: os.stat_result, *, forbidden: int, cure: str) -> None:
    if os.name != "posix":  # elsewhere it is access lists that guard a profile, and the mode shows none
        return
    if found.st_uid != os.geteuid():
        raise ConfigurationError("store", f"{path} belongs to another user; name a directory of this user's")
    if found.st_mode & forbidden:
        raise ConfigurationError("store", f"{path} is open to other users: {cure}")
