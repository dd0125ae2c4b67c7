"""What the middleware adds to a real server: the CPU time of its processes for each request, and the rate."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lumin_middleware import LuminMiddleware
from tests.proxies.rig import Program, free_port

from .load import CONNECTIONS, Load, Target, best, in_turns, on_core
from .measure import run
from .rig import SECRET_KEY, bare, config, party, signed_in

GUNICORN = ["gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "1", "--log-level", "error"]
UVICORN = ["uvicorn", "tests.bench.served:asgi_app", "--port", "{port}", "--log-level", "error", "--no-access-log"]
COMMANDS = {
    "uvicorn, pure Python": [*UVICORN, "--http", "h11", "--loop", "asyncio"],
    "uvicorn, compiled": [*UVICORN, "--http", "httptools", "--loop", "uvloop"],
    "gunicorn, Flask": [*GUNICORN, "tests.bench.served:flask_app"],
    "gunicorn, Django": [*GUNICORN, "tests.bench.served:django_app"],
}

STARTS = 6
"""Times that each server is started: of two processes of one program, one may need a third more for each request, by
where in memory things happen to lie."""

GOALS = {
    "uvicorn, pure Python": "goal: rate 0.93",
    "uvicorn, compiled": "no goal: bare takes a quarter of the time there",
    "gunicorn, Flask": "goal: CPU 0.06",
    "gunicorn, Django": "goal: CPU 0.06",
}


def main() -> None:
    run(_served())


async def _served() -> None:
    middleware = LuminMiddleware(bare, config())
    headers = {"cookie": (await signed_in(party(middleware))).decode(), "accept": "text/html"}
    settings = middleware.config
    environment = {
        **os.environ,
        "LUMIN_CLIENT_ID": settings.client_id,
        "LUMIN_CLIENT_SECRET": str(settings.client_secret),
        "LUMIN_REDIRECT_URI": settings.redirect_uri,
        "LUMIN_SECRET_KEY": SECRET_KEY,
        "LUMIN_STORE": "memory://",
    }
    await middleware.aclose()
    print(f"\nUnder a real server, by wrk ({CONNECTIONS} connections)")
    for name, command in COMMANDS.items():
        loads: dict[str, list[Load]] = {"bare": [], "wrapped": []}
        for _ in range(STARTS):
            with (
                _server(command, environment, headers) as plain,
                _server(command, environment | {"WRAPPED": "1"}, headers) as wrapped,
            ):
                for kind, found in in_turns({"bare": plain, "wrapped": wrapped}, rounds=2, seconds=1).items():
                    loads[kind].append(found)
        bare_load, load = best(loads["bare"]), best(loads["wrapped"])
        print(
            f"  {name:20} CPU {bare_load.cpu:6.0f} µs, added {load.cpu - bare_load.cpu:5.1f} µs,"
            f" {load.cpu / bare_load.cpu - 1:.3f} of bare's; rate {load.rate / bare_load.rate:.2f} of bare"
            f" ({GOALS[name]})"
        )


@contextmanager
def _server(command: list[str], environment: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[Target]:
    port = free_port()
    arguments = [part.format(port=port) for part in command]
    with tempfile.NamedTemporaryFile() as log:
        with on_core(0):
            program = Program([sys.executable, "-m", *arguments], Path(log.name), env=environment)
        with program:
            program.until_it_listens(port)
            yield Target(f"http://127.0.0.1:{port}/things/12", headers, (program.process.pid,))
