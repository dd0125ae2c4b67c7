"""WEB: caching, pages, and what the log says."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lumin_middleware.errors import StoreUnavailable
from tests.acceptance.harness import TOKEN, call, cookies, put_cookie, session_cookies, with_cookies
from tests.acceptance.test_id_identity import changed
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION

ROUTES = ["login", "callback", "logout", "session", "verify", "unknown"]

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<!--",
    "]]>",
    "&lt;script&gt;",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "javascript:alert(1)",
    "\u2028\u2029",
    "\u202etxt.exe",
    "\r\nSet-Cookie: a=b",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example>",
    "\x00\x1b[31m",
    "%3Cscript%3E",
]


class Page(HTMLParser):
    """What a browser would make of a page: elements, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "p",
    "ul",
    "li",
    "div",
    "a",
    "form",
    "button",
}


def assert_inert(text: str) -> None:
    for tag, attributes in Page(text).elements:
        assert tag in ELEMENTS, tag
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "http-equiv", "srcdoc")]
        for name in ("href", "action"):
            assert (attributes.get(name) or "/").startswith("/"), attributes
            assert not (attributes.get(name) or "/").startswith("//"), attributes


def policy(value: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for part in value.split(";") if (words := part.split())}


def assert_safe_page(answer: Any) -> None:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    rules = policy(answer.headers["content-security-policy"])
    assert rules["default-src"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert rules["base-uri"] == ["'none'"]
    assert "script-src" not in rules
    assert not [source for sources in rules.values() for source in sources if "unsafe" in source or "*" in source]
    # Of a page with a form, this site itself is told where it was sent from; nobody else is.
    assert answer.headers["referrer-policy"] == ("same-origin" if "<form" in answer.text else "no-referrer")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert_inert(answer.text)


# --- WEB-01 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed_in", [False, True])
async def test_web_01_every_route_of_ours_is_stored_by_nobody(each_site, signed_in):
    browser = each_site.browser()
    if signed_in:
        await browser.sign_in()
    for route in ROUTES[:-1]:
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
            for headers in (NAVIGATION, FETCH, {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}):
                answer = await call(
                    each_site.middleware, f"/auth/{route}", method=method, headers=with_cookies(browser, headers)
                )
                assert answer.header("cache-control") == "no-store", (route, method, answer.status)


async def test_web_01_every_answer_of_the_whole_way_is_stored_by_nobody(each_site):
    browser = each_site.browser()
    first = await browser.navigate("/x")
    callback = each_site.emulator.sign_in(first.headers["location"])
    second = await browser.navigate(callback)
    again = await browser.navigate(callback)
    out = await browser.log_out()
    denied = await browser.fetch("GET", "/x")
    for answer in (first, second, again, out, denied):
        assert answer.headers["cache-control"] == "no-store"


APP_CONTROLS: dict[str, list[str]] = {
    "nothing": [],
    "public": ["public, max-age=600"],
    "shared": ["s-maxage=600"],
    "a lifetime": ["max-age=600"],
    "immutable": ["public, max-age=31536000, immutable"],
    "no-cache": ["no-cache"],
    "private": ["private, max-age=60"],
    "no-store": ["no-store"],
    "in capitals": ["PUBLIC, MAX-AGE=600"],
    "two headers": ["max-age=600", "public"],
    "two headers, the first private": ["private", "public, s-maxage=600"],
    "private for one field only": ['public, private="x-other", max-age=600'],
    "a look-alike": ["public, max-age=600, x-private=1"],
    "no-store for something else": ['public, max-age=600, ext="no-store"'],
}


def is_shared(headers: list[tuple[str, str]]) -> bool:
    """Whether a shared cache may store an answer to a GET (RFC 9111, sections 3 and 5.2.2)."""
    control = ",".join(value for name, value in headers if name == "cache-control")
    bare = re.sub(r'"[^"]*"', '""', control.lower())
    directives = {part.strip() for part in bare.split(",")}
    return "no-store" not in directives and "private" not in directives


@pytest.mark.parametrize("name", APP_CONTROLS)
async def test_web_01_an_answer_of_the_application_that_carries_our_cookie_is_shared_by_nobody(each_site, name):
    async def handler(request: Request) -> Response:
        response = PlainTextResponse("x")
        for value in APP_CONTROLS[name]:
            response.headers.append("cache-control", value)
        return response

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    each_site.clock.advance(each_site.config.idle_timeout / 2)  # the session slides, so the cookie is written again
    answer = await browser.navigate("/asset.css")
    assert "set-cookie" in answer.headers
    assert not is_shared(list(answer.headers.multi_items())), answer.headers.get_list("cache-control")
    assert "cookie" in answer.headers["vary"].lower()
    if name in ("private", "no-store"):
        assert answer.headers.get_list("cache-control") == APP_CONTROLS[name], "what was said already stays"


async def test_web_01_a_shared_cache_never_gives_one_persons_cookie_to_another(each_site):
    """Two clients behind a cache that stores whatever it may."""
    stored: dict[str, Any] = {}

    async def through(browser: Any, path: str) -> Any:
        if path not in stored:
            answer = await browser.navigate(path)
            if not is_shared(list(answer.headers.multi_items())) or answer.headers.get("vary"):
                return answer
            stored[path] = answer
        return stored[path]

    async def handler(request: Request) -> Response:
        return PlainTextResponse("x", headers={"cache-control": "public, max-age=600"})

    people = list(each_site.emulator.users)
    one, two = each_site.browser(), each_site.browser()
    await one.sign_in(sub=people[0])
    await two.sign_in(sub=people[1])
    each_site.app.handler = handler
    each_site.clock.advance(each_site.config.idle_timeout / 2)
    await through(one, "/a.css")
    answer = await through(two, "/a.css")
    first = session_cookies(one)[SESSION]
    assert not [line for line in answer.headers.get_list("set-cookie") if first in line]


async def test_web_01_vary_is_added_to_what_the_application_says(each_site):
    async def handler(request: Request) -> Response:
        return PlainTextResponse("x", headers={"vary": "Accept-Encoding"})

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    each_site.clock.advance(each_site.config.idle_timeout / 2)
    answer = await browser.navigate("/x")
    assert {part.strip().lower() for part in answer.headers["vary"].split(",")} == {"accept-encoding", "cookie"}


# --- WEB-03 ---------------------------------------------------------------------------------------------


async def test_web_03_what_the_server_says_is_inert_on_the_page(each_site):
    for text in HOSTILE:
        browser = each_site.browser()
        url = await browser.begin("/x")
        state = dict(part.split("=") for part in url.partition("?")[2].split("&"))["state"]
        for query in (
            f"error={quote(text)}",
            f"error=access_denied&error_description={quote(text)}&error_uri={quote(text)}",
        ):
            fresh = each_site.browser()
            for name, value in cookies(browser).items():
                put_cookie(fresh, name, value)
            answer = await fresh.navigate(f"/auth/callback?{query}&state={state}")
            assert 400 <= answer.status_code < 500, text
            assert_safe_page(answer)
            if "<" in text:
                assert text not in answer.text


async def test_web_03_what_a_stranger_says_is_inert_on_every_page(each_site):
    for text in HOSTILE:
        for target in (
            f"/auth/callback?code=x&state={quote(text)}",
            f"/auth/callback?code={quote(text)}",
            f"/auth/callback?{quote(text)}",
            f"/auth/logout?return_to={quote(text)}",
            f"/x/..{quote(text, safe='')}/../x",
        ):
            answer = await each_site.browser().navigate(target)
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert_safe_page(answer)
                assert text not in answer.text or "<" not in text


async def test_web_03_what_a_stranger_says_is_inert_in_json_and_in_headers(each_site):
    for text in HOSTILE:
        answer = await call(
            each_site.middleware,
            f"/x?{quote(text)}",
            headers={**FETCH, "hx-request": "true", "referer": f"{ORIGIN}/{quote(text)}"},
        )
        assert answer.header("content-type") == "application/problem+json"
        assert answer.header("x-content-type-options") == "nosniff"
        problem = json.loads(answer.body)
        assert re.fullmatch(r"/auth/login\?return_to=[A-Za-z0-9%._~/-]*", problem["login_url"])
        assert problem["reason"] == "no_session"
        assert re.fullmatch(r"[\x20-\x7e]*", answer.header("www-authenticate") or "")


async def test_web_03_pages_hold_no_script_and_nothing_from_elsewhere(each_site):
    browser = each_site.browser()
    pages = [
        await browser.navigate("/auth/callback?code=x&state=y"),
        await browser.navigate("/auth/logout"),
        await browser.navigate("/x/../y"),
    ]
    await browser.sign_in()
    pages.append(await browser.navigate("/auth/logout"))
    for page in pages:
        if page.headers.get("content-type", "").startswith("text/html"):
            assert_safe_page(page)
            assert "://" not in html.unescape(page.text).replace("https://app.example.com", "")


async def test_web_03_the_loop_page_is_safe_too(each_site):
    browser = each_site.browser()
    for _ in range(3):
        await browser.sign_in(f"/x?q={quote('<script>')}")
        for name in session_cookies(browser):
            browser.cookies.delete(name)
    for target in ("/x?" + quote("<script>alert(1)</script>"), "/auth/login?return_to=" + quote('/"><script>')):
        answer = await browser.navigate(target)
        assert answer.status_code == 400
        assert_safe_page(answer)


async def test_web_03_a_long_description_is_cut(each_site):
    browser = each_site.browser()
    url = await browser.begin("/x")
    state = dict(part.split("=") for part in url.partition("?")[2].split("&"))["state"]
    answer = await browser.navigate(
        f"/auth/callback?error=access_denied&error_description={'x' * 20_000}&state={state}"
    )
    assert len(answer.text) < 6_000


# --- WEB-05 ---------------------------------------------------------------------------------------------


async def failures(site: Any) -> dict[str, Any]:
    """A failed sign-in of each class."""
    found = {}
    browser = site.browser()
    found["state"] = await browser.navigate("/auth/callback?code=x&state=y")
    site.emulator.forge_id_token = changed(nonce="x")
    found["nonce"] = await site.browser().sign_in()
    site.emulator.forge_id_token = changed(aud="other")
    found["audience"] = await site.browser().sign_in()
    site.emulator.forge_id_token = None
    site.emulator.faults.add(TOKEN, body={"access_token": "x", "token_type": "mac"})
    found["token"] = await site.browser().sign_in()
    site.emulator.faults.add(TOKEN, status=400, body={"error": "invalid_client"})
    found["client"] = await site.browser().sign_in()
    return found


async def test_web_05_each_class_of_failure_has_a_reason_in_the_log_and_the_same_words_on_the_page(each_site, log):
    found = await failures(each_site)
    reasons = {"unknown_login", "bad_id_token", "bad_token_response", "invalid_client"}
    logged = " ".join(log.lines)
    assert reasons <= set(re.findall(r"[a-z]+(?:_[a-z]+)+", logged))
    titles = {"client": "This site is not set up correctly"}
    for name in ("nonce", "audience", "token", "client"):
        page = found[name].text
        assert re.findall("<h1>(.*?)</h1>", page) == [titles.get(name, "Sign-in failed")], name
        for word in ("nonce", "aud", "token", "secret", "signature", "mac", "client"):
            assert not re.search(rf"\b{word}\b", re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)), (name, word)
    words = {re.sub('<p class="reference">.*?</p>', "", found[name].text) for name in ("nonce", "audience", "token")}
    assert len(words) == 1, "but for the code, which programs are told as well, and the reference"


async def test_web_05_programs_get_the_reason_as_a_fixed_word(each_site):
    for query, reason in (
        ("code=x&state=y", "unknown_login"),
        ("code=x", "unknown_login"),
        ("code=a&code=b", "duplicate_parameter"),
    ):
        answer = await call(each_site.middleware, f"/auth/callback?{query}", headers={"accept": "application/json"})
        problem = json.loads(answer.body)
        assert (problem["status"], problem["reason"]) == (400, reason)
        assert set(problem) <= {"type", "title", "status", "reason", "login_url", "reference"}
        assert re.fullmatch(r"urn:lumin-middleware:[a-z_]+", problem["type"])


async def test_web_05_no_reason_is_the_senders_word(each_site):
    """`error` is anybody's text; a program must not be given it as a reason."""
    for error in ("x y z", "<b>", "consent request denied", "../..", "a" * 500, "no_session", "\u2028"):
        browser = each_site.browser()
        url = await browser.begin("/x")
        state = dict(part.split("=") for part in url.partition("?")[2].split("&"))["state"]
        answer = await browser.get(
            f"/auth/callback?error={quote(error)}&state={state}", headers={"accept": "application/json"}
        )
        problem = answer.json()
        assert re.fullmatch(r"[a-z_]+", problem["reason"]), problem
        assert re.fullmatch(r"urn:lumin-middleware:[a-z_]+", problem["type"])
        assert problem["reason"] != "no_session"


async def test_web_05_trouble_with_the_store_is_told_apart(new_each_site, log):
    site = new_each_site()

    class Broken:
        blocking = False
        local = True

        def get(self, key: str) -> bytes | None:
            raise StoreUnavailable("the disk is on fire")

        def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
            raise StoreUnavailable("the disk is on fire")

    browser = site.browser()
    callback = site.emulator.sign_in(await browser.begin("/x"))
    broken = site.with_settings(store=Broken()).browser()
    broken.cookies = browser.cookies
    answer = await broken.get(callback, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
    assert "on fire" not in answer.text
    assert any("on fire" in line for line in log.lines)


async def test_web_05_a_failure_reaches_the_application_as_nobody(each_site):
    await failures(each_site)
    assert each_site.app.scopes == []


async def test_web_05_the_log_holds_no_secret_at_any_level(each_site, caplog):
    """Ours is watched in every test; this one watches what httpx2, Authlib and asyncio say for us."""
    caplog.set_level("DEBUG")
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    await browser.fetch("GET", "/x")
    await failures(each_site)
    await browser.log_out()
    known = [token.value for grant in each_site.emulator.grants for token in grant.tokens]
    known += [*each_site.emulator.calls_to(TOKEN)[0].form["code"], each_site.config.client_secret]
    ours = [
        record.getMessage()
        for record in caplog.records
        if record.threadName != "lumin-emulator" and ORIGIN not in record.getMessage()  # the other end, and the browser
    ]
    assert any(TOKEN in line for line in ours)
    assert not [line for line in ours if any(secret in line for secret in known)]


async def test_web_05_the_log_cannot_be_forged(each_site, log):
    """A line break, an escape sequence, a direction mark: whatever comes from outside is quoted."""
    for text in ("\r\nINFO all is well", "\x1b[2J", "\u202e", "\x85x", "\u2028x"):
        for target in (
            f"/x{text}/../y",
            f"/auth/callback?error={quote(text)}&state=x",
            f"/auth/callback?state={quote(text)}",
        ):
            await call(each_site.middleware, target.encode(), headers=NAVIGATION)
        browser = each_site.browser()
        url = await browser.begin("/x")
        state = dict(part.split("=") for part in url.partition("?")[2].split("&"))["state"]
        await browser.navigate(f"/auth/callback?error={quote(text)}&error_description={quote(text)}&state={state}")
        each_site.emulator.faults.add(TOKEN, status=400, body={"error": f"x{text}", "error_description": text})
        await each_site.browser().sign_in()
        each_site.emulator.forge_id_token = changed(iss=f"https://x{text}")
        await each_site.browser().sign_in()
        each_site.emulator.forge_id_token = None
    assert log.lines
    assert not [line for line in log.lines if not line.isprintable()]
