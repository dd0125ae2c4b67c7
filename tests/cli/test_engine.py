"""A real proxy and our workers as one, in trouble: what of it goes on, and what ends with what."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lumin_middleware.cli.engine import _held, _Reading
from lumin_middleware.cli.workers import Worker
from tests import spawning
from tests.browser_rig import environment
from tests.gateway.test_engines import children, command, engine_of, is_alive
from tests.patience import PATIENCE
from tests.proxies import programs
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, Program, free_port, front, gateway, serve

from .test_cli import run

ENGINES = ("nginx", "caddy")


def until(holds: Callable[[], object]) -> None:
    for _ in range(PATIENCE * 20):
        if holds():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it does not come")


def family(pid: int) -> set[int]:
    """A process's children, and theirs."""
    found = children(pid)
    return found.union(*map(family, found))


def workers(pid: int) -> set[int]:
    return {each for each in children(pid) if "cli.worker" in command(each)}


# --- the log --------------------------------------------------------------------------------------------


@contextmanager
def logging_to_a_pipe(site: Front, upstream: str, *arguments: str) -> Iterator[spawning.Popen]:
    """A proxy whose stderr is a pipe, which is read until it serves."""
    with spawning.Popen(
        [sys.executable, "-m", "lumin_middleware", "proxy", "--upstream", upstream, *arguments],
        env=environment(**site.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert "signs people in" in process.stdout.readline()
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # or the end of this block would wait for ever
                process.kill()
                raise


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_closed", [True, False], ids=["gone", "hanging"])
def test_where_nobody_reads_the_log_any_more_people_are_served(engine, is_closed):
    programs.find(engine)
    long = "x" * 8_000
    with (
        front() as site,
        serve(Echo()) as upstream,
        logging_to_a_pipe(site, upstream, "--engine", engine, "--public", "/public/*") as process,
        site.browser() as browser,
    ):
        if is_closed:
            process.stderr.close()
        for _ in range(40):  # several times what a pipe holds
            assert browser.get(f"/public/{long}").status_code == 200
        [victim] = workers(process.pid)
        os.kill(victim, signal.SIGKILL)  # which is told, to nobody
        until(lambda: workers(process.pid) - {victim})
        process.send_signal(signal.SIGHUP)  # as a terminal that is closed does
        before = workers(process.pid)
        until(lambda: not before & workers(process.pid))
        assert browser.sign_in("/page").status_code == 200
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_port_is_held_where_it_is_free_and_nobody_is_let_in_and_hung_up_on():
    with _held(LOOPBACK, 0) as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection(held.getsockname())
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(OSError, match="in use"):
        _held(*taken.getsockname())


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_taken_for_nothing_else(tmp_path, closed):
    """A shell's way to start what is to run by itself: what is opened next has the number of what was closed."""
    start = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "lumin_middleware", "proxy"]
    with front() as site, serve(Echo()) as upstream, site.browser() as browser:
        options = ["--engine", "nginx", "--upstream", upstream, "--public", "/public/*"]
        process = subprocess.Popen([*start, *options], env=environment(**site.variables), stdout=subprocess.DEVNULL)
        try:

            def is_served() -> bool:
                assert process.poll() is None
                with suppress(httpx2.TransportError):
                    return browser.get("/public/page").status_code == 200
                return False

            until(is_served)
            assert browser.sign_in("/page").status_code == 200
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


# --- the end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("victim", ["parent", "engine"])
def test_who_is_killed_leaves_nobody_at_the_port(tmp_path, engine, victim):
    programs.find(engine)
    with front() as site, serve(Echo()) as upstream:
        site.variables["LUMIN_STORE"] = f"sqlite://{tmp_path.resolve()}/private/store"
        options = ["--engine", engine, "--workers", "2"]
        with gateway(site, upstream, tmp_path / "log", *options) as program:
            others = family(program.process.pid)
            front_door = engine_of(program.process.pid)
            folder = Path(f"/proc/{front_door}/cwd").resolve()
            assert list(folder.iterdir())
            os.kill(program.process.pid if victim == "parent" else front_door, signal.SIGKILL)
            program.process.wait(PATIENCE)
            try:
                until(lambda: not any(map(is_alive, others)))
            except AssertionError:  # later their numbers may be somebody else's
                for pid in filter(is_alive, others):
                    os.kill(pid, signal.SIGKILL)
                raise
            assert not folder.exists()
        with gateway(site, upstream, tmp_path / "again", *options) as again, site.browser() as browser:
            assert browser.sign_in("/page").status_code == 200
            assert again.stop() == 0


# --- a reload -------------------------------------------------------------------------------------------


@contextmanager
def with_a_key_in_a_file(folder: Path, *options: str) -> Iterator[tuple[Any, Browser, Path, Echo]]:
    key, echo = folder / "key", Echo()
    with front() as site, serve(echo) as upstream:
        key.write_text(site.variables.pop("LUMIN_SECRET_KEY"))
        site.variables.update(LUMIN_SECRET_KEY_FILE=str(key), LUMIN_STORE=f"sqlite://{folder.resolve()}/private/store")
        with gateway(site, upstream, folder / "log", *options) as program, site.browser() as browser:
            assert browser.sign_in("/page").status_code == 200  # by one of the workers
            until(lambda: "signs people in" in program.said())  # all have begun, and have read the key
            yield program, browser, key, echo


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reload_with_settings_that_cannot_be_used_leaves_the_old_workers(tmp_path, engine):
    programs.find(engine)
    with with_a_key_in_a_file(tmp_path, "--engine", engine, "--workers", "2") as (program, browser, key, _):
        before = workers(program.process.pid)
        kept = key.read_text()
        key.unlink()
        program.process.send_signal(signal.SIGHUP)
        until(lambda: "the old ones go on" in program.said())
        assert "LUMIN_SECRET_KEY_FILE" in program.said()
        assert workers(program.process.pid) == before
        assert browser.fetch("GET", "/page").status_code == 200
        key.write_text(kept)
        program.process.send_signal(signal.SIGHUP)
        until(lambda: not before & workers(program.process.pid))
        assert browser.fetch("GET", "/page").status_code == 200
        assert program.stop() == 0


def test_workers_that_cannot_be_replaced_now_are_later_while_another_serves(tmp_path):
    programs.find("nginx")
    with with_a_key_in_a_file(tmp_path, "--engine", "nginx", "--workers", "2") as (program, browser, key, _):
        victim, other = workers(program.process.pid)
        key.unlink()
        os.kill(victim, signal.SIGKILL)
        until(lambda: program.said().count("another takes its place") >= 5)
        until(lambda: workers(program.process.pid) == {other})
        assert browser.fetch("GET", "/page").status_code == 200
        os.kill(other, signal.SIGKILL)
        assert program.process.wait(PATIENCE) == 1
        assert "Workers end again and again" in program.said()


def test_no_request_is_lost_in_a_reload(tmp_path):
    programs.find("nginx")
    with with_a_key_in_a_file(tmp_path, "--engine", "nginx", "--workers", "2") as (program, browser, _, echo):
        arrived, go_on = threading.Event(), threading.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            arrived.set()
            await asyncio.get_running_loop().run_in_executor(None, go_on.wait, PATIENCE)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"late"})

        echo.handlers["/slow"] = slow
        over = threading.Event()
        headers = {"cookie": browser.cookie(), "connection": "close"}

        def ask() -> list[int]:
            found = []
            while not over.is_set():
                found.append(httpx2.get(f"{browser.base_url}/page", headers=headers, timeout=PATIENCE).status_code)
            return found

        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(browser.fetch, "GET", "/slow")
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                arrived.wait(PATIENCE)
                for _ in range(3):
                    before = workers(program.process.pid)
                    program.process.send_signal(signal.SIGHUP)
                    until(lambda: not any(map(is_alive, before)))  # noqa: B023  it is over before the next
            finally:
                go_on.set()
                over.set()
        assert waiting.result().text == "late"
        assert {status for each in asking for status in each.result()} == {200}
        assert program.stop() == 0


SETTINGS = {"nginx": "nginx.conf", "caddy": "Caddyfile"}


def standing_still(program: Program, engine: str) -> set[int]:
    """A reload that is never over: what the engine would read is as on a disk that stands still."""
    pid = program.process.pid
    before = children(pid)
    settings = Path(f"/proc/{engine_of(pid)}/cwd").resolve() / SETTINGS[engine]
    settings.unlink()
    os.mkfifo(settings)
    program.process.send_signal(signal.SIGHUP)
    until(lambda: children(pid) - before)
    return children(pid) - before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reload_that_is_never_over_keeps_nobody_from_ending_it(tmp_path, engine):
    """Nor the others from being watched meanwhile."""
    programs.find(engine)
    with front() as site, gateway(site, "http://127.0.0.1:9", tmp_path / "log", "--engine", engine) as program:
        until(lambda: "signs people in" in program.said())
        everybody = standing_still(program, engine) | family(program.process.pid)
        try:
            [victim] = workers(program.process.pid)
            os.kill(victim, signal.SIGKILL)
            until(lambda: workers(program.process.pid) - {victim})
            assert program.stop() == 0
            until(lambda: not any(map(is_alive, everybody)))
        finally:
            for each in filter(is_alive, everybody):
                os.kill(each, signal.SIGKILL)


def test_a_reload_that_takes_too_long_is_given_up():
    """Or none could follow it."""
    assert until_it_is_over(_Reading(["true"], {})) is False
    assert until_it_is_over(_Reading(["false"], {})) is True
    assert until_it_is_over(_Reading(["sleep", "infinity"], {}, limit=0.1)) is True


def until_it_is_over(reading: _Reading) -> bool:
    until(reading.is_over)
    return reading.has_failed()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Worker, HTTPConnection]]:
    """A worker by itself, and a connection to it."""
    with front() as site, socket.create_server((LOOPBACK, 0)) as listener:
        for name, value in site.variables.items():
            monkeypatch.setenv(name, value)
        engine = subprocess.Popen(["sleep", "infinity"], start_new_session=True)
        worker = Worker(listener, "{}", engine.pid, str(tmp_path))
        with closing(HTTPConnection(*listener.getsockname(), timeout=PATIENCE)) as connection:
            yield worker, connection
        worker.terminate()
        worker.wait()
        assert engine.poll() is None, "which ends with the parent alone"
        engine.kill()
        engine.wait()


def test_a_worker_that_ends_answers_who_has_a_connection_to_it(worker):
    """A proxy repeats no POST that meets the end of a kept connection."""
    process, connection = worker
    is_last = False
    while not is_last:
        connection.request("POST", "/auth/logout")
        answer = connection.getresponse()  # raises where it has hung up
        assert (answer.status, answer.read()[:1]) == (403, b"{")
        is_last = answer.getheader("connection") == "close"
        process.terminate()


def test_a_worker_that_could_not_begin_is_told_and_nothing_is_left(tmp_path):
    programs.find("nginx")
    (tmp_path / "file").write_text("")
    with front() as site:
        site.variables["LUMIN_STORE"] = f"sqlite://{tmp_path.resolve()}/file/store"
        options = ["--engine", "nginx", "--upstream", f"http://{LOOPBACK}:{free_port()}"]
        done = run("proxy", *options, **site.variables)
    assert done.returncode == 1
    assert "A worker could not begin; its words stand above." in done.stderr


# --- the store that they share ---


@pytest.mark.parametrize("store", ["local", "memory://"])
def test_workers_that_would_have_a_store_each_are_not_begun(tmp_path, store):
    """Of one session each of them would spend the refresh token."""
    programs.find("nginx")
    (open_to_all := tmp_path / f"lumin-middleware-{os.geteuid()}").mkdir()
    open_to_all.chmod(0o777)
    nowhere = {"HOME": "/proc/none", "XDG_STATE_HOME": "", "XDG_RUNTIME_DIR": "", "TMPDIR": str(tmp_path)}
    with front() as site:
        site.variables["LUMIN_STORE"] = store
        options = ["--engine", "nginx", "--workers", "2"]
        with (
            pytest.raises(AssertionError, match=r"--workers: more than one .*; set LUMIN_STORE to sqlite:///path"),
            gateway(site, "http://127.0.0.1:9", tmp_path / "log", *options, **nowhere),
        ):
            pass


def test_workers_share_a_file_of_this_users_own(tmp_path):
    programs.find("nginx")
    with front() as site, serve(Echo()) as upstream:
        site.variables["LUMIN_STORE"] = "local"
        options = ["--engine", "nginx", "--workers", "2"]
        with (
            gateway(site, upstream, tmp_path / "log", *options, XDG_STATE_HOME=str(tmp_path / "state")),
            site.browser() as browser,
        ):
            assert browser.sign_in().status_code == 200
    assert len(list((tmp_path / "state" / "lumin-middleware").glob("*.sqlite3"))) == 1
