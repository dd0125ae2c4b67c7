"""`explain` says what the running middleware does, or what that depends on: compared on made-up requests of people in
every state, in both modes, at servers that are known or discovered."""

from __future__ import annotations

import dataclasses
import logging
import random
import re
import secrets
from typing import Any

import pytest

from lumin_middleware import LUMIN, AuthorizationServer, LuminConfig
from lumin_middleware.explanation import (
    AGE,
    BODY,
    ENDED,
    HANDLE,
    MADE_UP,
    RECENT,
    RENEWAL,
    SETTING,
    Explanation,
    explain,
)
from lumin_middleware.model import CLOCK_TOLERANCE, Session, TokenSet
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
    "required_auth_age": {"/maybe": 300, "/blog/*": 600, "/orders/*": 300},
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


async def cookie(
    site: Site,
    scope: tuple[str, ...],
    *,
    left: float = 3600,
    refresh_token: str | None = None,
    state: str = "",
    ago: float = 0,
) -> str:
    """The `Cookie` of somebody whom the running middleware has just signed in, with these scopes, and a token that has
    so many seconds left; and what has become of the session since."""
    party, _ = site.asgi._party()
    sessions, now = party.parts.sessions, site.clock()
    tokens = TokenSet(secrets.token_urlsafe(32), now + left, 3600, scope, refresh_token)
    seen = now - site.config.idle_timeout if state == "idle" else now
    proved = now - ago if ago else None
    session = Session(secrets.token_urlsafe(24), 0, seen, seen, tokens, {"sub": "somebody", "iss": "x"}, None, proved)
    await sessions.begin(session)
    if state == "ended":
        await sessions.end(session.id, session.began)
    elif state == "newer":
        newer = dataclasses.replace(
            session, generation=1, tokens=dataclasses.replace(tokens, scope=("openid", "admin"))
        )
        assert await sessions.replace(await sessions.newest(session), newer)
    lines = sessions.set_cookies(session, party.parts.cookies.jar(b""))
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


STATES: dict[str, dict[str, Any] | None] = {
    "nobody": None,
    "fresh": {},
    "long ago": {"ago": 300 + 2 * CLOCK_TOLERANCE},
    "ended": {"state": "ended"},
    "newer": {"state": "newer"},
    "idle": {"state": "idle"},
    "soon due": {"left": 200, "refresh_token": "ory_rt_none"},
    "due": {"left": 0, "refresh_token": "ory_rt_none"},
    "expired for good": {"left": 0},
}
"""What may be with the session of a cookie."""


def servers(base: str) -> dict[str, AuthorizationServer]:
    return {
        "known": AuthorizationServer.at(base),
        "discovered": AuthorizationServer.discover(base),
        "half discovered": AuthorizationServer(
            issuer=base, discovery=True, authorization_endpoint="https://login.example.com/authorize"
        ),
    }


@pytest.mark.by_the_thousand
@pytest.mark.parametrize("server", servers("https://x.example"))
@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_what_is_said_without_reservation_is_what_the_middleware_does(lumin: Lumin, sessions, server, caplog):
    caplog.set_level(logging.DEBUG, "lumin_middleware")
    known = servers(lumin.emulator.base)[server]
    more = {"end_session": True, "backchannel_logout": server == "known"}
    site = lumin.site(sessions=sessions, server=known, **more, **SETTINGS)
    rng = random.Random(f"{sessions} {server}")
    told: dict[str, set[tuple[str, ...]]] = {state: set() for state in STATES}
    for _ in range(REQUESTS // 4):
        method, target, headers, scope, peer = made_up(rng)
        state = rng.choice(list(STATES))
        headers = [each for each in headers if each[0] != "cookie"]
        if (with_session := STATES[state]) is not None:
            headers.append(("cookie", await cookie(site, scope or ("openid",), **with_session)))
        found = explain(site.config, method, target, headers=headers, peer=peer, clock=site.clock)
        caplog.clear()
        raw = [(name.encode(), value.encode()) for name, value in headers]
        answer = await call(site.asgi, target.encode(), method=method, headers=raw, client=(peer, 1))
        [traced] = [seen for each in caplog.messages if (seen := TRACED.fullmatch(each))]
        told[state].add(found.depends)
        if not decides(found, state):
            status = None if traced[2] is None else int(traced[2])
            made = (traced[1], status, traced[3])
            assert found.reason is not None
            assert (found.reason.code, found.status, found.by) == made, (method, target, state, headers)
            if not found.location.endswith(" names"):  # an endpoint of which only the server's document knows
                assert (answer.header("location") or "").partition("?")[0] == found.location
    await site.aclose()
    assert all(() in depends for depends in told.values())  # for each there are requests of which all can be told
    what = {state: {each for depends in found for each in depends} for state, found in told.items()}
    assert (HANDLE if sessions == "store" else ENDED) in what["ended"] & what["newer"] & what["fresh"]
    assert sessions == "store" or RENEWAL in what["due"] & what["soon due"]
    assert not {HANDLE, ENDED, RENEWAL} & what["nobody"]
    if sessions == "cookie":
        assert any(each.startswith("how long ago the sign-in is") for each in set().union(*what.values()))


async def test_what_is_asked_for_is_what_the_middleware_asks_for(lumin: Lumin, caplog):
    """Somebody who signed in within the last so many seconds passes, and nobody else."""
    caplog.set_level(logging.DEBUG, "lumin_middleware")
    site = lumin.site(**{**SETTINGS, "required_auth_age": {"/maybe": 300, "/auth/*": 60, "/sign/a": 900}})
    for target, max_age, scope in (
        ("/maybe", 300, ()),
        ("/sign/a", 900, ("sign:requests",)),
        ("/sign/b", None, ("sign:requests",)),
        ("/orders", None, ()),
        ("/healthz", None, ()),
        ("/static/..%2fmaybe", None, ()),
        ("/auth/connections", 60, ()),
        ("/auth/api/user/info", 60, ()),
        ("/auth/session", None, ()),
    ):
        found = explain(site.config, "GET", target, clock=site.clock)
        assert tuple(found.asks) == (
            *([f"the scope {' '.join(scope)}"] if scope else []),
            *([RECENT.format(max_age=max_age, tolerance=CLOCK_TOLERANCE)] if max_age else []),
        )
        for ago in (0, (max_age or 0) + CLOCK_TOLERANCE + 1):
            made = await cookie(site, scope, ago=ago)
            found = explain(site.config, "GET", target, headers=[("cookie", made)], clock=site.clock)
            caplog.clear()
            await call(site.asgi, target.encode(), headers=[(b"cookie", made.encode())])
            [traced] = [seen for each in caplog.messages if (seen := TRACED.fullmatch(each))]
            assert found.reason is not None
            assert (found.reason.code, found.status) == (traced[1], None if traced[2] is None else int(traced[2]))
            assert (found.reason.code == "insufficient_user_authentication") == (max_age is not None and ago > 0)
            assert max_age is None or f"the cookie's is {ago:.0f} seconds ago" in found.asks[-1]
            assert (AGE.partition("{")[0] in "".join(found.depends)) == (max_age is not None and ago == 0)
    await site.aclose()


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ([], "401 (insufficient_user_authentication)"),
        ([("accept", "text/html")], "303 to https://auth.luminpdf.com/oauth2/auth (insufficient_user_authentication)"),
    ],
)
def test_what_becomes_of_a_sign_in_of_long_ago_is_said_of_one_of_this_moment(headers, answer):
    settings = config(required_auth_age={"/pay/*": 300}, server=LUMIN)
    found = explain(settings, "GET", "/pay/1", headers=headers, scope=("openid",), clock=lambda: 1e9)
    assert (found.status, found.depends) == (None, (AGE.format(answer=answer),))
    assert found.asks == (RECENT.format(max_age=300, tolerance=CLOCK_TOLERANCE) + MADE_UP,)


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_of_a_sign_in_that_only_the_store_knows_no_age_is_told(lumin: Lumin, sessions):
    site = lumin.site(sessions=sessions, required_auth_age={"/pay/*": 300})
    made = await cookie(site, ("openid",), ago=7)
    found = explain(site.config, "GET", "/pay/1", headers=[("cookie", made)], clock=site.clock)
    await site.aclose()
    assert ("the cookie's is 7 seconds ago" in found.asks[0]) == (sessions == "cookie")
    assert (HANDLE in found.depends) == (sessions == "store")


def decides(found: Explanation, state: str) -> bool:
    """Whether something may decide otherwise that the explanation names: for this state of the session it does."""
    return found.reason is None or (ENDED in found.depends and state in ("ended", "newer"))


def test_what_a_discovered_server_gives_counts_and_the_rest_is_its_document_s():
    events: list[object] = []
    page = {"headers": [("accept", "text/html")], "clock": lambda: 1e9}
    issuer = "https://idp.invalid/x"
    server = AuthorizationServer(
        issuer=issuer, discovery=True, authorization_endpoint="https://login.invalid/authorize"
    )
    for known, location in (
        (server, "https://login.invalid/authorize"),
        (
            AuthorizationServer.discover(issuer),
            f"the authorization_endpoint that {issuer}/.well-known/openid-configuration names",
        ),
    ):
        found = explain(config(on_event=events.append, server=known), "GET", "/page", **page)
        assert (found.reason, found.status, found.location) == (REASONS["no_session"], 303, location)
        [depends] = found.depends
        assert f"{issuer}/.well-known/openid-configuration" in depends
    assert not events


@pytest.mark.parametrize(("path", "depends"), [("/auth/login", (BODY,)), ("/page", ())])
def test_that_no_body_was_given_is_said_where_one_is_read(path, depends):
    assert explain(config(), "POST", path, clock=lambda: 1e9).depends == depends


@pytest.mark.parametrize(
    ("route", "setting"),
    [
        ("sessions", {"sessions": "store"}),
        ("sessions/end", {"sessions": "store"}),
        ("backchannel-logout", {"backchannel_logout": True}),
    ],
)
@pytest.mark.parametrize("who", [None, ["openid"]])
def test_a_route_that_a_setting_turns_on_is_said_to_be_one(route, setting, who):
    [(name, value)] = setting.items()
    off = explain(config(), "POST", f"/auth/{route}", scope=who, clock=lambda: 1e9)
    assert SETTING.format(setting=f"{name}={value!r}") in off.depends
    on = explain(config(**setting), "POST", f"/auth/{route}", scope=who, clock=lambda: 1e9)
    assert (on.by, SETTING[:12] in str(on.depends)) == (f"route /auth/{route}", False)


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
