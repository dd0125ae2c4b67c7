"""What stands before a service that knows of no sign-in: nginx, Caddy, Traefik and Envoy, which ask `verify`, the
engines with the settings that we write for them, and the gateway. Behind each of them real servers serve the table of
routes, bare."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lumin_middleware import LuminConfig, LuminMiddleware
from lumin_middleware.gateway.gateway import Gateway
from lumin_middleware.gateway.snippets import PROGRAMS
from tests.edges import servers
from tests.edges.servers import Place
from tests.gateway.test_engines import engine_before
from tests.proxies import programs, rig
from tests.proxies.rig import LOOPBACK, Echo, front
from tests.seams import wire
from tests.seams.routes import OTHER_SCOPE, RULESETS, SCOPE
from tests.seams.wire import Site

APP = "tests.seams.bare:app"


@dataclass(frozen=True)
class Service:
    """A server with its options, and what it serves."""

    name: str
    command: Callable[[Place], list[str]]
    app: str


def _gunicorn(at: Place) -> list[str]:
    options = ["--log-level", "critical", "--graceful-timeout", "5", "--no-control-socket", "-k", "gthread"]
    return ["-m", "gunicorn", *options, "--threads", "4", "--bind", f"fd://{at.fd}", at.app]


def _daphne(at: Place) -> list[str]:
    return ["-m", "daphne", "--fd", str(at.fd), "-v", "0", at.app]


SERVICES = (
    Service("gunicorn", _gunicorn, "wsgi Flask"),
    Service("gunicorn", _gunicorn, "wsgi Django WSGI"),
    Service("daphne", _daphne, "asgi Litestar"),
    Service(
        "hypercorn",
        lambda at: ["-m", "hypercorn", "--bind", f"fd://{at.fd}", "--log-level", "CRITICAL", at.app],
        "asgi Quart",
    ),
    Service(
        "uvicorn",
        lambda at: ["-m", "uvicorn", "--fd", str(at.fd), "--http", "h11", "--log-level", "critical", at.app],
        "asgi Starlette, mounts",
    ),
)
"""Each with an application that reads paths leniently where its server lets it, or takes a mount from a header."""

ENGINES = ("engine nginx", "engine nginx, held", "engine caddy")
FRONTS = (*PROGRAMS, "nginx, held", "envoy", "gateway on h11", "gateway on httptools", *ENGINES)
PAIRS = [(name, service) for name in FRONTS for service in SERVICES]


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """A service in a process of its own, and where it is."""
    with (
        servers.listening() as listener,
        servers.start(service.command, APP, listener, {"SEAMS_APP": service.app}) as running,
    ):
        yield running.origin


@contextmanager
def standing(name: str, service: Service, upstream: str, folder: Path, rules: int) -> Iterator[Site]:
    """A front before a service; everybody has signed in. `rules` is their place in `RULESETS`."""
    ruleset = RULESETS[rules]
    with ExitStack() as stack:
        site = stack.enter_context(front())
        config = site.config(
            scope=f"openid offline_access {SCOPE} {OTHER_SCOPE}",
            sessions="store",
            trusted_proxies=(LOOPBACK,),
            **ruleset.settings,
        )
        stack.enter_context(_front(name, config, site, folder, upstream))
        cookies = wire.sign_in(site.origin, "", site.emulator)
        yield Site(name, f"{service.name}, {service.app}", site.port, cookies, ruleset)


@contextmanager
def _front(name: str, config: LuminConfig, site: rig.Front, folder: Path, upstream: str) -> Iterator[None]:
    cache = 5 if "held" in name else None
    if name.startswith("gateway"):
        app = LuminMiddleware(Gateway(upstream, config), config)
        with rig.serve(app, site.port, http=name.split()[-1], lifespan="on"):
            yield
        return
    if name in ENGINES:
        with tempfile.TemporaryDirectory() as own:
            Path(own).chmod(0o755)  # nginx's own processes are another user's
            engine, app = name.split()[1].rstrip(","), LuminMiddleware(Echo(), config)
            with engine_before(engine, site, app, upstream, Path(own), config=config, cache=cache or 0):
                yield
        return
    with (
        rig.serve(LuminMiddleware(Echo(), config), lifespan="on") as auth,
        programs.proxy(
            name.partition(",")[0],
            config,
            site.port,
            folder,
            auth=auth,
            upstream=upstream,
            cache=cache,
        ),
    ):
        yield
