"""`Grants` by themselves: what they say of their settings. What they do is told in `edges/test_connect`."""

from __future__ import annotations

import pytest

from lumin_middleware import AsyncGrants, Grants, NotConnected
from tests.fakes import config


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
