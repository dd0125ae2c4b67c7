"""What the server says of itself: its discovery document and its keys.

Read when first needed, never at boot; asked for once however many wait; the last good copy stays until
there is a better one. Only the names that we know are taken, and only from the issuer that was configured.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError, ConfigurationError, ServerUnavailable
from ..ports import World
from .identity import Key, UnknownKey, id_token_claims, json_web_keys, logout_token_claims
from .oauth import same_issuer

T = TypeVar("T")

logger = logging.getLogger("lumin_middleware")

DISCOVERY_LIFETIME = 86_400.0
"""Seconds: endpoints move with deployments, which are announced."""

KEYS_LIFETIME = 3_600.0
"""Seconds: a key that was withdrawn is not believed for longer."""

UNKNOWN_KEY_PAUSE = 60.0
"""Seconds between two looks for a key that we don't know; anybody can make such a token."""

TROUBLE_PAUSE = 30.0
"""Seconds that a good old copy is used before the server, which was in trouble, is asked again."""


class Kept(Generic[T]):
    """Something that is read when it is needed, once however many wait, and stays until there is a better one."""

    def __init__(self, name: str, read: Callable[[], Awaitable[T]], lifetime: float, world: World) -> None:
        self.value: T | None = None
        self._name = name
        self._read = read
        self._lifetime = lifetime
        self._world = world
        self._until = float("-inf")
        self._reads = 0
        self._trouble: AuthorizationServerError | None = None

    async def get(self) -> T:
        """The value. Raises what reading it raised, when there is none."""
        if self.value is not None and self._world.clock() < self._until:
            return self.value
        await self.read_again()
        if self.value is None:
            raise self._trouble or ServerUnavailable(f"no {self._name} to be had")
        return self.value

    async def read_again(self) -> None:
        """Reads it, unless somebody else did while we waited for our turn."""
        reads = self._reads
        async with self._world.lock(self._name):
            if self._reads != reads:
                return
            try:
                self.value, lifetime = await self._read(), self._lifetime
            except AuthorizationServerError as error:
                self._trouble, lifetime = error, TROUBLE_PAUSE
            self._reads += 1
            self._until = self._world.clock() + lifetime


class Metadata:
    """The server's endpoints and keys."""

    def __init__(self, server: AuthorizationServer, world: World) -> None:
        self._configured = server
        self._world = world
        self._server = Kept("discovery", self._discover, DISCOVERY_LIFETIME, world)
        self._keys = Kept("keys", self._read_keys, KEYS_LIFETIME, world)
        self._looked_at = float("-inf")

    async def server(self) -> AuthorizationServer:
        """The server with its endpoints. Raises `ServerUnavailable` or `AuthorizationServerError`."""
        return await self._server.get() if self._configured.discovery else self._configured

    async def keys(self) -> list[Key]:
        """The keys that the server signs with. Raises `ServerUnavailable` or `AuthorizationServerError`."""
        return await self._keys.get()

    async def newer_keys(self, keys: list[Key]) -> list[Key]:
        """Newer keys than those, if there are and it is time to look."""
        async with self._world.lock("newer keys"):
            now = self._world.clock()
            if self._keys.value is keys and now >= self._looked_at + UNKNOWN_KEY_PAUSE:
                self._looked_at = now
                await self._keys.read_again()
        return self._keys.value or keys

    async def id_token_claims(self, id_token: str, config: LuminConfig, **expected: Any) -> dict[str, Any]:
        """`identity.id_token_claims` with the server's keys. Raises as `_verified`."""
        return await self._verified(id_token_claims, id_token, config, **expected)

    async def logout_token_claims(self, logout_token: str, config: LuminConfig) -> dict[str, Any]:
        """`identity.logout_token_claims` with the server's keys. Raises as `_verified`."""
        return await self._verified(logout_token_claims, logout_token, config)

    async def _verified(
        self, verify: Callable[..., dict[str, Any]], token: str, config: LuminConfig, **expected: Any
    ) -> dict[str, Any]:
        """The claims of a token; with newer keys if it names one that we don't know.

        Raises `ServerUnavailable` when it cannot be verified now, `AuthorizationServerError` when it is wrong.
        """
        server, keys = await self.server(), await self.keys()
        try:
            return verify(token, keys, config, server, now=self._world.clock(), **expected)
        except UnknownKey:
            newer = await self.newer_keys(keys)
            if newer is keys:
                raise ServerUnavailable(
                    "a token names a key that we don't know; it is too early to ask again"
                ) from None
            return verify(token, newer, config, server, now=self._world.clock(), **expected)

    # --- reading ---

    async def _discover(self) -> AuthorizationServer:
        issuer = self._configured.issuer
        document = await self._document(f"{issuer.removesuffix('/')}/.well-known/openid-configuration")
        if not same_issuer(document.get("issuer"), issuer):
            logger.error(
                "The discovery document is from issuer %r, not %r; set server.issuer if that is right.",
                str(document.get("issuer"))[:200],
                issuer,
            )
            raise AuthorizationServerError("the discovery document is another issuer's", "wrong_issuer")
        found = {
            name: document[name]
            for name in AuthorizationServer.ENDPOINTS
            if isinstance(document.get(name), str) and getattr(self._configured, name) is None
        }
        # The issuer as the server spells it, and whether it signs its answers with it (RFC 9207, section 3).
        found |= {"issuer": document["issuer"], "discovery": False}
        if document.get("authorization_response_iss_parameter_supported") is True:
            found["authorization_response_iss_parameter_supported"] = True
        try:
            return dataclasses.replace(self._configured, **found)
        except ConfigurationError as error:
            logger.error("The discovery document cannot be used: %s", error)
            raise AuthorizationServerError("the discovery document cannot be used", "bad_discovery") from None

    async def _read_keys(self) -> list[Key]:
        uri = (await self.server()).jwks_uri
        if uri is None:
            raise AuthorizationServerError("no jwks_uri is known, so no ID token can be verified", "no_keys")
        keys = json_web_keys(await self._document(uri))
        if not keys:
            raise ServerUnavailable("the JWK Set holds no key that can be used")
        return keys

    async def _document(self, url: str) -> dict[str, Any]:
        answer = await self._world.exchange.fetch(url)
        try:
            document = json.loads(answer.body) if answer.status == 200 else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ServerUnavailable(f"{url} answered {answer.status}, not a JSON object")
        return document
