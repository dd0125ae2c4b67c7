"""Paths below the API's base: what comes from outside stays one segment, and no path leads up."""

from __future__ import annotations

import re
from itertools import chain, zip_longest
from urllib.parse import quote, unquote

from .errors import ClientMisused

READINGS = 5
"""Times that a path is decoded to look for dots; what has yet another layer then is no honest path."""

_BLANK = "".join(map(chr, range(33)))
"""What some servers cut off at the end of a segment."""


def build_path(path: str, parts: tuple[object, ...]) -> str:
    """The path with each `{}` replaced by one of the parts, quoted so that it is one segment's text (RFC 3986, 3.3).

    Raises `ClientMisused` where they do not match, for a part that is empty or None, and for a path that leads
    elsewhere by dot segments in any encoding.
    """
    if not parts and "{}" not in path:
        _refuse_dot_segments(path)
        return path
    # What was not found is None, and no part that anybody means.
    pieces, texts = path.split("{}"), ["" if part is None else str(part) for part in parts]
    if len(pieces) != len(texts) + 1 or not all(texts):
        raise ClientMisused(f"{path!r} needs one part, and not an empty one, for each {{}}; it got {len(texts)}")
    quoted = (quote(text, safe="") for text in texts)
    built = "".join(chain.from_iterable(zip_longest(pieces, quoted, fillvalue="")))
    _refuse_dot_segments(built)
    return built


def _refuse_dot_segments(path: str) -> None:
    """Whoever decodes the path, however often, must not find a way up in it (RFC 3986, 5.2.4)."""
    if "." not in path and "%" not in path:
        return
    read = re.split("[?#]", path, maxsplit=1)[0]
    for _ in range(READINGS):
        segments = (segment.partition(";")[0].strip(_BLANK) for segment in re.split(r"[/\\?#]", read))
        if not {".", ".."}.isdisjoint(segments):
            break
        try:
            before, read = read, unquote(read, errors="strict")
        except UnicodeDecodeError:  # another reader may find dots in what is no UTF-8
            break
        if read == before:
            return
    raise ClientMisused(f"the path {path[:200]!r} holds, or may hold, a dot segment, which leads to another path")
