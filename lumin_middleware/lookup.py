"""`lumin(request)`: the client of a request, whatever the framework calls a request."""

from __future__ import annotations

from typing import Any, overload

from starlette.requests import HTTPConnection

from .client import AsyncLuminClient, LuminClient
from .errors import ClientMisused, LoginRequired


@overload
def lumin(request: HTTPConnection) -> AsyncLuminClient: ...
@overload
def lumin(request: Any) -> Any: ...


def lumin(request: HTTPConnection) -> AsyncLuminClient | LuminClient:
    """The Lumin client of a request, WebSocket, ASGI scope or WSGI environ, of any framework.

    It works as a FastAPI dependency: `Annotated[AsyncLuminClient, Depends(lumin)]`. Raises `LoginRequired` where
    nobody is signed in (a `public` page, or an `optional` one), and `ClientMisused` where the middleware is not in
    front.
    """
    holder = _holder(request)
    if "lumin" not in holder:
        raise ClientMisused("LuminMiddleware is not in front of this application; wrap it")
    client: AsyncLuminClient | LuminClient | None = holder["lumin"]
    if client is None:
        raise LoginRequired("nobody is signed in")
    return client


def _holder(request: Any) -> Any:
    """Where the client hangs: the scope's state, or the environ."""
    if not isinstance(request, dict):
        scope = getattr(request, "scope", None)
        request = scope if isinstance(scope, dict) else getattr(request, "environ", {})
    return request if "REQUEST_METHOD" in request else request.get("state") or {}
