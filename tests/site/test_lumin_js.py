"""The module for pages, in a real browser: what it sends, when it opens a popup, and what it does with a 401."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import lumin_middleware
from tests import bff
from tests import browser_rig as rig
from tests.bff import Bff
from tests.patience import PATIENCE
from tests.upstream import answer, say

SOURCES = Path(lumin_middleware.__file__).parent / "site" / "browser"
UNAUTHORIZED = answer("401 Unauthorized", body=b'{"error_code": "unauthorized"}')


@pytest.fixture(scope="module")
def served() -> Iterator[Bff]:
    with bff.serve("asgi") as running:
        yield running


@pytest.fixture
def site(served: Bff) -> Bff:
    served.api.calls.clear()
    served.api.play = say(answer(body=b'{"id": 7}'))
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with rig.browser() as running:
        yield running


@pytest.fixture
def context(browser: Browser, site: Bff) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=site.base)
    made.set_default_timeout(PATIENCE * 1000)
    yield made
    made.close()


@pytest.fixture
def nobody(context: BrowserContext) -> Page:
    """A page of the site on which nobody is signed in."""
    page = context.new_page()
    page.goto("/auth/lumin.d.ts")  # a page without a policy of its own
    return page


@pytest.fixture
def page(nobody: Page, site: Bff) -> Page:
    """The same with somebody who is signed in."""
    site.sign_in()
    nobody.context.add_cookies([{"name": k, "value": v, "url": site.base} for k, v in site.cookies.items()])
    return nobody


def run(page: Page, script: str, argument: Any = None) -> Any:
    """Runs an expression in which `lumin` is the module; an error becomes its text."""
    return page.evaluate(
        "async argument => { const lumin = await import('/auth/lumin.js');"
        f"try {{ return await ({script}) }} catch (error) {{ return String(error) }} }}",
        argument,
    )


NO_POPUP = "() => { window.open = () => { throw new Error('a popup was opened') } }"
CALL = "lumin.fetch(...argument).then(async answer => [answer.status, await answer.text()])"


def end_session(page: Page) -> None:
    page.context.clear_cookies()


def begin(page: Page, script: str, argument: Any = None) -> None:
    """Starts an expression and keeps its promise in `window.outcome`."""
    run(page, f"(window.outcome = {script}, null)", argument)


def outcome(page: Page) -> Any:
    return page.evaluate("window.outcome")


def sign_in(popup: Page) -> None:
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Mira Halden").click()
        popup.get_by_role("button", name="Allow").click()


# --- as it is served ------------------------------------------------------------------------------------


def test_it_is_small_and_needs_nothing():
    source = (SOURCES / "lumin.js").read_text()
    assert len(source.encode()) <= 2048
    assert not re.search(
        r"^\s*import[\s{*]|from \"|require\(|eval|innerHTML|localStorage|sessionStorage", source, re.MULTILINE
    )


def test_its_types_tell_what_it_exports():
    exported = [
        set(re.findall(r"^export (?:async )?function (\w+)", (SOURCES / name).read_text(), re.MULTILINE))
        for name in ("lumin.js", "lumin.d.ts")
    ]
    assert exported == [{"session", "login", "logout", "fetch"}] * 2


@pytest.mark.parametrize(("name", "media_type"), [("lumin.js", "text/javascript"), ("lumin.d.ts", "text/plain")])
def test_it_is_served_to_everybody_and_asked_for_again_each_time(site, name, media_type):
    got = httpx2.get(f"{site.base}/auth/{name}", timeout=PATIENCE)
    assert (got.status_code, got.text) == (200, (SOURCES / name).read_text())
    assert got.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert got.headers["cache-control"] == "no-cache"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in got.headers
    for etag in (got.headers["etag"], f'"x", W/{got.headers["etag"]}'):
        again = httpx2.get(f"{site.base}/auth/{name}", headers={"if-none-match": etag}, timeout=PATIENCE)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", got.headers["etag"])
    assert httpx2.get(f"{site.base}/auth/{name}", headers={"if-none-match": '"x"'}, timeout=PATIENCE).status_code == 200
    head = httpx2.head(f"{site.base}/auth/{name}")
    assert (head.content, head.headers["content-length"]) == (b"", got.headers["content-length"])
    refused = httpx2.post(f"{site.base}/auth/{name}", timeout=PATIENCE)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


# --- session, login, logout -----------------------------------------------------------------------------


def test_session_is_null_for_nobody_and_says_who_somebody_is(nobody, site):
    assert run(nobody, "lumin.session()") is None
    site.sign_in()
    nobody.context.add_cookies([{"name": k, "value": v, "url": site.base} for k, v in site.cookies.items()])
    found = run(nobody, "lumin.session()")
    assert found["claims"]["name"] == "Mira Halden"
    assert found == run(nobody, "lumin.session({ slide: false })")


@pytest.mark.parametrize("script", ["lumin.session()", "lumin.logout()"])
def test_an_answer_that_tells_nothing_is_read_to_its_end_all_the_same(nobody, script):
    """Chromium ends a request when its answer has been read; until then a page counts as busy."""
    name = script[len("lumin.") : -2]
    with nobody.expect_event("requestfinished", lambda request: request.url.endswith(f"/auth/{name}")):
        run(nobody, script)
    nobody.wait_for_load_state("networkidle")


def test_session_slides_unless_it_is_told_not_to(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url.partition("/auth/")[2]))
    run(page, "[await lumin.session(), await lumin.session({ slide: true }), await lumin.session({ slide: false })]")
    assert asked[-3:] == ["session", "session", "session?slide=false"]


def test_session_and_logout_fail_where_nothing_is_known(page):
    page.evaluate("() => { window.fetch = async () => new Response('', { status: 503 }) }")
    assert run(page, "lumin.session()") == "Error: session: 503"
    assert run(page, "lumin.logout()") == "Error: logout: 503"


@pytest.mark.parametrize(
    ("script", "return_to"),
    [
        ("void lumin.login()", "/auth/lumin.d.ts?a=b%26c#part"),
        ("void lumin.login({ returnTo: '/there' })", "/there"),
        ("void lumin.login({ popup: false })", "/auth/lumin.d.ts?a=b%26c#part"),
    ],
)
def test_login_leaves_the_page_and_asks_to_come_back(nobody, script, return_to):
    nobody.goto("/auth/lumin.d.ts?a=b%26c#part")
    with nobody.expect_request("**/auth/login?**") as asked:
        begin(nobody, script)
    assert asked.value.url.partition("?return_to=")[2] == quote(return_to, safe="")
    assert asked.value.is_navigation_request()
    expect(nobody.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_login_in_a_popup_gives_who_signed_in(nobody):
    with nobody.expect_popup() as opened:
        begin(nobody, "lumin.login({ popup: true })")
    sign_in(opened.value)
    assert outcome(nobody)["claims"]["name"] == "Mira Halden"
    assert nobody.url.endswith("/auth/lumin.d.ts")


def test_login_in_a_popup_that_is_closed_gives_null_and_can_be_begun_again(nobody):
    for _ in range(2):
        with nobody.expect_popup() as opened:
            begin(nobody, "lumin.login({ popup: true })")
        opened.value.close()
        assert outcome(nobody) is None


def test_login_in_a_popup_that_the_browser_lets_not_open_gives_null(nobody):
    nobody.evaluate("() => { window.open = () => null }")
    assert run(nobody, "lumin.login({ popup: true })") is None


def test_a_denial_in_a_popup_is_told_there(nobody):
    with nobody.expect_popup() as opened:
        begin(nobody, "lumin.login({ popup: true })")
    popup = opened.value
    popup.get_by_role("button", name="Mira Halden").click()
    popup.get_by_role("button", name="Deny").click()
    expect(popup.get_by_role("heading", level=1)).to_have_text("Access was denied")
    popup.get_by_role("link", name="Start again").click()
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Allow").click()
    assert outcome(nobody)["claims"]["name"] == "Mira Halden"


def test_a_no_in_a_popup_is_taken_back_to_the_page_and_the_popup_closes(nobody):
    nobody.evaluate("() => { document.hasFocus = () => false }")  # so that only the popup's own word is heard
    with nobody.expect_popup() as opened:
        begin(nobody, "lumin.login({ popup: true })")
    popup = opened.value
    popup.get_by_role("button", name="Mira Halden").click()
    popup.get_by_role("button", name="Deny").click()
    with popup.expect_event("close"):
        popup.get_by_role("link", name="Close this window").click()
    assert outcome(nobody) is None
    assert run(nobody, "lumin.session()") is None


def test_a_popup_that_lumins_pages_cut_off_still_brings_the_person_back(nobody, site):
    def cut(route: Any) -> None:
        response = route.fetch(max_redirects=0)
        route.fulfill(response=response, headers={**response.headers, "cross-origin-opener-policy": "same-origin"})

    nobody.context.route(f"{site.emulator.base}/**", cut)
    nobody.evaluate("() => { document.hasFocus = () => false }")  # as it is while the person is in the popup
    with nobody.context.expect_page() as opened:
        begin(nobody, "lumin.login({ popup: true })")
    popup = opened.value
    popup.get_by_role("button", name="Mira Halden").click()
    popup.get_by_role("button", name="Allow").click()
    assert outcome(nobody)["claims"]["name"] == "Mira Halden"


def test_another_sites_message_is_no_sign_in(nobody):
    with nobody.expect_popup() as opened:
        begin(nobody, "lumin.login({ popup: true }).then(who => (window.done = [who]))")
    nobody.evaluate("window.postMessage('signed in', '*')")
    assert nobody.evaluate("window.done") is None
    opened.value.close()
    assert outcome(nobody) == [None]


def test_logout_signs_out(page):
    assert run(page, "lumin.logout()") is None
    assert run(page, "lumin.session()") is None
    assert page.context.cookies() == []


# --- fetch ----------------------------------------------------------------------------------------------


def test_fetch_calls_the_api_with_the_header(page, site):
    options = {"method": "POST", "headers": {"X-Lumin-API-Version": "1.1", "Content-Type": "x/y"}, "body": "abc"}
    for path in ("user/info?a=1", "/user/info?a=1"):
        assert run(page, CALL, [path, options]) == [200, '{"id": 7}']
        assert (site.api.last.method, site.api.last.target) == ("POST", "/v1/user/info?a=1")
        assert site.api.last.body == b"abc"
        assert site.api.last.header("x-lumin-api-version") == "1.1"
        assert site.api.last.header("content-type") == "x/y"
        assert site.api.last.header("x-csrf") is None
    assert run(page, CALL, ["user/info"]) == [200, '{"id": 7}']


def test_fetch_never_leaves_the_api_whatever_a_path_is_made_of(page, site):
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    for path in (
        "../logout",
        "..\\logout",
        "%2e%2e/logout",
        "x/../../logout",
        ".%2E/../secret",
        "\t../logout",
        "a/../..",
    ):
        assert "leaves the API" in run(page, CALL, [path, {"method": "POST"}]), path
    for path in ("https://evil.example/x", "//evil.example/x", "\\\\evil.example\\x", "javascript:alert(1)"):
        run(page, CALL, [path])
    assert all(url.startswith(site.base) for url in seen)
    assert run(page, "lumin.session()") is not None


def test_fetch_signs_in_by_popup_and_repeats_the_call_once(page, site):
    end_session(page)
    with page.expect_popup() as opened:
        begin(page, CALL, ["documents", {"method": "POST", "body": "abc"}])
    sign_in(opened.value)
    assert outcome(page) == [200, '{"id": 7}']
    assert [call.body for call in site.api.calls] == [b"abc"]


def test_calls_that_fail_together_share_one_popup(page, site):
    end_session(page)
    popups = []
    page.context.on("page", lambda popup: popups.append(popup))
    with page.expect_popup() as opened:
        begin(
            page, "Promise.all(argument.map(path => lumin.fetch(path).then(answer => answer.status)))", ["a", "b", "c"]
        )
    sign_in(opened.value)
    assert outcome(page) == [200, 200, 200]
    assert len(popups) == 1
    assert sorted(call.target for call in site.api.calls) == ["/v1/a", "/v1/b", "/v1/c"]


def test_a_popup_that_is_closed_leaves_the_401(page, site):
    end_session(page)
    with page.expect_popup() as opened:
        begin(page, CALL, ["documents"])
    opened.value.close()
    status, body = outcome(page)
    assert (status, '"reason": "no_session"' in body) == (401, True)
    assert site.api.calls == []


def test_a_401_of_the_api_itself_is_the_answer_and_opens_nothing(page, site):
    page.evaluate(NO_POPUP)
    calls = []
    for body in (b'{"error_code": "unauthorized"}', b"", b"null", b"no JSON", b'"text"'):
        site.api.calls.clear()
        site.api.play = say(answer("401 Unauthorized", body=body))
        assert run(page, CALL, ["documents"]) == [401, body.decode()]
        calls.append(len(site.api.calls))
    assert calls == [2, 1, 1, 1, 1]  # once more with a new token; one that was just renewed is not renewed again


def test_a_large_body_that_was_refused_is_sent_again_with_the_new_token(page, site):
    site.api.play = say(UNAUTHORIZED, answer())
    page.evaluate(NO_POPUP)
    assert (
        run(page, "lumin.fetch('x', { method: 'PUT', body: new Blob([new Uint8Array(500000)]) }).then(a => a.status)")
        == 200
    )
    assert [call.size for call in site.api.calls] == [500_000, 500_000]


def test_a_body_that_is_a_stream_is_sent_once(page):
    page.evaluate(
        "() => { window.calls = 0; const refused = () => Response.json({ reason: 'ended' }, { status: 401 });"
        "window.fetch = async () => (window.calls++, refused()) }"
    )
    options = "{ method: 'POST', body: new ReadableStream(), duplex: 'half' }"
    assert run(page, f"lumin.fetch('x', {options}).then(answer => answer.status)") == 401
    assert page.evaluate("window.calls") == 1


def test_a_call_can_be_broken_off(page, site):
    arrived = threading.Event()
    left = []

    def play(call: Any) -> None:
        call.read()
        arrived.set()
        left.append(call.is_left())

    site.api.play = play
    begin(
        page,
        "lumin.fetch('x', { signal: (window.controller = new AbortController()).signal }).catch(error => error.name)",
    )
    assert arrived.wait(bff.PATIENCE)
    page.evaluate("window.controller.abort()")
    assert outcome(page) == "AbortError"


# --- what is shown of the API ---------------------------------------------------------------------------


def test_a_page_from_the_api_can_do_nothing_on_this_site(page, site):
    evil = b"<title>API</title><script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"
    for media_type, body in (
        ("text/html", evil),
        (
            "image/svg+xml",
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.documentElement.id='ran'</script></svg>",
        ),
    ):
        site.api.play = say(answer(headers=f"content-type: {media_type}\r\n", body=body))
        page.goto("/auth/api/evil")
        assert page.evaluate("document.title + document.documentElement.id") in ("API", "")
        assert site.api.last.target == "/v1/evil"
