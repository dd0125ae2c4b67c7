"""MD: discovery, endpoints and keys."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from lumin_middleware import AuthorizationServer
from tests.acceptance.harness import DISCOVERY, JWKS, REVOKE, TOKEN, Witness, call, keep, subject, trouble, with_cookies
from tests.acceptance.test_id_identity import (
    ATTACKER,
    EVENT,
    assert_refused_at_login,
    assert_refused_at_refresh,
    changed,
    headed,
    signed,
)
from tests.site_rig import CLIENT, NAVIGATION, ORIGIN, Site

DAY = 86_400.0


def document(base: str, **changes: Any) -> dict[str, Any]:
    """A discovery document; `...` leaves a member out."""
    found = {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth2/auth",
        "token_endpoint": f"{base}{TOKEN}",
        "jwks_uri": f"{base}{JWKS}",
        "revocation_endpoint": f"{base}/oauth2/revoke",
        **changes,
    }
    return {name: value for name, value in found.items() if value is not ...}


def discovering(site: Site, **settings: Any) -> Site:
    return site.with_settings(server=AuthorizationServer.discover(site.emulator.base), **settings)


BAD: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503},
    "429": {"status": 429},
    "404": {"status": 404},
    "204": {"status": 204},
    "HTML": {"status": 200, "body": "<html>", "content_type": "text/html"},
    "empty": {"status": 200, "body": b"", "content_type": "application/json"},
    "array": {"status": 200, "body": "[]", "content_type": "application/json"},
    "null": {"status": 200, "body": "null", "content_type": "application/json"},
    "truncated": {"status": 200, "body": '{"issuer": "', "content_type": "application/json"},
    "not UTF-8": {"status": 200, "body": b'{"issuer":"\xff"}', "content_type": "application/json"},
    "deep": {"status": 200, "body": "[" * 100_000, "content_type": "application/json"},
    "too long": {"status": 200, "body": '{"x": "' + "y" * 2_000_000 + '"}', "content_type": "application/json"},
    "nothing in it": {"status": 200, "body": "{}", "content_type": "application/json"},
    "reset": {"drop": "before"},
    "redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "too late": {"delay": 30.0, "act": False},
}
BAD_KEYS: dict[str, dict[str, Any]] = {
    **BAD,
    "no keys": {"body": {"keys": []}},
    "keys is text": {"body": {"keys": "x"}},
    "keys is null": {"body": {"keys": None}},
    "keys of no kind": {"body": {"keys": [{"kty": "nobody-knows", "kid": "k"}]}},
    "broken keys": {"body": {"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}, {"kty": "RSA"}, 1, None, [], "x"]}},
    "keys that encrypt": {"body": {"keys": [{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}},
    "a private octet": {"body": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
    "a tiny key": {"body": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}},
}

# --- MD-01 ----------------------------------------------------------------------------------------------


def issuers(base: str) -> dict[str, Any]:
    port = base.rpartition(":")[2]
    return {
        "other": "https://evil.example",
        "missing": ...,
        "null": None,
        "empty": "",
        "list": [base],
        "object": {"issuer": base},
        "longer": f"{base}/tenant",
        "suffix": f"{base}.evil.example",
        "upper case": base.upper(),
        "other scheme": base.replace("http:", "https:"),
        "other name of the host": f"http://localhost:{port}",
        "two slashes": f"{base}//",
        "space": f"{base} ",
    }


async def test_md_01_a_document_of_another_issuer_sends_nobody_to_it(new_each_site, log):
    site = new_each_site()
    for name, issuer in issuers(site.emulator.base).items():
        other = discovering(site)
        site.emulator.faults.clear()
        evil = document(site.emulator.base, issuer=issuer, authorization_endpoint="https://evil.example/auth")
        site.emulator.faults.add(DISCOVERY, body=evil, times=None)
        browser = other.browser()
        witness = Witness(other, browser)
        for path in ("/auth/login", "/page"):
            answer = await browser.navigate(path)
            witness.assert_rejected(answer, token_calls=0)
            assert "location" not in answer.headers, name
            assert "set-cookie" not in answer.headers, name
    assert any("server.issuer" in line for line in log.lines)


async def test_md_01_only_known_names_are_taken_and_only_over_https(new_each_site, listener):
    site = new_each_site()
    for name, value in (
        ("authorization_endpoint", "http://evil.example/auth"),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("authorization_endpoint", "//evil.example/auth"),
        ("authorization_endpoint", "ftp://evil.example/"),
        ("authorization_endpoint", "https://user:secret@evil.example/"),
        ("token_endpoint", "http://evil.example/token"),
        ("token_endpoint", "file:///etc/passwd"),
        ("jwks_uri", "http://evil.example/keys"),
        ("token_endpoint", 1),
        ("authorization_endpoint", ["https://evil.example/"]),
        ("authorization_endpoint", ...),
        ("token_endpoint", ...),
    ):
        site.emulator.faults.clear()
        site.emulator.faults.add(DISCOVERY, body=document(site.emulator.base, **{name: value}), times=None)
        browser = discovering(site).browser()
        answer = await browser.navigate("/page")
        assert answer.status_code in (502, 503), (name, value)
        assert "location" not in answer.headers
    strange = {
        "client_id": "evil",
        "client_secret": "evil",
        "redirect_uri": listener.url,
        "discovery": True,
        "scope": "admin",
    }
    strange |= {"__class__": "x", "ENDPOINTS": [], "at": "x", "authorization_response_iss_parameter_supported": "yes"}
    site.emulator.faults.clear()
    site.emulator.faults.add(DISCOVERY, body=document(site.emulator.base, **strange), times=None)
    browser = discovering(site).browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"


async def test_md_01_a_field_that_is_set_wins_over_discovery(new_each_site):
    site = new_each_site()
    base = site.emulator.base
    server = AuthorizationServer(issuer=base, authorization_endpoint=f"{base}/oauth2/auth", discovery=True)
    evil = document(base, authorization_endpoint="https://evil.example/auth")
    site.emulator.faults.add(DISCOVERY, body=evil, times=None)
    browser = site.with_settings(server=server).browser()
    assert (await browser.begin("/x")).startswith(f"{base}/oauth2/auth?")


@pytest.mark.parametrize("configured", ["", "/"])
async def test_md_01_one_trailing_slash_is_tolerated(new_each_site, configured):
    site = new_each_site()
    base = site.emulator.base
    site.emulator.faults.add(DISCOVERY, body=document(base, issuer=base + ("" if configured else "/")), times=None)
    browser = site.with_settings(server=AuthorizationServer.discover(base + configured)).browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"


# --- MD-02 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [False, True], ids=["old key gone", "old key kept"])
async def test_md_02_new_keys_are_fetched_once_and_sign_ins_go_on(each_site, kept):
    for _ in range(3):
        await each_site.browser().sign_in()
    assert len(each_site.emulator.calls_to(JWKS)) == 1
    each_site.clock.advance(120)
    each_site.emulator.rotate_keys(keep=kept)
    for _ in range(3):
        assert (await each_site.browser().sign_in("/x")).headers["location"] == "/x"
    assert len(each_site.emulator.calls_to(JWKS)) == 2
    each_site.clock.advance(120)
    browser = each_site.browser()
    begun = await browser.begin("/y")
    each_site.emulator.rotate_keys(keep=kept)  # while the person is away; Hydra names the key when they come back
    assert (await browser.navigate(each_site.emulator.sign_in(begun))).headers["location"] == "/y"
    assert len(each_site.emulator.calls_to(JWKS)) == 3


async def test_md_02_many_sign_ins_that_see_a_new_key_fetch_it_once(each_site):
    await each_site.browser().sign_in()
    each_site.clock.advance(120)
    browsers = [each_site.browser() for _ in range(20)]
    begun = [await browser.begin("/x") for browser in browsers]
    each_site.emulator.rotate_keys(keep=False)
    callbacks = [each_site.emulator.sign_in(each) for each in begun]
    answers = await asyncio.gather(
        *(
            call(each_site.middleware, callback.removeprefix(ORIGIN), headers=with_cookies(browser))
            for browser, callback in zip(browsers, callbacks, strict=True)
        )
    )
    assert {answer.status for answer in answers} == {303}
    assert len(each_site.emulator.calls_to(JWKS)) == 2


async def test_md_02_a_refresh_that_sees_a_new_key_goes_on(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.emulator.rotate_keys(keep=False)
    each_site.clock.advance(3700)
    assert await subject(browser)


async def test_md_02_a_key_that_was_withdrawn_is_not_believed_for_ever(each_site):
    stolen: list[Any] = []

    def steal(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        stolen.append((dict(header), key))
        return headed()(header, claims, key)

    each_site.emulator.forge_id_token = steal
    await each_site.browser().sign_in()
    [(header, key)] = stolen
    each_site.emulator.rotate_keys(keep=False)
    each_site.clock.advance(3601)
    each_site.emulator.forge_id_token = lambda _header, claims, _key: headed()(header, claims, key)
    answer = await each_site.browser().sign_in()
    assert answer.status_code in (400, 502, 503)


async def test_md_02_while_the_keys_cannot_be_read_those_that_are_known_sign_people_in(each_site):
    """However long that is: nobody is kept out by it."""
    await each_site.browser().sign_in()
    with trouble(each_site, JWKS, status=503):
        each_site.clock.advance(3 * 86_400)
        assert (await each_site.browser().sign_in("/x")).headers["location"] == "/x"


@pytest.mark.parametrize("kept", [True, False], ids=["old key kept", "old key gone"])
async def test_md_02_a_new_key_signs_nobody_out(each_site, kept):
    """Refreshed ID tokens are signed with the new key, under the name of the old one (Hydra)."""
    browsers = [each_site.browser() for _ in range(5)]
    for browser in browsers:
        await browser.sign_in()
    each_site.emulator.rotate_keys(keep=kept)
    each_site.clock.advance(3700)
    for browser in browsers:
        assert await subject(browser)
    assert (await each_site.browser().sign_in("/x")).headers["location"] == "/x"
    assert each_site.emulator.calls_to(REVOKE) == []


@pytest.mark.parametrize("named", [True, False], ids=["its own name", "no name"])
async def test_md_02_a_key_that_was_replaced_under_its_own_name_is_found(site, named):
    first, second = (RSAKey.generate_key(2048, {"kid": "only", "use": "sig"}) for _ in range(2))
    for key in (first, second):
        site.emulator.faults.clear()
        site.emulator.faults.add(JWKS, body={"keys": [key.as_dict(private=False)]}, times=None)
        header = {"alg": "RS256", "kid": "only"} if named else {"alg": "RS256"}
        site.emulator.forge_id_token = lambda _header, claims, _key, header=header, key=key: signed(header, claims, key)
        for _ in range(3):
            assert (await site.browser().sign_in("/x")).headers["location"] == "/x"
    assert len(site.emulator.calls_to(JWKS)) == 2


# --- MD-03 ----------------------------------------------------------------------------------------------


@pytest.mark.by_the_thousand
async def test_md_03_unknown_keys_do_not_make_the_server_fetch_again_and_again(each_site):
    await each_site.browser().sign_in()
    before = len(each_site.emulator.calls_to(JWKS))
    for number in range(100):
        each_site.emulator.forge_id_token = headed(kid=f"random-{number}")
        answer = await each_site.browser().sign_in()
        assert answer.status_code in (502, 503)
        if number % 10 == 0:
            each_site.emulator.forge_id_token = None
            assert (await each_site.browser().sign_in("/x")).headers["location"] == "/x"
    assert len(each_site.emulator.calls_to(JWKS)) - before <= 1
    each_site.clock.advance(300)
    for number in range(20):
        each_site.emulator.forge_id_token = headed(kid=f"later-{number}")
        await each_site.browser().sign_in()
    assert len(each_site.emulator.calls_to(JWKS)) - before <= 2


async def test_md_03_unknown_keys_at_once_cause_one_fetch(each_site):
    await each_site.browser().sign_in()
    browsers = [each_site.browser() for _ in range(30)]
    callbacks = [each_site.emulator.sign_in(await browser.begin("/x")) for browser in browsers]
    each_site.emulator.forge_id_token = headed(kid="unknown")
    answers = await asyncio.gather(
        *(
            call(each_site.middleware, callback.removeprefix(ORIGIN), headers=with_cookies(browser))
            for browser, callback in zip(browsers, callbacks, strict=True)
        )
    )
    assert {answer.status for answer in answers} <= {502, 503}
    assert len(each_site.emulator.calls_to(JWKS)) <= 2


async def test_md_03_unknown_keys_do_not_keep_refreshes_from_going_on(each_site):
    """Somebody wears the pause out; a session whose token was signed with a new key must not end for it."""
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    each_site.emulator.forge_id_token = headed(kid="unknown")
    await each_site.browser().sign_in()
    each_site.emulator.forge_id_token = None
    each_site.emulator.rotate_keys(keep=False)
    assert await subject(browser)


FORGED = {
    "an unknown key": headed(kid="made-up"),
    "another signature": lambda header, claims, _key: signed(header, claims, ATTACKER),
    "another issuer": changed(iss="https://evil.example"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_md_03_forged_logout_tokens_do_not_keep_sign_ins_from_finding_a_new_key(new_each_site, forge):
    """They cost an attacker nothing."""
    site = new_each_site(backchannel_logout=True)
    await site.browser().sign_in()
    before = len(site.emulator.calls_to(JWKS))
    for _ in range(20):
        claims = {
            "iss": site.emulator.base,
            "aud": CLIENT.client_id,
            "iat": int(site.clock()),
            "jti": "j",
            "sid": "s",
            "events": {EVENT: {}},
        }
        token = forge({"alg": "RS256", "typ": "logout+jwt", "kid": "attacker"}, claims, ATTACKER)
        answer = await site.browser().post("/auth/backchannel-logout", data={"logout_token": token})
        assert answer.status_code in (400, 503)
    assert len(site.emulator.calls_to(JWKS)) <= before + 1
    site.emulator.rotate_keys(keep=False)
    assert (await site.browser().sign_in("/x")).headers["location"] == "/x"


async def test_md_03_retry_after_is_what_is_left_of_the_pause(each_site):
    await each_site.browser().sign_in()
    each_site.emulator.forge_id_token = headed(kid="unknown")
    assert (await each_site.browser().sign_in()).status_code == 502
    each_site.clock.advance(20)
    answer = await each_site.browser().sign_in()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "40")


# --- MD-05 ----------------------------------------------------------------------------------------------


async def test_md_05_bad_keys_never_replace_good_ones(each_site):
    await each_site.browser().sign_in()
    failed = []
    for name, fault in BAD_KEYS.items():
        each_site.clock.advance(3601)  # past the keys' lifetime
        with trouble(each_site, JWKS, **fault):
            for _ in range(2):
                answer = await each_site.browser().sign_in("/x")
                if answer.status_code != 303:
                    failed.append((name, answer.status_code))
    assert failed == []
    each_site.clock.advance(3601)
    each_site.emulator.rotate_keys(keep=False)
    assert (await each_site.browser().sign_in("/x")).headers["location"] == "/x"


async def test_md_05_without_a_good_copy_the_answer_is_503_and_the_next_attempt_asks_again(each_site):
    failed = []
    for name, fault in BAD_KEYS.items():
        other = each_site.with_settings()
        with trouble(each_site, JWKS, **fault):
            answer = await other.browser().sign_in("/x")
        if answer.status_code != 503 or int(answer.headers.get("retry-after", 0)) <= 0:
            failed.append((name, answer.status_code))
        each_site.clock.advance(60)
        answer = await other.browser().sign_in("/x")
        if answer.status_code != 303:
            failed.append((name, "did not recover"))
    assert failed == []


async def test_md_05_an_optional_page_is_served_by_a_fresh_process_whose_document_is_another_issuer_s(new_each_site):
    site = new_each_site(optional=["/maybe"])
    browser = site.browser()
    await browser.sign_in()
    fresh = discovering(site)
    site.clock.advance(3700)
    with trouble(site, DISCOVERY, body=document("https://elsewhere.example")):
        answer = await call(fresh.middleware, "/maybe", headers=with_cookies(browser))
        assert (answer.status, answer.set_cookies) == (200, {})
        assert (await call(fresh.middleware, "/page", headers=with_cookies(browser))).status == 502


async def test_md_05_a_bad_document_never_replaces_a_good_one(each_site):
    other = discovering(each_site)
    await other.browser().sign_in()
    failed = []
    base = each_site.emulator.base
    worse: dict[str, dict[str, Any]] = {
        **BAD,
        "no endpoints": {"body": {"issuer": base}},
        "endpoints over http": {"body": document(base, token_endpoint="http://evil.example/token")},
        "another issuer": {"body": document("https://evil.example")},
    }
    for name, fault in worse.items():
        each_site.clock.advance(DAY + 1)
        with trouble(each_site, DISCOVERY, **fault):
            for _ in range(2):
                answer = await other.browser().navigate("/page")
                if answer.status_code != 303 or not answer.headers["location"].startswith(f"{base}/oauth2/auth?"):
                    failed.append((name, answer.status_code))
    assert failed == []


async def test_md_05_without_a_document_the_answer_is_an_error_and_the_next_attempt_asks_again(each_site):
    failed = []
    for name, fault in BAD.items():
        other = discovering(each_site)
        with trouble(each_site, DISCOVERY, **fault):
            answer = await other.browser().navigate("/page")
        if answer.status_code not in (502, 503) or "set-cookie" in answer.headers:
            failed.append((name, answer.status_code))
        each_site.clock.advance(60)
        if (await other.browser().sign_in("/x")).status_code != 303:
            failed.append((name, "did not recover"))
    assert failed == []


async def test_md_05_redirects_of_the_servers_documents_are_not_followed(new_each_site, listener):
    site = new_each_site()
    for path in (DISCOVERY, JWKS):
        site.emulator.faults.add(path, status=307, headers={"Location": f"{listener.url}{path}"}, times=None)
    await discovering(site).browser().navigate("/page")
    answer = await site.browser().sign_in()
    assert answer.status_code == 503


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}, {"drop": "before"}], ids=["429", "503", "silence"])
async def test_md_05_a_first_read_that_fails_has_a_pause_and_no_code_is_spent(each_site, fault):
    each_site.emulator.faults.add(JWKS, times=None, **fault)
    browser = each_site.browser()
    callback = each_site.emulator.sign_in(await browser.begin("/x"))
    for _ in range(3):
        answer = await browser.navigate(callback)
        assert answer.status_code == 503
        assert 0 < int(answer.headers["retry-after"]) <= 30
    assert each_site.emulator.calls_to(TOKEN) == []
    assert len(each_site.emulator.calls_to(JWKS)) == 1
    each_site.emulator.faults.clear()
    each_site.clock.advance(30)
    assert (await browser.navigate(callback)).headers["location"] == "/x"


async def test_md_05_a_renewal_in_a_fresh_process_asks_once_for_keys_that_do_not_come(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    fresh = each_site.with_settings()
    each_site.emulator.faults.add(JWKS, times=None, status=429)
    before = len(each_site.emulator.calls_to(JWKS))
    answer = await call(fresh.middleware, "/who", headers=with_cookies(browser))
    assert answer.status == 200
    assert len(each_site.emulator.calls_to(JWKS)) == before + 1


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 403}, {"status": 200, "body": "<html>"}], ids=repr)
async def test_md_05_a_server_that_gives_no_id_tokens_needs_no_keys(new_each_site, fault):
    site = new_each_site(emulator={"id_token": False})
    site.emulator.faults.add(JWKS, times=None, **fault)
    browser = site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    assert await subject(browser)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_md_05_documents_that_are_compressed_though_nobody_asked_are_read(new_each_site, coding):
    site = new_each_site()
    key = RSAKey.generate_key(2048, {"kid": "k", "use": "sig"})
    site.emulator.forge_id_token = lambda _header, claims, _key: signed({"alg": "RS256", "kid": "k"}, claims, key)
    body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    folded = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    kind = {"content_type": "text/json", "headers": {"Content-Encoding": coding}}
    site.emulator.faults.add(JWKS, status=201, body=folded, times=None, **kind)
    assert (await site.browser().sign_in("/x")).headers["location"] == "/x"


# --- the issuer of a server of which only the base is known ---------------------------------------------

SLUG = "https://slug.projects.oryapis.com"


def named(site: Site, issuer: str, **changes: Any) -> None:
    """The server's tokens carry this issuer, and so does the document at its base."""
    site.emulator.forge_id_token = changed(iss=issuer)
    site.emulator.faults.clear()
    site.emulator.faults.add(DISCOVERY, body=document(site.emulator.base, issuer=issuer, **changes), times=None)


async def test_md_an_issuer_that_is_not_the_base_is_learnt_once_and_said_once(new_each_site, log):
    site = new_each_site(backchannel_logout=True)
    named(site, SLUG)
    browsers = [site.browser() for _ in range(5)]
    for browser in browsers:
        assert (await browser.sign_in("/x")).headers["location"] == "/x"
    site.clock.advance(3700)
    for browser in browsers:
        assert await subject(browser)
    assert len(site.emulator.calls_to(DISCOVERY)) == 1
    said = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert len([line for line in said if "server.issuer" in line and SLUG in line]) == 1
    claims = (await browsers[0].fetch("GET", "/auth/session")).json()["claims"]
    assert claims["iss"] == SLUG
    content = {"iss": SLUG, "aud": CLIENT.client_id, "iat": int(site.clock()), "jti": "j", "sid": claims["sid"]}
    key = site.emulator._signer.keys.current("RS256")
    token = signed({"alg": "RS256", "kid": str(key.kid)}, {**content, "events": {EVENT: {}}}, key)
    told = await site.browser().post("/auth/backchannel-logout", data={"logout_token": token})
    assert told.status_code == 200
    assert await subject(browsers[0]) is None


async def test_md_an_issuer_is_learnt_at_a_refresh_and_by_each_worker_for_itself(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    named(each_site, SLUG)
    other = each_site.with_settings()
    for _ in range(2):
        each_site.clock.advance(3700)
        answer = await call(other.middleware, "/who", headers=with_cookies(browser))
        assert answer.status == 200
        keep(browser, answer)
        each_site.clock.advance(3700)
        assert await subject(browser)
    assert len(each_site.emulator.calls_to(DISCOVERY)) == 2


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://another.example"},
    "another token endpoint": {"token_endpoint": "https://evil.example/oauth2/token"},
    "no token endpoint": {"token_endpoint": ...},
    "no issuer": {"issuer": ...},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_md_an_issuer_that_the_document_does_not_vouch_for_is_refused(each_site, lie):
    await assert_refused_at_login(each_site, {"no document": changed(iss=SLUG)})
    named(each_site, SLUG, **lie) if "issuer" not in lie else each_site.emulator.faults.add(
        DISCOVERY, body=document(each_site.emulator.base, **lie), times=None
    )
    await assert_refused_at_login(each_site, {"a lying one": changed(iss=SLUG)})
    await assert_refused_at_refresh(each_site, {"a lying one": changed(iss=SLUG)})


async def test_md_an_issuer_that_was_given_is_the_only_one(each_site):
    base = each_site.emulator.base
    for server in (
        AuthorizationServer.at(base, issuer=base),
        AuthorizationServer.at(base, issuer="https://given.example"),
        AuthorizationServer.discover(base),
    ):
        each_site.emulator.faults.clear()
        site = each_site.with_settings(server=server)
        if server.discovery:
            assert (await site.browser().sign_in("/x")).headers["location"] == "/x"
        named(site, SLUG)
        assert (await site.browser().sign_in()).status_code in (400, 502)
        site.emulator.forge_id_token = None


# --- MD-09 ----------------------------------------------------------------------------------------------


async def test_md_09_a_site_starts_without_its_server_and_recovers_without_a_restart(new_each_site):
    site = new_each_site(public=["/free"])
    other = discovering(site)
    site.emulator.faults.add("/*", drop="before", times=None)
    browser = other.browser()
    assert (await browser.navigate("/free")).status_code == 200
    for path in ("/auth/login", "/page"):
        answer = await browser.navigate(path)
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("text/html")
        assert int(answer.headers["retry-after"]) > 0
    assert (await browser.fetch("GET", "/page")).status_code == 401, "who cannot be redirected needs no server"
    assert (await browser.navigate("/auth/logout")).status_code == 200
    site.emulator.faults.clear()
    site.clock.advance(60)
    assert (await browser.sign_in("/x")).headers["location"] == "/x"


async def test_md_09_a_server_with_fixed_endpoints_is_not_asked_for_anything_at_a_login(each_site):
    each_site.emulator.faults.add("/*", drop="before", times=None)
    answer = await each_site.browser().navigate("/page")
    assert answer.status_code == 303
    assert each_site.emulator.calls == []


async def test_md_09_fifty_first_requests_cause_one_discovery_and_one_fetch_of_keys(new_each_site):
    site = new_each_site()
    other = discovering(site)
    browsers = [other.browser() for _ in range(50)]
    begun = await asyncio.gather(*(call(other.middleware, "/page", headers=NAVIGATION) for _ in browsers))
    assert {answer.status for answer in begun} == {303}
    assert len(site.emulator.calls_to(DISCOVERY)) == 1
    for browser, answer in zip(browsers, begun, strict=True):
        keep(browser, answer)
    done = await asyncio.gather(
        *(
            call(
                other.middleware,
                site.emulator.sign_in(answer.header("location") or "").removeprefix(ORIGIN),
                headers=with_cookies(browser),
            )
            for browser, answer in zip(browsers, begun, strict=True)
        )
    )
    assert {answer.status for answer in done} == {303}
    assert len(site.emulator.calls_to(JWKS)) == 1
    assert len(site.emulator.calls_to(DISCOVERY)) == 1


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
async def test_md_09_first_requests_that_fail_together_do_not_queue_up_behind_one_another(new_each_site, path):
    """Each that waits for a server that does not answer must not wait the time limit again."""
    site = new_each_site()
    other = discovering(site)
    browsers = [other.browser() for _ in range(20)]
    if path == JWKS:
        callbacks = [site.emulator.sign_in(await browser.begin("/x")).removeprefix(ORIGIN) for browser in browsers]
    else:
        callbacks = ["/page"] * 20
    site.emulator.faults.add(path, status=500, times=None)
    answers = await asyncio.gather(
        *(
            call(other.middleware, callback, headers=with_cookies(browser))
            for browser, callback in zip(browsers, callbacks, strict=True)
        )
    )
    assert {answer.status for answer in answers} == {503}
    assert len(site.emulator.calls_to(path)) <= 2
