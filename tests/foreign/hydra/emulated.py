"""The emulator behind the same verbs as Hydra, over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lumin_middleware.emulator import Client, Emulator, User, serve

from .person import Person
from .serving import new_client

PEOPLE = ("ada", "grace", "hopper", "lovelace")


class Emulated:
    """A running emulator, to which clients are added as to Hydra."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.base = emulator.base
        self.http = new_client()

    def register(self, redirect_uris: list[str], **metadata: Any) -> dict[str, Any]:
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in metadata.items()}
        if given["token_endpoint_auth_method"] != "none":
            given.setdefault("client_secret", secrets.token_urlsafe(24))
        client = Client(client_id=secrets.token_hex(8), redirect_uris=tuple(redirect_uris), **given)
        self.emulator.clients[client.client_id] = client
        return {"client_id": client.client_id, "client_secret": client.client_secret}

    def change(self, client_id: str, *changes: dict[str, Any]) -> None:
        for each in changes:
            value = tuple(each["value"]) if isinstance(each["value"], list) else each["value"]
            name = each["path"].strip("/")
            self.emulator.clients[client_id] = replace(self.emulator.clients[client_id], **{name: value})

    def person(self) -> Person:
        return Person(self.base)

    def new_key(self, kid: str) -> None:
        """A new key that signs from now on; it has a name of its own."""
        self.emulator.rotate_keys()

    def revoke(self, subject: str) -> None:
        self.emulator.revoke_all(sub=subject)


@contextmanager
def emulated(**options: Any) -> Iterator[Emulated]:
    """Serves an emulator in which everybody is known who is known to Hydra's login application."""
    users = [User(sub=name, email=f"{name}@example.com", name=name.title()) for name in PEOPLE]
    with serve(**{"clients": [], "users": users, **options}) as running:
        server = Emulated(running.emulator)
        yield server
        server.http.close()
