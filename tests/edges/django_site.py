"""A Django site with a database, for both servers: who `request.user` is, behind `UserMiddleware`."""

from __future__ import annotations

import os
from dataclasses import replace

import django
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from lumin_middleware import LuminConfig, lumin
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.django import LuminBackend
from lumin_middleware.protocol.claims import verified_email
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.stores.django_database import on_postgres

DATABASE, USER = os.environ["DJANGO_DATABASE"], os.environ["DJANGO_USER"]
# It has no migrations, so PostgreSQL would miss the tables of `auth` that it refers to.
PEOPLE = ["tests.edges.django_people"] if USER.startswith("django_people.") else []
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *PEOPLE],
    AUTH_USER_MODEL=USER,
    LOGIN_URL="/auth/login",
    DATABASES={
        "default": on_postgres(DATABASE)
        if DATABASE.startswith("postgres:")
        else {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIDDLEWARE=["lumin_middleware.django.UserMiddleware"],
    AUTHENTICATION_BACKENDS=[os.environ["DJANGO_BACKEND"], "django.contrib.auth.backends.ModelBackend"],
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0, run_syncdb=True)


class NobodyNew(LuminBackend):
    """Lets in only who has a user already."""

    create_unknown_user = False


class ByAddress(LuminBackend):
    """Tells people apart by an address that Lumin vouches for, as a site with older users may have to."""

    def key(self, claims):
        return {"email": verified_email(claims) or claims["sub"]}


def _told(user) -> HttpResponse:
    names = ("id", "username", "email", "first_name", "last_name", "is_authenticated", "is_active")
    told = {name: getattr(user, name, None) for name in names}
    told["shown"] = str(user)
    told["full_name"] = user.get_full_name() if user.is_authenticated else None
    return JsonResponse({**told, "usable_password": user.is_authenticated and user.has_usable_password()})


def me(request: HttpRequest) -> HttpResponse:
    return _told(request.user)


async def me_async(request: HttpRequest) -> HttpResponse:
    return _told(await request.auser())


def rename(request: HttpRequest) -> HttpResponse:
    """Something else changes the user."""
    user = request.user
    user.email, user.is_active = "old@example.com", "inactive" not in request.GET
    user.save()
    return HttpResponse(status=204)


def need(request: HttpRequest) -> HttpResponse:
    return HttpResponse(lumin(request).get("user/info").content)


def need_blocking(request: HttpRequest) -> HttpResponse:
    return HttpResponse(lumin(request).blocking.get("user/info").content)


@login_required
def guarded(request: HttpRequest) -> HttpResponse:
    return _told(request.user)


class Bug(Exception):
    """Of the application."""


def broken(request: HttpRequest) -> HttpResponse:
    """A page that looks who it is, and fails for a reason of its own."""
    str(request.user)
    if "answer" in request.GET:
        return HttpResponse("of the application", status=500)
    raise Bug("of the application")


async def need_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await lumin(request).get("user/info")).content)


urlpatterns = [
    path("me", me),
    path("maybe", me),
    path("maybe-broken", broken),
    path("public-broken", broken),
    path("me-async", me_async),
    path("rename", rename),
    path("need", need),
    path("need-async", need_async),
    path("need-blocking", need_blocking),
    path("guarded", guarded),
]
OPTIONAL = ["/maybe", "/maybe-broken", "/guarded"]
config = replace(LuminConfig.from_env(), optional=OPTIONAL, public=["/public-broken"], id_token="auto")
asgi_app = AsgiMiddleware(get_asgi_application(), config)
wsgi_app = WsgiMiddleware(get_wsgi_application(), config)
