"""What every test can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.site import Browser, Site
from tests.site import site as make_site


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    """Makes sites: `new_site(public=["/free"], emulator={"id_token": False})`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(make_site(**options))


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """A site with the default settings."""
    return new_site()


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser at that site."""
    return site.browser()


@pytest.fixture(params=["cookie", "store"])
def each_site(request: pytest.FixtureRequest, new_site: Callable[..., Any]) -> Site:
    """A site with each kind of sessions."""
    return new_site(sessions=request.param)
