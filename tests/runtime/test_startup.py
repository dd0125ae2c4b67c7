"""What is wrong with a site is told where it starts, in words: by Starlette's own way of making middleware, by uvicorn,
by test clients, on both edges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lumin_middleware import ConfigurationError, LuminMiddleware
from lumin_middleware.environment import ENVIRONMENT
from lumin_middleware.runtime import startup
from lumin_middleware.wsgi import LuminMiddleware as WSGILuminMiddleware
from tests.fakes import KEY, REDIRECT_URI, config
from tests.patience import PATIENCE

SETTINGS = {
    "LUMIN_CLIENT_ID": "test-client",
    "LUMIN_CLIENT_SECRET": "a secret",
    "LUMIN_REDIRECT_URI": REDIRECT_URI,
    "LUMIN_SECRET_KEY": KEY.hex(),
    "LUMIN_STORE": "memory://",
}

PROXIES = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]

WRONG = {
    "a variable is missing": ({"LUMIN_CLIENT_ID": ""}, "LUMIN_CLIENT_ID is not set"),
    "a bad store": ({"LUMIN_STORE": "postgres-ql://hunter2@host"}, "store: is no URL of a store"),
    "a store that cannot be made": ({"LUMIN_STORE": "sqlite:///dev/null/x/store"}, "store: "),
    "SOCKS": (
        {"ALL_PROXY": "socks5://u:hunter2@127.0.0.1:1"},
        "ALL_PROXY: names a SOCKS proxy, which needs: pip",
    ),
    "no proxy": ({"https_proxy": "http://u:hunter2/x@host:port"}, "https_proxy: is no proxy that can be used"),
    "another scheme": ({"HTTPS_PROXY": "ftp://u:hunter2@host"}, "HTTPS_PROXY: is no proxy"),
    "no host": ({"HTTP_PROXY": "http://"}, "HTTP_PROXY: is no proxy"),
    "a host that nobody can look up": ({"HTTPS_PROXY": "http://u:hunter2@a..b:1"}, "HTTPS_PROXY: is no proxy"),
    "no certificates": ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE: names no file of certificates: /nowhere"),
    "a file of something else": ({"SSL_CERT_FILE": __file__}, "it holds none"),
    "no directory": ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR: names no directory: /nowhere"),
}


@pytest.fixture(params=WRONG)
def wrong(request, monkeypatch):
    """A site whose environment is wrong; what must be said."""
    variables, said = WRONG[request.param]
    clear(monkeypatch)
    for name, value in {**SETTINGS, **variables}.items():
        monkeypatch.setenv(name, value)
    return said


def clear(monkeypatch):
    for name in (*ENVIRONMENT, *PROXIES, *map(str.upper, PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


async def application(scope, receive, send):
    raise AssertionError("a site that is wrong serves nothing")


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("middleware", [LuminMiddleware, WSGILuminMiddleware])
def test_what_is_wrong_fails_where_the_middleware_is_made(wrong, middleware, user, monkeypatch):
    monkeypatch.setattr("lumin_middleware.stores.named._user", lambda: user)
    app = application if middleware is LuminMiddleware else lambda environ, start_response: []
    if user == 0 and wrong == "store: ":
        middleware(app)  # root opens nothing before it is used; the next tests have that
        return
    with pytest.raises(ConfigurationError) as raised:
        middleware(app)
    assert wrong in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("middleware", [LuminMiddleware, WSGILuminMiddleware])
def test_a_machine_without_certificates_says_so_at_the_start(middleware, monkeypatch):
    def missing():
        raise FileNotFoundError(2, "No such file or directory", "/nowhere/cacert.pem")

    clear(monkeypatch)
    monkeypatch.setattr("lumin_middleware.runtime.startup.tls_context", missing)
    app = application if middleware is LuminMiddleware else lambda environ, start_response: []
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE: is to name one: Python finds no certificates"):
        middleware(app, config())


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_what_a_framework_makes_late_fails_its_lifespan(wrong, framework, user, monkeypatch):
    monkeypatch.setattr("lumin_middleware.stores.named._user", lambda: user)
    app = framework()
    app.add_middleware(LuminMiddleware)
    app.add_middleware(CORSMiddleware)
    with pytest.raises(ConfigurationError) as raised:
        await start(app)
    assert wrong in str(raised.value)


async def start(app: Any) -> None:
    """What a server begins with. Starlette's own client leaves something open where that fails, before 1.0."""

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        assert message["type"] == "lifespan.startup.failed"

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


def test_without_a_lifespan_it_answers_and_the_log_says_why(wrong, caplog):
    app = Starlette()
    app.add_middleware(LuminMiddleware)
    client = TestClient(app)
    page = client.get("/", headers={"accept": "text/html"})
    assert (page.status_code, "This site is not set up correctly" in page.text) == (500, True)
    problem = client.get("/x", headers={"accept": "application/json"})
    assert problem.json()["reason"] == "configuration"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
    said = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(said) == 3
    assert all(wrong in line for line in said)
    assert "hunter2" not in caplog.text + page.text + problem.text


def test_a_wsgi_site_whose_store_root_could_not_open_answers_and_the_log_says_why(monkeypatch, caplog):
    monkeypatch.setattr("lumin_middleware.stores.named._user", lambda: 0)
    clear(monkeypatch)
    middleware = WSGILuminMiddleware(lambda environ, start_response: [], config(store="sqlite:///dev/null/x/store"))
    with httpx2.Client(transport=httpx2.WSGITransport(middleware), base_url="https://app.example.com") as client:
        assert client.get("/", headers={"accept": "text/html"}).status_code == 500
    assert "store: /dev/null/x/store" in caplog.text


def test_what_is_right_is_taken(monkeypatch, tmp_path):
    clear(monkeypatch)
    startup.require_way_out()
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://user:pass@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,10.0.0.0/8")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    startup.require_way_out()


MODULES = {
    "made late": """
from starlette.applications import Starlette
from lumin_middleware import LuminMiddleware
app = Starlette()
app.add_middleware(LuminMiddleware)
""",
    "wrapped": """
from starlette.applications import Starlette
from lumin_middleware import LuminMiddleware, LuminConfig
from dataclasses import replace
app = LuminMiddleware(Starlette(), LuminConfig.from_env())
""",
}


@pytest.mark.parametrize(
    ("module", "variables", "said"),
    [
        ("made late", {"LUMIN_CLIENT_ID": ""}, "LUMIN_CLIENT_ID is not set"),
        ("made late", {"SSL_CERT_FILE": "/nowhere"}, "SSL_CERT_FILE"),
        ("wrapped", {"LUMIN_STORE": "sqlite:///dev/null/x/store"}, "store: /dev/null"),
    ],
)
def test_uvicorn_does_not_start(module, variables, said, tmp_path):
    (tmp_path / "served.py").write_text(MODULES[module], encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LUMIN_", "SSL_CERT"))}
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "served:app", "--port", "0", "--app-dir", str(tmp_path)],
        env={**kept, **SETTINGS, **variables, "PYTHONPATH": str(Path(startup.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "startup complete" not in done.stderr
    assert module == "wrapped" or "Traceback" not in done.stderr


@pytest.mark.parametrize("between", [[], [Middleware(CORSMiddleware)]])
@pytest.mark.parametrize("outside", ["added", "wrapped"])
def test_two_around_each_other_fail_at_start(between, outside):
    ours = Middleware(LuminMiddleware, config=config())
    app: Any = Starlette(middleware=[*([ours] if outside == "added" else []), *between, ours])
    if outside == "wrapped":
        app = LuminMiddleware(app, config())
    with (
        pytest.raises(ConfigurationError, match=r"app: (has LuminMiddleware twice|is wrapped in LuminMiddleware)"),
        TestClient(app),
    ):
        """It does not start."""


def test_a_lifespan_of_an_application_sees_no_fault_in_one():
    with TestClient(LuminMiddleware(FastAPI(), config(public=["/x"]))) as client:
        assert client.get("/x").status_code == 404


@pytest.mark.parametrize(
    ("root_path", "callback", "is_apart"),
    [
        ("/shop", "/auth/callback", True),
        ("/shop", "/shopping/auth/callback", True),
        ("/shop/", "/shop/auth/callback", False),
        ("/shop", "/shop/auth/callback", False),
        ("", "/auth/callback", False),
    ],
)
@pytest.mark.parametrize("is_outside", [True, False], ids=["around", "inside"])
@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_a_root_path_that_is_no_prefix_of_the_callback_is_told_at_start(
    is_outside, root_path, callback, is_apart, caplog
):
    settings = config(redirect_uri=f"https://app.example.com{callback}")
    app: Any = FastAPI(root_path=root_path)
    if is_outside:
        app = LuminMiddleware(app, settings)
    else:
        app.add_middleware(LuminMiddleware, config=settings)
    with TestClient(app):
        pass
    said = [each.getMessage() for each in caplog.records if each.getMessage().startswith("root_path_apart")]
    assert len(said) == is_apart
    assert all(f"root_path='{root_path}'" in line and f"callback='{callback}'" in line for line in said)
