"""`lumin-middleware snippets`: settings for a proxy that asks us who may pass."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .terminal import LOOPBACK, PORT, fail, settings


class Part(str, Enum):  # noqa: UP042  as the command line reads it on every version
    """The block of nginx's settings that is printed."""

    server = "server"
    http = "http"


SECRETS = ("LUMIN_CLIENT_SECRET", "LUMIN_SECRET_KEY")
"""What no setting of a proxy depends on."""


def snippets(
    program: Annotated[str, typer.Argument(help="nginx, caddy or traefik.")],
    auth: Annotated[str, typer.Option(help="Where LuminMiddleware answers.")] = f"http://{LOOPBACK}:{PORT}",
    upstream: Annotated[str, typer.Option(help="The service to protect.")] = f"http://{LOOPBACK}:3000",
    cache: Annotated[
        int | None,
        typer.Option(
            help="Seconds for which nginx holds who may pass; a sign-out elsewhere is felt that much later. With 0 it"
            " keeps connections alone."
        ),
    ] = None,
    part: Annotated[Part, typer.Option(help="With --cache: the block that is printed. Both are needed.")] = Part.server,
) -> None:
    """Print settings for nginx, Caddy or Traefik.

    With them it asks LuminMiddleware who may pass. They are made from the environment's: LUMIN_REDIRECT_URI,
    LUMIN_PUBLIC and their kin.
    """
    from ..gateway.snippets import Cache, nginx_http, snippet

    held = None if cache is None else Cache(cache)
    try:
        if part is Part.http:
            if held is None or program != "nginx":
                fail("--part http is for nginx, with --cache.")
            text = nginx_http(settings(unneeded=SECRETS), auth=auth, upstream=upstream, cache=held)
        else:
            text = snippet(program, settings(unneeded=SECRETS), auth=auth, upstream=upstream, cache=held)
    except ConfigurationError as error:
        fail(str(error))
    typer.echo(text, nl=False)
