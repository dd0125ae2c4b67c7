"""`lumin(request)`: one client, whatever the framework calls a request."""

from __future__ import annotations

import inspect
from dataclasses import replace
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask, g
from starlette.requests import HTTPConnection, Request
from starlette.testclient import TestClient
from starlette.websockets import WebSocket as StarletteWebSocket

from lumin_middleware import AsyncLuminClient, ClientMisused, LoginRequired, LuminMiddleware, lumin
from tests.acceptance.harness import http_scope
from tests.edges.gateway import environ
from tests.fakes import config

HERE: Any = object()  # stands for a client
SignedIn = Annotated[AsyncLuminClient, Depends(lumin)]


def scope(**more: Any) -> dict[str, Any]:
    return http_scope("/", state={"lumin": HERE}, **more)


def websocket_scope() -> dict[str, Any]:
    return {**scope(), "type": "websocket"}


def without_asgi() -> dict[str, Any]:
    """What Starlette's TestClient makes: a scope without the key `asgi`."""
    made = scope()
    del made["asgi"]
    return made


REQUESTS = {
    "a scope": lambda: scope(),
    "a WebSocket's scope": lambda: websocket_scope(),
    "a scope without asgi": lambda: without_asgi(),
    "Starlette's request": lambda: Request(scope()),
    "Starlette's connection": lambda: HTTPConnection(scope()),
    "Starlette's WebSocket": lambda: StarletteWebSocket(websocket_scope(), _nothing, _nothing),
    "a request of Starlette's TestClient": lambda: Request(without_asgi()),
    "an environ": lambda: environ(lumin=HERE),
    "a request with an environ": lambda: SimpleNamespace(environ=environ(lumin=HERE)),
    "a request with an environ and another scope": lambda: SimpleNamespace(environ=environ(lumin=HERE), scope="page"),
    "a request with a scope": lambda: SimpleNamespace(scope=scope()),
}


async def _nothing(*_: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("make", REQUESTS.values(), ids=list(REQUESTS))
def test_the_client_of_a_request_is_found(make):
    assert lumin(make()) is HERE


@pytest.mark.parametrize("holder", [scope(), environ()], ids=["scope", "environ"])
def test_where_nobody_is_signed_in_it_raises_login_required(holder):
    holder.get("state", holder)["lumin"] = None
    with pytest.raises(LoginRequired):
        lumin(holder)


@pytest.mark.parametrize("make", REQUESTS.values(), ids=list(REQUESTS))
def test_on_an_optional_path_the_client_of_a_request_is_found_or_none(make):
    found = make()
    assert lumin.optional(found) is HERE
    for holder in (scope(), environ()):
        holder.get("state", holder)["lumin"] = None
        assert lumin.optional(holder) is None
    with pytest.raises(ClientMisused, match="LuminMiddleware"):
        lumin.optional(http_scope("/"))


@pytest.mark.parametrize(
    "request_",
    [http_scope("/"), {**http_scope("/"), "state": None}, environ()],
    ids=["scope", "scope without state", "environ"],
)
def test_without_the_middleware_it_says_so(request_):
    with pytest.raises(ClientMisused, match="LuminMiddleware"):
        lumin(request_)


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (None, "None"),
        ({}, "of the type dict"),
        ("/page", "of the type str"),
        (Request, "the class Request"),
        (FastAPI(), "of the type FastAPI"),
        (SimpleNamespace(scope="page", environ=None), "of the type SimpleNamespace"),
    ],
    ids=["None", "empty", "text", "class", "application", "object"],
)
def test_what_is_no_request_is_told(thing, kind):
    for look in (lumin, lumin.optional):
        with pytest.raises(ClientMisused, match=f"this is {kind}, and no request"):
            look(thing)


def test_what_flask_has_beside_its_request_is_told():
    with Flask(__name__).app_context(), pytest.raises(ClientMisused, match="no request"):
        lumin(g)


def test_fastapi_sees_one_parameter_which_it_fills_itself():
    """A parameter of another type would be read from the query."""
    request, signed_in = inspect.signature(lumin).parameters.values()
    assert request.annotation is HTTPConnection
    assert signed_in.default.dependency() is None


def test_fastapis_document_says_that_a_sign_in_is_needed():
    app = FastAPI(responses=lumin.responses)

    @app.get("/")
    async def whose(client: SignedIn) -> None:
        """Needs somebody."""

    document = app.openapi()
    operation = document["paths"]["/"]["get"]
    assert operation["security"] == [{"Lumin": []}]
    assert {"401", "403"} <= operation["responses"].keys()
    assert "422" not in operation["responses"]
    scheme = document["components"]["securitySchemes"]["Lumin"]
    assert scheme["in"] == "cookie"
    assert fnmatchcase(config().session_cookie, scheme["name"])
    assert fnmatchcase(config(redirect_uri="https://other.example/cb").session_cookie, scheme["name"])
    assert "`cookie_name`" in scheme["description"]


def test_it_works_as_a_dependency_of_fastapi(lumin_config, signed_in):
    app = FastAPI()
    app.add_middleware(LuminMiddleware, config=lumin_config)

    @app.get("/")
    async def whose(client: SignedIn) -> Any:
        return (await client.get("user/info")).json()

    @app.get("/thread")
    def in_a_thread(client: SignedIn) -> str | None:
        return client.subject

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, client: SignedIn) -> None:
        await websocket.accept()
        await websocket.send_text(client.subject or "")
        await websocket.close()

    app.openapi()
    client = signed_in(app)
    person = client.get("/").json()["user"]["id"]
    assert client.get("/thread").json() == person
    with client.websocket_connect("wss://testserver/ws") as connection:
        assert connection.receive_text() == person


def test_fastapi_may_ask_for_somebody_or_nobody(lumin_config, signed_in):
    app = FastAPI()
    app.add_middleware(LuminMiddleware, config=replace(lumin_config, optional=["/maybe"]))

    @app.get("/")
    async def home() -> None:
        """Needs somebody."""

    @app.get("/maybe")
    async def whose(client: Annotated[AsyncLuminClient | None, Depends(lumin.optional)]) -> str | None:
        return client.subject if client else None

    assert app.openapi()["paths"]["/maybe"]["get"]["security"] == [{"Lumin": []}]
    assert "422" not in app.openapi()["paths"]["/maybe"]["get"]["responses"]
    with TestClient(app, base_url="https://testserver") as stranger:
        answer = stranger.get("/maybe")
        assert (answer.status_code, answer.json()) == (200, None)
    assert signed_in(app).get("/maybe").json()
