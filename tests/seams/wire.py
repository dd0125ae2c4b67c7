"""The same requests as bytes on a socket, to real servers, or to whatever stands in front of them.

`attack` and `plain` know nothing but a port, the cookies of those who are signed in, and the rules, so that a proxy
can be asked as a server is. A handler says that it ran by the header `X-Ran`.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lumin_middleware.emulator import Client, Emulator
from tests.edges import servers
from tests.edges.servers import Browser, Place
from tests.seams.deliver import MOUNT
from tests.seams.generate import Asked, requests
from tests.seams.rig import Counts, Found
from tests.seams.routes import OTHER_SCOPE, PEOPLE, PLAIN, RULESETS, SCOPE, Person, Ruleset
from tests.site_rig import FETCH

CLIENT = Client(
    client_id="seams",
    client_secret="a secret of the seams",
    redirect_uris=("http://127.0.0.1/auth/callback", f"http://127.0.0.1{MOUNT}/auth/callback"),
    token_endpoint_auth_method="client_secret_post",
    scope=f"openid offline_access {SCOPE} {OTHER_SCOPE}",
)
APP = "tests.seams.served:app"


@dataclass(frozen=True)
class Rig:
    """A server with its options, and what it serves. `mounted` and `keeps` as those of `deliver.Way`."""

    name: str
    command: Callable[[Place], list[str]]
    app: str
    mounted: bool = False
    keeps: bool = False
    rules: int = 0
    """The place of its rules in `RULESETS`."""


def _uvicorn(*options: str) -> Callable[[Place], list[str]]:
    return lambda at: ["-m", "uvicorn", "--fd", str(at.fd), "--log-level", "critical", *options, at.app]


def _hypercorn(*options: str) -> Callable[[Place], list[str]]:
    return lambda at: ["-m", "hypercorn", "--bind", f"fd://{at.fd}", "--log-level", "CRITICAL", *options, at.app]


def _daphne(*options: str) -> Callable[[Place], list[str]]:
    return lambda at: ["-m", "daphne", "--fd", str(at.fd), "-v", "0", *options, at.app]


def _gunicorn(*options: str) -> Callable[[Place], list[str]]:
    common = ["-m", "gunicorn", "--log-level", "critical", "--graceful-timeout", "5", "--no-control-socket"]
    return lambda at: [*common, "--bind", f"fd://{at.fd}", *options, at.app]


def _waitress(**options: str) -> Callable[[Place], list[str]]:
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    script = "import socket, waitress\nfrom tests.seams.served import app\n"
    return lambda at: ["-c", f"{script}waitress.serve(app, sockets=[socket.socket(fileno={at.fd})]{more})"]


RIGS = (
    Rig("uvicorn on h11", _uvicorn("--http", "h11"), "asgi Starlette, mounts"),
    Rig("uvicorn on httptools", _uvicorn("--http", "httptools"), "asgi FastAPI(root_path)", rules=1),
    Rig("uvicorn --root-path", _uvicorn("--root-path", MOUNT), "asgi Litestar", mounted=True, rules=2),
    Rig("hypercorn", _hypercorn(), "asgi Quart", rules=2),
    Rig("hypercorn --root-path", _hypercorn("--root-path", MOUNT), "asgi Litestar", mounted=True),
    Rig("daphne", _daphne(), "asgi Litestar"),
    Rig("daphne", _daphne(), "asgi Quart"),
    Rig("daphne", _daphne(), "asgi Django ASGI", rules=1),
    Rig(
        "granian", lambda at: ["-m", "granian", "--interface", "asgi", "--port", str(at.port), at.app], "asgi Starlette"
    ),
    Rig("gunicorn", _gunicorn(), "wsgi Flask"),
    Rig("gunicorn", _gunicorn("-k", "gthread", "--threads", "2"), "wsgi Django WSGI", rules=2),
    Rig("waitress", _waitress(), "wsgi Flask", rules=1),
    Rig("waitress, url_prefix", _waitress(url_prefix=MOUNT), "wsgi Django WSGI", mounted=True, keeps=True),
)
"""Each with an application that reads paths leniently where that server lets it."""


# --- a server with people at it -------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """Something that listens, the cookies of those who are signed in there, and its rules."""

    name: str
    app: str
    port: int
    cookies: Mapping[Person, str]
    rules: Ruleset
    prefix: str = ""
    """What a client puts before each path of the table."""


@contextmanager
def running(rig: Rig, emulator: Emulator, directory: Path) -> Iterator[Site]:
    """A server with its application, in processes of their own; everybody has signed in."""
    mount = MOUNT if rig.mounted else ""
    with servers.listening() as listener:
        port = listener.getsockname()[1]
        origin = f"http://127.0.0.1:{port}"
        variables = servers.environment(
            emulator,
            origin,
            f"sqlite://{directory / 'private' / 'store.sqlite3'}",
            LUMIN_REDIRECT_URI=f"{origin}{mount}/auth/callback",
            LUMIN_SCOPE=CLIENT.scope,
            SEAMS_APP=rig.app,
            SEAMS_RULES=str(rig.rules),
        )
        own_port = rig.name == "granian"
        with servers.start(rig.command, APP, listener, variables, opens_its_own=own_port):
            prefix = mount if rig.keeps else ""
            cookies = sign_in(origin, prefix, emulator)
            yield Site(rig.name, rig.app, port, cookies, RULESETS[rig.rules], prefix)


def sign_in(origin: str, prefix: str, emulator: Emulator) -> Mapping[Person, str]:
    """The `Cookie` header of each person. Where there is no prefix, the callback loses its own, as behind a proxy."""
    cookies: dict[Person, str] = {"nobody": ""}
    for person, scope in (("member", f"openid {OTHER_SCOPE}"), ("signer", f"openid {SCOPE} {OTHER_SCOPE}")):
        with Browser(origin, emulator) as browser:
            back = emulator.sign_in(browser.begin(f"{prefix}/auth/login?return_to=/"), scope=scope)
            browser.navigate(f"{prefix}/auth/{back.partition('/auth/')[2]}")
            kept = {cookie.name: cookie.value for cookie in browser.cookies.jar if "login" not in cookie.name}
        assert kept, "nobody was signed in"
        cookies[person] = "; ".join(f"{name}={value}" for name, value in kept.items())
    return cookies


# --- bytes ----------------------------------------------------------------------------------------------


def send(port: int, asked: Asked, cookie: str) -> tuple[int, tuple[str, ...]]:
    """The status and the handlers that ran; 0 where the connection was closed without an answer."""
    lines = [b"Host: 127.0.0.1:%d" % port, b"Connection: close", b"Content-Length: 0"]
    lines += [f"{name}: {value}".encode() for name, value in (*FETCH.items(), *asked.headers)]
    lines += [b"Cookie: " + cookie.encode()] if cookie else []
    head = b"%s %s HTTP/1.1\r\n" % (asked.method.encode(), asked.target)
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=servers.PATIENCE) as connection:
        try:
            connection.sendall(head + b"\r\n".join(lines) + b"\r\n\r\n")
            while received := connection.recv(65536):
                answer += received
        except ConnectionError:
            pass  # a server may close what it does not want to read to the end
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3})", answer)
    ran = re.findall(rb"(?im)^x-ran: *([a-z-]+)", answer.partition(b"\r\n\r\n")[0])
    return int(found[1]) if found else 0, tuple(name.decode() for name in ran)


def attack(site: Site, seed: int, count: int) -> Counts:
    """So many requests, as nobody and as somebody without the scope."""
    counts = Counts()
    for asked in itertools.islice(requests(seed, prefix=site.prefix), count // 2):
        for person in PEOPLE[:2]:
            _note(counts, site, person, asked, *send(site.port, asked, site.cookies[person]))
    return counts


def plain(site: Site) -> Counts:
    """Each path as people write it, by each person. Whoever may reach its handler does."""
    counts = Counts()
    for path, handler in PLAIN.items():
        for person in PEOPLE:
            asked = Asked("GET", f"{site.prefix}{path}".encode())
            status, ran = send(site.port, asked, site.cookies[person])
            if status in (307, 308):  # a mount's own page ends in a slash
                status, ran = send(site.port, Asked("GET", asked.target + b"/"), site.cookies[person])
            _note(counts, site, person, asked, status, ran)
            if site.rules.may(person, handler) and ran != (handler,):
                counts.wrong.append(Found(site.app, site.name, site.rules.name, person, asked, ran, str(status)))
    return counts


def _note(counts: Counts, site: Site, person: Person, asked: Asked, status: int, ran: tuple[str, ...]) -> None:
    counts.requests += 1
    counts.statuses[status] += 1
    counts.ran.update(ran)
    if any(not site.rules.may(person, name) for name in ran):
        counts.wrong.append(Found(site.app, site.name, site.rules.name, person, asked, ran, str(status)))
