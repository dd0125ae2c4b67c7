"""The testing kit: each snippet of its page runs, and each kind of client is signed in by the same words."""

import gc
import gzip
import os
import re
import subprocess
import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import flask
import httpx2
import pytest
import quart
from fastapi import Depends, FastAPI
from joserfc import jwt
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from lumin_middleware import (
    LUMIN,
    ClientMisused,
    InsufficientScope,
    LuminConfig,
    LuminMiddleware,
    Refused,
    ServerUnavailable,
    SessionEnded,
    lumin,
)
from lumin_middleware.emulator import DEMO_USERS, User
from lumin_middleware.stores import MemoryStore
from lumin_middleware.testing import SignIns, fake_lumin
from lumin_middleware.testing.inside import middlewares
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.patience import PATIENCE

PAGE = Path(__file__).parent.parent / "docs" / "testing.md"
MIRA, TOBIAS, _ = DEMO_USERS


# --- the page -------------------------------------------------------------------------------------------


def test_each_snippet_of_the_page_passes_as_a_file_of_its_own(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"test_{number}.py").write_text(block, "utf-8")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    told = sum(block.count("def test_") for block in blocks)
    assert f"{told} passed" in done.stdout
    assert "memory_not_shared" not in done.stdout, "there is one process"


def test_without_uvicorn_the_fixtures_say_what_to_install(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(signed_in): ...\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'uvicorn' else find(name, *rest)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "."]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert "pip install 'lumin-middleware[testing]'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


# --- signed in ------------------------------------------------------------------------------------------


async def _who(request: Request) -> JSONResponse:
    client = lumin(request)
    return JSONResponse({**client.claims, "scope": sorted(client.scope), "token": await client.access_token()})


def _asgi(config):
    return LuminMiddleware(Starlette(routes=[Route("/", _who)]), config)


def _added(config):
    app = FastAPI()
    app.add_middleware(LuminMiddleware, config=config)
    app.get("/")(_who)
    return app


def _flask(config):
    app = flask.Flask("tests")

    @app.get("/")
    def who():
        client = lumin(flask.request)
        return {**client.claims, "scope": sorted(client.scope), "token": client.access_token()}

    app.wsgi_app = WsgiMiddleware(app.wsgi_app, config)
    return app


def _wsgi(config):
    return _flask(config).wsgi_app


@pytest.fixture(params=[_asgi, _added, _flask, _wsgi], ids=lambda make: make.__name__)
def app(request, lumin_config):
    """An application of each kind."""
    return request.param(lumin_config)


class TestSignedIn:
    def test_it_is_the_first_person_who_grants_all(self, app, signed_in):
        said = signed_in(app).get("/").json()
        assert (said["sub"], said["name"]) == (MIRA.sub, MIRA.name)
        assert "sign:requests" in said["scope"]

    @pytest.mark.parametrize("person", [TOBIAS, TOBIAS.sub, TOBIAS.email, TOBIAS.name], ids=repr)
    def test_it_is_the_person_who_is_named(self, app, signed_in, person):
        assert signed_in(app, person=person).get("/").json()["sub"] == TOBIAS.sub

    def test_it_may_be_somebody_new(self, app, signed_in):
        said = signed_in(app, person=User(sub="ada", email="ada@example.com", name="Ada")).get("/").json()
        assert (said["sub"], said["email"]) == ("ada", "ada@example.com")

    def test_claims_are_added_and_taken_away_also_after_a_renewal(self, app, signed_in, lumin_emulator):
        changes = {"picture": "https://example.com/p.png", "name": None}
        client = signed_in(app, claims=changes, expires_in=0)
        before = lumin_emulator.calls_to("/oauth2/token")
        said = client.get("/").json()
        assert len(lumin_emulator.calls_to("/oauth2/token")) == len(before) + 1
        assert (said["picture"], "name" in said) == ("https://example.com/p.png", False)

    def test_claims_are_one_person_s(self, app, signed_in):
        mira, tobias = signed_in(app, claims={"name": "M."}), signed_in(app, person=TOBIAS)
        assert (mira.get("/").json()["name"], tobias.get("/").json()["name"]) == ("M.", TOBIAS.name)

    def test_claims_that_a_forger_of_the_test_would_drop_are_refused(self, app, signed_in, lumin_emulator):
        def forge(header, claims, key):
            return jwt.encode(header, {**claims, "name": "Forged"}, key, algorithms=[header["alg"]])

        for _ in range(2):
            lumin_emulator.forge_id_token = forge
            with pytest.raises(ValueError, match="forge_id_token"):
                signed_in(app, claims={"name": "M."})
            assert signed_in(app).get("/").json()["name"] == "Forged"
            lumin_emulator.forge_id_token = None
            for name in ("M.", "N."):
                assert signed_in(app, claims={"name": name}).get("/").json()["name"] == name

    def test_a_part_of_the_scopes_is_granted(self, app, signed_in):
        assert signed_in(app, scope="openid sign:requests").get("/").json()["scope"] == ["openid", "sign:requests"]

    def test_a_lifetime_is_that_of_one_sign_in(self, app, signed_in, lumin_emulator):
        short, long = signed_in(app, expires_in=0), signed_in(app)
        tokens = [client.get("/").json()["token"] for client in (short, long, long)]
        assert tokens[1] == tokens[2]
        assert len(lumin_emulator.calls_to("/oauth2/token")) == 3

    @pytest.mark.parametrize("person", ["nobody", "", "mira"])
    def test_somebody_who_is_not_there_is_told_with_those_who_are(self, app, signed_in, person):
        with pytest.raises(ValueError, match=MIRA.email):
            signed_in(app, person=person)

    @pytest.mark.parametrize("scope", ["sign:everything", "openid templates"])
    def test_a_scope_that_the_site_does_not_ask_for_is_told_with_those_that_it_does(self, app, signed_in, scope):
        with pytest.raises(ValueError, match="asks for 'openid offline_access sign:requests'"):
            signed_in(app, scope=scope)

    def test_a_page_that_is_not_protected_is_told(self, app, signed_in):
        with pytest.raises(AssertionError, match=r"is it protected.*path="):
            signed_in(app, path="/auth/session")

    @pytest.mark.parametrize("expires_in", ["5", [5]])
    def test_a_lifetime_that_is_no_number_is_told(self, app, signed_in, expires_in):
        with pytest.raises(ValueError, match=r"expires_in=.* must be a number of seconds"):
            signed_in(app, expires_in=expires_in)

    @pytest.mark.parametrize("make", [_asgi, _wsgi])
    def test_a_sign_in_that_fails_is_told_in_the_page_s_words(self, make, lumin_config, signed_in):
        def admit(claims):
            raise Refused("Only <b>Ben</b> & Ann may.")

        with pytest.raises(AssertionError) as raised:
            signed_in(make(replace(lumin_config, admit=admit)))
        said = "the callback answered 403 (not_admitted): This site is not for everybody Only <b>Ben</b> & Ann may."
        assert str(raised.value).startswith(said)
        assert "color" not in str(raised.value)

    @pytest.mark.parametrize("is_own", [False, True], ids=["Django's", "made of it"])
    def test_a_client_of_django_s_that_does_not_block_is_told(self, signed_in, is_own):
        from django.test import AsyncClient

        class Own(AsyncClient):
            """As REST framework makes one of the other kind."""

        with pytest.raises(ValueError, match="blocking test client"):
            signed_in(Own() if is_own else AsyncClient())

    def test_sign_out_works_since_the_client_is_at_the_site(self, app, signed_in):
        client = signed_in(app)
        assert client.post("/auth/logout").status_code in (204, 303)
        assert client.get("/").status_code == 401


# --- an application that was there before the test ------------------------------------------------------


def _mounted(config):
    return Starlette(routes=[Mount("/shop", LuminMiddleware(Starlette(routes=[Route("/", _who)]), config))])


def _dispatched(config):
    return DispatcherMiddleware(lambda environ, start_response: [], {"/shop": _wsgi(config)})


def _quart(config):
    app = quart.Quart("tests")

    @app.get("/")
    async def who():
        client = lumin(quart.request)
        return {**client.claims, "scope": sorted(client.scope), "token": await client.access_token()}

    app.asgi_app = LuminMiddleware(app.asgi_app, config)
    return app


def _inside_another(config):
    return TrustedHostMiddleware(_asgi(config), [str(urlsplit(config.origin).hostname)])


WHOLE = (_asgi, _added, _flask, _wsgi, _quart, _inside_another)
BELOW = (_mounted, _dispatched)


class TestMadeBefore:
    """One that was made when its module was imported, with the settings of another test's Lumin, or of the real one."""

    @pytest.fixture(params=["https://testserver", "https://shop.example", "http://127.0.0.1:8000"])
    def origin(self, request):
        return request.param

    @pytest.fixture(params=[*WHOLE, *BELOW], ids=lambda make: make.__name__)
    def made(self, request, lumin_config, origin):
        below = "/shop" if request.param in BELOW else ""
        before = replace(
            lumin_config,
            server=LUMIN,
            client_secret="of-another-test",
            redirect_uri=f"{origin}{below}/auth/callback",
            scope="openid sign:requests",
        )
        return request.param(before), f"{below}/"

    def test_it_signs_people_in_in_each_test_and_keeps_its_other_settings(self, made, lumin_emulator, lumin_config):
        app, path = made
        for person in (MIRA, TOBIAS):
            with ExitStack() as test:
                signed_in = SignIns(lumin_emulator, lumin_config, test)
                client = signed_in(app, path=path, person=person)
                signed_in(app, path=path)  # a second client of the same test
                said = client.get(path).json()
                assert (said["sub"], said["scope"]) == (person.sub, ["openid", "sign:requests"])
            assert [each.config.server for each in middlewares(app)] == [LUMIN], "it is as it was before"

    def test_what_it_opened_meanwhile_is_closed(self, made, lumin_emulator, lumin_config):
        """No connection is left to the collector, which would meet it in any test that follows."""
        app, path = made
        gc.collect()
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always")
            with ExitStack() as test:
                SignIns(lumin_emulator, lumin_config, test)(app, path=path)
            gc.collect()
        assert [str(each.message) for each in left if each.category is ResourceWarning] == []

    def test_what_has_this_test_s_settings_is_left_alone(self, lumin_config, signed_in):
        store = MemoryStore()
        app = _asgi(replace(lumin_config, store=store, sessions="store"))
        signed_in(app)
        assert app.config.store is store
        assert store._entries

    def test_one_that_nobody_sees_is_told_with_both_addresses(self, lumin_config, lumin_emulator, signed_in):
        hidden = _asgi(replace(lumin_config, server=LUMIN))

        async def app(scope, receive, send):
            await hidden(scope, receive, send)

        with pytest.raises(ValueError, match=f"{LUMIN.issuer}/oauth2/auth, .* {lumin_emulator.base}: its Lumin"):
            signed_in(app)


EXAMPLES = """
from importlib import import_module
import pytest

NAMES = ("bare_asgi", "bare_wsgi", "fastapi_app", "flask_app", "litestar_app", "quart_app", "starlette_app")

@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_it(lumin_environment, signed_in, name, turn):
    app = import_module(f"examples.{name}").app
    assert "Mira Halden" in signed_in(app, path="/requests").get("/requests").text
"""


def test_each_example_is_tested_twice_in_one_process(tmp_path):
    (tmp_path / "test_it.py").write_text(EXAMPLES)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", "."]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PAGE.parent.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert "14 passed" in done.stdout, done.stdout


# --- the environment ------------------------------------------------------------------------------------


@pytest.fixture
def developers(monkeypatch, tmp_path):
    """What whoever runs the tests has set for a site of their own."""
    (tmp_path / "secret").write_text("of-the-site")
    monkeypatch.setenv("LUMIN_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("LUMIN_ADMIT", "nobody@example.com")
    monkeypatch.setenv("LUMIN_PUBLIC_FILE", "/nowhere")


def test_the_environment_is_the_test_s_alone(developers, lumin_environment, lumin_config):
    config = LuminConfig.from_env()
    assert (config.client_secret, config.admit, config.public) == (lumin_config.client_secret, None, ())


# --- the fake -------------------------------------------------------------------------------------------


class TestFake:
    async def test_the_table_answers_by_method_and_path_the_first_that_fits(self):
        fake = fake_lumin(
            {
                "GET user/info": {"user": {"id": "ada"}},
                "POST signature_request/*": 201,
                "/signature_request/*": httpx2.Response(418, text="teapot"),
                "*": lambda request: {"path": request.url.path},
            }
        )
        client = fake.client
        assert (await client.get("user/info")).json() == {"user": {"id": "ada"}}
        assert (await client.post("signature_request/send", json={})).status_code == 201
        for _ in range(2):
            assert (await client.get("signature_request/{}", "a/b")).text == "teapot"
        assert (await client.put("/x")).json() == {"path": "/v1/x"}
        assert [call.method for call in fake.calls] == ["GET", "POST", "GET", "GET", "PUT"]
        assert fake.calls[0].headers["authorization"] == "Bearer fake-access-token"

    async def test_the_table_may_change(self):
        fake = fake_lumin({"x": 200})
        fake.responses["x"] = 500
        assert (await fake.client.get("x")).status_code == 500

    async def test_a_function_may_answer_with_anything(self):
        answers = iter([503, httpx2.Response(200, text="ok"), ["json"]])
        fake = fake_lumin({"x": lambda request: next(answers)})
        assert [(await fake.client.get("x")).status_code for _ in range(3)] == [503, 200, 200]

    async def test_a_response_may_have_been_encoded_and_true_is_an_answer(self):
        packed = httpx2.Response(200, content=gzip.compress(b"packed"), headers={"content-encoding": "gzip"})
        fake = fake_lumin({"x": packed, "y": True})
        for _ in range(2):
            assert (await fake.client.get("x")).text == "packed"
        answer = await fake.client.get("y")
        assert (answer.status_code, answer.json()) == (200, True)

    async def test_what_is_not_in_the_table_is_told(self):
        fake = fake_lumin({"GET x": 200})
        with pytest.raises(AssertionError, match="POST x, which is not among"):
            await fake.client.post("x")
        with pytest.raises(AssertionError, match="GET y"):
            fake.blocking.get("y")

    async def test_a_401_of_the_api_is_the_application_s(self):
        assert (await fake_lumin({"x": 401}).client.get("x")).status_code == 401

    async def test_it_is_as_strict_as_the_real_client(self):
        client = fake_lumin({"*": 200}).client
        for path in ("../x", "https://evil.example/x"):
            with pytest.raises(ClientMisused):
                await client.get(path)
        with pytest.raises(InsufficientScope):
            client.require("templates")

    async def test_who_is_signed_in_is_what_the_test_says(self):
        client = fake_lumin(claims={"sub": "grace"}, scope="a b", expires_in=60).client
        assert (client.subject, client.scope) == ("grace", {"a", "b"})
        assert await client.access_token() == client.blocking.access_token() == "fake-access-token"

    @pytest.mark.parametrize(
        ("trouble", "error"), [("end_session", SessionEnded), ("be_down", ServerUnavailable)], ids=["ended", "down"]
    )
    async def test_trouble_is_one_line(self, trouble, error):
        fake = fake_lumin({"x": 200})
        client = fake.client
        getattr(fake, trouble)()
        with pytest.raises(error):
            await client.get("x")
        with pytest.raises(error):
            fake.blocking.get("x")

    @pytest.mark.parametrize(("trouble", "status"), [("end_session", 401), ("be_down", 503)], ids=["ended", "down"])
    def test_an_application_lets_it_through(self, trouble, status):
        async def page(request):
            return JSONResponse((await lumin(request).get("x")).json())

        app = flask.Flask("tests")
        app.add_url_rule("/", view_func=lambda: lumin(flask.request).get("x").json())
        fake = fake_lumin({"x": {"a": 1}})
        asgi = fake.wrap(Starlette(routes=[Route("/", page)]))
        app.wsgi_app = fake.wrap(app.wsgi_app)
        with TestClient(asgi) as client:
            assert client.get("/").json() == {"a": 1}
            assert app.test_client().get("/").json == {"a": 1}
            getattr(fake, trouble)()
            assert client.get("/").status_code == status
            assert app.test_client().get("/").status_code == status

    def test_challenges_are_answers(self):
        async def page(request):
            asked = request.query_params
            return lumin(request).challenge(scope=asked.get("scope", ""), offline="offline" in asked, name="night")

        app = flask.Flask("tests")

        @app.get("/")
        def wsgi_page():
            asked = flask.request.args
            answer = lumin(flask.request).challenge(
                scope=asked.get("scope", ""), offline="offline" in asked, name="night"
            )
            return answer.body, answer.status, answer.headers

        fake = fake_lumin()
        app.wsgi_app = fake.wrap(app.wsgi_app)
        with TestClient(fake.wrap(Starlette(routes=[Route("/", page)]))) as client:
            for path, status, reason in (
                ("/", 401, "no_session"),
                ("/?scope=openid", 401, "no_session"),
                ("/?scope=openid%20templates", 403, "insufficient_scope"),
                ("/?offline", 403, "not_connected"),
                ("/?offline&scope=openid", 403, "not_connected"),
                ("/?offline&scope=templates", 403, "insufficient_scope"),
            ):
                problem = client.get(path).json()
                assert problem == app.test_client().get(path).json
                assert (problem["status"], problem["reason"]) == (status, reason)
            assert client.get("/?offline").json()["connect_url"] == "/auth/connect?return_to=/%3Foffline&name=night"

    @pytest.mark.parametrize("make", [_asgi, _added, _wsgi])
    def test_it_takes_the_place_of_the_middleware_and_leaves_the_application_as_it_is(
        self, make, lumin_config, signed_in
    ):
        app = make(lumin_config)
        for name in ("Ada Lovelace", "Grace Hopper"):
            wrapped = fake_lumin(claims={"sub": "x", "name": name}).wrap(app)
            if make is _wsgi:
                transport = httpx2.WSGITransport(app=wrapped)
                with httpx2.Client(transport=transport, base_url="https://testserver") as client:
                    assert client.get("/").json()["name"] == name
            else:
                with TestClient(wrapped) as client:
                    assert client.get("/").json()["name"] == name
        assert signed_in(app).get("/").json()["name"] == MIRA.name

    @pytest.mark.parametrize("make", [_flask, _quart, _mounted])
    def test_a_middleware_that_stands_too_deep_is_told_with_the_cure(self, make, lumin_config):
        with pytest.raises(ValueError, match=r"app\.wsgi_app = fake\.wrap\(app\.wsgi_app\)"):
            fake_lumin().wrap(make(lumin_config))

    def test_it_is_put_where_the_middleware_was(self, lumin_config, monkeypatch):
        app = _flask(lumin_config)
        monkeypatch.setattr(app, "wsgi_app", fake_lumin().wrap(app.wsgi_app))
        assert app.test_client().get("/").json["name"] == "Ada Lovelace"

    def test_nobody_and_somebody_of_starlette_s_own_authentication(self):
        async def page(request):
            return PlainTextResponse(f"{request.user.display_name} {'openid' in request.auth.scopes}")

        async def socket(websocket):
            lumin(websocket)
            await websocket.accept()
            await websocket.close()

        app = Starlette(routes=[Route("/", page), WebSocketRoute("/ws", socket)])
        with TestClient(fake_lumin().wrap(app)) as client:
            assert client.get("/").text == "Ada Lovelace True"
            with client.websocket_connect("/ws"):
                pass
        with TestClient(fake_lumin(claims=None).wrap(Starlette(routes=[Route("/", _who)]))) as client:
            assert client.get("/").status_code == 401

    def test_it_is_a_dependency_of_fastapi_as_the_real_one_is(self):
        app = FastAPI()

        @app.get("/")
        def whose(client: Annotated[Any, Depends(lumin)]):
            return client.blocking.get("user/info").json()

        with TestClient(fake_lumin({"GET user/info": {"ok": True}}).wrap(app)) as client:
            assert client.get("/").json() == {"ok": True}
