"""`lumin(request)`: the client of a request, whatever the framework calls a request."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import Any, ClassVar, Protocol, overload

from starlette.requests import HTTPConnection

from .checks import kind
from .client import AsyncLuminClient, LuminClient
from .errors import ClientMisused, LoginRequired

MARKS = ("lumin_middleware", "lumin.middleware")
"""Under which a scope and an environ hold the visit that they belong to."""


class HasEnviron(Protocol):
    """A request under WSGI, as Flask's: there the client is the blocking one."""

    @property
    def environ(self) -> dict[str, Any]: ...


class Lookup:
    """The Lumin client of a request, WebSocket, ASGI scope or WSGI environ, of any framework.

    `lumin(request)`, or a FastAPI dependency: `Annotated[AsyncLuminClient, Depends(lumin)]`, which then shows in the
    OpenAPI document that a sign-in is needed; `FastAPI(responses=lumin.responses)` adds the two answers that it
    may lead to. Raises `LoginRequired` where nobody is signed in, on an `optional` page; let it through, and the person
    is asked to sign in. On a `public` page it raises that always: nobody is looked for there, so a sign-in would not
    help, and who has one gets a page that says so (`optional` is the cure). Raises `ClientMisused` where the middleware
    is not in front, and for what is no request.

    Who would catch `LoginRequired` asks `lumin.optional` instead. Many frameworks make a 500 of an error and keep the
    error to themselves, so a 500 that comes after ours is taken for ours, and the person is asked to sign in.
    """

    responses: ClassVar[dict[int | str, dict[str, Any]]] = {
        401: {"description": "Nobody is signed in: problem+json with `reason` and `login_url`"},
        403: {"description": "A permission is missing: problem+json with `scope` and `login_url`"},
    }
    """The answers that the middleware gives in an application's place, in OpenAPI's words."""

    __name__ = "lumin"

    @overload
    def __call__(self, request: HTTPConnection, *, signed_in: None = None) -> AsyncLuminClient: ...
    @overload
    def __call__(self, request: HasEnviron, *, signed_in: None = None) -> LuminClient: ...
    @overload
    def __call__(self, request: Any, *, signed_in: None = None) -> Any: ...
    def __call__(
        self, request: HTTPConnection | HasEnviron, *, signed_in: None = None
    ) -> AsyncLuminClient | LuminClient:
        found = _scope_or_environ(request)
        client = _client(found)
        if client is None:
            error = LoginRequired("nobody is signed in")
            for visit in filter(None, map(found.get, MARKS)):
                visit.failed = error  # for frameworks that make a 500 of it and keep it to themselves
            raise error
        return client

    @property
    def optional(self) -> OptionalLookup:
        """The same for `optional` paths: `Annotated[AsyncLuminClient | None, Depends(lumin.optional)]`.

        None where nobody is signed in. Raises `ClientMisused` as `lumin` does.
        """
        return _OPTIONAL

    @property
    def __signature__(self) -> inspect.Signature:
        """One parameter, `request`; for FastAPI, which reads this, a second that declares how people sign in."""
        return _signature()


class OptionalLookup:
    """`lumin.optional`."""

    __name__ = "lumin.optional"

    @overload
    def __call__(self, request: HTTPConnection, *, signed_in: None = None) -> AsyncLuminClient | None: ...
    @overload
    def __call__(self, request: HasEnviron, *, signed_in: None = None) -> LuminClient | None: ...
    @overload
    def __call__(self, request: Any, *, signed_in: None = None) -> Any: ...
    def __call__(
        self, request: HTTPConnection | HasEnviron, *, signed_in: None = None
    ) -> AsyncLuminClient | LuminClient | None:
        return _client(_scope_or_environ(request))

    @property
    def __signature__(self) -> inspect.Signature:
        """As `lumin` has it."""
        return _signature()


_OPTIONAL = OptionalLookup()


def _signature() -> inspect.Signature:
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)
    return inspect.Signature([request, _fastapi_scheme()] if "fastapi" in sys.modules else [request])


def _client(found: Any) -> AsyncLuminClient | LuminClient | None:
    """The client of a scope or an environ; None where nobody is signed in."""
    holder = found if "REQUEST_METHOD" in found else found.get("state") or {}
    if "lumin" not in holder:
        raise ClientMisused("LuminMiddleware is not in front of this application; wrap it")
    client: AsyncLuminClient | LuminClient | None = holder["lumin"]
    return client


@cache
def _fastapi_scheme() -> inspect.Parameter:
    from fastapi import Depends
    from fastapi.openapi.models import APIKey, APIKeyIn
    from fastapi.security.base import SecurityBase

    class SignedIn(SecurityBase):
        """The session's cookie, as OpenAPI describes it. The middleware has looked at it already.

        A dependency is there before any settings are, and whichever site's they are, so the name is theirs in part.
        """

        scheme_name = "Lumin"
        model = APIKey(
            name="__Host-lumin-*",
            description="The session of somebody who signed in with Lumin at `login`, which sets the cookie. The star"
            " stands for six letters of this site. `cookie_name` names it otherwise; on http it has no `__Host-`.",
            **{"in": APIKeyIn.cookie},  # type: ignore[arg-type]
        )

        def __call__(self) -> None:
            return None

    return inspect.Parameter("signed_in", inspect.Parameter.KEYWORD_ONLY, annotation=None, default=Depends(SignedIn()))


lumin = Lookup()


def _scope_or_environ(request: Any) -> dict[str, Any]:
    found = request
    if not isinstance(request, dict):
        scope = getattr(request, "scope", None)
        found = scope if isinstance(scope, dict) else getattr(request, "environ", None)
    if not isinstance(found, dict) or not ("type" in found or "REQUEST_METHOD" in found):
        what = f"this is {kind(request)}, and no request"
        raise ClientMisused(f"{what}; give the framework's own, or its ASGI scope or WSGI environ")
    return found
