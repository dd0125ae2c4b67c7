"""`explain` at a terminal: a request, a page's reference, a reason."""

from __future__ import annotations

import io
import secrets
import time

import pytest

from lumin_middleware import LuminConfig
from lumin_middleware.cli import explain
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
        (["/orders", "--as", "Nobody"], ["GET /orders, as nobody", "no_session", "401"]),
        (["get", "orders", "--as", "SOMEONE"], ["GET /orders, as someone", "goes on to the application"]),
        (["https://app.example.com/orders?a=b#c"], ["GET /orders, as nobody", "no_session"]),
        (["POST", "https://app.example.com"], ["POST /, as nobody", "no_session"]),
        (["/orders/FA09-648A"], ["GET /orders/FA09-648A, as nobody", "no_session"]),
        (["get", "FA09-648A"], ["GET /FA09-648A, as nobody", "no_session"]),
        (["/orders?ref=FA09-648A"], ["GET /orders, as nobody", "no_session"]),
        (["PURGE", "/FA09-648A"], ["PURGE /FA09-648A, as nobody", "no_session"]),
        (["GET", "/orders/https://app.example.com"], ["GET /orders/https://app.example.com, as", "no_session"]),
        (["GET", "/orders", "--peer", "2001:db8::1", "--cookie", "a=b; c=d=e"], ["no_session"]),
        (["GET", "/sign/1", "--as", "openid"], ["403", "insufficient_scope", "required_scopes '/sign/*'"]),
        (["GET", "/static/%252e%252e/sign/1", "--as", "openid"], ["403", "reading     /sign/1"]),
        (["GET", "/static/app.js"], ["goes on to the application", "public '/static/*'"]),
        (["GET", "/orders", "--cookie", "a=b", "--cookie", "c=d"], ["no_session"]),
        (
            ["POST", "/auth/logout", "--as", "someone"],
            [
                "cross_origin",
                "403",
                "route /auth/logout",
                "depends on  who sends it",
                "Origin: https://app.example.com",
            ],
        ),
        (["POST", "/auth/logout", "--header", "Origin: https://app.example.com"], ["204"]),
        (["unknown_login"], ["unknown_login (INFO)", "what to do"]),
    ],
)
def test_it_says_what_would_become_of_a_request_and_why(arguments, said):
    done = run("explain", *arguments, **SETTINGS)
    assert (done.returncode, done.stderr) == (0, "")
    for words in said:
        assert words in done.stdout


def test_what_a_browser_gets_is_told_where_it_is_another_answer():
    page = "A browser that goes there says 'Accept: text/html', and is answered 303 to https://auth.luminpdf.com/"
    assert page in run("explain", "/orders", **SETTINGS).stdout
    for arguments in (["--header", "Accept: */*"], ["--as", "someone"]):
        assert "A browser" not in run("explain", "/orders", *arguments, **SETTINGS).stdout


@pytest.mark.parametrize("who", ["nobody", "someone"])
def test_how_old_a_sign_in_may_be_is_said(who):
    done = run("explain", "/sign/1", "--as", who, **SETTINGS, LUMIN_REQUIRED_AUTH_AGE="/sign/*=300")
    assert (done.returncode, done.stderr) == (0, "")
    assert "asks for    the scope sign:requests\n" in done.stdout
    assert "asks for    a sign-in at most 300 seconds ago (required_auth_age)" in done.stdout
    told = "depends on  how long ago the sign-in is: once that is too long, the answer is 401 (insufficient_user_auth"
    assert (told in done.stdout) == (who == "someone")
    assert "asks for" not in run("explain", "/static/app.js", "--as", who, **SETTINGS).stdout


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"])
def test_another_site_s_page_is_told_from_a_script_that_names_none(header):
    done = run("explain", "POST", "/auth/logout", "--header", header, **SETTINGS)
    assert "cross_origin" in done.stdout
    assert "depends on" not in done.stdout


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


def test_what_an_application_logs_is_none_of_it(tmp_path):
    """A line of a request that nobody made has a reference that leads nowhere."""
    code = "import logging; logging.basicConfig(level=logging.DEBUG); from tests.cli.coded import *"
    (tmp_path / "loud.py").write_text(code, "utf-8")
    said = run("explain", "GET", "/orders", "--app", "loud:app", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "no_session" in said.stdout
    assert "lumin_middleware:" not in said.stderr


COPIED = [
    *("fa09-648a", "FA09-648A", "unknown_login · FA09-648A", " unknown_login  FA09-648A", " FA09-648A\t"),
    *("[FA09-648A]", "(FA09-648A)", "<FA09-648A>", "unknown_login (FA09-648A)", "`FA09-648A`", "«FA09-648A»"),
    *("'FA09-648A'", '"FA09-648A"', "“FA09-648A”", "FA09-648A.", "FA09-648A,", "FA09–648A", "FA09‑648A"),  # noqa: RUF001
    *("ref='FA09-648A'", "ref=FA09-648A", '"reference": "FA09-648A",', "Reference: FA09-648A"),
    *("If you need help, tell whoever runs this site: unknown_login · FA09-648A", LINE, f"WARNING {LINE}"),
]
"""The reference as it is copied from a page, a mail, a problem, a line of the log."""


@pytest.mark.parametrize("what", [*([each] for each in COPIED), *(each.split() for each in COPIED if " " in each)])
def test_a_reference_is_found_in_a_log(what):
    """The shell makes several words of one that is copied without quotes."""
    told = f"something else ref='0000-0000'\n{LINE}\n"
    done = spawning.run([*MODULE, "explain", *what], cwd=ROOT, env=environment(), told=told)
    assert (done.returncode, done.stderr) == (0, "")
    assert LINE in done.stdout
    assert "0000-0000" not in done.stdout
    assert "What to do" in done.stdout or "what to do" in done.stdout


def test_a_reference_that_is_in_no_line_leads_to_the_level_of_the_log():
    assert "Is the logger lumin_middleware at INFO" in run("explain", "FA09-648A", **SETTINGS).stderr


def test_at_a_terminal_it_says_that_it_waits_for_the_log(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal(LINE))
    explain._tell_reference("FA09-648A")
    told = capsys.readouterr()
    assert told.err == "Paste the log here, and end it with Ctrl-D.\n"
    assert told.out.startswith(LINE)


@pytest.mark.parametrize("what", ["unknown_login:", "`unknown_login`", "'unknown_login'", "(unknown_login)"])
def test_a_reason_is_taken_as_it_is_copied(what):
    assert run("explain", what).stdout.startswith("unknown_login (INFO)")


def test_without_its_line_the_critical_ones_of_the_log_are_told():
    """At WARNING, as Python has it by itself, there is no line of who was told that the site is not set up."""
    lines = [
        "invalid_client: Nobody can sign in: the server refuses client_id and client_secret (invalid_client). at 1",
        "no_refresh_token: The server gave no refresh token. granted='openid'",
        "2026-11-29 CRITICAL invalid_client: Nobody can sign in: the server refuses client_id and client_secret. at 2",
    ]
    told = "\n".join(lines)
    done = spawning.run([*MODULE, "explain", "not_set_up · 447A-E54F"], cwd=ROOT, env=environment(), told=told)
    assert done.returncode == 1
    assert "ref='447A-E54F'" in done.stderr
    assert "nobody can sign in" in done.stderr
    assert lines[2] in done.stdout
    assert lines[0] not in done.stdout  # each is told once, as it was said last
    assert "invalid_client (CRITICAL)" in done.stdout
    assert "no_refresh_token" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["FA09-648A"], "ref='FA09-648A'"),
        (["FA09-648A", "or", "FA09-648B"], "Give "),
        (["GET", "/orders", "FA09-648A"], "Give "),
        (["GET"], "Give "),
        (["nonsense"], "Give "),
        (["unknown_login", "orders"], "Give "),
        (["GET", "ftp://app.example.com/"], "Give "),
        (["GET", "https://other.example.com/orders"], "https://app.example.com"),
        (["GET", "http://app.example.com/orders"], "https://app.example.com"),
        (["GET", "/", "--header", "x"], "'x' is no header"),
        (["GET", "/", "--cookie", "nonsense"], "'nonsense' is no cookie"),
        (["GET", "/", "--cookie", "a=b; c"], "'c' is no cookie"),
        (["GET", "/", "--peer", "banana"], "'banana' is no IP address"),
        *(
            (["GET", "/", "--as", who], "nobody, someone, or scopes of these settings: ")
            for who in ("noboby", "sign:everything", "openid sign:everything", "someone openid")
        ),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(arguments, said):
    done = run("explain", *arguments, **SETTINGS)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_scopes_are_those_that_the_settings_of_the_application_name():
    done = run("explain", "GET", "/", "--as", "openid templates", "--app", "tests.cli.coded:app")
    assert "scopes of these settings: " in done.stderr
    done = run("explain", "GET", "/sign/1", "--as", "sign:requests", **{**SETTINGS, "LUMIN_SCOPE": "openid"})
    assert "goes on to the application" in done.stdout
