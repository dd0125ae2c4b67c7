"""The property, through real servers: some thousands of requests as bytes on a socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lumin_middleware.emulator import Emulator, serve
from tests.seams import wire
from tests.seams.wire import RIGS, Rig

SEED = 11
COUNT = 500
"""Requests to each server."""


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulator]:
    with serve(clients=[wire.CLIENT]) as running:
        yield running.emulator


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rig", RIGS, ids=lambda rig: f"{rig.name}: {rig.app}")
def test_no_bytes_reach_a_handler_that_asks_for_more(rig: Rig, emulated, tmp_path):
    with wire.running(rig, emulated, tmp_path) as site:
        assert wire.plain(site).wrong == []
        counts = wire.attack(site, SEED, COUNT)
    assert counts.wrong == []
    assert counts.ran, "no handler ran at all"
