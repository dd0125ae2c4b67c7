"""`lumin-middleware proxy`: a sign-in before any HTTP service."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from typing import Annotated, Any

import typer

from ..config import LuminConfig
from ..errors import ConfigurationError
from .terminal import LOOPBACK, PORT, fail, listen, registered_port, settings, until_stopped

OPTIONS = {"upstream": "upstream", "public": "public", "optional": "optional", "api_proxy": "api"}
"""The settings that have an option here, which may be what is wrong."""

GRACE = 10  # seconds that requests in flight have once the gateway is told to stop


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
    config = settings()
    try:
        config = replace(
            config,
            public=(*config.public, *(public or ())),
            optional=(*config.optional, *(optional or ())),
            api_proxy=(*config.api_proxy, *(api or ())),
        )
        app = _gateway(upstream, config, pass_user_headers=pass_user_headers, pass_host=pass_host, timeout=timeout)
    except ConfigurationError as error:
        option = OPTIONS.get(error.field)
        fail(f"--{option}: {error.problem}" if option else f"The environment's settings cannot be used: {error}")
    _log_to_stderr()
    with until_stopped(), listen(registered_port() if port is None else port, host) as listener:
        typer.echo(f"{config.origin}/ signs people in and passes them on to {upstream}. Ctrl-C stops it.")
        _serve(app, listener)


def _gateway(upstream: str, config: LuminConfig, **options: Any) -> Any:
    from ..asgi import LuminMiddleware
    from ..gateway.access_log import AccessLog
    from ..gateway.gateway import Gateway
    from ..site.verify import Proxies

    app = LuminMiddleware(Gateway(upstream, config, **options), config)
    return AccessLog(app, Proxies(config.trusted_proxies))


def _serve(app: Any, listener: socket.socket) -> None:
    import uvicorn

    options = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `trusted_proxies` is about whoever the connection is from
        server_header=False,
        ws="wsproto",
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(options).run(sockets=[listener])


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
