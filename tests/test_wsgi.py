"""The WSGI edge by PEP 3333: what servers and applications may count on, whatever the other does."""

from __future__ import annotations

import ast
import gc
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from lumin_middleware import ClientMisused, ConfigurationError, LoginRequired, lumin, wsgi
from lumin_middleware.runtime.bodies import BODY_LIMIT
from lumin_middleware.sessions.cookies import Cookies
from lumin_middleware.stores import AsyncRedisStore, SQLiteStore
from lumin_middleware.wsgi import LuminMiddleware
from tests.documents import ROOT
from tests.edges import rig, servers
from tests.edges.gateway import Connection, environ, serve, serve_validated
from tests.edges.rig import Browser, Lumin, Site
from tests.patience import PATIENCE
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN, SESSION, query

SLIDE = 10_000  # seconds after which an answer carries the session's cookie again
HTML = [("Content-Type", "text/html")]


@pytest.fixture(scope="module")
def emulated() -> Iterator[Lumin]:
    with rig.lumin() as running:
        yield running


@pytest.fixture
async def new_site(emulated: Lumin) -> AsyncIterator[Callable[..., Site]]:
    """Makes a site whose WSGI half is used."""
    async with AsyncExitStack() as stack:

        def new(**settings: Any) -> Site:
            site = emulated.site(**settings)
            stack.push_async_callback(site.aclose)
            return site

        yield new


@pytest.fixture
async def site(new_site: Callable[..., Site]) -> Site:
    return new_site()


@pytest.fixture
async def browser(site: Site) -> Browser:
    """Somebody who is signed in, and whose next answer carries a cookie."""
    browser = site.browser("wsgi")
    await browser.sign_in()
    site.clock.advance(SLIDE)
    return browser


@pytest.fixture
async def newcomer(site: Site) -> Browser:
    """Somebody who has just signed in, and for whom there is nothing to do before the application works."""
    browser = site.browser("wsgi")
    await browser.sign_in()
    return browser


def request(browser: Browser, target: str = "/", method: str = "GET", body: bytes = b"", **more: Any) -> dict[str, Any]:
    """The environ of a navigation of this browser."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    return environ(target, method, {**NAVIGATION, "cookie": cookie}, body, **more)


def session_cookies(connection: Connection) -> list[str]:
    return [line for line in connection.all("set-cookie") if line.startswith(f"{SESSION}=")]


class Body:
    """An iterable that counts how often it is closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        chunk = next(self.chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed += 1


class Unreadable(io.RawIOBase):
    """A request body that nobody may touch."""

    def readinto(self, buffer: Any) -> int:
        raise AssertionError("the body was read")


# --- what the application finds out of its request -------------------------------------------------------


class Asked:
    """What frameworks make of an environ, put into it, and let go of at the end."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ


def _keeps(environ: Any, start_response: Any, *, in_body: bool) -> Iterator[bytes]:
    environ["asked"] = Asked(environ)
    environ["found"] = "a route"
    start_response("200 OK", HTML)
    if not in_body:
        environ["asked"] = None
        environ["later"] = 1
    yield b"hello"
    environ["asked"] = None
    environ["later"] = 1


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("in_body", [False, True])
async def test_what_the_application_lets_go_of_is_let_go_of_in_front_as_well(site, browser, whole, in_body):
    """Else each request would leave a circle of environs for the collector: Flask's has its request in it."""

    def app(environ, start_response):
        body = _keeps(environ, start_response, in_body=in_body)
        return list(body) if whole else body

    def go() -> dict[str, Any]:
        given = request(browser)
        answer = site.wsgi(given, lambda *_: None)
        assert list(answer) == [b"hello"]
        if not whole:
            answer.close()
        return given

    site.wsgi_app.handler = app
    go()  # the session is renewed
    given = go()
    assert (given["asked"], given["found"], given["later"]) == (None, "a route", 1)
    assert "lumin" not in given
    del given
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            go()
        assert not [each for each in gc.get_objects() if type(each) is Asked]
    finally:
        gc.enable()


# --- start_response -------------------------------------------------------------------------------------


async def test_a_second_start_response_with_exc_info_replaces_the_first(site, browser):
    def app(environ, start_response):
        start_response("200 OK", [*HTML, ("X-First", "1")])
        try:
            raise ValueError("changed its mind")
        except ValueError as error:
            start_response("500 Sorry", HTML, (type(error), error, error.__traceback__))
        return [b"sorry"]

    site.wsgi_app.handler = app
    answer = serve_validated(site.wsgi, request(browser))
    assert (answer.status, answer.body) == (500, b"sorry")
    assert answer.header("x-first") is None
    assert len(session_cookies(answer)) == 1


@pytest.mark.parametrize("then", ["500 Sorry", "200 OK"])
@pytest.mark.parametrize("first", ["200 OK", "500 Sorry"])
async def test_an_application_that_changes_its_mind_over_an_error_of_ours_has_its_say(site, newcomer, first, then):
    def app(environ, start_response):
        try:
            if first.startswith("200"):
                start_response(first, [*HTML, ("X-First", "1")])
                lumin(environ).get("user/info")
            else:
                try:
                    lumin(environ).get("user/info")
                except LoginRequired:
                    start_response(first, HTML)
                    raise
        except LoginRequired as error:
            start_response(then, HTML, (type(error), error, error.__traceback__))
        return [b"its own"]

    site.wsgi_app.handler = app
    site.emulator.revoke_all()
    answer = serve_validated(site.wsgi, request(newcomer))
    if (first, then) == ("500 Sorry", "500 Sorry"):  # which says no more than that it happened
        assert answer.status == 303
    else:
        assert (answer.status, answer.body) == (int(then[:3]), b"its own")
        assert answer.header("x-first") is None


async def test_a_second_start_response_after_the_first_byte_raises_the_applications_error(site, browser):
    seen = []

    def app(environ, start_response):
        seen.append(environ["lumin"])
        start_response("200 OK", HTML)
        yield b"begun"
        try:
            raise ValueError("too late")
        except ValueError as error:
            start_response("500 Sorry", HTML, (type(error), error, error.__traceback__))

    site.wsgi_app.handler = app
    connection = Connection()
    with pytest.raises(ValueError, match="too late"):
        connection.take(site.wsgi(request(browser), connection.start_response))
    assert (connection.status, connection.chunks, connection.closed) == (200, [b"begun"], 1)
    assert repr(seen[0]) == "<LuminClient closed>"


async def test_a_second_start_response_without_exc_info_is_the_applications_mistake(site, browser):
    def app(environ, start_response):
        start_response("200 OK", HTML)
        start_response("200 OK", HTML)
        return []

    site.wsgi_app.handler = app
    with pytest.raises(AssertionError, match="twice"):
        serve(site.wsgi, request(browser))


async def test_write_sends_at_once_and_with_our_cookie(site, browser):
    def app(environ, start_response):
        write = start_response("200 OK", HTML)
        write(b"one")
        write(b"two")
        return [b"three"]

    site.wsgi_app.handler = app
    answer = serve_validated(site.wsgi, request(browser))
    assert answer.chunks == [b"one", b"two", b"three"]
    assert len(session_cookies(answer)) == 1


async def test_start_response_may_be_called_when_the_body_is_asked_for(site, browser):
    def app(environ, start_response):
        start_response("200 OK", HTML)
        yield b"late"

    site.wsgi_app.handler = app
    answer = serve_validated(site.wsgi, request(browser))
    assert answer.body == b"late"
    assert len(session_cookies(answer)) == 1


async def test_the_applications_headers_go_out_as_they_are(site, browser):
    headers = [*HTML, ("X-Twice", "1"), ("Set-Cookie", "a=1"), ("X-Twice", "2"), ("Set-Cookie", "b=2, c")]

    def app(environ, start_response):
        start_response("200 OK", headers)
        return [b""]

    site.wsgi_app.handler = app
    answer = serve_validated(site.wsgi, request(browser))
    plain = [(name.lower().encode(), value.encode()) for name, value in headers]
    assert answer.headers[: len(plain)] == plain
    assert [name for name, _ in answer.headers[len(plain) :]] == [b"cache-control", b"vary", b"set-cookie"]


async def test_the_applications_list_of_headers_is_left_alone(site, browser):
    headers = list(HTML)

    def app(environ, start_response):
        start_response("200 OK", headers)
        return [b""]

    site.wsgi_app.handler = app
    serve(site.wsgi, request(browser))
    assert headers == HTML


# --- the body -------------------------------------------------------------------------------------------


async def test_an_iterable_that_raises_midway_is_closed_once(site, browser):
    body = Body(b"one", ValueError("broken"), b"two")

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return body

    site.wsgi_app.handler = app
    connection = Connection()
    with pytest.raises(ValueError, match="broken"):
        connection.take(site.wsgi(request(browser), connection.start_response))
    assert (connection.chunks, body.closed) == ([b"one"], 1)


async def test_an_iterable_that_the_server_gives_up_is_closed_once(site, browser):
    body = Body(b"one", b"two")

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return body

    site.wsgi_app.handler = app
    result: Any = site.wsgi(request(browser), Connection().start_response)
    assert next(iter(result)) == b"one"
    result.close()
    assert body.closed == 1


async def test_an_iterable_that_is_never_asked_for_is_closed_once(site, browser):
    body = Body(b"one")
    site.wsgi_app.handler = lambda environ, start_response: body
    result: Any = site.wsgi(request(browser), Connection().start_response)
    result.close()
    assert body.closed == 1


async def test_the_client_is_closed_even_where_the_body_cannot_be(site, browser):
    clients = []

    class Stubborn(Body):
        def close(self) -> None:
            raise OSError("stuck")

    def app(environ, start_response):
        clients.append(environ["lumin"])
        start_response("200 OK", HTML)
        return Stubborn(b"one")

    site.wsgi_app.handler = app
    with pytest.raises(OSError, match="stuck"):
        serve(site.wsgi, request(browser))
    assert repr(clients[0]) == "<LuminClient closed>"


async def test_a_lazy_body_is_passed_on_piece_by_piece(site, browser):
    made = []

    def app(environ, start_response):
        start_response("200 OK", HTML)
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    site.wsgi_app.handler = app
    result = iter(site.wsgi(request(browser), Connection().start_response))
    for number in range(3):
        assert next(result) == b"%d" % number
        assert made == list(range(number + 1))
    assert list(result) == []


async def test_a_list_stays_a_list_so_that_servers_know_its_length(site, browser):
    body = [b"one"]

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return body

    site.wsgi_app.handler = app
    assert site.wsgi(request(browser), Connection().start_response) is body


async def test_a_file_in_the_servers_wrapper_stays_in_it(site, browser):
    """A server sends a file its own way when the result is its own wrapper (PEP 3333, file_wrapper)."""

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"content"), 3)

    site.wsgi_app.handler = app
    connection = Connection()
    result = site.wsgi(request(browser, **{"wsgi.file_wrapper": FileWrapper}), connection.start_response)
    assert type(result) is FileWrapper
    connection.take(result)
    assert connection.body == b"content"
    assert len(session_cookies(connection)) == 1


async def test_head_is_answered_by_the_application_and_by_us_without_a_body(site, browser):
    answer = serve_validated(site.wsgi, request(browser, "/auth/session", "HEAD"))
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("content-length") or 0) > 0
    # One piece, if an empty one: some servers (hypercorn) send a head with the first, and else none.
    assert list(site.wsgi(request(browser, "/auth/session", "HEAD"), Connection().start_response)) == [b""]
    answer = serve_validated(site.wsgi, environ("/", "HEAD", FETCH))
    assert (answer.status, answer.body) == (401, b"")
    site.wsgi_app.handler = lambda environ, start_response: (start_response("200 OK", HTML), [])[1]
    assert serve_validated(site.wsgi, request(browser, "/", "HEAD")).status == 200


# --- the request ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/", "/free", "/auth/login", "/auth/callback?state=x&code=y", "/auth/logout", "/auth/session", "/auth/nothing"],
)
@pytest.mark.parametrize("headers", [NAVIGATION, FETCH], ids=["navigation", "fetch"])
async def test_the_body_of_a_request_is_left_unread(new_site, target, headers):
    site = new_site(public=["/free"])
    for method in ("GET", "PUT") if target == "/auth/login" else ("GET", "POST"):  # a POST may be a login
        asked = environ(target, method, headers, **{"wsgi.input": Unreadable(), "CONTENT_LENGTH": "7"})
        assert serve(site.wsgi, asked).status in (200, 204, 303, 400, 401, 403, 405)


async def test_the_application_reads_the_body_of_its_request(site, browser):
    def app(environ, start_response):
        start_response("200 OK", HTML)
        return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))]

    site.wsgi_app.handler = app
    assert serve_validated(site.wsgi, request(browser, "/", "POST", b"a=1&b=2")).body == b"a=1&b=2"


async def test_a_request_without_a_host_is_served(site, browser):
    """HTTP/1.0 needs none, and nothing of ours is made from it."""
    asked = environ("/page", headers=NAVIGATION, SERVER_PROTOCOL="HTTP/1.0")
    assert "HTTP_HOST" not in asked
    answer = serve_validated(site.wsgi, asked)
    assert query(answer.header("location") or "")["redirect_uri"] == f"{ORIGIN}/auth/callback"
    assert serve_validated(site.wsgi, request(browser, SERVER_PROTOCOL="HTTP/1.0")).status == 200


async def test_an_environ_of_what_pep_3333_demands_is_enough(site):
    """QUERY_STRING, CONTENT_LENGTH, SCRIPT_NAME and PATH_INFO may be absent."""
    bare = environ("/", headers=NAVIGATION, SCRIPT_NAME=None, QUERY_STRING=None, RAW_URI=None, PATH_INFO=None)
    assert serve(site.wsgi, bare).status == 303


async def test_paths_are_utf_8_in_the_shape_of_latin_1(new_site):
    site = new_site(public=["/café/*"])
    seen: list[tuple[str, str]] = []
    site.wsgi_app.handler = lambda environ, start_response: (
        seen.append((environ["SCRIPT_NAME"], environ["PATH_INFO"])),
        start_response("200 OK", HTML),
        [],
    )[2]
    for more in ({}, {"RAW_URI": None}):
        assert serve_validated(site.wsgi, environ("/caf%C3%A9/%E2%9C%93", headers=NAVIGATION, **more)).status == 200
    assert seen == [("", "/caf\xc3\xa9/\xe2\x9c\x93")] * 2


@pytest.mark.parametrize(
    ("target", "raw", "expected"),
    [
        ("/caf%C3%A9", None, "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%c3%a9", "/caf%c3%a9"),
        ("/a%2Fb", "/a%2Fb", "/a%2Fb"),
        ("/a%2Fb", None, "/a/b"),
        ("/100%25", None, "/100%25"),
        ("/what%3F", None, "/what%3F"),
        ("/page", "/elsewhere", "/page"),  # something rewrote the path, and the application sees the new one
        ("/page", "//evil.example/page", "/page"),
        ("/page", "http://evil.example/page", "/page"),
        ("/page", "https://evil.example/other", "/page"),
        ("/page", "http://evil.example", "/page"),
        ("/", "http://app.example.com", "/"),
        ("/a%2Fb", "http://app.example.com/a%2Fb", "/a%2Fb"),
        ("/a://b", None, "/a://b"),
        ("/page", "*", "/page"),
    ],
)
@pytest.mark.parametrize("variable", ["RAW_URI", "REQUEST_URI"])
async def test_the_raw_path_is_believed_only_where_it_is_the_applications_path(site, variable, target, raw, expected):
    """Where a sign-in leads back to: the path as it was written, or the path that the application sees."""
    more = {"RAW_URI": None, variable: None if raw is None else f"{raw}?x=1"}
    begun = serve_validated(site.wsgi, environ(f"{target}?x=1", headers=NAVIGATION, **more))
    login = "; ".join(line.partition(";")[0] for line in begun.all("set-cookie"))
    callback = site.emulator.sign_in(begun.header("location") or "").removeprefix(ORIGIN)
    back = serve_validated(site.wsgi, environ(callback, headers={**NAVIGATION, "cookie": login}))
    assert back.header("location") == f"{expected}?x=1"


async def test_a_mounted_application_is_protected_below_its_mount(new_site, emulated):
    redirect_uri = f"{ORIGIN}/shop/auth/callback"
    emulated.emulator.clients["shop"] = replace(CLIENT, client_id="shop", redirect_uris=(redirect_uri,))
    site = new_site(client_id="shop", redirect_uri=redirect_uri, public=["/free"])
    site.wsgi_app.handler = lambda environ, start_response: (start_response("200 OK", HTML), [])[1]
    mount = {"SCRIPT_NAME": "/shop"}
    free = environ("/free", headers=NAVIGATION, RAW_URI="/shop/free", **mount)
    assert serve_validated(site.wsgi, free).status == 200
    begun = serve_validated(site.wsgi, environ("/cart%20", headers=NAVIGATION, RAW_URI="/shop/cart%20", **mount))
    login = "; ".join(line.partition(";")[0] for line in begun.all("set-cookie"))
    callback = site.emulator.sign_in(begun.header("location") or "").removeprefix(f"{ORIGIN}/shop")
    back = environ(callback, headers={**NAVIGATION, "cookie": login}, RAW_URI=f"/shop{callback}", **mount)
    assert serve_validated(site.wsgi, back).header("location") == "/shop/cart%20"


async def test_only_we_may_say_who_somebody_is(new_site):
    site = new_site(public=["/free"])
    site.wsgi_app.handler = lambda environ, start_response: (start_response("200 OK", HTML), [])[1]
    claims = {"X-Auth-Request-User": "root", "x_auth_request_email": "root@example.com", "X-Auth-Request-Scope": "all"}
    assert serve_validated(site.wsgi, environ("/free", headers={**NAVIGATION, **claims})).status == 200
    assert not [name for name in site.wsgi_app.requests[0] if "AUTH_REQUEST" in name]
    assert site.wsgi_app.requests[0]["lumin"] is None


async def test_the_application_sees_no_cookie_of_ours(site, browser):
    browser.jar = {"theme": "dark", **browser.jar, "xlumin": "another's"}
    serve_validated(site.wsgi, request(browser))
    assert site.wsgi_app.requests[-1]["HTTP_COOKIE"] == "theme=dark; xlumin=another's"


@pytest.fixture(scope="module", params=["gunicorn sync", "waitress"])
def handed_over(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """What a real server makes of a `Cookie` header in several lines."""
    with servers.listening() as listener:
        address = listener.getsockname()
        with servers.start(request.param, "wsgiref.simple_server:demo_app", listener, {}):

            def ask(*lines: str) -> str:
                asked = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                asked += "".join(f"Cookie: {line}\r\n" for line in lines)
                with socket.create_connection(address, timeout=PATIENCE) as connection:
                    connection.sendall(f"{asked}\r\n".encode())
                    answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
                [shown] = re.findall(r"(?m)^HTTP_COOKIE = (.*)$", answer)
                return str(ast.literal_eval(shown))

            yield ask


@pytest.mark.parametrize("target", ["/free", "/caf%C3%A9"])  # which passes at once, and which goes the whole way
async def test_no_server_s_comma_between_two_lines_shows_the_application_a_cookie_of_ours(
    new_site, handed_over, target
):
    site = new_site(public=["/free", "/café"])
    newcomer = site.browser("wsgi")
    await newcomer.sign_in()
    ours = f"{SESSION}={newcomer.jar[SESSION]}"
    for lines, left in {
        ("a=1", ours, "b=2"): {"a=1,b=2", "a=1, b=2"},
        (ours, "b=2"): {"b=2"},
        ("a=x,y", f"c=3; {ours}", "b=2"): {"a=x,y,c=3; b=2", "a=x,y, c=3; b=2"},
        ("a=x,y", "b=2"): {"a=x,y,b=2", "a=x,y, b=2"},
    }.items():
        cookie = handed_over(*lines)
        assert "," in cookie
        serve_validated(site.wsgi, environ(target, headers={**NAVIGATION, "cookie": cookie}))
        assert site.wsgi_app.requests[-1]["HTTP_COOKIE"] in left


@pytest.mark.parametrize("target", ["/page", "/caf%C3%A9"])
async def test_a_cookie_of_ours_ends_where_the_server_joined_another_line(site, newcomer, target):
    ours = request(newcomer)["HTTP_COOKIE"]
    asked = environ(target, headers={**FETCH, "cookie": f"{ours},b=2; c=3,4"})
    assert serve_validated(site.wsgi, asked).status == 200
    assert site.wsgi_app.requests[-1]["HTTP_COOKIE"] == "b=2; c=3,4"
    assert site.wsgi_app.requests[-1]["lumin"] is not None


@pytest.mark.parametrize("target", ["/page", "/caf%C3%A9"])
async def test_nobody_is_signed_in_by_a_cookie_in_another_s_value(site, newcomer, target):
    """`__Host-…` is what no neighbour in this domain can set; `a=1,__Host-…=` one can."""
    value = newcomer.jar[SESSION]
    for cookie in (f"a=1,{SESSION}={value}", f"a=1, {SESSION}={value}; b=2", f"a=1,\xa0{SESSION}={value}"):
        asked = environ(target, headers={**FETCH, "cookie": cookie})
        assert serve_validated(site.wsgi, asked).status == 401
    other = environ(target, headers={**FETCH, "cookie": f"a=1,{SESSION}=theirs; {SESSION}={value}"})
    assert serve_validated(site.wsgi, other).status == 200
    assert site.wsgi_app.requests[-1]["HTTP_COOKIE"] == "a=1"


@pytest.mark.parametrize("blank", [" ", "\t", "\xa0", "-", "a"])
@pytest.mark.parametrize("name", ["lumin-abcdef-", "__Host-lumin-abcdef-", f"{SESSION}-", SESSION])
async def test_lines_that_were_joined_are_read_in_time_that_grows_with_them(site, name, blank):
    """Whoever sends them need not be signed in."""

    def cost(size: int) -> float:
        header, found = f"{name}{blank * size}x,{name}{blank * size}x", []
        for _ in range(5):
            before = time.thread_time()
            wsgi._told_apart(header, Cookies(site.config))
            found.append(time.thread_time() - before)
        return min(found)

    assert cost(30_000) < 40 * cost(3_000)  # ten times as much, where a hundred times would be a square


async def test_the_servers_environ_is_left_alone(site, browser):
    asked = request(browser)
    before = dict(asked)
    serve(site.wsgi, asked)
    assert asked == before


async def test_what_stands_before_us_sees_what_the_application_found(site, browser):
    """And by the first byte, which is when what measures asks for the route."""
    seen = []

    def app(environ, start_response):
        environ["wsgiorg.routing_args"] = ((), {"item": "one"})
        if environ["PATH_INFO"] == "/scoped":
            environ["lumin"].require("templates:none")
        start_response("200 OK", HTML)
        return [b"here"]

    site.wsgi_app.handler = app
    for path in ("/page", "/scoped"):
        asked = request(browser, path)

        def start_response(status, headers, exc_info=None, asked=asked):
            seen.append((status[:3], asked.get("wsgiorg.routing_args")))

        b"".join(site.wsgi(asked, start_response))
        assert "lumin" not in asked
    assert seen == [("200", ((), {"item": "one"})), ("303", ((), {"item": "one"}))]


# --- the client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True], ids=["list", "iterable"])
async def test_the_client_ends_with_its_answer(site, browser, lazy):
    clients = []

    def app(environ, start_response):
        clients.append(environ["lumin"])
        start_response("200 OK", HTML)
        body = [lumin(environ).access_token().encode()[:0]]
        return iter(body) if lazy else body

    site.wsgi_app.handler = app
    assert serve_validated(site.wsgi, request(browser)).status == 200
    for use in (
        lambda client: client.get("user/info"),
        lambda client: client.claims,
        lambda client: client.challenge(),
    ):
        with pytest.raises(ClientMisused, match="over"):
            use(clients[0])


async def test_a_lazy_body_uses_the_client_to_its_end(site, browser):
    def app(environ, start_response):
        start_response("200 OK", HTML)
        yield b"it is "
        yield lumin(environ).get("user/info").json()["user"]["name"].encode()

    site.wsgi_app.handler = app
    assert serve_validated(site.wsgi, request(browser)).body == b"it is Mira Halden"


async def test_the_client_ends_with_an_application_that_fails(site, browser):
    clients = []

    def app(environ, start_response):
        clients.append(environ["lumin"])
        raise ValueError("broken")

    site.wsgi_app.handler = app
    with pytest.raises(ValueError, match="broken"):
        serve(site.wsgi, request(browser))
    assert repr(clients[0]) == "<LuminClient closed>"


# --- LoginRequired --------------------------------------------------------------------------------------


def _early(environ: Any, start_response: Any) -> Any:
    raise LoginRequired("at once")


def _in_the_body(environ: Any, start_response: Any) -> Iterator[bytes]:
    lumin(environ).get("user/info")
    start_response("200 OK", HTML)
    yield b"never"


def _in_an_iterable(environ: Any, start_response: Any) -> Body:
    return Body(LoginRequired("when it is asked for"))


def _in_a_group(environ: Any, start_response: Any) -> Any:
    raise ExceptionGroup("calls that were made at once", [LoginRequired("one"), LoginRequired("other")])


def _in_a_group_in_the_body(environ: Any, start_response: Any) -> Body:
    return Body(ExceptionGroup("calls that were made at once", [LoginRequired("one")]))


def _said_by_an_empty_500(environ: Any, start_response: Any) -> Iterator[bytes]:
    with suppress(LoginRequired):
        lumin(environ).get("user/info")
    start_response("500 Sorry", HTML)
    yield from ()


@pytest.mark.parametrize(
    "app", [_early, _in_the_body, _in_an_iterable, _in_a_group, _in_a_group_in_the_body, _said_by_an_empty_500]
)
async def test_login_required_becomes_the_challenge(site, newcomer, app):
    site.wsgi_app.handler = app
    site.emulator.revoke_all()
    answer = serve_validated(site.wsgi, request(newcomer, "/page?x=1"))
    assert answer.status == 303
    assert (answer.header("location") or "").startswith(f"{site.emulator.base}/oauth2/auth?")
    cookie = request(newcomer)["HTTP_COOKIE"]
    answer = serve_validated(site.wsgi, environ("/page", headers={**FETCH, "cookie": cookie}))
    assert (answer.status, json.loads(answer.body)["login_url"]) == (401, "/auth/login?return_to=/page")
    answer = serve_validated(site.wsgi, environ("/page", "HEAD", {**FETCH, "cookie": cookie}))
    assert (answer.status, answer.body) == (401, b"")


async def test_login_required_after_the_answer_began_is_the_applications_error(site, browser):
    body = Body(b"begun", LoginRequired("too late"))

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return body

    site.wsgi_app.handler = app
    with pytest.raises(LoginRequired, match="too late"):
        serve(site.wsgi, request(browser))
    assert body.closed == 1


async def test_a_body_that_became_a_challenge_is_closed_once(site, browser):
    body = Body(LoginRequired("when it is asked for"))
    site.wsgi_app.handler = lambda environ, start_response: body
    assert serve_validated(site.wsgi, request(browser)).status == 303
    assert body.closed == 1


# --- our own routes with a body -------------------------------------------------------------------------


@pytest.mark.parametrize("length", [str(BODY_LIMIT + 1), "-1", "1e3", "²", "x"])
async def test_a_length_that_is_too_large_or_none_at_all_is_refused(new_site, length):
    site = new_site(backchannel_logout=True)
    asked = environ("/auth/backchannel-logout", "POST", **{"wsgi.input": Unreadable(), "CONTENT_LENGTH": length})
    assert serve(site.wsgi, asked).status == 413


async def test_a_logout_token_is_read_from_the_body(new_site):
    site = new_site(backchannel_logout=True)
    body = b"logout_token=x" + b"&" * (BODY_LIMIT - 14)
    asked = environ("/auth/backchannel-logout", "POST", {}, body)
    assert serve(site.wsgi, asked).status == 400
    assert asked["wsgi.input"].tell() == BODY_LIMIT


# --- settings -------------------------------------------------------------------------------------------


async def test_an_application_is_wrapped_once(site):
    with pytest.raises(ConfigurationError, match="app"):
        LuminMiddleware(site.wsgi, site.config)


async def test_one_around_another_further_in_is_an_error(site, browser):
    site.wsgi_app.handler = lambda environ, start_response: LuminMiddleware(site.wsgi_app, site.config)(
        environ, start_response
    )
    with pytest.raises(ConfigurationError, match="twice"):
        serve(site.wsgi, request(browser))


async def test_a_store_for_an_event_loop_is_refused(site):
    config = {"client_id": "x", "client_secret": "y", "redirect_uri": f"{ORIGIN}/cb", "secret_key": os.urandom(32)}
    with pytest.raises(ConfigurationError, match="store"):
        LuminMiddleware(site.wsgi_app, type(site.config)(**config, store=AsyncRedisStore("redis://127.0.0.1:1")))


async def test_settings_come_from_the_environment(site, lumin_environment):
    middleware = LuminMiddleware(site.wsgi_app)
    assert serve_validated(middleware, environ(headers=NAVIGATION)).status == 303
    middleware.close()


async def test_the_middleware_goes_on_after_close(site, browser):
    site.wsgi.close()
    site.wsgi.close()
    assert serve_validated(site.wsgi, request(browser, "/api")).status == 200


# --- threads and processes ------------------------------------------------------------------------------


async def test_many_threads_at_an_expiry_renew_once(site, browser):
    threads = 24
    barrier = threading.Barrier(threads)
    site.clock.now += 3600 - SLIDE % 3600

    def ask(_: int) -> bytes:
        barrier.wait()
        return serve_validated(site.wsgi, request(browser, "/token")).body

    before = site.refreshes()
    with ThreadPoolExecutor(threads) as pool:
        tokens = set(pool.map(ask, range(threads)))
    assert len(tokens) == 1
    assert tokens.pop().startswith(b"ory_at_")
    assert site.refreshes() == before + 1
    assert site.reuse_events() == 0


async def test_many_threads_whose_token_the_api_refuses_renew_once(site, browser):
    threads = 12
    barrier = threading.Barrier(threads)
    serve_validated(site.wsgi, request(browser, "/token"))
    before = site.refreshes()
    site.clock.now += 61  # a token that is newer is not renewed for a 401
    site.emulator.expire_access_tokens()

    def ask(_: int) -> int:
        barrier.wait()
        return serve_validated(site.wsgi, request(browser, "/api")).status

    with ThreadPoolExecutor(threads) as pool:
        assert set(pool.map(ask, range(threads))) == {200}
    assert site.refreshes() == before + 1
    assert site.reuse_events() == 0


def test_at_the_end_of_a_process_each_site_saves_whatever_becomes_of_the_others(monkeypatch):
    finished = []

    class Site:
        def finish(self) -> None:
            finished.append(self)
            raise RuntimeError("no thread can start")

    sites = [Site(), Site(), Site()]
    monkeypatch.setattr(wsgi, "_ALL", sites)
    with pytest.raises(RuntimeError):
        wsgi._finish_all()
    assert sorted(map(id, finished)) == sorted(map(id, sites))


def _forked(action: Callable[[], bytes]) -> tuple[int, int]:
    """Runs it in a child of this process; the child's id, and where its result can be read."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, as the emulator's is
        child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    status = 1
    try:
        os.write(writing, action())
        status = 0
    finally:
        os._exit(status)


def _result(child: int, reading: int) -> bytes:
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return said


async def test_forks_of_a_process_that_has_served_renew_once(new_site, emulated, tmp_path):
    """What gunicorn --preload does, and worse: the parent has connections open, and goes on to use them."""
    clock = emulated.clock
    site = new_site(store=SQLiteStore(tmp_path / "private" / "store.sqlite3", clock=clock))
    browser = site.browser("wsgi")
    await browser.sign_in()
    before = serve_validated(site.wsgi, request(browser, "/token")).body
    clock.advance(3600)

    def ask() -> bytes:
        answer = serve_validated(site.wsgi, request(browser, "/token"))
        return hashlib.sha256(answer.body).digest() if answer.status == 200 else b""

    children = [_forked(ask) for _ in range(3)]
    seen = {ask(), *(_result(*child) for child in children)}
    assert len(seen) == 1
    assert seen != {hashlib.sha256(before).digest()}
    assert site.refreshes() == 1
    assert site.reuse_events() == 0


async def test_a_fork_uses_no_connection_of_its_parent(site):
    """Two processes on one connection would get each other's answers: here they ask for different people."""
    mira, tobias = site.browser("wsgi"), site.browser("wsgi")
    people = list(site.emulator.users)
    await mira.sign_in(sub=people[0])
    await tobias.sign_in(sub=people[1])
    serve_validated(site.wsgi, request(mira, "/api"))  # leaves a connection in the pool

    def ask(browser: Browser) -> bytes:
        found = {json.loads(serve_validated(site.wsgi, request(browser, "/api")).body)["user"]["id"] for _ in range(10)}
        return ",".join(found).encode()

    child = _forked(lambda: ask(tobias))
    assert ask(mira) == people[0].encode()
    assert _result(*child) == people[1].encode()


# --- the end of a process ---

PROGRAM = """
import sys, time
from lumin_middleware.runtime import listeners
from lumin_middleware.wsgi import LuminMiddleware
from tests.edges.gateway import environ
from tests.fakes import config

def heard(event):
    time.sleep(0.05)
    print(type(event).__name__, event.reason, flush=True)

listeners.AT_EXIT = float(sys.argv[1])
site = LuminMiddleware(lambda environ, start_response: [], config(store="memory://", on_event=heard))
for _ in range(3):
    list(site(environ("/auth/callback?code=x&state=y"), lambda status, headers, error=None: print(status)))
"""


def test_whoever_listens_hears_of_all_before_the_process_ends():
    run = [sys.executable, "-c", PROGRAM, str(PATIENCE)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["400 Bad Request"] * 3 + ["SignInFailed unknown_login"] * 3
