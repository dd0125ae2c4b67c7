"""A real proxy in front of our workers, as one: what the gateway does, it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socketserver
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from lumin_middleware import LuminMiddleware
from lumin_middleware.errors import ConfigurationError
from lumin_middleware.gateway import engines
from tests import browser_rig
from tests.certificates import self_signed
from tests.fakes import config
from tests.gateway import test_gateway as scenarios
from tests.gateway.test_gateway import Site, chatting  # noqa: F401  a fixture
from tests.gateway.test_snippets import FailingStore, Slow, meant_for_the_service, set_by_the_service
from tests.patience import PATIENCE
from tests.proxies import programs
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, Program, free_port, front, gateway, serve, told

SETUPS = {
    "nginx": ["--engine", "nginx"],
    "nginx, held": ["--engine", "nginx", "--cache", "5"],
    "caddy": ["--engine", "caddy"],
}
RULES = ["--public", "/public/*", "--optional", "/maybe"]


@pytest.fixture(scope="module", params=SETUPS)
def running(request, tmp_path_factory) -> Iterator[Site]:
    programs.find(request.param.partition(",")[0])
    folder, echo = tmp_path_factory.mktemp("engine"), Echo()
    with (
        front() as site,
        serve(echo, server_header=False) as upstream,
        gateway(site, upstream, folder / "log", *RULES, "--pass-user-headers", *SETUPS[request.param]),
    ):
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


# --- the table of the gateway, on each ---

test_nobody_reaches_the_service_without_a_sign_in = scenarios.test_nobody_reaches_the_service_without_a_sign_in
test_a_public_path_passes_without = scenarios.test_a_public_path_passes_without
test_any_method_passes_with_and_without_a_body = scenarios.test_any_method_passes_with_and_without_a_body
test_nothing_is_traced_and_nothing_is_tunnelled = scenarios.test_nothing_is_traced_and_nothing_is_tunnelled
test_head_has_the_headers_of_get_and_no_body = scenarios.test_head_has_the_headers_of_get_and_no_body
test_nobody_takes_away_who_they_are = scenarios.test_nobody_takes_away_who_they_are
test_by_which_way_it_came_is_said_by_us_alone = scenarios.test_by_which_way_it_came_is_said_by_us_alone
test_our_cookies_stay_and_the_services_pass = scenarios.test_our_cookies_stay_and_the_services_pass
test_the_target_arrives_byte_for_byte = scenarios.test_the_target_arrives_byte_for_byte
test_every_status_passes_and_no_redirect_is_followed = scenarios.test_every_status_passes_and_no_redirect_is_followed
test_events_arrive_one_by_one = scenarios.test_events_arrive_one_by_one
test_an_upload_arrives_piece_by_piece = scenarios.test_an_upload_arrives_piece_by_piece
test_a_client_that_goes_away_ends_the_request_to_the_service = (
    scenarios.test_a_client_that_goes_away_ends_the_request_to_the_service
)
test_an_answer_that_is_cut_short_is_not_taken_for_whole = (
    scenarios.test_an_answer_that_is_cut_short_is_not_taken_for_whole
)
test_messages_pass_both_ways_whole = scenarios.test_messages_pass_both_ways_whole
test_the_services_close_reaches_the_browser = scenarios.test_the_services_close_reaches_the_browser
test_the_browsers_close_reaches_the_service = scenarios.test_the_browsers_close_reaches_the_service
test_nobody_and_no_other_site_opens_a_socket = scenarios.test_nobody_and_no_other_site_opens_a_socket
test_so_does_one_that_waits_for_the_answer_to_begin = scenarios.test_so_does_one_that_waits_for_the_answer_to_begin
test_so_does_one_in_the_middle_of_its_upload = scenarios.test_so_does_one_in_the_middle_of_its_upload
test_an_early_answer_to_an_upload_passes = scenarios.test_an_early_answer_to_an_upload_passes
test_a_slow_reader_holds_the_service_back = scenarios.test_a_slow_reader_holds_the_service_back
test_the_service_sees_who_opened_the_socket_and_no_cookie_of_ours = (
    scenarios.test_the_service_sees_who_opened_the_socket_and_no_cookie_of_ours
)
test_a_browser_that_vanishes_is_gone_for_the_service = scenarios.test_a_browser_that_vanishes_is_gone_for_the_service
test_a_handshake_that_the_service_refuses_is_refused = scenarios.test_a_handshake_that_the_service_refuses_is_refused


@pytest.mark.usefixtures("chatting")
def test_a_socket_that_was_opened_is_the_services_to_end(browser):
    """Nobody asks about it any more (`docs/websockets.md`)."""
    with scenarios.connect(browser, "/chat") as socket:
        browser.sign_out()
        assert browser.get("/page").status_code == 401
        socket.send_text("x")
        assert socket.receive_text(PATIENCE) == "x"


@pytest.mark.parametrize(
    "path", ["/public/../page", "/public/%2e%2e/page", "/public/..%2fpage", "/public/%2e%2e%2fpage"]
)
def test_no_spelling_of_a_public_path_opens_another(site, path):
    """A proxy that asks knows 401 and 403 alone."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    assert scenarios.raw(site.front.port, request.encode()).split(b" ")[1] in (b"400", b"401", b"403")
    assert site.echo.seen == []


def test_who_it_is_is_said_by_us_alone(site, browser):
    person = next(iter(site.front.emulator.users.values()))
    seen = told(browser.fetch("GET", "/x", headers={"X-Auth-Request-User": "root", "X_Auth_Request_User": "root"}))
    assert {name: values for name, values in seen.items() if "auth" in name} == {
        "x-auth-request-user": [person.sub],
        "x-auth-request-email": [person.email],
        "x-auth-request-scope": ["openid offline_access sign:requests"],
    }


def test_a_service_s_cookies_of_our_names_take_the_place_of_none(site, browser):
    said = [line for line in set_by_the_service(site, browser) if line]
    kept = [line.partition(";")[0] for line in said if "SameSite=None" not in line or "Secure" in line]
    assert kept[0] == "theirs=1"
    assert kept[-1] == "last=2"
    assert not [line for line in kept if site.front.config().session_cookie in line.partition("=")[0]]
    assert not [line for line in kept if line.lstrip(" =").startswith(site.front.config().session_cookie)]


NOTHING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def writing(answers: dict[str, bytes]) -> Iterator[str]:
    """A service that answers what is written, which no server of HTTP would; and then closes the connection."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode()
            while line and self.rfile.readline().strip():
                pass
            self.wfile.write(answers.get(line.split(" ")[1], NOTHING) if line else b"")

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_cookie_of_our_names_takes_none_by_white_space_before_it(tmp_path):
    """Browsers take it away."""
    programs.find("nginx")
    options = ["--engine", "nginx", "--public", "/*"]
    with front() as site:
        name = site.config().session_cookie
        ours = [f"\t{name}=x", f" \t {name}=x", f"\t={name}=x", f"\t= \t{name}-0=x", f"\x0c{name}=x", f"=\t{name}=x"]
        said = "".join(f"Set-Cookie: {each}; Path=/\r\n" for each in [*ours, "\ttheirs=1"]).encode()
        answers = {"/cookies": NOTHING.replace(b"Connection", said + b"Connection")}
        with writing(answers) as upstream, gateway(site, upstream, tmp_path / "log", *options):
            answer = scenarios.raw(site.port, b"GET /cookies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    lines = [line for line in answer.decode().lower().split("\r\n") if line.startswith("set-cookie:")]
    kept = [line for line in lines if "samesite=none" not in line or "secure" in line]
    assert len(lines) == len(ours) + 1
    assert [line.partition(";")[0].split()[-1] for line in kept] == ["theirs=1"]


@pytest.mark.parametrize("options", [["nginx"], ["nginx", "--cache", "60"], ["caddy"], ["builtin"]], ids=" ".join)
def test_what_a_service_calls_as_its_site_is_its_own(tmp_path, options):
    """`shop-cart` beside `cookie_name="shop"`; but `shop` itself, and what we add to it, is ours."""
    if options[0] != "builtin":
        programs.find(options[0])
    echo = Echo()
    ours = ("shop", "shop-0", "shop-tries", "shop-login-0123456789abcdef", "shop ")

    async def answer(scope, receive, send):
        headers = [
            (b"set-cookie", b"%s=1; Path=/" % name.encode()) for name in (*ours, "shop-cart", "shop-9", "shopping")
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    echo.handlers["/set"] = answer
    with (
        front() as site,
        serve(echo) as upstream,
        gateway(site, upstream, tmp_path / "log", "--engine", *options, "--public", "/*", LUMIN_COOKIE_NAME="shop"),
        site.browser() as stranger,
    ):
        said = stranger.get("/set").headers.get_list("set-cookie")
        for header in ("shop-cart=1; a=2", "a=2; shop-9=3; shopping=4"):
            stranger.get("/x", headers={"cookie": f"{header}; shop=x; shop-0=y; lumin-abcdef=z"})
            assert dict(echo.seen[-1]["headers"])[b"cookie"] == header.encode()
    kept = [line for line in said if line and "samesite=none" not in line.lower()]
    assert kept == [f"{name}=1; Path=/" for name in ("shop-cart", "shop-9", "shopping")]


def test_a_service_that_sees_its_own_name_sends_nobody_to_it(tmp_path):
    """A `Domain` without a value is none (RFC 6265, 5.2.3), and the cookie is of the site's host alone."""
    programs.find("nginx")
    echo = Echo()

    async def answer(scope, receive, send):
        host = dict(scope["headers"])[b"host"]
        cookies = [b"%s; Domain=%s; Path=/" % (each, host.partition(b":")[0]) for each in (b"a=1", b"b=Domain=x")]
        headers = [(b"location", b"http://%s/login?x" % host), *((b"set-cookie", each) for each in cookies)]
        headers += [(b"set-cookie", b"c=1; Domain=other.example")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    echo.handlers["/x"] = answer
    options = ["--engine", "nginx", "--public", "/x", "--own-host"]
    with (
        front() as site,
        serve(echo) as upstream,
        gateway(site, upstream.replace(LOOPBACK, "localhost"), tmp_path / "log", *options),
        site.browser() as stranger,
    ):
        answered = stranger.navigate("/x")
    assert answered.headers["location"] == f"{site.origin}/login?x"
    said = answered.headers.get_list("set-cookie")
    assert said == ["a=1; Domain=; Path=/", "b=Domain=x; Domain=; Path=/", "c=1; Domain=other.example"]


def test_a_line_of_cookies_passes_that_fits_into_the_engine(site):
    for public in (b"/public/x", b"/maybe"):
        cookie = b"theirs=" + b"x" * 16_200
        request = b"GET %s HTTP/1.1\r\nHost: x\r\nCookie: %s\r\nConnection: close\r\n\r\n" % (public, cookie)
        assert scenarios.raw(site.front.port, request).startswith(b"HTTP/1.1 200")
        assert dict(site.echo.seen[-1]["headers"])[b"cookie"] == cookie


# --- as one ---


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_all_of_it_starts_and_stops_together_and_leaves_nothing(tmp_path, engine):
    programs.find(engine)
    with front() as site, serve(Echo()) as upstream:
        site.variables["LUMIN_STORE"] = f"sqlite://{tmp_path.resolve()}/private/store"
        with gateway(site, upstream, tmp_path / "log", "--engine", engine, "--workers", "2") as program:
            with site.browser() as browser:
                assert browser.sign_in("/page?token=s3cret").status_code == 200
                seen = told(browser.fetch("GET", "/page"))
                assert not [name for name in seen if "auth" in name]
                while f"by {engine} at" not in program.said():  # both workers have begun
                    threading.Event().wait(0.05)
                others = children(program.process.pid)
                assert len(others) == 3
                if engine == "nginx":  # a worker that dies is replaced
                    victim = next(pid for pid in others if "cli.worker" in command(pid))
                    os.kill(victim, signal.SIGKILL)
                    while "another takes its place" not in program.said():
                        threading.Event().wait(0.05)
                assert browser.fetch("GET", "/auth/session").status_code == 200
            others = children(program.process.pid)
            assert program.stop() == 0
        said = program.said()
    assert f"by {engine} at" in said
    assert "s3cret" not in said
    assert "code=" not in said
    assert not [pid for pid in others if is_alive(pid)]
    if engine == "nginx":
        assert re.search(rf"INFO {re.escape(LOOPBACK)} GET /page 200 \d+ \d+\.\d{{3}}\n", said)


def test_told_to_reload_it_goes_on_with_new_workers(tmp_path):
    programs.find("nginx")
    with (
        front() as site,
        serve(Echo()) as upstream,
        gateway(site, upstream, tmp_path / "log", "--engine", "nginx") as program,
        site.browser() as browser,
    ):
        browser.sign_in()
        before = {pid for pid in children(program.process.pid) if "cli.worker" in command(pid)}
        program.process.send_signal(signal.SIGHUP)
        while any(map(is_alive, before)):
            threading.Event().wait(0.05)
        assert browser.fetch("GET", "/page").status_code == 200
        assert program.stop() == 0


def test_where_the_engine_dies_everything_ends(tmp_path):
    programs.find("caddy")
    with front() as site, serve(Echo()) as upstream:
        with gateway(site, upstream, tmp_path / "log", "--engine", "caddy") as program:
            engine = engine_of(program.process.pid)
            os.kill(engine, signal.SIGKILL)
            assert program.process.wait(PATIENCE) == 1
        assert "caddy has ended" in program.said()


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
@pytest.mark.parametrize(
    ("host", "is_trusted", "status"),
    [("localhost", True, 200), ("localhost", False, 502), ("other.example", True, 502)],
)
def test_a_service_by_https_is_the_one_that_is_meant(tmp_path, engine, host, is_trusted, status):
    programs.find(engine)
    file = str(self_signed(tmp_path / "service.pem", host))
    trusted = str(self_signed(tmp_path / "another.pem", "localhost")) if not is_trusted else file
    (none := tmp_path / "none").mkdir()
    echo = Echo()
    with front() as site, serve(echo, ssl_certfile=file) as upstream:
        port = upstream.rpartition(":")[2]
        options = ["--engine", engine, "--public", "/*"]
        variables = {"SSL_CERT_FILE": trusted, "SSL_CERT_DIR": str(none)}
        with (
            gateway(site, f"https://localhost:{port}", tmp_path / "log", *options, **variables),
            site.browser() as browser,
        ):
            assert browser.fetch("GET", "/page").status_code == status
    assert len(echo.seen) == (status == 200)


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_a_service_below_a_path_is_for_the_built_in_engine(tmp_path, engine):
    programs.find(engine)
    with (
        front() as site,
        pytest.raises(AssertionError, match=r"--upstream: must be like"),
        gateway(site, "http://127.0.0.1:9/base", tmp_path / "log", "--engine", engine),
    ):
        pass


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_no_line_about_trouble_holds_a_query(tmp_path, engine):
    programs.find(engine)
    options = ["--engine", engine, "--public", "/*"]
    with front() as site, gateway(site, f"http://{LOOPBACK}:{free_port()}", tmp_path / "log", *options) as program:
        with site.browser() as browser:
            for query in ("?code=s3cret", '?"s3cret"', "?a?s3cret", "?s3cret,", "?s3cret/?,"):
                headers = {"referer": f"{site.origin}/from{query}", "cookie": "a=s3cret"}
                answer = browser.fetch("GET", f"/trouble{query}", headers=headers)
                assert answer.status_code == 502
                if engine == "nginx":
                    assert answer.json()["reason"] == "upstream_unavailable"
        assert program.stop() == 0
    said = program.said()
    assert said.count("/trouble") >= 5 * 2, "a line of its own says what the trouble is, beside the log of all requests"
    assert "onnect" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (b'request: "GET /a?code=x&state=y HTTP/1.1", host: "h"', b'request: "GET /a HTTP/1.1", host: "h"'),
        (b'upstream: "http://h:1/a?code=x", host: "h", referrer: "http://h/?x"', None),
        (b'request: "GET /a?" HTTP/1.1", host: "h"', None),
        (b'request: "GET /a?x", HTTP/1.1", host: "h"', None),
        (b'request: "GET /a?x?x cut sho', b'request: "GET /a cut sho'),
        (b"GET /a 200", b"GET /a 200"),
    ],
)
def test_a_query_is_cut_from_a_line(line, left):
    cut = engines.without_queries(line)
    assert left is None or cut == left
    assert b"?" not in cut
    assert b"x" not in cut.replace(b"http", b"").replace(b"HTTP", b"")
    assert (b'"h"' in line) == (b'"h"' in cut)


@pytest.mark.parametrize("cache", ["0", "5"])
def test_roots_nginx_works_as_somebody_else(tmp_path, cache):
    programs.find("nginx")
    body = b"x" * 300_000
    options = ["--engine", "nginx", "--cache", cache]
    with (
        front() as site,
        serve(Echo()) as upstream,
        gateway(site, upstream, tmp_path / "log", *options) as program,
        site.browser() as browser,
    ):
        browser.sign_in()
        assert browser.fetch("POST", "/page", content=body).json()["size"] == len(body)
        master = engine_of(program.process.pid)
        workers = {pid for pid in children(master) if "worker process" in command(pid)}
        assert workers
        folder = Path(re.search(r" -p (\S+)/ ", command(master))[1])
        for pid in workers:
            worker = os.stat(f"/proc/{pid}").st_uid
            assert (worker == 0, worker == os.geteuid()) == (False, os.geteuid() != 0)
        assert folder.stat().st_uid == os.geteuid(), "and nothing in it is another's to replace"
        assert stat.S_IMODE(folder.stat().st_mode) == (0o710 if os.geteuid() == 0 else 0o700)
        program.process.send_signal(signal.SIGHUP)
        while any(map(is_alive, workers)):
            threading.Event().wait(0.05)
        assert browser.fetch("GET", "/page").status_code == 200
        assert program.stop() == 0
    assert "denied" not in program.said()


# --- before an application of the test's own, in place of our workers ---


@contextmanager
def engine_before(name: str, site: Front, app: Any, upstream: str, folder: Path, **options: Any) -> Iterator[None]:
    """An engine that asks this application."""
    program = programs.find(name)
    with serve(app, lifespan="on") as auth:
        options.setdefault("config", site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",)))
        plan = engines.Plan(
            upstream=upstream, host=LOOPBACK, port=site.port, auth=auth, folder=folder / "engine", **options
        )
        asked = engines.written(name, program, plan)
        home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with Program(asked, folder / "log", cwd=folder, env=home) as running:
            running.until_it_listens(site.port)
            yield


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_trouble_that_is_over_at_once_lets_nobody_pass_and_tells_nobody_who_it_is(tmp_path, engine, method):
    store, echo = FailingStore(), Echo()
    with front() as site, serve(echo) as upstream:
        settings = site.config(store=store, sessions="store", trusted_proxies=(LOOPBACK,), verify_access_token=True)
        app = LuminMiddleware(Echo(), settings)
        with engine_before(engine, site, app, upstream, tmp_path, config=settings), site.browser() as browser:
            browser.sign_in()
            echo.seen.clear()
            store.fails_once = True
            answer = browser.fetch(method, "/page")
            assert (answer.status_code, echo.seen, meant_for_the_service(answer)) == (503, [], [])
            assert not store.fails_once
            assert browser.fetch(method, "/page").status_code == 200


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
@pytest.mark.parametrize(
    ("slow", "path", "status"), [("/auth/verify", "/public/x", 200), ("/auth/session", "/auth/session", 401)]
)
def test_how_soon_the_service_must_answer_hurries_nobody_else(tmp_path, engine, slow, path, status):
    """A renewal takes what Lumin takes, and a code that was sent is spent."""
    with front() as site, serve(Echo()) as upstream:
        app = Slow(LuminMiddleware(Echo(), site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",))), slow, 4)
        with engine_before(engine, site, app, upstream, tmp_path, timeout=3), site.browser() as browser:
            assert browser.fetch("GET", path).status_code == status


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_a_service_that_answers_too_late_is_not_waited_for(tmp_path, engine):
    with front() as site, serve(Slow(Echo(), "/public/x", PATIENCE)) as upstream:
        app = LuminMiddleware(Echo(), site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",)))
        with engine_before(engine, site, app, upstream, tmp_path, timeout=0.5), site.browser() as browser:
            assert browser.fetch("GET", "/public/x").status_code == 504


FRONTS = [
    *((form, name, 0) for form in ("engine", "settings") for name in engines.ENGINES),
    *(("settings", "nginx", cache) for cache in (None, 5)),
    ("engine", "nginx", 5),
]
"""A whole engine, or what `snippets` writes; for nginx with each `cache` that it writes otherwise with."""


@contextmanager
def front_before(form: str, name: str, cache: int | None, site: Front, upstream: str, folder: Path) -> Iterator[None]:
    programs.find(name)
    if form == "engine":
        options = ["--engine", name, "--public", "/public/*", "--cache", str(cache)]
        with gateway(site, upstream, folder / "log", *options):
            yield
        return
    settings = site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",))
    held = cache if name == "nginx" else None
    with (
        serve(LuminMiddleware(Echo(), settings), lifespan="on") as auth,
        programs.proxy(name, settings, site.port, folder, auth=auth, upstream=upstream, cache=held),
    ):
        yield


@pytest.mark.parametrize(("form", "name", "cache"), FRONTS)
def test_a_service_that_names_itself_sends_nobody_to_it(tmp_path, form, name, cache):
    """nginx knows Location alone; of a Domain it leaves the word, which without a value is none (RFC 6265, 5.2.3)."""
    echo, said = Echo(), []

    async def answer(scope, receive, send):
        headers = [(name, value.encode()) for name, value in said]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    echo.handlers["/public/x"] = answer
    with front() as site, serve(echo) as upstream:
        upstream = upstream.replace(LOOPBACK, "localhost")
        origin = site.origin
        others = ["http://elsewhere.example/", "http://localhost.example/", "http://localhost/"]
        cookies = ["a=localhost; Path=/", "b=1; Domain=elsewhere.example; Path=/", "c=1; Domain=localhost.example"]
        with front_before(form, name, cache, site, upstream, tmp_path), site.browser() as browser:
            for named, public in [
                (f"{upstream}/login?x=/$1", f"{origin}/login?x=/$1"),
                (upstream.upper(), f"{origin}/"),
                (f"{upstream.removeprefix('http:')}/x", f"{origin}/x"),
                (f"{upstream}?next=1", f"{origin}/?next=1"),
                *((each, each) for each in [*others, f"{upstream}0/x", "/x"]),
            ]:
                said[:] = [(b"location", named), (b"content-location", named)]
                answered = browser.fetch("GET", "/public/x").headers
                assert answered["location"] == public
                assert answered["content-location"] == (public if name == "caddy" else named)
            own = ["theirs=1; domain=.LocalHost; Path=/", "d=1; Domain=localhost"]
            said[:] = [(b"set-cookie", each) for each in [*own, *cookies]]
            answered = browser.fetch("GET", "/public/x").headers.get_list("set-cookie")
            kept = [re.sub("(?i); domain=(?=;|$)", "", each) for each in answered]
            assert kept == ["theirs=1; Path=/", "d=1", *cookies]


@pytest.mark.parametrize(
    ("upstream", "named", "public"),
    [
        ("http://service", "http://service:80/x", True),
        ("http://service", "http://service/x", True),
        ("http://service", "https://service/x", True),
        ("https://service:443", "https://service/x", True),
        ("http://service:3000", "http://service/x", False),
        ("http://[::1]:3000", "http://[::1]:3000/x", True),
        ("http://a.b:3000", "http://aXb:3000/x", False),
        ("http://service:3000", "http://service:3000?next=1", True),
        ("http://service:3000", "http://service:3000#top", True),
        ("http://service:3000", "http://service:30001/x", False),
    ],
)
def test_an_engine_knows_a_service_s_own_address_however_it_is_written(tmp_path, upstream, named, public):
    plan = engines.Plan(config(), upstream, LOOPBACK, 9, auth="http://127.0.0.1:9", folder=tmp_path)
    engines.written("caddy", "caddy", plan)
    text = (tmp_path / "Caddyfile").read_text()
    [pattern] = re.findall(r'header_down Location "(.*)" \S+\n', text)
    assert (re.match(pattern, named) is not None) == public
    engines.written("nginx", programs.find("nginx"), plan)
    text = "".join(file.read_text() for file in tmp_path.glob("*.conf"))
    [pattern] = re.findall(r'proxy_redirect "~\*(.*)" \S+\n', text)
    assert (re.match(pattern, named) is not None) == public


def test_an_nginx_that_does_not_say_its_version_is_not_waited_for(tmp_path, monkeypatch):
    """Who ends the command meanwhile waits as well."""
    monkeypatch.setattr(engines, "TO_SAY", 0.1)
    (program := tmp_path / "nginx").write_text("#!/bin/sh\nexec sleep infinity\n")
    program.chmod(0o755)
    options = {"auth": "http://127.0.0.1:9", "folder": tmp_path, "balancers": ("10.0.0.1",)}
    with pytest.raises(ConfigurationError, match=r"says nothing within 0\.1 s"):
        engines.written("nginx", str(program), engines.Plan(config(), "http://service", LOOPBACK, 9, **options))


@pytest.mark.parametrize("form", ["engine", "settings"])
def test_caddy_closes_a_kept_connection_before_a_service_does(tmp_path, form):
    """Node and uvicorn close theirs after five seconds, and a POST that is sent just then is lost."""
    echo = Echo()
    with front() as site, serve(echo) as upstream, site.browser() as browser:
        settings = site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",))
        app = LuminMiddleware(Echo(), settings)
        with contextlib.ExitStack() as stack:
            if form == "engine":
                stack.enter_context(engine_before("caddy", site, app, upstream, tmp_path, config=settings))
            else:
                auth = stack.enter_context(serve(app, lifespan="on"))
                stack.enter_context(
                    programs.proxy("caddy", settings, site.port, tmp_path, auth=auth, upstream=upstream)
                )
            for pause in (0, 2.1):
                threading.Event().wait(pause)
                assert browser.fetch("POST", "/public/x").status_code == 200
    first, second = (scope["client"] for scope in echo.seen)
    assert first != second


# --- connections to the service ---


@pytest.mark.parametrize("setup", SETUPS)
def test_what_a_service_may_have_done_it_is_not_told_again(tmp_path, setup):
    """It takes a request on a connection that was kept, and ends without an answer."""
    programs.find(setup.partition(",")[0])
    service = scenarios.Forgetful()
    options = [*SETUPS[setup], "--public", "/*"]
    with (
        front() as site,
        service.serve() as upstream,
        gateway(site, upstream, tmp_path / "log", *options),
        site.browser() as stranger,
    ):
        for method in ("DELETE", "PUT", "POST", "PATCH", "PROPPATCH"):
            assert stranger.get("/first").status_code == 200
            service.requests.clear()
            answer = stranger.request(method, "/x", content=b"" if method == "PUT" else None)
            assert answer.status_code in (200, 502)  # it answers the first one of a connection
            assert service.requests == [f"{method} /x".encode()]


def test_what_our_own_routes_may_have_done_they_are_not_told_again(tmp_path):
    routes = scenarios.Forgetful()
    settings = config(trusted_proxies=(LOOPBACK,))
    with front() as site, routes.serve() as auth:
        plan = engines.Plan(settings, "http://127.0.0.1:9", LOOPBACK, site.port, auth=auth, folder=tmp_path / "engine")
        asked = engines.written("nginx", programs.find("nginx"), plan)
        with Program(asked, tmp_path / "log", cwd=tmp_path) as running, site.browser() as stranger:
            running.until_it_listens(site.port)
            for method in ("DELETE", "PUT", "POST"):
                stranger.get("/auth/session")
                routes.requests.clear()
                stranger.request(method, "/auth/api/x", content=b"" if method == "PUT" else None)
                assert routes.requests == [f"{method} /auth/api/x".encode()]


def has_another_address(monkeypatch: pytest.MonkeyPatch, upstream: str, another: str) -> None:
    """As of a name that has two: `localhost` is ::1 as well, on many a machine."""
    written, [one, two] = engines.nginx_http, [each.rpartition("/")[2] for each in (upstream, another)]

    def doubled(*arguments: Any, **options: Any) -> str:
        return re.sub(rf"server {one}\b([^;]*;)", rf"server {one}\1 server {two}\1", written(*arguments, **options))

    monkeypatch.setattr(engines, "nginx_http", doubled)


def test_an_answer_that_fails_closes_no_address_of_a_service(tmp_path, monkeypatch):
    with front() as site, writing({"/public/broken": b""}) as upstream:
        has_another_address(monkeypatch, upstream, f"{LOOPBACK}:{free_port()}")  # where nobody is
        app = LuminMiddleware(Echo(), site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",)))
        with engine_before("nginx", site, app, upstream, tmp_path), site.browser() as browser:
            for method in ("GET", "POST", "DELETE"):
                assert browser.fetch(method, "/public/broken").status_code == 502
                for _ in range(4):
                    assert browser.fetch(method, "/public/x").status_code == 200


def test_what_comes_too_late_from_one_address_is_not_asked_of_another(tmp_path, monkeypatch):
    echo = Echo()

    async def late(scope, receive, send):
        await asyncio.sleep(PATIENCE)

    echo.handlers["/public/late"] = late
    with front() as site, serve(echo) as upstream, serve(echo) as another:
        has_another_address(monkeypatch, upstream, another)
        app = LuminMiddleware(Echo(), site.config(trusted_proxies=(LOOPBACK,), public=("/public/*",)))
        with engine_before("nginx", site, app, upstream, tmp_path, timeout=0.5), site.browser() as browser:
            assert browser.fetch("GET", "/public/late").status_code == 504
    assert [scope["path"] for scope in echo.seen] == ["/public/late"]


BEHIND = {
    "a balancer of ours": ((f"{LOOPBACK}/32",), "203.0.113.7", "203.0.113.7"),
    "two of them": ((LOOPBACK, "10.0.0.0/8"), "203.0.113.7, 10.1.2.3", "203.0.113.7"),
    "and something made up before": ((LOOPBACK, "10.0.0.0/8"), "198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
    "by IPv6": ((LOOPBACK, "2001:db8::/48"), "2001:db8:1::7, 2001:db8::1", "2001:db8:1::7"),
    "one that is not trusted": (("10.0.0.0/8",), "203.0.113.7", LOOPBACK),
    "none": ((), "203.0.113.7", LOOPBACK),
}


@pytest.mark.parametrize("engine", ["builtin", "nginx", "caddy"])
@pytest.mark.parametrize(("trusted", "said", "known"), BEHIND.values(), ids=BEHIND)
def test_the_client_s_address_is_the_one_that_a_balancer_of_ours_says(tmp_path, engine, trusted, said, known):
    """What a proxy is believed of by our workers is another thing: an engine trusts itself only for its questions."""
    if engine != "builtin":
        programs.find(engine)
    variables = {"LUMIN_TRUSTED_PROXIES": " ".join(trusted)} if trusted else {}
    options = ["--engine", engine, "--public", "/*"]
    with front() as site, serve(Echo()) as upstream:
        with gateway(site, upstream, tmp_path / "log", *options, **variables) as program, site.browser() as browser:
            seen = told(browser.fetch("GET", "/page", headers={"x-forwarded-for": said, "x-real-ip": "192.0.2.9"}))
            assert program.stop() == 0
        lines = [line for line in program.said().splitlines() if "/page" in line]
    assert seen["x-forwarded-for"] == [known]
    assert "x-real-ip" not in seen
    assert len(lines) == 1
    assert (f'"client_ip":"{known}"' if engine == "caddy" else f" {known} GET /page ") in lines[0]


def test_an_nginx_that_cannot_believe_a_balancer_says_so(tmp_path):
    (nginx := tmp_path / "nginx").write_text("#!/bin/sh\necho 'nginx version: nginx/1.26.0' >&2\n")
    nginx.chmod(0o755)
    nowhere = "http://127.0.0.1:9"
    plan = engines.Plan(
        config(trusted_proxies=["10.0.0.0/8"]), nowhere, LOOPBACK, 9, auth=nowhere, folder=tmp_path / "engine"
    )
    with pytest.raises(ConfigurationError, match="http_realip_module") as raised:
        engines.written("nginx", str(nginx), plan)
    assert raised.value.field == "trusted_proxies"


# --- a browser ---


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_a_browser_keeps_no_cookie_of_our_names_from_a_service(tmp_path, engine):
    programs.find(engine)
    echo = Echo()
    with (
        front() as site,
        serve(echo) as upstream,
        gateway(site, upstream, tmp_path / "log", "--engine", engine, "--public", "/*"),
        site.browser() as client,
        sync_playwright() as playwright,
        browser_rig.launched(playwright.chromium, browser_rig.chromium()) as chromium,
    ):
        set_by_the_service(SimpleNamespace(front=site, echo=echo), client)
        page = chromium.new_page()
        page.goto(f"{site.origin}/cookies")
        kept = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    assert kept["theirs"] == "1"
    assert kept["last"] == "2"
    assert not [each for each in kept.items() if site.config().session_cookie in each[0] + each[1] and each[0] != "x"]


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_a_callback_has_a_line_without_its_code(tmp_path, engine):
    programs.find(engine)
    with (
        front() as site,
        serve(Echo()) as upstream,
        gateway(site, upstream, tmp_path / "log", "--engine", engine),
        site.browser() as browser,
    ):
        browser.sign_in()
    said = (tmp_path / "log").read_text()
    assert "/auth/callback" in said
    assert "code=" not in said


NAMES = ["my certificates", "a;b", "a#b", "it's", "ü", "a{", "a$b", 'a"b', "a\\b", "a`b"]


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
@pytest.mark.parametrize("name", NAMES)
def test_files_are_read_by_whatever_name_they_have(tmp_path, engine, name):
    program = programs.find(engine)
    (kept := tmp_path / name).mkdir()
    file = str(self_signed(kept / "site.pem", "app.example.com"))
    (folder := tmp_path / "of the engine").mkdir()
    plan = engines.Plan(
        config(),
        "http://127.0.0.1:9",
        host=LOOPBACK,
        port=free_port(),
        auth="http://127.0.0.1:9",
        folder=folder,
        cache=5 if engine == "nginx" else 0,
        certificate=(file, file),
    )
    if set(name) & set('{$"\\`'):
        with pytest.raises(ConfigurationError, match="certificate"):
            engines.written(engine, program, plan)
        return
    asked = engines.written(engine, program, plan)
    asked = [*asked, "-t"] if engine == "nginx" else [program, "validate", *asked[2:]]
    home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(asked, cwd=folder, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "apache"], "--engine"),
        (["--engine", "caddy", "--cache", "5"], "--cache"),
        (["--engine", "nginx", "--cache", "1"], "--cache"),
        (["--cache", "5"], "--engine: builtin"),
        (["--engine", "nginx", "--workers", "2"], "--workers"),
        (["--engine", "nginx", "--certificate", "x"], "--certificate"),
        (["--engine", "nginx", "--certificate", "auto"], "--certificate: nginx gets none"),
        (["--engine", "caddy", "--certificate", "internal"], "--certificate: internal is for a site by https"),
        (["--engine", "caddy", "--certificate", "auto", "--certificate-key", "x"], "--certificate: auto needs no"),
        (["--certificate", "internal"], "--engine: builtin"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, arguments, words):
    with (
        front() as site,
        pytest.raises(AssertionError, match=words),
        gateway(site, "http://127.0.0.1:9", tmp_path / "log", *arguments),
    ):
        pass


def test_auto_takes_the_first_that_is_there(monkeypatch):
    monkeypatch.setattr(engines, "find", lambda name: f"/bin/{name}" if name == "caddy" else None)
    assert engines.choose("auto") == ("caddy", "/bin/caddy")
    monkeypatch.setattr(engines, "find", lambda name: f"/bin/{name}")
    assert engines.choose("auto") == ("nginx", "/bin/nginx")
    monkeypatch.setattr(engines, "find", lambda name: None)
    assert engines.choose("auto") == ("builtin", "")
    with pytest.raises(ConfigurationError, match=r"lumin-middleware\[nginx\]"):
        engines.choose("nginx")


def children(pid: int) -> set[int]:
    """The processes that a process has started itself."""
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return {int(each) for each in said.split()}


def engine_of(pid: int) -> int:
    """The engine that a process has started. A worker that was begun just now is still called what that process is."""
    called = {each: command(each) for each in children(pid)}
    [engine] = [each for each, name in called.items() if "cli.worker" not in name and name not in ("", command(pid))]
    return engine


def command(pid: int) -> str:
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def is_alive(pid: int) -> bool:
    return bool(command(pid)) and "<defunct>" not in command(pid)
