"""HD: what a request says of itself is not believed (HD-01, HD-02)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.harness import Raw, call, cookie_header, http_scope, keep, run, shake_hands, with_cookies
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, REDIRECT_URI, SESSION, Site, query

# --- HD-01 ----------------------------------------------------------------------------------------------

SPOOFED: dict[str, list[tuple[bytes, bytes]]] = {
    "host": [(b"host", b"evil.example")],
    "host with our name": [(b"host", b"app.example.com.evil.example")],
    "host twice": [(b"host", b"app.example.com"), (b"host", b"evil.example")],
    "no host": [],
    "an empty host": [(b"host", b"")],
    "a strange host": [(b"host", b"app.example.com@evil.example:99999/x?y#z")],
    "a host with a line break": [(b"host", b"a\r\nX: y")],
    "x-forwarded-host": [(b"host", b"app.example.com"), (b"x-forwarded-host", b"evil.example")],
    "x-forwarded-proto": [(b"x-forwarded-proto", b"http")],
    "x-forwarded-proto twice": [(b"x-forwarded-proto", b"https, http"), (b"x-forwarded-proto", b"http")],
    "x-forwarded-port": [(b"x-forwarded-port", b"8443")],
    "x-forwarded-prefix": [(b"x-forwarded-prefix", b"/evil.example"), (b"x-script-name", b"/evil.example")],
    "x-forwarded-server": [(b"x-forwarded-server", b"evil.example"), (b"x-host", b"evil.example")],
    "forwarded": [(b"forwarded", b'for=127.0.0.1;host=evil.example;proto=http, for="[::1]:bad"')],
    "x-original-host": [(b"x-original-host", b"evil.example"), (b"x-original-url", b"/public")],
    "x-forwarded-for": [(b"x-forwarded-for", b"127.0.0.1, " * 100)],
    "all of them": [
        (b"host", b"evil.example"),
        (b"x-forwarded-host", b"evil.example"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-port", b"80"),
        (b"x-forwarded-prefix", b"/evil.example"),
        (b"forwarded", b"host=evil.example;proto=http"),
    ],
}
SCOPES: list[dict[str, Any]] = [
    {},
    {"scheme": "http", "server": ("evil.example", 80)},
    {"scheme": "https", "server": None, "client": None},
    {"scheme": "javascript", "http_version": "1.0"},
    {"root_path": "/evil.example"},
]


def spoofed(base: dict[str, str], headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*((name.encode(), value.encode()) for name, value in base.items()), *headers]


async def test_hd_01_the_settings_decide_and_not_the_request(each_site):
    for name, headers in SPOOFED.items():
        for more in SCOPES:
            browser = each_site.browser()
            begun = await call(each_site.middleware, "/x", headers=spoofed(NAVIGATION, headers), **more)
            assert begun.status == 303, name
            location = begun.header("location") or ""
            assert location.startswith(f"{each_site.emulator.base}/oauth2/auth?"), name
            assert query(location)["redirect_uri"] == REDIRECT_URI, name
            assert "evil.example" not in location, name
            assert_protected(begun)
            keep(browser, begun)
            target = each_site.emulator.sign_in(location).removeprefix(ORIGIN)
            here = spoofed(with_cookies(browser), headers)
            done = await call(each_site.middleware, target, headers=here, **{**more, "root_path": ""})
            assert (done.status, done.header("location")) == (303, "/x"), name
            assert_protected(done)


def assert_protected(answer: Raw) -> None:
    assert answer.set_cookies
    for line in answer.all("set-cookie"):
        assert line.startswith(SESSION)
        assert line.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
        assert "domain" not in line.lower()


async def test_hd_01_a_logout_and_its_way_back_are_as_configured(new_each_site):
    site = new_each_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye")
    for name, headers in SPOOFED.items():
        browser = site.browser()
        await browser.sign_in()
        here = spoofed(with_cookies(browser, {**NAVIGATION, "sec-fetch-site": "same-origin"}), headers)
        answer = await call(site.middleware, "/auth/logout", method="POST", headers=here, scheme="http")
        location = answer.header("location") or ""
        assert location.startswith(f"{site.emulator.base}/oauth2/sessions/logout?"), name
        assert query(location)["post_logout_redirect_uri"] == f"{ORIGIN}/bye", name


async def test_hd_01_an_origin_is_compared_with_the_settings_and_not_with_the_host(each_site):
    """DNS rebinding, and a proxy that rewrites `Host`."""
    browser = each_site.browser()
    await browser.sign_in()
    for origin, host, status in (
        ("https://evil.example", b"evil.example", 403),
        ("http://127.0.0.1:8000", b"127.0.0.1:8000", 403),
        (ORIGIN, b"internal:8000", 204),
    ):
        headers = with_cookies(browser, {"accept": "*/*", "origin": origin})
        answer = await call(
            each_site.middleware, "/auth/logout", method="POST", headers=spoofed(headers, [(b"host", host)])
        )
        assert answer.status == status, origin


# --- HD-02 ----------------------------------------------------------------------------------------------

IDENTITY = [
    b"x-auth-request-user",
    b"x-auth-request-email",
    b"x-auth-request-scope",
    b"x-auth-request-anything",
    b"x_auth_request_user",
    b"x-auth_request-user",
    b"x_auth-request_email",
    b"X-Auth-Request-User",
    b"X_AUTH_REQUEST_USER",
    b"x-auth-request-",
]
HARMLESS = [(b"x-auth", b"1"), (b"x-auth-request", b"1"), (b"x-authrequest-user", b"1"), (b"x-request-id", b"1")]


async def seen_by_app(site: Site, target: str, cookie: str = "", **more: Any) -> list[tuple[bytes, bytes]]:
    before = len(site.app.scopes)
    headers = [*((name, b"root") for name in IDENTITY), *HARMLESS, (b"accept", b"application/json")]
    if cookie:
        headers.append((b"cookie", cookie.encode()))
    answer = await run(site.middleware, http_scope(target, headers=headers, **more))
    assert answer.status == 200, answer.status
    [scope] = site.app.scopes[before:]
    return list(scope["headers"])


@pytest.mark.parametrize("path", ["/public", "/maybe", "/protected"])
async def test_hd_02_identity_headers_that_came_from_outside_never_reach_the_application(new_each_site, path):
    site = new_each_site(public=["/public"], optional=["/maybe"])
    browser = site.browser()
    await browser.sign_in()
    jars = [cookie_header(browser)] if path == "/protected" else ["", cookie_header(browser), f"{SESSION}=junk"]
    for method in ("GET", "OPTIONS", "POST", "HEAD"):
        for cookie in jars:
            seen = await seen_by_app(site, path, cookie, method=method)
            names = [name.lower().replace(b"_", b"-") for name, _ in seen]
            assert not [name for name in names if name.startswith(b"x-auth-request-")]
            assert set(HARMLESS) <= set(seen)


async def test_hd_02_a_handshake_is_stripped_as_well(new_each_site):
    site = new_each_site(public=["/public"], optional=["/maybe"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        site.app.scopes.append(scope)
        await send({"type": "websocket.close"})

    site.middleware.app = app
    browser = site.browser()
    await browser.sign_in("/protected")
    for path in ("/public", "/maybe", "/protected"):
        headers = [*((name, b"root") for name in IDENTITY), (b"origin", ORIGIN.encode())]
        headers.append((b"cookie", cookie_header(browser).encode()))
        before = len(site.app.scopes)
        await shake_hands(site.middleware, path, headers=headers)
        [scope] = site.app.scopes[before:]
        names = [name.lower().replace(b"_", b"-") for name, _ in scope["headers"]]
        assert not [name for name in names if name.startswith(b"x-auth-request-")]
        assert b"lumin" not in b"".join(value for _, value in scope["headers"])


async def test_hd_02_a_state_or_a_user_that_something_in_front_set_is_not_believed(each_site):
    """Whatever an outer middleware, or an attacker through one, put where ours goes."""
    planted = {"state": {"lumin": "root", "other": 1}, "user": "root", "auth": "root"}
    answer = await run(each_site.middleware, http_scope("/x", headers=FETCH, **planted))
    assert answer.status == 401
    browser = each_site.browser()
    await browser.sign_in()
    await run(each_site.middleware, http_scope("/x", headers=with_cookies(browser, FETCH), **planted))
    scope = each_site.app.scopes[-1]
    assert scope["state"]["lumin"] != "root"
    assert scope["state"]["other"] == 1
    assert scope["user"].is_authenticated
    assert planted["state"] == {"lumin": "root", "other": 1}, "and what was handed in is as it was"
