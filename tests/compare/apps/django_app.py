"""Django: bare, with ours, or with mozilla-django-oidc and its sessions in the database."""

from __future__ import annotations

from typing import Any

import django
import httpx2
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from lumin_middleware import lumin
from lumin_middleware.wsgi import LuminMiddleware

from . import settings

MOZILLA: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "mozilla_django_oidc.middleware.SessionRefresh",
    ],
    "AUTHENTICATION_BACKENDS": ["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
    "DATABASES": {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{settings.FOLDER}/db.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
        }
    },
    "LOGIN_URL": "oidc_authentication_init",
    "LOGIN_REDIRECT_URL": "/page",
    "OIDC_RP_CLIENT_ID": settings.CLIENT["client_id"],
    "OIDC_RP_CLIENT_SECRET": settings.CLIENT["client_secret"],
    "OIDC_RP_SIGN_ALGO": "RS256",
    "OIDC_RP_SCOPES": settings.SCOPE,
    "OIDC_USE_PKCE": True,
    "OIDC_STORE_ACCESS_TOKEN": True,
    "OIDC_OP_AUTHORIZATION_ENDPOINT": f"{settings.ISSUER}/oauth2/auth",
    "OIDC_OP_TOKEN_ENDPOINT": f"{settings.ISSUER}/oauth2/token",
    "OIDC_OP_USER_ENDPOINT": f"{settings.ISSUER}/userinfo",
    "OIDC_OP_JWKS_ENDPOINT": f"{settings.ISSUER}/.well-known/jwks.json",
    "OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS": settings.LIFETIME,
}


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def api(request: HttpRequest) -> HttpResponse:
    if settings.SIGN_IN == "lumin":
        return HttpResponse(status=lumin(request).get("user/info").status_code)
    headers = {"Authorization": f"Bearer {request.session['oidc_access_token']}"}
    return HttpResponse(status=httpx2.get(f"{settings.API_URL}/user/info", headers=headers).status_code)


def routes() -> list[Any]:
    if settings.SIGN_IN != "mozilla":
        return []
    from django.contrib.auth.decorators import login_not_required
    from mozilla_django_oidc import views

    begin = login_not_required(views.OIDCAuthenticationRequestView.as_view())
    back = login_not_required(views.OIDCAuthenticationCallbackView.as_view())
    return [
        path("auth/authenticate", begin, name="oidc_authentication_init"),
        path("auth/callback", back, name="oidc_authentication_callback"),
        path("auth/logout", views.OIDCLogoutView.as_view(), name="oidc_logout"),
    ]


PLAIN: dict[str, Any] = {
    "ROOT_URLCONF": __name__,
    "ALLOWED_HOSTS": ["*"],
    "SECRET_KEY": settings.SECRET or "none",
    "MIDDLEWARE": [],
}
django_settings.configure(**PLAIN | (MOZILLA if settings.SIGN_IN == "mozilla" else {}))
django.setup()
urlpatterns = [path("page", page), path("api", api), *routes()]
app = get_wsgi_application()
match settings.SIGN_IN:
    case "lumin":
        app = LuminMiddleware(app)
    case "mozilla":
        call_command("migrate", verbosity=0)
