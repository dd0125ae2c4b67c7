"""Measuring in turns: each round runs every candidate once, and the median of the rounds counts."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

ROUNDS = 15
ROUND_SECONDS = 0.05  # long enough for the timer, short enough that noise hits all candidates alike

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Cost:
    """Microseconds of one call."""

    name: str
    microseconds: float


async def in_turns(candidates: Mapping[str, Call], *, rounds: int = ROUNDS) -> dict[str, Cost]:
    """The cost of each candidate, by name."""
    counts = {name: await _calls_for(ROUND_SECONDS, call) for name, call in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    for _ in range(rounds):
        for name, call in candidates.items():
            times[name].append(await _time(call, counts[name]) / counts[name])
    return {name: Cost(name, statistics.median(each) * 1e6) for name, each in times.items()}


async def _calls_for(seconds: float, call: Call) -> int:
    await call()
    took = await _time(call, 3) / 3
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


def say(title: str, costs: Mapping[str, Cost], *, base: str | None = None, against: str | None = None) -> None:
    """Prints a table: the cost of each, what it adds to `base`, and how that compares to what `against` adds."""
    print(f"\n{title}")
    bare = costs[base].microseconds if base else 0.0
    yardstick = costs[against].microseconds - bare if against else None
    for cost in costs.values():
        line = f"  {cost.name:52} {cost.microseconds:10.2f} µs"
        if base and cost.name != base:
            line += f"   added {cost.microseconds - bare:8.2f} µs"
            if yardstick and cost.name != against:
                line += f"   {(cost.microseconds - bare) / yardstick:6.2f} x {against}"
        print(line)


def run(main: Awaitable[None]) -> None:
    """Runs one benchmark on a loop of its own."""

    async def wrapped() -> None:
        await main

    asyncio.run(wrapped())
