"""RT: what may pass. The oracle is Starlette's own router with files behind it: what it serves was reached."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from lumin_middleware import LuminMiddleware
from lumin_middleware.errors import LoginRequired
from tests.acceptance.harness import (
    LOGIN,
    Raw,
    call,
    cookie_header,
    cookies,
    shake_hands,
    subject,
    with_cookies,
)
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION, Browser, Site, query

SECRET = "the contract of Mira Halden"
PUBLIC = ["/public", "/static/*", "/files/open/*", "/healthz", "/app.css", "/auth-info"]


class Oracle:
    """A real application: handlers that count, a socket, and files of which some are public."""

    def __init__(self, site: Site, directory: Path, **rules: Any) -> None:
        self.site = site
        self.reached: list[str] = []
        for name in ("open", "private"):
            (directory / name).mkdir()
        (directory / "open" / "a.txt").write_text("anybody may read this")
        (directory / "private" / "secret.txt").write_text(SECRET)
        (directory / "secret.txt").write_text(SECRET)
        routes = [
            *(Route(path, self._handler("public"), methods=ALL) for path in ("/public", "/healthz", "/app.css")),
            *(Route(path, self._handler("protected"), methods=ALL) for path in PROTECTED),
            Mount("/static", StaticFiles(directory=directory / "open")),
            Mount("/files", StaticFiles(directory=directory)),
            Mount("/nested", Starlette(routes=[Route("/admin", self._handler("protected"), methods=ALL)])),
            Route("/stream", self._stream),
            WebSocketRoute("/ws", self._socket),
            WebSocketRoute("/public-ws", self._socket),
        ]
        self.router = Starlette(routes=routes)
        self.app = LuminMiddleware(
            self.router, site.with_settings(**{"public": PUBLIC, **rules}).config, clock=site.clock
        )
        site.processes.append(self.app)

    def _handler(self, kind: str) -> Callable[[Request], Any]:
        async def handler(request: Request) -> Response:
            self.reached.append(kind)
            return PlainTextResponse("nothing to see" if kind == "public" else SECRET)

        return handler

    async def _stream(self, request: Request) -> Response:
        self.reached.append("protected")

        async def chunks() -> Any:
            yield SECRET

        return StreamingResponse(chunks())

    async def _socket(self, socket: WebSocket) -> None:
        self.reached.append("protected")
        await socket.accept()
        client = socket.state.lumin
        await socket.send_json({"subject": client.subject if client else None})
        await socket.close()

    def was_breached(self, answer: Raw) -> bool:
        return "protected" in self.reached or SECRET.encode() in answer.body


ALL = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
PROTECTED = [
    "/",
    "/admin",
    "/publicity",
    "/public-admin",
    "/public/x",
    "/api/private",
    "/api/private/{rest:path}",
    "/statica",
]


@pytest.fixture
def oracle(site, tmp_path):
    return Oracle(site, tmp_path)


@pytest.fixture
def each_oracle(each_site, tmp_path):
    return Oracle(each_site, tmp_path)


# --- RT-01 ----------------------------------------------------------------------------------------------

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
GOING: dict[str, dict[str, str]] = {
    "fetch metadata": NAVIGATION,
    "an old browser": {"accept": HTML},
    "a browser that says XHTML": {"accept": "application/xhtml+xml"},
    "from another site": {**NAVIGATION, "sec-fetch-site": "cross-site"},
    "a service worker that passes a navigation on": {**NAVIGATION, "sec-fetch-dest": "empty"},
    "Android's WebView": {**NAVIGATION, "x-requested-with": "com.example.app"},
    "an old WebView": {"accept": HTML, "x-requested-with": "com.example.app"},
    "a refresh": {**NAVIGATION, "cache-control": "max-age=0", "upgrade-insecure-requests": "1"},
}
CALLING: dict[str, tuple[str, dict[str, str]]] = {
    "fetch": ("GET", FETCH),
    "fetch that takes HTML": ("GET", {**FETCH, "accept": HTML}),
    "an API client": ("GET", {"accept": "application/json"}),
    "curl": ("GET", {"accept": "*/*"}),
    "no headers at all": ("GET", {}),
    "HTML refused": ("GET", {"accept": "application/json, text/html;q=0"}),
    "XMLHttpRequest": ("GET", {"accept": HTML, "x-requested-with": "XMLHttpRequest"}),
    "XMLHttpRequest in small letters": ("GET", {"accept": HTML, "x-requested-with": "xmlhttprequest"}),
    "an image": ("GET", {"accept": "image/*", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
    "a script": ("GET", {"accept": "*/*", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}),
    "an event stream": ("GET", {"accept": "text/event-stream", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}),
    "a frame": ("GET", {**NAVIGATION, "sec-fetch-dest": "iframe"}),
    "a form post": ("POST", {**NAVIGATION, "content-type": "application/x-www-form-urlencoded"}),
    **{method: (method, NAVIGATION) for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO", "get")},
    "a prefetch": ("GET", {**NAVIGATION, "sec-purpose": "prefetch"}),
    "a prerender": ("GET", {**NAVIGATION, "sec-purpose": "prefetch;prerender"}),
    "an old prefetch": ("GET", {**NAVIGATION, "purpose": "prefetch"}),
    "Firefox's old prefetch": ("GET", {**NAVIGATION, "x-moz": "prefetch"}),
    "HTMX": ("GET", {"accept": "*/*", "hx-request": "true"}),
    "a boosted HTMX link": ("GET", {**FETCH, "accept": HTML, "hx-request": "true", "hx-boosted": "true"}),
}


PAGE = "text/html; charset=utf-8"
READING = {"a frame", "a form post", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO", "get"}
"""Whoever is shown the answer, and so gets a page."""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_rt_01_a_navigation_is_redirected_to_the_sign_in(each_oracle, method):
    for name, headers in GOING.items():
        answer = await call(each_oracle.app, "/admin", method=method, headers=headers)
        assert answer.status in (302, 303), name
        assert (answer.header("location") or "").startswith(f"{each_oracle.site.emulator.base}/oauth2/auth?"), name
        assert [cookie for cookie in answer.set_cookies if cookie.startswith(LOGIN)], name
        assert answer.header("cache-control") == "no-store"
        assert answer.body == b""
    assert each_oracle.reached == []


async def test_rt_01_whatever_cannot_be_redirected_gets_a_401_and_no_cookie(each_oracle):
    for name, (method, headers) in CALLING.items():
        answer = await call(each_oracle.app, "/admin", method=method, headers=headers)
        assert answer.status == 401, name
        assert answer.header("location") is None, name
        assert answer.set_cookies == {}, name
        assert (answer.header("www-authenticate") or "").startswith("Bearer "), name
        assert answer.header("content-type") == (PAGE if name in READING else "application/problem+json"), name
        assert answer.header("cache-control") == "no-store", name
    assert each_oracle.reached == []
    assert each_oracle.site.store._entries == {}


async def test_rt_01_the_401_says_why_and_where_to_sign_in(each_site):
    answer = await each_site.browser().fetch("GET", "/x?y=1", referer=f"{ORIGIN}/page?a=b")
    problem = answer.json()
    assert problem == {
        "type": "urn:lumin-middleware:no_session",
        "title": problem["title"],
        "status": 401,
        "reason": "no_session",
        "login_url": "/auth/login?return_to=/page%3Fa%3Db",
        "reference": problem["reference"],
    }


async def test_rt_01_htmx_is_told_to_send_the_page_to_the_sign_in(each_site):
    headers = {"hx-request": "true", "hx-current-url": f"{ORIGIN}/page?a=b", "accept": "*/*"}
    answer = await each_site.browser().get("/fragment", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/auth/login?return_to=/page%3Fa%3Db"
    assert "location" not in answer.headers


async def test_rt_01_where_a_call_came_from_another_site_its_page_is_not_told(each_site):
    for referer in ("https://evil.example/page", f"{ORIGIN}.evil.example/page", f"{ORIGIN}@evil.example/", "null", ""):
        answer = await each_site.browser().fetch("GET", "/x", referer=referer)
        assert answer.json()["login_url"] == "/auth/login?return_to=/x"


async def test_rt_01_the_reason_tells_an_expired_session_from_none_and_every_bad_cookie_is_none(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(each_site.config.idle_timeout + 1)
    answer = await browser.fetch("GET", "/x")
    assert (answer.status_code, answer.json()["reason"]) in {(401, "expired"), (401, "no_session")}
    for value in ("x", "", "A" * 500, "..", "%00"):
        answer = await call(each_site.middleware, "/x", headers={**FETCH, "cookie": f"{SESSION}={value}"})
        assert answer.status == 401
        assert b'"reason": "no_session"' in answer.body


# --- RT-02 ----------------------------------------------------------------------------------------------


async def test_rt_02_nothing_that_is_unlisted_reaches_the_application(each_oracle):
    methods = [*ALL, "TRACE", "CONNECT", "PROPFIND", "FOO", "get", "G\u00cbT"]
    paths = ["/admin", "/", "/stream", "/nested/admin", "/files/private/secret.txt", "/unknown", "/admin/", "*", ""]
    extra: list[dict[str, str]] = [
        {},
        {"range": "bytes=0-3"},
        {"transfer-encoding": "chunked"},
        {"expect": "100-continue"},
        {"upgrade": "websocket", "connection": "upgrade"},
        {"if-none-match": "*"},
        {"authorization": "Bearer x", "x-forwarded-user": "root"},
        {"cookie": f"session=1; {SESSION}=; __Secure-lumin=1; lumin=1"},
    ]
    for path in paths:
        for method in methods:
            for headers in extra:
                for kind in (FETCH, NAVIGATION):
                    answer = await call(each_oracle.app, path, method=method, headers={**kind, **headers}, body=b"x")
                    assert answer.status in (303, 400, 401), (method, path, answer.status)
                    assert not each_oracle.was_breached(answer), (method, path, headers)
    assert each_oracle.reached == []


async def test_rt_02_what_is_public_is_served(each_oracle):
    for path in ("/public", "/healthz", "/app.css", "/static/a.txt", "/files/open/a.txt"):
        answer = await call(each_oracle.app, path, headers={})
        assert answer.status == 200, path
        assert answer.set_cookies == {}
        assert answer.header("vary") is None


# --- RT-03 ----------------------------------------------------------------------------------------------

BASES = ["/public", "/static/", "/static/a.txt", "/files/open/", "/files/open/x/y", "/healthz", "/app.css", "/static"]
GOALS = [
    "admin",
    "api/private",
    "nested/admin",
    "files/private/secret.txt",
    "private/secret.txt",
    "secret.txt",
    "stream",
]
TRICKS = [
    *("", "/", "//", "///", "/../", "/../../", "/../../../", "/..", "/.", "/./", "/.//", "//../", "/..//"),
    *("/x/../../", "/x/..//../", "/%2e%2e/", "/%2E%2E/", "/.%2e/", "/%2e./", "/..%2f", "/..%2F", "/%2e%2e%2f"),
    *("%2f..%2f", "%2f%2e%2e%2f", "/..%5c", "/%2e%2e%5c", "%5c..%5c", "\\..\\", "/..\\", "/\\../", "/..;/", "/;/../"),
    *(";/../", ";a=b/../", "/..;a=b/", "/.;/../", "/%3b/../", "/..%3b/", "%00", "%00/../", "/..%00/", "/%00../"),
    *("/..%09/", "/..%0a/", "/..%0d%0a/", "%0a/../", "%20/../", "/..%20/", "/%252e%252e/", "/%252e%252e%252f"),
    *("/..%252f", "/%25252e%25252e/", "/%c0%ae%c0%ae/", "/%e0%80%ae%e0%80%ae/", "/..%c0%af", "/%ef%bc%8e%ef%bc%8e/"),
    *("/..%ef%bc%8f", "/%u002e%u002e/", "/..%u2215", "/..%ff/", "?/../", "#/../", "%3f/../", "%23/../", "/*/../"),
    *("@", ":80/../", "/.../", "/..../", "/.. /", "/ ../", "/..\t/", "/..\x00/", "/..\n/", "/..\x85/", "/..\xa0/"),
    *("/%2e%2e;/", "/%2e%2e%3b/", "%2f%2f", "%5c%5c", "%2f", "%5c", "~/../"),
]
PLAIN = [
    "/publicity",
    "/public-admin",
    "/public/x",
    "/public/",
    "/public.admin",
    "/public%20",
    "/public%00",
    "/statica",
    "/static",
    "/admin?x=/public",
    "/api/private?path=/status&path=/public",
    "/admin?/static/",
    "/admin#/public",
    "/admin%3Fx=/public",
    "/admin%23/public",
    "/admin;/public",
    "/admin/../public",
    "/api/private/../../public",
    "/api/private/..%2f..%2fpublic",
    "/api/private/%2e%2e/%2e%2e/public",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/a%64min",
    "/admin/",
    "/admin%2f",
    "//admin",
    "///admin",
    "/./admin",
    "/PUBLIC/../admin",
    "/Public",
    "http://app.example.com/admin",
    "http://app.example.com/public/../admin",
    "//app.example.com/admin",
    "/files//private/secret.txt",
    "/files/open//../private/secret.txt",
    "/files/open/../../secret.txt",
    "/files/%2e/private/secret.txt",
    "/auth/../admin",
    "/auth/login/../../admin",
    "/auth/callback/..;/admin",
    "/auth//login",
]


def attacks() -> list[str]:
    return [*PLAIN, *(f"{base}{trick}{goal}" for base in BASES for trick in TRICKS for goal in GOALS)]


def test_rt_03_the_corpus_is_large():
    assert len(set(attacks())) > 4000


@pytest.mark.by_the_thousand
async def test_rt_03_no_path_that_begins_as_a_public_one_reaches_what_is_not(oracle):
    breached = []
    for target in attacks():
        oracle.reached.clear()
        answer = await call(oracle.app, target.encode(), headers={})
        assert answer.status in (200, 303, 307, 400, 401, 404, 405), (target, answer.status)
        if oracle.was_breached(answer):
            breached.append(target)
    assert breached == []


@pytest.mark.by_the_thousand
@pytest.mark.parametrize("twice", [False, True], ids=["no raw_path", "decoded twice"])
async def test_rt_03_servers_that_decode_otherwise_open_no_way(oracle, twice):
    """`raw_path` is optional; and some servers, or proxies in front, decode once more than others."""
    breached = []
    for target in attacks():
        oracle.reached.clear()
        answer = await call(oracle.app, target.encode(), headers={}, raw_path=None)
        if twice:
            decoded = target.partition("?")[0].replace("%25", "%")
            answer = await call(oracle.app, decoded.encode(), headers={}, raw_path=target.partition("?")[0].encode())
        if oracle.was_breached(answer):
            breached.append(target)
    assert breached == []


async def test_rt_03_a_path_and_a_raw_path_that_disagree_are_not_public(oracle):
    """The application routes on `path`; an attacker may find a way to write the other."""
    for raw_path in (b"/public", b"/static/a.txt", b"/healthz", b"/%70ublic", b"/admin/../public"):
        answer = await call(oracle.app, "/admin", headers={}, raw_path=raw_path)
        assert answer.status in (400, 401)
        assert not oracle.was_breached(answer)


@pytest.mark.parametrize("root_path", ["/mount", "/public", "/static", "/files/open", "/mount/"])
async def test_rt_03_a_mounted_site_is_guarded_below_its_mount(oracle, root_path):
    breached = []
    for target in (
        *PLAIN,
        *(f"{root_path}{path}" for path in PLAIN),
        f"{root_path}admin",
        f"{root_path}/{root_path}/admin",
    ):
        oracle.reached.clear()
        answer = await call(oracle.app, target.encode(), headers={}, root_path=root_path)
        if oracle.was_breached(answer):
            breached.append(target)
    assert breached == []


@pytest.mark.parametrize("root_path", ["/mount", "/static", "/a/b"])
async def test_rt_03_a_mount_is_believed_where_the_callback_lies_below_it(site, tmp_path, root_path):
    """Any other may have come from the client."""
    oracle = Oracle(site, tmp_path, redirect_uri=f"{ORIGIN}{root_path}/auth/callback")
    for target, status in (("/public", 200), ("/static/a.txt", 200), ("/admin", 401), ("/static/", 401)):
        answer = await call(oracle.app, root_path + target, headers=FETCH, root_path=root_path)
        assert answer.status == status, target
    assert (await call(oracle.app, f"{root_path}x/public", headers=FETCH, root_path=f"{root_path}x")).status == 401


async def test_rt_03_a_header_that_renames_the_request_changes_nothing(oracle):
    for name in ("x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-prefix", "x-http-method-override"):
        for value in ("/public", "GET", "/static/x"):
            for method in ("GET", "POST"):
                answer = await call(oracle.app, "/admin", method=method, headers={name: value})
                assert answer.status == 401
    assert oracle.reached == []


NAMES = ["public", "static", "files", "open", "private", "admin", "api", "nested", "a.txt", "secret.txt"]
OTHERS = ["..", ".", "", "%2e%2e", "..;", ";", "%2f", "%5c", "\\", "%00", "%25", "%252e%252e", "\xff", "é", "x"]
SEGMENT = st.sampled_from(NAMES) | st.sampled_from(OTHERS)


@pytest.mark.by_the_thousand
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SEGMENT, min_size=1, max_size=8), st.sampled_from(["/", "//", "/./", "%2f", "\\", ";/"]))
async def test_rt_03_no_arrangement_of_segments_reaches_what_is_not_public(oracle, segments, joint):
    oracle.reached.clear()
    answer = await call(oracle.app, ("/" + joint.join(segments)).encode("latin-1"), headers={})
    assert not oracle.was_breached(answer)


async def test_rt_03_real_requests_on_a_real_server_find_no_way(oracle, served):
    """What uvicorn makes of a request line, and not what this test believes that it makes."""
    port = served(oracle.app)
    breached = []
    for target in [*PLAIN, *(f"{base}{trick}admin" for base in ("/public", "/static/") for trick in TRICKS)]:
        oracle.reached.clear()
        line = target.encode().replace(b"\n", b"%0A").replace(b" ", b"%20")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % line)
            answer = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
        assert answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4")), (target, answer[:80])
        if "protected" in oracle.reached or SECRET.encode() in answer:
            breached.append(target)
    assert breached == []


async def test_rt_03_a_path_is_passed_on_as_it_came(site):
    browser = site.browser()
    await browser.sign_in()
    for target in ("/a%2Fb//c;d=e/%25?x=%20&y", "/caf%C3%A9", "/%2561"):
        scope_before = len(site.app.scopes)
        answer = await call(site.middleware, target, headers=with_cookies(browser))
        assert answer.status == 200
        scope = site.app.scopes[scope_before]
        assert scope["raw_path"] == target.partition("?")[0].encode()
        assert scope["query_string"] == target.partition("?")[2].encode()


async def test_rt_03_a_trick_is_refused_even_to_somebody_who_is_signed_in(each_oracle):
    """An application behind may resolve what we do not (DESIGN, section 4)."""
    site = each_oracle.site
    browser = Browser(each_oracle.app, site)
    await browser.sign_in()
    for target in ("/static/../admin", "/static/%2e%2e/admin", "/a\\b", "/x/..;/admin", "/a%00b/../c", "/a%0ab"):
        answer = await call(each_oracle.app, target, headers=with_cookies(browser))
        assert answer.status == 400, target
    assert each_oracle.reached == []


# --- RT-08 ----------------------------------------------------------------------------------------------

OURS = {"origin": ORIGIN}
STRANGE_ORIGINS = [
    "https://evil.example",
    "null",
    "",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evilapp.example.com",
    "https://APP.example.com/",
    "https://app.example.com/",
    "https://app.example.com https://evil.example",
    "file://",
]


def denied(sent: list[dict[str, Any]]) -> bool:
    [first, *rest] = sent
    if first["type"] == "websocket.close":
        return first["code"] in (1008, 4400, 4401, 4403) and not rest
    return first["type"] == "websocket.http.response.start" and first["status"] in (400, 401, 403)


async def test_rt_08_a_handshake_without_a_session_is_denied_before_the_application_sees_it(each_oracle):
    for path in ("/ws", "/", "/unknown", "/ws/../public", "/public/../ws", "/%77s"):
        for headers in (OURS, {}, {**OURS, "cookie": f"{SESSION}=x"}):
            for extensions in ({}, {"websocket.http.response": {}}):
                sent = await shake_hands(each_oracle.app, path, headers=headers, extensions=extensions)
                assert denied(sent), (path, sent)
                if extensions:
                    assert sent[0]["type"] == "websocket.http.response.start"
                    assert not [name for name, _ in sent[0]["headers"] if name == b"set-cookie"]
    assert each_oracle.reached == []


async def test_rt_08_a_handshake_with_a_session_has_the_identity_in_its_scope(each_oracle):
    people = list(each_oracle.site.emulator.users)
    browser = Browser(each_oracle.app, each_oracle.site)
    await browser.sign_in(sub=people[1])
    sent = await shake_hands(each_oracle.app, "/ws", headers={**OURS, "cookie": cookie_header(browser)})
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert people[1] in sent[1]["text"]


async def test_rt_08_a_handshake_from_another_site_is_denied_with_the_session(each_oracle):
    browser = Browser(each_oracle.app, each_oracle.site)
    await browser.sign_in()
    cookie = cookie_header(browser).encode()
    for origin in STRANGE_ORIGINS:
        sent = await shake_hands(each_oracle.app, "/ws", headers={"origin": origin, "cookie": cookie.decode()})
        assert denied(sent), origin
    twice = [(b"cookie", cookie), (b"origin", ORIGIN.encode()), (b"origin", b"https://evil.example")]
    assert denied(await shake_hands(each_oracle.app, "/ws", headers=twice))
    assert denied(await shake_hands(each_oracle.app, "/ws", headers=[(b"cookie", cookie)]))
    assert each_oracle.reached == []


async def test_rt_08_an_optional_socket_does_not_give_another_site_the_session(each_site, tmp_path):
    oracle = Oracle(each_site, tmp_path, optional=["/ws"])
    browser = Browser(oracle.app, each_site)
    await browser.sign_in()
    headers = {"origin": "https://evil.example", "cookie": cookie_header(browser)}
    sent = await shake_hands(oracle.app, "/ws", headers=headers)
    assert denied(sent) or '"subject":null' in sent[1]["text"]
    anonymous = await shake_hands(oracle.app, "/ws", headers=OURS)
    assert '"subject":null' in anonymous[1]["text"]


async def test_rt_08_a_minimal_handshake_scope_is_understood(oracle):
    """ASGI: of a WebSocket's scope `query_string`, `raw_path`, `root_path` and `subprotocols` are optional."""
    scope = {"type": "websocket", "asgi": {"version": "3.0"}, "path": "/ws", "headers": []}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await oracle.app(scope, receive, send)
    assert denied(sent)


async def test_rt_08_a_socket_gets_a_401_over_the_wire(oracle, served):
    port = served(oracle.app)
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(f"ws://127.0.0.1:{port}/ws", origin=ORIGIN, proxy=None)
    assert refused.value.response.status_code in (401, 403)
    assert oracle.reached == []


async def test_rt_08_a_socket_is_served_over_the_wire_with_the_session(oracle, served):
    browser = Browser(oracle.app, oracle.site)
    await browser.sign_in()
    port = served(oracle.app)
    headers = {"Cookie": cookie_header(browser)}
    url = f"ws://127.0.0.1:{port}/ws"
    with websockets.sync.client.connect(url, origin=ORIGIN, additional_headers=headers, proxy=None) as connection:
        assert '"subject"' in connection.recv(timeout=PATIENCE)


async def test_rt_08_our_own_routes_are_no_sockets(oracle):
    browser = Browser(oracle.app, oracle.site)
    for path in ("/auth/login", "/auth/callback?code=x&state=y", "/auth/logout", "/auth/session", "/auth/verify"):
        assert denied(await shake_hands(oracle.app, path, headers=OURS))
    await browser.sign_in()
    sent = await shake_hands(oracle.app, "/auth/logout", headers={**OURS, "cookie": cookie_header(browser)})
    assert not [message for message in sent if message["type"] == "websocket.accept"]
    assert await subject(Browser(oracle.app, oracle.site)) is None


# --- RT-10 ----------------------------------------------------------------------------------------------


async def guarded(site: Site, granted: str, required: str) -> int:
    other = site.with_settings(required_scopes={"/sign/*": required})
    browser = other.browser()
    await browser.sign_in(scope=granted)
    return (await browser.fetch("GET", "/sign/x")).status_code


async def test_rt_10_without_a_session_a_guarded_path_asks_for_a_sign_in(new_each_site):
    site = new_each_site(required_scopes={"/sign/*": "sign:requests"}, optional=["/sign/*"])
    browser = site.browser()
    assert (await browser.fetch("GET", "/sign/x")).status_code in (200, 401)
    strict = site.with_settings(optional=()).browser()
    assert (await strict.fetch("GET", "/sign/x")).status_code == 401
    assert (await strict.navigate("/sign/x")).status_code == 303


@pytest.mark.parametrize(
    "required",
    [
        "sign:requests:read",
        "sign:requests.read",
        "sign:request",
        "sign",
        "sign:",
        "requests",
        "SIGN:REQUESTS",
        "sign:requests*",
        "sign:*",
        "authenticated",
        "openid sign:requests templates",
    ],
)
async def test_rt_10_a_scope_is_compared_whole(each_site, required):
    assert await guarded(each_site, "openid offline_access sign:requests", required) == 403


async def test_rt_10_a_scope_that_was_granted_passes(each_site):
    assert await guarded(each_site, "openid sign:requests", "sign:requests") == 200
    assert await guarded(each_site, "openid sign:requests", "openid sign:requests") == 200


async def test_rt_10_every_pattern_that_fits_asks_for_its_scope(new_each_site):
    site = new_each_site(required_scopes={"/sign/*": "sign:requests", "/sign/admin/*": "workspaces.read"})
    browser = site.browser()
    await browser.sign_in()
    assert (await browser.fetch("GET", "/sign/x")).status_code == 200
    answer = await browser.fetch("GET", "/sign/admin/x")
    assert answer.status_code == 403
    assert answer.json()["scope"] == "workspaces.read"


async def test_rt_10_a_path_that_reads_in_two_ways_needs_the_scopes_of_both(each_site, tmp_path):
    """A router or a file server may merge slashes or decode once more: the rule that protects most applies."""
    oracle = Oracle(
        each_site, tmp_path, required_scopes={"/files/private/*": "templates", "/api/private/*": "templates"}
    )
    browser = Browser(oracle.app, each_site)
    await browser.sign_in(scope="openid sign:requests")
    breached = []
    for target in (
        "/files/private/secret.txt",
        "/files//private/secret.txt",
        "/files///private/secret.txt",
        "/files/%2fprivate/secret.txt",
        "/files/private//secret.txt",
        "/files/private%2fsecret.txt",
        "/files/%70rivate/secret.txt",
        "/files/private/%73ecret.txt",
        "/files/./private/secret.txt",
        "/files/open/../private/secret.txt",
        "/files/%2e/private/secret.txt",
        "/files/private/secret.txt;x",
        "//files/private/secret.txt",
        "/api/private/x",
        "/api/private//x",
        "/api//private/x",
        "/api/private%2fx",
        "/%61pi/private/x",
        "/api/private/%2e%2e/private/x",
    ):
        oracle.reached.clear()
        answer = await call(oracle.app, target, headers=with_cookies(browser, FETCH))
        if oracle.was_breached(answer):
            breached.append(target)
    assert breached == []


async def test_rt_10_starlettes_own_guards_know_the_scopes(each_site):
    @requires("sign:requests", status_code=403)
    async def needs_scope(request: Request) -> Response:
        return JSONResponse({"ok": True})

    @requires("sign:requests:read", status_code=403)
    async def needs_another(request: Request) -> Response:
        return JSONResponse({"ok": True})

    router = Starlette(routes=[Route("/one", needs_scope), Route("/other", needs_another)])
    app = LuminMiddleware(router, each_site.config, clock=each_site.clock)
    each_site.processes.append(app)
    browser = Browser(app, each_site)
    await browser.sign_in("/one")
    assert (await browser.fetch("GET", "/one")).status_code == 200
    assert (await browser.fetch("GET", "/other")).status_code == 403


async def test_rt_10_a_handler_can_ask_for_a_scope(each_site):
    async def handler(request: Request) -> Response:
        return request.state.lumin.challenge(scope="sign:requests")

    browser = each_site.browser()
    await browser.sign_in(scope="openid offline_access")
    each_site.app.handler = handler
    for answer in (await browser.fetch("GET", "/x"), await browser.navigate("/x")):
        assert answer.status_code == 403
        assert 'scope="sign:requests"' in answer.headers["www-authenticate"]
        assert answer.headers["cache-control"] == "no-store"


async def test_rt_10_a_page_that_needs_more_is_asked_for_once_and_then_refused(new_each_site):
    """Somebody who says no must not be sent round in circles."""
    site = new_each_site(required_scopes={"/templates/*": "templates"})
    browser = site.browser()
    await browser.sign_in("/x")
    asked = await browser.navigate("/templates/x")
    assert asked.status_code == 303
    assert "templates" in query(asked.headers["location"])["scope"].split()
    refused = await browser.navigate(site.emulator.sign_in(asked.headers["location"], scope=site.config.scope))
    assert refused.status_code == 403
    assert await subject(browser)


async def test_rt_10_nobody_else_can_write_what_a_sign_in_asks_for(each_site):
    for ask in ("templates", "openid templates", "x" * 100, "", "eyJ.x.y", "%ff"):
        answer = await each_site.browser().navigate(f"/auth/login?return_to=/x&ask={ask}")
        if answer.status_code == 303:
            assert query(answer.headers["location"])["scope"] == each_site.config.scope


@pytest.mark.parametrize("how", ["challenge()", "LoginRequired"])
async def test_rt_10_a_handler_can_ask_for_a_sign_in(each_site, how):
    """`client.challenge()` without a scope asks for a sign-in, and so does `LoginRequired` that is let out."""

    async def handler(request: Request) -> Response:
        if how == "LoginRequired":
            raise LoginRequired("the API said so")
        return request.state.lumin.challenge()

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    assert (await browser.fetch("GET", "/x")).status_code == 401
    answer = await browser.navigate("/x")
    assert answer.status_code == 303
    assert "/oauth2/auth?" in answer.headers["location"]


async def test_rt_10_a_session_that_ends_while_the_application_works_asks_for_a_sign_in(each_site):
    """The API refuses the token, and the refresh shows that the grant is gone."""

    async def handler(request: Request) -> Response:
        return JSONResponse((await request.state.lumin.get("user/info")).json())

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    assert (await browser.fetch("GET", "/x")).status_code == 200
    each_site.emulator.revoke_all()
    answer = await browser.fetch("GET", "/x")
    assert answer.status_code == 401
    assert (await browser.navigate("/x")).status_code == 303


async def test_rt_an_optional_page_is_served_to_both_and_its_cookies_are_hidden(new_each_site):
    site = new_each_site(optional=["/maybe"])
    browser = site.browser()
    assert (await browser.navigate("/maybe")).json()["authenticated"] is False
    assert cookies(browser) == {}
    await browser.sign_in()
    browser.cookies.set("theirs", "1", domain="app.example.com")
    seen = (await browser.navigate("/maybe")).json()
    assert (seen["authenticated"], seen["cookie"]) == (True, "theirs=1")
