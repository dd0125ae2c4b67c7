"""A real proxy and our workers behind it, as one: started, watched, reloaded and stopped together."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from ..emulator.server import listen as _bind
from ..errors import ConfigurationError
from ..gateway.engines import LOGS, Plan, reload_command, without_queries, written
from .lines import log_to_stderr
from .terminal import LOOPBACK, fail, listen, until_stopped
from .worker import GRACE

POLL = 0.1
"""Seconds between two looks whether all are alive."""

ENDS, ENDS_WITHIN = 5, 60.0
"""Workers that may end within so many seconds, and be replaced; more is no accident."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it, which nobody else may enter


def run(engine: str, program: str, plan: Plan, changes: Mapping[str, Any]) -> None:
    """Runs an engine until it is told to stop. Raises `ConfigurationError`, and `typer.Exit` when a part has failed."""
    log_to_stderr()
    store = plan.config.store
    if plan.workers > 1 and isinstance(store, str) and store.startswith("memory:"):
        raise ConfigurationError("workers", "more than one cannot share a store in memory")
    where = IN_MEMORY if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) else None
    with (
        until_stopped(),
        tempfile.TemporaryDirectory(prefix="lumin-middleware-", dir=where, ignore_cleanup_errors=True) as folder,
        _bind(LOOPBACK, 0) as listener,
    ):
        port = _free(plan)
        auth = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        plan = replace(plan, port=port, auth=auth, folder=Path(folder), config=_trusting(plan))
        changes = {**changes, "trusted_proxies": plan.config.trusted_proxies}
        parts = _Parts(engine, program, plan, listener, changes)
        try:
            parts.start()
            typer.echo(
                f"{plan.config.origin}/ signs people in and passes them on to {plan.upstream}, by {engine} at "
                f"{plan.host}:{plan.port}. Ctrl-C stops it."
            )
            parts.watch()
        finally:
            parts.stop()


def _trusting(plan: Plan) -> Any:
    """Our workers believe what stands in front of them, which is alone in knowing where they are."""
    return replace(plan.config, trusted_proxies=tuple(dict.fromkeys((*plan.config.trusted_proxies, LOOPBACK))))


def _free(plan: Plan) -> int:
    """The port for the engine, which was free a moment ago. The engine itself says at length when one is taken."""
    with listen(plan.port, plan.host) as free:
        return int(free.getsockname()[1])


class _Parts:
    """The engine and the workers."""

    def __init__(
        self, engine: str, program: str, plan: Plan, listener: socket.socket, changes: Mapping[str, Any]
    ) -> None:
        self._engine = engine
        self._program = program
        self._plan = plan
        self._listener = listener
        self._changes = json.dumps(changes)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._ended: list[float] = []
        self._front: subprocess.Popen[bytes] | None = None
        self._logs: list[_Lines] = []
        self._reload = False

    def start(self) -> None:
        command = written(self._engine, self._program, self._plan)
        self._logs = [_Lines(self._plan.folder / name) for name in LOGS]
        self._workers = [self._worker() for _ in range(self._plan.workers)]
        folder = str(self._plan.folder)
        # Certificates that Caddy was given stay where it keeps them: authorities give few.
        home = {} if self._plan.issuer else {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        self._front = subprocess.Popen(  # noqa: S603  the program that was asked for
            command, cwd=folder, stdin=subprocess.DEVNULL, env={**os.environ, **home}, start_new_session=True
        )
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._ask_to_reload)
        self._until_it_answers()

    def _worker(self) -> subprocess.Popen[bytes]:
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "lumin_middleware.cli.worker", str(fd), self._changes]
        return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[fd], start_new_session=True)  # noqa: S603  ours

    def _until_it_answers(self) -> None:
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self._plan.host, self._plan.host)  # noqa: S104  one of all
        while True:
            if any(process.poll() is not None for process in self._workers):
                fail("A worker could not begin; its words stand above.")
            self._check()
            with suppress(OSError, HTTPException):
                asked = HTTPConnection(LOOPBACK, self._listener.getsockname()[1], timeout=1)
                asked.request("GET", f"{self._plan.config.prefix}/session")
                asked.getresponse()
                asked.close()
                socket.create_connection((host, self._plan.port), timeout=1).close()
                return
            time.sleep(POLL)

    def watch(self) -> None:
        """Until something ends that cannot be replaced."""
        while True:
            self._check()
            if self._reload:
                self._reload = False
                self._read_anew()
            time.sleep(POLL)

    def _check(self) -> None:
        if self._front is not None and (status := self._front.poll()) is not None:
            fail(f"{self._engine} has ended ({status}), and everything with it.")
        for place, process in enumerate(self._workers):
            if process.poll() is None:
                continue
            now = time.monotonic()
            self._ended = [*(each for each in self._ended if each > now - ENDS_WITHIN), now]
            if len(self._ended) > ENDS:
                fail("Workers end again and again; their words stand above.")
            typer.echo(f"A worker has ended ({process.returncode}); another takes its place.", err=True)
            self._workers[place] = self._worker()

    def _ask_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def _read_anew(self) -> None:
        """New workers take the old ones' place, and the engine reads its files (a renewed certificate) anew."""
        old, self._workers = self._workers, [self._worker() for _ in self._workers]
        for process in old:
            process.terminate()
        command = reload_command(self._engine, self._program, self._plan)
        subprocess.run(command, cwd=self._plan.folder, check=False)  # noqa: S603  the same program
        for process in old:
            _end(process)

    def stop(self) -> None:
        """The engine first, which finishes what it has begun, then those whom it asks."""
        if self._front is not None and self._front.poll() is None:
            self._front.send_signal(signal.SIGQUIT if self._engine == "nginx" else signal.SIGTERM)
            _end(self._front)
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            _end(process)
        for log in self._logs:
            log.close()


class _Lines:
    """A log of the engine's, on its way to stderr, which may be something that the engine cannot open itself.

    nginx's lines about trouble hold whole requests. What comes without an end of line is passed on when all is over.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDWR)  # it never ends, whoever opens and closes it
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        begun = b""
        while True:
            ready, _, _ = select.select([self._fd], [], [], POLL)
            if ready:
                *lines, begun = (begun + os.read(self._fd, 65_536)).split(b"\n")
                self._write(b"".join(without_queries(line) + b"\n" for line in lines))
            elif self._over.is_set():
                self._write(without_queries(begun))
                return

    def _write(self, text: bytes) -> None:
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._fd)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE + 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
