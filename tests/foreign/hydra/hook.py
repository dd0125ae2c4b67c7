"""Hydra's token hook: an operator's program, which has a say in each token that somebody gets."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .serving import Served


class Hook(Served):
    """Lets everybody have tokens, but for those that it `says` something else to: 403, or 500 for one that fails."""

    def __init__(self) -> None:
        self.says: dict[str, int] = {}
        super().__init__(Starlette(routes=[Route("/", self._answer, methods=["POST"])]))

    async def _answer(self, http: Request) -> Response:
        asked = (await http.body()).decode()
        said = (status for subject, status in self.says.items() if f'"{subject}"' in asked)
        return Response(status_code=next(said, 204))
