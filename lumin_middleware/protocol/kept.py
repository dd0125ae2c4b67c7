"""Something of the server's that is read when it is first needed, and kept.

However many wait for it, one reads. What is good stays until there is better; a server that is in trouble is left in
peace for a while, whether or not there is an older copy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..errors import AuthorizationServerError, ServerUnavailable
from ..ports import World
from .span import OVER, Span

T = TypeVar("T")

TROUBLE_PAUSE = 30.0
"""Seconds in which a server that was in trouble is not asked again."""

LOOK_PAUSE = 60.0
"""Seconds between two looks for something newer, for each kind of token that is a reason to look."""


class TooEarly(ServerUnavailable):
    """There was a look a moment ago."""


class Kept(Generic[T]):
    """A document of the server's, good for so many seconds."""

    def __init__(self, name: str, read: Callable[[], Awaitable[T]], lifetime: float, world: World) -> None:
        self.value: T | None = None
        self._name = name
        self._read = read
        self._lifetime = lifetime
        self._world = world
        self._good = OVER
        self._reads = 0
        self._trouble: AuthorizationServerError | None = None
        self._looks: dict[str, Span] = {}

    async def get(self) -> T:
        """The document. Raises what reading it raised, when there is none, for as long as nobody asks again."""
        if not self._left(self._good):
            await self._read_again()
        if self.value is None:
            raise self._said_again()
        return self.value

    async def newer(self, known: T, reason: str) -> T:
        """The document as it is by now, read once more if `known` is all that there is.

        `reason` says who wants it; each has a pause of its own, so that what anybody can send us keeps nobody from
        finding what a person needs. Raises `TooEarly` in the pause, and `ServerUnavailable` when it cannot be had.
        """
        async with self._world.lock(f"newer {self._name}"):
            if self.value is known:
                self._look(reason)
                await self._read_again()
        if self.value is None or self.value is known:
            trouble = self._said_again()
            raise ServerUnavailable(str(trouble), retry_after=self._left(self._good))
        return self.value

    def _look(self, reason: str) -> None:
        left = self._left(self._looks.get(reason, OVER))
        if left > 0:
            raise TooEarly(f"it is too early to ask for newer {self._name}", retry_after=left)
        self._looks[reason] = Span(self._world.clock(), LOOK_PAUSE)

    def _left(self, span: Span) -> float:
        return span.left(self._world.clock())

    async def _read_again(self) -> None:
        """Reads it, unless somebody else did while we waited for our turn."""
        reads = self._reads
        async with self._world.lock(self._name):
            if self._reads != reads:
                return
            try:
                self.value, lifetime = await self._read(), self._lifetime
            except AuthorizationServerError as error:
                self._trouble, lifetime = error, TROUBLE_PAUSE
            self._reads += 1
            self._good = Span(self._world.clock(), lifetime)

    def _said_again(self) -> AuthorizationServerError:
        trouble = self._trouble or ServerUnavailable(f"no {self._name} to be had")
        if isinstance(trouble, ServerUnavailable):
            trouble.retry_after = max(self._left(self._good), 1.0)
        return trouble.with_traceback(None)  # one error, raised many times, would remember each of them
