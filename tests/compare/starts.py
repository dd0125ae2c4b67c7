"""How what is compared is started: a context manager each, which gives the processes whose time counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers import apache, go
from tests.browser_rig import environment
from tests.foreign.hydra.program import Unavailable
from tests.foreign.node import install
from tests.proxies.programs import find, proxy
from tests.proxies.rig import LOOPBACK, Program, free_port

from .provider import Registered

HERE = Path(__file__).parent
PEERS = HERE.parent / "bench" / "peers"
SCOPE = "openid offline_access sign:requests"


@dataclass(frozen=True)
class Place:
    """What one host is told. `origin` is the site's, also where this host listens at another `port`.

    `shared` is Redis, where there are two hosts; `folder` is for what the hosts of a site share by a disk.
    """

    client: Registered
    origin: str
    port: int
    folder: Path
    secret: str
    upstream: str
    shared: str = ""

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def variables(self) -> dict[str, str]:
        """As the applications and settings of others read them."""
        return {
            "PORT": str(self.port),
            "ADDRESS": self.address,
            "ORIGIN": self.origin,
            "UPSTREAM": self.upstream,
            "ISSUER": self.client.issuer,
            "API_URL": self.client.api_url,
            "CLIENT_ID": self.client.client_id,
            "CLIENT_SECRET": self.client.client_secret,
            "LIFETIME": str(self.client.lifetime),
            "SECRET": self.secret,
            "FOLDER": str(self.folder),
        }

    def ours(self, store: str = "") -> dict[str, str]:
        """As we read them. `store` is where sessions are kept, if not in the cookie."""
        stores = {"sqlite": f"sqlite://{self.folder.resolve()}/private/store", "redis": self.shared}
        return {
            "LUMIN_AUTH_URL": self.client.issuer,
            "LUMIN_API_URL": self.client.api_url,
            "LUMIN_CLIENT_ID": self.client.client_id,
            "LUMIN_CLIENT_SECRET": self.client.client_secret,
            "LUMIN_REDIRECT_URI": f"{self.origin}/auth/callback",
            "LUMIN_SECRET_KEY": self.secret,
            "LUMIN_SESSIONS": "store" if store else "cookie",
            "LUMIN_STORE": stores[store] if store else self.shared or stores["sqlite"],
        }


Start = Callable[[Place], AbstractContextManager[tuple[int, ...]]]


@contextmanager
def _program(place: Place, command: list[str], variables: Mapping[str, str], port: int = 0) -> Iterator[Program]:
    port = port or place.port
    with Program(command, place.folder / f"log-{port}", env=environment(**variables)) as program:
        yield program.until_it_listens(port)


# --- applications ---------------------------------------------------------------------------------------

UVICORN = ("uvicorn", "--log-level", "error", "--no-access-log", "--port", "{port}")
GUNICORN = ("gunicorn", "--log-level", "error", "-k", "gthread", "--threads", "4", "-b", f"{LOOPBACK}:{{port}}")
SERVERS = {"starlette": UVICORN, "flask": GUNICORN, "django": GUNICORN}


def application(framework: str, sign_in: str = "", store: str = "") -> Start:
    """One of `apps`, by the server that its users take, with nothing before it or a sign-in."""

    @contextmanager
    def start(place: Place) -> Iterator[tuple[int, ...]]:
        server = [part.format(port=place.port) for part in SERVERS[framework]]
        command = [sys.executable, "-m", *server, f"tests.compare.apps.{framework}_app:app"]
        variables = {**place.variables(), **place.ours(store), "SIGN_IN": sign_in}
        with _program(place, command, variables) as program:
            yield (program.process.pid,)

    return start


def express(sign_in: str = "") -> Start:
    """Express, by Node."""

    @contextmanager
    def start(place: Place) -> Iterator[tuple[int, ...]]:
        try:
            node = install(HERE / "apps" / "express")
        except RuntimeError as error:
            raise Unavailable(str(error)) from None
        variables = {**place.variables(), "SIGN_IN": sign_in}
        with _program(place, [node, str(HERE / "apps" / "express" / "server.mjs")], variables) as program:
            yield (program.process.pid,)

    return start


# --- before a service -----------------------------------------------------------------------------------

_SERVICE = """
daemon off;
worker_processes 1;
pid service-{port}.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    large_client_header_buffers 4 32k;
    server {{ listen {address}; location / {{ default_type text/plain; return 200 "hello"; }} }}
}}
"""


@contextmanager
def service(place: Place) -> Iterator[tuple[int, ...]]:
    """A service that does next to nothing, and knows nobody."""
    file = place.folder / f"service-{place.port}.conf"
    file.write_text(_SERVICE.format(port=place.port, address=place.address))
    command = [find("nginx"), "-p", f"{place.folder}/", "-c", str(file), "-e", "stderr"]
    with _program(place, command, {}) as program:
        yield (program.process.pid,)


def gateway(*options: str) -> Start:
    """`lumin-middleware proxy`."""

    @contextmanager
    def start(place: Place) -> Iterator[tuple[int, ...]]:
        command = [sys.executable, "-m", "lumin_middleware", "proxy", "--upstream", place.upstream]
        command += ["--port", str(place.port), *options]
        with _program(place, command, place.ours()) as program:
            yield (program.process.pid,)

    return start


def nginx_and_verify(cache: int) -> Start:
    """nginx with the settings that `snippets` writes, and an application of ours that it asks."""

    @contextmanager
    def start(place: Place) -> Iterator[tuple[int, ...]]:
        from lumin_middleware import LuminConfig

        port = free_port()
        variables = {**place.ours(), "LUMIN_TRUSTED_PROXIES": LOOPBACK, "SIGN_IN": "lumin"}
        command = [sys.executable, "-m", *(part.format(port=port) for part in UVICORN), "--no-proxy-headers"]
        command.append("tests.compare.apps.starlette_app:app")
        (folder := place.folder / f"nginx-{place.port}").mkdir()
        config, where = LuminConfig.from_env(variables), f"http://{LOOPBACK}:{port}"
        with (
            _program(place, command, variables, port) as asked,
            proxy("nginx", config, place.port, folder, auth=where, upstream=place.upstream, cache=cache) as asking,
        ):
            yield asked.process.pid, asking.process.pid

    return start


@contextmanager
def mod_auth_openidc(place: Place) -> Iterator[tuple[int, ...]]:
    """Apache. Alone it keeps sessions in the cookie; two hosts share what Redis holds."""
    program, (module, _) = apache.program(), apache.module()
    text = (PEERS / "apache.conf").read_text()
    text += f"OIDCRefreshAccessTokenBeforeExpiry 1\nPidFile {place.folder}/apache-{place.port}.pid\n"
    if place.shared:
        where = place.shared.removeprefix("redis://").removesuffix("/0")
        text = text.replace("OIDCSessionType client-cookie:persistent", "OIDCSessionType server-cache")
        text += f"OIDCCacheType redis\nOIDCRedisCacheServer {where}\n"
    (settings := place.folder / f"apache-{place.port}.conf").write_text(text)
    variables = {**place.variables(), "MODULES": str(apache.MODULES), "OIDC_MODULE": str(module)}
    with _program(place, [program, "-DFOREGROUND", "-f", str(settings)], variables) as running:
        yield (running.process.pid,)


@contextmanager
def oauth2_proxy(place: Place) -> Iterator[tuple[int, ...]]:
    """oauth2-proxy. Alone it keeps sessions in the cookie; two hosts share what Redis holds."""
    program, _ = go.oauth2_proxy()
    options = {
        "http-address": place.address,
        "upstream": f"{place.upstream}/",
        "provider": "oidc",
        "oidc-issuer-url": place.client.issuer,
        "oidc-email-claim": "sub",
        "client-id": place.client.client_id,
        "client-secret": place.client.client_secret,
        "redirect-url": f"{place.origin}/auth/callback",
        "proxy-prefix": "/auth",
        "scope": SCOPE,
        "cookie-secret": place.secret[:32],
        "cookie-secure": "false",
        "cookie-refresh": f"{place.client.lifetime}s",
        "code-challenge-method": "S256",
        "email-domain": "*",
        "skip-provider-button": "true",
        **dict.fromkeys(("request-logging", "auth-logging", "standard-logging"), "false"),
    }
    if place.shared:
        options |= {"session-store-type": "redis", "redis-connection-url": place.shared}
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    with _program(place, command, {}) as running:
        yield (running.process.pid,)
