"""Parameters of a request, and redirects."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from .authorization_request import Parameters


async def parameters(request: Request) -> Parameters:
    """The parameters of a request: of its query, or of its form when it is a POST."""
    if request.method != "POST":
        return parse_qsl(request.url.query, keep_blank_values=True)
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return []
    return parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)


def see_other(location: str, status: int = 303) -> Response:
    """A redirect to exactly this location."""
    return Response(status_code=status, headers={"Location": location, "Cache-Control": "no-store"})
