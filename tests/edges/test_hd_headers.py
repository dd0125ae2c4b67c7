"""HD: headers that lie. No answer of ours depends on what a proxy, or somebody who plays one, says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.edges.rig import Browser, Site
from tests.site_rig import FETCH, NAVIGATION, ORIGIN

SPOOFS: dict[str, list[tuple[bytes, bytes]]] = {
    "host": [(b"host", b"evil.example")],
    "forwarded host": [(b"x-forwarded-host", b"evil.example"), (b"x-forwarded-proto", b"http")],
    "forwarded": [(b"forwarded", b'for=127.0.0.1;host="evil.example";proto=http')],
    "proto": [(b"x-forwarded-proto", b"http"), (b"x-forwarded-ssl", b"off"), (b"front-end-https", b"off")],
    "port": [(b"x-forwarded-port", b"6666"), (b"x-forwarded-server", b"evil.example")],
    "prefix": [(b"x-forwarded-prefix", b"//evil.example"), (b"x-script-name", b"/evil")],
    "rewritten": [(b"x-original-url", b"/free"), (b"x-rewrite-url", b"/free")],
    "method": [(b"x-http-method-override", b"GET"), (b"x-method-override", b"POST")],
}

GARBAGE: dict[str, list[tuple[bytes, bytes]]] = {
    "two protocols": [(b"x-forwarded-proto", b"https, http")],
    "twice": [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")],
    "addresses": [(b"x-forwarded-for", b"127.0.0.1, 6.6.6.6"), (b"x-real-ip", b"[::1]:bad")],
    "a hundred hops": [(b"x-forwarded-for", b", ".join(b"10.0.0.%d" % hop for hop in range(100)))],
    "no text": [(b"x-forwarded-for", b"\xff\xfe"), (b"forwarded", b';;=,"')],
    "two hosts": [(b"host", b"app.example.com"), (b"host", b"evil.example")],
    "no host": [],
}

IDENTITY = {
    "X-Auth-Request-User": "mallory",
    "x-auth-request-email": "mallory@example.com",
    "X-Auth_Request-Scope": "all",
    "x_auth_request_user": "mallory",
}


async def _story(site: Site, edge: Any, extra: list[tuple[bytes, bytes]]) -> list[tuple[Any, ...]]:
    """Somebody signs in, looks around and signs out, with these headers on every request."""

    class Liar(Browser):
        async def ask(self, method: str, target: Any, headers: Any, body: bytes = b"") -> Any:
            ours = [(name.encode(), value.encode()) for name, value in dict(headers).items()]
            return await super().ask(method, target, [*ours, *extra], body)

    browser = Liar(site, edge)
    await browser.fetch("GET", "/who")
    await browser.sign_in("/page?x=1")
    assert await browser.subject()
    site.clock.advance(3600)
    await browser.navigate("/who")
    await browser.fetch("GET", "/auth/session")
    await browser.log_out()
    assert browser.jar == {}
    return browser.story


@pytest.mark.parametrize("spoof", [*SPOOFS, *GARBAGE])
async def test_hd_01_spoofed_headers_change_nothing(lumin, edge, spoof):
    """HD-01, HD-04, HD-05: redirect_uri, cookies and redirects are those of the settings, and garbage is no error."""
    told = []
    for extra in ([], {**SPOOFS, **GARBAGE}[spoof]):
        site = lumin.site(public=["/free"], end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye")
        told.append(await _story(site, edge, extra))
        await site.aclose()
    assert told[0] == told[1]


async def test_hd_01_a_rewritten_url_opens_no_protected_page(new_edges, edge):
    site = new_edges(public=["/free"])
    for extra in (SPOOFS["rewritten"], SPOOFS["method"]):
        ours = [(name.encode(), value.encode()) for name, value in FETCH.items()]
        assert (await site.request(edge, "/secret", headers=[*ours, *extra])).status == 401
    assert site.app(edge).requests == []


@pytest.mark.parametrize("target", ["/free", "/maybe", "/who"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_hd_02_nobody_else_may_say_who_somebody_is(new_edges, edge, method, target):
    site = new_edges(public=["/free"], optional=["/maybe"])
    browser = site.browser(edge)
    if target == "/who":
        await browser.sign_in()
    await browser.ask(method, target, {**NAVIGATION, **IDENTITY, "x-other": "1"})
    seen = str(site.app(edge).requests[-1]).lower()
    assert "auth-request" not in seen.replace("_", "-")
    assert "x-other" in seen.replace("_", "-")


async def test_hd_02_our_own_answers_repeat_no_identity(edges, edge):
    for target in ("/auth/login", "/auth/callback?state=x&code=y", "/auth/session", "/auth/logout", "/page"):
        answer = await edges.request(edge, target, headers={**NAVIGATION, **IDENTITY})
        assert "mallory" not in str(answer.headers)
        assert b"mallory" not in answer.body


@pytest.mark.parametrize(
    "lines",
    [
        [(b"origin", ORIGIN.encode()), (b"origin", b"https://evil.example")],
        [(b"origin", b"https://evil.example"), (b"origin", ORIGIN.encode())],
        [(b"origin", ORIGIN.encode() + b", https://evil.example")],
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin")],
        [(b"sec-fetch-site", b"cross-site"), (b"origin", ORIGIN.encode())],
        [(b"origin", b"null")],
        [],
    ],
)
async def test_hd_05_a_header_that_came_twice_is_believed_neither_time(edges, edge, lines):
    browser = edges.browser(edge)
    await browser.sign_in()
    assert (await browser.ask("POST", "/auth/logout", [(b"accept", b"text/html"), *lines])).status == 403
    assert await browser.subject()


async def test_hd_05_cookies_in_two_headers_are_one_cookie_header(edges, edge):
    """HTTP/2 splits them (RFC 9113, 8.2.3), and CGI would join them with commas."""
    browser = edges.browser(edge)
    await browser.sign_in()
    jar = browser.jar
    browser.jar = {}
    cookies = [(b"cookie", b"a=1"), *((b"cookie", f"{name}={value}".encode()) for name, value in jar.items())]
    ours = [(name.encode(), value.encode()) for name, value in FETCH.items()]
    answer = await browser.ask("GET", "/who", [*ours, *cookies])
    assert json.loads(answer.body)["subject"]
    assert json.loads(answer.body)["cookie"] == "a=1"
