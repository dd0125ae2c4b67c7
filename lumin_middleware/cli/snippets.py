"""`lumin-middleware snippets`: settings for a proxy that asks us who may pass."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ConfigurationError
from .terminal import LOOPBACK, PORT, fail, settings


def snippets(
    program: Annotated[str, typer.Argument(help="nginx, caddy or traefik.")],
    auth: Annotated[str, typer.Option(help="Where LuminMiddleware answers.")] = f"http://{LOOPBACK}:{PORT}",
    upstream: Annotated[str, typer.Option(help="The service to protect.")] = f"http://{LOOPBACK}:3000",
) -> None:
    """Print settings for nginx, Caddy or Traefik.

    With them it asks LuminMiddleware who may pass. They are made from the environment's: LUMIN_REDIRECT_URI,
    LUMIN_PUBLIC and their kin.
    """
    from ..gateway.snippets import snippet

    try:
        typer.echo(snippet(program, settings(), auth=auth, upstream=upstream), nl=False)
    except ConfigurationError as error:
        fail(str(error))
