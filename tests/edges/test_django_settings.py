"""Settings of a Django site by which nobody would ever be anybody: told by `manage.py check`, and in the log."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.browser_rig import ROOT
from tests.patience import PATIENCE

SITE = """
import sys
import django
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
middleware, backends = (each.split() for each in sys.argv[1:])
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "lumin_middleware.django"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SECRET_KEY="0b9f3c1e5a7d2468",
    MIDDLEWARE=middleware,
    AUTHENTICATION_BACKENDS=backends,
)
django.setup()
import httpx2
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from lumin_middleware.testing import fake_lumin

urlpatterns = [path("", lambda request: HttpResponse(request.user.username or "nobody"))]
try:
    call_command("check")
except SystemCheckError as error:
    print(error)
call_command("migrate", run_syncdb=True, verbosity=0)
app = fake_lumin().wrap(get_wsgi_application())
with httpx2.Client(transport=httpx2.WSGITransport(app=app), base_url="https://testserver") as client:
    print([client.get("/").text for _ in range(2)])
"""

OURS = "lumin_middleware.django.UserMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
THEIRS = "django.contrib.auth.middleware.AuthenticationMiddleware"
BACKEND = "lumin_middleware.django.LuminBackend"
DJANGO_S = "django.contrib.auth.backends.ModelBackend"


def said(middleware: str, backends: str) -> str:
    """What a site with these settings says when it is checked and asked twice who it is."""
    command = [sys.executable, "-c", SITE, middleware, backends]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=True)
    return done.stdout + done.stderr


def test_what_is_right_is_passed_over():
    found = said(f"{SESSIONS} {THEIRS} {OURS}", f"{BACKEND} {DJANGO_S}")
    assert "no issues" in found
    assert "['fake-person', 'fake-person']" in found
    assert "user_overwritten" not in found
    assert "no_backend" not in found


def test_what_django_s_own_middleware_overwrites_is_told():
    found = said(f"{SESSIONS} {OURS} {THEIRS}", BACKEND)
    assert "lumin_middleware.E001" in found
    assert "['nobody', 'nobody']" in found
    assert found.count("user_overwritten: ") == 1


@pytest.mark.parametrize("others", [SESSIONS, f"{SESSIONS} {THEIRS}"], ids=["alone", "with Django's"])
def test_that_no_backend_knows_anybody_is_told(others):
    found = said(f"{others} {OURS}", DJANGO_S)
    assert "lumin_middleware.E002" in found
    assert "['nobody', 'nobody']" in found
    assert found.count("no_backend: ") == 1


def test_a_site_that_takes_no_users_of_ours_is_asked_nothing():
    assert "no issues" in said("lumin_middleware.django.ChallengeMiddleware", DJANGO_S)
