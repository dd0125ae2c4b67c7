"""Envoy, which appends the target to `verify` and takes 200 alone for yes, with the filters that the documents give."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from httpx2.websockets import WebSocketUpgradeError

from lumin_middleware import LuminMiddleware
from lumin_middleware.gateway.snippets import snippet
from tests.fakes import config
from tests.gateway.test_gateway import CONNECTIONS, raw
from tests.proxies import envoy
from tests.proxies.programs import proxy
from tests.proxies.rig import LOOPBACK, Browser, Echo, front, serve, told
from tests.site_rig import Clock, query


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[SimpleNamespace]:
    folder, echo, clock = tmp_path_factory.mktemp("envoy"), Echo(), Clock()
    with front(clock=clock) as site, serve(echo) as upstream:
        settings = site.config(
            sessions="store",
            public=("/free/*",),
            required_scopes={"/templates/*": "templates"},
            trusted_proxies=(LOOPBACK,),
            verify_access_token=True,
        )
        with (
            serve(LuminMiddleware(Echo(), settings, clock=clock), lifespan="on") as auth,
            proxy("envoy", settings, site.port, folder, auth=auth, upstream=upstream),
        ):
            yield SimpleNamespace(front=site, echo=echo, clock=clock)


@pytest.fixture
def setup(running) -> SimpleNamespace:
    running.echo.seen.clear()
    return running


@pytest.fixture
def browser(setup) -> Iterator[Browser]:
    with setup.front.browser() as browser:
        browser.sign_in()
        setup.echo.seen.clear()
        yield browser


@pytest.fixture
def stranger(setup) -> Iterator[Browser]:
    with setup.front.browser() as stranger:
        yield stranger


def test_it_waits_for_us_as_long_as_nginx_does(setup):
    """By itself it gives up after fifteen seconds, in the middle of a sign-in."""
    settings = config()
    asked = re.search(r"proxy_read_timeout (\d+)s;", snippet("nginx", settings, auth="http://a", upstream="http://b"))
    text = envoy.written("http://a:1", "http://b:1", "http://c:1")
    assert re.findall(r"cluster: lumin-auth, timeout: (\d+)s", text) == [asked[1]] * 2
    assert len(re.findall("cluster: lumin-auth", text)) == 2


def test_a_person_signs_in_and_comes_back_to_the_page_that_they_wanted(setup, stranger):
    page = stranger.sign_in("/deep/page?x=1&redirect")
    assert page.json()["target"] == "/deep/page?x=1&redirect"
    [seen] = setup.echo.seen
    person = next(iter(setup.front.emulator.users.values()))
    assert dict(seen["headers"])[b"x-auth-request-user"] == person.sub.encode()


def test_the_sites_rules_say_who_may_pass(setup, browser, stranger):
    assert stranger.navigate("/free/x").json()["target"] == "/free/x"
    for method in ("GET", "POST"):
        refused = stranger.fetch(method, "/data", content=b"x" if method == "POST" else None)
        assert (refused.status_code, refused.json()["reason"]) == (401, "no_session")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert browser.fetch("POST", "/data", content=b"x" * 300_000).json()["size"] == 300_000
    assert browser.fetch("GET", "/templates/x").status_code == 403
    begun = browser.navigate("/templates/x")
    assert "templates" in query(begun.headers["location"])["scope"].split()
    assert [scope["path"] for scope in setup.echo.seen] == ["/free/x", "/data"]


def test_a_renewed_cookie_reaches_the_browser(setup, browser):
    setup.clock.advance(86_400 / 10 + 1)
    answer = browser.navigate("/page")
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("lumin")


def test_nobody_is_who_they_say_and_nothing_moves_a_path(browser, stranger):
    forged = {
        "X-Auth-Request-User": "the root",
        "X-Auth-Request-Groups": "the root",
        "X_Auth_Request_User": "the root",
        "X.Auth.Request.User": "the root",
        "SCRIPT_NAME": "/free",
        "Daphne-Root-Path": "/free",
        "X-Original-URL": "/free/x",
        "X-Rewrite-URL": "/free/x",
        "X-Envoy-Original-Path": "/free/x",
    }
    for person, path in ((browser, "/page"), (browser, "/free/x"), (stranger, "/free/x")):
        seen = told(person.fetch("GET", path, headers=forged))
        assert "the root" not in str(seen)
        assert not [name for name in seen if re.search("[^a-z0-9-]|original|rewrite|root-path", name)]
    for name, value in forged.items():
        assert stranger.fetch("GET", "/page", headers={name: value}).status_code == 401


@pytest.mark.parametrize("path", ["/free/x", "/page", "/auth/session"])
@pytest.mark.parametrize(("method", "status"), [("TRACE", b"405"), ("CONNECT", b"400")])
def test_nothing_is_traced_and_nothing_is_tunnelled(setup, browser, method, status, path):
    request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{setup.front.port}\r\nCookie: {browser.cookie()}\r\n"
    answer = raw(setup.front.port, f"{request}Connection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] == status, answer
    assert setup.echo.seen == []


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_nobody_takes_away_who_they_are(setup, browser, stranger, connection):
    answer = browser.fetch("GET", "/page", headers={"connection": connection})
    if answer.status_code == 400:  # of what a request cannot do without it takes nothing away, and passes nothing on
        assert setup.echo.seen == []
        return
    seen, plain = told(answer), told(browser.fetch("GET", "/page"))
    assert seen["x-auth-request-user"] == [next(iter(setup.front.emulator.users.values())).sub]
    assert seen.keys() - {"connection"} == plain.keys() - {"connection"}
    assert stranger.fetch("GET", "/page", headers={"connection": connection}).status_code == 401


def test_nobody_asks_verify_from_outside(browser):
    for path in ("verify", "verify/page", "verify?redirect&scope=templates", "%76erify/page", "verify/../verify/page"):
        answer = browser.fetch("GET", f"/auth/{path}", headers={"x-forwarded-uri": "/page"})
        assert not [name for name in answer.headers if name.startswith("x-auth-request-")]


@pytest.mark.parametrize(
    "path", ["/secret/../free/x", "/secret/%2e%2e/free/x", "/free/../page", "/free/%2e%2e%2fpage", "/free/x#/../page"]
)
def test_what_the_proxy_takes_a_path_for_opens_nothing(setup, path):
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Accept: text/html", "Connection: close", "", ""]
    with socket.create_connection((LOOPBACK, setup.front.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert int(answer.split(b" ")[1]) in (303, 400, 401, 403)
    assert setup.echo.seen == []


def test_a_socket_opens_for_this_sites_pages_only(setup, browser):
    async def chat(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await receive()

    setup.echo.handlers["/chat"] = chat
    with browser.websocket("/chat", headers={"origin": setup.front.origin}) as ws:
        assert ws.receive_text(30) == "hello"
    refused = browser.websocket("/chat", headers={"origin": "https://evil.example"})
    with pytest.raises(WebSocketUpgradeError) as denied, refused:
        pass
    assert denied.value.response.status_code == 403
