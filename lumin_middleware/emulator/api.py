"""The Lumin API: user info and signature requests, over state that is kept in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .clock import Clock
from .endpoints import bearer_token
from .grants import Grant, Grants

Handler = Callable[[Request, Grant], Awaitable[Response]]


def api_error(status: int, error_code: str, error_message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as Lumin's API writes it."""
    return JSONResponse({"error_code": error_code, "error_message": error_message}, status, headers)


class Api:
    """Everything below `/v1`."""

    def __init__(self, grants: Grants, clock: Clock, base: str) -> None:
        self.grants = grants
        self.clock = clock
        self.base = base
        self.routes = [
            self._route("GET", "/user/info", self.user_info, {"openid", "profile.read", "profile.settings"}),
        ]

    def _route(self, method: str, path: str, handler: Handler, scopes: set[str]) -> Route:
        """A route for tokens that hold one of `scopes`."""

        async def guarded(http: Request) -> Response:
            token = self.grants.live_access_token(bearer_token(http) or "")
            if token is None:
                challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
                return api_error(401, "unauthorized", "The access token is missing, expired or revoked.", challenge)
            if scopes.isdisjoint(token.grant.scope):
                wanted = " ".join(sorted(scopes))
                challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{wanted}"'}
                return api_error(403, "forbidden", f"This needs one of the scopes {wanted}.", challenge)
            return await handler(http, token.grant)

        return Route(f"/v1{path}", guarded, methods=[method])

    async def user_info(self, http: Request, grant: Grant) -> Response:
        user: dict[str, Any] = {"id": grant.user.sub, "email": grant.user.email, "name": grant.user.name}
        return JSONResponse({"user": user})
