"""For the tests of an application: pytest fixtures on the emulator, and the contract of stores.

pytest finds the fixtures by itself. Nothing is imported before a fixture asks for it.

    def test_home(lumin_config, signed_in):
        client = signed_in(LuminMiddleware(app, lumin_config))
        assert client.get("/").status_code == 200
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from .config import LuminConfig
    from .emulator import Emulator

REDIRECT_URI = "https://testserver/auth/callback"
"""The callback of a site whose tests use Starlette's `TestClient`."""


@pytest.fixture
def lumin_emulator() -> Iterator[Emulator]:
    """A local Lumin on a free loopback port, with one client for `lumin_config`."""
    from .emulator import Client, serve

    client = Client(
        client_id="test",
        client_secret=secrets.token_urlsafe(32),
        redirect_uris=(REDIRECT_URI,),
        token_endpoint_auth_method="client_secret_post",
        scope="openid offline_access sign:requests sign:requests.read templates workspaces.read",
    )
    with serve(clients=[client]) as running:
        yield running.emulator


@pytest.fixture
def lumin_config(lumin_emulator: Emulator) -> LuminConfig:
    """Settings for that emulator; `dataclasses.replace` changes some of them."""
    from .config import AuthorizationServer, LuminConfig

    client = lumin_emulator.clients["test"]
    return LuminConfig(
        client_id=client.client_id,
        client_secret=client.client_secret,
        redirect_uri=REDIRECT_URI,
        secret_key=secrets.token_bytes(32),
        server=AuthorizationServer.at(lumin_emulator.base),
        api_url=f"{lumin_emulator.base}/v1",
        store="memory://",
    )


@pytest.fixture
def lumin_environment(lumin_config: LuminConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings as environment variables, for an application that reads them at its start."""
    values = {
        "LUMIN_CLIENT_ID": lumin_config.client_id,
        "LUMIN_CLIENT_SECRET": str(lumin_config.client_secret),
        "LUMIN_REDIRECT_URI": lumin_config.redirect_uri,
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
        "LUMIN_AUTH_URL": lumin_config.server.issuer,
        "LUMIN_API_URL": lumin_config.api_url,
        "LUMIN_STORE": "memory://",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def _client_class() -> type[TestClient]:
    from starlette.testclient import TestClient

    class SignedInClient(TestClient):
        """`TestClient` takes a WebSocket for insecure, and keeps the cookies of a secure site from it."""

        def websocket_connect(self, url: str, *args: Any, **options: Any) -> Any:
            headers = dict(options.pop("headers", None) or {})
            headers.setdefault("cookie", "; ".join(f"{each.name}={each.value}" for each in self.cookies.jar))
            return super().websocket_connect(url, *args, headers=headers, **options)

    return SignedInClient


def _open(app: Any, stack: ExitStack) -> Any:
    """A client of an application, inside its lifespan if it has one; of httpx2's kind on both edges."""
    from .wsgi import LuminMiddleware

    if isinstance(app, LuminMiddleware) or _is_wsgi(app):
        import httpx2

        stack.callback(getattr(app, "close", lambda: None))
        transport = httpx2.WSGITransport(app=getattr(app, "wsgi_app", app))
        return stack.enter_context(httpx2.Client(transport=transport, base_url="https://testserver"))
    return stack.enter_context(_client_class()(app, base_url="https://testserver", follow_redirects=False))


def _is_wsgi(app: Any) -> bool:
    from .asgi import parameters

    return parameters(app) == 2


@pytest.fixture
def signed_in(lumin_emulator: Emulator) -> Iterator[Callable[..., Any]]:
    """Makes clients that are signed in: `signed_in(app, path="/", sub=…, scope=…)`.

    For an ASGI application the client is Starlette's `TestClient`, inside the application's lifespan; for a WSGI
    application (Flask, Django, bare) an `httpx2.Client`. Either has the session's cookies. `path` is a protected page;
    the person is the emulator's first, or `sub`, who grants all or `scope`.
    """
    with ExitStack() as stack:

        def sign_in(app: Any, *, path: str = "/", **person: Any) -> Any:
            client = _open(app, stack)
            begun = client.get(path, headers={"accept": "text/html"})
            if begun.status_code != 303:
                raise AssertionError(f"{path} answered {begun.status_code} and not with a sign-in; is it protected?")
            location = begun.headers["location"]
            redirect_uri = urlsplit(parse_qs(urlsplit(location).query)["redirect_uri"][0])
            client.base_url = f"{redirect_uri.scheme}://{redirect_uri.netloc}"
            done = client.get(lumin_emulator.sign_in(location, **person), headers={"accept": "text/html"})
            if done.status_code != 303 or not client.cookies:
                raise AssertionError(f"the callback answered {done.status_code}: {done.text}")
            client.headers["origin"] = f"{redirect_uri.scheme}://{redirect_uri.netloc}"
            return client

        yield sign_in


def __getattr__(name: str) -> Any:
    # The contract of stores, imported only by those who test one.
    if name in ("StoreContract", "SharedStoreContract", "opened"):
        from .stores import contract

        return getattr(contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
