"""What a path may be taken for takes no more work than its length allows; what that is, the seams say."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.site import readings as module
from lumin_middleware.site.readings import _STEPS, ROOM, is_plain, readings


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


def test_a_plain_character_is_visible_ascii_that_begins_no_step():
    plain = {chr(code) for code in range(0x11_0000) if is_plain(f"/a{chr(code)}b")}
    assert plain == {chr(code) for code in range(0x21, 0x7F)} - set("%?#;\\")
    assert all(step(f"/a{each}b") == f"/a{each}b" for step in _STEPS for each in plain)
