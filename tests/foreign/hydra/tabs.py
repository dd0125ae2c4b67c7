"""A browser with many tabs before a site and Hydra: the site in process, on either edge; Hydra over the network."""

from __future__ import annotations

import httpx2

from tests import tabs
from tests.site_rig import ORIGIN

from .person import Form
from .serving import CLIENT
from .site import HydraSite


class ToTheSite(httpx2.AsyncBaseTransport):
    """Brings requests to the edge of a site."""

    def __init__(self, site: HydraSite) -> None:
        self._site = site

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        raw = await self._site.request(
            self._site.edge, request.url.raw_path, method=request.method, headers=headers, body=body
        )
        return httpx2.Response(raw.status, headers=raw.headers, content=raw.body)


class Tab(tabs.Tab):
    """A tab whose pages at Lumin are those of Hydra's login application."""

    async def sign_in(self, person: str | None = None) -> None:
        while self.asks:
            form = Form(self.shown)
            fields = [("challenge", form.challenge), ("remember", "yes"), ("allow", "yes")]
            who = [("sub", person or "ada")] if form.action.endswith("/login") else []
            await self.submit(form.action, [*fields, *who, *(("scope", each) for each in form.scopes)])


class Browser(tabs.Browser):
    """Such a browser."""

    def tab(self, path: str) -> Tab:
        return Tab(self, path)


def before_hydra(site: HydraSite) -> Browser:
    """A browser of somebody who has been nowhere yet."""
    lumin = (site.hydra.base, site.hydra.application.base)
    return Browser({ORIGIN: ToTheSite(site)}, lumin, **CLIENT)
