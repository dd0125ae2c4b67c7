"""What the tests of the edges can ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.edges import rig


@pytest.fixture(scope="module")
def lumin() -> Iterator[rig.Lumin]:
    """One emulator for a module, whose sites come one after the other."""
    with rig.lumin() as running:
        yield running


@pytest.fixture
async def new_edges(lumin: rig.Lumin) -> AsyncIterator[Callable[..., rig.Site]]:
    """Makes a site with both edges, and these settings."""
    async with AsyncExitStack() as stack:

        def new(**settings: object) -> rig.Site:
            site = lumin.site(**settings)
            stack.push_async_callback(site.aclose)
            return site

        yield new


@pytest.fixture
async def edges(new_edges: Callable[..., rig.Site]) -> rig.Site:
    """A site with both edges and the default settings."""
    return new_edges()


@pytest.fixture(params=rig.EDGES)
def edge(request: pytest.FixtureRequest) -> rig.Edge:
    """One edge, then the other."""
    found: rig.Edge = request.param
    return found
