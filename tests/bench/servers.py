"""What the middleware adds to a real server: the CPU time of its processes for each request, and the rate."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from lumin_middleware import LuminMiddleware
from tests.proxies.rig import Program, free_port

from .load import CONNECTIONS, Load, Target, in_turns, on_core
from .measure import run
from .rig import SECRET_KEY, bare, config, party, signed_in
from .served import BARE, LEAST, WRAPPED

GUNICORN = ["gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "1", "--log-level", "error"]
UVICORN = ["uvicorn", "tests.bench.served:asgi_app", "--factory", "--port", "{port}", "--log-level", "error"]
UVICORN += ["--no-access-log"]
COMMANDS = {
    "uvicorn, pure Python": [*UVICORN, "--http", "h11", "--loop", "asyncio"],
    "uvicorn, compiled": [*UVICORN, "--http", "httptools", "--loop", "uvloop"],
    "gunicorn, Flask": [*GUNICORN, "tests.bench.served:flask_app()"],
    "gunicorn, Django": [*GUNICORN, "tests.bench.served:django_app()"],
}

STARTS = 3
"""Times that each server is started: what the middleware adds differs by where in memory things happen to lie."""
ROUNDS = 4  # of a second for each path

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
    print(f"\nUnder a real server, by wrk ({CONNECTIONS} connections); the median of {STARTS} starts")
    for name, command in COMMANDS.items():
        starts = [_loads(command, environment, headers) for _ in range(STARTS)]
        _say(name, starts, WRAPPED, GOALS[name])
        _say("  the least there is", starts, LEAST, "copies the scope or the environ, and adds one header")


def _loads(command: list[str], environment: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Load]:
    """The load that one process bears at each path."""
    with _server(command, environment) as (origin, pid):
        targets = {path: Target(origin + path, headers, (pid,)) for path in (BARE, WRAPPED, LEAST)}
        return in_turns(targets, rounds=ROUNDS, seconds=1)


def _say(name: str, starts: list[dict[str, Load]], path: str, remark: str) -> None:
    bare_cpu = median(loads[BARE].cpu for loads in starts)
    added = [loads[path].cpu - loads[BARE].cpu for loads in starts]
    rate = median(loads[path].rate / loads[BARE].rate for loads in starts)
    print(
        f"  {name:20} CPU {bare_cpu:6.0f} µs, added {median(added):5.1f} µs ({min(added):.1f} to {max(added):.1f}),"
        f" {median(added) / bare_cpu:.3f} of bare's; rate {rate:.2f} of bare ({remark})"
    )


@contextmanager
def _server(command: list[str], environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    port = free_port()
    arguments = [part.format(port=port) for part in command]
    with tempfile.NamedTemporaryFile() as log:
        with on_core(0):
            program = Program([sys.executable, "-m", *arguments], Path(log.name), env=environment)
        with program:
            program.until_it_listens(port)
            yield f"http://127.0.0.1:{port}", program.process.pid
