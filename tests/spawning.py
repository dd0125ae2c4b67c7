"""Python programs that start at once: forks of a process that has imported what they all import.

A program of ours needs half a second of processor time before it does anything, and the tests start hundreds. Here it
is the same in all that a test can see: a process of its own with its own streams, arguments, variables, folder and
session, which ends as an interpreter ends. What is about the start itself (what is imported, how the interpreter is
told, a library that must come first) is started with `subprocess`.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

from tests import short_keys
from tests.patience import PATIENCE

ROOT = Path(__file__).parent.parent

IMPORTED = (
    *("lumin_middleware", "lumin_middleware.cli", "lumin_middleware.emulator", "lumin_middleware.wsgi"),
    *(f"lumin_middleware.cli.{name}" for name in ("demo", "doctor", "emulator", "explain", "grants", "proxy")),
    *(f"lumin_middleware.cli.{name}" for name in ("secret", "sessions", "snippets", "store")),
    "lumin_middleware.gateway.gateway",
    *(f"lumin_middleware.stores.{name}" for name in ("dynamodb", "postgres", "redis", "sqlite")),
    *(
        "typer",
        "typer.rich_utils",
        "pydantic.type_adapter",
        "zoneinfo",
        "anyio.streams.tls",
        "httpcore2",
        "h2.connection",
    ),
    *("trio", "wsproto", "httpx2.websockets", "uvicorn.main", "uvicorn.supervisors", "uvicorn.lifespan.on"),
    *("uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"),
    *("starlette.applications", "starlette.middleware.sessions", "starlette.testclient", "fastapi", "flask"),
)
"""What the programs import, where it is installed; nothing of it starts a thread, opens a file or reads a setting."""

AT_ITS_START = ("PYTHON", "LANG", "LC_", "TZ")
"""How variables begin that an interpreter reads when it starts: programs that differ in them are forks of others."""

NUMBER = struct.Struct("!i")


# --- as a test sees it ----------------------------------------------------------------------------------


class Popen:
    """What `subprocess.Popen` would be for `[sys.executable, "-m" or "-c", …]` or a script; its streams are text."""

    def __init__(
        self,
        args: Sequence[object],
        *,
        cwd: os.PathLike[str] | str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        pass_fds: Iterable[int] = (),
        start_new_session: bool = False,
        errors: str = "strict",
    ) -> None:
        self.args = args
        self.returncode: int | None = None
        variables = dict(os.environ if env is None else env)
        with ExitStack() as theirs:
            numbers: list[int] = []
            ours: list[IO[Any] | None] = []
            for number, given in enumerate((stdin, stdout, stderr)):
                end, own = _stream(number, numbers[1] if given == subprocess.STDOUT else given, errors)
                theirs.callback(os.close, end)
                numbers.append(end)
                ours.append(own)
            self.stdin, self.stdout, self.stderr = ours
            self._line = _server(variables).start(
                {
                    "args": [os.fspath(arg) if isinstance(arg, os.PathLike) else str(arg) for arg in args],
                    "cwd": os.fspath(cwd or os.getcwd()),
                    "env": variables,
                    "numbers": [0, 1, 2, *pass_fds],
                    "new_session": start_new_session,
                },
                [*numbers, *pass_fds],
            )
        self.pid = self._next(None)

    def _next(self, timeout: float | None) -> int:
        self._line.settimeout(timeout)
        said = self._line.recv(NUMBER.size)
        if not said:
            raise ChildProcessError(f"Nobody knows what became of {self.args}")
        number: int = NUMBER.unpack(said)[0]
        return number

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            try:
                self.returncode = self._next(timeout)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(str(self.args), timeout or 0) from None
            self._line.close()
        return self.returncode

    def communicate(self, told: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Tell it that; all that it writes yet, and its end."""
        said: dict[str, str] = {}

        def read(name: str, stream: IO[str]) -> None:
            with stream:
                said[name] = stream.read()

        streams = {"stdout": self.stdout, "stderr": self.stderr}
        reading = [threading.Thread(target=read, args=each, daemon=True) for each in streams.items() if each[1]]
        for thread in reading:
            thread.start()
        if self.stdin is not None:
            with self.stdin:
                self.stdin.write(told or "")
        self.wait(timeout)
        for thread in reading:
            thread.join(timeout)
        return said.get("stdout", ""), said.get("stderr", "")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(args: Sequence[object], *, told: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` would be: what a program wrote that was told that, and how it ended."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with Popen(args, **pipes, **options) as process:
        try:
            stdout, stderr = process.communicate(told, PATIENCE)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(args, process.wait(), stdout, stderr)


def _stream(number: int, given: Any, errors: str) -> tuple[int, IO[Any] | None]:
    """The program's end of a stream, and ours if it is a pipe."""
    if given == subprocess.PIPE:
        reading, writing = os.pipe()
        if number == 0:
            return reading, open(writing, "w", errors=errors)
        return writing, open(reading, errors=errors)
    if given == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if given is None:
        return os.dup(number), None
    return os.dup(given if isinstance(given, int) else given.fileno()), None


class _Server:
    """The process that is forked. It ends with this one."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.spawning", str(theirs.fileno())],
                cwd=ROOT,
                env=variables,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests, which end what they started
            )
        atexit.register(self.close)

    def start(self, request: Mapping[str, Any], numbers: Sequence[int]) -> socket.socket:
        """The line on which come the program's id, and what it ended with."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._socket, [b"."], [theirs.fileno(), *numbers])
        ours.sendall(json.dumps(request).encode() + b"\n")
        return ours

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


_servers: dict[tuple[tuple[str, str], ...], _Server] = {}
_starting = threading.Lock()


def _server(variables: Mapping[str, str]) -> _Server:
    kind = tuple(sorted(item for item in variables.items() if item[0].startswith(AT_ITS_START)))
    with _starting:
        if kind not in _servers:
            _servers[kind] = _Server(variables)
        return _servers[kind]


# --- the process that is forked -------------------------------------------------------------------------


def main(number: int) -> None:
    for name in IMPORTED:
        with suppress(Exception):  # an extra, or what warns where warnings are errors: the program sees for itself
            importlib.import_module(name)
    with suppress(ImportError):
        from uvicorn import _subprocess

        _subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    short_keys.use()
    gc.freeze()  # nothing of it is looked at again, which would copy it
    requests = socket.socket(fileno=number)
    while (program := _asked(requests)) is None:
        pass
    program()  # in the fork; its end is this interpreter's


def _asked(requests: socket.socket) -> Callable[[], object] | None:
    """Fork for one program: what it is, there."""
    _, numbers, _, _ = socket.recv_fds(requests, 1, 100)
    with suppress(ChildProcessError):  # those that waited for programs which are over
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if not numbers:
        return sys.exit
    if os.fork():
        for number in numbers:
            os.close(number)
        return None
    requests.close()
    line = socket.socket(fileno=numbers[0])
    with line.makefile() as lines:
        request = json.loads(lines.readline())
    pid = os.fork()
    if pid:
        for number in numbers[1:]:
            os.close(number)
        _tell_the_end(pid, line)
    return _become(request, numbers[1:], line)


def _tell_the_end(pid: int, line: socket.socket) -> None:
    """The program's id is its own until whoever started it knows its end, as with a child of theirs."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    with suppress(OSError):  # who has ended asks no more
        line.sendall(NUMBER.pack(status))
        line.recv(1)
    os.waitpid(pid, 0)
    os._exit(0)


def _become(request: dict[str, Any], numbers: Sequence[int], line: socket.socket) -> Callable[[], object]:
    """Take the streams, variables and so on of the program; what it does."""
    if request["new_session"]:
        os.setsid()
    line.sendall(NUMBER.pack(os.getpid()))
    line.close()
    beyond = max(request["numbers"]) + 1  # where none is in the way of another
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, beyond) for number in numbers]
    for number in numbers:
        os.close(number)
    for source, number in zip(moved, request["numbers"], strict=True):
        os.dup2(source, number)
        os.close(source)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    return _program(request["args"])


def _program(args: list[str]) -> Callable[[], object]:
    match args:
        case [sys.executable, "-m", module, *rest]:
            sys.argv, sys.path[0] = ["-m", *rest], os.getcwd()
            return lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [sys.executable, "-c", code, *rest]:
            sys.argv, sys.path[0] = ["-c", *rest], ""
            sys.modules["__main__"] = ModuleType("__main__")
            return lambda: exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)
        case [sys.executable, script, *rest] | [script, *rest]:
            sys.argv, sys.path[0] = [script, *rest], str(Path(script).parent)
            return lambda: runpy.run_path(script, run_name="__main__")
    raise ValueError(f"{args} names no program")


if __name__ == "__main__":
    main(int(sys.argv[1]))
