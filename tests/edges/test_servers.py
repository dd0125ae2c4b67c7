"""Every server that people use, really started: one sign-in over real HTTP, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.edges import servers
from tests.edges.servers import Browser
from tests.patience import PATIENCE

BEFORE = str(Path(__file__).with_name("preloaded_whole.py"))
"""Settings of gunicorn that import what nobody could, where Python itself is in a home directory of root's."""


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulator]:
    with serve() as running:
        yield running.emulator


@pytest.mark.every_case
@pytest.mark.parametrize("name", servers.SERVERS)
def test_somebody_signs_in_through_this_server(name, emulated, tmp_path):
    app = "examples.starlette_app:app" if name in servers.ASGI else "examples.flask_app:app"
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, _store(tmp_path))
        with servers.start(name, app, listener, variables, anew=True) as server:
            with Browser(origin, emulated) as browser:
                _use(browser)
            assert server.stop() in (0, -15)
            assert servers.complaints(server.said()) == []
    assert emulated.reuse_events == 0


@pytest.fixture
def for_everybody() -> Iterator[Path]:
    """A directory for temporary files, in which each user may make their own."""
    with tempfile.TemporaryDirectory(prefix="lumin-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o1777)
        yield Path(name)


@pytest.mark.parametrize("server", ["sync", "gthread"])
def test_workers_that_their_root_master_made_nobody_use_a_store_of_their_own(server, emulated, for_everybody, tmp_path):
    whom = ["--user", "nobody", "--group", str(pwd.getpwnam("nobody").pw_gid)] if os.geteuid() == 0 else []
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, "local", HOME=str(tmp_path), TMPDIR=str(for_everybody))
        variables |= {"XDG_STATE_HOME": "", "XDG_RUNTIME_DIR": ""}
        command = servers.gunicorn("--workers", "2", "-k", server, "--preload", "-c", BEFORE, *whom)
        with servers.start(command, "examples.flask_app:app", listener, variables, anew=True) as running:
            with Browser(origin, emulated) as browser:
                _use(browser)
            assert running.stop() == 0
            assert servers.complaints(running.said()) == []
    if whom:
        [made] = for_everybody.iterdir()
        assert made.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert len(list(made.glob("*.sqlite3"))) == 1


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


def test_a_renewal_that_daphne_is_stopped_in_is_saved_before_its_process_ends(emulated, tmp_path):
    """It has no lifespan, and stops its loop in the midst of everything."""
    asked, may_answer = threading.Event(), threading.Event()

    async def hold() -> None:
        asked.set()
        while not may_answer.is_set():
            await asyncio.sleep(0.01)

    with servers.listening() as listener, ThreadPoolExecutor() as elsewhere, ExitStack() as together:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, _store(tmp_path), LUMIN_TIMEOUT="120")
        app = "examples.starlette_app:app"
        browser = together.enter_context(Browser(origin, emulated))
        with servers.start(lambda at: ["-m", "daphne", "--fd", str(at.fd), at.app], app, listener, variables) as server:
            browser.sign_in("/requests")
            emulated.faults.add("/v1/user/info", status=401)
            emulated.faults.add("/oauth2/token", after=hold)
            call = elsewhere.submit(browser.navigate, "/requests")
            assert asked.wait(PATIENCE)
            server.process.send_signal(signal.SIGTERM)
            while "pending application instances" not in server.said():
                time.sleep(0.01)
            may_answer.set()
            assert server.process.wait(PATIENCE) == 0
            assert call.exception(PATIENCE) is not None
        with servers.start("uvicorn", app, listener, variables):
            assert browser.navigate("/requests").status_code == 200
    assert emulated.reuse_events == 0


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
