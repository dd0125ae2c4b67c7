"""What an application sees of our types: mypy reads a file of its own as strictly as it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser_rig import ROOT
from tests.patience import PATIENCE

pytest.importorskip("mypy")

APPLICATION = """
from typing import Annotated, Any, assert_type

import flask
import httpx2
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from lumin_middleware import AsyncLuminClient, Grants, LuminClient, LuminConfig, LuminMiddleware, lumin
from lumin_middleware import wsgi
from lumin_middleware.client import WsgiAnswer
from lumin_middleware.emulator import Emulator, User
from lumin_middleware.testing import FakeLumin, SignIns, StoreContract, fake_lumin


async def page(request: Request) -> Response:
    client = lumin(request)
    assert_type(client, AsyncLuminClient)
    assert_type(lumin.optional(request), AsyncLuminClient | None)
    if "templates" not in client.scope:
        return client.challenge(scope="templates")
    answer = await client.get("signature_request/{}", "id", params={"page": 1})
    assert_type(answer, httpx2.Response)
    return PlainTextResponse(answer.text)


def in_a_thread(client: Annotated[AsyncLuminClient, Depends(lumin)]) -> int:
    return client.blocking.get("user/info").status_code


app = flask.Flask(__name__)


@app.get("/")
def view() -> flask.typing.ResponseReturnValue:
    client = lumin(flask.request)
    assert_type(client, LuminClient)
    assert_type(lumin.optional(flask.request), LuminClient | None)
    if client.auth_time < 1:
        return client.challenge(max_age=300)
    answer: dict[str, Any] = client.get("user/info").json()
    return answer


def another(environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    client: LuminClient = lumin(environ)
    asked = client.challenge()
    assert_type(asked, WsgiAnswer)
    return asked.status, asked.headers, asked.body


app.wsgi_app = wsgi.LuminMiddleware(app.wsgi_app, LuminConfig.from_env())  # type: ignore[method-assign]


def is_connected(client: LuminClient) -> bool:
    with Grants() as grants:
        return bool(grants.find(client.subject))


async def test_page() -> None:
    fake = fake_lumin({"GET user/info": {"user": {}}}, claims=None)
    assert_type(fake, FakeLumin)
    assert_type(fake.client, AsyncLuminClient)
    assert_type(fake.blocking, LuminClient)
    assert_type((await fake.client.get("user/info")).status_code, int)


def test_clients(signed_in: SignIns, lumin_emulator: Emulator, lumin_config: LuminConfig) -> None:
    site = LuminMiddleware(Starlette(), lumin_config)
    assert_type(signed_in(site, path="/x", person=User(sub="ada", email="ada@example.com", name="Ada")), TestClient)
    assert_type(signed_in(FastAPI()).get("/").status_code, int)
    assert_type(signed_in(app, scope="openid"), httpx2.Client)
    assert_type(signed_in(wsgi.LuminMiddleware(app.wsgi_app, lumin_config)), httpx2.Client)
    assert_type(lumin_emulator.calls_to("/oauth2/token")[-1].status, int | None)


class TestOwnStore(StoreContract):
    short = 1.0
"""

WRONG = """
from lumin_middleware.testing import fake_lumni
"""


def mypy(folder: Path, text: str) -> tuple[str, int]:
    (folder / "application.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    done = subprocess.run(
        [*command, str(folder / "application.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        check=False,
    )
    return done.stdout + done.stderr, done.returncode


def test_an_application_is_typed_to_its_ends(tmp_path):
    said, code = mypy(tmp_path, APPLICATION)
    assert (said.count("error:"), code) == (0, 0), said
    said, code = mypy(tmp_path, WRONG)
    assert 'has no attribute "fake_lumni"' in said
