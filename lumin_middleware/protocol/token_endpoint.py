"""The token endpoint: tokens for a code, tokens for a refresh token; and its companion that takes them back.

Whatever goes there goes past a circuit breaker, once. Codes and refresh tokens have one each, since anybody can bring
a code: what strangers are answered stops no renewal. What an answer means for a sign-in or a session is for whoever
asked to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError, OAuthError
from ..events import ClientRejected, ServerTrouble, note
from ..journal import once, say
from ..model import AuthorizationCode, TokenSet
from ..ports import World
from .breaker import CircuitBreaker, CircuitOpen
from .client_secret import ClientSecret
from .metadata import Metadata
from .oauth import token_set
from .patience import patiently

_KNEW_US = frozenset({"invalid_grant", "invalid_scope", "unauthorized_client", "access_denied"})
"""The errors that a server gives only to a client that it has recognized (RFC 6749, 5.2)."""


class TokenEndpoint:
    """The endpoints of one authorization server that give and take tokens."""

    def __init__(self, config: LuminConfig, world: World, metadata: Metadata) -> None:
        self.codes = CircuitBreaker(world.clock, lambda: self._silent("codes"))
        self.refreshes = CircuitBreaker(world.clock, lambda: self._silent("refresh tokens"))
        self._secret = ClientSecret(world.clock)
        self._config = config
        self._world = world
        self._metadata = metadata
        self._once = once(world.clock)

    def _silent(self, kind: str) -> None:
        note(self._world, ServerTrouble(reason="circuit_open"), asked_for=kind)

    async def admit_code(self) -> None:
        """Raises `CircuitOpen` where `redeem` would hold a code back for longer than people wait."""

        async def check() -> None:
            self.codes.check()

        await patiently(self._world, self._config.timeout, check, CircuitOpen)

    async def redeem(self, code: AuthorizationCode) -> TokenSet:
        """RFC 6749, 4.1.3. Raises `OAuthError` when the server refuses, `AuthorizationServerError` for trouble."""
        endpoint = (await self._metadata.server()).token_endpoint or ""

        async def ask() -> TokenSet:
            now = self._world.clock()
            found = await self._ask(lambda: self._world.exchange.redeem(endpoint, code))
            return token_set(found, requested=code.transaction.scope, before=None, now=now)

        # What the breaker held back was not sent, and may be tried again; nothing else ever is.
        tokens = await patiently(
            self._world, self._config.timeout, lambda: self.codes.call(code.code, ask), CircuitOpen
        )
        self._warn_of_no_refresh_token(tokens)
        return tokens

    async def refresh(self, server: AuthorizationServer, tokens: TokenSet) -> TokenSet:
        """RFC 6749, 6, at a server that is known already. Raises the same."""
        endpoint, refresh_token = server.token_endpoint or "", tokens.refresh_token or ""
        now = self._world.clock()
        found = await self.refreshes.call(
            refresh_token, lambda: self._ask(lambda: self._world.exchange.refresh(endpoint, refresh_token))
        )
        return token_set(found, requested=self._config.scope, before=tokens, now=now)

    async def _ask(self, operation: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
        """What the endpoint answers, while it is noted what that says of our secret."""
        try:
            found = await operation()
        except OAuthError as error:
            if error.error == "invalid_client":
                self._secret.refused()
                self._world.tell(ClientRejected(reason="invalid_client", at=self._world.clock()))
            elif error.error in _KNEW_US:
                self._secret.worked()
            raise
        self._secret.worked()
        return found

    def _warn_of_no_refresh_token(self, tokens: TokenSet) -> None:
        if tokens.refresh_token is None:
            self._once.say("no_refresh_token", granted=" ".join(tokens.scope))

    async def revoke(self, tokens: TokenSet) -> None:
        """RFC 7009, as far as it goes: a server that does not take part delays nobody for long and stops nothing."""
        try:
            endpoint = (await self._metadata.server()).revocation_endpoint
            if endpoint is not None:
                await self._world.exchange.revoke(endpoint, tokens.refresh_token or tokens.access_token)
        except AuthorizationServerError as error:
            say("revocation_failed", error=error)
