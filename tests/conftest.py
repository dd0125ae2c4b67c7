"""What every test can ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lumin_middleware.runtime import exchange
from tests.foreign.fixtures import oauth_toolkit, oidc_provider
from tests.patience import PATIENCE
from tests.site_rig import Browser, Site
from tests.site_rig import site as make_site

__all__ = ["oauth_toolkit", "oidc_provider"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """The limits that no setting changes are long here: what is there answers, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONNECT_TIMEOUT", "REVOKE_TIMEOUT"):
            patch.setattr(exchange, name, PATIENCE)
        yield


@pytest.fixture
async def new_site() -> AsyncIterator[Callable[..., Site]]:
    """Makes sites: `new_site(public=["/free"], emulator={"id_token": False})`."""
    async with AsyncExitStack() as stack:

        def new(**options: Any) -> Site:
            site = stack.enter_context(make_site(**options))
            stack.push_async_callback(site.aclose)
            return site

        yield new


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
