"""How does an application test what it does for whoever is signed in?

With pytest fixtures on the emulator, a fake for unit tests, and the contract of stores. pytest finds the fixtures by
itself. Nothing is imported before a fixture asks for it.

    def test_home(lumin_config, signed_in):
        client = signed_in(LuminMiddleware(app, lumin_config))
        assert client.get("/").status_code == 200
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..config import LuminConfig
    from ..emulator import Emulator
    from ..stores.contract import SharedStoreContract as SharedStoreContract
    from ..stores.contract import StoreContract as StoreContract
    from ..stores.contract import opened as opened
    from .clients import SignIns as SignIns
    from .fake import FakeLumin as FakeLumin
    from .fake import fake_lumin as fake_lumin

REDIRECT_URI = "https://testserver/auth/callback"
"""The callback of a site whose tests use Starlette's `TestClient`."""


@pytest.fixture
def lumin_emulator() -> Iterator[Emulator]:
    """A local Lumin on a free loopback port, with one client for `lumin_config`.

    What a test can do with it: `faults.add("/oauth2/token", status=503, times=None)` (paths with `*`; `delay`, `drop`),
    `revoke_all()` and `expire_access_tokens()`, `calls` and `calls_to("/v1/user/info")` (each with `method`, `path`,
    `query`, `headers`, `form`, `status`), `users`, `signature_requests`, `rotate_keys()`, `clock_skew`.
    """
    from ..emulator import Client, serve

    if find_spec("uvicorn") is None:
        pytest.fail("the local Lumin is served by uvicorn: pip install 'lumin-middleware[testing]'", pytrace=False)
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
    from ..config import AuthorizationServer, LuminConfig

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
    from ..environment import ENVIRONMENT

    values = {
        "LUMIN_CLIENT_ID": lumin_config.client_id,
        "LUMIN_CLIENT_SECRET": str(lumin_config.client_secret),
        "LUMIN_REDIRECT_URI": lumin_config.redirect_uri,
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
        "LUMIN_AUTH_URL": lumin_config.server.issuer,
        "LUMIN_API_URL": lumin_config.api_url,
        "LUMIN_STORE": "memory://",
    }
    for name in ENVIRONMENT:  # what whoever runs the tests has set for a site of their own
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def signed_in(lumin_emulator: Emulator, lumin_config: LuminConfig) -> Iterator[SignIns]:
    """Makes clients that are signed in: `signed_in(app, path="/", person=…, claims=…, scope=…, expires_in=…)`.

    For an ASGI application the client is Starlette's `TestClient`, inside the application's lifespan; for a WSGI
    application (Flask, Django, bare) an `httpx2.Client`; a `django.test.Client` is signed in itself. Each has the
    session's cookies. `path` is a protected page. A `LuminMiddleware` with the settings of another Lumin, as of an
    application that was made when its module was imported, has those of this one for as long as the test takes.

    `person` is somebody at the emulator, by `sub`, e-mail address or name, or a new `lumin_middleware.emulator.User`;
    without it the first. `claims` are put into their ID tokens besides, and None takes one away. They grant all that
    the site asks for, or `scope`, a part of it. `expires_in` is how many seconds the access token lives. Raises
    `ValueError` for somebody who is not there, for a scope that nobody is asked for, for an `expires_in` that is no
    number, and for `claims` where the test has set `forge_id_token`.
    """
    from .clients import SignIns

    with ExitStack() as stack:
        yield SignIns(lumin_emulator, lumin_config, stack)


if not TYPE_CHECKING:  # which would have whatever it does not know be anything

    def __getattr__(name: str) -> Any:
        # What nobody needs who uses the fixtures alone.
        if name in ("StoreContract", "SharedStoreContract", "opened"):
            from ..stores import contract

            return getattr(contract, name)
        if name == "SignIns":
            from .clients import SignIns

            return SignIns
        if name in ("FakeLumin", "fake_lumin"):
            from . import fake

            return getattr(fake, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
