"""RD: where a sign-in leads. The oracle is a WHATWG URL parser, which reads a `Location` as browsers do."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lumin_middleware.site.access import return_to
from tests.acceptance.harness import (
    assert_on_site,
    call,
    keep,
    lands_on,
    resolved,
    subject,
    with_cookies,
)
from tests.acceptance.redirect_payloads import EVIL, FINE, LISTED, payloads, quoted
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION, set_cookies

DEFAULT = "/home"


def is_harmless(location: str) -> bool:
    """Whether this leads to the site, for a browser and for whoever decodes it once, twice or three times more."""
    path = re.split(r"[?#]", location, maxsplit=1)[0]
    for _ in range(4):
        url = resolved(path)
        if url.origin != ORIGIN or url.pathname.startswith("//") or not path.startswith("/"):
            return False
        path = unquote_to_bytes(path).decode("utf-8", "replace")
    return resolved(location).origin == ORIGIN


# --- RD-01 ----------------------------------------------------------------------------------------------


async def test_rd_01_a_path_comes_back_as_it_was(each_site):
    changed = {}
    for path in FINE:
        location = await lands_on(each_site, path, quoted=quoted(path))
        if location != path:
            changed[path] = location
    assert changed == {}


async def test_rd_01_a_page_comes_back_as_it_was_asked_for(each_site):
    changed = {}
    for path in FINE:
        target = path.partition("#")[0]
        browser = each_site.browser()
        begun = await call(each_site.middleware, target, headers=NAVIGATION)
        assert begun.status == 303, target
        keep(browser, begun)
        url = each_site.emulator.sign_in(begun.header("location") or "")
        done = await call(each_site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser))
        if done.header("location") != target:
            changed[target] = done.header("location")
    assert changed == {}


@pytest.mark.parametrize("path", ["/café", "/\N{SNOWMAN}?q=é", "/日本/語"])
async def test_rd_01_what_is_not_ascii_is_encoded_once(each_site, path):
    expected = quote(path, safe="/?=")
    assert await lands_on(each_site, path, quoted=quoted(path)) == expected


@pytest.mark.parametrize("path", ["/café", "/日本?q=é"])
async def test_rd_01_raw_bytes_that_are_not_ascii_are_encoded_once(each_site, path):
    """Some servers pass them on as they came (ASGI: `raw_path` is the bytes of the request line)."""
    browser = each_site.browser()
    begun = await call(each_site.middleware, path.encode(), headers=NAVIGATION)
    keep(browser, begun)
    url = each_site.emulator.sign_in(begun.header("location") or "")
    done = await call(each_site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser))
    assert done.header("location") == quote(path, safe="/?=")


async def test_rd_01_without_a_raw_path_the_page_comes_back_all_the_same(each_site):
    """`raw_path` is optional in ASGI."""
    browser = each_site.browser()
    begun = await call(each_site.middleware, "/a%20b/caf%C3%A9?x=%26", headers=NAVIGATION, raw_path=None)
    keep(browser, begun)
    url = each_site.emulator.sign_in(begun.header("location") or "")
    done = await call(each_site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser))
    assert done.header("location") == "/a%20b/caf%C3%A9?x=%26"


# --- RD-02 ----------------------------------------------------------------------------------------------


def test_rd_02_the_corpus_is_large():
    assert len(set(payloads())) > 400


@pytest.mark.by_the_thousand
async def test_rd_02_what_is_plainly_elsewhere_leads_to_the_default(new_each_site):
    site = new_each_site(after_login=DEFAULT)
    wrong = {}
    for payload in LISTED:
        location = await lands_on(site, payload, quoted=quoted(payload))
        own = payload.split("://app.example.com", 1)[-1] if "://app.example.com/" in payload else DEFAULT
        if location not in (DEFAULT, own):  # a URL of this very site is a path of it
            wrong[payload] = location
    assert wrong == {}


@pytest.mark.by_the_thousand
async def test_rd_02_no_return_to_leads_away(new_site):
    site = new_site(after_login=DEFAULT)
    wrong = {}
    for payload in payloads():
        location = await lands_on(site, payload, quoted=quoted(payload))
        if location != DEFAULT and not is_harmless(location):
            wrong[payload] = location
        assert_on_site(location)
    assert wrong == {}


@pytest.mark.by_the_thousand
async def test_rd_02_no_return_to_that_came_unencoded_leads_away(new_site):
    site = new_site(after_login=DEFAULT)
    wrong = {}
    for payload in payloads():
        raw = payload.replace("&", "%26").encode("utf-8", "replace").decode("latin-1")
        if (await call(site.middleware, f"/auth/login?return_to={raw}")).status == 400:
            continue  # not UTF-8
        location = await lands_on(site, payload, quoted=raw)
        if location != DEFAULT and not is_harmless(location):
            wrong[payload] = location
    assert wrong == {}


@pytest.mark.by_the_thousand
async def test_rd_02_no_page_leads_away(new_site):
    """The request's own target is where a sign-in leads, and an attacker writes the link: to it and nowhere else."""
    site = new_site(after_login=DEFAULT)
    wrong = {}
    for payload in payloads():
        browser = site.browser()
        begun = await call(site.middleware, payload.encode("utf-8", "replace") or b"/", headers=NAVIGATION)
        if begun.status != 303:
            assert begun.status == 400, payload
            continue
        keep(browser, begun)
        url = site.emulator.sign_in(begun.header("location") or "")
        done = await call(site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser))
        location = done.header("location") or ""
        if location != DEFAULT and unquote_to_bytes(location) != unquote_to_bytes(payload.encode() or b"/"):
            wrong[payload] = location
        assert_on_site(location)
    assert wrong == {}


async def test_rd_02_a_logout_leads_where_the_settings_say(new_each_site):
    site = new_each_site(after_logout="/bye")
    wrong = {}
    for payload in LISTED:
        for name in ("return_to", "next", "redirect", "post_logout_redirect_uri", "rd"):
            headers = {**NAVIGATION, "sec-fetch-site": "same-origin", "referer": f"https://{EVIL}/"}
            target = f"/auth/logout?{name}={quoted(payload)}"
            answer = await call(site.middleware, target, method="POST", headers=headers)
            if answer.header("location") != "/bye":
                wrong[payload] = answer.header("location")
    assert wrong == {}


@pytest.mark.by_the_thousand
async def test_rd_02_no_link_on_a_page_or_in_a_problem_leads_away(new_site):
    """`login_url` is built from where the person is, which headers say that anybody can send."""
    site = new_site(after_login=DEFAULT)
    wrong = {}
    for payload in payloads():
        for before in ("", ORIGIN, f"{ORIGIN}/"):
            value = (before + payload).encode("utf-8", "replace").decode("latin-1")
            for name in ("referer", "hx-current-url"):
                answer = await call(
                    site.middleware, "/x", headers={**FETCH, "hx-request": "true", name: value.replace("\n", " ")}
                )
                login_url = json.loads(answer.body)["login_url"]
                assert answer.header("hx-redirect") == login_url
                path, _, wanted = login_url.partition("?return_to=")
                if path != "/auth/login" or not is_harmless(unquote(wanted)) or not is_harmless(login_url):
                    wrong[value] = login_url
    assert wrong == {}


async def test_rd_02_what_a_return_to_may_name_does_not_reach_the_authorization_request(site):
    answer = await call(
        site.middleware,
        "/auth/login?return_to=/x&redirect_uri=https://evil.example&client_id=x&scope=admin&state=known&nonce=known"
        "&response_type=token&code_challenge=x&login_hint=mira%40example.com&prompt=login&ui_locales=de&acr_values=x",
    )
    location = answer.header("location") or ""
    names = [pair.partition("=")[0] for pair in location.partition("?")[2].split("&")]
    ours = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce"]
    proof = ["code_challenge", "code_challenge_method"]
    assert sorted(names) == sorted([*ours, *proof, "login_hint", "prompt", "ui_locales", "acr_values"])
    assert EVIL not in location
    assert "=known" not in location
    assert "=admin" not in location


TEXT = st.text(max_size=60) | st.text(alphabet="/\\.%2fF5cC0aAdD9eE;?#@: \t\r\n\0\x7fé\uff0fevil", max_size=30)


@settings(deadline=None, max_examples=400)
@given(TEXT | TEXT.map(lambda text: "/" + text))
@example("/%")
@example("/%2")
def test_rd_02_a_return_to_is_the_default_or_a_path_of_this_site(target):
    found = return_to(target, DEFAULT)
    assert found == DEFAULT or is_harmless(found)
    assert_on_site(found)
    assert found.startswith("/")
    assert return_to(found, DEFAULT) == found, "it is stable"


# --- RD-07 ----------------------------------------------------------------------------------------------

BREAKS = [
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\x0b",
    "\x0c",
    "\x85",
    "\u2028",
    "\u560a",
    "\u560d\u560a",
    "%0d%0a",
    "%0a",
    "%E5%98%8A",
    "\x1b[31m",
]


async def test_rd_07_line_breaks_make_one_well_formed_location(each_site):
    wrong = {}
    for line_break in BREAKS:
        for path in (f"/x{line_break}Set-Cookie: a=b", f"/x?q={line_break}y", f"{line_break}/x", f"/x#{line_break}"):
            for raw in (quoted(path), path.encode().decode("latin-1").replace("#", "%23")):
                # `lands_on` holds every header to its grammar.
                location = await lands_on(each_site, path, quoted=raw.replace("&", "%26"))
                if not re.fullmatch(r"[\x21-\x7e]+", location):
                    wrong[path] = location
                assert_on_site(location)
    assert wrong == {}


async def test_rd_07_line_breaks_in_the_page_itself_do_no_harm(each_site):
    for line_break in BREAKS:
        for target in (f"/x{line_break}Set-Cookie:a=b", f"/x?{line_break}Set-Cookie:a=b"):
            answer = await call(each_site.middleware, target.encode(), headers=NAVIGATION)
            assert answer.status in (303, 400)
            assert all(name.startswith(f"{SESSION}-login-") for name in answer.set_cookies)


# --- RD-08 ----------------------------------------------------------------------------------------------

LONG = {
    "8 kB": "/" + "a" * 8_192,
    "64 kB": "/" + "a" * 65_536,
    "at the limit": "/" + "a" * 3_999,
    "spaces": "/x?q=" + " " * 1_990,
    "quotes": "/x?q=" + '"' * 1_990,
    "two bytes a character": "/" + "é" * 999,
    "three bytes a character": "/" + "語" * 660,
    "four bytes a character": "/" + "\N{PILE OF POO}" * 490,
    "percent signs": "/x?q=" + "%" * 1_990,
    "slashes": "/x" + "/" * 1_990,
    "segments": "/x" * 990,
    "fragment": "/x#" + "f" * 8_192,
}


@pytest.mark.parametrize("name", LONG)
async def test_rd_08_a_long_return_to_leaves_a_cookie_that_browsers_keep(site, name):
    path = LONG[name]
    location = await lands_on(site, path, quoted=quoted(path))  # holds each Set-Cookie to 4,096 bytes
    assert_on_site(location)
    assert len(location) <= 4096


async def test_rd_08_a_page_with_a_long_query_is_signed_in_to_all_the_same(each_site):
    for target in ("/x?q=" + "a" * 8_000, "/" + "b" * 60_000, "/x?" + "&".join(f"p{n}={n}" for n in range(5000))):
        browser = each_site.browser()
        answer = await browser.navigate(target)
        assert answer.status_code == 303
        assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
        done = await browser.navigate(each_site.emulator.sign_in(answer.headers["location"]))
        assert_on_site(done.headers["location"])
        assert await subject(browser)


async def test_rd_08_long_pages_in_several_tabs_stay_within_what_a_header_may_hold(each_site):
    browser = each_site.browser()
    for number in range(12):
        each_site.clock.advance(1)
        await browser.navigate(f"/x?{number}=" + "é" * 600)
    total = sum(len(f"{cookie.name}={cookie.value}; ") for cookie in browser.cookies.jar)
    assert total <= 4096


# --- what DESIGN says besides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/auth/login",
        "/auth/login?return_to=/x",
        "/auth/logout",
        "/auth/callback?code=x&state=y",
        "/auth/session",
        "/auth/%6cogin",
        "/auth/login#x",
        "/%61uth/callback?code=x&state=y",
    ],
)
async def test_rd_a_sign_in_does_not_lead_back_to_our_own_routes(new_site, path):
    """That would be a sign-in after a sign-in, or an error page right after one."""
    site = new_site(after_login=DEFAULT)
    assert await lands_on(site, path, quoted=quoted(path)) == DEFAULT


async def test_rd_a_sign_in_from_a_page_of_a_mounted_application_leads_back_to_it(each_site):
    browser = each_site.browser()
    begun = await call(each_site.middleware, "/mounted/page?x=1", headers=NAVIGATION, root_path="/mounted")
    keep(browser, begun)
    answer = await browser.navigate(each_site.emulator.sign_in(begun.header("location") or ""))
    assert answer.headers["location"] == "/mounted/page?x=1"
    assert set_cookies(answer)
