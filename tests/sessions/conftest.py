"""The workers of a site, which share a store and a server."""

from __future__ import annotations

import pytest

from tests.fakes import Process, Workers


@pytest.fixture(params=["cookie", "store"])
def workers(request: pytest.FixtureRequest) -> Workers:
    """The workers of a site, with each kind of sessions."""
    return Workers(sessions=request.param)


@pytest.fixture
def process(workers: Workers) -> Process:
    """One of them."""
    return workers.process()
