"""A sign-in before a service that does next to nothing: our gateway, proxies that ask `verify`, and what others use.

All sign in at the emulator, and are asked for one page by somebody who is signed in. The service is nginx, whose own
time is not counted.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser_rig import environment
from tests.foreign.hydra.program import Unavailable
from tests.foreign.node import install
from tests.proxies.programs import find, proxy
from tests.proxies.rig import LOOPBACK, Front, Program, free_port, front, gateway

from .load import Target, in_turns
from .peers import apache, go

PEERS = Path(__file__).parent / "peers"

Setup = Callable[[Front, str, Path], AbstractContextManager[tuple[int, ...]]]

_UPSTREAM = """
daemon off;
worker_processes 1;
pid upstream.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    server {{ listen {address}; location / {{ default_type text/plain; return 200 "hello"; }} }}
}}
"""


@dataclass(frozen=True)
class Goal:
    """What one may cost of another's CPU time, at most."""

    ours: str
    theirs: str
    most: float


GOALS = (
    Goal("nginx, verify held for 5 s", "Apache mod_auth_openidc", 0.35),
    Goal("proxy --engine nginx --cache 5", "Apache mod_auth_openidc", 0.40),
    Goal("proxy, built-in", "Apache mod_auth_openidc", 2.5),
    Goal("proxy, built-in", "oauth2-proxy", 1.5),
    Goal("proxy --engine nginx --cache 5", "oauth2-proxy", 0.2),
    Goal("nginx, verify not held", "nginx + oauth2-proxy", 1.0),
)


def main() -> None:
    setups = {
        "proxy, built-in": _gateway(),
        "nginx + verify": _asking("nginx"),
        "nginx, verify not held": _asking("nginx", 0),
        "nginx, verify held for 5 s": _asking("nginx", 5),
        "Caddy + verify": _asking("caddy"),
        "Traefik + verify": _asking("traefik"),
        "proxy --engine nginx": _gateway("--engine", "nginx"),
        "proxy --engine nginx --cache 5": _gateway("--engine", "nginx", "--cache", "5"),
        "proxy --engine caddy": _gateway("--engine", "caddy"),
        "Apache mod_auth_openidc": _apache,
        "oauth2-proxy": _oauth2_proxy,
        "nginx + oauth2-proxy": _nginx_oauth2_proxy,
        "express-openid-connect": _express,
    }
    print("\nA sign-in before a service, by wrk (16 connections; its CPU and the service's are not counted)")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)  # Apache's workers are somebody else
        service = stack.enter_context(upstream(Path(folder)))
        targets = {"the service alone": Target(service, {}, ())}
        for number, (name, setup) in enumerate(setups.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            site = stack.enter_context(front())
            try:
                pids = stack.enter_context(setup(site, service, place))
            except Unavailable as unavailable:
                print(f"  {name:30} {unavailable}")
                continue
            targets[name] = Target(f"{site.origin}/page", _signed_in(site), pids)
        found = in_turns(targets)
    for name, load in found.items():
        print(f"  {name:30} CPU {load.cpu:6.0f} µs   {load.rate:7.0f}/s")
    for goal in GOALS:
        if {goal.ours, goal.theirs} <= found.keys():
            ratio = found[goal.ours].cpu / found[goal.theirs].cpu
            verdict = "reached" if ratio <= goal.most else "missed"
            print(f"  {goal.ours} ÷ {goal.theirs}: {ratio:.2f} (goal {goal.most}, {verdict})")


def _signed_in(site: Front) -> dict[str, str]:
    """The headers of a browser that has been through the sign-in."""
    with site.browser() as browser:
        begun = browser.navigate("/page")
        browser.navigate(site.emulator.sign_in(begun.headers["location"]))
        answer = browser.navigate("/page")
        assert answer.text == "hello", (answer.status_code, answer.text)
        return {"cookie": browser.cookie(), "accept": "text/html"}


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "upstream.conf").write_text(_UPSTREAM.format(address=f"{LOOPBACK}:{port}"))
    command = [find("nginx"), "-p", f"{folder}/", "-c", "upstream.conf", "-e", "stderr"]
    with Program(command, folder / "upstream.log") as program:
        program.until_it_listens(port)
        yield f"http://{LOOPBACK}:{port}"


# --- ours -----------------------------------------------------------------------------------------------


def _gateway(*options: str) -> Setup:
    @contextmanager
    def setup(site: Front, upstream: str, folder: Path) -> Iterator[tuple[int, ...]]:
        with gateway(site, upstream, folder / "log", *options) as program:
            yield (program.process.pid,)

    return setup


def _asking(name: str, cache: int | None = None) -> Setup:
    @contextmanager
    def setup(site: Front, upstream: str, folder: Path) -> Iterator[tuple[int, ...]]:
        port = free_port()
        variables = {**site.variables, "LUMIN_TRUSTED_PROXIES": LOOPBACK, "WRAPPED": "1"}
        with _uvicorn(port, folder, variables) as auth:
            where = f"http://{LOOPBACK}:{port}"
            with proxy(name, site.config(), site.port, folder, auth=where, upstream=upstream, cache=cache) as asking:
                yield auth.process.pid, asking.process.pid

    return setup


def _uvicorn(port: int, folder: Path, variables: Mapping[str, str]) -> Program:
    options = ["--port", str(port), "--log-level", "error", "--no-access-log", "--no-proxy-headers"]
    command = [sys.executable, "-m", "uvicorn", *options, "tests.bench.served:asgi_app"]
    program = Program(command, folder / "uvicorn.log", env=environment(**variables))
    return program.until_it_listens(port)


# --- others ---------------------------------------------------------------------------------------------


def _variables(site: Front, upstream: str) -> dict[str, str]:
    [client] = site.emulator.clients.values()
    return {
        "PORT": str(site.port),
        "ORIGIN": site.origin,
        "ADDRESS": f"{LOOPBACK}:{site.port}",
        "UPSTREAM": upstream,
        "ISSUER": site.emulator.base,
        "CLIENT_ID": client.client_id,
        "CLIENT_SECRET": client.client_secret,
        "SECRET": secrets.token_urlsafe(32),
    }


@contextmanager
def _apache(site: Front, upstream: str, folder: Path) -> Iterator[tuple[int, ...]]:
    program, (module, version) = apache.program(), apache.module()
    print(f"  (mod_auth_openidc {version})")
    places = {"FOLDER": str(folder), "MODULES": str(apache.MODULES), "OIDC_MODULE": str(module)}
    command = [program, "-DFOREGROUND", "-f", str(PEERS / "apache.conf")]
    with Program(command, folder / "log", env=environment(**_variables(site, upstream), **places)) as running:
        running.until_it_listens(site.port)
        yield (running.process.pid,)


@contextmanager
def _express(site: Front, upstream: str, folder: Path) -> Iterator[tuple[int, ...]]:
    node = install(PEERS / "express")
    command = [node, str(PEERS / "express" / "server.mjs")]
    with Program(command, folder / "log", env=environment(**_variables(site, upstream))) as program:
        program.until_it_listens(site.port)
        yield (program.process.pid,)


@contextmanager
def _oauth2_proxy(site: Front, upstream: str, folder: Path, port: int = 0) -> Iterator[tuple[int, ...]]:
    known = _variables(site, upstream)
    port = port or site.port
    options = {
        "http-address": f"{LOOPBACK}:{port}",
        "upstream": f"{upstream}/",
        "provider": "oidc",
        "oidc-issuer-url": known["ISSUER"],
        "oidc-email-claim": "sub",
        "client-id": known["CLIENT_ID"],
        "client-secret": known["CLIENT_SECRET"],
        "redirect-url": f"{site.origin}/auth/callback",
        "proxy-prefix": "/auth",
        "scope": "openid offline_access sign:requests",
        "cookie-secret": secrets.token_hex(16),
        "cookie-secure": "false",
        "code-challenge-method": "S256",
        "email-domain": "*",
        "skip-provider-button": "true",
        "reverse-proxy": "true",
        **dict.fromkeys(("request-logging", "auth-logging", "standard-logging"), "false"),
    }
    command = [go.oauth2_proxy()[0], *(f"--{name}={value}" for name, value in options.items())]
    with Program(command, folder / "oauth2-proxy.log", env=environment()) as program:
        program.until_it_listens(port)
        yield (program.process.pid,)


@contextmanager
def _nginx_oauth2_proxy(site: Front, upstream: str, folder: Path) -> Iterator[tuple[int, ...]]:
    port = free_port()
    text = (PEERS / "oauth2_proxy" / "nginx.conf").read_text()
    places = {"oauth2": f"{LOOPBACK}:{port}", "service": upstream.partition("//")[2]}
    (folder / "nginx.conf").write_text(text % {**places, "address": f"{LOOPBACK}:{site.port}"})
    command = [find("nginx"), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
    with _oauth2_proxy(site, upstream, folder, port) as asked, Program(command, folder / "nginx.log") as program:
        program.until_it_listens(site.port)
        yield *asked, program.process.pid
