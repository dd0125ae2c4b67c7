"""The log of a day, on both edges: it tells what happened in the words of the list, and no secret of anybody.

`python -m tests.test_day` prints it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from lumin_middleware.events import Event
from lumin_middleware.reasons import REASONS
from tests.edges import rig
from tests.edges.rig import EDGES, Browser, Edge, Lumin, Site
from tests.site_rig import CLIENT, FETCH

FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
EMAIL = "canary.address@example.com"
PERSON = "canary.address"


class Watched(Browser):
    """A browser whose person keeps in mind what nobody else should ever read."""

    def __init__(self, site: Site, edge: Edge) -> None:
        super().__init__(site, edge)
        self.secrets: set[str] = set()

    async def ask(self, method: str, target: bytes | str, headers: Any, body: bytes = b"") -> Any:
        answer = await super().ask(method, target, headers, body)
        self.secrets.update(self.jar.values())
        for url in (str(target), answer.header("location") or ""):
            found = dict(parse_qsl(urlsplit(url).query))
            self.secrets.update(found[name] for name in ("code", "state", "nonce", "code_challenge") if name in found)
        return answer


async def day(site: Site, browser: Watched, pause: Callable[[str], None] = lambda title: None) -> None:
    """Sign in, renew, an outage, revoke, sign out; and what goes wrong in between."""
    faults, clock = site.emulator.faults, site.clock

    pause("Somebody comes, and signs in")
    await browser.navigate("/healthz")
    await browser.navigate("/orders")
    begun = await browser.navigate(f"/auth/login?return_to=/orders&login_hint={EMAIL}")
    granted = "openid offline_access sign:requests"
    await browser.navigate(site.emulator.sign_in(begun.header("location") or "", scope=granted))
    await browser.navigate("/orders")

    pause("A script of the page, a path that nobody may, a trick, another site's form")
    await browser.fetch("GET", "/who")
    await browser.navigate("/templates/1")
    await browser.navigate("/a/%2e%2e/b")
    await browser.navigate(f"/people/{EMAIL}")
    await browser.ask("POST", "/auth/logout", {**FETCH, **FOREIGN})

    pause("An hour later the session is renewed")
    clock.advance(3500)
    await browser.navigate("/orders")

    pause("The token endpoint has an outage, which a living token outlasts, and a dead one does not")
    clock.advance(3400)
    faults.add("/oauth2/token", status=503, times=None)
    await browser.navigate("/orders")
    clock.advance(300)
    await browser.navigate("/orders")
    faults.clear()
    clock.advance(60)
    await browser.navigate("/orders")

    pause("Somebody revokes the access at Lumin; a page's script is told, and they sign in again")
    site.emulator.revoke_all()
    clock.advance(3600)
    await browser.fetch("GET", "/who")
    await browser.sign_in("/orders")

    pause("A callback that nobody began, one that the person refused, and an answer that is nobody's fault here")
    await browser.navigate("/auth/callback?code=made-up-code-canary&state=made-up-state-canary")
    begun = await browser.navigate("/auth/login")
    state = dict(parse_qsl(urlsplit(begun.header("location") or "").query))["state"]
    await browser.navigate(f"/auth/callback?error=access_denied&error_description=no+{EMAIL}&state={state}")
    begun = await browser.navigate("/auth/login")
    state = dict(parse_qsl(urlsplit(begun.header("location") or "").query))["state"]
    await browser.navigate(f"/auth/callback?error=invalid_scope&error_description={EMAIL}&state={state}")

    pause("They sign out")
    await browser.log_out()
    await browser.navigate("/auth/logout")


def settings(**more: Any) -> dict[str, Any]:
    return {
        "public": ("/healthz",),
        "required_scopes": {"/templates/*": "templates"},
        "scope": "openid offline_access sign:requests templates",
        **more,
    }


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """What all loggers write meanwhile, at any level."""
    found: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    keeper, root, ours = Keeper(), logging.getLogger(), logging.getLogger("lumin_middleware")
    before = ours.level
    root.addHandler(keeper)
    ours.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        root.removeHandler(keeper)
        ours.setLevel(before)


@pytest.fixture(scope="module")
def lumin() -> Iterator[Lumin]:
    with rig.lumin() as running:
        yield running


Made = tuple[list[str], list[Event], Watched]
Maker = Callable[..., Awaitable[Made]]


@pytest.fixture(params=[(edge, sessions) for edge in EDGES for sessions in ("cookie", "store")], ids="-".join)
async def made(request: pytest.FixtureRequest, lumin: Lumin) -> Made:
    """A day's lines of ours, its events, and the browser that had it."""
    edge, sessions = request.param
    events: list[Event] = []
    site = lumin.site(**settings(sessions=sessions, on_event=events.append))
    browser = Watched(site, edge)
    with logged() as records:
        await day(site, browser)
        await site.aclose()
    ours = [record.getMessage() for record in records if record.name == "lumin_middleware"]
    return ours, events, browser


def codes(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


async def test_the_day_is_told_in_the_words_of_the_list(made):
    lines, _, _ = made
    assert set(codes(lines)) <= set(REASONS)
    told = set(codes(lines))
    assert {
        "signed_in",
        "session_renewed",
        "server_unavailable",
        "renewal_failed",
        "ended_by_server",
        "signed_out",
    } <= told
    assert {"unknown_login", "access_denied", "invalid_scope", "not_set_up", "bad_path", "cross_origin"} <= told


async def test_each_request_leaves_one_line_with_its_rule(made):
    lines, _, browser = made
    traced = [line for line in lines if "; rule: " in line]
    assert len(traced) == len(browser.story)
    assert any(
        re.fullmatch(r"passed: GET '/healthz' went on to the application; rule: public '/healthz'; .*", line)
        for line in traced
    )
    assert any(
        line.startswith("no_session: GET '/orders' was answered 303; rule: protected, since no pattern names it")
        for line in traced
    )
    assert any("rule: required_scopes '/templates/*'" in line for line in traced)


async def test_a_reference_on_a_page_is_in_a_line_that_is_worth_reading(made):
    lines, _, browser = made
    assert len(browser.references) >= 4
    for code, reference in browser.references:
        said = [line for line in lines if f"ref='{reference}'" in line]
        assert said
        assert any(line.startswith(f"{code}: ") for line in said)


async def test_no_secret_of_anybody_is_in_a_line_or_an_event(made, lumin):
    lines, events, browser = made
    site = browser.site
    secrets = {*browser.secrets, CLIENT.client_secret, EMAIL, PERSON, "made-up-code-canary", "made-up-state-canary"}
    for call in site.emulator.calls:
        secrets.update(
            value for name in ("code", "refresh_token", "code_verifier", "token") for value in call.form.get(name, [])
        )
    secrets.update(user.email for user in site.emulator.users.values())
    secrets.update(key.hex() for key in site.config.keys)
    told = "\n".join([*lines, *map(repr, events), repr(site.config)])
    assert len(lines) > 30
    assert [each for each in secrets if len(each) > 3 and each in told] == []


async def test_events_tell_the_same_and_in_the_same_order(made):
    lines, events, _ = made
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("SignedIn") == 2
    assert {"Renewed", "EndedByServer", "SignedOut", "SignInFailed", "AccessRefused", "RenewalFailed"} <= set(kinds)
    said = iter(codes(lines))
    told = [event.reason for event in events if event.reason not in ("renewal_failed", "invalid_scope")]
    assert all(any(code == each for code in said) for each in told)
    assert all(event.at > 0 for event in events)


def main() -> None:
    """Prints the day as the log has it, at INFO or with `--debug`."""
    formatter = logging.Formatter("%(levelname)-8s %(message)s")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.setLevel(logging.DEBUG if "--debug" in sys.argv else logging.INFO)
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)

    async def run() -> None:
        with rig.lumin() as running:
            site = running.site(**settings())
            await day(site, Watched(site, "asgi"), lambda title: print(f"\n# {title}"))
            await site.aclose()

    asyncio.run(run())


if __name__ == "__main__":
    main()
