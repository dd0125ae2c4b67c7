"""What an engine is to do, in terms that nginx and Caddy share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import LuminConfig
from .snippets import quoted


@dataclass(frozen=True, slots=True)
class Plan:
    """A proxy at `host` and `port` before the service at `upstream`, asking our workers at `auth`.

    `cache` and `timeout` are in seconds; `certificate` is the files of a chain and its key, or `issuer` gives one.
    `balancers` stand before the proxy, and are believed of where a request comes from. They are those that the settings
    trust at first: our workers come to trust the proxy itself, which says nothing of who connects to it.
    """

    config: LuminConfig
    upstream: str
    host: str
    port: int
    auth: str = ""
    folder: Path = Path()
    cache: int = 0
    workers: int = 1
    timeout: float = 60.0
    pass_user_headers: bool = False
    pass_host: bool = True
    certificate: tuple[str, str] | None = None
    issuer: str = ""
    balancers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.balancers is None:
            object.__setattr__(self, "balancers", tuple(self.config.trusted_proxies))


def certificate_files(plan: Plan) -> tuple[str, str] | None:
    """The files of the chain and of its key, as nginx and Caddy read them."""
    if plan.certificate is None:
        return None
    chain, key = plan.certificate
    return quoted("certificate", chain), quoted("certificate", key)
