"""What the patterns of the access rules name. However many there are, a path is looked up in a few steps.

`/healthz` is exactly that path, `/static/*` everything below `/static/`. A path below a folder is found by the folders
that it lies in, of which it has a few, and not by trying each pattern.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

ALL_BELOW = "/*"


class Folders:
    """Patterns by what a path must begin with, or be."""

    def __init__(self) -> None:
        self._whole: dict[str, list[str]] = {}
        self._below: dict[str, list[str]] = {}
        self._deepest = 0

    def add(self, path: str, pattern: str) -> None:
        """This path is named by this pattern."""
        self._whole.setdefault(path, []).append(pattern)

    def add_below(self, folder: str, pattern: str) -> None:
        """What lies below this folder, which ends in a slash, is."""
        self._below.setdefault(folder, []).append(pattern)
        self._deepest = max(self._deepest, folder.count("/"))

    def find(self, path: str) -> list[str]:
        """The patterns that name a path."""
        found = list(self._whole.get(path, ()))
        end = 0
        for _ in range(self._deepest):  # which bounds what a path of a thousand folders costs
            end = path.find("/", end) + 1
            if not end or end == len(path):
                break
            found += self._below.get(path[:end], ())
        return found


class Narrow:
    """What `public` and `optional` name.

    `/static/` itself is not below `/static/`: many routers take it for `/static`, which nobody has named. Where
    `/static` or `/static/` is named as well, it is.
    """

    def __init__(self, patterns: Collection[str]) -> None:
        patterns = frozenset(patterns)
        self._folders = Folders()
        for pattern in patterns:
            folder = pattern[:-1]
            if not pattern.endswith(ALL_BELOW):
                self._folders.add(pattern, pattern)
                continue
            self._folders.add_below(folder, pattern)
            if folder == "/" or folder in patterns or folder[:-1] in patterns:
                self._folders.add(folder, pattern)

    def match(self, path: str) -> bool:
        return bool(self._folders.find(path))

    def find(self, path: str) -> list[str]:
        """The patterns that name a path."""
        return self._folders.find(path)


class Wide:
    """What `required_scopes` names: letters of either case, the last slash or none; `/sign/*` is `/sign`, too."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._places = {pattern: place for place, pattern in enumerate(patterns)}
        self._folders = Folders()
        for pattern in self._places:
            name = _caseless(pattern)
            if name.endswith(ALL_BELOW):
                self._folders.add_below(name[:-1], pattern)
                either = name[:-2]
            else:
                either = name.rstrip("/")
            self._folders.add(either, pattern)
            self._folders.add(either + "/", pattern)

    def find(self, paths: Iterable[str]) -> list[str]:
        """The patterns that name any of these paths, in their order."""
        found = {pattern for path in paths for pattern in self._folders.find(_caseless(path))}
        return sorted(found, key=self._places.__getitem__)


_DOTTED_I = re.compile("i\u0307+")


def _caseless(text: str) -> str:
    """The same for whatever somebody may take for the same letters in another case.

    Letters outside ASCII have more cases than two, and some are a case of a letter in it. What folds cases in full
    takes ß for ss and \u0130 for an i with a dot, what does not takes \u0130 and \u0131 for i: so the dot of an i
    counts for nothing.
    """
    return text.lower() if text.isascii() else _DOTTED_I.sub("i", text.casefold().replace("\u0131", "i"))
