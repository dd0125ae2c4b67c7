"""The settings for nginx, Caddy and Traefik, in the real programs: a sign-in before a service that knows of none."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from httpx2.websockets import WebSocketUpgradeError
from starlette.responses import PlainTextResponse

from lumin_middleware import ConfigurationError, LuminMiddleware
from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.gateway.snippets import PROGRAMS, Cache, nginx_http, snippet
from lumin_middleware.sessions.lease import TTL, dead_after
from lumin_middleware.stores import MemoryStore
from tests import spawning
from tests.browser_rig import ROOT, environment
from tests.fakes import config
from tests.gateway.test_gateway import CONNECTIONS
from tests.gateway.test_gateway import raw as exchanged
from tests.patience import PATIENCE
from tests.proxies import programs
from tests.proxies.programs import proxy
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, Program, front, serve, told
from tests.site_rig import Clock, query

HELD = 2  # seconds, the least that there is
PUBLIC = ("/free/*", "/healthz")
SCOPES = {"/sign/*": "sign:requests", "/sign/templates/*": "templates"}


class FailingStore(MemoryStore):
    """A store that can be told to fail: until it is told otherwise, or once."""

    failing = False
    fails_once = False

    def get(self, key):
        failing, self.fails_once = self.failing or self.fails_once, False
        if failing:
            raise StoreUnavailable("told to")
        return super().get(key)


@dataclass
class Setup:
    """A proxy, the application that it asks, and the service behind it."""

    name: str
    front: Front
    echo: Echo
    clock: Clock
    store: FailingStore
    program: Program
    auth: str
    holds: bool

    def wait(self) -> None:
        """Until what the proxy holds is over."""
        if self.holds:
            threading.Event().wait(HELD + 0.1)


@pytest.fixture(scope="module", params=[*PROGRAMS, "nginx, held"])
def running(request, tmp_path_factory) -> Iterator[Setup]:
    name, _, held = request.param.partition(", ")
    folder, clock, echo = tmp_path_factory.mktemp(name), Clock(), Echo()
    store = FailingStore(clock=clock)
    with front(clock=clock) as site, serve(echo) as upstream:
        settings = site.config(
            sessions="store",
            store=store,
            public=PUBLIC,
            required_scopes=SCOPES,
            trusted_proxies=(LOOPBACK,),
            verify_access_token=True,
        )
        app = LuminMiddleware(Echo(), settings, clock=clock)
        with (
            serve(app, lifespan="on") as auth,
            proxy(
                name, settings, site.port, folder, auth=auth, upstream=upstream, cache=HELD if held else None
            ) as program,
        ):
            yield Setup(name, site, echo, clock, store, program, auth, bool(held))


@pytest.fixture
def setup(running) -> Iterator[Setup]:
    running.echo.seen.clear()
    yield running
    running.store.failing = False
    running.echo.handlers.clear()


@pytest.fixture
def browser(setup) -> Iterator[Browser]:
    """Somebody who is signed in."""
    with setup.front.browser() as browser:
        browser.sign_in()
        setup.echo.seen.clear()
        yield browser


@pytest.fixture
def stranger(setup) -> Iterator[Browser]:
    with setup.front.browser() as stranger:
        yield stranger


FORGED = {
    "X-Auth-Request-User": "the root",
    "X-Auth-Request-Email": "the root",
    "X-Auth-Request-Scope": "the root",
    "X-Auth-Request-Groups": "the root",
    "X-Auth-Request-Access-Token": "the root",
    "X_Auth_Request_User": "the root",
    "X-Auth_Request-User": "the root",
    "X-Auth-Request_User": "the root",
    "X-Forwarded-Uri": "/free/x",
    "X-Forwarded-Method": "OPTIONS",
    "X-Forwarded-For": "127.0.0.1",
    "X-Original-URL": "/free/x",
    "X-Original-Uri": "/free/x",
    "X-Rewrite-URL": "/free/x",
    "X-Lumin-Set-Cookie": "lumin=fixated",
    "X-Lumin-Cookie": "lumin=fixated",
    "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
    "Forwarded": "for=127.0.0.1",
    "X-Real-IP": "127.0.0.1",
    "X.Auth.Request.User": "the root",
}

# By which a service may take a request for one of another path, or below another mount.
MOVING = {
    "SCRIPT_NAME": "/free",
    "Script-Name": "/free",
    "X-Script-Name": "/free",
    "X_Script_Name": "/free",
    "Daphne-Root-Path": "/free",
    "Daphne_Root_Path": "/free",
    "X-Envoy-Original-Path": "/free/x",
    "X-Original-Path": "/free/x",
    "X_Original_URL": "/free/x",
    "X-Forwarded-Prefix": "/free",
    "X!Rewrite!URL": "/free/x",
}


# --- who may pass ---------------------------------------------------------------------------------------


def test_a_person_signs_in_and_comes_back_to_the_page_that_they_wanted(setup, stranger):
    page = stranger.sign_in("/deep/page?x=1&y=%2F")
    assert page.json()["target"] == "/deep/page?x=1&y=%2F"
    assert [scope["path"] for scope in setup.echo.seen] == ["/deep/page"], "and nothing came through before"


def test_a_script_is_refused_with_what_it_needs_to_know(setup, stranger):
    for method in ("GET", "POST", "DELETE"):
        answer = stranger.fetch(method, "/data", content=b"x" if method == "POST" else None)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.json()["reason"] == "no_session"
        assert answer.json()["login_url"].startswith("/auth/login?return_to=")
        assert challenges(answer) == ['Bearer realm="lumin"']
    assert setup.echo.seen == []


def test_whoever_is_sent_to_sign_in_is_asked_for_nothing_else(setup, stranger, browser):
    """`WWW-Authenticate` is for programs, and stands where they are refused."""
    for person, path in ((stranger, "/page"), (stranger, "/sign/x"), (browser, "/sign/templates/x")):
        begun = person.navigate(path)
        assert (begun.status_code, challenges(begun)) == (303, [])


def challenges(answer: httpx2.Response) -> list[str]:
    return [value.decode() for name, value in answer.headers.raw if name.lower() == b"www-authenticate"]


@pytest.mark.parametrize("cache", [None, HELD])
def test_a_location_of_nginx_s_own_says_what_programs_need(tmp_path, monkeypatch, cache):
    """Nobody answers there but nginx itself: by a 401 that is one, without a word in its log."""
    with front() as site, serve(Echo()) as upstream:
        own = f"error_log stderr warn; location /own/ {{ proxy_pass {upstream}; }}"
        written = programs.snippet
        monkeypatch.setattr(programs, "snippet", lambda *args, **more: written(*args, **more) + own)
        settings = site.config(trusted_proxies=(LOOPBACK,), required_scopes=SCOPES | {"/own/x": "templates"})
        app = LuminMiddleware(Echo(), settings)
        with (
            serve(app, lifespan="on") as auth,
            proxy("nginx", settings, site.port, tmp_path, auth=auth, upstream=upstream, cache=cache),
            site.browser() as browser,
        ):
            for path in ("/own/", "/own/x"):
                refused = browser.fetch("GET", path)
                assert (refused.status_code, challenges(refused)) == (401, ['Bearer realm="lumin"'])
            browser.sign_in()
            assert browser.fetch("GET", "/own/").status_code == 200
            assert browser.fetch("GET", "/own/x").status_code == 403
    assert "uninitialized" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("cache", [None, HELD])
def test_no_code_is_in_nginx_s_access_log(tmp_path, monkeypatch, cache):
    with front() as site, serve(Echo()) as upstream:
        written = programs.snippet
        monkeypatch.setattr(programs, "snippet", lambda *args, **more: f"access_log access;{written(*args, **more)}")
        settings = site.config(trusted_proxies=(LOOPBACK,))
        with (
            serve(LuminMiddleware(Echo(), settings), lifespan="on") as auth,
            proxy("nginx", settings, site.port, tmp_path, auth=auth, upstream=upstream, cache=cache),
            site.browser() as browser,
        ):
            browser.sign_in()
            assert browser.fetch("GET", "/page?seen").status_code == 200
    logged = (tmp_path / "access").read_text()
    assert "/page?seen" in logged
    assert "/auth/session" in logged
    assert "/auth/callback" not in logged


class Slow:
    """An application that takes its time, for the requests to one path."""

    def __init__(self, app: Any, path: str, seconds: float) -> None:
        self.app, self.path, self.seconds = app, path, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == self.path:
            await asyncio.sleep(self.seconds)
        await self.app(scope, receive, send)


@pytest.mark.parametrize("cache", [None, HELD])
@pytest.mark.parametrize("slow", ["/auth/verify", "/auth/session", "none"])
def test_what_nginx_is_told_for_all_of_a_host_changes_nothing_of_ours(tmp_path, monkeypatch, cache, slow):
    """Pages of its own for errors are not ours to ask about, and how long it waits for others is not for us."""
    echo, more = Echo(), "proxy_intercept_errors on; proxy_read_timeout 500ms; proxy_send_timeout 500ms;"

    async def refuse(scope, receive, send):
        await PlainTextResponse("my own words", status_code=403)(scope, receive, send)

    echo.handlers["/free/x"] = refuse
    with front() as site, serve(echo) as upstream:
        written = programs.snippet
        monkeypatch.setattr(programs, "snippet", lambda *args, **options: written(*args, **options) + more)
        settings = site.config(trusted_proxies=(LOOPBACK,), public=PUBLIC)
        app = Slow(LuminMiddleware(Echo(), settings), slow, 0)
        with (
            serve(app, lifespan="on") as auth,
            proxy("nginx", settings, site.port, tmp_path, auth=auth, upstream=upstream, cache=cache),
            site.browser() as browser,
        ):
            app.seconds = 1.5
            answer = browser.fetch("GET", "/free/x")
            assert (answer.status_code, answer.text) == (403, "my own words")
            assert browser.fetch("GET", "/auth/session").status_code == 401
            assert browser.fetch("GET", "/page").json()["reason"] == "no_session"


@pytest.mark.parametrize("timeout", [0.1, 10, 120])
def test_nginx_waits_for_longer_than_we_take(timeout):
    settings = config(timeout=timeout, api_timeout=90)
    text = snippet("nginx", settings, auth="http://a", upstream="http://b")
    [waits] = set(re.findall(r"proxy_read_timeout (\d+)s; proxy_send_timeout \1s;", text))
    assert text.count("proxy_read_timeout") == 3
    assert int(waits) >= 2 * dead_after(timeout) + timeout + TTL + 90, "a renewal, and a call of the API"
    assert int(waits) >= 4 * timeout + TTL, "a callback"


def test_the_service_learns_who_it_is(setup, browser):
    person = next(iter(setup.front.emulator.users.values()))
    seen = told(browser.navigate("/page"))
    assert seen["x-auth-request-user"] == [person.sub]
    assert seen["x-auth-request-email"] == [person.email]
    assert seen["x-auth-request-scope"] == ["openid offline_access sign:requests"]
    [token] = seen["x-auth-request-access-token"]
    assert len(token) > 20, "which was opted in"


def test_any_request_passes_whole(browser):
    for method in ("GET", "POST", "PUT", "DELETE"):
        body = b"x" * 300_000 if method in ("POST", "PUT") else None
        seen = browser.fetch(method, "/page?a=b%20c", content=body).json()
        assert (seen["method"], seen["size"], seen["target"]) == (method, len(body or b""), "/page?a=b%20c")


def test_a_scope_that_is_missing_is_asked_for_or_refused(setup, browser):
    assert browser.navigate("/sign/x").status_code == 200
    refused = browser.fetch("GET", "/sign/templates/x")
    assert refused.status_code == 403
    assert challenges(refused) == ['Bearer realm="lumin", error="insufficient_scope", scope="templates"']
    assert setup.echo.seen[-1]["path"] == "/sign/x"
    begun = browser.navigate("/sign/templates/x")
    assert begun.status_code == 303
    assert "templates" in query(begun.headers["location"])["scope"].split()
    assert "x-auth-request-user" not in begun.headers
    done = browser.navigate(setup.front.emulator.sign_in(begun.headers["location"]))
    assert browser.navigate(done.headers["location"]).json()["target"] == "/sign/templates/x"


# What a request would be turned into something else by, of which nobody was asked: a tunnel past the judge.
@pytest.mark.parametrize("path", ["/free/x", "/page", "/auth/session"])
@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_nothing_is_traced_and_nothing_is_tunnelled(setup, browser, method, path):
    request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{setup.front.port}\r\nCookie: {browser.cookie()}\r\n"
    answer = exchanged(setup.front.port, f"{request}Connection: close\r\n\r\n".encode())
    refused = {"traefik": (b"403", b"501")}.get(setup.name, (b"405",))
    assert answer.split(b" ", 2)[1] in refused, answer
    assert browser.cookie().encode() not in answer
    assert setup.echo.seen == []


TUNNELS = {
    "h2c": "Upgrade: h2c",
    "in capitals": "Upgrade: H2C",
    "named twice": "Upgrade: websocket\r\nUpgrade: h2c",
    "named twice, turned round": "Upgrade: h2c\r\nUpgrade: websocket",
    "one of a list": "Upgrade: websocket, h2c",
    "one of a list, turned round": "Upgrade: h2c, websocket",
    "a version": "Upgrade: websocket/13",
    "TLS": "Upgrade: TLS/1.0",
    "longer": "Upgrade: websockets",
    "shorter": "Upgrade: websocke",
    "another": "Upgrade: webSocker",
}


@pytest.mark.parametrize("connection", ["Upgrade", "Upgrade, HTTP2-Settings", "keep-alive, upgrade"])
@pytest.mark.parametrize("upgrade", TUNNELS.values(), ids=TUNNELS)
def test_no_protocol_but_websocket_is_spoken_past_the_judge(setup, browser, upgrade, connection):
    cookie = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
    for path, sent in (("/free/x", ""), ("/page", f"Cookie: {cookie}\r\n")):
        setup.echo.seen.clear()
        with socket.create_connection((LOOPBACK, setup.front.port), timeout=PATIENCE) as connected:
            connected.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{setup.front.port}\r\n{sent}Connection: {connection}\r\n"
                f"{upgrade}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n".encode()
            )
            answered = connected.recv(65_536)
        assert answered.startswith(b"HTTP/1.1 ")
        assert not answered.startswith(b"HTTP/1.1 101")
        for scope in setup.echo.seen:
            headers = [(name.lower(), value.lower()) for name, value in scope["headers"]]
            assert {value for name, value in headers if name == b"upgrade"} <= {b"websocket"}
            assert not [name for name, _ in headers if name == b"http2-settings"]


def test_public_paths_pass_and_no_other_spelling_of_them(setup, stranger):
    assert stranger.navigate("/free/x?y").json()["target"] == "/free/x?y"
    assert stranger.navigate("/healthz").status_code == 200
    setup.echo.seen.clear()
    for path in ("/healthz/x", "/freedom", "/FREE/x"):
        assert stranger.navigate(path).status_code == 303
    assert stranger.navigate("/free").status_code in (303, 301), "nginx adds the slash"
    for path in (
        "/free/../page",
        "/free/..%2fpage",
        "/free/%2e%2e/page",
        "/free/%2e%2e%2fpage",
        "/free/..%5cpage",
        "/free/..\\page",
        "/free/%252e%252e/page",
        "/free/..;/page",
        "/free//page",
        "//free/page",
    ):
        if status(setup, path) == 200:  # then the proxy has tidied it up, and passed on what it took it for
            assert setup.echo.seen.pop()["raw_path"] == b"/free/page"
    assert setup.echo.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/secret/../free/x",
        "/secret/%2e%2e/free/x",
        "/secret/%2E./free/x?a",
        "/secret/.%2e/free/x?a",
        "/sign/../free/x",
        "/auth/../free/x",
        "/auth/%2e%2e/page",
        "/free/x/../../page",
        "/free/%2e%2e%2fpage#x",
        "/free/x#/../page",
        "/page#/free/x",
        "/secret/..%2ffree/x",
        "/secret/..;/free/x",
        "/free/../sign/x",
    ],
)
def test_what_the_proxy_takes_a_path_for_opens_nothing(setup, path):
    status(setup, path)
    for scope in setup.echo.seen:  # then the proxy has tidied it up, asked about that, and passed it on
        assert re.fullmatch(rb"/free/[a-z%23/]+", scope["raw_path"]), scope["raw_path"]
        assert b".." not in scope["raw_path"]


@pytest.mark.parametrize(
    "path", ["/sign/templates/x", "/SIGN/templates/x", "/x/../sign/templates/x", "/sign/templates/x#y"]
)
def test_no_spelling_does_without_the_scope(setup, browser, path):
    assert int(raw(setup, path, cookie=browser.cookie()).split(b" ")[1]) in (303, 400, 403)
    assert setup.echo.seen == []


def test_what_moves_a_path_or_has_an_odd_name_goes_no_further(setup, browser):
    for path in ("/page", "/free/x"):
        seen = told(browser.fetch("GET", path, headers={**FORGED, **MOVING, "X-Of-Theirs": "1"}))
        assert seen["x-of-theirs"] == ["1"]
        assert not [name for name in seen if re.search(r"[^a-z0-9-]", name)]
        assert not [name for name in seen if re.search("script|root-path|original|rewrite|forwarded-(pre|u|m)", name)]
        assert "/free" not in str(seen)


def status(setup: Setup, path: str) -> int:
    return int(raw(setup, path).split(b" ")[1])


def raw(setup: Setup, path: str, cookie: str = "none=1", *more: str) -> bytes:
    """The answer for a path that an HTTP client would tidy up."""
    host = f"{LOOPBACK}:{setup.front.port}"
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Accept: text/html", f"Cookie: {cookie}", "Connection: close"]
    lines += more
    with socket.create_connection((LOOPBACK, setup.front.port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_services_own_refusals_are_its_own(setup, browser):
    for code in (401, 403, 404, 500):

        async def refuse(scope, receive, send, code=code):
            await PlainTextResponse("my own words", status_code=code)(scope, receive, send)

        setup.echo.handlers["/page"] = refuse
        answer = browser.navigate("/page")
        assert (answer.status_code, answer.text) == (code, "my own words")


# --- the session ----------------------------------------------------------------------------------------


def test_a_refreshed_cookie_reaches_the_browser_beside_the_services_own(setup, browser):
    async def answer(scope, receive, send):
        headers = [(b"set-cookie", b"theirs=1; Path=/"), (b"set-cookie", b"more=2; Path=/")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    setup.echo.handlers["/page"] = answer
    setup.clock.advance(86_400 / 10 + 1)  # the session slides, and its token is renewed
    setup.wait()
    tokens = len(setup.front.emulator.calls_to("/oauth2/token"))
    response = browser.navigate("/page")
    assert (response.status_code, response.text) == (200, "hello")
    lines = response.headers.get_list("set-cookie")
    name = setup.front.config().session_cookie
    assert sorted(line.partition("=")[0] for line in lines) == [name, "more", "theirs"]
    ours = next(line for line in lines if line.startswith(f"{name}="))
    assert "HttpOnly" in ours
    assert "Max-Age=86400" in ours
    assert len(setup.front.emulator.calls_to("/oauth2/token")) == tokens + 1
    again = browser.navigate("/page")
    assert [line.partition("=")[0] for line in again.headers.get_list("set-cookie")] == ["theirs", "more"]


def test_signing_out_ends_it(setup, browser):
    before = browser.cookie()
    assert browser.sign_out().status_code == 303
    assert browser.navigate("/page").status_code == 303
    setup.wait()
    assert browser.fetch("GET", "/page", headers={"cookie": before}).status_code == 401
    assert setup.echo.seen == []


def test_a_store_in_trouble_lets_nobody_pass_and_says_when_to_come_back(setup, browser):
    setup.store.failing = True
    setup.wait()
    for answer in (browser.navigate("/page"), browser.fetch("GET", "/page"), browser.fetch("POST", "/page")):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert setup.echo.seen == []
    setup.store.failing = False
    assert browser.navigate("/page").status_code == 200, "and nobody was signed out"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_trouble_that_is_over_at_once_lets_nobody_pass_and_tells_nobody_who_it_is(setup, browser, method):
    """nginx asks twice, and what it is told the second time is what the browser gets."""
    setup.wait()
    setup.store.fails_once = True
    answer = browser.fetch(method, "/page")
    assert (answer.status_code, setup.echo.seen) == (503, [])
    assert int(answer.headers["retry-after"]) > 0
    assert meant_for_the_service(answer) == []
    assert not setup.store.fails_once
    assert browser.fetch(method, "/page").status_code == 200


def meant_for_the_service(answer: httpx2.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("x-auth-request-") or name == "cookie"]


def test_no_service_leads_a_browser_to_what_is_meant_for_it(setup, browser):
    """nginx goes where a service tells it to, also to what only nginx itself may ask."""

    async def lead(scope, receive, send):
        headers = {"X-Accel-Redirect": "/auth/verify"}
        await PlainTextResponse("hello", headers=headers)(scope, receive, send)

    setup.echo.handlers["/page"] = lead
    assert meant_for_the_service(browser.fetch("GET", "/page")) == []


# --- forgeries ------------------------------------------------------------------------------------------


def test_nobody_passes_by_what_they_say(setup, stranger):
    for headers in ({name: value} for name, value in FORGED.items()):
        assert stranger.fetch("GET", "/page", headers=headers).status_code == 401
    assert stranger.fetch("GET", "/page", headers=FORGED).status_code == 401
    assert stranger.navigate("/page", **FORGED).status_code == 303
    assert setup.echo.seen == []


@pytest.mark.parametrize("path", ["/page", "/free/x", "/healthz", "/sign/x"])
def test_nobody_is_who_they_say(setup, browser, path):
    forged = {name: value for name, value in FORGED.items() if setup.name == "caddy" or "Lumin" not in name}
    seen = told(browser.fetch("GET", path, headers=forged))
    assert "the root" not in str(seen)
    for name in seen:
        assert not re.match(r"x[-_]auth[-_]request[-_]groups", name)
        assert not re.search(r"_", name), "a twin with underscores"
    assert seen.get("x-forwarded-for", [LOOPBACK]) in ([LOOPBACK], [f"{LOOPBACK}, {LOOPBACK}"])
    assert "fixated" not in str(seen.get("cookie")) + str(seen.get("set-cookie"))


@pytest.mark.parametrize("connection", [*CONNECTIONS, "X-Auth-Request-Access-Token, X-Lumin-Cookie"])
def test_nobody_takes_away_who_they_are(setup, browser, stranger, connection):
    seen, plain = (told(browser.fetch("GET", "/page", headers=more)) for more in ({"connection": connection}, {}))
    assert seen["x-auth-request-user"] == [next(iter(setup.front.emulator.users.values())).sub]
    assert seen.keys() - {"connection"} == plain.keys() - {"connection"}
    assert stranger.fetch("GET", "/page", headers={"connection": connection}).status_code == 401


def test_no_forged_url_says_where_a_sign_in_leads(setup, stranger):
    begun = stranger.navigate("/page", **FORGED, **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    done = stranger.navigate(setup.front.emulator.sign_in(begun.headers["location"]))
    assert done.headers["location"] == "/page"


def test_no_forged_cookie_is_handed_to_the_browser(setup, browser, stranger):
    for person, path in ((browser, "/page"), (stranger, "/free/x")):
        answer = person.navigate(path, **{"X-Lumin-Set-Cookie": "lumin=fixated"})
        assert "set-cookie" not in answer.headers


def test_nobody_asks_verify_from_outside(setup, browser):
    for path in ("verify", "verify/", "verify/page", "verify?redirect"):
        assert browser.navigate(f"/auth/{path}").status_code == 404
    assert setup.echo.seen == []
    marks = {"X-Forwarded-Uri": "/page", "X-Original-URL": "/page", "X-Forwarded-Method": "GET"}
    for mark in (marks, {}):
        for path in ("verify", "verify?redirect&scope=templates", "verify/page"):
            answer = browser.fetch("GET", f"/auth/{path}", headers=mark)
            assert not [name for name in answer.headers if name.startswith("x-auth-request-") or name == "cookie"]
    lines = [f"{name}: {value}" for name, value in marks.items()]
    for path in (
        *(
            "verify",
            "%76erify",
            "./verify",
            "/verify",
            "verify/",
            "VERIFY",
            "verify?redirect",
            "%2e/verify",
            "verify%2f",
        ),
        *(
            "x/../verify",
            "verify/page",
            "verify//page",
            "../auth/verify",
            "verify;x",
            "verify#",
            "%2e%2e/auth/verify/x",
        ),
    ):
        for more in ([], lines):
            answer = raw(setup, f"/auth/{path}", browser.cookie(), *more).lower()
            assert answer.startswith(b"http/1.1 ")
            assert b"x-auth-request-" not in answer.partition(b"\r\n\r\n")[0], path
            assert b"\r\ncookie:" not in answer.partition(b"\r\n\r\n")[0], path


def test_no_link_on_another_site_adds_a_scope_to_a_sign_in(setup, browser, stranger):
    for person in (browser, stranger):
        for link in ("/auth/verify?redirect&scope=templates", "/auth/verify/?redirect&scope=templates"):
            answer = person.navigate(link, **{"Sec-Fetch-Site": "cross-site"})
            assert "templates" not in query(answer.headers.get("location", "")).get("scope", "")


def test_our_cookies_do_not_reach_the_service(setup, browser):
    for cookie, rest in (
        (f"a=1; {browser.cookie()}; b=2", ["a=1", "b=2"]),
        (f"{browser.cookie()}; b=2", ["b=2"]),
        (f"a=1; {browser.cookie()}", ["a=1"]),
        (f"xlumin=1; {browser.cookie()}", ["xlumin=1"]),
        (browser.cookie(), []),
    ):
        seen = told(browser.fetch("GET", "/page", headers={"cookie": cookie}))
        parts = [part.strip() for value in seen.get("cookie", []) for part in value.split(";")]
        assert [part for part in parts if part] == rest


def test_a_service_sets_any_cookie_and_under_caddy_none_of_ours(setup, browser):
    """The others cannot take one of several headers away (docs/frontends.md)."""
    said = [line.partition(";")[0] for line in set_by_the_service(setup, browser) if line]
    name = setup.front.config().session_cookie
    if setup.name == "caddy":
        assert said == ["theirs=1", "=plain", f"x={name}=x", "last=2"]
    else:
        assert len(said) == 10


def set_by_the_service(site: Any, browser: Browser) -> list[str]:
    """What a browser is told of the cookies of a service that takes our names."""
    name = site.front.config().session_cookie
    ours = [f"{name}=x", f"={name}=x", f"= {name}=x", f"{name}-0=x", f"{name}-tries =x", f"={name}-past=x"]
    theirs = ["theirs=1", "=plain", f"x={name}=x"]

    async def answer(scope, receive, send):
        headers = [(b"set-cookie", f"{each}; Path=/".encode()) for each in [*theirs, *ours, "last=2"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    site.echo.handlers["/cookies"] = answer
    return [
        value.decode() for name, value in browser.fetch("GET", "/cookies").headers.raw if name.lower() == b"set-cookie"
    ]


# --- WebSocket ------------------------------------------------------------------------------------------


def test_a_socket_opens_for_this_sites_pages_only(setup, browser, stranger):
    async def chat(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})
        await receive()

    setup.echo.handlers["/chat"] = chat
    with browser.websocket("/chat", headers={"origin": setup.front.origin}) as ws:
        ws.send_text("hello")
        assert ws.receive_text(30) == "HELLO"
    setup.echo.seen.clear()
    for person, origin in ((browser, "https://evil.example"), (stranger, setup.front.origin)):
        refused = person.websocket("/chat", headers={"origin": origin})
        with pytest.raises(WebSocketUpgradeError) as denied, refused:
            pass
        assert denied.value.response.status_code in (401, 403)
    assert setup.echo.seen == []


# --- the text -------------------------------------------------------------------------------------------


def test_a_program_that_is_not_known_is_named():
    with pytest.raises(ConfigurationError, match=r"docs/frontends\.md"):
        snippet("envoy", config(), auth="http://a", upstream="http://b")
    with pytest.raises(ConfigurationError, match="apache"):
        snippet("apache", config(), auth="http://a", upstream="http://b")


def test_routes_at_the_top_of_the_site_are_refused():
    top = replace(config(), redirect_uri="https://app.example.com/callback")
    with pytest.raises(ConfigurationError, match="redirect_uri"):
        snippet("nginx", top, auth="http://a", upstream="http://b")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("field", ["auth", "upstream"])
@pytest.mark.parametrize(
    "after", ["/base", "/base/", "//", "/%2e", "/ x", "?x", "#x", ";return 200", " x", "{x}", ":x", "99999"]
)
def test_an_address_of_which_other_targets_would_be_made_is_refused(program, field, after):
    where = {"auth": "http://127.0.0.1:8001", "upstream": "http://127.0.0.1:3000"}
    where[field] += after
    with pytest.raises(ConfigurationError, match=field):
        snippet(program, config(), **where)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "url", ["127.0.0.1:3000", "ftp://a", "http://", "http://a:b@c", "unix:/a", "http://a\n", "http://a..b"]
)
def test_what_is_no_address_is_refused(program, url):
    with pytest.raises(ConfigurationError, match="upstream"):
        snippet(program, config(), auth="http://a", upstream=url)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("url", ["http://a", "http://a/", "https://a-b.example:8443", "http://[::1]:3000"])
def test_an_address_is_taken(program, url):
    assert url.rstrip("/") in snippet(program, config(), auth="http://b", upstream=url)


@pytest.mark.parametrize("cache", [None, Cache(0), Cache(5)])
@pytest.mark.parametrize("upstream", ["https://service.example", "http://service.example"])
@pytest.mark.parametrize("auth", ["https://auth.example", "http://auth.example"])
def test_nginx_speaks_https_to_none_but_whom_it_means(auth, upstream, cache):
    text = snippet("nginx", config(), auth=auth, upstream=upstream, cache=cache)
    text = re.sub(r"\n +location = \S+ \{ access_log .*", "", text)  # it has all of the location around it
    if cache is not None:
        http = nginx_http(config(), auth=auth, upstream=upstream, cache=cache)
        for name, safe, other in re.findall(r"map \$request_method (\$\w+) \{ \S+ (\S+); default (\S+); \}", http):
            assert other == f"{safe}_once"
            text = text.replace(f"proxy_pass {name};", f"proxy_pass {safe};")
        for url in (auth, upstream):
            scheme, _, host = url.partition("://")
            assert http.count(f"{{ server {host}{':443' if scheme == 'https' else ''} max_fails=0; ") == 2
    assert text.count("proxy_pass http") == 4
    for block in text.split("proxy_pass ")[1:]:
        inside = block.partition("}")[0]
        assert inside.startswith("https:") == ("proxy_ssl_verify on;" in inside) == ("_certificate " in inside)
        name = ("service" if "service" in inside.partition(";")[0] else "auth") + ".example"
        assert inside.startswith("http:") or f"proxy_ssl_server_name on; proxy_ssl_name {name};" in inside


@pytest.mark.parametrize("url", ["https://127.0.0.1:3000", "https://[::1]"])
@pytest.mark.parametrize("field", ["auth", "upstream"])
def test_nginx_can_verify_no_address(url, field):
    with pytest.raises(ConfigurationError, match="names") as raised:
        snippet("nginx", config(), **{"auth": "http://a", "upstream": "http://a", field: url})
    assert raised.value.field == field


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_short_and_does_not_change_when_the_rules_do(program):
    where = {"auth": "http://127.0.0.1:8001", "upstream": "http://127.0.0.1:3000"}
    plain = snippet(program, config(), **where)
    rules = {"public": ["/static/*"], "optional": ["/"], "required_scopes": {"/sign/*": "sign:requests"}}
    assert snippet(program, config(**rules), **where) == plain
    assert len(plain.splitlines()) < 110


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_secret_is_in_the_text(program):
    settings = config()
    text = snippet(program, settings, auth="http://a", upstream="http://b")
    assert str(settings.client_secret) not in text
    assert "%{" not in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_prints_it(program):
    with front() as site:
        variables = {**site.variables, "LUMIN_PUBLIC": "/free/*"}
        command = [sys.executable, "-m", "lumin_middleware", "snippets", program, "--upstream", "http://127.0.0.1:1"]
        done = spawning.run(command, cwd=ROOT, env=environment(**variables))
        settings = site.config(public=("/free/*",))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == snippet(program, settings, auth="http://127.0.0.1:8001", upstream="http://127.0.0.1:1")


def test_the_command_names_what_is_wrong():
    with front() as site:
        command = [sys.executable, "-m", "lumin_middleware", "snippets", "apache"]
        done = spawning.run(command, cwd=ROOT, env=environment(**site.variables))
    assert done.returncode == 1
    assert "nginx, caddy, traefik" in done.stderr
    assert "Traceback" not in done.stderr
