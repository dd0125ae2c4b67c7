"""`python -m tests.seams --minutes 20`: requests for as long as one likes, and what came of them."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from lumin_middleware.emulator import serve
from tests.seams import fronts, rig, wire
from tests.seams.rig import Counts
from tests.seams.routes import RULESETS

HEAD = ("where", "requests", "handlers run", "wrongly", "seconds")
ROUND = 2_000
"""Requests to an application before it is another one's turn; a real server gets a quarter."""


def main() -> int:
    """Runs until the time is over; the status is 1 where a handler ran wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.seams", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--only", default="", help="part of the name of an application or server")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    end = time.monotonic() + arguments.minutes * 60
    write(f"seed {arguments.seed}\n")
    row(HEAD)
    row(["---"] * len(HEAD))
    seed, total, wrong = arguments.seed, 0, 0
    while time.monotonic() < end:
        for counts in (
            asyncio.run(in_process(seed, arguments.only, end)),
            on_the_wire(seed, arguments.only, end),
            through_fronts(seed, arguments.only, end),
        ):
            total, wrong = total + counts.requests, wrong + len(counts.wrong)
        seed += 1
    row(["all", total, "", wrong, ""])
    return 1 if wrong else 0


async def in_process(seed: int, only: str, end: float) -> Counts:
    """One round of each application."""
    whole = Counts()
    with rig.people() as sites:
        for kind, named in rig.KINDS.items():
            for app in named:
                if only in app and time.monotonic() < end:
                    began = time.monotonic()
                    add(whole, await rig.attack(kind, app, sites, seed, ROUND), f"in process: {app}", began)
    return whole


def on_the_wire(seed: int, only: str, end: float) -> Counts:
    """One round of each real server."""
    whole = Counts()
    for each in wire.RIGS:
        if only in f"{each.name}: {each.app}" and time.monotonic() < end:
            began = time.monotonic()
            with (
                serve(clients=[wire.CLIENT]) as running,
                tempfile.TemporaryDirectory() as directory,
                wire.running(each, running.emulator, Path(directory)) as site,
            ):
                add(whole, wire.attack(site, seed, ROUND // 4), f"{each.name}: {each.app}", began)
    return whole


def through_fronts(seed: int, only: str, end: float) -> Counts:
    """One round of each service behind each front, with the rules in turn."""
    whole = Counts()
    for number, (front, service) in enumerate(fronts.PAIRS):
        if only in f"{front}: {service.name}, {service.app}" and time.monotonic() < end:
            began = time.monotonic()
            with (
                tempfile.TemporaryDirectory() as directory,
                fronts.serving(service) as upstream,
                fronts.standing(front, service, upstream, Path(directory), (seed + number) % len(RULESETS)) as site,
            ):
                add(whole, wire.attack(site, seed, ROUND // 4), f"{front}: {site.app}", began)
    return whole


def add(whole: Counts, counts: Counts, where: str, began: float) -> None:
    """Counts a round, and writes it down."""
    whole.requests += counts.requests
    whole.wrong += counts.wrong
    seconds = f"{time.monotonic() - began:.0f}"
    row([where, counts.requests, sum(counts.ran.values()), len(counts.wrong), seconds])
    for found in counts.wrong[:5]:
        write(f"  {found}\n")


def row(cells: Sequence[object]) -> None:
    write(f"| {' | '.join(map(str, cells))} |\n")


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
