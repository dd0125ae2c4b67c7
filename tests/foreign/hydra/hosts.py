"""Hosts of one site before Hydra: uvicorn with workers, as the storm has them, and people with connections to both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.site_rig import REDIRECT_URI
from tests.storm import rig

from .server import Hydra


class BeforeHydra:
    """Hydra as the storm sees an authorization server. `lifetime` is that of access tokens, in seconds."""

    def __init__(self, hydra: Hydra, lifetime: int) -> None:
        self.hydra = hydra
        self.lifetime = float(lifetime)
        self._client = hydra.register([REDIRECT_URI], lifetime=f"{lifetime}s")

    def environment(self) -> Mapping[str, str]:
        return {
            "LUMIN_CLIENT_ID": self._client["client_id"],
            "LUMIN_CLIENT_SECRET": self._client["client_secret"],
            "LUMIN_AUTH_URL": self.hydra.base,
            "LUMIN_API_URL": self.hydra.api_url,
        }

    def sign_in(self, authorization_url: str, **decisions: object) -> str:
        return self.hydra.sign_in(authorization_url, **decisions)

    def refreshes(self) -> int:
        """How often the token endpoint answered."""
        return sum(path == "/oauth2/token" for _, path, _ in self.hydra.requests())

    def reuse_events(self) -> int:
        """How often it refused."""
        return sum(path == "/oauth2/token" and status != 200 for _, path, status in self.hydra.requests())


def environments(grantor: BeforeHydra, directory: Path, combination: str, redis_url: str) -> list[dict[str, str]]:
    """What the workers of two hosts are told: they share Redis and the keys, and no folder."""
    told = rig.environment(grantor, directory, combination, redis_url, timeout=10)
    hosts = []
    for name in ("one", "two"):
        (directory / name).mkdir()
        hosts.append({**told, "XDG_STATE_HOME": str(directory / name)})
    return hosts
