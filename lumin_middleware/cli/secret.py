"""`lumin-middleware secret`."""

from __future__ import annotations

import secrets

import typer


def secret() -> None:
    """Print a new secret key: 32 random bytes, for LUMIN_SECRET_KEY."""
    typer.echo(secrets.token_urlsafe(32))
