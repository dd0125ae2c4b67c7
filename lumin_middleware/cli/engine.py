"""A real proxy and our workers behind it, as one: started, watched, reloaded and stopped together."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from ..config import LuminConfig
from ..emulator.server import listen as _bind
from ..emulator.server import reached_at
from ..errors import ConfigurationError
from ..gateway.engines import LOGS, Plan, reload_command, without_queries, written
from ..stores.local import is_shared
from .lines import Stderr, log_to_stderr, tell, write
from .terminal import LOOPBACK, fail, listen, until_stopped
from .workers import TO_END, Worker, Workers

POLL = 0.1
"""Seconds between two looks whether all are alive."""

TO_READ = 60.0
"""Seconds that an engine has to read its files anew: it takes one or two, of a busy machine more."""

TO_DIE = 5.0
"""Seconds in which what was killed is gone: at once, unless it waits for a disk that stands still."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it, which nobody else may enter


def run(engine: str, program: str, plan: Plan, changes: Mapping[str, Any]) -> None:
    """Runs an engine until it is told to stop. Raises `ConfigurationError`, and `typer.Exit` when a part has failed."""
    _open_the_first_three()
    log_to_stderr(handler=Stderr())
    if plan.workers > 1:
        _require_shared(plan.config)
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
            with suppress(OSError):  # a full disk, say; people are served all the same
                typer.echo(
                    f"{plan.config.origin}/ signs people in and passes them on to {plan.upstream}, by {engine} at "
                    f"{plan.host}:{plan.port}. Ctrl-C stops it."
                )
            parts.watch()
        finally:
            parts.stop()


def _require_shared(config: LuminConfig) -> None:
    """Raises `ConfigurationError` where the store would be in memory, and so another one in each worker."""
    cure = "set LUMIN_STORE to sqlite:///path or redis://…"
    if config.store == "local" and not is_shared(config.fingerprint):
        problem = f"more than one need a store that they share, and there is no private place for a file; {cure}"
        raise ConfigurationError("workers", problem)
    if isinstance(config.store, str) and config.store.startswith("memory:"):
        raise ConfigurationError("workers", f"more than one cannot share a store in memory; {cure}")


def _open_the_first_three() -> None:
    """Where one of them is closed, the next thing that is opened would have its number, and be taken for it by whom we
    start: our listener for standard input."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _trusting(plan: Plan) -> Any:
    """Our workers believe what stands in front of them, which is alone in knowing where they are."""
    return replace(plan.config, trusted_proxies=tuple(dict.fromkeys((*plan.config.trusted_proxies, LOOPBACK))))


def _free(plan: Plan) -> int:
    """The port for the engine, which was free a moment ago. The engine itself says at length when one is taken."""
    with listen(plan.port, plan.host, _held) as free:
        return int(free.getsockname()[1])


def _held(host: str, port: int) -> socket.socket:
    """A socket that nobody can connect to: whoever came now would be hung up on."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except BaseException:
        held.close()
        raise
    return held


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
        self._workers: Workers | None = None
        self._front: subprocess.Popen[bytes] | None = None
        self._logs: list[_Lines] = []
        self._reading: _Reading | None = None
        self._reload = self._is_over = False

    def start(self) -> None:
        if hasattr(signal, "SIGHUP"):  # before anything takes its time: at first it would end us
            signal.signal(signal.SIGHUP, self._ask_to_reload)
        # No exception from now on: it could come while a lock is held that a process is waited for with.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)
        command = written(self._engine, self._program, self._plan)
        # nginx's lines about trouble hold whole requests; Caddy leaves queries out by itself.
        change = without_queries if self._engine == "nginx" else bytes
        self._logs = [_Lines(self._plan.folder / name, change) for name in LOGS]
        folder = str(self._plan.folder)
        # Certificates that Caddy was given stay where it keeps them: authorities give few.
        home = {} if self._plan.issuer else {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        self._front = front = subprocess.Popen(  # noqa: S603  the program that was asked for
            command, stdin=subprocess.DEVNULL, env={**os.environ, **home}, start_new_session=True, **self._streams()
        )
        self._workers = Workers(self._plan.workers, lambda: Worker(self._listener, self._changes, front.pid, folder))
        self._until_it_answers(self._workers)

    def _streams(self) -> dict[str, Any]:
        """Where the engine is, and what it says: not to our own stderr, for Caddy dies where nobody reads that."""
        said = self._logs[-1].fd
        return {"cwd": self._plan.folder, "stdout": said, "stderr": said}

    def _until_it_answers(self, workers: Workers) -> None:
        host = reached_at(self._plan.host)
        while not self._is_over:
            self._check()
            if workers.have_begun(POLL):
                with suppress(OSError):
                    socket.create_connection((host, self._plan.port), timeout=1).close()
                    return
                time.sleep(POLL)

    def watch(self) -> None:
        """Until it is told to stop, or something ends that cannot be replaced."""
        assert self._workers is not None
        while not self._is_over:
            self._check()
            self._workers.watch()
            self._go_on_reloading(self._workers)
            time.sleep(POLL)

    def _go_on_reloading(self, workers: Workers) -> None:
        """The engine reads its files (a renewed certificate) anew; it goes on as before where they cannot be used. Then
        new workers begin."""
        if self._reading is not None:
            if self._reading.is_over():
                if self._reading.has_failed():
                    tell(f"{self._engine} could not read its files anew; it goes on as before.")
                self._reading = None
                workers.renew()
        elif self._reload and not workers.are_changing():
            self._reload = False
            self._reading = _Reading(reload_command(self._engine, self._program, self._plan), self._streams())

    def _check(self) -> None:
        if self._front is not None and (status := self._front.poll()) is not None:
            self._close_logs()  # its last words come first
            fail(f"{self._engine} has ended ({status}), and everything with it.")

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_over = True

    def _ask_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def stop(self) -> None:
        """The engine first, which finishes what it has begun, then those whom it asks."""
        if self._reading is not None:
            self._reading.give_up()
        if self._front is not None:
            self._end(self._front)
        if self._workers is not None:
            self._workers.stop()
        self._close_logs()

    def _end(self, front: subprocess.Popen[bytes]) -> None:
        """Ends the engine, and whatever of it is left: nginx's own workers do not end with a master that is killed."""
        if front.poll() is None:
            front.send_signal(signal.SIGQUIT if self._engine == "nginx" else signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            front.wait(TO_END)
        with suppress(OSError):  # nobody is left
            os.killpg(front.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            front.wait(TO_DIE)

    def _close_logs(self) -> None:
        while self._logs:
            self._logs.pop().close()


class _Reading:
    """An engine is told to read its files anew, and nobody waits for it: an engine or a disk that stands still keeps us
    neither from the rest nor from our end. What takes too long is given up."""

    def __init__(self, command: list[str], streams: Mapping[str, Any], limit: float = TO_READ) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams)  # noqa: S603  the same program
        self._until = time.monotonic() + limit

    def is_over(self) -> bool:
        is_late = self._process.poll() is None and time.monotonic() > self._until
        if is_late:
            self.give_up()
        return is_late or self._process.returncode is not None

    def has_failed(self) -> bool:
        return self._process.returncode != 0

    def give_up(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TO_DIE)


class _Lines:
    """A log of the engine's, on its way to stderr, which may be something that the engine cannot open itself.

    Whatever becomes of stderr, it is read: an engine whose log is full stands still. What comes without an end of line
    is passed on when all is over.
    """

    def __init__(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        os.mkfifo(path, 0o600)
        self.fd = os.open(path, os.O_RDWR)  # it never ends, whoever opens and closes it
        self._change = change
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        begun = b""
        while True:
            ready, _, _ = select.select([self.fd], [], [], POLL)
            if ready:
                *lines, begun = (begun + os.read(self.fd, 65_536)).split(b"\n")
                write(b"".join(self._change(line) + b"\n" for line in lines))
            elif self._over.is_set():
                write(self._change(begun))
                return

    def close(self) -> None:
        self._over.set()
        self._thread.join()  # which waits for nobody (`write`)
        os.close(self.fd)
