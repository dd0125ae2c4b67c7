"""What the patterns of the access rules name. However many there are, a path is looked up in a few steps.

`/healthz` is exactly that path, `/static/*` everything below `/static/`. A path below a folder is found by the folders
that it lies in, of which it has a few, and not by trying each pattern.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

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
        self._patterns = tuple(patterns)
        self._folders = Folders()
        for pattern in self._patterns:
            name = pattern.lower()
            if not pattern.isascii():
                continue
            if name.endswith(ALL_BELOW):
                self._folders.add_below(name[:-1], pattern)
                either = name[:-2]
            else:
                either = name.rstrip("/")
            self._folders.add(either, pattern)
            self._folders.add(either + "/", pattern)
        # Letters outside ASCII have more cases than two, and some are a case of a letter in it.
        self._beyond = [pattern for pattern in self._patterns if not pattern.isascii()]
        self._any, self._any_beyond = _expression(self._patterns), _expression(self._beyond)

    def find(self, paths: Iterable[str]) -> list[str]:
        """The patterns that name any of these paths, in their order."""
        found: set[str] = set()
        for path in paths:
            if path.isascii():
                found.update(self._folders.find(path.lower()))
                if self._beyond and self._any_beyond.match(path):
                    found.update(each for each in self._beyond if _expression([each]).match(path))
            else:
                cases = [each for each in _in_each_case([path]) if self._any.match(each)]
                found.update(each for each in self._patterns if any(map(_expression([each]).match, cases)))
        return [pattern for pattern in self._patterns if pattern in found] if found else []


def _expression(patterns: Iterable[str]) -> re.Pattern[str]:
    each = [
        re.escape(pattern[:-2]) + r"(?:/|\Z)"
        if pattern.endswith(ALL_BELOW)
        else re.escape(pattern.rstrip("/")) + r"/?\Z"
        for pattern in _in_each_case(patterns)
    ]
    return re.compile("|".join(each) or "(?!)", re.IGNORECASE)


def _in_each_case(texts: Iterable[str]) -> Iterator[str]:
    """These, and as they are folded in full: `(?i)` takes \u0131 for i, `casefold` ß for ss, and neither the other."""
    for text in texts:
        yield text
        if not text.isascii():
            yield text.casefold()
