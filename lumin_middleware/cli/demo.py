"""`lumin-middleware demo`: an application with a local Lumin beside it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ..asgi import parameters
from ..checks import seconds
from ..emulator import DEMO_CLIENT, Running, serve
from ..errors import ConfigurationError
from .emulator import TEN_YEARS, environment
from .lines import log_to_stderr
from .terminal import LOOPBACK, PORT, fail, is_set, listen, registered_port, settings, until_stopped

EXAMPLE = "examples.demo:app"


def demo(
    app: Annotated[str, typer.Argument(metavar="APP", help="An ASGI application, as module:name.")] = EXAMPLE,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help=f"The application's port; 0 takes a free one. Default: {PORT}, if free; with LUMIN_CLIENT_ID that of"
            f" LUMIN_REDIRECT_URI where it is http, else {PORT}.",
        ),
    ] = None,
    emulator_port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The local Lumin's port; 0 takes a free one.")
    ] = 0,
    access_token_lifetime: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long the local Lumin's access tokens live.")
    ] = 3600,
    debug: Annotated[bool, typer.Option("--debug", help="Say what becomes of each request and session.")] = False,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open a browser, where there is one.")
    ] = True,
) -> None:
    """Run an application with a local Lumin beside it.

    Without APP it is the example that comes with a checkout of this project. Where LUMIN_CLIENT_ID and its kin are
    set, no local Lumin is started, and the application signs people in with Lumin itself.
    """
    log_to_stderr(logging.DEBUG if debug else logging.INFO)
    try:
        seconds("--access-token-lifetime", access_token_lifetime, 1, TEN_YEARS)
    except ConfigurationError as error:
        fail(str(error))
    with until_stopped():
        if is_set("LUMIN_CLIENT_ID"):
            if not is_set("LUMIN_SECRET_KEY"):
                os.environ["LUMIN_SECRET_KEY"] = secrets.token_urlsafe(32)
            with listen(registered_port() if port is None else port) as listener:
                _run(app, listener, open_browser=open_browser)
        else:
            with (
                listen(port) as listener,
                _local_lumin(_origin(listener), emulator_port, access_token_lifetime) as running,
            ):
                _run(app, listener, open_browser=open_browser, beside=running)


def _run(app: str, listener: socket.socket, *, open_browser: bool, beside: Running | None = None) -> None:
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG as LOGGING

    config = settings()
    # Never at INFO, not even for the moment until `log_level` counts: the emulator may begin in it, and tell of that.
    quiet = {**LOGGING, "loggers": {name: {**each, "level": "WARNING"} for name, each in LOGGING["loggers"].items()}}
    options = uvicorn.Config(
        _application(app), log_config=quiet, log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(options)
    port = listener.getsockname()[1]
    typer.echo(f"Open {config.origin}/ in a browser. Ctrl-C stops the demo.")
    if urlsplit(config.origin).port != port:
        typer.echo(f"It must lead to port {port} of this machine, where the application listens.")
    if beside is not None:
        people = ", ".join(user.name for user in beside.emulator.users.values())
        typer.echo(f"Lumin is played by {beside.base}, where {people} can sign in, and take back what they allowed.")
        typer.echo("To be somebody else, sign out, and sign in as somebody else.")
        typer.echo("To watch renewals, start it with --access-token-lifetime 20 --debug.")
    if open_browser and _has_desktop():
        # In a thread: some browsers are waited for, and they wait for the page.
        threading.Thread(target=webbrowser.open, args=[f"{config.origin}/"], daemon=True).start()
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)


@contextmanager
def _local_lumin(origin: str, port: int, access_token_lifetime: float) -> Iterator[Running]:
    """A local Lumin that knows the application at `origin`, and the environment to sign in there."""
    client = replace(DEMO_CLIENT, redirect_uris=(f"{origin}/auth/callback",))
    with ExitStack() as stack:
        try:
            running = stack.enter_context(
                serve(port=port, clients=[client], access_token_lifetime=access_token_lifetime)
            )
        except OSError as error:
            fail(f"Port {port} cannot be used ({error.strerror}); choose another --emulator-port.")
        os.environ.update(environment(running, client))
        os.environ.setdefault("LUMIN_STORE", "memory://")  # its sessions end with it
        yield running


def _application(name: str) -> Any:
    from uvicorn.importer import ImportFromStringError, import_from_string

    sys.path.insert(0, os.getcwd())
    try:
        app = import_from_string(name)
    except (ImportFromStringError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and not name.startswith(str(error.name)):
            fail(f"{name} needs the module {error.name}, which is not installed.")
        hint = " It is part of a checkout: run this there, or name an application of yours." if name == EXAMPLE else ""
        fail(f"{str(error).removesuffix('.')}.{hint}")
    if parameters(app) == 2:
        fail(
            f"{name} is a WSGI application, and the demo serves ASGI. Start `lumin-middleware emulator`, export what it"
            " prints, and run the application as you always do."
        )
    return app


def _origin(listener: socket.socket) -> str:
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}"


def _has_desktop() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
