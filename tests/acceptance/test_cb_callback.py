"""CB: the callback, `state`, and the login that it belongs to."""

from __future__ import annotations

import asyncio
import string
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lumin_middleware import AuthorizationServer
from tests.acceptance.harness import (
    LOGIN,
    REVOKE,
    SESSION,
    TOKEN,
    Witness,
    assert_on_site,
    call,
    cookies,
    login_cookies,
    put_cookie,
    session_cookies,
    session_records,
    subject,
    with_cookies,
)
from tests.site_rig import NAVIGATION, ORIGIN, query, set_cookies

CALLBACK = "/auth/callback"


def callback(**parameters: str) -> str:
    return f"{CALLBACK}?{urlencode(parameters)}"


# --- CB-01 ----------------------------------------------------------------------------------------------


async def test_cb_01_a_callback_sets_the_session_and_leads_to_the_page(each_site):
    browser = each_site.browser()
    begun = each_site.emulator.sign_in(await browser.begin("/page?x=1&y=%26"))
    assert len(login_cookies(browser)) == 1
    answer = await browser.navigate(begun)
    location = answer.headers["location"]
    assert answer.status_code in (302, 303)
    assert location == "/page?x=1&y=%26"
    assert session_cookies(browser)
    assert login_cookies(browser) == {}
    assert not {"code", "state", "scope", "iss"} & query(f"{ORIGIN}{location}").keys()
    assert await subject(browser)


async def test_cb_01_a_return_to_in_the_callback_is_ignored(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/mine"))
    answer = await browser.navigate(f"{url}&return_to=/elsewhere&next=https://evil.example&redirect=//evil.example")
    assert answer.headers["location"] == "/mine"


async def test_cb_01_what_hydra_adds_to_a_callback_does_no_harm(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/mine"))
    assert "scope=" in url
    answer = await browser.navigate(f"{url}&session_state=x&authuser=0&hd=&foo%5B%5D=1")
    assert answer.headers["location"] == "/mine"


async def test_cb_01_the_login_cookie_is_deleted_with_the_attributes_it_was_set_with(each_site):
    browser = each_site.browser()
    url = await browser.begin()
    [name] = login_cookies(browser)
    answer = await browser.navigate(each_site.emulator.sign_in(url))
    assert set_cookies(answer)[name] == f"{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"


# --- CB-02 ----------------------------------------------------------------------------------------------


async def test_cb_02_a_state_that_is_not_ours_is_refused_before_the_code_is_spent(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/mine"))
    code, state = query(url)["code"], query(url)["state"]
    witness = Witness(each_site, browser)
    wrong = {
        "missing": {"code": code},
        "empty": {"code": code, "state": ""},
        "space before": {"code": code, "state": f" {state}"},
        "space after": {"code": code, "state": f"{state} "},
        "NUL after": {"code": code, "state": f"{state}\0"},
        "newline after": {"code": code, "state": f"{state}\n"},
        "half": {"code": code, "state": state[: len(state) // 2]},
        "twice as long": {"code": code, "state": state * 2},
        "other case": {"code": code, "state": state.swapcase()},
        "somebody's": {"code": code, "state": "A" * len(state)},
        "encoded twice": {"code": code, "state": quote(state, safe="").replace("%", "%25") + "%20"},
        "not ASCII": {"code": code, "state": state[:-1] + "é"},
        "look-alike": {"code": code, "state": "\N{FULLWIDTH LATIN SMALL LETTER A}" + state[1:]},
        "other name": {"code": code, "State": state},
        "array": {"code": code, "state[]": state},
    }
    for name, parameters in wrong.items():
        answer = await call(each_site.middleware, callback(**parameters), headers=with_cookies(browser))
        assert 400 <= answer.status < 500, name
        assert not [cookie for cookie in answer.set_cookies if not cookie.startswith(LOGIN)], name
    assert witness.token_calls() == 0
    assert session_records(each_site) == {}
    assert (await browser.navigate(url)).headers["location"] == "/mine", "the login itself must have survived"


async def test_cb_02_a_state_altered_by_one_character_is_refused(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin())
    code, state = query(url)["code"], query(url)["state"]
    witness = Witness(each_site, browser)
    for position, character in enumerate(state):
        for other in ("A", "b", "-"):
            if other != character:
                altered = state[:position] + other + state[position + 1 :]
                answer = await call(
                    each_site.middleware, callback(code=code, state=altered), headers=with_cookies(browser)
                )
                assert 400 <= answer.status < 500
    assert witness.token_calls() == 0


async def test_cb_02_the_state_of_another_login_of_this_browser_does_not_fit_the_code(each_site):
    browser = each_site.browser()
    first = each_site.emulator.sign_in(await browser.begin("/a"))
    second = each_site.emulator.sign_in(await browser.begin("/b"))
    witness = Witness(each_site, browser)
    # Both states are this browser's, so a token call may follow; PKCE and the nonce keep the code from fitting.
    answer = await browser.navigate(callback(code=query(first)["code"], state=query(second)["state"]))
    witness.assert_rejected(answer)


async def test_cb_02_cookies_swapped_among_logins_are_refused(each_site):
    """The cookie's name says whose login it is; whoever can write cookies must not be able to exchange them."""
    browser = each_site.browser()
    first = each_site.emulator.sign_in(await browser.begin("/a"))
    each_site.emulator.sign_in(await browser.begin("/b"))
    (name_a, value_a), (name_b, value_b) = login_cookies(browser).items()
    put_cookie(browser, name_a, value_b)
    put_cookie(browser, name_b, value_a)
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(first), token_calls=0)


async def test_cb_02_a_login_of_another_site_with_another_key_is_refused(each_site):
    browser = each_site.browser()
    other = each_site.with_settings(secret_key=bytes(range(7, 250, 6)) * 1)
    url = await other.browser().begin("/x")
    stranger = other.browser()
    url = other.emulator.sign_in(await stranger.begin("/x"))
    for name, value in cookies(stranger).items():
        put_cookie(browser, name, value)
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=0)


async def test_cb_02_a_session_cookie_is_not_taken_for_a_login(each_site):
    """Both are sealed with the same secret: only the purpose tells them apart."""
    browser = each_site.browser()
    await browser.sign_in()
    [value] = session_cookies(browser).values()
    begun = await browser.navigate("/auth/login?return_to=/x")
    url = each_site.emulator.sign_in(begun.headers["location"])
    [name] = login_cookies(browser)
    put_cookie(browser, name, value)
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=0)


async def test_cb_02_a_login_cookie_is_not_taken_for_a_session(each_site):
    browser = each_site.browser()
    await browser.begin("/x")
    [value] = login_cookies(browser).values()
    put_cookie(browser, SESSION, value)
    assert await subject(browser) is None


async def test_cb_02_the_code_of_a_login_that_took_too_long_is_not_sent_though_the_browser_kept_the_cookie(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"))
    each_site.clock.advance(31 * 60)
    answer = await browser.navigate(url)
    assert answer.headers["location"].startswith(f"{each_site.emulator.base}/oauth2/auth?")
    assert query(answer.headers["location"])["state"] != query(url)["state"]
    assert each_site.emulator.calls_to(TOKEN) == []
    assert session_cookies(browser) == {}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["code", "state", "error", "error_description", "iss", "scope", "x", "code[]", ""]),
            st.text(max_size=30),
        ),
        max_size=6,
    ),
    junk=st.text(alphabet=string.printable, max_size=10),
)
async def test_cb_02_no_query_of_a_strangers_making_signs_anybody_in(each_site, pairs, junk):
    answer = await call(
        each_site.middleware,
        f"{CALLBACK}?{urlencode(pairs, errors='replace')}&{junk}".encode("latin-1", "replace"),
        headers=NAVIGATION,
    )
    assert 400 <= answer.status < 500
    assert each_site.emulator.calls_to(TOKEN) == []
    assert not any(name.startswith(SESSION) and not name.startswith(LOGIN) for name in answer.set_cookies)


# --- CB-03 ----------------------------------------------------------------------------------------------


async def test_cb_03_a_callback_that_somebody_else_began_does_not_sign_the_victim_in(each_site):
    attacker, victim = each_site.browser(), each_site.browser()
    url = each_site.emulator.sign_in(await attacker.begin("/trap"))
    witness = Witness(each_site, victim)
    answer = await victim.navigate(url, **{"sec-fetch-site": "cross-site"})
    witness.assert_rejected(answer, token_calls=0)
    assert cookies(victim) == {}
    assert "location" not in answer.headers, "no automatic restart: that would sign the victim in unasked"


async def test_cb_03_a_victim_who_is_signed_in_stays_who_they_are(each_site):
    people = list(each_site.emulator.users)
    attacker, victim = each_site.browser(), each_site.browser()
    await victim.sign_in(sub=people[0])
    before = cookies(victim)
    url = each_site.emulator.sign_in(await attacker.begin("/trap"), sub=people[1])
    witness = Witness(each_site, victim)
    witness.assert_rejected(await victim.navigate(url), token_calls=0)
    assert {name: value for name, value in cookies(victim).items() if name in before} == before
    assert await subject(victim) == people[0]


async def test_cb_03_a_victim_in_the_middle_of_their_own_login_is_not_caught_either(each_site):
    people = list(each_site.emulator.users)
    attacker, victim = each_site.browser(), each_site.browser()
    own = each_site.emulator.sign_in(await victim.begin("/mine"), sub=people[0])
    trap = each_site.emulator.sign_in(await attacker.begin("/trap"), sub=people[1])
    witness = Witness(each_site, victim)
    witness.assert_rejected(await victim.navigate(trap), token_calls=0)
    # The attacker's code with the victim's state: PKCE binds the code to the attacker's browser.
    mixed = callback(code=query(trap)["code"], state=query(own)["state"])
    witness.assert_rejected(await victim.navigate(mixed))
    assert await subject(victim) is None


async def test_cb_03_a_used_callback_of_the_attacker_does_not_change_who_the_victim_is(each_site):
    people = list(each_site.emulator.users)
    attacker, victim = each_site.browser(), each_site.browser()
    url = each_site.emulator.sign_in(await attacker.begin("/trap"), sub=people[1])
    await attacker.navigate(url)
    await victim.sign_in(sub=people[0])
    answer = await victim.navigate(url)
    assert not any(name.startswith(SESSION) and not name.startswith(LOGIN) for name in set_cookies(answer))
    if answer.status_code == 303:
        assert_on_site(answer.headers["location"])
    else:
        assert 400 <= answer.status_code < 500
    assert await subject(victim) == people[0]


async def test_cb_03_other_workers_of_the_site_refuse_it_too(each_site):
    attacker = each_site.browser()
    url = each_site.emulator.sign_in(await attacker.begin("/trap"))
    victim = each_site.with_settings().browser()
    answer = await victim.navigate(url)
    assert answer.status_code == 400
    assert each_site.emulator.calls_to(TOKEN) == []


# --- CB-04 ----------------------------------------------------------------------------------------------


async def test_cb_04_a_callback_that_comes_again_redeems_nothing_and_signs_nobody_out(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/page"))
    await browser.navigate(url)
    who = await subject(browser)
    for _ in range(3):
        again = await browser.navigate(url)
        assert (again.status_code, again.headers["location"]) == (303, "/page")
        assert session_cookies(browser) != {}
    assert len(each_site.emulator.calls_to(TOKEN)) == 1
    assert each_site.emulator.reuse_events == 0
    assert each_site.emulator.calls_to(REVOKE) == []
    assert await subject(browser) == who


async def test_cb_04_a_double_click_redeems_once(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/page"))
    headers = with_cookies(browser)
    target = url.removeprefix(ORIGIN)
    answers = await asyncio.gather(*(call(each_site.middleware, target, headers=headers) for _ in range(8)))
    assert len([answer for answer in answers if SESSION in answer.set_cookies]) == 1
    assert [(answer.status, answer.header("location")) for answer in answers] == [(303, "/page")] * 8
    assert len(each_site.emulator.calls_to(TOKEN)) == 1
    assert each_site.emulator.reuse_events == 0


async def test_cb_04_a_double_click_on_two_workers_redeems_once(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/page"))
    workers = [each_site.middleware] + [each_site.with_settings().middleware for _ in range(3)]
    target, headers = url.removeprefix(ORIGIN), with_cookies(browser)
    answers = await asyncio.gather(*(call(worker, target, headers=headers) for worker in workers))
    assert [(answer.status, answer.header("location")) for answer in answers] == [(303, "/page")] * 4
    assert len([answer for answer in answers if SESSION in answer.set_cookies]) == 1
    assert len(each_site.emulator.calls_to(TOKEN)) == 1


async def test_cb_04_whoever_copied_the_url_and_the_cookies_gets_nothing_later(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/page"))
    copied = with_cookies(browser)
    await browser.navigate(url)
    answer = await call(each_site.middleware, url.removeprefix(ORIGIN), headers=copied)
    assert (answer.status, answer.header("location")) == (303, "/page"), "as for a browser whose answer was lost"
    assert answer.set_cookies.get(SESSION) is None
    assert len(each_site.emulator.calls_to(TOKEN)) == 1


async def test_cb_04_the_callback_after_a_logout_does_not_sign_in_again(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/page"))
    await browser.navigate(url)
    await browser.log_out()
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=0)
    assert await subject(browser) is None


# --- CB-06 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("/a", "/b"), ("/b", "/a")], ids=["in order", "crosswise"])
async def test_cb_06_two_tabs_sign_in_side_by_side(each_site, order):
    browser = each_site.browser()
    urls = {path: each_site.emulator.sign_in(await browser.begin(path)) for path in ("/a", "/b")}
    for path in order:
        answer = await browser.navigate(urls[path])
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert await subject(browser)
    assert login_cookies(browser) == {}


async def test_cb_06_eight_tabs_begin_at_once_and_all_of_them_end_signed_in(each_site):
    browser = each_site.browser()
    paths = [f"/tab/{number}" for number in range(8)]
    urls = [each_site.emulator.sign_in(await browser.begin(path)) for path in paths]
    for path, url in zip(paths, urls, strict=True):
        answer = await browser.navigate(url)
        assert (answer.status_code, answer.headers.get("location")) == (303, path)
    assert await subject(browser)


# --- CB-07 ----------------------------------------------------------------------------------------------

ERRORS = [
    "access_denied",
    "consent request denied",
    "login request denied",
    "login_required",
    "consent_required",
    "invalid_scope",
    "invalid_state",
    "unsupported_response_type",
    "something of their own",
]


async def test_cb_07_an_error_is_told_and_ends_the_login(each_site):
    for error in ERRORS:
        browser = each_site.browser()
        url = await browser.begin("/x")
        good = each_site.emulator.sign_in(url)
        witness = Witness(each_site, browser)
        answer = await browser.navigate(each_site.emulator.sign_in(url, deny=error))
        assert 400 <= answer.status_code < 500, error
        witness.assert_rejected(answer, token_calls=0)
        assert login_cookies(browser) == {}
        assert 'href="/auth/login' in answer.text
        witness.assert_rejected(await browser.navigate(good), token_calls=0)  # it was consumed


@pytest.mark.parametrize(("error", "status"), [("server_error", 502), ("temporarily_unavailable", 503)])
async def test_cb_07_an_error_of_the_servers_own_is_its_fault(site, error, status):
    browser = site.browser()
    answer = await browser.navigate(site.emulator.sign_in(await browser.begin("/x"), deny=error))
    answer = await browser.navigate(site.emulator.sign_in(answer.headers["location"], deny=error))
    assert answer.status_code == status
    assert site.emulator.calls_to(TOKEN) == []


async def test_cb_07_an_existing_session_survives_an_error(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    who = await subject(browser)
    begun = await browser.navigate("/auth/login?return_to=/x")
    witness = Witness(each_site, browser)
    answer = await browser.navigate(each_site.emulator.sign_in(begun.headers["location"], deny=True))
    witness.assert_rejected(answer, token_calls=0)
    assert await subject(browser) == who


async def test_cb_07_an_error_without_a_login_is_refused_and_says_nothing_of_the_senders(each_site):
    browser = each_site.browser()
    witness = Witness(each_site, browser)
    answer = await browser.navigate(callback(error="access_denied", error_description="Call 555-1234", state="x" * 32))
    witness.assert_rejected(answer, token_calls=0)
    assert "Call 555" not in answer.text


# --- CB-09 ----------------------------------------------------------------------------------------------


def malformed(code: str, state: str) -> dict[str, str]:
    """Queries that no server sends, by what is wrong with them."""
    good = urlencode({"state": state})
    return {
        "code and error": f"{good}&code={code}&error=access_denied",
        "code and empty error": f"{good}&code={code}&error=",
        "no code": good,
        "no code, empty error": f"{good}&error=",
        "empty code": f"{good}&code=",
        "code[]": f"{good}&code[]={code}",
        "code%5B%5D": f"{good}&code%5B%5D={code}",
        "code[0]": f"{good}&code[0]={code}",
        "code twice": f"{good}&code={code}&code={code}",
        "code twice, different": f"{good}&code={code}&code=x",
        "state twice": f"{good}&{good}&code={code}",
        "state twice, different": f"state=x&{good}&code={code}",
        "error twice": f"{good}&error=a&error=b",
        "iss twice": f"{good}&code={code}&iss=a&iss=b",
        "not UTF-8": f"{good}&code=%ff%fe",
        "overlong UTF-8": f"{good}&code=%c0%af",
        "half an escape": f"{good}&code=%e",
        "no equals": f"{good}&code",
        "semicolons": f"state={state};code={code}",
        "only the names": "code&state",
        "encoded ampersand": f"state={state}%26code={code}",
        "a surrogate": f"{good}&code=%ed%a0%80",
        "thousand parameters": f"{good}&" + "&".join(f"p{number}=" for number in range(1000)),
        "empty": "",
        "question marks": f"?{good}&?code={code}",
    }


async def test_cb_09_a_malformed_callback_is_refused(each_site):
    wrong = []
    for name in malformed("", ""):
        browser = each_site.browser()
        url = each_site.emulator.sign_in(await browser.begin("/x"))
        witness = Witness(each_site, browser)
        target = f"{CALLBACK}?{malformed(query(url)['code'], query(url)['state'])[name]}"
        answer = await call(each_site.middleware, target, headers=with_cookies(browser))
        if not 400 <= answer.status < 500 or (witness.token_calls() and name != "half an escape"):
            wrong.append((name, answer.status, witness.token_calls()))
        if SESSION in answer.set_cookies:
            wrong.append((name, "signed in"))
    assert wrong == []
    assert session_records(each_site) == {}


async def test_cb_09_an_empty_post_and_other_methods_do_not_redeem(each_site):
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "get"):
        browser = each_site.browser()
        url = each_site.emulator.sign_in(await browser.begin("/x"))
        for body, target in ((b"", CALLBACK), (b"", url), (urlsplit(url).query.encode(), CALLBACK)):
            answer = await call(
                each_site.middleware,
                target.removeprefix(ORIGIN),
                method=method,
                headers=with_cookies(browser, **{"content-type": "application/x-www-form-urlencoded"}),
                body=body,
            )
            assert 400 <= answer.status < 500, method
            assert SESSION not in answer.set_cookies
    assert each_site.emulator.calls_to(TOKEN) == []


@pytest.mark.parametrize(
    "header",
    [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ],
)
async def test_cb_09_a_prefetch_does_not_redeem_and_spoils_nothing(each_site, header):
    """A link scanner or a browser that looks ahead must not use the code up."""
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"))
    answer = await browser.navigate(url, **dict([header]))
    assert 400 <= answer.status_code < 500
    assert each_site.emulator.calls_to(TOKEN) == []
    assert (await browser.navigate(url)).headers["location"] == "/x"


# --- CB-11 ----------------------------------------------------------------------------------------------


def issuers(issuer: str) -> dict[str, str]:
    """`iss` values that are another issuer's, by what is wrong with them."""
    return {
        "other": "https://evil.example",
        "empty": "",
        "upper case": issuer.upper(),
        "path": f"{issuer}/tenant",
        "two slashes": f"{issuer}//",
        "query": f"{issuer}?",
        "fragment": f"{issuer}#",
        "space": f"{issuer} ",
        "encoded twice": quote(quote(issuer, safe=""), safe=""),
        "suffix": f"{issuer}.evil.example",
        "userinfo": issuer.replace("://", "://x@"),
        "scheme": issuer.replace("http:", "https:"),
        "NUL": f"{issuer}\0",
        "newline": f"{issuer}\n",
    }


async def test_cb_11_an_answer_of_another_issuer_is_refused(each_site):
    for name, issuer in issuers(each_site.emulator.base).items():
        browser = each_site.browser()
        url = each_site.emulator.sign_in(await browser.begin("/x"))
        witness = Witness(each_site, browser)
        answer = await browser.navigate(f"{url}&{urlencode({'iss': issuer})}")
        assert 400 <= answer.status_code < 500, name
        witness.assert_rejected(answer, token_calls=0)


async def test_cb_11_an_error_of_another_issuer_is_refused_and_not_repeated(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"), deny="access_denied")
    witness = Witness(each_site, browser)
    answer = await browser.navigate(f"{url}&iss=https%3A%2F%2Fevil.example")
    witness.assert_rejected(answer, token_calls=0)
    assert "did not allow" not in answer.text


async def test_cb_11_the_same_issuer_is_accepted_and_so_is_none(each_site):
    for suffix in ("", f"&{urlencode({'iss': each_site.emulator.base})}"):
        browser = each_site.browser()
        url = each_site.emulator.sign_in(await browser.begin("/x"))
        assert (await browser.navigate(url + suffix)).headers["location"] == "/x"


@pytest.mark.parametrize("kind", ["code", "error"])
async def test_cb_11_no_issuer_is_refused_where_the_server_says_that_it_sends_one(new_each_site, kind):
    site = new_each_site()
    server = AuthorizationServer.at(site.emulator.base)
    site = site.with_settings(
        server=AuthorizationServer(**{**server.__dict__, "authorization_response_iss_parameter_supported": True})
    )
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"), deny=kind == "error")
    witness = Witness(site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=0)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    accepted = await browser.navigate(f"{url}&{urlencode({'iss': site.emulator.base})}")
    assert accepted.headers["location"] == "/x"


async def test_cb_11_what_discovery_says_of_the_issuer_parameter_counts(new_each_site):
    site = new_each_site()
    site = site.with_settings(server=AuthorizationServer.discover(site.emulator.base))
    document = {
        "issuer": site.emulator.base,
        "authorization_endpoint": f"{site.emulator.base}/oauth2/auth",
        "token_endpoint": f"{site.emulator.base}{TOKEN}",
        "jwks_uri": f"{site.emulator.base}/.well-known/jwks.json",
        "authorization_response_iss_parameter_supported": True,
    }
    site.emulator.faults.add("/.well-known/openid-configuration", body=document)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    witness = Witness(site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=0)


# --- what DESIGN says besides ---------------------------------------------------------------------------


async def test_cb_a_stray_callback_gets_a_page_with_a_way_to_start_again_and_no_restart(each_site):
    browser = each_site.browser()
    answer = await browser.navigate(callback(code="x", state="y" * 32))
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/auth/login' in answer.text
    assert "location" not in answer.headers
    assert "refresh" not in answer.headers
    assert "http-equiv" not in answer.text


async def test_cb_a_callback_whose_client_went_away_leaves_no_tokens(each_site):
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"))
    await call(each_site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser), gone=True)
    assert len(each_site.emulator.calls_to(TOKEN)) == 1
    assert len(each_site.emulator.calls_to(REVOKE)) == 1
    assert all(grant.revoked for grant in each_site.emulator.grants)


async def test_cb_a_callback_that_is_cancelled_while_the_code_is_redeemed_leaves_no_tokens(each_site):
    """Some servers cancel a request whose client has gone. What is redeemed by then nobody will ever get."""
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"))
    loop, reached = asyncio.get_running_loop(), asyncio.Event()

    async def tell() -> None:
        loop.call_soon_threadsafe(reached.set)

    each_site.emulator.faults.add(TOKEN, after=tell)
    task = asyncio.ensure_future(call(each_site.middleware, url.removeprefix(ORIGIN), headers=with_cookies(browser)))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await each_site.aclose()  # waits for what must not be cut short
    assert len(each_site.emulator.calls_to(REVOKE)) == 1
    assert all(grant.revoked for grant in each_site.emulator.grants)
