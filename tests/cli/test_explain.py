"""`explain` at a terminal: a request, a page's reference, a reason."""

from __future__ import annotations

import secrets
import time

import pytest

from lumin_middleware import LuminConfig
from lumin_middleware.sessions.sealing import Sealer
from tests import spawning
from tests.browser_rig import ROOT, environment
from tests.cli.test_cli import MODULE, run

SETTINGS = {
    "LUMIN_CLIENT_ID": "x",
    "LUMIN_CLIENT_SECRET": "y" * 20,
    "LUMIN_REDIRECT_URI": "https://app.example.com/auth/callback",
    "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
    "LUMIN_PUBLIC": "/static/*",
    "LUMIN_REQUIRED_SCOPES": "/sign/*=sign:requests",
}

LINE = "unknown_login: A callback came. method='GET' path='/auth/callback' status=400 ref='FA09-648A'"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["GET", "/orders", "--header", "Accept: text/html"], ["no_session", "303", "no pattern names it", "nobody"]),
        (["get", "/orders"], ["no_session", "401"]),
        (["/orders?a=b"], ["GET /orders, as nobody", "no_session", "401"]),
        (["GET", "/orders", "--as", "someone"], ["goes on to the application", "passed"]),
        (["GET", "/sign/1", "--as", "openid templates"], ["403", "insufficient_scope", "required_scopes '/sign/*'"]),
        (["GET", "/static/%252e%252e/sign/1", "--as", "openid"], ["403", "reading     /sign/1"]),
        (["GET", "/static/app.js"], ["goes on to the application", "public '/static/*'"]),
        (["GET", "/orders", "--cookie", "a=b", "--cookie", "c=d"], ["no_session"]),
        (["POST", "/auth/logout", "--as", "someone"], ["cross_origin", "403", "route /auth/logout"]),
        (["unknown_login"], ["unknown_login (INFO)", "what to do"]),
    ],
)
def test_it_says_what_would_become_of_a_request_and_why(arguments, said):
    done = run("explain", *arguments, **SETTINGS)
    assert (done.returncode, done.stderr) == (0, "")
    for words in said:
        assert words in done.stdout


def test_what_the_store_alone_knows_is_not_told():
    """The cookie holds a handle, as anybody's does who is signed in."""
    settings = LuminConfig.from_env({**SETTINGS, "LUMIN_SESSIONS": "store"})
    handle = Sealer(settings.keys, "handle", time.time).seal(b"i" * 32)
    done = run(
        "explain",
        "GET",
        "/orders",
        "--cookie",
        f"{settings.session_cookie}={handle}",
        **SETTINGS,
        LUMIN_SESSIONS="store",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be told from here" in done.stdout
    assert "depends on  the store" in done.stdout
    assert "401" not in done.stdout


@pytest.mark.parametrize("name", ["app", "wrapped"])
def test_settings_in_code_are_those_that_count(name):
    for variables in ({}, SETTINGS):
        done = run("explain", "GET", "/healthz", "--app", f"tests.cli.coded:{name}", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert "public '/healthz'" in done.stdout


@pytest.mark.parametrize("name", ["mounting", "dispatching"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/healthz", ["goes on to the application", "stands in what is mounted at /shop, and never sees this"]),
        ("/shopping", ["goes on to the application", "never sees this"]),
        ("/shop/healthz", ["goes on to the application", "public '/healthz'"]),
        ("/sho%70/other?x=/y", ["401", "no_session"]),
        ("/shop", ["401", "no_session"]),
    ],
)
def test_what_lies_outside_of_a_mount_is_told_from_what_lies_in_it(name, path, said):
    done = run("explain", "GET", path, "--app", f"tests.cli.coded:{name}")
    assert (done.returncode, done.stderr) == (0, "")
    for words in said:
        assert words in done.stdout


def test_an_application_without_settings_of_its_own_has_the_environment_s():
    assert (
        "no pattern names it" in run("explain", "GET", "/healthz", "--app", "tests.cli.coded:bare", **SETTINGS).stdout
    )
    assert "LUMIN_CLIENT_ID is not set" in run("explain", "GET", "/", "--app", "tests.cli.coded:bare").stderr


def test_a_reference_is_found_in_a_log():
    told = f"something else ref='0000-0000'\n{LINE}\n"
    done = spawning.run([*MODULE, "explain", "fa09-648a"], cwd=ROOT, env=environment(), told=told)
    assert (done.returncode, done.stderr) == (0, "")
    assert LINE in done.stdout
    assert "0000-0000" not in done.stdout
    assert "What to do" in done.stdout or "what to do" in done.stdout


def test_a_reference_that_is_in_no_line_leads_to_the_level_of_the_log():
    assert "Is the logger lumin_middleware at INFO" in run("explain", "FA09-648A", **SETTINGS).stderr


@pytest.mark.parametrize(
    "arguments", [["FA09-648A"], ["GET"], ["GET", "orders"], ["nonsense"], ["GET", "/", "--header", "x"]]
)
def test_what_cannot_be_explained_is_one_sentence(arguments):
    done = run("explain", *arguments, **SETTINGS)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
