"""A loop that waits for an answer shows signs of life; one that stands still shows none, however long that lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lumin_middleware.stores.pulse import TICK, Pulse


class Loop:
    """An event loop whose time is the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, action))
        return self.timers[-1]

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [each for each in self.timers if each.at <= until]:
            self.now = due[0].at
            self._fire()
        self.now = until

    def stand_still(self, seconds: float) -> None:
        self.now += seconds
        self._fire()

    def _fire(self) -> None:
        due = [each for each in self.timers if each.at <= self.now]
        self.timers = [each for each in self.timers if each not in due]
        for each in due:
            if not each.is_cancelled:
                each.action()


class Timer:
    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at, self.action, self.is_cancelled = at, action, False

    def cancel(self) -> None:
        self.is_cancelled = True


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


@pytest.mark.parametrize(
    ("waited", "stood", "is_missing"), [(2.0, 0.0, False), (1.9, 0.2, False), (0.1, 2.5, True), (0.0, 2.0, True)]
)
def test_who_stood_still_for_most_of_the_time_was_missing(loop: Loop, waited: float, stood: float, is_missing: bool):
    with Pulse() as pulse:
        loop.wait(waited)
        loop.stand_still(stood)
    assert pulse.was_missing() is is_missing


def test_it_ends_with_the_wait(loop: Loop) -> None:
    with Pulse():
        loop.wait(3 * TICK)
    loop.wait(3 * TICK)
    assert loop.timers == []
