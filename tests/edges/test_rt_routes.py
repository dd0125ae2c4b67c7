"""RT: who gets past. The oracle is the application: what it never saw was protected."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.harness import call, shake_hands
from tests.site_rig import FETCH, NAVIGATION, ORIGIN

NAVIGATIONS = [
    {"accept": "text/html"},
    {"accept": "application/xhtml+xml, */*;q=0.1"},
    {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    {"sec-fetch-mode": "navigate", "accept": "*/*"},
    {"sec-fetch-mode": "navigate", "sec-fetch-dest": "empty", "accept": "*/*"},  # passed on by a service worker
    {"sec-fetch-mode": "navigate", "x-requested-with": "com.example.app"},  # Android's WebView
    {"accept": "text/html", "x-requested-with": "com.example.app"},
]
CALLS = [
    ("GET", {}),
    ("GET", {"accept": "*/*"}),
    ("GET", {"accept": "application/json"}),
    ("GET", {"accept": "text/html", "x-requested-with": "XMLHttpRequest"}),
    ("GET", {"accept": "text/html", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}),
    ("GET", {"accept": "text/html", "sec-purpose": "prefetch;prerender"}),
    ("GET", {"accept": "text/html", "hx-request": "true"}),
]
PEOPLE = [  # who cannot be sent on, and reads a page
    ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),
    ("POST", {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}),
    ("PUT", {"accept": "text/html"}),
    ("DELETE", {"accept": "text/html"}),
]


@pytest.mark.parametrize("headers", NAVIGATIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_rt_01_a_navigation_is_sent_to_lumin(edges, edge, method, headers):
    answer = await edges.request(edge, "/page", method=method, headers=headers)
    assert answer.status == 303
    assert (answer.header("location") or "").startswith(f"{edges.emulator.base}/oauth2/auth?")
    assert answer.body == b""
    assert edges.app(edge).requests == []


@pytest.mark.parametrize(("method", "headers"), [*CALLS, *PEOPLE])
async def test_rt_01_a_call_is_refused_and_begins_nothing(edges, edge, method, headers):
    answer = await edges.request(edge, "/page", method=method, headers=headers)
    assert answer.status == 401
    assert (answer.header("www-authenticate") or "").startswith("Bearer ")
    is_read = (method, headers) in PEOPLE
    assert answer.header("content-type") == ("text/html; charset=utf-8" if is_read else "application/problem+json")
    assert answer.header("location") is None
    assert answer.all("set-cookie") == []
    assert edges.app(edge).requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "get", "X"])
@pytest.mark.parametrize("target", ["/", "/nothing/here", "/authx/login", "/auth", "/auth/", "/auth/callback/", "/*"])
@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
async def test_rt_02_without_a_session_the_application_never_runs(edges, edge, method, target):
    for more in ({}, {"range": "bytes=0-10"}, {"upgrade": "h2c", "connection": "upgrade"}, {"expect": "100-continue"}):
        answer = await edges.request(edge, target, method=method, headers={**FETCH, **more})
        assert answer.status in (400, 401)
    assert edges.app(edge).requests == []


@pytest.mark.parametrize(
    "target",
    [
        "/publicity",
        "/public-admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public%2fadmin",
        "/public/;/../admin",
        "/public/..;/admin",
        "/public\\..\\admin",
        "/public/%5c..%5cadmin",
        "//public/page",
        "/public//page",
        "/public/",
        "/public/page#x",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%ff",
        "/./public/page",
        "/PUBLIC/page",
        "/%70ublic%00/page",
        "/public/%00",
        "/admin?x=/public/",
        "/admin?/public/page",
        "/admin#/public/page",
        "/api/private?path=/status",
        "/status/",
        "/status/x",
        "/statuses",
        "/x/status",
    ],
)
async def test_rt_03_a_rule_covers_its_path_and_no_other(new_edges, edge, target):
    site = new_edges(public=["/public/*", "/status"], optional=["/maybe/*"])
    for method in ("GET", "POST"):
        answer = await site.request(edge, target, method=method, headers={**FETCH, "x-http-method-override": "GET"})
        assert answer.status in (400, 401), answer.status
    assert site.app(edge).requests == []


@pytest.mark.parametrize("target", ["/public/page", "/public/Page/", "/status", "/status?x=1", "/%73tatus", "/maybe/x"])
async def test_rt_03_what_a_rule_covers_is_open(new_edges, edge, target):
    site = new_edges(public=["/public/*", "/status"], optional=["/maybe/*"])
    assert (await site.request(edge, target, headers=FETCH)).status == 200


async def test_rt_03_an_ambiguous_path_is_passed_on_as_it_came(edges, edge):
    """Somebody who is signed in may go there; it is never rewritten."""
    browser = edges.browser(edge)
    await browser.sign_in()
    for target, path in (("/a%2Fb", "/a/b"), ("//double", "//double"), ("/p;v=1", "/p;v=1"), ("/%25%32%66", "/%2f")):
        answer = await browser.fetch("GET", target)
        assert json.loads(answer.body)["path"] == path


async def test_rt_08_a_websocket_without_a_session_or_from_elsewhere_is_denied(edges):
    browser = edges.browser("asgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    for headers, code in (
        ({"origin": ORIGIN}, 4401),
        ({}, 4401),  # a program's, as nobody's
        ({"cookie": "theirs=1"}, 4401),
        ({"origin": ""}, 4403),
        ({"origin": "null"}, 4403),
        ({"origin": "https://evil.example"}, 4403),
        ({"origin": "https://evil.example", "cookie": cookie}, 4403),
        ({"cookie": f"theirs=1; {cookie}"}, 4403),
        ({"cookie": cookie}, 4403),
        ({"origin": "null", "cookie": cookie}, 4403),
    ):
        sent = await shake_hands(edges.asgi, "/ws", headers=headers)
        assert [(each["type"], each["code"]) for each in sent] == [("websocket.close", code)]
    assert edges.asgi_app.requests == []


@pytest.mark.parametrize("scope", ["sign:requests.read", "sign", "sign:request", "SIGN:REQUESTS", "sign:requests:read"])
async def test_rt_10_scopes_are_compared_whole(new_edges, edge, scope):
    """Somebody has `sign:requests`, which is none of these."""
    site = new_edges(required_scopes={"/guarded/*": scope})
    browser = site.browser(edge)
    await browser.sign_in()
    assert (await browser.fetch("GET", "/guarded/page")).status == 403
    assert (await browser.fetch("GET", f"/challenge?scope={scope}")).status == 403
    assert [each.get("path") or each["PATH_INFO"] for each in site.app(edge).requests] == ["/challenge"]


async def test_rt_10_who_has_the_scope_passes(new_edges, edge):
    site = new_edges(required_scopes={"/guarded/*": "sign:requests openid"})
    browser = site.browser(edge)
    assert (await browser.fetch("GET", "/guarded/page")).status == 401
    await browser.sign_in()
    assert (await browser.fetch("GET", "/guarded/page")).status == 200


async def test_rt_10_starlettes_own_guard_knows_the_scopes(edges):
    browser = edges.browser("asgi")
    await browser.sign_in()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    await call(edges.asgi, "/who", headers={**NAVIGATION, "cookie": cookie})
    assert edges.asgi_app.requests[-1]["auth"].scopes == ["authenticated", "openid", "offline_access", "sign:requests"]


@pytest.mark.parametrize("open_to", ["public", "optional"])
async def test_rt_10_scopes_win_over_what_is_public_or_optional(new_edges, edge, open_to):
    """Throwing the cookie away helps nobody."""
    site = new_edges(**{open_to: ["/*"]}, required_scopes={"/admin/*": "templates"})
    for target in ("/admin/x", "/admin", "/ADMIN/x", "/x%2f..%2fadmin%2fx", "/admin//x"):
        assert (await site.request(edge, target, headers=FETCH)).status in (400, 401), target
    assert (await site.request(edge, "/admin/x", headers=NAVIGATION)).status == 303
    assert site.app(edge).requests == []
    assert (await site.request(edge, "/other", headers=FETCH)).status == 200
    browser = site.browser(edge)
    await browser.sign_in("/auth/login?return_to=/x", scope="openid offline_access sign:requests")
    assert (await browser.fetch("GET", "/admin/x")).status == 403
