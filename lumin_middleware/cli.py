"""The command line: a demo, a local Lumin, and new secret keys.

For people at a terminal; the library never imports it. It needs the extra `cli`, and says so where that is missing.
Everything that it serves is on loopback unless told otherwise, and ends with Ctrl-C or SIGTERM, quietly.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import urlsplit

from .config import LuminConfig
from .errors import ConfigurationError

try:
    import typer
except ModuleNotFoundError:
    typer = None  # type: ignore[assignment]  # main() says what to install

if TYPE_CHECKING:
    from .emulator import Client, Running

LOOPBACK = "127.0.0.1"
PORT = 8000
EXAMPLE = "examples.starlette_app:app"


def main() -> None:
    """The command `lumin-middleware`."""
    if typer is None:
        print("The command line is an extra: pip install 'lumin-middleware[cli]'", file=sys.stderr)
        sys.exit(2)
    commands = typer.Typer(
        name="lumin-middleware",
        help="Sign in with Lumin, as middleware.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (demo, emulator, secret):
        commands.command()(command)
    commands(prog_name="lumin-middleware")


# --- the commands ---------------------------------------------------------------------------------------


def secret() -> None:
    """Print a new secret key: 32 random bytes, for LUMIN_SECRET_KEY."""
    typer.echo(secrets.token_urlsafe(32))


def emulator(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 4444,
    client_id: Annotated[str, typer.Option(help="The one client that may connect.")] = "lumin-demo",
    client_secret: Annotated[str, typer.Option(help="Its secret.")] = "lumin-demo-secret",
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help=f"Its callback; may be repeated. Default: at port {PORT}.")
    ] = None,
    id_token: Annotated[bool, typer.Option(help="Whether token responses hold an ID token.")] = True,
    access_token_lifetime: Annotated[float, typer.Option(help="Seconds until an access token expires.")] = 3600,
    refresh_token_lifetime: Annotated[float, typer.Option(help="The same of a refresh token.")] = 30 * 86400,
    refresh_token_grace: Annotated[float, typer.Option(help="Seconds in which a spent one is still taken.")] = 0,
) -> None:
    """Serve a local Lumin: an authorization server and the API, in memory."""
    from .emulator import DEMO_CLIENT, run

    client = replace(
        DEMO_CLIENT,
        client_id=client_id,
        client_secret=client_secret,
        redirect_uris=tuple(redirect_uri or DEMO_CLIENT.redirect_uris),
    )
    with _until_stopped(), _port_needed(port):
        run(
            host=host,
            port=port,
            ready=lambda running: _introduce(running, client),
            clients=[client],
            id_token=id_token,
            access_token_lifetime=access_token_lifetime,
            refresh_token_lifetime=refresh_token_lifetime,
            refresh_token_grace=refresh_token_grace,
        )


def demo(
    app: Annotated[str, typer.Argument(help="An ASGI application, as module:name.")] = EXAMPLE,
    port: Annotated[int | None, typer.Option(help=f"The application's port. Default: {PORT}, or a free one.")] = None,
    emulator_port: Annotated[int, typer.Option(help="The emulator's port; 0 takes a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, where there is one.")] = True,
) -> None:
    """Run an application with a local Lumin beside it, or with Lumin itself if LUMIN_CLIENT_ID is set."""
    with _until_stopped():
        if os.environ.get("LUMIN_CLIENT_ID") or os.environ.get("LUMIN_CLIENT_ID_FILE"):
            os.environ.setdefault("LUMIN_SECRET_KEY", secrets.token_urlsafe(32))
            config = _settings()
            port = port or (PORT if config.secure else urlsplit(config.origin).port)
            with _listen(port) as listener:
                _serve(app, listener, open_=open_)
        else:
            with _listen(port) as listener, _emulator(listener, emulator_port):
                _serve(app, listener, open_=open_)
