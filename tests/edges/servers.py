"""Real servers in processes of their own, on free ports of the loopback interface.

A server inherits a socket that listens already, so that a request waits in its queue until the server is up; only
Granian must open one itself. Each is stopped by its own id, and what it wrote is looked at.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from lumin_middleware.emulator import Emulator
from tests import spawning
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION

ROOT = Path(__file__).parent.parent.parent

# Its log of the queue warns of every request that finds no idle thread; its manual says how to stop that.
WAITRESS = """
import logging, socket, waitress
from {module} import {name} as app
logging.getLogger("waitress.queue").setLevel(logging.ERROR)
waitress.serve(app, sockets=[socket.socket(fileno={fd})])
"""
# With --preload the application is imported before the worker could patch anything, so the settings do it.
GEVENT_FIRST = "python:tests.edges.gevent_first"


@dataclass(frozen=True)
class Place:
    """Where a server finds its application and its socket."""

    app: str
    fd: int
    port: int


def gunicorn(*options: str) -> Callable[[Place], list[str]]:
    common = ["-m", "gunicorn", "--log-level", "warning", "--graceful-timeout", "5", "--no-control-socket"]
    return lambda at: [*common, "--bind", f"fd://{at.fd}", *options, at.app]


def _waitress(at: Place) -> list[str]:
    module, _, name = at.app.partition(":")
    return ["-c", WAITRESS.format(module=module, name=name, fd=at.fd)]


ASGI: Mapping[str, Callable[[Place], list[str]]] = {
    "uvicorn": lambda at: ["-m", "uvicorn", "--fd", str(at.fd), "--log-level", "warning", at.app],
    "uvicorn with two workers": lambda at: [
        *("-m", "uvicorn", "--fd", str(at.fd), "--log-level", "warning", "--workers", "2", at.app)
    ],
    "hypercorn": lambda at: ["-m", "hypercorn", "--bind", f"fd://{at.fd}", "--log-level", "WARNING", at.app],
    "granian": lambda at: [*("-m", "granian", "--interface", "asgi", "--port", str(at.port), at.app)],
}
WSGI: Mapping[str, Callable[[Place], list[str]]] = {
    "gunicorn sync": gunicorn("--workers", "2"),
    "gunicorn sync, preloaded": gunicorn("--workers", "2", "--preload"),
    "gunicorn gthread": gunicorn("--workers", "2", "-k", "gthread", "--threads", "4"),
    "gunicorn gthread, preloaded": gunicorn("--workers", "2", "-k", "gthread", "--threads", "4", "--preload"),
    "gunicorn gevent": gunicorn("--workers", "2", "-k", "gevent"),
    "gunicorn gevent, preloaded": gunicorn("--workers", "2", "-k", "gevent", "--preload", "-c", GEVENT_FIRST),
    "waitress": _waitress,
}
SERVERS = {**ASGI, **WSGI}


class Server:
    """A running server. `origin` is where it listens."""

    def __init__(self, process: subprocess.Popen[str] | spawning.Popen, port: int) -> None:
        self.process = process
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, name="server-log")
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    def wait(self) -> None:
        """Returns when it listens; fails when it is over before that."""
        while True:
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.port)).close()
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"ended with {self.process.wait(0.05)}: {self.said()}")

    def said(self) -> str:
        """All that it wrote so far."""
        return "".join(self._lines)

    def stop(self) -> int:
        """Asks it to end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return status

    def close(self) -> None:
        """Ends it with all of its workers, if they are not over yet."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the session that it was started in
        with self.process:
            self._reading.join(PATIENCE)


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket that listens on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def start(
    server: str | Callable[[Place], list[str]],
    app: str,
    listener: socket.socket,
    environment: Mapping[str, str],
    *,
    opens_its_own: bool = False,
    anew: bool = False,
) -> Iterator[Server]:
    """Starts a server on that socket, by its name or its command; with these variables and no other settings of ours.

    One that `opens_its_own` socket (Granian does) takes the port instead. `anew` is by an interpreter that has
    imported nothing, as an operator starts it.
    """
    port = listener.getsockname()[1]
    place = Place(app, listener.fileno(), port)
    command = SERVERS[server] if isinstance(server, str) else server
    opens_its_own = opens_its_own or server == "granian"
    if opens_its_own:
        listener.close()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUMIN_")}
    options: dict[str, Any] = {
        "cwd": ROOT,
        "env": {**inherited, "PYTHONWARNINGS": "default,ignore::ResourceWarning", **environment},
        "pass_fds": () if opens_its_own else (place.fd,),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "errors": "replace",
        "start_new_session": True,
    }
    arguments = [sys.executable, *command(place)]
    process = subprocess.Popen(arguments, text=True, **options) if anew else spawning.Popen(arguments, **options)
    running = Server(process, port)
    try:
        running.wait()
        yield running
    finally:
        running.close()


def complaints(said: str) -> list[str]:
    """The lines of a log that nobody should have to read."""
    return re.findall(r"(?im)^.*(?:warning|error|exception|traceback|critical).*$", said)


def environment(lumin: Emulator, origin: str, store: str, **more: str) -> dict[str, str]:
    """The settings of an application at `origin` that is the emulator's demo client."""
    [client] = lumin.clients.values()
    return {
        "LUMIN_AUTH_URL": lumin.base,
        "LUMIN_API_URL": f"{lumin.base}/v1",
        "LUMIN_CLIENT_ID": client.client_id,
        "LUMIN_CLIENT_SECRET": client.client_secret,
        "LUMIN_REDIRECT_URI": f"{origin}/auth/callback",
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
        "LUMIN_STORE": store,
        **more,
    }


class Browser(httpx2.Client):
    """A browser with one cookie jar, over the network."""

    def __init__(self, origin: str, lumin: Emulator) -> None:
        super().__init__(base_url=origin, trust_env=False, timeout=PATIENCE)
        self.lumin = lumin

    def navigate(self, url: str, **headers: str) -> httpx2.Response:
        """Somebody goes to `url`; the answer, not what it redirects to."""
        return self.get(url, headers={**NAVIGATION, **headers})

    def submit(self, url: str, form: Mapping[str, str]) -> httpx2.Response:
        """Somebody submits a form of the site."""
        origin = str(self.base_url).rstrip("/")
        return self.post(
            url, data=dict(form), headers={**NAVIGATION, "sec-fetch-site": "same-origin", "origin": origin}
        )

    def fetch(self, url: str) -> httpx2.Response:
        """A script of the page calls `url`."""
        return self.get(url, headers=FETCH)

    def begin(self, url: str) -> str:
        """Goes to a page and is sent to the authorization endpoint: its URL."""
        answer = self.navigate(url)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def sign_in(self, url: str, **person: str) -> httpx2.Response:
        """The whole way; the answer of the callback."""
        return self.navigate(self.lumin.sign_in(self.begin(url), **person))
