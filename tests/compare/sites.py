"""Sites to be measured: a peer on one host or two, a client of the provider."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.foreign.hydra.program import Unavailable
from tests.proxies.rig import LOOPBACK, free_port
from tests.tabs import Browser

from .peers import Bare, Peer
from .provider import Provider, Registered
from .starts import Place

NOBODY = Registered("", "", "", "", 0)


@dataclass(frozen=True)
class Surroundings:
    """What all sites have around them."""

    provider: Provider
    folder: Path
    redis: str
    missing: dict[str, str] = field(default_factory=dict)
    """Why something cannot be had here, by its name."""


@dataclass(frozen=True)
class Site:
    """A running one. The first of its `hosts` is the one that browsers know."""

    peer: Peer | Bare
    client: Registered
    hosts: tuple[str, ...]
    pids: tuple[int, ...]
    provider: Provider

    @property
    def name(self) -> str:
        return self.peer.name

    def browser(self) -> Browser:
        return self.provider.browser(self.hosts[0])

    def refreshes(self) -> tuple[int, int]:
        return self.provider.refreshes(self.client)


@contextmanager
def bares(around: Surroundings, wanted: Iterable[Bare]) -> Iterator[dict[str, Site]]:
    """Those without a sign-in, by name."""
    with ExitStack() as stack:
        yield dict(_started(around, stack, [(bare, NOBODY, 1, "", "") for bare in wanted]))


@contextmanager
def sites(
    around: Surroundings, wanted: Iterable[Peer], service: str, *, lifetime: int, hosts: int = 1, large: bool = False
) -> Iterator[dict[str, Site]]:
    """Peers, by name. `lifetime` of access tokens is in seconds, `service` what proxies stand before."""
    with ExitStack() as stack:
        asked = []
        for peer in wanted:
            port = free_port()
            origin = f"http://{LOOPBACK}:{port}"
            client = around.provider.register(f"{origin}/auth/callback", lifetime=lifetime, large=large)
            asked.append((peer, client, hosts, origin, service))
        yield dict(_started(around, stack, asked))


def _started(
    around: Surroundings, stack: ExitStack, asked: Iterable[tuple[Peer | Bare, Registered, int, str, str]]
) -> Iterator[tuple[str, Site]]:
    for peer, client, hosts, origin, service in asked:
        first = int(origin.rpartition(":")[2]) if origin else free_port()
        (folder := around.folder / secrets.token_hex(4)).mkdir()
        folder.chmod(0o755)  # Apache's workers are somebody else
        needs_redis = hosts > 1 or getattr(peer, "needs_redis", False)
        secret, running = secrets.token_urlsafe(32), list[tuple[str, tuple[int, ...]]]()
        try:
            for port in (first, *(free_port() for _ in range(hosts - 1))):
                place = Place(client, origin, port, folder, secret, service, shared=around.redis if needs_redis else "")
                running.append((f"http://{LOOPBACK}:{port}", stack.enter_context(peer.start(place))))
        except Unavailable as unavailable:
            around.missing[peer.name] = str(unavailable)
            continue
        addresses = tuple(address for address, _ in running)
        pids = tuple(pid for _, each in running for pid in each)
        yield peer.name, Site(peer, client, addresses, pids, around.provider)
