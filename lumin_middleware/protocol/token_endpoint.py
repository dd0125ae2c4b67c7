"""The token endpoint: tokens for a code, tokens for a refresh token; and its companion that takes them back.

Whatever goes there goes past one circuit breaker, once. What an answer means for a sign-in or a session is for
whoever asked to say.
"""

from __future__ import annotations

import logging

from ..config import AuthorizationServer, LuminConfig
from ..errors import AuthorizationServerError
from ..model import AuthorizationCode, TokenSet
from ..ports import World
from .breaker import CircuitBreaker
from .metadata import Metadata
from .oauth import token_set

logger = logging.getLogger("lumin_middleware")


class TokenEndpoint:
    """The endpoints of one authorization server that give and take tokens."""

    def __init__(self, config: LuminConfig, world: World, metadata: Metadata) -> None:
        self.breaker = CircuitBreaker(world.clock)
        self._config = config
        self._world = world
        self._metadata = metadata

    async def redeem(self, code: AuthorizationCode) -> TokenSet:
        """RFC 6749, 4.1.3. Raises `OAuthError` when the server refuses, `AuthorizationServerError` for trouble."""
        now = self._world.clock()
        server = await self._metadata.server()
        found = await self.breaker.call(lambda: self._world.exchange.redeem(server.token_endpoint or "", code))
        return token_set(found, requested=code.transaction.scope, before=None, now=now)

    async def refresh(self, server: AuthorizationServer, tokens: TokenSet) -> TokenSet:
        """RFC 6749, 6, at a server that is known already. Raises the same."""
        now = self._world.clock()
        found = await self.breaker.call(
            lambda: self._world.exchange.refresh(server.token_endpoint or "", tokens.refresh_token or "")
        )
        return token_set(found, requested=self._config.scope, before=tokens, now=now)

    async def revoke(self, tokens: TokenSet) -> None:
        """RFC 7009, as far as it goes: a server that does not take part delays nobody for long and stops nothing."""
        try:
            endpoint = (await self._metadata.server()).revocation_endpoint
            if endpoint is not None:
                await self._world.exchange.revoke(endpoint, tokens.refresh_token or tokens.access_token)
        except AuthorizationServerError as error:
            logger.warning("Tokens could not be revoked: %s", error)
