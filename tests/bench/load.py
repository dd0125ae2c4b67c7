"""Load from wrk, and what it costs the programs that bear it.

The CPU time of the processes tells more than the rate: on a machine with few cores wrk and the program share them.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16
SECONDS = 2
ROUNDS = 5
TICK = os.sysconf("SC_CLK_TCK")  # the kernel counts CPU in these parts of a second


@dataclass(frozen=True)
class Target:
    """Something under load: where it is, what is sent along, and the processes whose time counts."""

    url: str
    headers: Mapping[str, str]
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """Microseconds of CPU for a request, and requests in a second."""

    cpu: float
    rate: float


def in_turns(targets: Mapping[str, Target], *, rounds: int = ROUNDS) -> dict[str, Load]:
    """The load that each bears, by name: each round loads every target once, and the median of the rounds counts."""
    for target in targets.values():
        _load(target, seconds=1)  # so that all are warm
    found: dict[str, list[Load]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            found[name].append(_load(target, seconds=SECONDS))
    return {
        name: Load(statistics.median(each.cpu for each in loads), statistics.median(each.rate for each in loads))
        for name, loads in found.items()
    }


def _load(target: Target, *, seconds: int) -> Load:
    headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    before = _cpu(target.pids)
    command = [_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *headers, target.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every answer from {target.url} was good:\n{said}")
    count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s*([\d.]+)", said)
    assert count is not None
    assert rate is not None
    return Load((_cpu(target.pids) - before) / int(count[1]) * 1e6, float(rate[1]))


def _wrk() -> str:
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
