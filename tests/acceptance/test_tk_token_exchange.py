"""TK: redeeming the code at the token endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from dataclasses import replace
from urllib.parse import parse_qsl, unquote_plus

import pytest

from lumin_middleware import LuminConfig
from tests.acceptance.harness import (
    JWKS,
    REVOKE,
    TOKEN,
    USER_INFO,
    Witness,
    login_cookies,
    session_cookies,
    subject,
    trouble,
    until_called,
)
from tests.site_rig import CLIENT, REDIRECT_URI, query

GOOD = {"access_token": "at", "token_type": "bearer", "expires_in": 3600, "refresh_token": "rt", "scope": "openid"}
NASTY = "+ /=%&: é\"'?#;\\<>%2B%20~^|`{}[]"


async def begun(browser) -> str:
    """A callback that waits to be opened; long enough after the one before that no circuit breaker is open."""
    browser.site.clock.advance(60)
    return browser.site.emulator.sign_in(await browser.begin("/x"))


# --- TK-01 ----------------------------------------------------------------------------------------------


async def test_tk_01_the_code_is_redeemed_by_one_form_post_with_the_secret_in_the_body(each_site):
    browser = each_site.browser()
    authorization_url = await browser.begin("/x")
    callback = each_site.emulator.sign_in(authorization_url)
    await browser.navigate(callback)
    [request] = each_site.emulator.calls_to(TOKEN)
    assert request.method == "POST"
    assert request.headers["content-type"].partition(";")[0] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers
    assert request.query == {}
    form = {name: value for name, [value] in request.form.items()}
    assert form.pop("code_verifier")
    assert form == {
        "grant_type": "authorization_code",
        "code": query(callback)["code"],
        "redirect_uri": REDIRECT_URI,
        "client_id": CLIENT.client_id,
        "client_secret": CLIENT.client_secret,
    }
    assert query(authorization_url)["redirect_uri"] == REDIRECT_URI


async def test_tk_01_refresh_and_revocation_prove_the_client_in_the_same_way(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    assert await subject(browser)
    await browser.log_out()
    [_, refresh] = each_site.emulator.calls_to(TOKEN)
    [revocation] = each_site.emulator.calls_to(REVOKE)
    for request, expected in ((refresh, {"grant_type", "refresh_token"}), (revocation, {"token"})):
        assert request.method == "POST"
        assert request.headers["accept"] == "application/json"
        assert "authorization" not in request.headers
        form = {name: value for name, [value] in request.form.items()}
        assert (form.pop("client_id"), form.pop("client_secret")) == (CLIENT.client_id, CLIENT.client_secret)
        assert expected <= form.keys() <= expected | {"token_type_hint", "scope"}
    assert refresh.form["grant_type"] == ["refresh_token"]


async def test_tk_01_with_basic_the_secret_is_in_the_header_and_nowhere_else(new_each_site):
    client = replace(CLIENT, token_endpoint_auth_method="client_secret_basic")
    site = new_each_site(emulator={"clients": [client]}, token_endpoint_auth_method="client_secret_basic")
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(3700)
    assert await subject(browser)
    await browser.log_out()
    calls = [*site.emulator.calls_to(TOKEN), *site.emulator.calls_to(REVOKE)]
    assert len(calls) == 3
    for request in calls:
        scheme, _, credentials = request.headers["authorization"].partition(" ")
        name, _, secret = base64.b64decode(credentials).decode().partition(":")
        assert (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", CLIENT.client_id, CLIENT.client_secret)
        assert "client_secret" not in request.form


# --- TK-02 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_tk_02_secrets_with_special_characters_arrive_as_they_are(new_site, method):
    client = replace(CLIENT, client_id="id+/%:é =", client_secret=NASTY, token_endpoint_auth_method=method)
    site = new_site(
        emulator={"clients": [client]},
        client_id=client.client_id,
        client_secret=client.client_secret,
        token_endpoint_auth_method=method,
    )
    browser = site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    site.clock.advance(3700)
    assert await subject(browser)


async def test_tk_02_a_code_with_special_characters_is_encoded_once(each_site):
    for code in (NASTY.replace("é", ""), "%252B", "a+b", "a b", "&code=x", "%", "=", "%C3%B8", "~"):
        browser = each_site.browser()
        state = query(await browser.begin("/x"))["state"]
        await browser.get("/auth/callback", params={"code": code, "state": state})
        request = each_site.emulator.calls_to(TOKEN)[-1]
        assert request.form["code"] == [code]
        assert request.form["redirect_uri"] == [REDIRECT_URI]


async def test_tk_02_a_code_that_no_server_issues_is_not_sent(each_site):
    """RFC 6749, A.11: a code is printable ASCII; and none has 2,000 characters."""
    for code in ("é", "\N{SNOWMAN}", "a\0b", "a\nb", "a\tb", "\N{PILE OF POO}", "a\x7f", "c" * 2001):
        browser = each_site.browser()
        state = query(await browser.begin("/x"))["state"]
        witness = Witness(each_site, browser)
        answer = await browser.get("/auth/callback", params={"code": code, "state": state})
        witness.assert_rejected(answer, token_calls=0)
        assert 400 <= answer.status_code < 500


# --- TK-03 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token_type", ["bearer", "Bearer", "BEARER", "bEaReR"])
async def test_tk_03_bearer_is_accepted_in_any_case(each_site, token_type):
    each_site.emulator.faults.add(TOKEN, body={**GOOD, "token_type": token_type})
    each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
    browser = each_site.browser()
    assert (await browser.navigate(await begun(browser))).headers["location"] == "/x"
    assert await subject(browser) == "u1"


async def test_tk_03_any_other_token_type_fails_the_sign_in(each_site):
    wrong = [None, "", "mac", "DPoP", "N_A", "bearer ", " bearer", "bearer\0", "bearer,DPoP", "ʙearer", 1, True]
    wrong += [["bearer"], {"bearer": 1}, 1.5]
    accepted = []
    for token_type in wrong:
        each_site.emulator.faults.add(TOKEN, body={**GOOD, "token_type": token_type})
        browser = each_site.browser()
        witness = Witness(each_site, browser)
        answer = await browser.navigate(await begun(browser))
        if answer.status_code == 303:
            accepted.append(token_type)
        else:
            witness.assert_rejected(answer)
    assert accepted == []
    each_site.emulator.faults.add(TOKEN, body={name: value for name, value in GOOD.items() if name != "token_type"})
    browser = each_site.browser()
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(await begun(browser)))


# --- TK-04 ----------------------------------------------------------------------------------------------

JSON = "application/json"
NO_TOKENS: dict[str, tuple[int, str | bytes, str]] = {
    "HTML": (200, "<html>Please sign in to the wifi</html>", "text/html"),
    "HTML that says it is JSON": (200, "<html></html>", JSON),
    "JSON that says it is HTML": (200, json.dumps(GOOD), "text/html"),
    "a form": (200, "access_token=at&token_type=bearer", "application/x-www-form-urlencoded"),
    "empty": (200, b"", JSON),
    "array": (200, "[]", JSON),
    "array of tokens": (200, json.dumps([GOOD]), JSON),
    "array of pairs": (200, json.dumps([["access_token", "at"], ["token_type", "bearer"]]), JSON),
    "text": (200, '"access_token"', JSON),
    "null": (200, "null", JSON),
    "number": (200, "1", JSON),
    "nothing in it": (200, "{}", JSON),
    "an error": (200, '{"error": "invalid_grant"}', JSON),
    "an error beside tokens": (200, json.dumps({**GOOD, "error": "invalid_grant"}), JSON),
    "an empty error beside tokens": (200, json.dumps({**GOOD, "error": ""}), JSON),
    "a null error beside tokens": (200, json.dumps({**GOOD, "error": None}), JSON),
    "truncated": (200, json.dumps(GOOD)[:-5], JSON),
    "trailing junk": (200, json.dumps(GOOD) + "}", JSON),
    "two documents": (200, json.dumps(GOOD) * 2, JSON),
    "not UTF-8": (200, b'{"access_token": "\xff", "token_type": "bearer"}', JSON),
    "deeply nested": (200, "[" * 100_000, JSON),
    "nested in tokens": (
        200,
        '{"access_token":"at","token_type":"bearer","x":' + "[" * 50_000 + "]" * 50_000 + "}",
        JSON,
    ),
    "a number of many digits": (200, '{"access_token": ' + "9" * 10_000 + "}", JSON),
    "too long": (200, json.dumps({**GOOD, "x": "y" * 2_000_000}), JSON),
    "204": (204, b"", JSON),
    "400 with tokens": (400, json.dumps(GOOD), JSON),
    "400 without an error": (400, "{}", JSON),
    "400 with an error that is no text": (400, '{"error": {"code": 1}}', JSON),
    "400 invalid_grant": (400, '{"error": "invalid_grant", "error_description": "used"}', JSON),
    "401 invalid_client": (401, '{"error": "invalid_client"}', JSON),
    "403": (403, "Forbidden by the firewall", "text/plain"),
    "429": (429, '{"error": {"code": 429}}', JSON),
    "500 with tokens": (500, json.dumps(GOOD), JSON),
}


async def test_tk_04_an_answer_that_holds_no_tokens_signs_nobody_in(each_site):
    wrong = []
    for name, (status, body, content_type) in NO_TOKENS.items():
        each_site.emulator.faults.clear()
        each_site.emulator.faults.add(TOKEN, status=status, body=body, content_type=content_type)
        browser = each_site.browser()
        witness = Witness(each_site, browser)
        answer = await browser.navigate(await begun(browser))
        if not (400 <= answer.status_code < 500 or answer.status_code in (502, 503)):
            wrong.append((name, answer.status_code))
            continue
        witness.assert_rejected(answer, token_calls=1)
        assert login_cookies(browser) == {}
    assert wrong == []


async def test_tk_04_an_access_token_that_is_none_signs_nobody_in(each_site):
    values = [
        None,
        "",
        1,
        1.5,
        True,
        False,
        [],
        ["at"],
        {},
        {"value": "at"},
        "a t",
        "at\r\nX: y",
        "at\0",
        "ät",
        "\ud800",
    ]
    accepted = []
    for value in values:
        each_site.emulator.faults.add(TOKEN, body={**GOOD, "access_token": value})
        browser = each_site.browser()
        witness = Witness(each_site, browser)
        answer = await browser.navigate(await begun(browser))
        if answer.status_code == 303:
            accepted.append(value)
        else:
            witness.assert_rejected(answer, token_calls=1)
    assert accepted == []


@pytest.mark.parametrize("name", ["refresh_token", "id_token"])
async def test_tk_04_no_other_token_is_taken_that_is_none(each_site, name):
    accepted = []
    for value in (1, True, [], ["x"], {}, "a b", "x\n", "ü", "\ud800"):
        each_site.emulator.faults.add(TOKEN, body={**GOOD, name: value})
        browser = each_site.browser()
        witness = Witness(each_site, browser)
        answer = await browser.navigate(await begun(browser))
        if answer.status_code == 303:
            accepted.append(value)
        else:
            witness.assert_rejected(answer, token_calls=1)
    assert accepted == []


async def test_tk_04_a_redirect_of_the_token_endpoint_is_not_followed(each_site, listener):
    """The code, the verifier and the client's secret would go with it."""
    for status in (301, 302, 303, 307, 308):
        each_site.emulator.faults.add(TOKEN, status=status, headers={"Location": f"{listener.url}/token"})
        browser = each_site.browser()
        witness = Witness(each_site, browser)
        witness.assert_rejected(await browser.navigate(await begun(browser)), token_calls=1)


# --- TK-06 ----------------------------------------------------------------------------------------------


async def test_tk_06_without_a_lifetime_tokens_are_used_and_not_refreshed_again_and_again(each_site):
    for expires_in in (None, "", "soon", [], {}, True, 10**400, "9" * 5000, 1e308):
        each_site.emulator.faults.add(TOKEN, body={**GOOD, "expires_in": expires_in})
        each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
        browser = each_site.browser()
        assert (await browser.navigate(await begun(browser))).status_code == 303, expires_in
        calls = len(each_site.emulator.calls_to(TOKEN))
        for _ in range(5):
            each_site.clock.advance(60)
            assert await subject(browser) == "u1"
        assert len(each_site.emulator.calls_to(TOKEN)) == calls, expires_in


@pytest.mark.parametrize("expires_in", ["3600", 3598, 3599.5])
async def test_tk_06_a_lifetime_as_text_or_a_fraction_is_understood(each_site, expires_in):
    each_site.emulator.faults.add(TOKEN, body={**GOOD, "expires_in": expires_in})
    each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
    browser = each_site.browser()
    await browser.navigate(await begun(browser))
    each_site.clock.advance(3000)
    await subject(browser)
    assert len(each_site.emulator.calls_to(TOKEN)) == 1
    each_site.clock.advance(700)
    await subject(browser)
    assert len(each_site.emulator.calls_to(TOKEN)) == 2


async def test_tk_06_without_a_scope_it_is_what_was_asked_for(each_site):
    each_site.emulator.faults.add(TOKEN, body={name: value for name, value in GOOD.items() if name != "scope"})
    each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
    browser = each_site.browser()
    await browser.navigate(await begun(browser))
    seen = (await browser.fetch("GET", "/who")).json()
    assert seen["scope"] == sorted(each_site.config.scope.split())


async def test_tk_06_a_narrower_scope_is_recorded_and_a_guard_answers_403(new_each_site):
    site = new_each_site(required_scopes={"/sign/*": "sign:requests"})
    browser = site.browser()
    await browser.sign_in(scope="openid offline_access")
    assert (await browser.fetch("GET", "/who")).json()["scope"] == ["offline_access", "openid"]
    reached = len(site.app.scopes)
    for answer in (await browser.fetch("GET", "/sign/x"), await browser.navigate("/sign/x")):
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert 'scope="sign:requests"' in answer.headers["www-authenticate"]
    assert len(site.app.scopes) == reached


async def test_tk_06_nothing_granted_is_not_everything_that_was_asked_for(new_each_site):
    """Hydra always says what was granted; where that is nothing, it says "" (RFC 6749, 5.1: the scope is REQUIRED
    where it differs from what was asked for)."""
    site = new_each_site(required_scopes={"/sign/*": "sign:requests"}, id_token="auto")
    browser = site.browser()
    assert (await browser.sign_in(scope="")).status_code == 303
    assert (await browser.fetch("GET", "/who")).json()["scope"] == []
    assert (await browser.fetch("GET", "/sign/x")).status_code == 403


async def test_tk_06_a_scope_that_is_no_text_grants_nothing(new_each_site):
    site = new_each_site(required_scopes={"/sign/*": "sign:requests"})
    allowed = []
    for scope in (["openid"], {"openid": True}, 1, True, " ", [], "\t"):
        site.emulator.faults.clear()
        site.emulator.faults.add(TOKEN, body={**GOOD, "scope": scope})
        site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
        browser = site.browser()
        answer = await browser.navigate(await begun(browser))
        if answer.status_code == 303 and (await browser.fetch("GET", "/sign/x")).status_code != 403:
            allowed.append(scope)
    assert allowed == []


async def test_tk_06_a_scope_with_strange_characters_breaks_nothing(each_site):
    for scope in ("openid \ud800", 'openid "', "openid\r\nSet-Cookie: x=y", "openid \0", "openid é", "a" * 5000):
        each_site.emulator.faults.clear()
        each_site.emulator.faults.add(TOKEN, body={**GOOD, "scope": scope})
        each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
        browser = each_site.browser()
        answer = await browser.navigate(await begun(browser))
        assert answer.status_code in (303, 400, 502, 503), repr(scope[:20])
        if answer.status_code == 303:
            assert (await browser.fetch("GET", "/who")).status_code == 200


# --- TK-10 ----------------------------------------------------------------------------------------------

TROUBLE = {
    "reset before acting": {"drop": "before"},
    "reset after acting": {"drop": "after"},
    "500": {"status": 500, "body": "boom"},
    "502 although it acted": {"status": 502, "act": True},
    "503 with an OAuth error": {"status": 503, "body": {"error": "temporarily_unavailable"}},
    "504": {"status": 504},
    "too late": {"delay": 30.0},
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_tk_10_trouble_at_the_token_endpoint_is_a_503_after_one_attempt(each_site, name):
    browser = each_site.browser()
    url = await begun(browser)
    witness = Witness(each_site, browser)
    with trouble(each_site, TOKEN, **TROUBLE[name]):
        answer = await browser.navigate(url)
        await until_called(each_site, TOKEN)
    assert answer.status_code in (502, 503)
    assert answer.headers["content-type"].startswith("text/html")
    witness.assert_rejected(answer, token_calls=1)
    assert int(answer.headers["retry-after"]) > 0
    assert login_cookies(browser) == {}
    witness.assert_rejected(await browser.navigate(url), token_calls=1)  # consumed: the code is not sent again
    assert (await browser.sign_in("/y")).headers["location"] == "/y"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403, "body": "Forbidden", "content_type": "text/plain"},
        {"status": 413, "body": "<html>", "content_type": "text/html"},
        {"status": 400, "body": {"error": "invalid_grant"}},
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "300"}},
        {"drop": "before"},
    ],
    ids=["403", "413", "invalid_grant", "500", "503", "nothing"],
)
async def test_tk_10_no_stranger_s_callback_stops_a_renewal(each_site, fault):
    """A dozen codes of whoever likes; those who are signed in are renewed, and sign-ins go on soon."""
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    strangers = [each_site.browser() for _ in range(12)]
    callbacks = [await stranger.begin("/x") for stranger in strangers]
    each_site.emulator.faults.add(TOKEN, times=None, **fault)
    for stranger, begun_at in zip(strangers, callbacks, strict=True):
        state = query(begun_at)["state"]
        await stranger.get("/auth/callback", params={"code": "any-code", "state": state})
    each_site.emulator.faults.clear()
    assert await subject(browser)
    if fault.get("status", 500) < 500:  # a refusal is nobody else's affair
        assert (await each_site.browser().sign_in("/y")).headers["location"] == "/y"


async def test_tk_10_after_silence_a_sign_in_waits_a_moment_and_goes_on(each_site):
    callbacks = []
    for _ in range(6):
        browser = each_site.browser()
        callbacks.append((browser, each_site.emulator.sign_in(await browser.begin("/x"))))
    each_site.emulator.faults.add(TOKEN, status=500, times=5)
    answers = [(await browser.navigate(callback)).status_code for browser, callback in callbacks]
    assert answers == [503] * 5 + [303]


async def test_tk_10_a_person_who_is_refused_at_the_code_is_told_so(each_site):
    """Hydra's token hook says no."""
    browser = each_site.browser()
    each_site.emulator.faults.add(TOKEN, status=403, body={"error": "access_denied"})
    answer = await browser.navigate(await begun(browser))
    assert answer.status_code == 403
    assert "Access was denied" in answer.text
    assert session_cookies(browser) == {}


async def test_tk_06_offline_access_without_a_refresh_token_is_told_to_the_operator_once(each_site, log):
    answer = {name: value for name, value in GOOD.items() if name != "refresh_token"}
    for _ in range(3):
        each_site.emulator.faults.add(TOKEN, body={**answer, "scope": "openid offline_access"})
        each_site.emulator.faults.add(USER_INFO, body={"user": {"id": "u1"}})
        browser = each_site.browser()
        assert (await browser.navigate(await begun(browser))).status_code == 303
    warned = [record for record in log.records if "no refresh token" in record.getMessage()]
    assert [record.levelname for record in warned] == ["WARNING"]


async def test_tk_10_a_server_that_drips_its_answer_does_not_hold_a_worker(new_each_site):
    """A time limit for each read alone would never be reached."""
    site = new_each_site(timeout=0.3)
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    site = site.with_settings(server=replace(site.config.server, token_endpoint=f"http://127.0.0.1:{port}/token"))
    browser = site.browser()
    answer = await browser.navigate(site.emulator.sign_in(await browser.begin("/x")))
    assert answer.status_code == 503
    server.close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
    try:
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_tk_10_no_connection_is_a_503(each_site):
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/token"
        site = each_site.with_settings(server=replace(each_site.config.server, token_endpoint=nobody))
        browser = site.browser()
        answer = await browser.navigate(site.emulator.sign_in(await browser.begin("/x")))
    assert answer.status_code == 503
    assert session_cookies(browser) == {}


async def test_tk_10_the_default_time_limit_is_at_most_15_seconds():
    assert LuminConfig.timeout <= 15


async def test_tk_what_the_page_says_of_a_refused_secret_is_not_the_servers_words(each_site, log):
    """`invalid_client` is the operator's affair: loud in the log, quiet on the page."""
    each_site.emulator.faults.add(
        TOKEN, status=401, body={"error": "invalid_client", "error_description": "The secret of client_id=x is wrong"}
    )
    browser = each_site.browser()
    answer = await browser.navigate(await begun(browser))
    assert answer.status_code == 502
    assert "secret" not in answer.text
    assert any("invalid_client" in line for line in log.lines)


async def test_tk_no_token_reaches_a_cookie_in_clear_or_a_location(each_site):
    browser = each_site.browser()
    answer = await browser.sign_in()
    everything = str(answer.headers.raw) + answer.text
    form = each_site.emulator.calls_to(TOKEN)[0].form
    for secret in (form["code"][0], form["code_verifier"][0], CLIENT.client_secret, "ory_at_", "ory_rt_"):
        assert secret not in everything
    assert each_site.emulator.calls_to(JWKS)
    assert dict(parse_qsl(answer.headers["location"])) == {}
