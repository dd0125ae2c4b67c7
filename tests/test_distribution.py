"""What is published: a wheel and an sdist, installed where nothing but the core dependencies is."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "lumin_middleware"

FIRST_REQUEST = """
import asyncio
import secrets
from importlib import metadata
from wsgiref.util import setup_testing_defaults

from lumin_middleware import LuminConfig, LuminMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WSGILuminMiddleware

assert not {"typer", "uvicorn", "redis", "pytest"} & {each.metadata["Name"] for each in metadata.distributions()}

config = LuminConfig(
    client_id="client",
    client_secret="secret",
    redirect_uri="https://app.example.com/auth/callback",
    secret_key=secrets.token_bytes(32),
    store="memory://",
)
headers = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def app(scope, receive, send):
    raise AssertionError("nobody is signed in")


def wsgi_app(environ, start_response):
    raise AssertionError("nobody is signed in")


async def asgi():
    answers = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "https",
        "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "", "client": None, "server": None,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await LuminMiddleware(app, config)(scope, receive, send)
    return answers[0]["status"], dict(answers[0]["headers"])[b"location"].decode()


def wsgi():
    begun = []
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    setup_testing_defaults(environ)
    list(WSGILuminMiddleware(wsgi_app, config)(environ, lambda status, fields, *_: begun.append((status, fields))))
    (status, fields), = begun
    return int(status.split()[0]), {name.lower(): value for name, value in fields}["location"]


for status, location in (asyncio.run(asgi()), wsgi()):
    assert status == 303, status
    assert location.startswith("https://auth.luminpdf.com/oauth2/auth?"), location
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, PROJECT], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    (wheel,) = built.glob("*.whl")
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True)
    return python


def files_of_the_package() -> set[str]:
    return {
        str(path.relative_to(PROJECT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files_of_the_package()
    assert "lumin_middleware/py.typed" in names


def test_the_sdist_holds_what_the_tests_need(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert files_of_the_package() <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".ci", ".venv")) or name.endswith(".pyc")]


def test_a_first_request_works_with_the_core_dependencies_alone(installed, tmp_path):
    done = subprocess.run(
        [installed, "-W", "error", "-c", FIRST_REQUEST], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_says_which_extra_it_lacks(installed, tmp_path):
    done = subprocess.run(
        [installed, "-m", "lumin_middleware"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "pip install 'lumin-middleware[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
