"""The Lumin API: whose token opens what, over state that is kept in memory.

What Lumin leaves open is decided here: a bad token is 401, a missing scope 403, a wrong field 422. A token opens one
workspace, in which everybody sees only what they made themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .api_http import ApiError, SignedUrls
from .clock import Clock
from .endpoints import bearer_token
from .grants import Grant, Grants
from .pages import error_page
from .registry import Client, User, Workspace
from .signature_requests import Invalid
from .signing_api import SigningApi
from .workspace_api import WorkspaceApi

Handler = Callable[[Request, Grant], Awaitable[Response]]
Table = Sequence[tuple[str, str, Handler, set[str]]]

PROFILE = {"openid", "profile.read", "profile.settings"}


class Api:
    """Everything below `/v1`, and the links that it hands out."""

    def __init__(
        self,
        grants: Grants,
        clock: Clock,
        base: str,
        clients: Mapping[str, Client],
        users: Mapping[str, User],
        workspaces: Mapping[str, Workspace],
    ) -> None:
        self.grants = grants
        self._files = SignedUrls(clock, base)
        self.signing = SigningApi(clock, base, self._files, clients)
        self.workspace = WorkspaceApi(clock, base, self._files, users, workspaces)
        table: Table = [
            ("GET", "/user/info", self.user_info, PROFILE),
            *self.signing.table,
            *self.workspace.table,
        ]
        self.routes = [
            *(
                Route(f"/v1{path}", self._guard(handler, scopes), methods=[method])
                for method, path, handler, scopes in table
            ),
            *self.signing.routes,
            Route("/files/{link}", self.download),
        ]

    def _guard(self, handler: Handler, scopes: set[str]) -> Callable[[Request], Awaitable[Response]]:
        """`handler` for tokens that hold one of `scopes` (RFC 6750, 3.1)."""

        async def guarded(http: Request) -> Response:
            try:
                return await handler(http, self._authenticate(http, scopes))
            except ApiError as error:
                return error.response
            except Invalid as error:
                return ApiError(422, "validation_error", str(error)).response

        return guarded

    def _authenticate(self, http: Request, scopes: set[str]) -> Grant:
        value = bearer_token(http)
        if value is None:
            raise ApiError(401, "unauthorized", "There is no access token.", {"WWW-Authenticate": "Bearer"})
        token = self.grants.live_access_token(value)
        if token is None:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise ApiError(401, "unauthorized", "The access token is expired, revoked or unknown.", challenge)
        if scopes.isdisjoint(token.grant.scope):
            wanted = " ".join(sorted(scopes))
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{wanted}"'}
            raise ApiError(403, "forbidden", f"This needs one of: {wanted}.", challenge)
        return token.grant

    async def user_info(self, http: Request, grant: Grant) -> Response:
        user = grant.user
        return JSONResponse({"user": {"id": user.sub, "email": user.email, "name": user.name}})

    async def download(self, http: Request) -> Response:
        """The file behind a signed URL, while it lasts."""
        document = self._files.find(http.path_params["link"])
        if document is None:
            return error_page("not_found", "This link is unknown or too old.", 404)
        return Response(document, media_type="application/pdf")
