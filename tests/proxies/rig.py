"""Servers on loopback ports, and a browser that goes to them: what all tests with a real proxy need.

Applications are served by uvicorn in a thread, programs run as processes of their own. Each is stopped by its own
handle.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx2

from lumin_middleware import LuminConfig
from lumin_middleware.emulator import Client, Emulator
from lumin_middleware.emulator import serve as serve_emulator
from tests import spawning
from tests.browser_rig import ROOT, environment
from tests.patience import PATIENCE
from tests.serving import served
from tests.site_rig import FETCH, NAVIGATION

LOOPBACK = "127.0.0.1"


# --- servers --------------------------------------------------------------------------------------------


@contextmanager
def serve(app: Any, port: int = 0, **settings: Any) -> Iterator[str]:
    """Serve an ASGI application in a thread; the origin where it answers."""
    with socket.create_server((LOOPBACK, port)) as listener:
        defaults = {"http": "h11", "proxy_headers": False, "ws": "wsproto"}
        with served(app, listener, **{**defaults, **settings}):
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"


ASKED_FOR = range(20_000, 32_768)
"""Ports that nobody has who did not ask for them: beyond, the system gives them to whoever asks for any (Linux,
ip_local_port_range); below are some that browsers refuse."""


def free_port() -> int:
    """A port that is free, for programs that cannot be given a socket.

    It is none that the system gives to whoever asks for any: such a one may be another's before the program has it.
    """
    while True:
        with suppress(OSError), socket.create_server((LOOPBACK, secrets.choice(ASKED_FOR))) as free:
            return int(free.getsockname()[1])


class Program:
    """A running program. What it writes is kept for whoever asks why it did not do what it should."""

    forks: ClassVar[bool] = True
    """Whether Python's programs are forks of one that has imported more than they need. They are not where what they
    cost is measured."""

    def __init__(self, command: list[str], log: Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as stream:
            is_fork = self.forks and command[:2] == [sys.executable, "-m"]
            popen = spawning.Popen if is_fork else subprocess.Popen
            self.process = popen(command, cwd=cwd, env=env, stdout=stream, stderr=subprocess.STDOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def until_it_listens(self, port: int) -> Self:
        """Returns when a connection to the port is taken."""
        for _ in range(PATIENCE * 50):
            try:
                socket.create_connection((LOOPBACK, port), timeout=PATIENCE).close()
            except OSError:
                if self.process.poll() is not None:
                    break
                threading.Event().wait(0.02)
            else:
                return self
        raise AssertionError(f"{self.process.args} does not listen at {port}:\n{self.said()}")

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes that the process holds, or held at most (`VmHWM`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


# --- the site -------------------------------------------------------------------------------------------


class Front:
    """A site at `origin` that signs people in at an emulator of its own."""

    def __init__(self, port: int, emulator: Emulator, base: str = f"http://{LOOPBACK}") -> None:
        self.port = port
        self.origin = f"{base}:{port}"
        self.emulator = emulator
        [client] = emulator.clients.values()
        self.variables = {
            "LUMIN_AUTH_URL": emulator.base,
            "LUMIN_API_URL": f"{emulator.base}/v1",
            "LUMIN_CLIENT_ID": client.client_id,
            "LUMIN_CLIENT_SECRET": client.client_secret,
            "LUMIN_REDIRECT_URI": client.redirect_uris[0],
            "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
            "LUMIN_STORE": "memory://",
        }

    def config(self, **settings: Any) -> LuminConfig:
        return replace(LuminConfig.from_env(self.variables), **settings)

    def browser(self, **options: Any) -> Browser:
        return Browser(self, **options)


@contextmanager
def front(base: str = f"http://{LOOPBACK}", **options: Any) -> Iterator[Front]:
    """A site to be at `base` and a port that is free. Its emulator runs."""
    port = free_port()
    client = Client(
        client_id="proxied",
        client_secret=secrets.token_urlsafe(32),
        redirect_uris=(f"{base}:{port}/auth/callback",),
        token_endpoint_auth_method="client_secret_post",
        scope="openid offline_access sign:requests templates",
    )
    with serve_emulator(clients=[client], **options) as running:
        yield Front(port, running.emulator, base)


@contextmanager
def gateway(front: Front, upstream: str, log: Path, *arguments: str, **variables: str) -> Iterator[Program]:
    """`lumin-middleware proxy` in a process of its own."""
    command = [sys.executable, "-m", "lumin_middleware", "proxy", "--upstream", upstream, *arguments]
    with Program(command, log, env=environment(**front.variables, **variables)) as program:
        yield program.until_it_listens(front.port)


class Browser(httpx2.Client):
    """A browser with a cookie jar that goes to one site."""

    def __init__(self, front: Front, **options: Any) -> None:
        super().__init__(base_url=front.origin, timeout=PATIENCE, trust_env=False, **options)
        self.front = front

    def navigate(self, url: str, **headers: str) -> httpx2.Response:
        return self.get(url, headers={**NAVIGATION, **headers})

    def fetch(self, method: str, url: str, **options: Any) -> httpx2.Response:
        headers = {**FETCH, "origin": self.front.origin, **options.pop("headers", {})}
        return self.request(method, url, headers=headers, **options)

    @contextmanager
    def websocket(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """httpx2 closes a connection at which a thread of its own still reads, and which may then read what another is
        told that has got the same number of a descriptor. So that thread ends first."""
        with super().websocket(*arguments, **options) as opened:
            stream, close = opened.stream, opened.stream.close

            def close_alone() -> None:
                with suppress(OSError):  # it is closed already
                    stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
                if opened._executor is not None:
                    opened._executor.shutdown()
                close()

            stream.close = close_alone
            yield opened

    def sign_in(self, path: str = "/", **person: Any) -> httpx2.Response:
        """The whole way, to the page that was asked for."""
        begun = self.navigate(path)
        assert begun.status_code == 303, (begun.status_code, begun.text)
        done = self.navigate(self.front.emulator.sign_in(begun.headers["location"], **person))
        assert done.status_code == 303, (done.status_code, done.text)
        return self.navigate(done.headers["location"])

    def sign_out(self) -> httpx2.Response:
        return self.post("/auth/logout", headers={**NAVIGATION, "sec-fetch-site": "same-origin"})

    def cookie(self) -> str:
        """The `Cookie` header that this browser sends."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies.jar)


# --- the service behind ---------------------------------------------------------------------------------


class Echo:
    """A service that tells what it sees of each request, and whose answers a test may make."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.handlers: dict[str, Callable[..., Any]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.seen.append(scope)
        handler = self.handlers.get(scope["path"])
        if handler is not None:
            await handler(scope, receive, send)
            return
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        raw = scope["raw_path"].decode("latin-1")
        content = {
            "method": scope["method"],
            "target": f"{raw}?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else raw,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "size": size,
        }
        body = json.dumps(content).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def told(response: httpx2.Response) -> dict[str, list[str]]:
    """The request headers that `Echo` saw, by name."""
    assert response.status_code == 200, (response.status_code, response.text)
    found: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found
