"""The command line: a demo, a local Lumin, a gateway, settings for proxies, new secret keys.

For people at a terminal; the library never imports it, and it needs the extra `cli`. What it serves is on loopback
unless told otherwise, and ends quietly with Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

from .config import LuminConfig
from .emulator import DEMO_CLIENT, Client, Running, run, serve
from .emulator.server import listen
from .errors import ConfigurationError

try:
    import typer
except ModuleNotFoundError:
    typer = None  # type: ignore[assignment]  # main() says what to install

LOOPBACK = "127.0.0.1"
PORT = 8000
GRACE = 10  # seconds that requests in flight have once the gateway is told to stop
CALLBACKS = " and ".join(DEMO_CLIENT.redirect_uris)
EXAMPLE = "examples.starlette_app:app"


def main() -> None:
    """The command `lumin-middleware`."""
    if typer is None:
        print("The command line is an extra of its own: pip install 'lumin-middleware[cli]'", file=sys.stderr)
        sys.exit(2)
    commands = typer.Typer(
        help="Sign in with Lumin: a demo, a local Lumin, a gateway, settings for proxies, new secret keys.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # plain help does not cut the options' names short
        pretty_exceptions_enable=False,
    )
    for command in (demo, emulator, proxy, snippets, secret):
        commands.command()(command)
    commands(prog_name="lumin-middleware")


def secret() -> None:
    """Print a new secret key: 32 random bytes, for LUMIN_SECRET_KEY."""
    typer.echo(secrets.token_urlsafe(32))


# --- the emulator ---------------------------------------------------------------------------------------


def emulator(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 4444,
    client_id: Annotated[str, typer.Option(help="The client that may connect.")] = DEMO_CLIENT.client_id,
    client_secret: Annotated[str, typer.Option(help="Its secret.")] = DEMO_CLIENT.client_secret,
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help=f"Its callback, exactly; may be repeated. Default: {CALLBACKS}.")
    ] = None,
    id_token: Annotated[bool, typer.Option(help="Whether a sign-in yields an ID token.")] = True,
    access_token_lifetime: Annotated[float, typer.Option(help="Seconds until an access token expires.")] = 3600,
    refresh_token_lifetime: Annotated[float, typer.Option(help="Seconds until a refresh token does.")] = 2592000,
    refresh_token_grace: Annotated[float, typer.Option(help="Seconds in which a spent one is still taken.")] = 0,
) -> None:
    """Serve a local Lumin, and print the settings that lead to it."""
    redirect_uris = tuple(redirect_uri or DEMO_CLIENT.redirect_uris)
    client = replace(DEMO_CLIENT, client_id=client_id, client_secret=client_secret, redirect_uris=redirect_uris)
    with _until_stopped():
        try:
            run(
                host=host,
                port=port,
                ready=_introduce,
                clients=[client],
                id_token=id_token,
                access_token_lifetime=access_token_lifetime,
                refresh_token_lifetime=refresh_token_lifetime,
                refresh_token_grace=refresh_token_grace,
            )
        except OSError as error:
            _fail(f"Cannot listen at {host}:{port} ({error.strerror}); choose another --port.")


def _introduce(running: Running) -> None:
    [client] = running.emulator.clients.values()
    people = ", ".join(user.name for user in running.emulator.users.values())
    typer.echo(f"A local Lumin answers at {running.base}, and {people} can sign in there.")
    typer.echo("An application finds it with these settings:\n")
    for name, value in _environment(running, client).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo("\nCtrl-C stops it; it keeps nothing.")


def _environment(running: Running, client: Client) -> dict[str, str]:
    """The settings of an application that is this client (`LuminConfig.from_env`)."""
    return {
        "LUMIN_AUTH_URL": running.base,
        "LUMIN_API_URL": f"{running.base}/v1",
        "LUMIN_CLIENT_ID": client.client_id,
        "LUMIN_CLIENT_SECRET": client.client_secret,
        "LUMIN_REDIRECT_URI": client.redirect_uris[0],
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
    }


# --- the demo -------------------------------------------------------------------------------------------


def demo(
    app: Annotated[str, typer.Argument(help="An ASGI application, as module:name.")] = EXAMPLE,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"The application's port. Default: {PORT}, or a free one.")
    ] = None,
    emulator_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The local Lumin's port; 0 takes a free one.")
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open a browser, where there is one.")
    ] = True,
) -> None:
    """Run an application with a local Lumin beside it.

    Without APP it is the example of a checkout. With LUMIN_CLIENT_ID and its kin in the environment, the same
    application signs people in with Lumin itself.
    """
    with _until_stopped():
        if _is_set("LUMIN_CLIENT_ID"):
            if not _is_set("LUMIN_SECRET_KEY"):
                os.environ["LUMIN_SECRET_KEY"] = secrets.token_urlsafe(32)
            with _listen(port or _registered_port()) as listener:
                _run(app, listener, open_browser=open_browser)
        else:
            with _listen(port) as listener, _local_lumin(_origin(listener), emulator_port):
                _run(app, listener, open_browser=open_browser)


def _run(app: str, listener: socket.socket, *, open_browser: bool) -> None:
    import uvicorn

    config = _settings()
    server = uvicorn.Server(
        uvicorn.Config(_application(app), log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    )
    port = listener.getsockname()[1]
    typer.echo(f"Open {config.origin}/ in a browser. Ctrl-C stops the demo.")
    if urlsplit(config.origin).port != port:
        typer.echo(f"It must lead to port {port} of this machine, where the application listens.")
    if open_browser and _has_desktop():
        # In a thread: some browsers are waited for, and they wait for the page.
        threading.Thread(target=webbrowser.open, args=[f"{config.origin}/"], daemon=True).start()
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)


@contextmanager
def _local_lumin(origin: str, port: int) -> Iterator[None]:
    """A local Lumin that knows the application at `origin`, and the environment to sign in there."""
    client = replace(DEMO_CLIENT, redirect_uris=(f"{origin}/auth/callback",))
    with ExitStack() as stack:
        try:
            running = stack.enter_context(serve(port=port, clients=[client]))
        except OSError as error:
            _fail(f"Port {port} cannot be used ({error.strerror}); choose another --emulator-port.")
        os.environ.update(_environment(running, client))
        os.environ.setdefault("LUMIN_STORE", "memory://")  # its sessions end with it
        yield


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _settings() -> LuminConfig:
    try:
        return LuminConfig.from_env()
    except ConfigurationError as error:
        _fail(f"The environment's settings cannot be used: {error}")


def _registered_port() -> int:
    """The port at which the redirect URI expects this machine; behind a tunnel it may be any."""
    config = _settings()
    return PORT if config.secure else urlsplit(config.origin).port or 80


def _application(name: str) -> Any:
    from uvicorn.importer import ImportFromStringError, import_from_string

    sys.path.insert(0, os.getcwd())
    try:
        return import_from_string(name)
    except (ImportFromStringError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and not name.startswith(str(error.name)):
            raise  # the application is there, and lacks something itself
        hint = " It is part of a checkout: run this there, or name an application of yours." if name == EXAMPLE else ""
        _fail(f"{error}{hint}")


def _listen(port: int | None, host: str = LOOPBACK) -> socket.socket:
    try:
        return listen(host, PORT if port is None else port)
    except OSError as error:
        if port is None:
            return listen(LOOPBACK, 0)
        _fail(f"Port {port} cannot be used ({error.strerror}); choose another --port.")


def _origin(listener: socket.socket) -> str:
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}"


def _has_desktop() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


# --- a gateway, and settings for other proxies ----------------------------------------------------------


def proxy(
    upstream: Annotated[str, typer.Option(help="The service behind the sign-in, as http://127.0.0.1:5173.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = LOOPBACK,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"The port. Default: the callback's on http, else {PORT}.")
    ] = None,
    public: Annotated[
        list[str] | None, typer.Option(help="Paths that need no sign-in, as '/static/*'; may be repeated.")
    ] = None,
    optional: Annotated[
        list[str] | None, typer.Option(help="Paths that are served with or without one; may be repeated.")
    ] = None,
    api: Annotated[
        list[str] | None,
        typer.Option(help="Calls to Lumin's API that pages may make, as 'GET /user/info'; may be repeated."),
    ] = None,
    pass_user_headers: Annotated[
        bool, typer.Option("--pass-user-headers", help="Tell the service who it is, as X-Auth-Request-User and kin.")
    ] = False,
    pass_host: Annotated[
        bool, typer.Option("--pass-host/--own-host", help="Whether it sees this site's name as Host, or its own.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until its answer must have begun.")] = 60,
) -> None:
    """Put a sign-in before any HTTP service, as a process of its own.

    The settings come from the environment: LUMIN_CLIENT_ID and its kin.
    """
    config = _settings()
    try:
        config = replace(
            config,
            public=(*config.public, *(public or ())),
            optional=(*config.optional, *(optional or ())),
            api_proxy=(*config.api_proxy, *(api or ())),
        )
        app = _gateway(upstream, config, pass_user_headers=pass_user_headers, pass_host=pass_host, timeout=timeout)
    except ConfigurationError as error:
        option = {"api_proxy": "api"}.get(error.field, error.field.replace("_", "-"))
        _fail(f"--{option}: {error.problem}")
    _log_to_stderr()
    with _until_stopped(), _listen(_registered_port() if port is None else port, host) as listener:
        typer.echo(f"{config.origin}/ signs people in and passes them on to {upstream}. Ctrl-C stops it.")
        _serve(app, listener)


def _gateway(upstream: str, config: LuminConfig, **options: Any) -> Any:
    from .asgi import LuminMiddleware
    from .gateway.access_log import AccessLog
    from .gateway.gateway import Gateway
    from .site.verify import Proxies

    app = LuminMiddleware(Gateway(upstream, config, **options), config)
    return AccessLog(app, Proxies(config.trusted_proxies))


def _serve(app: Any, listener: socket.socket) -> None:
    import uvicorn

    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `trusted_proxies` is about whoever the connection is from
        server_header=False,
        ws="wsproto",
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(settings).run(sockets=[listener])


def snippets(
    program: Annotated[str, typer.Argument(help="nginx, caddy or traefik.")],
    auth: Annotated[str, typer.Option(help="Where LuminMiddleware answers.")] = f"http://{LOOPBACK}:{PORT}",
    upstream: Annotated[str, typer.Option(help="The service to protect.")] = f"http://{LOOPBACK}:3000",
) -> None:
    """Print settings for nginx, Caddy or Traefik.

    With them it asks LuminMiddleware who may pass. They are made from the environment's: LUMIN_REDIRECT_URI,
    LUMIN_PUBLIC and their kin.
    """
    from .gateway.snippets import snippet

    try:
        typer.echo(snippet(program, _settings(), auth=auth, upstream=upstream), nl=False)
    except ConfigurationError as error:
        _fail(str(error))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


# --- both -----------------------------------------------------------------------------------------------


@contextmanager
def _until_stopped() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, and are no failure."""
    # uvicorn raises a signal again once it has shut down, for whoever handled it before: this.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
