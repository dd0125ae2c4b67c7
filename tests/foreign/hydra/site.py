"""A site before a Hydra: the applications of tests/edges behind one edge of the middleware."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

from lumin_middleware import AuthorizationServer
from tests.acceptance.harness import Raw
from tests.edges import rig
from tests.site_rig import ORIGIN, REDIRECT_URI

from .person import Person
from .server import Hydra

LIFETIME = 3600  # seconds that an access token lives


class Clock:
    """Real time, and some more."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class HydraSite(rig.Site):
    """A site that is a client of its own at `hydra`. `registered` are changes to the client.

    `like` is another process of the same site: store and keys are those of that one.
    """

    def __init__(
        self,
        hydra: Hydra,
        edge: rig.Edge,
        *,
        registered: dict[str, Any] | None = None,
        like: HydraSite | None = None,
        **settings: Any,
    ) -> None:
        self.hydra = hydra
        self.edge = edge
        if like is not None:
            settings = {"store": like.store, "secret_key": like.config.secret_key, **settings}
        method = settings.get("token_endpoint_auth_method", "client_secret_post")
        self.client = hydra.register(
            [REDIRECT_URI],
            token_endpoint_auth_method=method,
            post_logout_redirect_uris=[f"{ORIGIN}/bye"],
            **(registered or {}),
        )
        ours = {
            "client_id": self.client["client_id"],
            "client_secret": self.client["client_secret"],
            "server": AuthorizationServer.at(hydra.base),
            "api_url": hydra.api_url,
            "scope": "openid offline_access sign:requests",
        }
        super().__init__(hydra, Clock(), **(ours | settings))  # type: ignore[arg-type]
        self._visitors: list[Visitor] = []

    def visitor(self) -> Visitor:
        """A person with one browser, for this site and for Hydra."""
        self._visitors.append(Visitor(self))
        return self._visitors[-1]

    async def aclose(self) -> None:
        for visitor in self._visitors:
            visitor.at_hydra.close()
        await super().aclose()

    def expire(self) -> None:
        """Let every access token that was issued so far look expired.

        Hydra's clock does not go along, so that its ID tokens live long (settings.json).
        """
        self.clock.offset += LIFETIME - 5


class Visitor(rig.Browser):
    """A person with one browser. Their tokens are tried at Hydra's userinfo whenever they see a page."""

    def __init__(self, site: HydraSite) -> None:
        super().__init__(site, site.edge)
        self.site: HydraSite = site
        self.at_hydra: Person = site.hydra.person()

    async def sign_in(self, target: str = "/who", **decisions: Any) -> Raw:
        """The whole way; the answer of the callback."""
        return await self.return_from(await self.begin(target), **decisions)

    async def return_from(self, authorization_url: str, **decisions: Any) -> Raw:
        """Go to Hydra and come back: the answer of the callback."""
        return await self.navigate(self.at_hydra.go(authorization_url, **decisions))

    async def who(self) -> dict[str, Any]:
        """What the application says of its visitor, whose token must be alive."""
        answer = await self.fetch("GET", "/who")
        assert answer.status == 200, (answer.status, answer.body)
        await self.token()
        said: dict[str, Any] = json.loads(answer.body)
        return said

    async def token(self) -> str:
        """The access token that the application gets; it must be alive."""
        answer = await self.fetch("GET", "/token")
        assert answer.status == 200, (answer.status, answer.body)
        token = answer.body.decode()
        assert self.site.hydra.is_alive(token), "the application was given a dead token"
        return token

    async def session(self) -> dict[str, Any]:
        """What the session route says."""
        answer = await self.fetch("GET", "/auth/session")
        assert answer.status == 200, (answer.status, answer.body)
        said: dict[str, Any] = json.loads(answer.body)
        return said

    async def is_signed_in(self) -> bool:
        """Whether the site knows them. A 503 is neither, and fails."""
        answer = await self.fetch("GET", "/who")
        assert answer.status in (200, 401), (answer.status, answer.body)
        if answer.status == 200:
            await self.token()
        return answer.status == 200


def path(url: str) -> str:
    """Path and query of a URL."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
