"""`explain` says what the running middleware does: compared on a thousand made-up requests, in both modes."""

from __future__ import annotations

import logging
import random
import re
import secrets
from typing import Any

import pytest

from lumin_middleware import AuthorizationServer, LuminConfig
from lumin_middleware.explanation import explain
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.reasons import REASONS
from tests.acceptance.harness import call
from tests.edges import rig
from tests.edges.rig import Lumin, Site
from tests.fakes import config
from tests.site_rig import ORIGIN

REQUESTS = 1000

SETTINGS: dict[str, Any] = {
    "public": ("/healthz", "/static/*", "/"),
    "optional": ("/maybe", "/blog/*"),
    "required_scopes": {"/sign/*": "sign:requests", "/templates": "templates", "/blog/admin/*": "admin"},
    "api_proxy": ("GET /user/info",),
    "trusted_proxies": ("127.0.0.1",),
}

PIECES = (
    *("healthz", "static", "maybe", "blog", "admin", "sign", "SIGN", "templates", "orders", "a", "app.js", "", "."),
    *("..", "%2e%2e", "a%2Fb", "a%252Fb", "a;x=1", "%00", "é", "%C3%A9", "%ff", "a#b", "a%23b", "a%3Fb", "\\", "a b"),
)
OUR_ROUTES = (
    *(
        "login",
        "logout",
        "session",
        "sessions",
        "verify",
        "verify/sign/1",
        "popup",
        "lumin.js",
        "api/user/info",
        "callback",
    ),
    *("callback?code=x&state=y", "login?return_to=/x", "api/x", "callback?a=1&a=2"),
)
OURS = tuple(f"/auth/{name}" for name in OUR_ROUTES)
HEADERS = (
    *(("accept", "text/html"), ("accept", "*/*"), ("accept", "application/json"), ("sec-fetch-mode", "navigate")),
    *(("sec-fetch-mode", "cors"), ("sec-fetch-dest", "iframe"), ("sec-fetch-dest", "document"), ("hx-request", "true")),
    *(("x-requested-with", "XMLHttpRequest"), ("sec-purpose", "prefetch"), ("origin", ORIGIN), ("x-csrf", "1")),
    *(("origin", "https://evil.example"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")),
    *(("x-forwarded-uri", "/sign/1"), ("x-forwarded-uri", "/healthz"), ("referer", f"{ORIGIN}/before")),
    ("cookie", "theme=dark; other=1"),
)
SCOPES = (
    None,
    (),
    ("openid", "sign:requests"),
    ("openid", "templates", "admin"),
    ("openid", "sign:requests", "templates"),
)


def made_up(rng: random.Random) -> tuple[str, str, list[tuple[str, str]], tuple[str, ...] | None, str]:
    if rng.random() < 0.3:
        target = rng.choice(OURS)
    else:
        target = "/" + "/".join(rng.choice(PIECES) for _ in range(rng.randint(1, 4))).replace(" ", "%20")
        target += rng.choice(("", "", "/", "?x=1", "?state=y&code=x"))
    method = rng.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))
    headers = dict(rng.sample(HEADERS, rng.randint(0, 4)))
    return method, target, list(headers.items()), rng.choice(SCOPES), rng.choice(("127.0.0.1", "192.0.2.1"))


async def cookie(site: Site, scope: tuple[str, ...]) -> str:
    """The `Cookie` of somebody whom the running middleware has just signed in, with these scopes."""
    party, _ = site.asgi._party()
    now = site.clock()
    tokens = TokenSet(secrets.token_urlsafe(32), now + 3600, 3600, scope)
    session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, {"sub": "somebody", "iss": "x"})
    await party.parts.sessions.begin(session)
    lines = party.parts.sessions.set_cookies(session, party.parts.cookies.jar(b""))
    return "; ".join(line.partition(";")[0] for line in lines)


TRACED = re.compile(r"(\w+): \S+ .* (?:was answered (\d+)|went on to the application); rule: (.*?)(?:; .*)?", re.DOTALL)


@pytest.fixture(scope="module")
def lumin():
    with rig.lumin() as running:
        yield running


@pytest.mark.by_the_thousand
@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_explain_agrees_with_the_running_middleware(lumin: Lumin, sessions: str, caplog):
    caplog.set_level(logging.DEBUG, "lumin_middleware")
    site = lumin.site(sessions=sessions, **SETTINGS)
    rng = random.Random(20260)
    seen: set[tuple[str, int | None]] = set()
    for _ in range(REQUESTS // 2):
        method, target, headers, scope, peer = made_up(rng)
        sent = list(headers)
        if scope is not None:
            sent.append(("cookie", await cookie(site, scope)))
        caplog.clear()
        raw = [(name.encode(), value.encode()) for name, value in sent]
        answer = await call(site.asgi, target.encode(), method=method, headers=raw, client=(peer, 1))
        [traced] = [found for each in caplog.messages if (found := TRACED.fullmatch(each))]
        caplog.clear()
        found = explain(site.config, method, target, headers=headers, scope=scope, peer=peer, clock=site.clock)
        status = None if traced[2] is None else int(traced[2])
        assert (found.reason.code, found.status, found.by) == (traced[1], status, traced[3]), (method, target, sent)
        if status is not None:
            assert (answer.header("location") or "").partition("?")[0] == found.location
        seen.add((found.reason.code, found.status))
    await site.aclose()
    codes = {code for code, _ in seen}
    assert {"passed", "no_session", "insufficient_scope", "bad_path", "cross_origin", "unknown_login", "ours"} <= codes
    assert len(seen) >= 12


def test_nobody_is_asked_and_nothing_is_told():
    events: list[object] = []
    settings = config(on_event=events.append, server=AuthorizationServer.discover("https://idp.invalid/x"))
    found = explain(settings, "GET", "/page", headers=[("accept", "text/html")], clock=lambda: 1e9)
    assert (found.reason.code, found.status) == ("no_session", 303)
    assert found.location.startswith("https://idp.invalid/x")
    assert not events


def test_a_cookie_that_somebody_really_has_is_read():
    settings: LuminConfig = config()
    found = explain(
        settings, "GET", "/page", headers=[("cookie", f"{settings.session_cookie}=nonsense")], clock=lambda: 1e9
    )
    assert (found.reason, found.status) == (REASONS["no_session"], 401)


@pytest.mark.parametrize("target", ["/pay", "/auth/login"])
def test_a_form_is_explained_too(target):
    headers = [
        *(("origin", "https://app.example.com"), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")),
        *(("content-type", "application/x-www-form-urlencoded"), ("content-length", "3")),
    ]
    assert explain(config(), "POST", target, headers=headers, clock=lambda: 1e9).status in (401, 405)


def test_every_reading_is_named():
    settings = config(required_scopes={"/sign/*": "sign:requests"}, public=("/static/*",))
    found = explain(settings, "GET", "/static/%252e%252e/sign/1", scope=(), clock=lambda: 1e9)
    assert {"/static/%2e%2e/sign/1", "/sign/1"} <= set(found.readings)
    assert (found.reason.code, found.by) == ("insufficient_scope", "required_scopes '/sign/*'")


@pytest.mark.parametrize("value", ["日本", "é", "\udcff", "\x80"])
@pytest.mark.parametrize("name", ["accept-language", "cookie", "x-é"])
def test_what_a_terminal_gave_is_taken_as_it_gave_it(name, value):
    found = explain(config(), "GET", "/x", headers=[(name, f"a={value}")], clock=lambda: 1_800_000_000.0)
    assert found.status in (303, 401)
