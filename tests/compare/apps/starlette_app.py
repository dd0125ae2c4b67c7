"""Starlette: bare, with ours, or with its `SessionMiddleware` and Authlib."""

from __future__ import annotations

from typing import Any

from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from lumin_middleware import LuminMiddleware, lumin

from . import settings


async def page(request: Request) -> Response:
    return PlainTextResponse("hello")


async def api(request: Request) -> Response:
    answer = await lumin(request).get("user/info")
    return PlainTextResponse(status_code=answer.status_code)


def with_authlib() -> Any:
    oauth = OAuth()
    oauth.register("lumin", **settings.AUTHLIB)

    async def page(request: Request) -> Response:
        if "user" not in request.session:
            request.session["next"] = str(request.url)
            return await oauth.lumin.authorize_redirect(request, f"{settings.ORIGIN}/auth/callback")
        return PlainTextResponse("hello")

    async def callback(request: Request) -> Response:
        token = await oauth.lumin.authorize_access_token(request)
        request.session.update(user=dict(token["userinfo"]), token=settings.kept(token))
        return RedirectResponse(request.session.pop("next", "/page"))

    async def api(request: Request) -> Response:
        async def update_token(token: dict[str, Any], **_: Any) -> None:
            request.session["token"] = settings.kept(token)

        if "token" not in request.session:
            return JSONResponse({"error": "sign in"}, 401)
        token = request.session["token"]
        async with AsyncOAuth2Client(**settings.RENEWING, token=token, update_token=update_token) as client:
            answer = await client.get(f"{settings.API_URL}/user/info")
        return PlainTextResponse(status_code=answer.status_code)

    app = Starlette(routes=[Route("/page", page), Route("/auth/callback", callback), Route("/api", api)])
    return SessionMiddleware(app, settings.SECRET)


bare = Starlette(routes=[Route("/page", page), Route("/api", api)])
match settings.SIGN_IN:
    case "lumin":
        app: Any = LuminMiddleware(bare)
    case "authlib":
        app = with_authlib()
    case _:
        app = bare
