"""The package's face: what `lumin_middleware` shows, and nothing behind it."""

from __future__ import annotations

import importlib

import pytest

import lumin_middleware

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
