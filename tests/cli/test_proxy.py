"""`lumin-middleware proxy` before it serves: which address is whose."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
import secrets
import socket
from datetime import datetime
from typing import Any

import pytest
import typer
import uvicorn
from typer.testing import CliRunner

from lumin_middleware.cli import proxy as command
from lumin_middleware.cli.lines import log_to_stderr

SERVE = command._serve

FASTEST = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
"""The loop that uvicorn chooses by itself."""

SETTINGS = {
    "LUMIN_CLIENT_ID": "x",
    "LUMIN_CLIENT_SECRET": "y" * 20,
    "LUMIN_REDIRECT_URI": "http://127.0.0.1:8000/auth/callback",
    "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
    "LUMIN_STORE": "memory://",
}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command up to where it would serve."""
    commands = typer.Typer()
    commands.command()(command.proxy)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(command, "log_to_stderr", lambda: None)
    monkeypatch.setattr(command, "_serve", lambda app, listener, loop: None)
    return lambda *arguments: CliRunner().invoke(commands, arguments)


def test_it_says_where_it_listens(proxy: Any) -> None:
    done = proxy("--upstream", "http://127.0.0.1:9", "--port", "0")
    assert done.exit_code == 0, done.output
    said, where = done.stdout.split("gateway at 127.0.0.1:")
    assert said.startswith("http://127.0.0.1:8000/ signs people in")
    assert int(where.split(".")[0]) > 0


@pytest.mark.parametrize(
    ("upstream", "arguments"),
    [
        ("http://127.0.0.1:8123", ["--port", "8123"]),
        ("http://localhost:8123/", ["--port", "8123"]),
        ("http://127.0.0.1:8123/below", ["--port", "8123", "--host", "0.0.0.0"]),
        ("http://127.0.0.1:8123", ["--port", "8123", "--host", "0:0:0:0:0:0:0:0"]),
        ("http://127.0.0.1:8123", ["--port", "8123", "--host", "::ffff:0.0.0.0"]),
        ("http://127.0.0.1:8000", []),
        ("http://127.0.0.1:8000/", ["--port", "0"]),
    ],
)
def test_it_stands_before_no_service_that_is_itself(proxy: Any, upstream: str, arguments: list[str]) -> None:
    done = proxy("--upstream", upstream, *arguments)
    assert done.exit_code == 1
    assert done.output.startswith(f"--upstream: {upstream} is ")
    assert "own address" in done.output


@pytest.mark.parametrize(("port", "warned"), [(0, False), (8000, False), (8123, True)])
def test_a_port_that_nobody_comes_back_to_is_told(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, port: int, warned: bool
) -> None:
    monkeypatch.setattr(command, "listen", lambda port, host: socket.create_server((host, 0)))
    done = proxy("--upstream", "http://127.0.0.1:9", "--port", str(port))
    assert done.exit_code == 0
    assert ("people come back to port 8000, and this listens on 8123" in done.stderr) == warned


@pytest.mark.parametrize("engine", ["builtin", "nginx"])
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        *[
            ("--host", host, "is no address of this machine; choose another --host")
            for host in ("a b", "a..b", "192.0.2.1", "0", "a\udc80b", "\ud800", "a" * 64)
        ],
        *[("--timeout", value, "--timeout: ") for value in ("inf", "1e9")],
        *[
            ("--upstream", f"{user}@127.0.0.1:8000", "--upstream: holds an @")
            for user in ("http://x:s3cret", "x:s3cret", "http://x:s3/cret")
        ],
        *[("--upstream", f"http://127.0.0.1:{port}", "--upstream: ") for port in ("99999", "x", "-1")],
        *[
            ("--upstream", f"http://{host}", "is no host that can be looked up")
            for host in ("a..b", "a" * 64, f"{'a.' * 127}b")
        ],
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(proxy: Any, engine: str, option: str, value: str, said: str) -> None:
    done = proxy("--upstream", "http://127.0.0.1:9", "--port", "0", "--engine", engine, option, value)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert said in done.output
    assert "s3" not in done.output


@pytest.mark.parametrize("engine", ["builtin", "nginx"])
def test_a_port_that_is_taken_is_told_before_anything_starts(proxy: Any, engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = proxy("--upstream", "http://127.0.0.1:9", "--port", port, "--engine", engine)
    assert done.exit_code == 1
    assert f"Port {port} cannot be used (Address already in use); choose another --port.\n" in done.output


@pytest.mark.parametrize(
    ("upstream", "loop"),
    [
        ("https://127.0.0.1:9", "asyncio"),
        ("HTTPS://localhost", "asyncio"),
        ("https://[::1]:9/base", "asyncio"),
        ("http://127.0.0.1:9", FASTEST),
        ("http://https.example/https:/", FASTEST),
    ],
)
def test_before_a_service_by_https_it_runs_on_the_loop_of_asyncio(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, upstream: str, loop: str
) -> None:
    ran: list[str] = []

    async def serve(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        ran.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])

    monkeypatch.setattr(command, "_serve", SERVE)
    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    done = proxy("--upstream", upstream, "--port", "0")
    assert done.exit_code == 0, done.output
    assert ran == [loop]


def test_a_line_of_ours_has_its_time_as_nginx_writes_it():
    handlers, level = [*(ours := logging.getLogger("lumin_middleware")).handlers], ours.level
    try:
        log_to_stderr()
        [handler] = set(ours.handlers) - {*handlers}
        record = logging.LogRecord("lumin_middleware", logging.INFO, "", 1, "words", (), None)
        line = handler.format(record)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d INFO words", line)
        assert datetime.fromisoformat(line.split()[0]).timestamp() == int(record.created)
    finally:
        ours.handlers, ours.level = handlers, level
