"""A worker of the storm that acts for people who are away: `python -m tests.storm.job blocking|asyncio`.

Everything that it is told about the site stands in the environment. For each line that it reads, a subject and a
number, it makes so many calls at once, and writes what came of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lumin_middleware import AsyncGrants, Grants, LuminConfig, LuminError
from tests.limits import lift
from tests.storm.clock import SharedClock

lift()


def told(token: str, status: int) -> dict[str, Any]:
    return {"token": hashlib.sha256(token.encode()).hexdigest(), "api": status, "error": ""}


def blocking(config: LuminConfig, clock: Callable[[], float]) -> Callable[[str, int], list[dict[str, Any]]]:
    grants = Grants(config, clock=clock)

    def call(subject: str) -> dict[str, Any]:
        try:
            with grants.client(subject) as client:
                status = client.get("signature_requests").status_code
                return told(client.access_token(), status)
        except LuminError as error:
            return {"token": "", "api": 0, "error": repr(error)}

    def calls(subject: str, times: int) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(call, [subject] * times))

    return calls


def on_a_loop(config: LuminConfig, clock: Callable[[], float]) -> Callable[[str, int], list[dict[str, Any]]]:
    grants = AsyncGrants(config, clock=clock)
    loop = asyncio.new_event_loop()

    async def call(subject: str) -> dict[str, Any]:
        try:
            async with grants.client(subject) as client:
                status = (await client.get("signature_requests")).status_code
                return told(await client.access_token(), status)
        except LuminError as error:
            return {"token": "", "api": 0, "error": repr(error)}

    async def calls(subject: str, times: int) -> list[dict[str, Any]]:
        return await asyncio.gather(*(call(subject) for _ in range(times)))

    return lambda subject, times: loop.run_until_complete(calls(subject, times))


def main() -> None:
    config = replace(LuminConfig.from_env(), timeout=float(os.environ["STORM_TIMEOUT"]))
    kind = {"blocking": blocking, "asyncio": on_a_loop}[sys.argv[1]]
    calls = kind(config, SharedClock(Path(os.environ["STORM_CLOCK"])))
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            subject, times = line.split()
            sys.stdout.write(json.dumps(calls(subject, int(times))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
