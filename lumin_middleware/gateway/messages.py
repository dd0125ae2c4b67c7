"""What goes to the service behind the gateway and what comes back, byte by byte as on the wire; and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import RequestRefused

Header = tuple[bytes, bytes]

_ENDS_WORD = re.compile(rb"[\x00-\x20\x7f]")
"""What ends a method or a target (RFC 9112, 3)."""

_ENDS_LINE = re.compile(rb"[\x00\r\n]")
"""What ends a header, for one reader or another (RFC 9110, 5.5)."""


class UpstreamTrouble(Exception):
    """The service gave no answer, or no whole one. `late` says that it took too long."""

    late = False


class UpstreamLate(UpstreamTrouble):
    """The service took too long."""

    late = True


class Closed(UpstreamTrouble):
    """A connection was closed before anything of the answer came."""


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to the service: target and headers byte by byte, and the pieces of the body if there is one."""

    method: bytes
    target: bytes
    headers: list[Header]
    body: AsyncIterator[bytes] | None = None


class Answer(Protocol):
    """An answer whose body is still on its way. It must be closed."""

    status: int
    headers: list[Header]

    def pieces(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come. Raises `UpstreamTrouble` where it breaks off."""

    def close(self) -> None: ...


def check(request: Request) -> None:
    """Raises `RequestRefused` for a request that would be another one on the wire."""
    words, lines = (request.method, request.target), map(b":".join, request.headers)
    if any(map(_ENDS_WORD.search, words)) or any(map(_ENDS_LINE.search, lines)):
        raise RequestRefused("bad_request", "The request holds what would end a line of it.")
