"""What the server says of itself: its discovery document, its keys, its issuer; and whom its tokens name by them.

Read when first needed, never at boot. Only the names that we know are taken, and only from the issuer that was
configured. Where only the base of the server is known, its issuer is learnt from the document there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError, ConfigurationError, ServerUnavailable
from ..journal import say
from ..model import Session, TokenSet
from ..ports import World
from .documents import json_object
from .identity import AnotherIdentity, AnotherIssuer, id_token_claims, logout_token_claims, refreshed_claims
from .kept import Kept, TooEarly
from .oauth import same_issuer
from .signatures import BadSignature, Key, UnknownKey, json_web_keys
from .span import OVER, Span

DISCOVERY_LIFETIME = 86_400.0
"""Seconds: endpoints move with deployments, which are announced."""

KEYS_LIFETIME = 3_600.0
"""Seconds: a key that was withdrawn is not believed for longer, if the keys can be read. While they cannot, those that
were read last go on: that nobody could sign in would be worse."""

CODE_LIFETIME = 600.0
"""Seconds that a code may live (RFC 6749, 4.1.2), and the name of a key that was replaced in its ID token."""

WELL_KNOWN = "/.well-known/openid-configuration"
"""Where the document lies, below the issuer (OpenID Connect Discovery 1.0, 4)."""

# Who looks for something newer. A token that the token endpoint gave is the server's own; a logout token is
# anybody's, and so is what a browser brings.
_OWN, _ANYBODYS = "the server's", "anybody's"


class NotPublished(ServerUnavailable):
    """The server answered, and not with this document: it may have none."""


class Metadata:
    """The server's endpoints, keys and issuer."""

    def __init__(self, server: AuthorizationServer, world: World) -> None:
        self._configured = server
        self._known = server
        self._world = world
        self._server = Kept("discovery", self._discover, DISCOVERY_LIFETIME, world)
        self._keys = Kept("keys", self._read_keys, KEYS_LIFETIME, world)
        self._former: list[Key] = []
        self._change = OVER
        self._at_base = Kept("issuer", self._read_at_base, KEYS_LIFETIME, world)

    async def server(self) -> AuthorizationServer:
        """The server with its endpoints. Raises `ServerUnavailable` or `AuthorizationServerError`."""
        return await self._server.get() if self._configured.discovery else self._known

    async def keys(self) -> list[Key]:
        """The keys that the server signs with. Raises `ServerUnavailable` or `AuthorizationServerError`."""
        await self.server()  # before, so that its trouble is not taken for the keys'
        return await self._keys.get()

    async def prepare(self, config: LuminConfig) -> None:
        """Has at hand what an ID token will need, before a code is spent for one.

        A server that publishes no keys may give no ID tokens either. Raises `ServerUnavailable` for one that is in
        trouble, and where an ID token is required `AuthorizationServerError` for one without keys.
        """
        try:
            await self.keys()
        except AuthorizationServerError as error:
            has_none = isinstance(error, NotPublished) or not isinstance(error, ServerUnavailable)
            if config.id_token == "required" or not has_none:
                raise

    # --- tokens ---

    async def id_token_claims(self, id_token: str, config: LuminConfig, **expected: Any) -> dict[str, Any]:
        """`identity.id_token_claims` with the server's keys. Raises as `_verified`."""

        def verify(**known: Any) -> dict[str, Any]:
            former = self._former if self._change.left(known["now"]) else []
            return id_token_claims(id_token, config=config, former=former, **known, **expected)

        return await self._verified(verify, _OWN)

    async def refreshed_claims(self, tokens: TokenSet, config: LuminConfig, before: Session) -> dict[str, Any]:
        """The claims that a session has with the tokens of a refresh.

        An ID token that cannot be verified is left aside: the claims stay as they were, and the log says why. Raises
        `AnotherIdentity` alone, for tokens that are not this session's.
        """
        if tokens.id_token is None:
            return dict(before.claims)
        verify = partial(
            refreshed_claims, tokens.id_token, config=config, access_token=tokens.access_token, before=before
        )
        try:
            return await self._verified(verify, _OWN)
        except AnotherIdentity:
            raise
        except AuthorizationServerError as error:
            say("id_token_left_aside", error=error)
            return dict(before.claims)

    async def logout_token_claims(self, logout_token: str, config: LuminConfig) -> dict[str, Any]:
        """`identity.logout_token_claims` with the server's keys. Raises as `_verified`."""
        claims = await self._verified(partial(logout_token_claims, logout_token, config=config), _ANYBODYS)
        if "exp" not in claims:
            say("logout_token_without_exp")
        return claims

    async def _verified(self, verify: Callable[..., dict[str, Any]], whose: str) -> dict[str, Any]:
        """The claims of a token; with the issuer learnt and with newer keys, where it names one that we don't know.

        Raises `ServerUnavailable` when it cannot be verified now, `AuthorizationServerError` when it is wrong.
        """
        server = await self.server()
        keys: list[Key] = []
        trouble: AuthorizationServerError | None = None
        try:
            keys = await self.keys()
        except AuthorizationServerError as error:
            trouble = error  # whom a token names can be seen without
        now = self._world.clock()
        try:
            try:
                return verify(keys=keys, server=server, now=now)
            except AnotherIssuer as error:
                server = await self._called(error, whose)
                return verify(keys=keys, server=server, now=now)
        except UnknownKey as error:
            if trouble is not None:
                raise trouble from None
            try:
                newer = await self._keys.newer(keys, whose)
            except TooEarly:
                if whose is _ANYBODYS and isinstance(error, BadSignature):
                    raise error from None  # a token that anybody could send is refused rather than put off
                raise
            return verify(keys=newer, server=server, now=self._world.clock())

    # --- the issuer ---

    async def server_called(self, issuer: str | None) -> AuthorizationServer:
        """The server, under the issuer that a browser says it has, if that is true (RFC 9207). Raises as `server`."""
        server = await self.server()
        if issuer is None or same_issuer(issuer, server.issuer):
            return server
        with suppress(AuthorizationServerError):
            return await self._called(AnotherIssuer(issuer, server.issuer), _ANYBODYS)
        return server

    async def _called(self, error: AnotherIssuer, whose: str) -> AuthorizationServer:
        """The server, under the issuer that a token names.

        Believed is the document at the server's base, if it names exactly this issuer and the very token endpoint that
        we use. Raises the error itself where there is none that says so, and `ServerUnavailable` where none can be had.
        """
        if not self._configured.learns_issuer:
            raise error
        known = self._at_base.value
        try:
            document = await self._at_base.get()
            if document is known and document["issuer"] != error.issuer:
                document = await self._at_base.newer(document, whose)
            if document != {"issuer": error.issuer, "token_endpoint": self._configured.token_endpoint}:
                raise error
            server = dataclasses.replace(self._configured, issuer=document["issuer"])
        except (NotPublished, TooEarly, ConfigurationError):
            raise error from None
        if server != self._known:
            self._known = server
            say("issuer_learnt", server=f"AuthorizationServer.at({self._configured.base!r}, issuer={server.issuer!r})")
        return server

    async def _read_at_base(self) -> dict[str, Any]:
        document = await self._document(f"{self._configured.base}{WELL_KNOWN}")
        return {name: document.get(name) for name in ("issuer", "token_endpoint")}

    # --- reading ---

    async def _discover(self) -> AuthorizationServer:
        issuer = self._configured.issuer
        document = await self._document(f"{issuer.removesuffix('/')}{WELL_KNOWN}")
        if not same_issuer(document.get("issuer"), issuer):
            say("wrong_issuer", seen=str(document.get("issuer")), expected=issuer)
            raise AuthorizationServerError("the discovery document is another issuer's", "wrong_issuer")
        found = {
            name: document[name]
            for name in AuthorizationServer.ENDPOINTS
            if isinstance(document.get(name), str) and document[name] and getattr(self._configured, name) is None
        }
        # The issuer as the server spells it, and whether it signs its answers with it (RFC 9207, section 3).
        found |= {"issuer": document["issuer"], "discovery": False}
        if document.get("authorization_response_iss_parameter_supported") is True:
            found["authorization_response_iss_parameter_supported"] = True
        try:
            return dataclasses.replace(self._configured, **found)
        except ConfigurationError as error:
            say("bad_discovery", error=error)
            raise AuthorizationServerError("the discovery document cannot be used", "bad_discovery") from None

    async def _read_keys(self) -> list[Key]:
        uri = (await self.server()).jwks_uri
        if uri is None:
            raise AuthorizationServerError("no jwks_uri is known, so no ID token can be verified", "no_keys")
        keys = json_web_keys(await self._document(uri))
        if not keys:
            raise NotPublished("the JWK Set holds no key that can be used")
        before = self._keys.value or []
        if before and {key.thumbprint() for key in keys} != {key.thumbprint() for key in before}:
            self._former, self._change = before, Span(self._world.clock(), CODE_LIFETIME)
        return keys

    async def _document(self, url: str) -> dict[str, Any]:
        answer = await self._world.exchange.fetch(url)
        # Whatever it calls itself: a document that says what it should is one.
        document = json_object(answer.body) if answer.status in (200, 201) else None
        if document is not None:
            return document
        message = f"{url} answered {answer.status}, not a JSON object"
        raise ServerUnavailable(message) if answer.status >= 500 or answer.status == 429 else NotPublished(message)
