"""`Grants` by themselves: what they say of their settings. What they do is told in `edges/test_connect`."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from lumin_middleware import AsyncGrants, Grants, NotConnected, StoreUnavailable
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.ports import run
from tests.documents import ROOT
from tests.fakes import OLD_KEY, config
from tests.patience import PATIENCE


@pytest.mark.parametrize("kind", [Grants, AsyncGrants])
def test_a_memory_of_their_own_is_told_of(kind, caplog, tmp_path):
    kind(config(store=f"sqlite:///{tmp_path}/private/store"))
    assert not caplog.messages
    kind(config(store="memory://"))
    (line,) = caplog.messages
    assert line.startswith("grants_in_memory: ")
    assert "site's own" in line


async def test_whom_nobody_has_named_has_no_grants():
    with Grants(config(store="memory://")) as grants:
        assert grants.find(None) == []
    async with AsyncGrants(config(store="memory://")) as found:
        assert await found.find(None) == []


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


def test_a_lost_key_is_given_up_and_people_connect_anew(tmp_path):
    """In both colours; what it does to the lists: `sessions/test_grants`."""
    store = f"sqlite:///{tmp_path}/private/store"
    lost, left = config(store=store, secret_key=OLD_KEY), config(store=store)
    tokens = TokenSet("a", time.time() + 60, 60.0, (), "r")

    def keep(grants, name):
        grant = Session(name, 0, time.time(), time.time(), tokens, {"sub": "mira"})
        run(grants._site()[0].grants.keep("mira", name, None, grant))

    with Grants(lost) as before, Grants(left) as after:
        keep(before, "old")
        with pytest.raises(StoreUnavailable, match="abandon_unreadable"):
            keep(after, "new")
        after.abandon_unreadable()
        keep(after, "new")
        assert ([each.name for each in after.find("mira")], after.subjects()) == (["new"], ["mira"])


async def test_an_event_loop_s_grants_give_up_a_lost_key_as_well():
    async with AsyncGrants(config(store="memory://")) as grants:
        await grants.abandon_unreadable()
        assert await grants.subjects() == []


def test_a_job_that_is_cut_short_knows_what_came_of_its_renewal_before_it_ends(monkeypatch):
    """RQ's ends its process by `os._exit`, which waits for no thread."""
    grants, order = Grants(config(store="memory://")), []
    parts, world = grants._site()

    async def finish():
        order.append("finish")

    async def holder(*_):
        return None

    monkeypatch.setattr(grants, "_holder", holder)
    monkeypatch.setattr(world, "settle", lambda: order.append("settle"))
    monkeypatch.setattr(parts.grants, "finish", finish)
    with pytest.raises(TimeoutError), grants.client("mira"):
        raise TimeoutError
    assert order == ["settle", "finish"]
    grants.close()
