"""What a path may be taken for takes no more work than its length allows; what that is, the seams say."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.site import readings as module
from lumin_middleware.site.readings import _STEPS, ROOM, readings


@pytest.mark.parametrize("piece", ["/", "/;", "/a/", "%2f", "%252f", "%25", ";", "/é", "\\", "//x", "x:", "/."])
@pytest.mark.parametrize("length", [4_000, 64_000])
def test_a_stranger_s_long_path_is_not_read_again_and_again(piece, length, monkeypatch):
    read = 0

    def counted(step):
        def counting(path):
            nonlocal read
            read += len(path)
            return step(path)

        return counting

    monkeypatch.setattr(module, "_STEPS", tuple(map(counted, _STEPS)))
    path = "/" + piece * (length // len(piece))
    with suppress(RequestRefused):
        readings([path])
    assert read <= (len(path) + ROOM) * len(_STEPS)
