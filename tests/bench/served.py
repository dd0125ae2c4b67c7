"""Small applications for the servers that `servers.py` starts; `WRAPPED=1` puts the middleware around them."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from flask import Flask

from lumin_middleware import LuminConfig, LuminMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WSGIMiddleware

from .rig import bare


def _flask() -> Any:
    flask_app = Flask(__name__)
    flask_app.add_url_rule("/things/12", view_func=lambda: "hello")
    return flask_app


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [path("things/12", _view)]


def _django() -> Any:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="bench", MIDDLEWARE=[])
    django.setup()
    return WSGIHandler()


def _maybe_wrapped(app: Any, middleware: Any) -> Any:
    return middleware(app, LuminConfig.from_env()) if os.environ.get("WRAPPED") == "1" else app


asgi_app = _maybe_wrapped(bare, LuminMiddleware)
flask_app = _maybe_wrapped(_flask(), WSGIMiddleware)
django_app = _maybe_wrapped(_django(), WSGIMiddleware)
