"""JSON objects as they come from a server: metadata, keys, tokens, claims.

What is no JSON object, or says two things at once, says nothing.
"""

from __future__ import annotations

import json
from typing import Any

from ..ports import Answer

MEDIA_TYPES = ("application/json", "text/json")
"""How JSON is announced: as registered (RFC 8259, 11), and as some servers and proxies still write it."""


def json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object that this is, or None.

    A member that comes twice (RFC 8259, 4, leaves open which one counts) may only repeat itself: of two values one
    program believes the first, another the last, and each could be told what the other never saw.
    """
    try:
        found = json.loads(content, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) and any(found[name] != value for name, value in pairs):
        raise ValueError("two members contradict each other")
    return found


def json_answer(answer: Answer) -> dict[str, Any] | None:
    """The JSON object that an answer announces and holds, or None."""
    return json_object(answer.body) if answer.media_type in MEDIA_TYPES else None


def present(value: object) -> bool:
    """Whether an optional member is there: servers write an empty one where they have nothing to say."""
    return value is not None and value != ""
