"""`Grants` by themselves: what they say of their settings. What they do is told in `edges/test_connect`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lumin_middleware import AsyncGrants, Grants, NotConnected
from tests.documents import ROOT
from tests.fakes import config
from tests.patience import PATIENCE


@pytest.mark.parametrize("kind", [Grants, AsyncGrants])
def test_a_memory_of_their_own_is_told_of(kind, caplog, tmp_path):
    kind(config(store=f"sqlite:///{tmp_path}/private/store"))
    assert not caplog.messages
    kind(config(store="memory://"))
    (line,) = caplog.messages
    assert line.startswith("grants_in_memory: ")
    assert "site's own" in line


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_where_nobody_has_connected_the_default_store_is_named(colour, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    said = f"by the store of this user \\({tmp_path / 'lumin-middleware'}/"
    if colour == "sync":
        with (
            Grants(config(store="local")) as grants,
            pytest.raises(NotConnected, match=said),
            grants.client("somebody"),
        ):
            pass
    else:
        async with AsyncGrants(config(store="local")) as found:
            with pytest.raises(NotConnected, match=said):
                async with found.client("somebody"):
                    pass
    with Grants(config(store="memory://")) as others:
        assert others.store_file == ""
        with pytest.raises(NotConnected, match="or it has ended; connect at"), others.client("somebody"):
            pass


JOB = """
import sys, time
from lumin_middleware import AuthorizationServer, Grants
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.ports import run
from lumin_middleware.runtime import listeners
from tests.fakes import config

def heard(event):
    time.sleep(0.05)
    print(type(event).__name__, event.subject, event.by, flush=True)

listeners.AT_EXIT = float(sys.argv[1])
nowhere = AuthorizationServer.at("http://127.0.0.1:9")  # the discard port, where nobody is
grants = Grants(config(store="memory://", sessions="store", server=nowhere, on_event=heard))
parts, _ = grants._site()
for number in range(3):
    now = time.time()
    session = Session(f"session-{number}", 0, now, now, TokenSet("a", now + 60, 60.0, ()), {"sub": "person-1"})
    run(parts.sessions.begin(session))
    run(parts.index.add(session))
print(grants.end_sessions("person-1"), flush=True)
"""


def test_a_job_that_never_closes_them_is_heard_to_its_end():
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(PATIENCE)], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["3", *["SignedOut person-1 operator"] * 3]
