"""Our workers behind a real proxy, as who runs them has them: begun, watched, replaced, renewed and ended.

They serve on one socket, on which whoever comes waits for any of them. So none can be asked whether it serves; each
says so itself, on a line of its own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from select import select

from .lines import tell
from .terminal import fail
from .uvicorn_server import LINGER
from .worker import GRACE

TO_END = LINGER + GRACE + 2
"""Seconds that who is told to stop has: for kept connections, for requests in flight, and for what comes after."""

TO_BEGIN = 60.0
"""Seconds that new workers have to begin while the old ones serve: a start takes one or two, of a busy machine more."""

ENDS, ENDS_WITHIN = 5, 60.0
"""Workers that may end within so many seconds, and be replaced; more is no accident."""


class Worker:
    """One of them. It serves on `listener`, and ends with us; then the group of the process `engine` and its folder
    do, too."""

    def __init__(self, listener: socket.socket, changes: str, engine: int, folder: str) -> None:
        fd = listener.fileno()
        command = [sys.executable, "-m", "lumin_middleware.cli.worker", str(fd), changes, str(engine), folder]
        self._line, theirs = socket.socketpair()  # open as long as the worker lives, to whom its end is ours
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  ours
                command, stdin=theirs.fileno(), pass_fds=[fd], start_new_session=True
            )
        self._serves = False
        self._until = 0.0

    def serves(self, timeout: float = 0) -> bool:
        """Whether it has said so, or does within so many seconds."""
        if not self._serves and select([self._line], [], [], timeout)[0]:
            self._serves = self._line.recv(1) != b""
        return self._serves

    def ended(self) -> int | None:
        """What it has ended with; the line is closed then."""
        if (status := self._process.poll()) is not None:
            self._line.close()
        return status

    def terminate(self) -> None:
        self._until = time.monotonic() + TO_END
        self._process.terminate()

    def is_over(self) -> bool:
        """Whether it has ended that was told to. It is killed where it takes too long."""
        if self.ended() is None and time.monotonic() > self._until:
            self._process.kill()
        return self.ended() is not None

    def wait(self) -> None:
        """Until it is over."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, self._until - time.monotonic()))
        self._process.kill()
        self._process.wait()
        self._line.close()


class Workers:
    """So many of them."""

    def __init__(self, number: int, begin: Callable[[], Worker]) -> None:
        self._begin = begin
        self._serving = [begin() for _ in range(number)]
        self._new: list[Worker] = []
        self._until = 0.0
        self._leaving: list[Worker] = []
        self._replaced: list[float] = []

    def have_begun(self, timeout: float) -> bool:
        """Whether all serve that were begun at first. It waits for one of them, so many seconds at most."""
        if any(each.ended() is not None for each in self._serving):
            fail("A worker could not begin; its words stand above.")
        return all(each.serves(timeout) for each in self._serving)

    def renew(self) -> None:
        """New ones take the place of these, once they serve."""
        self._new = [self._begin() for _ in self._serving]
        self._until = time.monotonic() + TO_BEGIN

    def are_changing(self) -> bool:
        """Whether that is under way."""
        return bool(self._new)

    def watch(self) -> None:
        """To be called again and again."""
        self._replace()
        if self._new:
            self._take_over()
        self._leaving = [each for each in self._leaving if not each.is_over()]

    def _replace(self) -> None:
        for place, worker in enumerate(self._serving):
            if (status := worker.ended()) is None:
                continue
            now = time.monotonic()
            self._replaced = [each for each in self._replaced if each > now - ENDS_WITHIN]
            if len(self._replaced) >= ENDS:
                if all(each.ended() is not None for each in self._serving):
                    fail("Workers end again and again; their words stand above.")
                continue  # until some of it is long ago: the others serve, and the cause may pass
            self._replaced.append(now)
            tell(f"A worker has ended ({status}); another takes its place.")
            self._serving[place] = self._begin()

    def _take_over(self) -> None:
        if any(each.ended() is not None for each in self._new) or time.monotonic() > self._until:
            tell("The new workers do not begin; their words stand above. So the old ones go on.")
            going = self._new
        elif all(each.serves() for each in self._new):
            going, self._serving = self._serving, self._new
        else:
            return
        self._new = []
        self._leave(going)

    def _leave(self, going: list[Worker]) -> None:
        for each in going:
            each.terminate()
        self._leaving += going

    def stop(self) -> None:
        self._leave([*self._serving, *self._new])
        for each in self._leaving:
            each.wait()
