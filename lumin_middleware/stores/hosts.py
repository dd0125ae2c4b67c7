"""The hosts of a store's URL. No error repeats one: it may be part of a password that was not encoded."""

from __future__ import annotations

from ..errors import ConfigurationError

CURE = "give one such as db.example.com, whose parts have 1 to 63 letters, digits and hyphens each"


def require_host(host: str) -> None:
    """Raises `ConfigurationError` for one that nobody can look up: Python's `idna`, by which it does, takes no part
    that is empty or longer than 63 characters, and not every character."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigurationError("store", f"names a host that no name server can be asked for; {CURE}") from None
