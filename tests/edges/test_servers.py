"""Every server that people use, really started: one sign-in over real HTTP, and an orderly end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.edges import servers
from tests.edges.servers import Browser
from tests.patience import PATIENCE


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulator]:
    with serve() as running:
        yield running.emulator


@pytest.mark.parametrize("name", servers.SERVERS)
def test_somebody_signs_in_through_this_server(name, emulated, tmp_path):
    app = "examples.starlette_app:app" if name in servers.ASGI else "examples.flask_app:app"
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, _store(tmp_path))
        with servers.start(name, app, listener, variables) as server:
            with Browser(origin, emulated) as browser:
                _use(browser)
            assert server.stop() in (0, -15)
            assert servers.complaints(server.said()) == []
    assert emulated.reuse_events == 0


def _use(browser: Browser) -> None:
    back = browser.sign_in("/requests?x=%2F")
    assert (back.status_code, back.headers["location"]) == (303, "/requests?x=%2F")
    for _ in range(4):  # whichever worker it comes to
        page = browser.navigate("/requests")
        assert page.status_code == 200
        assert DEMO_USERS[0].email in page.text
    assert browser.submit("/auth/logout", {}).status_code == 303
    assert browser.navigate("/requests").status_code == 303


def _store(directory: Path) -> str:
    return f"sqlite://{directory / 'private' / 'store.sqlite3'}"


def test_a_server_on_another_event_loop_is_told_at_its_start(emulated):
    """Not request by request: what cannot serve does not start."""
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, "memory://")
        command = ["-m", "hypercorn", "--worker-class", "trio", "--bind", f"fd://{listener.fileno()}"]
        done = subprocess.run(
            [sys.executable, *command, "examples.starlette_app:app"],
            env={**{name: os.environ[name] for name in os.environ if not name.startswith("LUMIN_")}, **variables},
            pass_fds=[listener.fileno()],
            cwd=servers.ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert "another event loop than asyncio" in done.stderr
