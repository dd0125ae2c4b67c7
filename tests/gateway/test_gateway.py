"""The gateway: what passes, how much memory that takes, and what happens when one side goes away."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace

import httpx2
import pytest
import wsproto.events
from httpx2.websockets import WebSocketDisconnect, WebSocketUpgradeError
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.websockets import WebSocket

from lumin_middleware import ConfigurationError, LuminMiddleware
from lumin_middleware.gateway.gateway import Gateway
from tests.acceptance.harness import http_scope
from tests.fakes import config
from tests.patience import PATIENCE
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, free_port, front, gateway, serve, told
from tests.site_rig import Clock

MIB = 2**20
SIZE = int(os.environ.get("LUMIN_TEST_TRANSFER_MIB", "256")) * MIB
PIECE = bytes(64 * 1024)


@dataclass
class Site:
    front: Front
    echo: Echo


@contextmanager
def behind(front: Front, upstream: str, settings: dict | None = None, **options: object) -> Iterator[None]:
    """The gateway of a site, in this process."""
    settings = front.config(**{"public": ("/public/*",), "optional": ("/maybe",), **(settings or {})})
    clock, http = options.pop("clock", time.time), options.pop("http", "h11")
    app = LuminMiddleware(Gateway(upstream, settings, **options), settings, clock=clock)
    with serve(app, front.port, server_header=False, lifespan="on", http=http):
        yield


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    echo = Echo()
    with front() as site, serve(echo, server_header=False) as upstream, behind(site, upstream, pass_user_headers=True):
        yield Site(site, echo)


@pytest.fixture
def site(running) -> Iterator[Site]:
    yield running
    running.echo.handlers.clear()
    running.echo.seen.clear()


@pytest.fixture
def browser(site) -> Iterator[Browser]:
    with site.front.browser() as browser:
        browser.sign_in()
        yield browser


class Moment:
    """Something that happens in a server's thread, and that a test waits for."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def happen(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(PATIENCE), "it did not happen"


# --- who may pass ---------------------------------------------------------------------------------------


def test_nobody_reaches_the_service_without_a_sign_in(site):
    with site.front.browser() as stranger:
        assert stranger.navigate("/page").status_code == 303
        assert stranger.fetch("POST", "/page").status_code == 401
    assert site.echo.seen == []


def test_a_public_path_passes_without(site):
    with site.front.browser() as stranger:
        assert stranger.fetch("GET", "/public/x").json()["target"] == "/public/x"


@pytest.mark.parametrize(
    "path", ["/public/../page", "/public/%2e%2e/page", "/public/..%2fpage", "/public/%2e%2e%2fpage"]
)
def test_no_spelling_of_a_public_path_opens_another(site, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    answer = raw(site.front.port, request.encode())
    assert answer.split(b" ")[1] in (b"400", b"401")
    assert site.echo.seen == []


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_what_cannot_be_passed_on_as_it_came_is_refused_and_is_no_error(http, caplog):
    echo = Echo()
    with (
        front() as site,
        serve(echo) as upstream,
        behind(site, upstream, {"required_scopes": {"/sign/*": "templates"}}, http=http),
        site.browser() as browser,
    ):
        browser.sign_in()
        echo.seen.clear()
        more = f"Host: x\r\nCookie: {browser.cookie()}\r\nConnection: close\r\n"
        both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
        chunked = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"
        for request in (
            f"POST /page HTTP/1.1\r\n{more}{both}\r\n0\r\n\r\n",
            f"POST /public/x HTTP/1.1\r\n{more}{chunked}\r\n3\r\nabc\r\n0\r\n\r\n",
            f"GET /public/x HTTP/1.1\r\n{more}{both}\r\n0\r\n\r\n",
            f"CONNECT example.com:443 HTTP/1.1\r\n{more}\r\n",
            f"CONNECT /public/x HTTP/1.1\r\n{more}\r\n",
            f"OPTIONS * HTTP/1.1\r\n{more}\r\n",
            f"GET public/x HTTP/1.1\r\n{more}\r\n",
            f"GET /sign#x HTTP/1.1\r\n{more}\r\n",
            f"GET /sign/x#y HTTP/1.1\r\n{more}\r\n",
            f"GET /public/x#y HTTP/1.1\r\n{more}\r\n",
            f"GET /public/x?y#z HTTP/1.1\r\n{more}\r\n",
        ):
            status = raw(site.port, request.encode()).split(b" ", 2)[1]
            first = request.partition("\r\n")[0]
            cut_off = http == "httptools" and "#" in first and "sign" not in first  # by httptools, before we are asked
            assert status[:1] == b"4" or cut_off, (first, status)
            if cut_off:
                assert echo.seen.pop()["raw_path"] == b"/public/x"
        assert echo.seen == []
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("target", ["/page", "/public/x", "/auth/session", "example.com:443"])
@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_nothing_is_traced_and_nothing_is_tunnelled(site, browser, method, target):
    """Nor is anything of it asked; a target in a form that the method does not take is 400 to most."""
    more = f"Host: x\r\nCookie: {browser.cookie()}\r\nConnection: close\r\n"
    site.echo.seen.clear()
    answer = raw(site.front.port, f"{method} {target} HTTP/1.1\r\n{more}\r\n".encode())
    assert answer.split(b" ", 2)[1] in ((b"405",) if target[0] == "/" else (b"400", b"405")), answer
    assert browser.cookie().encode() not in answer
    assert site.echo.seen == []


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


# --- what the service sees ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/a%20b%2Fc?x=%zz&y=/?", "/caf%C3%A9", "/a//b", "/a;b=1/c", "/%7Bx%7D?{}|^`", "/x?", "/~user/!$&'()*+,;=:@"],
)
def test_the_target_arrives_byte_for_byte(site, browser, target):
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nCookie: {browser.cookie()}\r\nConnection: close\r\n\r\n"
    answer = raw(site.front.port, request.encode())
    assert answer.startswith(b"HTTP/1.1 200"), answer
    seen = site.echo.seen[-1]
    target_seen = seen["raw_path"] + (b"?" + seen["query_string"] if seen["query_string"] else b"")
    assert target_seen.decode() == (target.removesuffix("?") if target.endswith("x?") else target)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])
def test_any_method_passes_with_and_without_a_body(browser, method):
    for body in (None, b"", b"some words"):
        seen = browser.fetch(method, "/x", content=body).json()
        assert (seen["method"], seen["size"]) == (method, len(body or b""))


def test_head_has_the_headers_of_get_and_no_body(browser):
    answer = browser.fetch("HEAD", "/x")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""


def test_who_it_is_is_said_by_us_alone(site, browser):
    person = next(iter(site.front.emulator.users.values()))
    forged = {
        "X-Auth-Request-User": "root",
        "X_Auth_Request_User": "root",
        "x-auth_request-groups": "root",
        "X-Auth-Request-Access-Token": "root",
    }
    seen = told(browser.fetch("GET", "/x", headers=forged))
    assert {name: values for name, values in seen.items() if "auth" in name} == {
        "x-auth-request-user": [person.sub],
        "x-auth-request-email": [person.email],
        "x-auth-request-scope": ["offline_access openid sign:requests"],
    }
    with site.front.browser() as stranger:
        for path in ("/public/x", "/maybe"):
            seen = told(stranger.fetch("GET", path, headers=forged))
            assert not [name for name in seen if "auth" in name]


CONNECTIONS = (
    "X-Auth-Request-User, X-Auth-Request-Email, X-Auth-Request-Scope",
    "keep-alive, x-auth-request-user,X-AUTH-REQUEST-EMAIL ,x-auth-request-scope",
    "close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Host, X-Forwarded-Uri, X-Forwarded-Method",
)
"""What belongs to this connection, a client says (RFC 9110, 7.6.1), and is taken away. None of it is theirs."""


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_nobody_takes_away_who_they_are(site, browser, connection):
    seen, plain = (told(browser.fetch("GET", "/x", headers=more)) for more in ({"connection": connection}, {}))
    assert seen["x-auth-request-user"] == [next(iter(site.front.emulator.users.values())).sub]
    assert seen.keys() - {"connection"} == plain.keys() - {"connection"}


def test_by_which_way_it_came_is_said_by_us_alone(site, browser):
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X_Forwarded_For": "6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil.example",
        "X-Forwarded": "evil.example",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Original-URL": "/evil.example",
        "X-Rewrite-URL": "/evil.example",
        "Host": "evil.example",
    }
    seen = told(browser.fetch("GET", "/x", headers=forged))
    said = {name: values for name, values in seen.items() if "forwarded" in name or name in ("host", "x-real-ip")}
    netloc = f"{LOOPBACK}:{site.front.port}"
    assert said == {
        "host": [netloc],
        "x-forwarded-host": [netloc],
        "x-forwarded-proto": ["http"],
        "x-forwarded-for": [LOOPBACK],
    }
    assert "evil.example" not in str(seen)


def test_our_cookies_stay_and_the_services_pass(browser):
    seen = told(browser.fetch("GET", "/x", headers={"cookie": f"theirs=1; {browser.cookie()}; other=2"}))
    assert [part.strip() for part in seen["cookie"][0].split(";")] == ["theirs=1", "other=2"]
    assert "cookie" not in told(browser.fetch("GET", "/x"))


def test_what_belongs_to_one_connection_stays_on_it(site, browser):
    request = (
        "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        f"Proxy-Authorization: Basic x\r\nUpgrade: h2c\r\nX-End: 1\r\nCookie: {browser.cookie()}\r\n\r\n"
    )
    assert raw(site.front.port, request.encode()).startswith(b"HTTP/1.1 200")
    names = {name.decode() for name, _ in site.echo.seen[-1]["headers"]}
    assert "x-end" in names
    assert not names & {"x-hop", "keep-alive", "te", "proxy-authorization", "upgrade", "transfer-encoding"}


# --- what the browser sees ------------------------------------------------------------------------------


def test_the_answer_passes_as_it_is(site, browser):
    packed = gzip.compress(b"hello " * 1000)
    name = site.front.config().session_cookie

    async def answer(scope, receive, send):
        headers = [
            (b"content-encoding", b"gzip"),
            (b"content-length", b"%d" % len(packed)),
            (b"set-cookie", b"theirs=1; Path=/"),
            (b"set-cookie", b"more=2; Path=/"),
            (b"set-cookie", f"{name}=fixated; Path=/".encode()),
            (b"set-cookie", f"{name}-0=fixated; Path=/".encode()),
            (b"connection", b"x-hop"),
            (b"x-hop", b"1"),
            (b"server", b"theirs"),
            (b"location", b"http://elsewhere.example/"),
        ]
        await send({"type": "http.response.start", "status": 418, "headers": headers})
        await send({"type": "http.response.body", "body": packed})

    site.echo.handlers["/x"] = answer
    with browser.stream("GET", "/x") as response:
        assert b"".join(response.iter_raw()) == packed
    assert response.status_code == 418
    assert response.headers.get_list("set-cookie") == ["theirs=1; Path=/", "more=2; Path=/"]
    assert "x-hop" not in response.headers
    assert response.headers["server"] == "theirs"
    assert response.headers["location"] == "http://elsewhere.example/"
    assert len(response.headers.get_list("date")) == 1


@pytest.mark.parametrize("status", [204, 304, 301, 404, 500])
def test_every_status_passes_and_no_redirect_is_followed(site, browser, status):
    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"location", b"/elsewhere")]})
        await send({"type": "http.response.body", "body": b""})

    site.echo.handlers["/x"] = answer
    assert browser.fetch("GET", "/x").status_code == status
    assert [scope["path"] for scope in site.echo.seen[-1:]] == ["/x"]


def test_a_service_that_sees_its_own_name_sends_nobody_to_it():
    echo = Echo()

    async def answer(scope, receive, send):
        host = dict(scope["headers"])[b"host"]
        cookie = b"theirs=1; Domain=%s; Path=/" % host.partition(b":")[0]
        headers = [(b"location", b"http://%s/login?x" % host), (b"set-cookie", cookie)]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    echo.handlers["/x"] = answer
    with (
        front() as site,
        serve(echo) as upstream,
        behind(site, upstream, {"public": ("/x",)}, pass_host=False),
        site.browser() as stranger,
    ):
        answered = stranger.navigate("/x")
        assert answered.headers["location"] == f"{site.origin}/login?x"
        assert answered.headers["set-cookie"] == "theirs=1; Path=/"


def test_somebody_whom_nobody_names_reaches_no_service_that_asks_for_names():
    echo = Echo()
    with (
        front(id_token=False) as site,
        serve(echo) as upstream,
        behind(site, upstream, {"id_token": "auto"}, pass_user_headers=True),
        site.browser() as browser,
    ):
        site.emulator.faults.add("/v1/user/info", status=403)
        refused = browser.sign_in("/page")
        assert refused.status_code == 403
        assert "did not say who you are" in refused.text
        with pytest.raises(WebSocketUpgradeError), browser.websocket("/chat", headers={"origin": site.origin}):
            pass
        assert echo.seen == []
        assert browser.navigate("/public/x").status_code == 200


# --- kept connections -----------------------------------------------------------------------------------


class Forgetful:
    """A service that answers one request on each connection and closes it when the next one comes, or at once."""

    def __init__(self, *, answers: int = 1) -> None:
        self.requests: list[bytes] = []
        self.answers = answers

    @contextmanager
    def serve(self) -> Iterator[str]:
        with socket.create_server((LOOPBACK, 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            try:
                yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        for _ in range(self.answers):
            if not self._take(connection):
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self._take(connection)  # and close it without a word

    def _take(self, connection: socket.socket) -> bool:
        head = connection.recv(65536)
        if head:
            self.requests.append(head.partition(b" HTTP/")[0])
        return bool(head)


def test_a_safe_request_is_repeated_once_when_its_kept_connection_was_just_closed():
    service = Forgetful()
    with front() as site, service.serve() as upstream, behind(site, upstream), site.browser() as stranger:
        for method, repeated in (("GET", True), ("HEAD", True), ("POST", False), ("PUT", False), ("DELETE", False)):
            stranger.get("/public/first")  # is answered, on a connection that is kept
            service.requests.clear()
            answer = stranger.request(method, "/public/x", content=b"x" if method in ("POST", "PUT") else None)
            assert answer.status_code == (200 if repeated else 502), method
            assert service.requests == [f"{method} /public/x".encode()] * (2 if repeated else 1)
            if not repeated:
                service.requests.clear()


def test_a_service_that_dies_of_a_request_is_not_asked_again():
    service = Forgetful(answers=0)
    with front() as site, service.serve() as upstream, behind(site, upstream), site.browser() as stranger:
        assert stranger.get("/public/x").status_code == 502
        assert service.requests == [b"GET /public/x"]


# --- slow bodies ----------------------------------------------------------------------------------------


def test_a_body_that_trickles_in_from_nobody_is_given_up_and_its_worker_freed():
    echo, freed = Echo(), Moment()

    async def read(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        freed.happen()

    echo.handlers["/public/x"] = read
    head = "POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx"
    with (
        front() as site,
        serve(echo) as upstream,
        behind(site, upstream, timeout=0.5),
        socket.create_connection((LOOPBACK, site.port), timeout=30) as connection,
    ):
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"too_slow" in answer
        freed.wait()


def test_whoever_is_signed_in_may_take_their_time_and_so_may_a_body_that_comes_on():
    with (
        front() as site,
        serve(Echo()) as upstream,
        behind(site, upstream, timeout=2),
        site.browser() as browser,
        site.browser() as stranger,
    ):
        browser.sign_in()

        def pieces(size, pause):
            for _ in range(3):
                yield b"x" * size
                threading.Event().wait(pause)

        assert browser.fetch("POST", "/page", content=pieces(1, 0.8)).json()["size"] == 3
        assert stranger.fetch("POST", "/public/x", content=pieces(60_000, 0.8)).json()["size"] == 180_000


def test_a_refreshed_session_reaches_the_browser_with_the_services_answer():
    clock = Clock()
    with (
        front(clock=clock) as site,
        serve(Echo()) as upstream,
        behind(site, upstream, clock=clock),
        site.browser() as browser,
    ):
        browser.sign_in()
        clock.advance(3601)
        response = browser.fetch("GET", "/x")
        assert response.status_code == 200
        assert response.headers["set-cookie"].startswith(f"{site.config().session_cookie}=")
        assert response.headers["cache-control"] == "private"
        assert len(site.emulator.calls_to("/oauth2/token")) == 2


# --- piece by piece -------------------------------------------------------------------------------------


def test_events_arrive_one_by_one(site, browser):
    asked, goes_on = Moment(), Moment()

    async def events(scope, receive, send):
        async def stream():
            yield "data: 1\n\n"
            asked.happen()
            await asyncio.to_thread(goes_on.wait)
            yield "data: 2\n\n"

        await StreamingResponse(stream(), media_type="text/event-stream")(scope, receive, send)

    site.echo.handlers["/events"] = events
    with browser.stream("GET", "/events") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        asked.wait()
        goes_on.happen()
        assert next(pieces) == b"data: 2\n\n"


def test_an_upload_arrives_piece_by_piece(site, browser):
    half = Moment()

    async def upload(scope, receive, send):
        first = await receive()
        half.happen()
        rest = b""
        while True:
            message = await receive()
            rest += message["body"]
            if not message["more_body"]:
                break
        await PlainTextResponse(f"{first['body'].decode()}|{rest.decode()}")(scope, receive, send)

    site.echo.handlers["/upload"] = upload

    def pieces():
        yield b"first"
        half.wait()
        yield b"second"

    assert browser.fetch("POST", "/upload", content=pieces()).text == "first|second"


def test_a_client_that_goes_away_ends_the_request_to_the_service(site, browser):
    gone = Moment()

    async def slow(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.happen()

    site.echo.handlers["/slow"] = slow
    with browser.stream("GET", "/slow") as response:
        assert next(response.iter_raw()) == b"begun"
    gone.wait()


def test_so_does_one_that_waits_for_the_answer_to_begin(site, browser):
    reached, gone = Moment(), Moment()

    async def silent(scope, receive, send):
        await receive()
        reached.happen()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.happen()

    site.echo.handlers["/silent"] = silent
    request = f"GET /silent HTTP/1.1\r\nHost: x\r\nCookie: {browser.cookie()}\r\n\r\n"
    with socket.create_connection((LOOPBACK, site.front.port)) as connection:
        connection.sendall(request.encode())
        reached.wait()
    gone.wait()


def test_so_does_one_in_the_middle_of_its_upload(site, browser):
    reached, gone = Moment(), Moment()

    async def upload(scope, receive, send):
        while (message := await receive())["type"] != "http.disconnect":
            if message["body"]:
                reached.happen()
        gone.happen()

    site.echo.handlers["/upload"] = upload
    head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nCookie: {browser.cookie()}\r\n\r\nsome"
    with socket.create_connection((LOOPBACK, site.front.port)) as connection:
        connection.sendall(head.encode())
        reached.wait()
    gone.wait()


def test_an_answer_that_is_cut_short_is_not_taken_for_whole(site, browser):
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise OSError("the service broke")

    site.echo.handlers["/broken"] = broken
    with pytest.raises(httpx2.RemoteProtocolError):
        browser.fetch("GET", "/broken")


def test_an_early_answer_to_an_upload_passes(site, browser):
    async def refuse(scope, receive, send):
        await PlainTextResponse("too much", status_code=413)(scope, receive, send)

    site.echo.handlers["/upload"] = refuse
    assert browser.fetch("POST", "/upload", content=b"x" * 100).status_code == 413


# --- trouble --------------------------------------------------------------------------------------------


def test_a_service_that_is_not_there_is_502():
    with front() as site, behind(site, f"http://{LOOPBACK}:{free_port()}"), site.browser() as browser:
        page = browser.sign_in()
        assert page.status_code == 502
        assert "<h1>Not available now</h1>" in page.text
        problem = browser.fetch("GET", "/x")
        assert (problem.status_code, problem.json()["reason"]) == (502, "upstream_unavailable")
        assert problem.headers["cache-control"] == "no-store"
        with pytest.raises(WebSocketUpgradeError) as denied, connect(browser, "/ws"):
            pass
        assert denied.value.response.status_code == 502


def test_a_service_that_does_not_answer_is_504_and_one_that_pauses_is_waited_for():
    echo = Echo()
    goes_on = Moment()

    async def silent(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    async def pauses(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await asyncio.to_thread(goes_on.wait)
        await send({"type": "http.response.body", "body": b"2"})

    echo.handlers = {"/silent": silent, "/pauses": pauses}
    with front() as site, serve(echo) as upstream, behind(site, upstream, timeout=2), site.browser() as browser:
        browser.sign_in()
        with browser.stream("GET", "/pauses") as response:
            pieces = response.iter_raw()
            assert next(pieces) == b"1"
            late = browser.fetch("GET", "/silent")  # takes longer than the other may have been silent
            goes_on.happen()
            assert next(pieces) == b"2"
        assert (late.status_code, late.json()["reason"]) == (504, "upstream_timeout")


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        "127.0.0.1:5173",
        "ftp://x/",
        "http://",
        "http://u:p@x/",
        "http://x/?a=b",
        "http://x/#a",
        "http://[::1/",
        "http://a..b",
        f"http://{'a' * 64}",
    ],
)
def test_an_upstream_that_is_none_is_a_wrong_setting(upstream):
    with pytest.raises(ConfigurationError, match="upstream"):
        Gateway(upstream, config())


def test_the_upstreams_own_path_and_name_can_be_used():
    echo = Echo()
    with (
        front() as site,
        serve(echo) as upstream,
        behind(site, f"{upstream}/base/", pass_host=False, settings={"trusted_proxies": ("127.0.0.0/8",)}),
        site.browser() as browser,
    ):
        page = browser.sign_in("/x?y")
        assert page.json()["target"] == "/base/x?y"
        seen = told(browser.fetch("GET", "/x", headers={"x-forwarded-for": "6.6.6.6, 203.0.113.9"}))
        assert seen["host"] == [upstream.removeprefix("http://")]
        assert seen["x-forwarded-for"] == ["203.0.113.9"], "what a proxy that is trusted says is believed"
        assert not [name for name in seen if "auth-request" in name], "nobody asked for --pass-user-headers"


# --- WebSocket ------------------------------------------------------------------------------------------


def connect(browser: Browser, path: str, **options):
    headers = {"origin": browser.front.origin, **options.pop("headers", {})}
    return browser.websocket(path, headers=headers, keepalive_ping_interval_seconds=None, **options)


async def chat(scope, receive, send):
    """Takes the second subprotocol, echoes, and closes when told to."""
    socket = WebSocket(scope, receive, send)
    offered = scope["subprotocols"]
    await socket.accept(offered[-1] if offered else None, headers=[(b"set-cookie", b"theirs=1")])
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            scope["app"].codes.append((message["code"], message.get("reason")))
            scope["app"].closed.happen()
            return
        if message.get("text") == "close":
            await socket.close(4321, "as you wish")
            return
        await (socket.send_text(message["text"]) if "text" in message else socket.send_bytes(message["bytes"]))


@pytest.fixture
def chatting(site) -> SimpleNamespace:
    app = SimpleNamespace(codes=[], closed=Moment())

    async def handler(scope, receive, send):
        await chat({**scope, "app": app}, receive, send)

    site.echo.handlers["/chat"] = handler
    return app


def test_messages_pass_both_ways_whole(browser, chatting):
    with connect(browser, "/chat?token=1", subprotocols=["other", "vite-hmr"], max_message_size_bytes=2**24) as ws:
        assert ws.subprotocol == "vite-hmr"
        assert ws.response.headers["set-cookie"] == "theirs=1"
        for text in ("", "hello", "käse 🧀", "x" * 3_000_000):
            ws.send_text(text)
            assert ws.receive_text(30) == text
        for data in (b"", bytes(range(256)), bytes(3_000_000)):
            ws.send_bytes(data)
            assert ws.receive_bytes(30) == data


def test_the_service_sees_who_opened_the_socket_and_no_cookie_of_ours(site, browser, chatting):
    with connect(browser, "/chat?a=%20", headers={"x-auth-request-user": "root", "cookie": f"b=1; {browser.cookie()}"}):
        pass
    chatting.closed.wait()
    seen = next(scope for scope in site.echo.seen if scope["type"] == "websocket")
    headers = dict(seen["headers"])
    assert seen["query_string"] == b"a=%20"
    assert headers[b"x-auth-request-user"] == next(iter(site.front.emulator.users.values())).sub.encode()
    assert headers[b"cookie"] == b"b=1"
    assert headers[b"origin"] == site.front.origin.encode()
    assert headers[b"host"] == f"{LOOPBACK}:{site.front.port}".encode()


def test_the_services_close_reaches_the_browser(browser, chatting):
    with connect(browser, "/chat") as ws:
        ws.send_text("close")
        with pytest.raises(WebSocketDisconnect) as closed:
            ws.receive_text(30)
    assert (closed.value.code, closed.value.reason) == (4321, "as you wish")


def test_the_browsers_close_reaches_the_service(browser, chatting):
    with connect(browser, "/chat") as ws:
        ws.close(4001, "bye")
    chatting.closed.wait()
    assert chatting.codes[0][0] == 4001


def test_a_browser_that_vanishes_is_gone_for_the_service(browser, chatting):
    with connect(browser, "/chat") as ws:
        ws.send_text("x")
        ws.receive_text(30)
        ws.stream.close()
        with suppress(wsproto.utilities.LocalProtocolError):  # its reader may have noticed first, and done so itself
            ws.connection.send(wsproto.events.CloseConnection(1000))  # nothing more is sent
    chatting.closed.wait()


def test_a_service_that_vanishes_closes_the_browsers_socket(site, browser):
    async def vanish(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise OSError("the service broke")

    site.echo.handlers["/chat"] = vanish
    with connect(browser, "/chat") as ws, pytest.raises(WebSocketDisconnect) as closed:
        ws.receive_text(30)
    assert closed.value.code == 1011


def test_a_handshake_that_the_service_refuses_is_refused(site, browser):
    async def refuse(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 410, "headers": [(b"x-why", b"gone")]})
        await send({"type": "websocket.http.response.body", "body": b"gone"})

    site.echo.handlers["/chat"] = refuse
    with pytest.raises(WebSocketUpgradeError) as refused, connect(browser, "/chat"):
        pass
    assert refused.value.response.status_code == 410
    assert refused.value.response.headers["x-why"] == "gone"


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({}, ("websocket.close", None)),
        ({"extensions": None}, ("websocket.close", None)),
        ({"extensions": {}}, ("websocket.close", None)),
        ({"extensions": {"websocket.http.response": {}}}, ("websocket.http.response.start", 502)),
    ],
    ids=["absent", "none", "other", "given"],
)
async def test_a_service_that_is_away_refuses_a_handshake_however_the_server_can_say_so(more, first):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    settings = config(store="memory://", public=["/*"])
    scope = http_scope("/chat", scheme="wss", subprotocols=[], **more) | {"type": "websocket"}
    del scope["method"]
    await LuminMiddleware(Gateway(f"http://127.0.0.1:{free_port()}", settings), settings)(scope, receive, send)
    assert (sent[0]["type"], sent[0].get("status")) == first
    assert [each["code"] for each in sent if each["type"] == "websocket.close"] in ([], [1013])


def test_nobody_and_no_other_site_opens_a_socket(site, browser, chatting):
    elsewhere = {"origin": "https://evil.example"}
    with site.front.browser() as stranger:
        for opener, headers, status in (
            (stranger, {"origin": site.front.origin}, 401),
            (stranger, {}, 401),
            (stranger, elsewhere, 403),
            (browser, elsewhere, 403),
            (browser, {}, 403),
        ):
            with pytest.raises(WebSocketUpgradeError) as refused, opener.websocket("/chat", headers=headers):
                pass
            assert refused.value.response.status_code == status
    assert [scope for scope in site.echo.seen if scope["type"] == "websocket"] == []


def test_a_socket_ends_with_its_session(browser, chatting):
    with connect(browser, "/chat") as ws:
        ws.send_text("x")
        ws.receive_text(30)
        browser.sign_out()
        with pytest.raises(WebSocketDisconnect) as closed:
            ws.receive_text(30)
    assert closed.value.code == 4401
    chatting.closed.wait()


# --- the process ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transfers() -> Iterator[str]:
    """A service that takes and gives as much as asked for, without keeping it."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        asked = int(scope["path"].strip("/") or 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-size", b"%d" % size)]})
        for _ in range(asked // len(PIECE)):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    with serve(app) as origin:
        yield origin


@pytest.mark.timeout(600)
def test_large_transfers_take_no_more_memory_than_small_ones(transfers, tmp_path):
    with (
        front() as site,
        gateway(site, transfers, tmp_path / "log") as program,
        site.browser() as browser,
    ):
        browser.sign_in("/0")
        for _ in range(3):
            exchange(browser, 16 * MIB)
        before = program.memory("VmHWM")
        exchange(browser, SIZE)
        growth = program.memory("VmHWM") - before
    assert growth <= 32 * MIB, f"{growth / MIB:.1f} MiB"


def exchange(browser: Browser, size: int) -> None:
    pieces = (PIECE for _ in range(size // len(PIECE)))
    assert int(browser.post("/0", content=pieces).headers["x-size"]) == size
    received = 0
    with browser.stream("GET", f"/{size}") as response:
        for piece in response.iter_raw():
            received += len(piece)
    assert received == size


def test_a_slow_reader_holds_the_service_back(site, browser):
    sent = 0

    async def flood(scope, receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(4096):  # 256 MiB
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            sent += len(PIECE)
        await send({"type": "http.response.body", "body": b""})

    site.echo.handlers["/flood"] = flood
    with browser.stream("GET", "/flood") as response:
        pieces = response.iter_raw()
        next(pieces)
        held = -1
        while held != sent:  # until nothing more is taken
            held = sent
            threading.Event().wait(0.5)
        assert held < 64 * MIB


def until_it_refuses(port: int) -> None:
    """Returns when nobody listens at a port; on the way a connection that nobody has taken yet may be reset."""
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue


def test_told_to_stop_it_finishes_what_it_has_begun_and_takes_nothing_new(tmp_path):
    echo = Echo()
    reached, goes_on = Moment(), Moment()

    async def slow(scope, receive, send):
        reached.happen()
        await asyncio.to_thread(goes_on.wait)
        await PlainTextResponse("done")(scope, receive, send)

    echo.handlers["/slow"] = slow
    with front() as site, serve(echo) as upstream, gateway(site, upstream, tmp_path / "log") as program:
        with site.browser() as browser:
            browser.sign_in()
            answers = []
            waiting = threading.Thread(target=lambda: answers.append(browser.fetch("GET", "/slow").text))
            waiting.start()
            reached.wait()
            program.process.send_signal(signal.SIGTERM)
            until_it_refuses(site.port)
            goes_on.happen()
            waiting.join(PATIENCE)
        assert answers == ["done"]
        assert program.process.wait(PATIENCE) == 0
        assert "Traceback" not in program.said()


def test_the_log_has_a_line_for_each_request_and_no_secret(tmp_path):
    with front() as site, serve(Echo()) as upstream, gateway(site, upstream, tmp_path / "log") as program:
        with site.browser() as browser:
            browser.sign_in("/page?token=s3cret")
            browser.fetch("POST", "/a%22b?key=s3cret", headers={"authorization": "Bearer s3cret"})
            cookies = [cookie.value for cookie in browser.cookies.jar]
        assert program.stop() == 0
        said = program.said()
    told_of = re.findall(r"INFO (\S+) (\S+) (\S+) (\S+) \d+ \d+\.\d{3}\n", said)
    assert told_of == [
        (LOOPBACK, "GET", "/page", "303"),
        (LOOPBACK, "GET", "/auth/callback", "303"),
        (LOOPBACK, "GET", "/page", "200"),
        (LOOPBACK, "POST", "/a%22b", "200"),
    ]
    for secret in ("s3cret", "code=", "state=", "token", *cookies, *site.variables["LUMIN_SECRET_KEY"].split(",")):
        assert secret not in said


def test_the_command_takes_its_rules_and_says_where_it_is(tmp_path):
    arguments = ["--public", "/free/*", "--public", "/also", "--optional", "/maybe", "--pass-user-headers"]
    arguments += ["--api", "GET /user/info"]
    with front() as site, serve(Echo()) as upstream, gateway(site, upstream, tmp_path / "log", *arguments) as program:
        with site.browser() as browser:
            statuses = [browser.navigate(path).status_code for path in ("/free/x", "/also", "/maybe", "/else")]
            assert statuses == [200, 200, 200, 303]
            assert "x-auth-request-user" in told(browser.sign_in())
            assert browser.fetch("GET", "/auth/api/user/info").status_code == 200
            assert browser.fetch("GET", "/auth/api/templates").json()["reason"] == "not_allowed"
        assert program.stop(signal.SIGINT) == 0
        assert program.said().splitlines()[0].startswith(f"{site.origin}/ ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--public", "nowhere"], "--public"),
        (["--optional", "a*"], "--optional"),
        (["--api", "FETCH /user/info"], "--api"),
        (["--upstream", "x"], "--upstream"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, arguments, words):
    with (
        front() as site,
        pytest.raises(AssertionError, match=words),
        gateway(site, "http://x", tmp_path / "log", *arguments),
    ):
        pass
