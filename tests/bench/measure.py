"""Measuring in turns: each round runs every candidate for a moment, and the best of its rounds counts.

A busy machine only ever adds to what something takes. So the rounds are short, which lets some of them be undisturbed,
and many; and what is compared was measured in one run.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

ROUNDS = 300
ROUND_SECONDS = 0.002  # long enough for the timer, and shorter than what a scheduler gives at once

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Cost:
    """Microseconds of one call."""

    name: str
    microseconds: float


async def in_turns(
    candidates: Mapping[str, Call], *, rounds: int = ROUNDS, seconds: float = ROUND_SECONDS
) -> dict[str, Cost]:
    """The cost of each candidate, by name."""
    counts = {name: await _calls_for(seconds, call) for name, call in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    for _ in range(rounds):
        for name, call in candidates.items():
            await call()  # what the others have driven out is at hand again
            times[name].append(await _time(call, counts[name]) / counts[name])
    return {name: Cost(name, min(each) * 1e6) for name, each in times.items()}


async def _calls_for(seconds: float, call: Call) -> int:
    took = min([await _time(call, 1) for _ in range(20)])
    return max(3, int(seconds / max(took, 1e-7)))


async def _time(call: Call, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        await call()
    return time.perf_counter() - started


def blocking(call: Callable[[], object]) -> Call:
    """A call that blocks, in the shape of the others; the coroutine adds some 0.05 µs to each alike."""

    async def wrapped() -> object:
        return call()

    return wrapped


def say(
    title: str,
    costs: Mapping[str, Cost],
    *,
    base: str | None = None,
    against: Mapping[str, str] | None = None,
    goals: Mapping[str, float] | None = None,
) -> None:
    """Prints a table: the cost of each, and what it adds to `base`.

    `against` says whose addition that is compared with, and `goals` what the ratio is to be.
    """
    print(f"\n{title}")
    bare = costs[base].microseconds if base else 0.0
    for cost in costs.values():
        line = f"  {cost.name:52} {cost.microseconds:10.2f} µs"
        if base and cost.name != base:
            added = cost.microseconds - bare
            line += f"   added {added:8.2f} µs"
            if other := (against or {}).get(cost.name):
                line += f"   {added / (costs[other].microseconds - bare):6.2f} x {other}"
            if goal := (goals or {}).get(cost.name):
                line += f" (goal {goal})"
        print(line)


def run(main: Awaitable[None]) -> None:
    """Runs one benchmark on a loop of its own."""

    async def wrapped() -> None:
        await main

    asyncio.run(wrapped())
