"""What the middleware adds to a real server: the CPU time of its processes for each request, and the rate."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from lumin_middleware import LuminMiddleware

from .measure import run
from .rig import SECRET_KEY, bare, config, party, signed_in

REQUESTS = 5000  # the kernel counts CPU in hundredths of a second: 2 µs each
ROUNDS = 3
TICK = os.sysconf("SC_CLK_TCK")
GUNICORN = ["gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "1", "--log-level", "error"]
COMMANDS = {
    "uvicorn, bare ASGI": ["uvicorn", "--port", "{port}", "--log-level", "error", "tests.bench.served:asgi_app"],
    "gunicorn, Flask": [*GUNICORN, "tests.bench.served:flask_app"],
    "gunicorn, Django": [*GUNICORN, "tests.bench.served:django_app"],
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
    print(f"\nUnder a real server ({ROUNDS} rounds of {REQUESTS} requests on one connection, in turns)")
    for name, command in COMMANDS.items():
        with _server(command, environment) as plain, _server(command, environment | {"WRAPPED": "1"}) as wrapped:
            rounds = [(plain.load(headers), wrapped.load(headers)) for _ in range(ROUNDS)]
        cpu = [statistics.median(each[side][0] for each in rounds) for side in (0, 1)]
        rate = [statistics.median(each[side][1] for each in rounds) for side in (0, 1)]
        print(
            f"  {name:20} CPU {cpu[0]:6.0f} µs, added {cpu[1] - cpu[0]:5.1f} µs; rate {rate[1] / rate[0]:.2f} of bare"
        )


class _Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def load(self, headers: dict[str, str]) -> tuple[float, float]:
        """Microseconds of CPU for a request, and requests in a second."""
        for _ in range(20):
            assert self._client.get("/things/12", headers=headers).status_code == 200
        cpu, started = self._cpu(), time.perf_counter()
        for _ in range(REQUESTS):
            self._client.get("/things/12", headers=headers)
        return (self._cpu() - cpu) / REQUESTS * 1e6, REQUESTS / (time.perf_counter() - started)

    def wait(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                self._client.get("/")
                return
            except httpx2.ConnectError:
                time.sleep(0.1)
        raise TimeoutError("the server does not start")

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait()

    def _cpu(self) -> float:
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [self._process.pid, *map(int, task.read_text().split())]
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(each[11]) + int(each[12]) for each in fields) / TICK


@contextmanager
def _server(command: list[str], environment: dict[str, str]) -> Iterator[_Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [part.format(port=port) for part in command]
    server = _Server(subprocess.Popen([sys.executable, "-m", *arguments], env=environment), port)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
