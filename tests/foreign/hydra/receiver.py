"""Where Hydra's back-channel logout arrives; what came is passed on by the test, to either edge."""

from __future__ import annotations

import queue
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.acceptance.harness import Raw

from .serving import Served
from .site import HydraSite

PATIENCE = 30.0  # seconds


class Receiver(Served):
    """Takes back-channel logouts at `uri` and answers 200."""

    def __init__(self) -> None:
        self._received: queue.Queue[bytes] = queue.Queue()
        super().__init__(Starlette(routes=[Route("/", self._receive, methods=["POST"])]))
        self.uri = f"{self.base}/"

    async def _receive(self, http: Request) -> Response:
        form = await http.form()
        self._received.put(urlencode({"logout_token": str(form["logout_token"])}).encode())
        return Response(status_code=200)

    def wait(self) -> bytes:
        """The form that arrived next. Raises `queue.Empty` when none does."""
        return self._received.get(timeout=PATIENCE)

    def is_empty(self) -> bool:
        return self._received.empty()


async def pass_on(site: HydraSite, form: bytes) -> Raw:
    """What a site answers to the form."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await site.request(site.edge, "/auth/backchannel-logout", method="POST", headers=headers, body=form)
