"""`lumin-middleware proxy`: a sign-in before any HTTP service."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Annotated, Any

import typer

from ..config import LuminConfig
from ..errors import ConfigurationError
from ..gateway.engines import Plan, choose
from .engine import run
from .terminal import LOOPBACK, PORT, fail, listen, log_to_stderr, registered_port, settings, until_stopped

OPTIONS = {name: name for name in ("upstream", "public", "optional", "engine", "cache", "workers", "certificate")} | {
    "api_proxy": "api"
}
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
    engine: Annotated[
        str, typer.Option(help="What stands in front: nginx, caddy, builtin, or auto, the first of them that is there.")
    ] = "builtin",
    workers: Annotated[int, typer.Option(min=1, help="Processes that sign people in behind nginx or Caddy.")] = 1,
    cache: Annotated[
        int,
        typer.Option(help="Seconds for which nginx holds who may pass; a sign-out elsewhere is felt later."),
    ] = 0,
    certificate: Annotated[
        str | None, typer.Option(help="The file of a certificate's chain, for nginx or Caddy.")
    ] = None,
    certificate_key: Annotated[str | None, typer.Option(help="The file of its key.")] = None,
) -> None:
    """Put a sign-in before any HTTP service, as a process of its own.

    The settings come from the environment: LUMIN_CLIENT_ID and its kin. The built-in engine is for development; nginx
    and Caddy carry much more, and come from PATH or with the extras of these names.
    """
    config = settings()
    changes: dict[str, Any] = {
        "public": (*config.public, *(public or ())),
        "optional": (*config.optional, *(optional or ())),
        "api_proxy": (*config.api_proxy, *(api or ())),
    }
    try:
        config = replace(config, **changes)
        name, program = choose(engine)
        if name != "builtin":
            plan = Plan(
                config,
                upstream,
                host=host,
                port=registered_port() if port is None else port,
                cache=cache,
                workers=workers,
                timeout=timeout,
                pass_user_headers=pass_user_headers,
                pass_host=pass_host,
                certificate=_certificate(certificate, certificate_key),
            )
            run(name, program, plan, changes)
            return
        if cache or workers > 1 or certificate:
            raise ConfigurationError("engine", "builtin takes no --cache, --workers or --certificate")
        app = _gateway(upstream, config, pass_user_headers=pass_user_headers, pass_host=pass_host, timeout=timeout)
    except ConfigurationError as error:
        option = OPTIONS.get(error.field)
        fail(f"--{option}: {error.problem}" if option else f"The environment's settings cannot be used: {error}")
    log_to_stderr()
    with until_stopped(), listen(registered_port() if port is None else port, host) as listener:
        typer.echo(f"{config.origin}/ signs people in and passes them on to {upstream}. Ctrl-C stops it.")
        _serve(app, listener)


def _certificate(chain: str | None, key: str | None) -> tuple[str, str] | None:
    if (chain is None) != (key is None):
        raise ConfigurationError("certificate", "needs --certificate-key, and the other way round")
    return (os.path.abspath(chain), os.path.abspath(key)) if chain and key else None


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
