"""`doctor` at a terminal: findings, an exit code, JSON; and the commands that need little or nothing."""

from __future__ import annotations

import json
import re
import secrets
import sys
from dataclasses import replace

import pytest

from lumin_middleware.cli.emulator import environment as settings_of
from lumin_middleware.emulator import DEMO_CLIENT, serve
from tests.cli.test_cli import run, run_anew


@pytest.fixture
def good():
    client = replace(DEMO_CLIENT, client_secret=secrets.token_urlsafe(24))
    with serve(clients=[client]) as running:
        yield {**settings_of(running, client), "LUMIN_STORE": "memory://"}


def test_what_is_well_is_said_and_ends_well(good):
    done = run("doctor", **good)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok +client: is known", done.stdout, re.MULTILINE)
    assert re.search(r"\d+ findings: 0 wrong, 1 doubtful\.$", done.stdout.strip())


def test_what_is_wrong_is_said_with_why_and_cure_and_fails(good):
    done = run("doctor", **{**good, "LUMIN_CLIENT_SECRET": "x" * 30})
    assert done.returncode == 1
    assert re.search(r"^WRONG +client secret: .*\n +why: .*\n +cure: ", done.stdout, re.MULTILINE)
    assert "x" * 30 not in done.stdout


def test_as_json_it_is_a_list_of_findings(good):
    done = run("doctor", "--json", **{**good, "LUMIN_CLIENT_ID": "nobody"})
    findings = json.loads(done.stdout)
    assert done.returncode == 1
    assert {"check", "level", "what", "why", "cure"} == set(findings[0])
    assert [each["check"] for each in findings if each["level"] == "wrong"] == ["client", "client secret"]


def test_each_setting_that_is_wrong_is_a_finding(good):
    wrong = {"LUMIN_SECRET_KEY": "short", "LUMIN_SESSIONS": "x", "LUMIN_PUBLIC": "healthz", "LUMIN_TIMEOUT": "-1"}
    done = run("doctor", "--json", **{**good, **wrong})
    findings = json.loads(done.stdout)
    assert {each["what"].partition(":")[0] for each in findings} == set(wrong)


def test_the_cure_that_several_settings_share_is_told_once_below_all_of_them():
    done = run("doctor")
    assert done.returncode == 1
    *lines, count = done.stdout.strip().splitlines()
    names = [f"LUMIN_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI", "SECRET_KEY")]
    assert [line.split() for line in lines[:4]] == [["WRONG", "settings:", name, "is", "not", "set"] for name in names]
    assert [line.split()[0] for line in lines[4:] if line] == ["why:", "cure:"]
    assert count == "4 findings: 4 wrong, 0 doubtful."
    assert all(each["cure"] for each in json.loads(run("doctor", "--json").stdout))  # each by itself, for a program


def test_what_each_finding_has_for_itself_stands_below_it(good):
    """Two that are wrong for reasons of their own, one after the other."""
    done = run("doctor", **{**good, "LUMIN_SCOPE": "openid", "LUMIN_REQUIRED_SCOPES": "/sign/*=sign:requests"})
    told = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith("ok")]
    assert told[:6] == ["DOUBTFUL", "why:", "cure:"] * 2


def test_settings_that_cannot_be_read_are_one_finding(good):
    done = run("doctor", **{**good, "LUMIN_SECRET_KEY": ""})
    assert done.returncode == 1
    assert "LUMIN_SECRET_KEY" in done.stdout
    assert "Traceback" not in done.stderr


def test_it_looks_at_an_application(good):
    done = run("doctor", "--app", "examples.starlette_app:app", **good)
    assert re.search(r"^ok +application: LuminMiddleware stands in it", done.stdout, re.MULTILINE)
    assert done.returncode == 0
    done = run("doctor", "--app", "examples.nowhere:app", **good)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


DJANGO = """
from django.conf import settings
from django.core.checks import Error, Warning, register
from django.core.wsgi import get_wsgi_application
from lumin_middleware.wsgi import LuminMiddleware

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x")
urlpatterns = []
register(lambda app_configs, **_: [
    Error("It stands before the other.", hint="Put it after it.", id="lumin_middleware.E999"),
    Warning("It is odd.", id="lumin_middleware.W999"),
    Error("Another's matter.", id="shop.E001"),
])
bare = get_wsgi_application()
application = LuminMiddleware(bare)
"""


@pytest.mark.parametrize("name", ["application", "bare"])
def test_of_a_django_application_django_s_checks_of_ours_are_told(good, tmp_path, name):
    (tmp_path / "shop.py").write_text(DJANGO)
    done = run("doctor", "--app", f"shop:{name}", cwd=tmp_path, **good)
    assert done.returncode == 1
    told = r"^WRONG +application: It stands before the other\. \(lumin_middleware\.E999\)\n.*\n +cure: Put it after it"
    assert re.search(told, done.stdout, re.MULTILINE)
    assert re.search(
        r"^DOUBTFUL +application: It is odd\. .*\n.*\n +cure: See `manage.py check`", done.stdout, re.MULTILINE
    )
    assert "Another" not in done.stdout


def test_django_s_checks_that_fail_are_a_finding(good, tmp_path):
    (tmp_path / "shop.py").write_text(DJANGO.replace("ROOT_URLCONF=__name__", "ROOT_URLCONF='nowhere'"))
    done = run("doctor", "--app", "shop:application", cwd=tmp_path, **good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Django's checks cannot be made (ModuleNotFoundError)" in done.stdout


@pytest.mark.parametrize(("arguments", "said"), [(["secret"], r"[\w-]{43}\n"), (["--version"], r"\d+\.\d+.*\n")])
def test_what_needs_no_extra_works_without(arguments, said):
    hidden = "import sys; sys.modules['typer'] = sys.modules['uvicorn'] = None"
    code = f"{hidden}; sys.argv[1:] = {arguments!r}; from lumin_middleware.cli import main; main()"
    done = run_anew(command=[sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(said, done.stdout)


def test_an_application_with_its_settings_in_code_needs_no_variables():
    done = run("doctor", "--app", "tests.cli.coded:app", "--json")
    findings = json.loads(done.stdout)
    assert [each["what"] for each in findings if each["check"] == "settings"] == [
        "are those that tests.cli.coded:app is made with"
    ]
    assert "https://coded.example.com/auth/callback" in done.stdout
    assert "does not start" not in done.stdout


def test_snippets_take_the_settings_of_an_application():
    done = run("snippets", "nginx", "--app", "tests.cli.coded:wrapped")
    assert (done.returncode, done.stderr) == (0, "")
    assert "https://coded.example.com" in done.stdout


@pytest.mark.parametrize("option", ["auth", "upstream"])
def test_snippets_lead_no_proxy_back_to_itself(good, option):
    own = good["LUMIN_REDIRECT_URI"].removesuffix("/auth/callback")
    done = run("snippets", "nginx", f"--{option}", own, **good)
    assert done.returncode == 1
    assert "the site's own address" in done.stderr


def test_snippets_need_no_secret(good):
    named = {name: value for name, value in good.items() if name not in ("LUMIN_CLIENT_SECRET", "LUMIN_SECRET_KEY")}
    done = run("snippets", "nginx", **named)
    assert (done.returncode, done.stderr) == (0, "")
    assert "auth_request" in done.stdout


@pytest.mark.parametrize("uri", ["nonsense", "http://app.example.com/cb", "https://app.example.com/cb#x"])
def test_an_emulator_takes_no_nonsense_for_a_callback(uri):
    done = run("emulator", "--port", "0", "--redirect-uri", uri)
    assert done.returncode == 1
    assert done.stderr.startswith("--redirect-uri: ")
    assert done.stderr.count("\n") == 1
