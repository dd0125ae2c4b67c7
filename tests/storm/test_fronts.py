"""The storm where a real proxy stands before the service: one that asks each time, and one that holds answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from lumin_middleware import LuminMiddleware
from tests.patience import PATIENCE
from tests.proxies import programs
from tests.proxies.rig import LOOPBACK, Echo, Front, front, gateway, serve
from tests.site_rig import FETCH, Clock

PEOPLE = 12
"""Browsers of one person at once, which is more than an engine or a worker serves in one turn."""

MORE = 5
"""Requests of each after what it is about: whoever has been answered wrongly is so again."""


class Storm:
    """One person's browsers before a front. Each takes a renewed cookie, as a browser does."""

    def __init__(self, site: Front) -> None:
        self.site = site
        self.answers: Counter[int] = Counter()
        with site.browser() as browser:
            assert browser.sign_in().status_code == 200
            self._cookie = browser.cookie()

    @property
    def spent(self) -> list[str]:
        """The refresh tokens that were sent."""
        calls = self.site.emulator.calls_to("/oauth2/token")
        return [token for call in calls for token in call.form.get("refresh_token", ())]

    def until(self, is_over: Callable[[], bool]) -> None:
        """All of them ask at once, until it is over and a little longer."""
        given_up = threading.Event()
        timer = threading.Timer(PATIENCE, given_up.set)
        timer.start()

        def ask(number: int) -> None:
            left, cookie = MORE, self._cookie
            with httpx2.Client(base_url=self.site.origin, timeout=PATIENCE, trust_env=False) as client:
                while left and not given_up.is_set():
                    left -= is_over()
                    answer = client.get(f"/page/{number}", headers={**FETCH, "cookie": cookie})
                    self.answers[answer.status_code] += 1
                    for line in answer.headers.get_list("set-cookie"):
                        cookie = line.partition(";")[0]

        with ThreadPoolExecutor(PEOPLE) as pool:
            list(pool.map(ask, range(PEOPLE)))
        timer.cancel()
        assert not given_up.is_set()

    def is_clean(self) -> bool:
        """Nobody was turned away, and no refresh token was sent twice."""
        spent = self.spent
        return set(self.answers) == {200} and len(set(spent)) == len(spent) and self.site.emulator.reuse_events == 0


@pytest.mark.parametrize("sessions", ["cookie", "store"])
@pytest.mark.parametrize(("name", "cache"), [("nginx", None), ("nginx", 2), ("caddy", None), ("traefik", None)])
def test_a_storm_before_a_front_that_asks(tmp_path: Path, name: str, cache: int | None, sessions: str) -> None:
    """At an expiry, and then in the soft window. What the front holds is not long enough to be wrong."""
    programs.find(name)
    clock = Clock()
    with front(clock=clock) as site, serve(Echo()) as upstream:
        store = f"sqlite://{tmp_path}/private/store"
        settings = site.config(trusted_proxies=(LOOPBACK,), sessions=sessions, store=store)
        with (
            serve(LuminMiddleware(Echo(), settings, clock=clock), lifespan="on") as auth,
            programs.proxy(name, settings, site.port, tmp_path, auth=auth, upstream=upstream, cache=cache),
        ):
            storm = Storm(site)
            for renewals, later in enumerate((3601, 3500), start=1):
                clock.advance(later)
                storm.until(lambda renewals=renewals: len(storm.spent) >= renewals)
                assert storm.is_clean(), storm.answers
                assert len(storm.spent) == renewals


@pytest.mark.parametrize("options", [("nginx", "--cache", "2"), ("caddy",)], ids=" ".join)
def test_a_storm_before_an_engine_and_its_workers(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Two lives of a token, which are short: the clock is the real one here."""
    programs.find(options[0])
    with front(access_token_lifetime=6) as site, serve(Echo()) as upstream:
        site.variables["LUMIN_STORE"] = f"sqlite://{tmp_path}/private/store"
        with gateway(site, upstream, tmp_path / "log", "--engine", *options, "--workers", "2"):
            storm = Storm(site)
            storm.until(lambda: len(storm.spent) >= 2)
            for trouble in (502, 503, 504):  # of a machine that is too busy for these workers
                del storm.answers[trouble]
            assert storm.is_clean(), storm.answers
