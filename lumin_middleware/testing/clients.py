"""Clients that are signed in at the emulator, for the tests of an application of any kind."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload
from urllib.parse import parse_qs, urlsplit

import httpx2
from starlette.testclient import TestClient

from ..asgi import parameters
from ..config import AuthorizationServer, LuminConfig
from ..emulator import Emulator, User
from ..wsgi import LuminMiddleware as WsgiMiddleware
from .inside import lend, middlewares

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..asgi import Application
    from ..emulator.tokens import Forger

C = TypeVar("C")

ORIGIN = "https://testserver"

HTML = {"accept": "text/html"}


class SignedInClient(TestClient):
    """`TestClient` takes a WebSocket for insecure, and keeps the cookies of a secure site from it."""

    def websocket_connect(self, url: str, *args: Any, **options: Any) -> Any:
        headers = dict(options.pop("headers", None) or {})
        headers.setdefault("cookie", "; ".join(f"{each.name}={each.value}" for each in self.cookies.jar))
        return super().websocket_connect(url, *args, headers=headers, **options)


class How(TypedDict, total=False):
    """Who signs in, where, and what they bring (`testing.signed_in`)."""

    path: str
    person: str | User | None
    claims: Mapping[str, Any] | None
    scope: str | None
    expires_in: float | None


class SignIns:
    """Signs people in, and has all that it opened closed with `stack`."""

    def __init__(self, emulator: Emulator, config: LuminConfig, stack: ExitStack) -> None:
        self._emulator = emulator
        self._config = config
        self._stack = stack
        self._borrowers: list[Any] = []
        self._claims: dict[str, Mapping[str, Any]] = {}
        self._forger = self._forge()

    @overload
    def __call__(self, app: WSGIApplication, **how: Unpack[How]) -> httpx2.Client: ...
    @overload
    def __call__(self, app: Application, **how: Unpack[How]) -> TestClient: ...
    @overload
    def __call__(self, app: C, **how: Unpack[How]) -> C: ...
    def __call__(
        self,
        app: Any,
        *,
        path: str = "/",
        person: str | User | None = None,
        claims: Mapping[str, Any] | None = None,
        scope: str | None = None,
        expires_in: float | None = None,
    ) -> Any:
        """A client of the application, with somebody signed in. `testing.signed_in` says what the rest is."""
        if not isinstance(expires_in, int | float | None):
            raise ValueError(f"expires_in={expires_in!r} must be a number of seconds")
        client = self._open(app)
        begun = client.get(path, headers=HTML)
        if begun.status_code != 303:
            raise AssertionError(
                f"{path} answered {begun.status_code} and not with a sign-in; is it protected? Name a protected page "
                "with path="
            )
        location = begun.headers["location"]
        self._require_this_lumin(location)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        _check_scope(scope, asked["scope"])
        sub = self._person(person)
        self._claim(sub, claims)
        redirect_uri = urlsplit(asked["redirect_uri"])
        origin = f"{redirect_uri.scheme}://{redirect_uri.netloc}"
        callback = self._emulator.sign_in(location, sub=sub, scope=scope)
        with _lifetime(self._emulator, expires_in):
            done = _return(client, origin, callback)
        if done.status_code != 303 or not client.cookies:
            raise AssertionError(f"the callback answered {_words(done)}")
        return client

    # --- kinds of applications ---

    def _open(self, app: Any) -> Any:
        """A client; for ASGI inside the application's lifespan."""
        if any(each.__module__ == "django.test.client" for each in type(app).__mro__):  # REST framework's is one, too
            from .django_client import guard

            guard(app, self._at_emulator, self._stack)
            return app
        borrowers = lend(app, self._here, self._stack)
        self._borrowers += borrowers
        found = (getattr(each, "config", None) for each in middlewares(app))
        origin = next((config.origin for config in found if config is not None), ORIGIN)
        if isinstance(app, WsgiMiddleware) or parameters(app) == 2:
            served = getattr(app, "wsgi_app", app)  # of a Flask application
            self._stack.callback(getattr(served, "close", lambda: None))
            for each in borrowers:
                self._stack.callback(each.close)
            transport = httpx2.WSGITransport(app=served)
            return self._stack.enter_context(httpx2.Client(transport=transport, base_url=origin))
        client = self._stack.enter_context(SignedInClient(app, base_url=origin, follow_redirects=False))
        assert client.portal is not None  # it is open
        for each in self._borrowers:  # on the loop of this client: no lifespan reaches what is mounted
            self._stack.callback(client.portal.call, each.aclose)
        return client

    def _here(self, config: LuminConfig) -> LuminConfig:
        """The same settings, if they are those of a site of this emulator; else with it as Lumin."""
        server, client = config.server, self._emulator.clients.get(config.client_id)
        is_here = f"{server.authorization_endpoint or server.issuer}/".startswith(f"{self._emulator.base}/")
        if is_here and client is not None and client.check_client_secret(config.client_secret):
            return config
        return self._at_emulator(config)

    def _require_this_lumin(self, location: str) -> None:
        if not location.startswith(f"{self._emulator.base}/"):
            raise ValueError(
                f"the application sends people to {location.partition('?')[0]}, and the Lumin of this test is at "
                f"{self._emulator.base}: its LuminMiddleware was made with other settings, and is too deep in it to be "
                "given these. Make it with lumin_config, or import the application's module anew in each test."
            )

    def _at_emulator(self, config: LuminConfig) -> LuminConfig:
        """The same settings, with the emulator as Lumin, which gets to know the site."""
        client = self._emulator.clients[self._config.client_id]
        self._emulator.clients[client.client_id] = replace(
            client,
            redirect_uris=(*client.redirect_uris, config.redirect_uri),
            scope=f"{client.scope} {config.scope}",
            token_endpoint_auth_method=config.token_endpoint_auth_method,
        )
        return replace(
            config,
            client_id=client.client_id,
            client_secret=client.client_secret,
            server=AuthorizationServer.at(self._emulator.base),
            api_url=self._config.api_url,
            store="memory://",
        )

    # --- who it is ---

    def _person(self, person: str | User | None) -> str:
        people = self._emulator.users
        if isinstance(person, User):
            people.setdefault(person.sub, person)
            return person.sub
        if person is None:
            return next(iter(people))
        for each in people.values():
            if person in (each.sub, each.email, each.name):
                return each.sub
        known = ", ".join(each.email for each in people.values())
        raise ValueError(f"nobody at the emulator is {person!r}; there are {known}. A new one is a `User`.")

    def _claim(self, sub: str, claims: Mapping[str, Any] | None) -> None:
        """What ID tokens of this person say besides, at the sign-in and at each renewal."""
        self._claims[sub] = claims or {}
        if not claims or self._emulator.forge_id_token is self._forger:
            return
        if self._emulator.forge_id_token is not None:
            raise ValueError("`claims` would be ignored: the test has set `forge_id_token`, which makes the ID tokens")
        self._emulator.forge_id_token = self._forger

    def _forge(self) -> Forger:
        from joserfc import jwt

        def forge(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
            said = {**claims, **self._claims.get(claims["sub"], {})}
            kept = {name: value for name, value in said.items() if value is not None}
            return jwt.encode(header, kept, key, algorithms=[header["alg"]])

        return forge


@contextmanager
def _lifetime(emulator: Emulator, seconds: float | None) -> Iterator[None]:
    """Access tokens that are issued meanwhile live for so many seconds."""
    lifetimes = emulator.grants.lifetimes
    before = lifetimes["access_token"]
    lifetimes["access_token"] = before if seconds is None else seconds
    try:
        yield
    finally:
        lifetimes["access_token"] = before


def _check_scope(scope: str | None, asked: str) -> None:
    unknown = set((scope or "").split()) - set(asked.split())
    if unknown:
        names = " ".join(sorted(unknown))
        raise ValueError(f"the site asks for {asked!r}, so that nobody can grant {names!r}; see LuminConfig(scope=…)")


def _return(client: Any, origin: str, callback: str) -> Any:
    """The browser comes back, and is then at home at the site's origin."""
    if hasattr(client, "base_url"):
        client.base_url = origin
        client.headers["origin"] = origin
        return client.get(callback, headers=HTML)
    return client.get(callback.removeprefix(origin), headers=HTML)


def _words(response: Any) -> str:
    """The status, the reason, and what a person reads of an answer: a page begins with its style."""
    text = str(getattr(response, "text", None) or response.content.decode())
    reason = re.search(r'class="reference">(\w+)', text)  # as our pages show it
    read = re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(head|style|script)\b.*?</\1>", "", text))
    status = f"{response.status_code} ({reason[1]})" if reason else str(response.status_code)
    return f"{status}: {' '.join(html.unescape(read).split())}"
