"""`Grants` by themselves: what they say of their settings. What they do is told in `edges/test_connect`."""

from __future__ import annotations

import pytest

from lumin_middleware import AsyncGrants, Grants
from tests.fakes import config


@pytest.mark.parametrize("kind", [Grants, AsyncGrants])
def test_a_memory_of_their_own_is_told_of(kind, caplog, tmp_path):
    kind(config(store=f"sqlite:///{tmp_path}/private/store"))
    assert not caplog.messages
    kind(config(store="memory://"))
    (line,) = caplog.messages
    assert line.startswith("grants_in_memory: ")
    assert "site's own" in line
