"""The proxies whose word is taken, and of whom."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

KNOWN_LIMIT = 1000
"""Proxies that are known again by how their address is written, which is sooner done than to read it each time."""


class Proxies:
    """The proxies whose word is taken, by their addresses.

    A peer at a Unix socket has no address, so that nothing it says is believed.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(map(ip_network, networks))
        self._known: set[str] = set()

    def trusts(self, peer: str) -> bool:
        """Whether an address is one of theirs."""
        if peer in self._known:
            return True
        found = address(peer)
        trusted = found is not None and any(found in network for network in self._networks)
        if trusted and len(self._known) < KNOWN_LIMIT:
            self._known.add(peer)
        return trusted

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address that a request came from: the right-most one of `X-Forwarded-For` that no proxy of ours has.

        What stands further left, whoever is there has made up. What is no address ends the search.
        """
        hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
        while hops and self.trusts(peer) and address(hops[-1]) is not None:
            peer = hops.pop()
        return peer


def address(text: str) -> object:
    """The address that a text names; None where it names none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # A socket for both kinds shows an IPv4 peer as ::ffff:192.0.2.1 (RFC 4291, 2.5.5.2).
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
