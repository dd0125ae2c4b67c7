"""Trying a store that is a file, so that a file that is not there yet stays so.

Who looks at a site may be another user than the site's: a file of theirs would keep the site out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import quote, unquote

from ..stores.local import paths


@dataclass(frozen=True, slots=True)
class Trial:
    """What to open in place of a store."""

    url: str
    fingerprint: str
    path: str = ""
    """Where the store's file will be, if it is none yet."""
    folder: str = ""
    """The folder that was named for it, and is not there."""


@contextmanager
def traceless(url: str, fingerprint: str) -> Iterator[Trial]:
    """The store itself; or, where it would be made, one beside its place, which goes with the block."""
    places = [_file(url)] if url.startswith("sqlite://") else list(paths(fingerprint)) if url == "local" else []
    if not places or any(os.path.lexists(path) for path in places):
        yield Trial(url, fingerprint)
        return
    missing = [folder for path in places for folder in _folders(path) if not os.path.lexists(folder)]
    name = f"trial-{token_hex(8)}"
    if url == "local":
        trial, files = Trial(url, name), list(paths(name))
    else:
        path, folder = places[0], os.path.dirname(places[0])
        files = [os.path.join(folder, name)]
        trial = Trial(f"sqlite://{quote(files[0])}", name, path, folder if folder in missing else "")
    try:
        yield trial
    finally:
        _remove(files, missing)


def _file(url: str) -> str:
    return "/" + unquote(url.removeprefix("sqlite://")).lstrip("/")


def _folders(path: str) -> Iterator[str]:
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _remove(files: Iterable[str], folders: Iterable[str]) -> None:
    for file in files:
        for each in (file, f"{file}-wal", f"{file}-shm"):
            with suppress(OSError):
                os.unlink(each)
    for folder in sorted(folders, key=len, reverse=True):
        with suppress(OSError):  # it was not made, or somebody else needs it now
            os.rmdir(folder)
