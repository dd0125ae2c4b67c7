"""A page's calls to the API through both edges: who may, what arrives, what comes back, and what bodies are."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.model import Request
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests import upstream
from tests.acceptance.harness import shake_hands
from tests.api_proxy_cases import ALLOWED, HOSTILE, OURS
from tests.edges import gateway, rig
from tests.edges.rig import EDGES, Browser, Edge, Lumin, Site
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION
from tests.upstream import Upstream, answer, say

TOKEN = "ory_at_"


# --- what each test has ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def emulated() -> Iterator[Lumin]:
    with rig.lumin() as running:
        yield running


@pytest.fixture
def api() -> Iterator[Upstream]:
    with upstream.serve() as running:
        yield running


@pytest.fixture(params=EDGES)
def edge(request: pytest.FixtureRequest) -> Edge:
    found: Edge = request.param
    return found


@pytest.fixture
async def new_site(emulated: Lumin, api: Upstream) -> AsyncIterator[Callable[..., Site]]:
    async with AsyncExitStack() as stack:

        def new(**settings: Any) -> Site:
            made = emulated.site(**{"api_url": f"{api.base}/v1", "api_proxy": ALLOWED, **settings})
            stack.push_async_callback(made.aclose)
            return made

        yield new


@pytest.fixture
async def site(new_site: Callable[..., Site]) -> Site:
    return new_site()


@pytest.fixture
async def browser(site: Site, edge: Edge) -> Browser:
    """Somebody who is signed in."""
    found = site.browser(edge)
    await found.sign_in()
    return found


def problem(answer: Any) -> tuple[int, str]:
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("cache-control") == "no-store"
    return answer.status, json.loads(answer.body)["reason"]


async def test_px_01_a_call_arrives_as_it_came_with_the_persons_token(browser, api):
    api.play = say(answer("201 Created", "content-type: application/json\r\nx-request-id: 7\r\n", b'{"id": 1}'))
    said = await browser.fetch(
        "POST",
        "/auth/api/signature_request/send%20it?a=1&a=%5B%5D&q='|",
        b'{"title": "\xc3\xa9"}',
        **{
            "x-csrf": "1",
            "content-type": "application/json",
            "authorization": "Basic eDp5",
            "proxy-authorization": "x",
        },
        **{"te": "trailers", "keep-alive": "timeout=5", "x-lumin-api-version": "1.1", "if-match": '"a"'},
    )
    assert (said.status, said.body) == (201, b'{"id": 1}')
    assert said.header("x-request-id") == "7"
    assert {name: said.header(name) for name in OURS} == OURS
    assert (api.last.method, api.last.target) == ("POST", "/v1/signature_request/send%20it?a=1&a=%5B%5D&q='|")
    assert api.last.body == b'{"title": "\xc3\xa9"}'
    assert api.last.header("authorization").startswith(f"Bearer {TOKEN}")
    assert api.last.header("host") == api.base.removeprefix("http://")
    assert api.last.header("content-type") == "application/json"
    assert api.last.header("content-length") == "15"
    assert api.last.header("x-lumin-api-version") == "1.1"
    assert api.last.header("if-match") == '"a"'
    names = {name for name, _ in api.last.headers}
    assert not names & {"cookie", "proxy-authorization", "te", "keep-alive", "origin", "x-csrf", "sec-fetch-site"}
    assert TOKEN not in str(said.headers) + said.body.decode()


async def test_px_01_without_a_session_nothing_reaches_the_api(site, edge, api):
    nobody = site.browser(edge)
    for method in ("GET", "HEAD", "POST", "DELETE"):
        target = "/auth/api/signature_request/1"
        said = await nobody.fetch(method, target, **{"x-csrf": "1"})
        assert said.status == 401
        assert said.header("www-authenticate").startswith("Bearer")
        assert not said.set_cookies
        if method != "HEAD":
            assert problem(said) == (401, "no_session")
    assert api.calls == []
    assert site.app(edge).requests == []


async def test_px_01_a_person_who_goes_there_signed_out_is_told_so_and_sent_nowhere(site, edge, api):
    said = await site.browser(edge).navigate("/auth/api/user/info")
    assert problem(said) == (401, "no_session")


@pytest.mark.parametrize("public", [["/*"], ["/auth/api/*"], ["/auth/api/user/info"]])
async def test_px_01_no_rule_of_the_application_lets_a_call_in(new_site, edge, api, public):
    site = new_site(public=public)
    assert problem(await site.browser(edge).fetch("GET", "/auth/api/user/info")) == (401, "no_session")
    browser = site.browser(edge)
    await browser.navigate(site.emulator.sign_in((await browser.navigate("/auth/login")).header("location")))
    assert (await browser.fetch("GET", "/auth/api/user/info")).status == 200
    assert len(api.calls) == 1
    assert site.app(edge).requests == []


@pytest.mark.parametrize("pattern", ["/*", "/auth/*", "/auth/api/user/*", "/AUTH/api/user/info"])
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"required_scopes": "templates"}, (403, "insufficient_scope")),
        ({"required_auth_age": 60}, (401, "insufficient_user_authentication")),
    ],
    ids=["scope", "age"],
)
async def test_px_01_a_path_that_asks_for_more_asks_for_it_here_too(new_site, edge, api, pattern, asked, answered):
    [(setting, value)] = asked.items()
    site = new_site(**{setting: {pattern: value}}, public=["/*"])
    browser = site.browser(edge)
    await browser.navigate(site.emulator.sign_in((await browser.navigate("/auth/login")).header("location")))
    site.clock.advance(200)
    assert problem(await browser.fetch("GET", "/auth/api/user/info")) == answered
    assert api.calls == []
    assert (await browser.fetch("GET", "/auth/session")).status == 200


async def test_px_01_where_nothing_is_named_the_path_is_the_applications(new_site, edge, api):
    browser = new_site(api_proxy=()).browser(edge)
    assert (await browser.fetch("GET", "/auth/api/user/info")).status == 401
    await browser.sign_in()
    said = await browser.fetch("GET", "/auth/api/user/info")
    assert json.loads(said.body)["path"] == "/auth/api/user/info"
    assert api.calls == []


@pytest.mark.parametrize("target", [each for each in HOSTILE if re.fullmatch(r"/auth/api/[\x21-\x7E]*", each)])
async def test_px_01_a_path_never_leaves_the_base_of_the_api(browser, api, target):
    said = await browser.fetch("GET", target)
    assert problem(said) == (400, "bad_path")
    assert api.calls == []


async def test_px_04_nothing_unsafe_comes_from_another_site(browser, api):
    target = "/auth/api/signature_request/1"
    for headers in (
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "https://sister.example.com", "x-csrf": "1"},
        {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
        {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"},
        {"sec-fetch-site": "none", "x-csrf": "1"},
    ):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            said = await browser.fetch(method, target, b"a=1", **headers)
            assert problem(said) == (403, "cross_origin"), headers
            assert not said.set_cookies
    assert api.calls == []


async def test_px_04_an_unsafe_request_that_says_nothing_of_its_origin_is_refused(browser, api):
    said = await browser.ask("POST", "/auth/api/signature_request/1", {"accept": "*/*", "x-csrf": "1"}, b"{}")
    assert problem(said) == (403, "cross_origin")
    assert api.calls == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN])
async def test_px_05_no_origin_is_ever_let_in_by_cors(browser, api, origin):
    api.play = say(answer(headers="access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n"))
    headers = {"origin": origin, "sec-fetch-site": "cross-site", "access-control-request-method": "POST"}
    preflight = await browser.fetch("OPTIONS", "/auth/api/signature_request/1", **headers)
    call = await browser.fetch("GET", "/auth/api/user/info", **{"origin": origin, "sec-fetch-site": "same-origin"})
    assert preflight.status == 403
    for said in (preflight, call):
        assert not [name for name, _ in said.headers if name.startswith(b"access-control-")]
        assert origin not in str(said.headers)


async def test_px_05_the_api_can_neither_set_nor_clear_nor_redirect(browser, api, site):
    jar = dict(browser.jar)
    headers = (
        f'set-cookie: {SESSION}=evil; Path=/; Secure\r\nclear-site-data: "*"\r\n'
        "location: http://10.0.0.1/internal\r\nstrict-transport-security: max-age=0\r\n"
    )
    api.play = say(answer("302 Found", headers))
    said = await browser.fetch("GET", "/auth/api/user/info")
    assert said.status == 302
    assert {name.decode() for name, _ in said.headers} == {*OURS, "content-length", "content-type"}
    assert browser.jar == jar
    api.play = say(answer("201 Created", f"location: {site.config.api_url}/signature_request/7\r\n"))
    said = await browser.fetch("POST", "/auth/api/signature_request/send", **{"x-csrf": "1"})
    assert said.header("location") == "/auth/api/signature_request/7"


async def test_px_06_a_401_is_renewed_and_tried_once_more(browser, api, site):
    api.play = say(answer("401 Unauthorized"), answer(body=b'{"id": 7}'))
    said = await browser.fetch("POST", "/auth/api/documents", b'{"a": 1}', **{"x-csrf": "1"})
    assert (said.status, said.body) == (200, b'{"id": 7}')
    assert [call.body for call in api.calls] == [b'{"a": 1}', b'{"a": 1}']
    assert api.calls[0].header("authorization") != api.calls[1].header("authorization")
    assert site.refreshes() == 1
    assert SESSION in said.set_cookies
    assert said.all("vary") == ["Cookie"]
    assert said.header("cache-control") == "no-store"


async def test_px_06_a_second_401_is_the_answer(browser, api, site):
    api.play = say(answer("401 Unauthorized", "www-authenticate: Basic\r\n", b'{"error_code": "unauthorized"}'))
    said = await browser.fetch("GET", "/auth/api/user/info")
    assert (said.status, said.body) == (401, b'{"error_code": "unauthorized"}')
    assert said.header("www-authenticate") is None
    assert (len(api.calls), site.refreshes()) == (2, 1)


async def test_px_06_a_401_after_a_large_body_renews_and_asks_for_the_call_again(browser, api, site):
    api.play = say(answer("401 Unauthorized"), answer())
    body = bytes(200_000)
    said = await browser.fetch("POST", "/auth/api/documents", body, **{"x-csrf": "1"})
    if browser.edge == "asgi":  # all of it came in one message, and what one holds one can send again
        assert said.status in (200, 401)
    if said.status == 401:
        assert problem(said) == (401, "renewed")
        assert len(api.calls) == 1
    assert site.refreshes() == 1
    assert SESSION in said.set_cookies
    assert (await browser.fetch("POST", "/auth/api/documents", body, **{"x-csrf": "1"})).status == 200


@pytest.mark.parametrize("body", [b"{}", bytes(200_000)], ids=["small", "large"])
async def test_px_06_a_401_of_a_session_that_lumin_has_ended_asks_for_a_sign_in(browser, api, site, body):
    site.emulator.revoke_all()
    api.play = say(answer("401 Unauthorized"))
    said = await browser.fetch("POST", "/auth/api/documents", body, **{"x-csrf": "1"})
    assert problem(said) == (401, "ended")
    assert len(api.calls) == 1
    assert (await browser.fetch("GET", "/auth/session")).status == 401


@pytest.mark.parametrize("body", [b"{}", bytes(200_000)], ids=["small", "large"])
async def test_px_06_a_401_while_nothing_can_be_renewed_signs_nobody_out(browser, api, site, body):
    site.emulator.faults.add("/oauth2/token", status=503)
    api.play = say(answer("401 Unauthorized"))
    said = await browser.fetch("POST", "/auth/api/documents", body, **{"x-csrf": "1"})
    assert said.status in (401, 503)
    assert (await browser.fetch("GET", "/auth/session")).status == 200


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "409 Conflict"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_px_06_errors_of_the_api_pass_through(browser, api, status, method):
    api.play = say(answer(status, "content-type: application/json\r\nretry-after: 7\r\n", b'{"error_code": "x"}'))
    said = await browser.fetch(method, "/auth/api/files/x", **{"x-csrf": "1"})
    assert (said.status, said.body) == (int(status[:3]), b'{"error_code": "x"}')
    assert said.header("retry-after") == "7"
    assert {name: said.header(name) for name in OURS} == OURS


@pytest.mark.parametrize("status", ["500 Oh No", "502 Bad Gateway", "503 Busy", "429 Slow Down", "418 Teapot", "599 X"])
async def test_px_06_so_do_its_troubles(browser, api, status):
    api.play = say(answer(status, body=b"x"))
    said = await browser.fetch("GET", "/auth/api/files/x")
    assert (said.status, said.body) == (int(status[:3]), b"x")


NO_ANSWERS = {
    "closed": b"",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "upgraded": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "no status": b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_px_06_what_is_no_answer_is_a_bad_gateway(browser, api, said, caplog):
    def play(call: upstream.Call) -> None:
        call.read()
        call.complete = False  # the connection ends here
        call.send(said)

    api.play = play
    caplog.set_level(logging.DEBUG)
    answered = await browser.fetch("POST", "/auth/api/documents", b"{}", **{"x-csrf": "1"})
    assert problem(answered) == (502, "api_unreachable")
    assert TOKEN not in answered.body.decode()
    assert site_log(caplog, 502) or said.startswith(b"HTTP")
    assert not [record for record in caplog.records if record.name == "lumin_middleware" and TOKEN in record.message]


def site_log(caplog: pytest.LogCaptureFixture, status: int) -> list[str]:
    """What the log says of calls that were answered so."""
    return [text for text in caplog.messages if f" status={status} " in text]


async def test_px_06_an_api_that_is_not_there_is_a_bad_gateway_and_the_log_says_so(new_site, edge, caplog):
    browser = new_site(api_url="http://127.0.0.1:1/v1").browser(edge)
    await browser.sign_in()
    assert problem(await browser.fetch("GET", "/auth/api/user/info")) == (502, "api_unreachable")
    [line] = site_log(caplog, 502)
    assert line.startswith("api_unreachable: ")
    assert line.endswith("method='GET' path='/auth/api/user/info' status=502 error='ConnectError'")


async def test_px_06_an_api_that_is_too_late_is_a_gateway_timeout(new_site, edge, api):
    browser = new_site(api_timeout=0.1).browser(edge)
    await browser.sign_in()
    api.play = lambda call: call.read().is_left()
    assert problem(await browser.fetch("GET", "/auth/api/user/info")) == (504, "api_timeout")


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BROKEN = {
    "a length that is not reached": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome",
    "a length and nothing": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
    "chunks without an end": CHUNKED + b"4\r\nsome\r\n",
    "half a chunk": CHUNKED + b"8\r\nsome",
    "no chunks": CHUNKED + b"this is none\r\n",
    "a chunk that does not end": CHUNKED + b"4\r\nsomething\r\n",
    "trailers without an end": CHUNKED + b"4\r\nsome\r\n0\r\nx: " + b"x" * 1_000_000,
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer_that_breaks_off_stays_unfinished_and_the_log_says_so(browser, site, api, said, method, caplog):
    def play(call: upstream.Call) -> None:
        with contextlib.suppress(OSError):
            call.read().send(said)
        call.complete = False

    api.play = play
    path = "/auth/api/documents" if method == "POST" else "/auth/api/files/x"
    if browser.edge == "wsgi":
        with pytest.raises(ConnectionResetError):
            await browser.fetch(method, path, b"{}" if method == "POST" else b"", **{"x-csrf": "1"})
    else:
        answered = await browser.fetch(method, path, b"{}" if method == "POST" else b"", **{"x-csrf": "1"})
        assert (answered.status, answered.messages[-1].get("more_body", True)) == (200, True)
    [line] = [text for text in caplog.messages if text.startswith("api_broke_off: ")]
    assert line.endswith(f"method='{method}' path='{path}' error='RemoteProtocolError'")
    assert TOKEN not in caplog.text
    api.play = say(answer())
    assert (await browser.fetch("GET", "/auth/api/files/x")).body == b"{}"


async def test_px_06_a_token_that_expires_is_renewed_before_the_call(browser, api, site):
    site.clock.advance(3599)
    said = await browser.fetch("GET", "/auth/api/user/info")
    assert said.status == 200
    assert (len(api.calls), site.refreshes()) == (1, 1)
    assert SESSION in said.set_cookies


async def test_a_call_slides_the_session_like_every_use(browser, api, site):
    site.clock.advance(site.config.idle_timeout / 10 + 1)
    assert SESSION in (await browser.fetch("GET", "/auth/api/user/info")).set_cookies


async def test_px_08_two_people_never_meet(site, edge, api):
    def play(call: upstream.Call) -> None:
        call.read()
        call.send(answer(body=call.header("authorization").encode() + b" " + call.target.encode()))

    api.play = play
    browsers = [site.browser(edge), site.browser(edge)]
    tokens = []
    for number, (browser, person) in enumerate(zip(browsers, site.emulator.users, strict=False)):
        await browser.sign_in(sub=person)
        tokens.append((await browser.fetch("GET", f"/auth/api/files/{number}")).body.split()[1])
    assert tokens[0] != tokens[1]

    async def one(number: int, count: int) -> None:
        said = await browsers[number].fetch("GET", f"/auth/api/files/{count}")
        assert said.body == b"Bearer %s /v1/files/%d" % (tokens[number], count)

    for start in range(0, 1000, 50):
        await asyncio.gather(*(one(count % 2, count) for count in range(start, start + 50)))


# --- bodies ---------------------------------------------------------------------------------------------


async def test_head_has_the_headers_of_get_and_no_body(browser, api):
    api.play = say(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\ncontent-type: application/pdf\r\n\r\n")
    said = await browser.fetch("HEAD", "/auth/api/files/x")
    assert (said.status, said.body) == (200, b"")
    assert said.header("content-length") == "1234"
    assert api.last.method == "HEAD"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_may_have_no_body(browser, api, status):
    api.play = say(f'HTTP/1.1 {status}\r\netag: "a"\r\n\r\n'.encode())
    said = await browser.fetch("GET", "/auth/api/files/x", **{"if-none-match": '"a"'})
    assert (said.status, said.body, said.header("etag")) == (int(status[:3]), b"", '"a"')
    assert said.header("content-length") is None
    assert api.last.header("if-none-match") == '"a"'


async def test_a_range_is_asked_for_and_answered(browser, api):
    headers = "content-type: application/pdf\r\ncontent-range: bytes 2-4/9\r\n"
    api.play = say(answer("206 Partial Content", headers, b"abc"))
    said = await browser.fetch("GET", "/auth/api/files/x", range="bytes=2-4")
    assert (said.status, said.body, said.header("content-range")) == (206, b"abc", "bytes 2-4/9")
    assert api.last.header("range") == "bytes=2-4"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "x-unknown"])
async def test_a_compressed_body_stays_as_it_is(browser, api, coding):
    packed = gzip.compress(b"{}" * 1000) if coding == "gzip" else b"\x00not really compressed"
    api.play = say(answer(headers=f"content-encoding: {coding}\r\n", body=packed))
    said = await browser.fetch("GET", "/auth/api/files/x", **{"accept-encoding": f"{coding}, *;q=0"})
    assert (said.body, said.header("content-encoding")) == (packed, coding)
    assert api.last.header("accept-encoding") == f"{coding}, *;q=0"


async def test_whoever_takes_no_encoding_is_sent_none(browser, api):
    await browser.fetch("GET", "/auth/api/files/x")
    assert api.last.header("accept-encoding") == "identity"


async def test_a_body_in_chunks_arrives_whole(browser, api):
    api.play = say(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-t: 1\r\n\r\n"
    )
    said = await browser.fetch("GET", "/auth/api/files/x")
    assert (said.body, said.header("content-length"), said.header("transfer-encoding")) == (b"abcde", None, None)


async def test_a_large_body_goes_out_with_its_length(browser, api):
    body = bytes(range(256)) * 4096
    length = {"content-length": str(len(body))} if browser.edge == "asgi" else {}  # a WSGI server says it by itself
    said = await browser.fetch("PUT", "/auth/api/files/x", body, **{"x-csrf": "1", **length})
    assert said.status == 200
    assert (api.last.body, api.last.header("content-length")) == (body, str(len(body)))
    assert api.last.header("transfer-encoding") is None


@pytest.mark.parametrize("value", ["a\x00b", "a\r\nauthorization: b", "a\nb"])
async def test_a_header_that_no_server_should_let_in_goes_no_further(browser, api, value):
    said = await browser.fetch("GET", "/auth/api/files/x", accept=value)
    assert problem(said) == (400, "bad_request")
    assert api.calls == []


@pytest.mark.parametrize("length", ["5", "500000", "x", "-1", "1,1", "\u00b2"])
async def test_a_length_that_is_none_or_not_that_of_the_body_is_refused(site, length):
    browser = site.browser("wsgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    headers = {**FETCH, "cookie": cookie, "x-csrf": "1"}
    made = gateway.environ("/auth/api/documents", "POST", headers, b"abc", CONTENT_LENGTH=length)
    assert problem(gateway.serve(site.wsgi, made)) == (400, "bad_request")


async def test_a_body_without_a_length_is_read_to_its_end_where_the_wsgi_server_marks_that(site, api):
    browser = site.browser("wsgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    headers = {**FETCH, "cookie": cookie, "x-csrf": "1", "transfer-encoding": "chunked"}
    for marked, body in ((True, b"abc" * 50_000), (True, b"abc"), (None, b"")):
        made = gateway.environ(
            "/auth/api/documents", "POST", headers, b"abc" * (len(body) // 3 or 1), CONTENT_LENGTH=None
        )
        made["wsgi.input_terminated"] = marked
        assert gateway.serve(site.wsgi, made).status == 200
        assert api.last.body == body


async def test_a_wsgi_server_that_stops_half_way_leaves_no_call_open(site, api):
    def play(call: upstream.Call) -> None:
        call.read().send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc")
        left.append(call.is_left())
        done.set()

    left: list[bool] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    done_set, done.set = done.set, lambda: loop.call_soon_threadsafe(done_set)  # type: ignore[method-assign]
    api.play = play
    browser = site.browser("wsgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    made = gateway.environ("/auth/api/files/x", "GET", {**FETCH, "cookie": cookie})
    result = site.wsgi(made, gateway.Connection().start_response)
    assert next(iter(result)) == b"abc"
    result.close()
    await done.wait()
    assert left == [True]


# --- websockets -----------------------------------------------------------------------------------------


async def test_a_websocket_is_refused_before_anybody_sees_it(site, api):
    browser = site.browser("asgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    sent = await shake_hands(site.asgi, "/auth/api/files/x", headers={"origin": ORIGIN, "cookie": cookie})
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 4400)]
    assert api.calls == []
    assert site.app("asgi").requests == []


# --- the routes beside it -------------------------------------------------------------------------------


async def test_the_session_slides_when_it_is_asked_for_unless_it_says_no(browser, site):
    assert not (await browser.fetch("GET", "/auth/session")).set_cookies
    ends = site.clock.now + site.config.idle_timeout
    site.clock.advance(site.config.idle_timeout / 10 + 1)
    still = await browser.fetch("GET", "/auth/session?slide=false")
    assert not still.set_cookies
    assert json.loads(still.body)["expires_at"] == pytest.approx(ends, abs=1)
    slid = await browser.fetch("GET", "/auth/session")
    assert SESSION in slid.set_cookies
    assert (slid.header("cache-control"), slid.header("vary")) == ("no-store", "Cookie")
    assert json.loads(slid.body)["expires_at"] == pytest.approx(site.clock.now + site.config.idle_timeout, abs=1)
    again = await browser.fetch("GET", "/auth/session")
    assert not again.set_cookies
    assert json.loads(again.body)["expires_at"] == json.loads(slid.body)["expires_at"]


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_whoever_only_asks_without_sliding_is_signed_out_in_time(new_site, edge, sessions):
    site = new_site(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    for _ in range(4):
        site.clock.advance(site.config.idle_timeout / 5)
        assert (await browser.fetch("GET", "/auth/session?slide=false")).status == 200
    site.clock.advance(site.config.idle_timeout / 5)
    assert (await browser.fetch("GET", "/auth/session?slide=false")).status == 401


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_whoever_asks_with_sliding_stays(new_site, edge, sessions):
    site = new_site(sessions=sessions)
    browser = site.browser(edge)
    await browser.sign_in()
    for _ in range(10):
        site.clock.advance(site.config.idle_timeout / 2)
        assert (await browser.fetch("GET", "/auth/session")).status == 200


async def test_the_session_that_another_process_renewed_comes_with_the_answer(browser, api, site):
    old = dict(browser.jar)
    site.clock.advance(3599)
    await browser.fetch("GET", "/auth/api/user/info")
    browser.jar = old  # that answer was lost
    assert SESSION in (await browser.fetch("GET", "/auth/session")).set_cookies


async def test_a_login_leads_back_to_the_popups_page_but_to_no_call_and_no_other_route(site, edge):
    browser = site.browser(edge)
    for return_to, led in (
        ("/auth/popup", "/auth/popup"),
        ("/auth/popup?x=1", "/auth/popup?x=1"),
        ("/auth/api/user/info", "/"),
        ("/auth/lumin.js", "/"),
        ("/auth/login", "/"),
    ):
        begun = await browser.navigate(f"/auth/login?return_to={return_to}")
        done = await browser.navigate(site.emulator.sign_in(begun.header("location")))
        assert (done.status, done.header("location")) == (303, led)


async def test_the_wsgi_edge_reads_a_content_type_from_nowhere_else(site):
    seen: list[Any] = []

    async def route(request: Request, jar: object) -> Any:
        seen.extend(request.headers)
        raise RequestRefused("x", "x")

    middleware = WsgiMiddleware(site.wsgi_app, site.config, clock=site.clock)
    middleware._party()[0]._routes["/auth/x"] = route
    made = gateway.environ("/auth/x", "POST", NAVIGATION, b"{}", HTTP_CONTENT_TYPE="evil", HTTP_CONTENT_LENGTH="9")
    made["CONTENT_TYPE"] = "text/plain"
    gateway.serve(middleware, made)
    middleware.close()
    assert [item for item in seen if item[0].startswith(b"content-")] == [
        (b"content-length", b"2"),
        (b"content-type", b"text/plain"),
    ]
