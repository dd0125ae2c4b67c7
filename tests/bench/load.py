"""Load from wrk, and what it costs the programs that bear it.

The CPU time of the processes tells more than the rate: on a machine with few cores wrk and the program share them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

CONNECTIONS = 16
SECONDS = 2
ROUNDS = 7
TICK = os.sysconf("SC_CLK_TCK")  # the kernel counts CPU in these parts of a second


@dataclass(frozen=True)
class Target:
    """Something under load: where it is, what is sent along, and the processes whose time counts."""

    url: str
    headers: Mapping[str, str]
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """Microseconds of CPU for a request, requests in a second, and milliseconds within which half and 99 % were
    answered."""

    cpu: float
    rate: float
    p50: float = 0.0
    p99: float = 0.0


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """What is started here runs on that core of those that there are, where a system lets it be said: a load takes
    nothing from who bears it, and the threads of a server do not wait for each other from two cores."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if before:
        os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def in_turns(targets: Mapping[str, Target], *, rounds: int = ROUNDS, seconds: int = SECONDS) -> dict[str, Load]:
    """The load that each bears, by name: each round loads every target once, and the best of the rounds counts, since a
    busy machine only ever adds to what a request takes; of the times that people wait, the median."""
    for target in targets.values():
        while not _load(target, seconds=1).rate:  # some listen long before they answer
            pass
    found: dict[str, list[Load]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            found[name].append(_load(target, seconds=seconds))
    return {name: best(loads) for name, loads in found.items()}


def best(loads: list[Load]) -> Load:
    """The best of several rounds, as `in_turns` tells of it."""
    cpu, rate = min(each.cpu for each in loads), max(each.rate for each in loads)
    return Load(cpu, rate, median(each.p50 for each in loads), median(each.p99 for each in loads))


def _load(target: Target, *, seconds: int) -> Load:
    headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    before = _cpu(target.pids)
    command = [_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, target.url]
    with on_core(-1):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every answer from {target.url} was good:\n{said}")
    count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s*([\d.]+)", said)
    assert count is not None
    assert rate is not None
    cpu = (_cpu(target.pids) - before) / max(int(count[1]), 1) * 1e6
    return Load(cpu, float(rate[1]), *(_milliseconds(said, percent) for percent in (50, 99)))


def _milliseconds(said: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", said)
    assert found is not None
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _wrk() -> str:
    if shutil.which("wrk") is None and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["update"], ["install", "-y", "--no-install-recommends", "wrk"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, stdout=subprocess.DEVNULL)
    path = shutil.which("wrk")
    if path is None:
        sys.exit("This benchmark needs wrk, as from 'apt-get install wrk'.")
    return path


def _cpu(pids: tuple[int, ...]) -> float:
    """Seconds that these processes and those that they started have run."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    children = tuple(
        int(child)
        for pid in pids
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    )
    return ticks / TICK + (_cpu(children) if children else 0.0)
