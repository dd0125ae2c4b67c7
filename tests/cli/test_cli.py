"""The command line as a person uses it: each command in a process of its own, its output read, its end awaited."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from lumin_middleware import LuminConfig
from lumin_middleware.emulator import Client, serve
from tests import spawning
from tests.browser_rig import ROOT, demo, environment
from tests.patience import PATIENCE
from tests.visitor import sign_in

SCRIPT = str(Path(sys.executable).with_name("lumin-middleware"))
MODULE = [sys.executable, "-m", "lumin_middleware"]
HTML = {"accept": "text/html"}


def run(
    *arguments: str, command: list[str] = MODULE, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    return spawning.run([*command, *arguments], cwd=cwd, env=environment(**variables))


def run_anew(*arguments: str, command: list[str] = MODULE, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The same by an interpreter that has imported nothing."""
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.fixture
def person() -> Iterator[httpx2.Client]:
    with httpx2.Client(follow_redirects=True, timeout=PATIENCE) as client:
        yield client


# --- in general -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [MODULE, [SCRIPT]], ids=["module", "script"])
def test_help_names_the_commands_and_what_they_do(command):
    done = run_anew("--help", command=command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: lumin-middleware " in done.stdout
    for name, what in (("demo", "Run an application"), ("emulator", "Serve a local Lumin"), ("secret", "Print a new")):
        assert re.search(rf"^  {name} +{what}", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("group", [[], ["grants"], ["sessions"], ["store"]])
def test_no_summary_of_a_command_is_cut_short(group):
    done = run(*group, "--help", COLUMNS="80")
    assert "..." not in done.stdout.partition("Commands:")[2]


GROUPS = {
    "grants": ("list", "show", "revoke", "reseal", "forget"),
    "sessions": ("list", "end"),
    "store": ("create", "check"),
}
COMMANDS = [
    *((name,) for name in ("demo", "emulator", "proxy", "snippets", "secret", "explain", "doctor")),
    *((group, name) for group, names in GROUPS.items() for name in names),
]


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_each_command_explains_its_options_in_full_and_in_words(name):
    done = run(*name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("…", "...", "{", "list[", "<float", "<int"):
        assert words not in done.stdout
    assert not re.search(r"^ +--\S+ +<str>", done.stdout, re.MULTILINE)


def test_a_command_that_is_not_there_is_refused_without_a_traceback():
    done = run("serve")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_typer_one_line_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from lumin_middleware.cli import main; main()"
    done = run_anew(command=[sys.executable, "-c", code])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'lumin-middleware[cli]'" in done.stderr


def test_a_module_that_an_application_misses_is_not_said_to_be_the_command_lines(tmp_path):
    (tmp_path / "own.py").write_text("class Late:\n    def __getattr__(self, name): import nosuch\napp = Late()\n")
    done = run("explain", "GET", "/x", "--app", "own:app", cwd=tmp_path, **SETTINGS)
    assert done.returncode != 0
    assert "nosuch" in done.stderr
    assert "[cli]" not in done.stderr


def test_nobody_imports_what_only_others_need():
    """The library nothing of the command line's, and a worker behind a proxy nothing of a terminal's: one process tells
    both, for to start it is what takes time."""
    code = (
        "import sys, lumin_middleware.cli.worker;"
        "print({'typer', 'lumin_middleware.emulator', 'lumin_middleware.doctor'} & set(sys.modules));"
        "[sys.modules.pop(name) for name in [*sys.modules] if name.startswith('lumin_middleware.cli')];"
        "import lumin_middleware.emulator, lumin_middleware.testing;"
        "print({'typer', 'uvicorn', 'lumin_middleware.cli'} & set(sys.modules))"
    )
    assert run_anew(command=[sys.executable, "-c", code]).stdout == "set()\nset()\n"


# --- a stdout that cannot be written -------------------------------------------------------------------

FULL = Path("/dev/full")  # each write to it finds no space left

SAYING = (
    *(["--help"], ["--version"], ["secret"], ["explain", "unknown_login"], ["explain", "GET", "/"], ["doctor"]),
    *(["doctor", "--json"], ["snippets", "nginx"], ["emulator", "--port", "0"], ["store", "check"]),
    *(["grants", "revoke", "x"], ["proxy", "--port", "0", "--upstream", "http://127.0.0.1:1"]),
)


def said_into(stdout: IO[str], *arguments: str, **variables: str) -> tuple[int, str]:
    """How a command ends that writes there, and what it says on stderr."""
    streams = {"stdin": subprocess.PIPE, "stdout": stdout, "stderr": subprocess.PIPE}
    with spawning.Popen([*MODULE, *arguments], cwd=ROOT, env=environment(**variables), **streams) as process:
        said = process.communicate("", PATIENCE)[1]
    return process.wait(), said


@pytest.mark.skipif(not FULL.exists(), reason="a system without /dev/full")
@pytest.mark.parametrize("arguments", [*SAYING, ["demo", "--no-open", "--port", "0"]], ids=" ".join)
def test_a_stdout_that_cannot_be_written_is_one_line_and_no_other_s_fault(arguments, tmp_path):
    nobody = dict.fromkeys(("LUMIN_AUTH_URL", "LUMIN_API_URL"), "http://127.0.0.1:1")
    own = {**SETTINGS, **nobody, "LUMIN_STORE": f"sqlite:///{tmp_path}/store"}
    with FULL.open("w") as full:
        ended, said = said_into(full, *arguments, **({} if arguments[0] == "demo" else own))
    assert (ended, said) == (1, "stdout cannot be written (No space left on device).\n")


@pytest.mark.parametrize("arguments", [["secret"], ["emulator", "--port", "0"], ["snippets", "nginx"]], ids=" ".join)
def test_whoever_reads_no_more_is_told_nothing(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread:
        assert said_into(unread, *arguments, **SETTINGS) == (1, "")


# --- secret ---------------------------------------------------------------------------------------------


def test_secret_prints_32_new_random_bytes_and_nothing_else():
    first, second = run("secret"), run("secret")
    assert (first.returncode, first.stderr) == (0, "")
    assert len(urlsafe_b64decode(first.stdout.strip() + "=")) == 32
    assert first.stdout.count("\n") == 1
    assert first.stdout != second.stdout


# --- emulator -------------------------------------------------------------------------------------------


@contextmanager
def emulator(*arguments: str) -> Iterator[tuple[spawning.Popen, str]]:
    """A running `lumin-middleware emulator`, and what it says at its start."""
    process = spawning.Popen(
        [*MODULE, "emulator", "--port", "0", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, process.communicate(timeout=PATIENCE)
            said += line
        yield process, said
    finally:
        with process:
            process.kill()


def pasted(said: str) -> dict[str, str]:
    """The variables that a shell has after these lines were pasted into it."""
    lines = "\n".join(line for line in said.splitlines() if line.startswith("export "))
    done = subprocess.run(["sh", "-c", f"{lines}\nenv -0"], env={}, capture_output=True, text=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair.startswith("LUMIN_"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_says_where_it_is_and_ends_quietly(number):
    with emulator() as (process, said):
        base = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert base is not None
        found = httpx2.get(f"{base[0]}/.well-known/openid-configuration", timeout=PATIENCE).json()
        assert found["issuer"] == base[0]
        assert "Mira Halden" in said
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0


def test_the_emulator_warns_where_others_reach_it():
    """On a free address of the loopback interface's everything, which is where containers have it."""
    with emulator("--host", "0.0.0.0") as (process, said):
        assert "can be anybody" not in said
        process.send_signal(signal.SIGINT)
        _, warned = process.communicate(timeout=PATIENCE)
        assert "Whoever reaches 0.0.0.0 can be anybody here" in warned


@pytest.mark.parametrize(
    ("options", "base"),
    [
        (("--host", "0.0.0.0"), r"http://127\.0\.0\.1:\d+"),
        (("--host", "::"), r"http://\[::1\]:\d+"),
        (("--host", "0.0.0.0", "--base", "https://lumin.example.com/"), r"https://lumin\.example\.com"),
    ],
    ids=["everywhere", "everywhere, IPv6", "behind a proxy"],
)
def test_the_emulators_settings_are_good_wherever_it_listens(options, base):
    with emulator(*options) as (_, said):
        config = LuminConfig.from_env(pasted(said))
        assert re.fullmatch(base, config.server.issuer)
        assert config.api_url == f"{config.server.issuer}/v1"


def test_the_emulator_says_what_is_wrong_with_its_base():
    done = run("emulator", "--port", "0", "--base", "http://lumin.example.com")
    assert done.returncode == 1
    assert "--base: 'http://lumin.example.com' must be https" in done.stderr


def test_the_emulators_settings_can_be_pasted_and_lead_to_a_sign_in(person):
    given = 'it\'s a "secret" & $more'
    with emulator(
        "--client-id", "mine", "--client-secret", given, "--redirect-uri", "http://localhost:1234/in/callback"
    ) as (_, said):
        config = LuminConfig.from_env(pasted(said))
        assert (config.client_id, config.client_secret) == ("mine", given)
        assert config.redirect_uri == "http://localhost:1234/in/callback"
        tokens = redeem(person, config)
        assert tokens["expires_in"] in (3599, 3600)
        assert "id_token" in tokens
        me = person.get(f"{config.api_url}/user/info", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert me.json()["user"]["name"] == "Mira Halden"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"redirect_uri": "http://localhost:1/cb"},
            "the redirect URI 'http://localhost:1/cb' is not registered for 'mine', but 'http://localhost:1234/in'.",
        ),
        (
            {"client_id": "an\nother"},
            r"there is no client 'an\nother' here, but 'mine'. Let the application's LUMIN_CLIENT_ID be such a one",
        ),
        ({"response_mode": "pigeon"}, "The authorization server does not support this response mode. Unsupported"),
    ],
    ids=["redirect URI", "client", "another fault"],
)
def test_the_emulator_says_in_one_line_what_no_callback_is_told(changed, said):
    with emulator("--client-id", "mine", "--redirect-uri", "http://localhost:1234/in") as (process, told):
        asked = {"client_id": "mine", "redirect_uri": "http://localhost:1234/in", **changed}
        base = pasted(told)["LUMIN_AUTH_URL"]
        assert httpx2.get(f"{base}/oauth2/auth", params=asked, timeout=PATIENCE).status_code >= 400
        process.send_signal(signal.SIGINT)
        _, line = process.communicate(timeout=PATIENCE)
    assert line.startswith(f"An authorization request was refused: {said}")
    assert line.count("\n") == 1


def test_the_emulators_options_change_its_tokens(person):
    with emulator("--no-id-token", "--access-token-lifetime", "77") as (_, said):
        tokens = redeem(person, LuminConfig.from_env(pasted(said)))
    assert tokens["expires_in"] in (76, 77)
    assert "id_token" not in tokens


class AtTheCallback(Exception):
    """A browser would go to this URL."""


def redeem(person: httpx2.Client, config: LuminConfig) -> dict[str, object]:
    """Sign in at the server of these settings, as a client that knows nothing else."""
    request = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": config.redirect_uri,
        "scope": config.scope,
        "state": "0123456789abcdef",
    }
    assert config.server.authorization_endpoint is not None
    assert config.server.token_endpoint is not None

    def stop_at_the_callback(request: httpx2.Request) -> None:  # whoever is there
        if str(request.url).startswith(config.redirect_uri):
            raise AtTheCallback(str(request.url))

    person.event_hooks = {"request": [stop_at_the_callback]}
    with pytest.raises(AtTheCallback) as stopped:
        sign_in(person, f"{config.server.authorization_endpoint}?{httpx2.QueryParams(request)}")
    [code] = parse_qs(urlsplit(str(stopped.value)).query)["code"]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": config.redirect_uri,
        "client_id": config.client_id,
        "client_secret": str(config.client_secret),
    }
    answer = person.post(config.server.token_endpoint, data=form)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_emulator_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("emulator", "--port", port)
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


SETTINGS = {
    "LUMIN_CLIENT_ID": "id",
    "LUMIN_CLIENT_SECRET": "a secret",
    "LUMIN_REDIRECT_URI": "http://127.0.0.1:8000/auth/callback",
    "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
    "LUMIN_STORE": "memory://",
}


@pytest.mark.parametrize(
    ("option", "value"),
    [("--access-token-lifetime", "-5"), ("--refresh-token-grace", "nan"), ("--client-id", ""), ("--host", "a..b")],
)
def test_an_option_that_cannot_be_meant_is_refused_in_words(option, value):
    done = run("emulator", "--port", "0", option, value)
    assert done.returncode == 1
    assert option in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("empty", ["", " ", "\t"])
@pytest.mark.parametrize(
    ("arguments", "option", "may_be_left_out"),
    [
        (["emulator", "--host"], "--host", True),
        (["emulator", "--port"], "--port", True),
        (["emulator", "--base"], "--base", True),
        (["emulator", "--redirect-uri", "http://localhost/cb", "--redirect-uri"], "--redirect-uri", True),
        (["proxy", "--upstream"], "--upstream", False),
        *(
            (["proxy", "--upstream", "http://127.0.0.1:9", option], option, True)
            for option in (
                "--host",
                "--port",
                "--public",
                "--engine",
                "--certificate",
                "--certificate-key",
                "--workers",
            )
        ),
        (["snippets", "nginx", "--auth"], "--auth", True),
        (["demo", "--port"], "--port", True),
        (["explain", "GET", "/", "--as"], "--as", True),
        (["doctor", "--app"], "--app", True),
        (["grants", "show"], "SUBJECT", False),
        (["grants", "revoke", "someone", "--name"], "--name", True),
        (["sessions", "end"], "SUBJECT", False),
    ],
)
def test_an_option_that_comes_out_empty_is_refused_by_name(arguments, option, may_be_left_out, empty):
    """An unset `$HOST` would be every address, and an unset `$CERTIFICATE` none."""
    done = run(*arguments, empty, **SETTINGS)
    assert (done.returncode, done.stdout) == (1, "")
    cure = "give it a value, or leave it out" if may_be_left_out else "give it a value"
    assert done.stderr == f"{option} is empty, as where a variable is not set; {cure}.\n"


@pytest.mark.parametrize("host", ["0", "0.0", "0x0", "127.1", "a..b", "a\u200b", "*", "[::]", "a" * 64])
def test_it_is_plain_who_can_come_to_where_something_listens(host):
    done = run("emulator", "--port", "0", "--host", host)
    assert (done.returncode, done.stdout) == (1, "")
    said = f"{host!r} is no address of this machine; choose another --host: give an address in full, such as 127.0.0.1"
    assert done.stderr == f"{said}, or 0.0.0.0 for every one.\n"


# --- demo -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_signs_a_person_in_and_ends_quietly(number, person):
    with demo("--no-open", "--port", "0") as running:
        page = sign_in(person, f"{running.origin}/requests")
        assert (page.status_code, page.url) == (200, f"{running.origin}/requests")
        assert "Mira Halden" in page.text
        status, stdout, stderr = running.stop(number)
    assert status == 0
    assert [line.split()[2] for line in stderr.splitlines()] == ["signed_in:"], stderr
    site, lumin = re.findall(r"https?://[^\s,]+", stdout)
    assert (site, urlsplit(lumin).hostname) == (f"{running.origin}/", "127.0.0.1")
    assert "To be somebody else" in stdout


def test_the_demo_shows_renewals_to_whoever_wants_to_watch_them(person):
    with demo("--no-open", "--port", "0", "--access-token-lifetime", "1", "--debug") as running:
        sign_in(person, f"{running.origin}/requests")
        time.sleep(1)  # the token's life
        assert person.get(f"{running.origin}/requests").status_code == 200
        assert "session_renewed" in running.stop()[2]


def test_the_demo_leaves_nothing_behind(person, tmp_path):
    everywhere = dict.fromkeys(("HOME", "TMPDIR", "XDG_STATE_HOME"), str(tmp_path))
    with demo("--no-open", "--port", "0", **everywhere) as running:
        sign_in(person, f"{running.origin}/requests")
        assert running.stop()[0] == 0
    assert list(tmp_path.rglob("*")) == []


def test_the_demo_takes_another_port_where_its_own_is_taken():
    with ExitStack() as stack:
        with suppress(OSError):  # somebody else's, which is as good
            stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
        with demo("--no-open") as running:
            assert not running.origin.endswith(":8000")
            assert httpx2.get(running.origin, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("option", ["--port", "--emulator-port"])
def test_the_demo_says_when_a_port_that_was_asked_for_is_taken(option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("demo", "--no-open", "--port", "0", option, port)
    assert done.returncode == 1
    assert port in done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_opens_one_browser_where_there_is_a_desktop(tmp_path):
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    opener = tmp_path / "open"
    opener.write_text(f'#!/bin/sh\necho "$@" > {shlex.quote(str(opened))}\n')
    opener.chmod(0o700)
    with demo("--port", "0", BROWSER=f"{opener} %s", DISPLAY=":1") as running:
        assert opened.read_text() == f"{running.origin}/\n"  # waits until somebody has written


@pytest.mark.parametrize(("option", "display"), [("--no-open", ":1"), ("--open", "")])
def test_the_demo_opens_no_browser_unasked_or_without_a_desktop(option, display, tmp_path):
    opener = tmp_path / "open"
    opener.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'opened'))}\n")
    opener.chmod(0o700)
    with demo(option, "--port", "0", BROWSER=f"{opener} %s", DISPLAY=display, WAYLAND_DISPLAY="") as running:
        assert httpx2.get(running.origin, timeout=PATIENCE).status_code == 200
        running.stop()
    assert not (tmp_path / "opened").exists()


def test_with_credentials_in_the_environment_the_same_application_signs_in_there(person):
    with socket.create_server(("127.0.0.1", 0)) as free:
        origin = f"http://localhost:{free.getsockname()[1]}"
    client = Client(client_id="real", client_secret="s3cret", redirect_uris=(f"{origin}/auth/callback",))
    with (
        serve(clients=[client]) as lumin,
        demo(
            "--no-open",
            LUMIN_CLIENT_ID="real",
            LUMIN_CLIENT_SECRET="s3cret",
            LUMIN_REDIRECT_URI=f"{origin}/auth/callback",
            LUMIN_AUTH_URL=lumin.base,
            LUMIN_API_URL=f"{lumin.base}/v1",
            LUMIN_STORE="memory://",
        ) as running,
    ):
        assert running.origin == origin
        assert "Mira Halden" in sign_in(person, f"{origin}/requests").text
        assert lumin.emulator.calls_to("/v1/user/info")
        assert running.stop()[0] == 0


def test_settings_that_cannot_be_used_are_named():
    done = run("demo", "--no-open", LUMIN_CLIENT_ID="real")
    assert done.returncode == 1
    assert "LUMIN_CLIENT_SECRET" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"LUMIN_CLIENT_ID": "", "LUMIN_SECRET_KEY": ""},
            [f"{name} is not set" for name in ("LUMIN_CLIENT_ID", "LUMIN_SECRET_KEY")],
        ),
        ({"LUMIN_REDIRECT_URL": "x"}, ["LUMIN_REDIRECT_URL is no setting", "LUMIN_REDIRECT_URI?"]),
        ({"LUMIN_END_SESSION": "maybe"}, ["LUMIN_END_SESSION", "write one of true"]),
        ({"LUMIN_CLIENT_SECRET": "hunter2\r"}, ["LUMIN_CLIENT_SECRET", "a carriage return"]),
        ({"LUMIN_STORE": "redis+sentinel://:hunter2@host"}, ["store: ", "redis+sentinel://host:26379"]),
        ({"ALL_PROXY": "socks5://hunter2@127.0.0.1:1"}, ["ALL_PROXY: names a SOCKS proxy"]),
        ({"SSL_CERT_FILE": "/nowhere"}, ["SSL_CERT_FILE: names no file of certificates"]),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_gateway_says_in_words_what_is_wrong_and_does_not_start(scheme, variables, words):
    done = run("proxy", "--upstream", f"{scheme}://127.0.0.1:9", "--port", "0", **{**SETTINGS, **variables})
    assert done.returncode == 1
    assert all(word in done.stderr for word in words)
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "signs people in" not in done.stdout


def test_the_demo_runs_an_application_of_ones_own(tmp_path, person):
    (tmp_path / "own.py").write_text(
        "from lumin_middleware import LuminMiddleware\n"
        "from starlette.responses import PlainTextResponse\n"
        "async def home(scope, receive, send):\n"
        "    words = 'Hello, ' + scope['state']['lumin'].claims['name']\n"
        "    await PlainTextResponse(words)(scope, receive, send)\n"
        "app = LuminMiddleware(home)\n"
    )
    with demo("own:app", "--no-open", "--port", "0", cwd=tmp_path) as running:
        assert sign_in(person, running.origin).text == "Hello, Mira Halden"


@pytest.mark.parametrize(
    ("name", "words"), [("own:app", 'module "own"'), ("os:app", '"app" not found'), ("own", "<module>:<attribute>")]
)
def test_an_application_that_is_not_there_is_named(name, words, tmp_path):
    done = run("demo", name, "--no-open", "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["app", "wrapped"])
def test_the_demo_says_that_it_serves_no_wsgi(name, tmp_path):
    (tmp_path / "fl.py").write_text(
        "import flask\n"
        "from lumin_middleware.wsgi import LuminMiddleware\n"
        "app = flask.Flask('shop')\n"
        "wrapped = LuminMiddleware(app)\n"
    )
    done = run("demo", f"fl:{name}", "--no-open", "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"fl:{name} is a WSGI application" in done.stderr
    assert "lumin-middleware emulator" in done.stderr
    assert done.stderr.count("\n") == 1


def test_outside_a_checkout_the_demo_asks_for_an_application(tmp_path):
    # An editable installation has its checkout on the path; an ordinary one has not.
    plain = "sys.path[:] = [path for path in sys.path if not os.path.isdir(f'{path}/examples')]"
    code = f"import os, sys, lumin_middleware.cli as cli; {plain}; cli.main()"
    done = run_anew("demo", "--no-open", "--port", "0", command=[sys.executable, "-c", code], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No module named 'examples'. It is part of a checkout" in done.stderr
    assert "name an application of yours" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_credentials_a_free_port_is_taken_where_it_is_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        registered = taken.getsockname()[1]
        uri = f"http://127.0.0.1:{registered}/auth/callback"
        with demo("--no-open", "--port", "0", **{**SETTINGS, "LUMIN_REDIRECT_URI": uri}) as running:
            assert running.process.stdout is not None
            found = re.search(r"must lead to port (\d+) of this machine", running.process.stdout.readline())
    assert found is not None
    assert int(found[1]) not in (0, registered)


def test_behind_a_tunnel_the_demo_says_where_the_tunnel_must_lead():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    settings = {"CLIENT_ID": "real", "CLIENT_SECRET": "s3cret", "REDIRECT_URI": "https://app.example.com/auth/callback"}
    variables = {f"LUMIN_{name}": value for name, value in settings.items()}
    with demo("--no-open", "--port", port, LUMIN_STORE="memory://", **variables) as running:
        assert httpx2.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).status_code == 200
        said = running.stop()[1]
    assert running.origin == "https://app.example.com"
    assert f"port {port} of this machine" in said
