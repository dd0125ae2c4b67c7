"""Flask: bare, with ours, or with its session and Authlib."""

from __future__ import annotations

from typing import Any

from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session
from flask import Flask, redirect, request, session
from flask.typing import ResponseReturnValue

from lumin_middleware import lumin
from lumin_middleware.wsgi import LuminMiddleware

from . import settings

app = Flask(__name__)
app.secret_key = settings.SECRET or None


def page() -> ResponseReturnValue:
    return "hello"


def api() -> ResponseReturnValue:
    return "", lumin(request).get("user/info").status_code


def with_authlib() -> None:
    oauth = OAuth(app)
    oauth.register("lumin", **settings.AUTHLIB)

    def page() -> ResponseReturnValue:
        if "user" not in session:
            session["next"] = request.url
            return oauth.lumin.authorize_redirect(f"{settings.ORIGIN}/auth/callback")
        return "hello"

    def callback() -> ResponseReturnValue:
        token = oauth.lumin.authorize_access_token()
        session.update(user=dict(token["userinfo"]), token=settings.kept(token))
        return redirect(session.pop("next", "/page"))

    def api() -> ResponseReturnValue:
        def update_token(token: dict[str, Any], **_: Any) -> None:
            session["token"] = settings.kept(token)

        if "token" not in session:
            return {"error": "sign in"}, 401
        with OAuth2Session(**settings.RENEWING, token=session["token"], update_token=update_token) as client:
            return "", client.get(f"{settings.API_URL}/user/info").status_code

    app.add_url_rule("/page", view_func=page)
    app.add_url_rule("/auth/callback", view_func=callback)
    app.add_url_rule("/api", view_func=api)


if settings.SIGN_IN == "authlib":
    with_authlib()
else:
    app.add_url_rule("/page", view_func=page)
    app.add_url_rule("/api", view_func=api)
if settings.SIGN_IN == "lumin":
    app.wsgi_app = LuminMiddleware(app.wsgi_app)  # type: ignore[method-assign]
