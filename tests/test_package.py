"""The package's face: what `lumin_middleware` shows, nothing behind it, and when that is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import lumin_middleware
from lumin_middleware import stores
from tests.patience import PATIENCE

PUBLIC_MODULES = ("wsgi", "django", "emulator", "testing", "errors")


def test_all_is_exact():
    shown = {name for name in dir(lumin_middleware) if not name.startswith("__")}
    assert shown == set(lumin_middleware.__all__)
    assert len(set(lumin_middleware.__all__)) == len(lumin_middleware.__all__)
    assert all(hasattr(lumin_middleware, name) for name in lumin_middleware.__all__)


def test_no_room_shows_that_is_not_public():
    importlib.import_module("lumin_middleware.wsgi")
    assert not {"asgi", "config", "protocol", "sessions", "site", "runtime", "stores"} & set(dir(lumin_middleware))


@pytest.mark.parametrize("name", [name for name in PUBLIC_MODULES if name != "django"])
def test_public_modules_stay_where_they_are(name):
    assert importlib.import_module(f"lumin_middleware.{name}").__doc__


def test_what_is_shown_is_documented():
    for name in lumin_middleware.__all__:
        assert getattr(lumin_middleware, name).__doc__, name


# --- when it is loaded ----------------------------------------------------------------------------------

OF_A_SITE = {"lumin_middleware.site.relying_party", "lumin_middleware.sessions.sessions", "lumin_middleware.site.parts"}
AUTHLIB = "authlib.integrations.httpx_client"


def printed(*arguments: str) -> set[str]:
    """The words that a Python of its own prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return set(done.stdout.split())


@pytest.mark.parametrize("names", ["LuminConfig", "AsyncLuminClient, LuminClient, LuminError, lumin, Page"])
def test_settings_clients_and_errors_wait_for_nothing_that_serves(names):
    found = printed("-c", f"import sys\nfrom lumin_middleware import {names}\nprint(*sys.modules)")
    assert not found & {*OF_A_SITE, AUTHLIB, "lumin_middleware.asgi", "lumin_middleware.grants"}


@pytest.mark.parametrize(
    ("named", "parts"),
    [
        ("lumin_middleware import LuminMiddleware", {*OF_A_SITE, "lumin_middleware.runtime.passage"}),
        ("lumin_middleware.wsgi import LuminMiddleware", {*OF_A_SITE, "lumin_middleware.runtime.wsgi_passage"}),
        ("lumin_middleware import Grants", {"lumin_middleware.site.parts"}),
        ("lumin_middleware import AsyncGrants", {"lumin_middleware.site.parts"}),
    ],
)
def test_who_names_what_makes_a_site_has_loaded_it(named, parts):
    """Before a server forks: each worker would load it for itself, and no memory of it would be shared."""
    assert printed("-c", f"import sys\nfrom {named}\nprint(*sys.modules)") >= {*parts, AUTHLIB}


@pytest.mark.parametrize("edge", ["asgi", "wsgi"])
def test_no_request_loads_anything(edge, tmp_path, monkeypatch):
    """It would hold the event loop, and everybody else on it, for as long as a disk takes."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert printed("-m", "tests.loading", edge, str(tmp_path / "store")) == set()


def test_the_stores_are_shown_before_one_is_loaded():
    found = {}
    exec("from lumin_middleware.stores import *", found)
    shown = {*stores.__all__}
    assert shown == {*found} - {"__builtins__"} == {name for name in dir(stores) if not name.startswith("_")}
    assert set(stores._FILES) == {*stores.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'MongoStore'"):
        _ = stores.MongoStore


def test_what_the_package_does_not_show_it_does_not_have():
    with pytest.raises(AttributeError, match="has no attribute 'Middleware'"):
        _ = lumin_middleware.Middleware
