"""At which everybody signs in: a real Hydra on PostgreSQL where there is Go, else the emulator."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from lumin_middleware.emulator import Client, Emulator, serve
from tests import tabs
from tests.foreign.hydra import tabs as hydra_tabs
from tests.foreign.hydra.program import Unavailable, version
from tests.foreign.hydra.server import SCOPE, Hydra
from tests.foreign.hydra.serving import CLIENT
from tests.postgres_server import Postgres

from .visitor import cookies

LARGE = 6000
"""Characters of a large access token."""


@dataclass(frozen=True)
class Registered:
    """A client, and where it signs people in. `lifetime` of its access tokens is in seconds."""

    issuer: str
    api_url: str
    client_id: str
    client_secret: str
    lifetime: int


class Provider(Protocol):
    """`name` is for the page. `refreshes` counts what the token endpoint was asked, and refused, so far."""

    name: str

    def register(self, redirect_uri: str, *, lifetime: int, large: bool = False) -> Registered: ...

    def browser(self, origin: str) -> tabs.Browser: ...

    def refreshes(self, client: Registered) -> tuple[int, int]: ...

    def new_key(self) -> None: ...


class AtHydra:
    """Hydra says which requests it answered, but not whose: nobody else may be at it meanwhile."""

    def __init__(self, hydra: Hydra) -> None:
        self._hydra = hydra
        self._keys = 0
        self.name = f"Ory Hydra {version()} on PostgreSQL"

    def register(self, redirect_uri: str, *, lifetime: int, large: bool = False) -> Registered:
        more: dict[str, Any] = {"access_token_strategy": "jwt"} if large else {}
        client = self._hydra.register([redirect_uri], lifetime=f"{lifetime}s", **more)
        if large:
            self._hydra.application.padding[client["client_id"]] = (
                LARGE * 3 // 4 - 500
            )  # base64, and what else is in it
        return Registered(self._hydra.base, self._hydra.api_url, client["client_id"], client["client_secret"], lifetime)

    def browser(self, origin: str) -> tabs.Browser:
        lumin = (self._hydra.base, self._hydra.application.base)
        browser = hydra_tabs.Browser({}, lumin, **{**CLIENT, "cookies": cookies()})
        browser.origin = origin
        return browser

    def refreshes(self, client: Registered) -> tuple[int, int]:
        asked = [status for _, path, status in self._hydra.requests() if path == "/oauth2/token"]
        return len(asked), sum(status != 200 for status in asked)

    def new_key(self) -> None:
        self._keys += 1
        self._hydra.new_key(f"new-{self._keys}")


class Emulated:
    """An emulator for each client, so that each has the tokens that it asks for."""

    name = "the emulator of this project, as there is no Go here to build Hydra with"

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._emulators: dict[str, Emulator] = {}

    def register(self, redirect_uri: str, *, lifetime: int, large: bool = False) -> Registered:
        client = Client(
            client_id=secrets.token_hex(8),
            client_secret=secrets.token_urlsafe(32),
            redirect_uris=(redirect_uri,),
            token_endpoint_auth_method="client_secret_post",
            scope=SCOPE,
        )
        more = {"access_token_length": LARGE} if large else {}
        running = self._stack.enter_context(serve(clients=[client], access_token_lifetime=lifetime, **more))
        self._emulators[client.client_id] = running.emulator
        return Registered(running.base, f"{running.base}/v1", client.client_id, client.client_secret, lifetime)

    def browser(self, origin: str) -> tabs.Browser:
        lumin = tuple(emulator.base for emulator in self._emulators.values())
        browser = tabs.Browser({}, lumin, **{**CLIENT, "cookies": cookies()})
        browser.origin = origin
        return browser

    def refreshes(self, client: Registered) -> tuple[int, int]:
        """The tokens that a client was given or not, by code or refresh token."""
        asked = self._emulators[client.client_id].calls_to("/oauth2/token")
        return len(asked), sum(call.status != 200 for call in asked)

    def new_key(self) -> None:
        for emulator in self._emulators.values():
            emulator.rotate_keys()


@contextmanager
def provider(*, real: bool = True) -> Iterator[Provider]:
    """Hydra where it can be had and is wanted, else the emulator."""
    with ExitStack() as stack:
        if real:
            try:
                database = stack.enter_context(Postgres()).new_database("compare")
                yield AtHydra(stack.enter_context(Hydra(database)))
            except Unavailable as unavailable:
                print(unavailable)
            else:
                return
        yield Emulated(stack)
