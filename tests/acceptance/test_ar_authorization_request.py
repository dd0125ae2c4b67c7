"""AR: how a sign-in begins."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from lumin_middleware import ConfigurationError
from tests.acceptance.harness import (
    LOGIN,
    TOKEN,
    TRIES,
    Witness,
    call,
    cookie_header,
    cookies,
    login_cookies,
    put_cookie,
    session_cookies,
    subject,
    with_cookies,
)
from tests.site_rig import CLIENT, NAVIGATION, ORIGIN, REDIRECT_URI, query, set_cookies

# --- AR-01 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/auth/login", "/page?x=1", "/"])
async def test_ar_01_the_request_holds_what_it_must_each_once(each_site, path):
    answer = await each_site.browser().navigate(path)
    assert answer.status_code in (302, 303)
    location = answer.headers["location"]
    assert location.partition("?")[0] == f"{each_site.emulator.base}/oauth2/auth"
    pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True, strict_parsing=True)
    assert set(Counter(name for name, _ in pairs).values()) == {1}
    found = dict(pairs)
    assert found.pop("state")
    assert found.pop("nonce")
    assert found.pop("code_challenge")
    assert found == {
        "response_type": "code",
        "client_id": CLIENT.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid offline_access sign:requests",
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize(
    "suffix",
    ["?tenant=a%20b", "?a=1&b=%26%3D", "?p=B2C_1_signin", "?x=&y", "?q=é".encode().decode("latin-1")[:3] + "1"],
)
async def test_ar_01_a_query_of_the_endpoint_is_kept(new_site, suffix):
    site = new_site()
    endpoint = f"{site.emulator.base}/oauth2/auth{suffix}"
    site = site.with_settings(server=replace(site.config.server, authorization_endpoint=endpoint))
    location = (await site.browser().navigate("/x")).headers["location"]
    kept = parse_qsl(suffix[1:], keep_blank_values=True)
    assert parse_qsl(urlsplit(location).query, keep_blank_values=True)[: len(kept)] == kept
    assert query(location)["client_id"] == CLIENT.client_id


@pytest.mark.parametrize("suffix", ["?x={y}", "?x=a|b", "?x=[1]", "?x=^", '?x="'])
async def test_ar_01_an_endpoint_is_refused_at_the_start_or_works(new_site, suffix):
    """A setting that only fails when somebody signs in is found too late."""
    site = new_site()
    endpoint = f"{site.emulator.base}/oauth2/auth{suffix}"
    try:
        site = site.with_settings(server=replace(site.config.server, authorization_endpoint=endpoint))
    except ConfigurationError:
        return
    assert (await site.browser().navigate("/x")).status_code == 303


async def test_ar_01_a_redirect_uri_with_a_query_is_sent_as_it_was_registered(new_site):
    uri = f"{ORIGIN}/auth/callback?tenant=a%20b&x=%2F"
    client = replace(CLIENT, redirect_uris=(uri,))
    site = new_site(redirect_uri=uri, emulator={"clients": [client]})
    browser = site.browser()
    url = await browser.begin("/x")
    assert query(url)["redirect_uri"] == uri
    callback = site.emulator.sign_in(url)
    assert (await browser.navigate(callback)).headers["location"] == "/x"
    assert site.emulator.calls_to(TOKEN)[0].form["redirect_uri"] == [uri]


async def test_ar_01_head_is_answered_as_get(each_site):
    answer = await call(each_site.middleware, "/auth/login", method="HEAD")
    assert answer.status == 303
    assert "/oauth2/auth?" in (answer.header("location") or "")


# --- AR-02 ----------------------------------------------------------------------------------------------


@pytest.mark.by_the_thousand
async def test_ar_02_ten_thousand_states_and_nonces_are_all_different(site):
    states, nonces, verifiers = set(), set(), set()
    for _ in range(10_000):
        answer = await call(site.middleware, "/auth/login", headers={"accept": "text/html"})
        found = query(answer.header("location") or "")
        states.add(found["state"])
        nonces.add(found["nonce"])
        verifiers.add(found["code_challenge"])
    assert (len(states), len(nonces), len(verifiers)) == (10_000, 10_000, 10_000)
    assert not states & nonces
    for value in (*states, *nonces):
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        assert len(raw) * 8 >= 128
    # Every bit position is set about as often as not: nobody writes a counter or a time into it.
    numbers = [int.from_bytes(base64.urlsafe_b64decode(state)[:16], "big") for state in states]
    for position in range(128):
        ones = sum(number >> position & 1 for number in numbers)
        assert 4_700 < ones < 5_300


async def test_ar_02_state_and_nonce_are_in_no_cookie_that_can_be_read(each_site):
    browser = each_site.browser()
    found = query(await browser.begin("/x"))
    for name, value in cookies(browser).items():
        readable = [value.encode(), name.encode()]
        for part in value.split("."):
            for start in range(4):
                text = part[start:]
                readable.append(base64.urlsafe_b64decode(text[: len(text) // 4 * 4]))
        for secret in (found["state"], found["nonce"]):
            raw = base64.urlsafe_b64decode(secret)
            assert not [text for text in readable if secret.encode() in text or raw in text], name


# --- AR-03 ----------------------------------------------------------------------------------------------


async def test_ar_03_the_verifier_fits_the_challenge_and_is_fresh(each_site):
    seen = set()
    for _ in range(20):
        browser = each_site.browser()
        url = await browser.begin("/x")
        await browser.navigate(each_site.emulator.sign_in(url))
        [verifier] = each_site.emulator.calls_to(TOKEN)[-1].form["code_verifier"]
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
        digest = hashlib.sha256(verifier.encode()).digest()
        assert query(url)["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert query(url)["code_challenge_method"] == "S256"
        assert verifier not in url
        seen.add(verifier)
    assert len(seen) == 20


async def test_ar_03_a_code_that_was_issued_without_our_challenge_is_not_taken(each_site):
    """A downgrade: the attacker takes the challenge out of the request, so that their code fits any verifier."""
    browser = each_site.browser()
    url = re.sub(r"&code_challenge(_method)?=[^&]+", "", await browser.begin("/x"))
    callback = each_site.emulator.sign_in(url)
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(callback))
    assert each_site.emulator.calls_to(TOKEN)[-1].form["code_verifier"]


async def test_ar_03_without_the_cookie_there_is_no_verifier_and_no_sign_in(each_site):
    browser = each_site.browser()
    callback = each_site.emulator.sign_in(await browser.begin("/x"))
    browser.cookies.clear()
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(callback), token_calls=0)


# --- AR-05 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/auth/login", "/page"])
async def test_ar_05_the_login_cookie_is_short_lived_and_protected_and_nothing_is_stored(each_site, path):
    answer = await each_site.browser().navigate(path)
    assert answer.headers["cache-control"] == "no-store"
    [(name, line)] = set_cookies(answer).items()
    assert re.fullmatch(rf"{LOGIN}[0-9a-f]{{16}}", name)
    value, *attributes = line.split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=1800", "Path=/", "SameSite=Lax", "Secure"]
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", value.partition("=")[2])


async def test_ar_05_nothing_is_stored_for_somebody_who_is_not_signed_in(each_site):
    for path in ("/auth/login", "/page", "/auth/logout", "/auth/session", "/auth/callback?state=x"):
        await each_site.browser().navigate(path)
    assert each_site.store._entries == {}


# --- AR-06 ----------------------------------------------------------------------------------------------


def total(browser) -> int:
    return sum(len(f"{name}={value}; ") for name, value in login_cookies(browser).items())


async def test_ar_06_thirty_navigations_leave_a_bounded_number_of_cookies(each_site):
    browser = each_site.browser()
    states = []
    for number in range(30):
        each_site.clock.advance(2)
        states.append(query(await browser.begin(f"/page/{number}"))["state"])
        assert len(login_cookies(browser)) <= 8
        assert total(browser) <= 4096
    names = {
        LOGIN + hashlib.sha256(state.encode()).hexdigest()[:16] for state in states[-len(login_cookies(browser)) :]
    }
    assert set(login_cookies(browser)) == names, "the oldest went"
    answer = await browser.sign_in("/after")
    assert answer.headers["location"] == "/after"
    assert await subject(browser)


async def test_ar_06_of_logins_within_one_second_the_oldest_go_first(each_site):
    """A browser that restores its tabs begins them all at once."""
    browser = each_site.browser()
    names: list[str] = []
    for number in range(12):
        await browser.begin(f"/page/{number}")
        names += [name for name in login_cookies(browser) if name not in names]
    assert set(login_cookies(browser)) == set(names[-len(login_cookies(browser)) :])


async def test_ar_06_parallel_requests_of_one_page_leave_a_bounded_number_of_cookies(each_site):
    browser = each_site.browser()
    target = "/page?x=" + "y" * 500
    answers = await asyncio.gather(*(call(each_site.middleware, target) for _ in range(30)))
    for answer in answers:  # all of them arrive in one jar
        for line in answer.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            put_cookie(browser, name, value)
    assert len(login_cookies(browser)) == 30
    answer = await browser.navigate("/next")
    gone = [name for name, line in set_cookies(answer).items() if line.startswith(f"{name}=;")]
    assert gone
    for _ in range(3):
        await browser.navigate("/next")
    assert len(login_cookies(browser)) <= 8
    assert total(browser) <= 4096
    assert (await browser.sign_in("/after")).headers["location"] == "/after"


async def test_ar_06_page_assets_and_calls_set_no_cookie_at_all(each_site):
    browser = each_site.browser()
    for destination in ("script", "style", "image", "font", "iframe", "empty", "worker"):
        headers = {"accept": "*/*", "sec-fetch-mode": "no-cors", "sec-fetch-dest": destination}
        for _ in range(5):
            answer = await browser.get("/asset", headers=headers)
            assert answer.status_code == 401
    assert cookies(browser) == {}


async def test_ar_06_cookies_that_are_no_logins_are_cleared_and_do_not_push_out_those_that_are(each_site):
    browser = each_site.browser()
    callback = each_site.emulator.sign_in(await browser.begin("/mine"))
    for number in range(40):
        put_cookie(browser, f"{LOGIN}{number:016x}", "A" * 300)
    for _ in range(4):
        await browser.navigate("/x")
    assert total(browser) <= 4096
    # Whoever can plant forty cookies can push one out; what must not be is that nobody can sign in any more.
    if (await browser.navigate(callback)).status_code != 303:
        assert (await browser.sign_in("/after")).headers["location"] == "/after"


async def test_ar_06_all_our_cookies_together_stay_below_what_servers_take(each_site):
    """8 KB of header is what nginx, gunicorn and others allow by default."""
    browser = each_site.browser()
    await browser.sign_in("/x")
    for number in range(20):
        each_site.clock.advance(1)
        await browser.navigate(f"/auth/login?return_to=/{number}" + "x" * 1500)
    assert len(cookie_header(browser)) < 6_500
    assert session_cookies(browser)


# --- what DESIGN says besides: the loop breaker ---------------------------------------------------------


async def round_trip(site, browser) -> str:
    """A sign-in of a browser that refuses the session's cookie but keeps the others."""
    begun = await browser.navigate("/page")
    if begun.status_code != 303:
        return begun.text
    done = await browser.navigate(site.emulator.sign_in(begun.headers["location"]))
    assert done.status_code == 303
    for name in session_cookies(browser):
        browser.cookies.delete(name)
    return ""


async def test_ar_a_browser_that_keeps_no_session_is_not_sent_round_for_ever(each_site):
    browser = each_site.browser()
    for _ in range(3):
        assert await round_trip(each_site, browser) == ""
        each_site.clock.advance(5)
    page = await round_trip(each_site, browser)
    assert "cookies" in page
    assert "http" in page
    assert "clock" in page
    assert len(each_site.emulator.calls_to(TOKEN)) == 3
    each_site.clock.advance(61)
    assert await round_trip(each_site, browser) == "", "after a minute it may try again"


async def test_ar_the_loop_page_is_an_error_with_a_way_out(each_site):
    browser = each_site.browser()
    for _ in range(3):
        await round_trip(each_site, browser)
    for path in ("/page", "/auth/login?return_to=/page"):
        answer = await browser.navigate(path)
        assert 400 <= answer.status_code < 500
        assert "location" not in answer.headers
        assert 'href="/auth/login' in answer.text
        assert answer.headers["cache-control"] == "no-store"


async def test_ar_somebody_who_is_signed_in_may_sign_in_again_as_often_as_they_like(each_site):
    browser = each_site.browser()
    await browser.sign_in("/x")
    for _ in range(6):
        begun = await browser.navigate("/auth/login?return_to=/y")
        assert begun.status_code == 303
        done = await browser.navigate(each_site.emulator.sign_in(begun.headers["location"]))
        assert done.headers["location"] == "/y"


async def test_ar_signing_in_and_out_again_and_again_is_no_loop(each_site):
    browser = each_site.browser()
    for _ in range(6):
        assert (await browser.sign_in("/x")).headers["location"] == "/x"
        await browser.log_out()


async def test_ar_many_tabs_that_begin_at_once_are_no_loop(each_site):
    browser = each_site.browser()
    for number in range(8):
        assert (await browser.navigate(f"/tab/{number}")).status_code == 303


async def test_ar_a_count_that_we_did_not_write_stops_nobody(each_site):
    browser = each_site.browser()
    for value in ("x", "", "[1,2,3,4]", "A" * 300, "99999999"):
        put_cookie(browser, TRIES, value)
        assert (await browser.navigate("/page")).status_code == 303


async def test_ar_the_count_of_another_browser_or_another_day_stops_nobody(each_site):
    browser = each_site.browser()
    for _ in range(3):
        await round_trip(each_site, browser)
    tries = cookies(browser)[TRIES]
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", tries)
    each_site.clock.advance(3600)
    later = each_site.browser()
    put_cookie(later, TRIES, tries)
    assert (await later.navigate("/page")).status_code == 303


# --- what DESIGN says besides: prefetch -----------------------------------------------------------------


@pytest.mark.parametrize("header", [("sec-purpose", "prefetch"), ("purpose", "prefetch"), ("x-moz", "prefetch")])
async def test_ar_a_prefetch_begins_no_sign_in(each_site, header):
    for path in ("/page", "/auth/login?return_to=/x"):
        answer = await call(each_site.middleware, path, headers={**NAVIGATION, **dict([header])})
        assert answer.status == 401
        assert answer.set_cookies == {}
        assert answer.header("location") is None


async def test_ar_a_new_sign_in_while_signed_in_keeps_the_session_until_it_is_done(each_site):
    people = list(each_site.emulator.users)
    browser = each_site.browser()
    await browser.sign_in(sub=people[0])
    begun = await browser.navigate("/auth/login?return_to=/y&prompt=login")
    assert query(begun.headers["location"])["prompt"] == "login"
    assert await subject(browser) == people[0]
    await browser.navigate(each_site.emulator.sign_in(begun.headers["location"], sub=people[1]))
    assert await subject(browser) == people[1]


async def test_ar_a_login_is_only_begun_with_get_or_head(each_site):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = await call(
            each_site.middleware, "/auth/login", method=method, headers=with_cookies(each_site.browser())
        )
        assert answer.status == 405
        assert answer.header("allow") == "GET, HEAD"
        assert answer.set_cookies == {}
