"""`lumin-middleware snippets`: settings for a proxy that asks us who may pass."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .terminal import LOOPBACK, PORT, App, fail, settings_of


class Part(str, Enum):  # noqa: UP042  as the command line reads it on every version
    """The block of nginx's settings that is printed."""

    server = "server"
    http = "http"


SECRETS = ("LUMIN_CLIENT_SECRET", "LUMIN_SECRET_KEY")
"""What no setting of a proxy depends on."""


def snippets(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="nginx, caddy or traefik.")],
    auth: Annotated[
        str, typer.Option(metavar="URL", help="Where LuminMiddleware answers.")
    ] = f"http://{LOOPBACK}:{PORT + 1}",
    upstream: Annotated[str, typer.Option(metavar="URL", help="The service to protect.")] = f"http://{LOOPBACK}:3000",
    cache: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            help="How long nginx holds who may pass; a sign-out elsewhere is felt that much later. With 0 it holds"
            " nothing, and keeps its connections open.",
        ),
    ] = None,
    app: App = "",
    part: Annotated[Part, typer.Option(help="Of nginx, with --cache: for which block. Both are needed.")] = Part.server,
) -> None:
    """Print settings for nginx, Caddy or Traefik.

    With them the proxy asks LuminMiddleware who may pass. They are made from the site's own settings:
    LUMIN_REDIRECT_URI and its kin in the environment, or those of --app.
    """
    from ..gateway.snippets import Cache, nginx_http, snippet

    config = settings_of(app, unneeded=SECRETS)
    held = None if cache is None else Cache(cache)
    try:
        if part is Part.http:
            if held is None or program != "nginx":
                fail("--part http is for nginx, with --cache.")
            text = nginx_http(config, auth=auth, upstream=upstream, cache=held)
        else:
            text = snippet(program, config, auth=auth, upstream=upstream, cache=held)
    except ConfigurationError as error:
        fail(str(error))
    typer.echo(text, nl=False)
