"""`lumin-middleware secret`."""

from __future__ import annotations

import secrets


def secret() -> None:
    """Print a new secret key: 32 random bytes, for LUMIN_SECRET_KEY."""
    print(secrets.token_urlsafe(32))
