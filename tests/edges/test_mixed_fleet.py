"""A site of which one half is ASGI and the other WSGI, two processes each, over one store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from lumin_middleware.emulator import Emulator, serve
from tests.edges import servers
from tests.edges.fleet import CLOCK, SharedClock
from tests.edges.servers import Browser
from tests.patience import PATIENCE
from tests.site_rig import FETCH

STORM = 60  # requests at one expiry


class Fleet(NamedTuple):
    """The running halves; `origins` are where ASGI and WSGI are."""

    lumin: Emulator
    clock: SharedClock
    origins: tuple[str, str]

    def refreshes(self) -> int:
        forms = [call.form for call in self.lumin.calls_to("/oauth2/token")]
        return sum(form.get("grant_type") == ["refresh_token"] for form in forms)


@pytest.fixture(scope="module", params=["cookie", "store"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    (directory / "clock").write_text("0", "ascii")
    clock = SharedClock(directory / "clock")
    store = f"sqlite://{directory / 'private' / 'store.sqlite3'}"
    with (
        serve(clock=clock) as emulated,
        servers.listening() as first,
        servers.listening() as second,
    ):
        # One site has one redirect URI; the browser of these tests is the proxy that shares the requests out.
        origin = f"http://127.0.0.1:{first.getsockname()[1]}"
        more = {CLOCK: str(directory / "clock"), "LUMIN_SESSIONS": request.param}
        variables = servers.environment(emulated.emulator, origin, store, **more)
        with (
            servers.start("uvicorn with two workers", "tests.edges.fleet:asgi_app", first, variables) as asgi,
            servers.start("gunicorn gthread", "tests.edges.fleet:wsgi_app", second, variables) as wsgi,
        ):
            yield Fleet(emulated.emulator, clock, (asgi.origin, wsgi.origin))
            for server in (asgi, wsgi):
                assert server.stop() == 0
                assert servers.complaints(server.said()) == []


@pytest.fixture
def browser(fleet: Fleet) -> Iterator[Browser]:
    """Somebody who signed in at the ASGI half."""
    with Browser(fleet.origins[0], fleet.lumin) as browser:
        assert browser.sign_in("/").status_code == 303
        yield browser


def seen(browser: Browser, origin: str) -> str:
    """The access token of this browser at one half; empty where a sign-in is wanted."""
    answer = browser.get(f"{origin}/", headers=FETCH)
    assert answer.status_code in (200, 401), answer.text
    return answer.text.split()[1] if answer.status_code == 200 else ""


def test_whoever_signs_in_at_one_half_is_signed_in_at_the_other(fleet):
    for here, there in (fleet.origins, fleet.origins[::-1]):
        with Browser(here, fleet.lumin) as browser:
            browser.sign_in("/")
            token = seen(browser, here)
            assert token
            assert {seen(browser, there) for _ in range(6)} == {token}


def test_a_login_begun_at_one_half_ends_at_the_other(fleet):
    asgi, wsgi = fleet.origins
    with Browser(asgi, fleet.lumin) as browser:
        callback = fleet.lumin.sign_in(browser.begin("/page"))
        browser.base_url = wsgi
        back = browser.navigate(callback.replace(asgi, wsgi))
        assert (back.status_code, back.headers["location"]) == (303, "/page")
        assert seen(browser, asgi)


def test_a_sign_out_at_one_half_is_one_at_the_other(fleet, browser):
    asgi, wsgi = fleet.origins
    assert seen(browser, wsgi)
    copy = dict(browser.cookies)
    browser.base_url = asgi
    assert browser.submit("/auth/logout", {}).status_code == 303
    browser.cookies.update(copy)
    assert {seen(browser, origin) for origin in (asgi, wsgi) for _ in range(4)} == {""}


async def test_a_storm_at_one_expiry_over_all_processes_renews_once(fleet, browser):
    before, old = fleet.refreshes(), seen(browser, fleet.origins[1])
    fleet.clock.advance(3600 - 5)
    cookies = dict(browser.cookies)
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(
        cookies=cookies,
        headers=FETCH,
        trust_env=False,
        timeout=PATIENCE,
        limits=limits,
    ) as crowd:
        answers = await asyncio.gather(*(crowd.get(f"{fleet.origins[number % 2]}/") for number in range(STORM)))
    assert {answer.status_code for answer in answers} == {200}
    processes, tokens = zip(*(answer.text.split() for answer in answers), strict=True)
    assert len(set(tokens)) == 1
    assert old not in tokens
    assert len(set(processes)) > 1
    assert fleet.refreshes() == before + 1
    assert fleet.lumin.reuse_events == 0


def test_a_copy_from_before_a_renewal_is_good_at_the_other_half(fleet, browser):
    asgi, wsgi = fleet.origins
    copy = dict(browser.cookies)
    fleet.clock.advance(3600 - 5)
    before, renewed = fleet.refreshes(), seen(browser, asgi)
    browser.cookies.clear()
    browser.cookies.update(copy)
    assert seen(browser, wsgi) == renewed
    assert fleet.refreshes() == before + 1
    assert fleet.lumin.reuse_events == 0
