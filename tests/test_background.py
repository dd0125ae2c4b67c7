"""The example of background work, with a real worker beside a real server: it goes on when its person has left."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from huey import SqliteHuey

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.edges import servers
from tests.edges.servers import Browser
from tests.patience import PATIENCE

ROOT = Path(__file__).parent.parent
MIRA = DEMO_USERS[0]


class Night(NamedTuple):
    """The example's site, what its processes are told, and where."""

    lumin: Emulator
    origin: str
    variables: dict[str, str]

    def browser(self) -> Browser:
        return Browser(self.origin, self.lumin)

    @contextmanager
    def worker(self, *, fails: int = 0) -> Iterator[None]:
        """huey's own consumer, as an operator starts it. It tells of each task that fails."""
        command = [sys.executable, "-m", "huey.bin.huey_consumer", "examples.background.huey", "--delay", "0.1"]
        process = subprocess.Popen(
            [*command, "--scheduler-interval", "1"],
            cwd=ROOT,
            env={"PATH": "", **self.variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield
        finally:
            process.terminate()
            _, said = process.communicate(timeout=PATIENCE)
            assert said.count("Traceback") == fails, said

    def wait_for(self, number: int) -> None:
        """Until so many signature requests were sent."""
        deadline = time.monotonic() + PATIENCE
        while len(self.lumin.signature_requests) < number:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def refreshes(self) -> int:
        forms = [call.form for call in self.lumin.calls_to("/oauth2/token")]
        return sum(form.get("grant_type") == ["refresh_token"] for form in forms)


def _until_empty(queue: SqliteHuey) -> None:
    deadline = time.monotonic() + PATIENCE
    while queue.scheduled_count() or queue.pending_count():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with serve() as running, servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        more = {"QUEUE": str(tmp_path / "queue.sqlite3"), "DELAY": "0", "PAUSE": "1"}
        store = f"sqlite://{tmp_path}/private/store.sqlite3"
        variables = servers.environment(running.emulator, origin, store, **more)
        with servers.start("uvicorn", "examples.background:app", listener, variables):
            yield Night(running.emulator, origin, variables)


def test_a_worker_goes_on_when_its_person_has_left(night: Night) -> None:
    with night.browser() as mira:
        mira.sign_in("/")
        page = mira.navigate("/")
        assert "Allow it" in page.text
        assert 'href="/auth/connect"' in page.text
        assert mira.sign_in("/auth/connect").status_code == 303
        assert "Send tonight" in mira.navigate("/").text
        for title in ("Lease", "Will"):
            assert mira.submit("/send", {"title": title}).status_code == 303
        assert mira.submit("/auth/logout", {}).status_code == 303
    night.lumin.grants.expire_access_tokens()
    with night.worker():
        night.wait_for(2)
    assert {each.title for each in night.lumin.signature_requests.values()} == {"Lease", "Will"}
    assert (night.refreshes(), night.lumin.reuse_events) == (1, 0)


def test_a_worker_tries_again_what_came_to_nothing_and_sends_nothing_twice(night: Night) -> None:
    with night.browser() as mira:
        mira.sign_in("/")
        mira.sign_in("/auth/connect")
        mira.submit("/send", {"title": "Lease"})
    night.lumin.grants.expire_access_tokens()
    night.lumin.faults.add("/oauth2/token", status=503)  # the renewal, before anything is sent
    queue = SqliteHuey(filename=night.variables["QUEUE"])
    with closing(queue.storage), night.worker():
        night.wait_for(1)
        _until_empty(queue)
    assert len(night.lumin.signature_requests) == 1


def test_a_worker_sends_nothing_twice_of_which_nobody_knows_whether_it_arrived(night: Night) -> None:
    with night.browser() as mira:
        mira.sign_in("/")
        mira.sign_in("/auth/connect")
        for title in ("Lease", "Will"):
            mira.submit("/send", {"title": title})
    night.lumin.faults.add("/v1/signature_request/send", status=500)
    queue = SqliteHuey(filename=night.variables["QUEUE"])
    with closing(queue.storage), night.worker(fails=1):  # which does one after the other
        night.wait_for(1)
        assert queue.scheduled_count() == 0
    assert len(night.lumin.calls_to("/v1/signature_request/send")) == 2


def test_a_worker_sends_nothing_for_whoever_has_disconnected(night: Night) -> None:
    with night.browser() as mira:
        mira.sign_in("/")
        mira.sign_in("/auth/connect")
        mira.submit("/send", {"title": "Lease"})
        assert mira.submit("/auth/disconnect", {}).status_code == 303
        assert "Allow it" in mira.navigate("/").text
    queue = SqliteHuey(filename=night.variables["QUEUE"])
    with closing(queue.storage), night.worker():
        _until_empty(queue)
    assert night.lumin.signature_requests == {}
    assert list(night.lumin.grants)[-1].revoked


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples" / "background.py").read_text("utf-8").splitlines()) <= 80
