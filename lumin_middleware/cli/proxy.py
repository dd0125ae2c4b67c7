"""`lumin-middleware proxy`: a sign-in before any HTTP service."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from ..checks import is_loopback, seconds
from ..emulator.server import reached_at
from ..errors import ConfigurationError
from ..gateway.engines import ISSUERS, Plan, choose
from .engine import run
from .lines import log_to_stderr
from .terminal import LOOPBACK, PORT, fail, listen, registered_port, settings, until_stopped

OPTIONS = {
    **{name: name for name in ("upstream", "public", "optional", "engine", "cache", "workers", "certificate")},
    "timeout": "timeout",
    "api_proxy": "api",
}
"""The settings that have an option here, which may be what is wrong."""

DAY = 86_400.0
"""Seconds that an answer may take to begin at most."""

Loop = Literal["asyncio", "auto"]

GRACE = 10  # seconds that requests in flight have once the gateway is told to stop


# --- options --------------------------------------------------------------------------------------------

Upstream = Annotated[
    str, typer.Option(metavar="URL", help="The service behind the sign-in, such as http://127.0.0.1:5173.")
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help=f"The port. Default: that of LUMIN_REDIRECT_URI where it is http, else {PORT}.",
    ),
]
Public = Annotated[
    list[str], typer.Option(metavar="PATH", help="What needs no sign-in, such as '/static/*'; may be repeated.")
]
Optional = Annotated[
    list[str], typer.Option(metavar="PATH", help="What is served with or without a sign-in; may be repeated.")
]
Api = Annotated[
    list[str],
    typer.Option(
        metavar="CALL", help="A call of Lumin's API that pages may make, such as 'GET /user/info'; may be repeated."
    ),
]
PassUserHeaders = Annotated[
    bool,
    typer.Option(
        "--pass-user-headers",
        help="Tell the service who is signed in, in X-Auth-Request-User, -Email and -Scope; let it read no other.",
    ),
]
PassHost = Annotated[
    bool, typer.Option("--pass-host/--own-host", help="Whether the service sees this site's name as Host, or its own.")
]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How soon the service's answer must begin.")]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="What stands in front: nginx, caddy, builtin, or auto, the first of them that is there."
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, metavar="NUMBER", help="Processes that sign people in behind nginx or Caddy.")
]
Cache = Annotated[
    int,
    typer.Option(
        metavar="SECONDS", help="How long nginx holds who may pass; a sign-out elsewhere is felt that much later."
    ),
]
Certificate = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The file of a certificate's chain, for nginx or Caddy. For Caddy alone: auto, which gets one from a"
        " public authority, or internal, from an authority of its own.",
    ),
]
CertificateKey = Annotated[str | None, typer.Option(metavar="FILE", help="The file of the certificate's key.")]


# --- the command ----------------------------------------------------------------------------------------


def proxy(
    upstream: Upstream,
    host: Host = LOOPBACK,
    port: Port = None,
    public: Public = [],  # noqa: B006  Typer makes a list of its own of it
    optional: Optional = [],  # noqa: B006
    api: Api = [],  # noqa: B006
    pass_user_headers: PassUserHeaders = False,
    pass_host: PassHost = True,
    timeout: Timeout = 60,
    engine: Engine = "builtin",
    workers: Workers = 1,
    cache: Cache = 0,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
) -> None:
    """Put a sign-in before any HTTP service, as a process of its own.

    The settings come from the environment: LUMIN_CLIENT_ID and its kin. The built-in engine is for development; nginx
    and Caddy carry much more. They are found on PATH, or come with the extras of these names
    (pip install 'lumin-middleware[nginx]').
    """
    config = settings()
    rules: dict[str, Any] = {
        "public": (*config.public, *public),
        "optional": (*config.optional, *optional),
        "api_proxy": (*config.api_proxy, *api),
    }
    with _named_after_options():
        seconds("timeout", timeout, 0.1, DAY)
        plan = Plan(
            replace(config, **rules),
            upstream,
            host=host,
            port=registered_port() if port is None else port,
            cache=cache,
            workers=workers,
            timeout=timeout,
            pass_user_headers=pass_user_headers,
            pass_host=pass_host,
            **_certificate(certificate, certificate_key),
        )
        _check_own_address(plan)
        name, program = choose(engine)
        if name == "builtin":
            _run_built_in(plan)
        else:
            run(name, program, plan, rules)


@contextmanager
def _named_after_options() -> Iterator[None]:
    """What is wrong is said, by the option that it is about where there is one, and ends the command."""
    try:
        yield
    except ConfigurationError as error:
        option = OPTIONS.get(error.field)
        fail(f"--{option}: {error.problem}" if option else f"The environment's settings cannot be used: {error}")


def _check_own_address(plan: Plan) -> None:
    """Raises `ConfigurationError` where the service is the gateway itself, and says where nobody comes back to it.

    A user name and a password are refused first, however the rest is written, so that no words below repeat them.
    """
    if "@" in plan.upstream:
        raise ConfigurationError("upstream", "holds an @; user names and passwords are not taken (in a path it is %40)")
    origin = urlsplit(plan.config.origin)
    if plan.port and _leads_to(plan.upstream, plan.host, plan.port):
        raise ConfigurationError("upstream", f"{plan.upstream} is this gateway's own address; choose another --port")
    if plan.upstream.rstrip("/") == plan.config.origin:
        raise ConfigurationError("upstream", f"{plan.upstream} is the site's own address, at which this gateway stands")
    if origin.scheme == "http" and plan.port and (origin.port or 80) != plan.port:
        typer.echo(
            f"LUMIN_REDIRECT_URI is {plan.config.redirect_uri}: people come back to port {origin.port or 80}, and this "
            f"listens on {plan.port}. Change one of them.",
            err=True,
        )


def _leads_to(url: str, host: str, port: int) -> bool:
    """Whether a URL is that of a port which is listened on; all interfaces' address is this machine's own, too."""
    try:
        where = urlsplit(url)
        there, asked = where.hostname or "", where.port or (443 if where.scheme == "https" else 80)
    except ValueError:  # which is told where it is looked at
        return False
    everywhere = reached_at(host) != host
    return asked == port and (there == host or (is_loopback(there) and (everywhere or is_loopback(host))))


def _certificate(chain: str | None, key: str | None) -> dict[str, Any]:
    """The part of a plan that is about certificates."""
    if chain in ISSUERS:
        if key is not None:
            raise ConfigurationError("certificate", f"{chain} needs no --certificate-key")
        return {"issuer": chain}
    if (chain is None) != (key is None):
        raise ConfigurationError("certificate", "needs --certificate-key, and the other way round")
    return {"certificate": (os.path.abspath(chain), os.path.abspath(key))} if chain and key else {}


# --- the built-in engine --------------------------------------------------------------------------------


def _run_built_in(plan: Plan) -> None:
    if plan.cache or plan.workers > 1 or plan.certificate or plan.issuer:
        raise ConfigurationError("engine", "builtin takes no --cache, --workers or --certificate")
    app = _gateway(plan)
    log_to_stderr()
    with until_stopped(), listen(plan.port, plan.host) as listener:
        typer.echo(
            f"{plan.config.origin}/ signs people in and passes them on to {plan.upstream}, by this gateway at "
            f"{plan.host}:{listener.getsockname()[1]}. Ctrl-C stops it."
        )
        _serve(app, listener, _loop(plan.upstream))


def _gateway(plan: Plan) -> Any:
    from ..asgi import LuminMiddleware
    from ..gateway.access_log import AccessLog
    from ..gateway.gateway import Gateway
    from ..site.proxies import Proxies

    gateway = Gateway(
        plan.upstream,
        plan.config,
        pass_user_headers=plan.pass_user_headers,
        pass_host=plan.pass_host,
        timeout=plan.timeout,
    )
    return AccessLog(LuminMiddleware(gateway, plan.config), Proxies(plan.config.trusted_proxies))


def _loop(upstream: str) -> Loop:
    """The event loop that serves, as uvicorn calls it: asyncio's own before a service by https.

    uvloop loses the end of an answer by TLS where the service closes the connection and says so by TCP alone (without
    close_notify; RFC 8446, 6.1) while we read no more for a slow browser: `connection_lost` comes before what it holds.
    """
    return "asyncio" if urlsplit(upstream).scheme == "https" else "auto"


def _serve(app: Any, listener: socket.socket, loop: Loop) -> None:
    import uvicorn

    options = uvicorn.Config(
        app,
        loop=loop,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `trusted_proxies` is about whoever the connection is from
        server_header=False,
        ws="wsproto",
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(options).run(sockets=[listener])
