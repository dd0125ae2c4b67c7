"""RF: refreshing tokens, as far as one process sees it. One reuse event is a failure of every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumin_middleware.errors import LoginRequired, LuminError
from tests.acceptance.harness import (
    REVOKE,
    TOKEN,
    USER_INFO,
    call,
    cookies,
    session_cookies,
    session_records,
    subject,
    with_cookies,
)
from tests.acceptance.test_id_identity import changed
from tests.site_rig import FETCH, Browser, Site, set_cookies

EXPIRED = 3700.0


async def show_token(request: Request) -> Response:
    return JSONResponse({"token": await request.state.lumin.access_token()})


async def call_api(request: Request) -> Response:
    answer = await request.state.lumin.get("user/info")
    return JSONResponse(
        {"status": answer.status_code, "body": answer.text, "sent": answer.request.headers["authorization"]}
    )


async def signed_in(site: Site, handler: Any = show_token, **person: Any) -> Browser:
    browser = site.browser()
    await browser.sign_in(**person)
    site.app.handler = handler
    return browser


def refreshes(site: Site) -> list[Any]:
    return [request for request in site.emulator.calls_to(TOKEN) if request.form["grant_type"] == ["refresh_token"]]


# --- RF-01 ----------------------------------------------------------------------------------------------


async def test_rf_01_an_expired_token_is_refreshed_once_before_the_application_runs(each_site):
    browser = await signed_in(each_site, call_api)
    [grant] = each_site.emulator.grants
    old_access, old_refresh = [token.value for token in grant.tokens]
    each_site.clock.advance(EXPIRED)
    seen = (await browser.fetch("GET", "/x")).json()
    new_access, new_refresh = [token.value for token in grant.tokens[2:]]
    assert (seen["status"], seen["sent"]) == (200, f"Bearer {new_access}")
    [request] = refreshes(each_site)
    assert request.form["refresh_token"] == [old_refresh]
    assert "authorization" not in request.headers
    for _ in range(3):
        each_site.clock.advance(EXPIRED)
        assert (await browser.fetch("GET", "/x")).json()["status"] == 200
    sent = [request.form["refresh_token"][0] for request in refreshes(each_site)]
    assert sent[:2] == [old_refresh, new_refresh]
    assert len(set(sent)) == len(sent) == 4
    assert each_site.emulator.reuse_events == 0
    assert old_access != new_access


async def test_rf_01_the_rotated_token_survives_a_reply_that_was_lost(each_site):
    """The browser comes again with the cookie from before the refresh."""
    browser = await signed_in(each_site)
    old = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    first = await call(each_site.middleware, "/x", headers=old)
    for _ in range(3):
        assert (await call(each_site.middleware, "/x", headers=old)).body == first.body
    each_site.clock.advance(EXPIRED)
    assert (await call(each_site.middleware, "/x", headers=old)).status == 200
    assert len(refreshes(each_site)) == 2
    assert each_site.emulator.reuse_events == 0


async def test_rf_01_another_worker_finds_the_rotated_token(each_site):
    browser = await signed_in(each_site)
    other = each_site.with_settings()
    other.app.handler = show_token
    headers = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    one = await call(each_site.middleware, "/x", headers=headers)
    two = await call(other.middleware, "/x", headers=headers)
    assert one.body == two.body
    assert len(refreshes(each_site)) == 1


async def test_rf_01_a_renewal_while_the_application_works_reaches_the_browser(each_site):
    """The token expires after the request began: the client renews it, and the answer carries the cookie."""

    async def slow(request: Request) -> Response:
        each_site.clock.advance(EXPIRED)
        return await call_api(request)

    browser = await signed_in(each_site, slow)
    before = cookies(browser)
    assert (await browser.fetch("GET", "/x")).json()["status"] == 200
    assert len(refreshes(each_site)) == 1
    if each_site.config.sessions == "cookie":
        assert cookies(browser) != before


# --- RF-02 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 200])
async def test_rf_02_parallel_requests_cause_one_refresh_and_see_one_token(each_site, count):
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    answers = await asyncio.gather(*(call(each_site.middleware, f"/{n}", headers=headers) for n in range(count)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(refreshes(each_site)) == 1
    assert each_site.emulator.reuse_events == 0


async def test_rf_02_parallel_requests_on_several_workers_cause_one_refresh(each_site):
    browser = await signed_in(each_site)
    sites = [each_site, *(each_site.with_settings() for _ in range(3))]
    for site in sites:
        site.app.handler = show_token
    headers = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    answers = await asyncio.gather(
        *(call(site.middleware, f"/{n}", headers=headers) for n in range(10) for site in sites)
    )
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(refreshes(each_site)) == 1


async def test_rf_02_calls_of_one_request_in_parallel_cause_one_refresh(each_site):
    async def many(request: Request) -> Response:
        each_site.clock.advance(EXPIRED)
        answers = await asyncio.gather(*(request.state.lumin.get("user/info") for _ in range(10)))
        return JSONResponse([answer.status_code for answer in answers])

    browser = await signed_in(each_site, many)
    assert (await browser.fetch("GET", "/x")).json() == [200] * 10
    assert len(refreshes(each_site)) == 1


async def test_rf_02_a_request_that_is_cancelled_while_it_refreshes_loses_no_token(each_site):
    """The refresh token is spent by then: what came for it must be saved."""
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    loop, reached = asyncio.get_running_loop(), asyncio.Event()

    async def tell() -> None:
        loop.call_soon_threadsafe(reached.set)

    each_site.emulator.faults.add(TOKEN, after=tell)
    task = asyncio.ensure_future(call(each_site.middleware, "/x", headers=headers))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (await call(each_site.middleware, "/x", headers=headers)).status == 200
    assert len(refreshes(each_site)) == 1
    assert each_site.emulator.reuse_events == 0


# --- RF-06 ----------------------------------------------------------------------------------------------

OVER: list[tuple[int, dict[str, object]]] = [
    (400, {"error": "invalid_grant"}),
    (400, {"error": "invalid_grant", "error_description": "The refresh token was already used."}),
    (
        400,
        {"error": "invalid_grant", "error_description": "x", "error_hint": "y", "error_debug": "z", "status_code": 400},
    ),
    (401, {"error": "invalid_grant", "error_description": 'quotes " and \r\n lines'}),
    (400, {"error": "invalid_grant", "error_description": {"not": "text"}}),
    (400, {"error": "unauthorized_client"}),
    (403, {"error": "access_denied", "error_description": "The token hook said no."}),
    (400, {"error": "interaction_required"}),
    (400, {"error": "login_required"}),
    (400, {"error": "consent_required"}),
    (403, {"error": "scope_not_granted"}),
    (401, {"error": "token_inactive"}),
]


async def test_rf_06_a_refused_refresh_token_ends_the_session_without_a_loop(each_site):
    for status, body in OVER:
        browser = await signed_in(each_site)
        each_site.clock.advance(EXPIRED)
        each_site.emulator.faults.add(TOKEN, status=status, body=body)
        calls, reached = len(refreshes(each_site)), len(each_site.app.scopes)
        for _ in range(5):
            assert (await browser.fetch("GET", "/x")).status_code == 401, body
        answer = await browser.navigate("/x")
        assert answer.status_code == 303, body
        assert "/oauth2/auth?" in answer.headers["location"]
        assert len(refreshes(each_site)) == calls + 1, body
        assert len(each_site.app.scopes) == reached
        each_site.app.handler = show_token


async def test_rf_06_a_grant_that_was_revoked_ends_the_session_on_every_worker(each_site):
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH)
    each_site.emulator.revoke_all()
    each_site.clock.advance(EXPIRED)
    other = each_site.with_settings()
    assert (await call(each_site.middleware, "/x", headers=headers)).status == 401
    assert (await call(other.middleware, "/x", headers=headers)).status == 401
    assert len(refreshes(each_site)) == 1


async def test_rf_06_parallel_requests_of_a_session_that_ends_ask_once(each_site):
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH)
    each_site.emulator.revoke_all()
    each_site.clock.advance(EXPIRED)
    answers = await asyncio.gather(*(call(each_site.middleware, "/x", headers=headers) for _ in range(20)))
    assert {answer.status for answer in answers} == {401}
    assert len(refreshes(each_site)) == 1


async def test_rf_06_on_an_optional_page_a_session_that_ended_is_nobody(new_each_site):
    site = new_each_site(optional=["/maybe"])
    browser = site.browser()
    await browser.sign_in()
    site.emulator.revoke_all()
    site.clock.advance(EXPIRED)
    answer = await browser.fetch("GET", "/maybe")
    assert (answer.status_code, answer.json()["authenticated"]) == (200, False)


# --- RF-07 ----------------------------------------------------------------------------------------------

TROUBLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502 with HTML": {"status": 502, "body": "<html>", "content_type": "text/html"},
    "503 with an OAuth error": {"status": 503, "body": {"error": "temporarily_unavailable"}},
    "500 server_error": {"status": 500, "body": {"error": "server_error"}},
    "429": {"status": 429, "body": {"error": {"code": 429, "reason": "rate limit"}}, "headers": {"Retry-After": "30"}},
    "429 invalid_grant": {"status": 429, "body": {"error": "invalid_grant"}},
    "200 with HTML": {"status": 200, "body": "<html>sign in to the wifi</html>", "content_type": "text/html"},
    "200 with nothing": {"status": 200, "body": {}},
    "200 with an error": {"status": 200, "body": {"error": "invalid_grant"}},
    "400 without an error": {"status": 400, "body": {}},
    "403 of a firewall": {"status": 403, "body": "Forbidden", "content_type": "text/plain"},
    "400 invalid_scope": {"status": 400, "body": {"error": "invalid_scope"}},
    "413 of an edge": {"status": 413, "body": "<html>", "content_type": "text/html"},
    "401 invalid_client": {"status": 401, "body": {"error": "invalid_client"}},
    "an error that nobody knows": {"status": 400, "body": {"error": "insufficient_humidity"}},
    "invalid_request": {
        "status": 400,
        "body": {"error": "invalid_request", "error_description": "concurrent requests"},
    },
    "reset": {"drop": "before"},
    "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_rf_07_trouble_signs_nobody_out(each_site, name):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, times=None, **TROUBLE[name])
    each_site.clock.advance(3500)  # soon over, but still good
    before = cookies(browser)
    for _ in range(3):
        assert (await browser.fetch("GET", "/x")).status_code == 200
    assert len(refreshes(each_site)) == 1, "no tight retry"
    each_site.clock.advance(200)  # over
    for _ in range(3):
        answer = await browser.fetch("GET", "/x")
        assert answer.status_code == 503
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert len(refreshes(each_site)) <= 1 + 3, "after 1 s, after 2 s more, and then the pause is told"
    assert cookies(browser) == before
    each_site.emulator.faults.clear()
    each_site.clock.advance(60)
    answer = await browser.fetch("GET", "/x")
    # Nothing was acted upon, so the refresh token is as good as it was.
    assert answer.status_code == 200, answer.text
    assert each_site.emulator.reuse_events == 0


@pytest.mark.parametrize("name", TROUBLE)
async def test_rf_07_a_hiccup_is_felt_as_a_pause(each_site, name):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, **TROUBLE[name])
    each_site.clock.advance(EXPIRED)
    answer = await browser.fetch("GET", "/x")
    # What asks for thirty seconds gets them.
    assert answer.status_code == (503 if TROUBLE[name].get("headers", {}).get("Retry-After") else 200)
    assert each_site.emulator.reuse_events == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_rf_07_what_the_server_asks_for_is_what_is_told(each_site, status):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, status=status, headers={"Retry-After": "200"}, times=None)
    each_site.clock.advance(EXPIRED)
    for left in (200, 150, 100):
        assert (await browser.fetch("GET", "/x")).headers["retry-after"] == str(left)
        each_site.clock.advance(50)
    assert len(refreshes(each_site)) == 1
    each_site.emulator.faults.clear()
    each_site.clock.advance(50)
    assert (await browser.fetch("GET", "/x")).status_code == 200


async def test_rf_07_a_hook_that_fails_for_one_person_is_nobody_else_s_affair(each_site):
    unlucky, other = await signed_in(each_site), await signed_in(each_site)
    each_site.clock.advance(EXPIRED)
    each_site.emulator.faults.add(TOKEN, status=500, body={"error": "server_error"}, times=None)
    for _ in range(8):
        each_site.clock.advance(30)
        assert (await unlucky.fetch("GET", "/x")).status_code == 503
    each_site.emulator.faults.clear()
    assert (await other.fetch("GET", "/x")).status_code == 200


async def test_rf_07_a_server_that_hangs_holds_nobody_longer_than_the_time_limit(each_site):
    browser = await signed_in(each_site)
    site = each_site.with_settings(timeout=0.3)
    site.emulator.faults.add(TOKEN, delay=3600, times=None, act=False)
    site.clock.advance(EXPIRED)
    headers = with_cookies(browser, FETCH)
    answers = await asyncio.gather(*(call(site.middleware, "/x", headers=headers) for _ in range(10)))
    assert {answer.status for answer in answers} == {503}
    while not refreshes(site):  # those who waited have given up, maybe before the server woke
        await asyncio.sleep(0.01)
    assert len(refreshes(site)) == 1, "those who wait take the first one's answer"


async def test_rf_07_a_navigation_gets_a_page_with_a_503(each_site):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, status=500, times=None)
    each_site.clock.advance(EXPIRED)
    answer = await browser.navigate("/x")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert int(answer.headers["retry-after"]) > 0
    assert session_cookies(browser)


async def test_rf_07_on_an_optional_page_trouble_is_not_signed_in_and_the_cookie_stays(new_each_site):
    site = new_each_site(optional=["/maybe"])
    browser = site.browser()
    await browser.sign_in()
    before = cookies(browser)
    site.emulator.faults.add(TOKEN, status=500, times=None)
    site.clock.advance(EXPIRED)
    answer = await browser.fetch("GET", "/maybe")
    assert (answer.status_code, answer.json()["authenticated"]) == (200, False)
    assert cookies(browser) == before


async def test_rf_07_without_a_refresh_token_an_expired_session_is_over_and_no_error(each_site):
    browser = await signed_in(each_site, scope="openid sign:requests")
    each_site.clock.advance(3000)
    assert (await browser.fetch("GET", "/x")).status_code == 200
    each_site.clock.advance(700)
    assert (await browser.fetch("GET", "/x")).status_code == 401
    assert (await browser.navigate("/x")).status_code == 303
    assert refreshes(each_site) == []


async def test_rf_07_an_answer_that_was_lost_after_the_server_acted_ends_in_a_sign_in_and_no_storm(each_site):
    """The one case that nobody can mend: the new tokens are gone, and the old refresh token is spent."""
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, drop="after")
    each_site.clock.advance(EXPIRED)
    for _ in range(3):
        assert (await browser.fetch("GET", "/x")).status_code == 401
    assert len(refreshes(each_site)) == 2


async def test_rf_07_where_spent_tokens_have_a_grace_period_the_lost_answer_is_still_to_be_had(new_each_site):
    site = new_each_site(emulator={"refresh_token_grace": 60})
    browser = await signed_in(site)
    site.emulator.faults.add(TOKEN, drop="after")
    site.clock.advance(EXPIRED)
    for _ in range(3):
        assert (await browser.fetch("GET", "/x")).status_code == 200
    assert len(refreshes(site)) == 2


async def test_rf_07_a_wrong_secret_is_the_operators_error_and_loud(each_site, log):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add(TOKEN, status=401, body={"error": "invalid_client"}, times=None)
    each_site.clock.advance(EXPIRED)
    await browser.fetch("GET", "/x")
    assert any(record.levelname == "CRITICAL" for record in log.records)


# --- RF-08 ----------------------------------------------------------------------------------------------


def refreshed(**changes: object) -> dict[str, object]:
    answer: dict[str, object] = {"access_token": "new", "token_type": "bearer", "expires_in": 3600}
    return {name: value for name, value in {**answer, **changes}.items() if value is not ...}


async def test_rf_08_without_a_new_refresh_token_the_old_one_is_kept(each_site):
    browser = await signed_in(each_site)
    [grant] = each_site.emulator.grants
    old = grant.tokens[1].value
    for _ in range(3):
        each_site.emulator.faults.add(TOKEN, body=refreshed())
        each_site.clock.advance(EXPIRED)
        assert (await browser.fetch("GET", "/x")).json() == {"token": "new"}
    assert [request.form["refresh_token"] for request in refreshes(each_site)] == [[old]] * 3


@pytest.mark.parametrize("empty", [None, ...], ids=["null", "missing"])
async def test_rf_08_without_an_id_token_the_identity_stays(each_site, empty):
    people = list(each_site.emulator.users)
    browser = await signed_in(each_site, sub=people[1])
    before = (await browser.fetch("GET", "/auth/session")).json()
    each_site.emulator.faults.add(TOKEN, body=refreshed(id_token=empty, refresh_token=empty, scope=empty))
    each_site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/x")).json() == {"token": "new"}
    after = (await browser.fetch("GET", "/auth/session")).json()
    assert (after["claims"], after["scope"], after["subject"]) == (before["claims"], before["scope"], people[1])
    assert each_site.emulator.calls_to(USER_INFO) == []


async def test_rf_08_a_new_id_token_without_a_nonce_is_accepted(each_site):
    browser = await signed_in(each_site)
    who = (await browser.fetch("GET", "/auth/session")).json()["subject"]
    each_site.emulator.forge_id_token = changed(nonce=..., name="Another Name")
    each_site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/x")).status_code == 200
    after = (await browser.fetch("GET", "/auth/session")).json()
    assert (after["subject"], after["claims"]["name"]) == (who, "Another Name")


async def test_rf_08_a_narrower_scope_of_a_refresh_is_recorded(new_each_site):
    site = new_each_site(required_scopes={"/sign/*": "sign:requests"})
    browser = await signed_in(site)
    assert (await browser.fetch("GET", "/sign/x")).status_code == 200
    site.emulator.faults.add(TOKEN, body=refreshed(scope="openid"))
    site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/sign/x")).status_code == 403


async def test_rf_08_a_session_that_keeps_few_claims_is_refreshed_as_well(new_each_site):
    """`claims=` is about what is kept, not about who somebody is."""
    for kept in (["email"], [], ["name", "sub"]):
        site = new_each_site(claims=kept)
        browser = await signed_in(site)
        for _ in range(2):
            site.clock.advance(EXPIRED)
            assert (await browser.fetch("GET", "/x")).status_code == 200, kept
        assert site.emulator.calls_to(REVOKE) == []


async def test_rf_08_a_session_without_an_identity_takes_none_from_a_refresh(new_each_site):
    """The claims came from the API, whose ids need not be the server's `sub`."""
    site = new_each_site(emulator={"id_token": False})
    browser = await signed_in(site)
    before = (await browser.fetch("GET", "/auth/session")).json()["claims"]
    site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/x")).status_code == 200
    assert (await browser.fetch("GET", "/auth/session")).json()["claims"] == before


# --- RF-09 ----------------------------------------------------------------------------------------------


async def test_rf_09_tokens_of_another_person_or_issuer_are_discarded_and_the_session_ends(each_site):
    people = list(each_site.emulator.users)
    others = [{"sub": people[1]}, {"iss": "https://evil.example"}, {"sub": "x", "iss": "y"}, {"sub": people[0].upper()}]
    for forger in (changed(**claims) for claims in others):
        each_site.emulator.forge_id_token = None
        browser = await signed_in(each_site, sub=people[0])
        records = set(session_records(each_site))
        each_site.clock.advance(EXPIRED)
        each_site.emulator.forge_id_token = forger
        reached = len(each_site.app.scopes)
        answer = await browser.fetch("GET", "/x")
        assert answer.status_code == 401
        assert len(each_site.app.scopes) == reached
        assert list(each_site.emulator.grants)[-1].revoked
        each_site.emulator.forge_id_token = None
        assert await subject(browser) is None
        if each_site.config.sessions == "store":
            assert len(session_records(each_site)) == len(records) - 1


# --- RF-13 ----------------------------------------------------------------------------------------------

REFUSED: dict[str, Any] = {
    "status": 401,
    "headers": {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    "body": b"no",
}


async def test_rf_13_a_token_that_the_api_refuses_is_refreshed_once_and_the_call_repeated(each_site):
    browser = await signed_in(each_site, call_api)
    each_site.emulator.faults.add(USER_INFO, **REFUSED)
    seen = (await browser.fetch("GET", "/x")).json()
    assert seen["status"] == 200
    assert len(refreshes(each_site)) == 1
    first, second = each_site.emulator.calls_to(USER_INFO)
    assert first.headers["authorization"] != second.headers["authorization"]


async def test_rf_13_a_second_refusal_is_the_applications_to_see(each_site):
    browser = await signed_in(each_site, call_api)
    each_site.emulator.faults.add(USER_INFO, times=None, **REFUSED)
    seen = (await browser.fetch("GET", "/x")).json()
    assert seen["status"] == 401
    assert len(each_site.emulator.calls_to(USER_INFO)) == 2
    assert len(refreshes(each_site)) == 1
    assert await subject_of_session(browser)


async def subject_of_session(browser: Browser) -> str:
    return (await browser.fetch("GET", "/auth/session")).json()["subject"]


async def test_rf_13_a_body_that_cannot_be_sent_again_is_not(each_site):
    async def stream_up(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"{}"

        answer = await request.state.lumin.post("signature_request/send", content=chunks())
        return JSONResponse({"status": answer.status_code})

    path = "/v1/signature_request/send"
    browser = await signed_in(each_site, stream_up)
    each_site.emulator.faults.add(path, **REFUSED)
    assert (await browser.fetch("GET", "/x")).json() == {"status": 401}
    assert len(each_site.emulator.calls_to(path)) == 1


@pytest.mark.parametrize("body", [{"json": {"a": 1}}, {"content": b"x"}, {"data": {"a": "1"}}, {}])
async def test_rf_13_a_body_that_can_be_sent_again_is(each_site, body):
    async def send(request: Request) -> Response:
        answer = await request.state.lumin.post("signature_request/send", **body)
        return JSONResponse({"status": answer.status_code})

    path = "/v1/signature_request/send"
    browser = await signed_in(each_site, send)
    each_site.emulator.faults.add(path, **REFUSED)
    assert (await browser.fetch("GET", "/x")).json()["status"] != 401
    assert len(each_site.emulator.calls_to(path)) == 2


async def test_rf_13_many_refusals_at_once_cause_one_refresh(each_site):
    async def many(request: Request) -> Response:
        answers = await asyncio.gather(*(request.state.lumin.get("user/info") for _ in range(10)))
        return JSONResponse([answer.status_code for answer in answers])

    browser = await signed_in(each_site, many)
    each_site.emulator.expire_access_tokens()
    assert (await browser.fetch("GET", "/x")).json() == [200] * 10
    assert len(refreshes(each_site)) == 1
    assert each_site.emulator.reuse_events == 0


async def test_rf_13_when_no_new_token_can_be_had_the_refusal_is_the_answer(each_site):
    browser = await signed_in(each_site, call_api)
    each_site.emulator.faults.add(USER_INFO, times=None, **REFUSED)
    each_site.emulator.faults.add(TOKEN, status=500, times=None)
    assert (await browser.fetch("GET", "/x")).json()["status"] == 401
    assert await subject_of_session(browser)


async def test_rf_13_an_api_that_refuses_everything_does_not_spend_one_refresh_token_after_another(each_site):
    """Ten pages, one refresh: another new token would fare no better than the one that is a moment old."""
    browser = await signed_in(each_site, call_api)
    each_site.emulator.faults.add(USER_INFO, times=None, **REFUSED)
    for _ in range(10):
        assert (await browser.fetch("GET", "/x")).json()["status"] == 401
        each_site.clock.advance(5)
    assert len(refreshes(each_site)) == 1
    each_site.clock.advance(60)
    each_site.emulator.faults.clear()
    each_site.emulator.expire_access_tokens()
    assert (await browser.fetch("GET", "/x")).json()["status"] == 200
    assert len(refreshes(each_site)) == 2
    assert each_site.emulator.reuse_events == 0


async def test_rf_13_tokens_that_were_dead_on_arrival_are_told_apart_in_the_log(each_site, log):
    """Somebody who shares no store with us renewed the same session, and won."""
    browser = await signed_in(each_site, call_api)
    each_site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/x")).json()["status"] == 200
    each_site.emulator.revoke_all()
    for _ in range(3):
        assert (await browser.fetch("GET", "/x")).json()["status"] == 401
    assert len(refreshes(each_site)) == 1
    each_site.clock.advance(EXPIRED)
    assert (await browser.fetch("GET", "/x")).status_code == 401
    assert any("shares no store" in line for line in log.lines)


async def test_rf_13_a_token_is_renewed_some_time_before_it_expires(each_site):
    browser = await signed_in(each_site)
    each_site.clock.advance(3570)
    await browser.fetch("GET", "/x")
    assert len(refreshes(each_site)) == 1


async def test_rf_13_a_short_lived_token_is_not_renewed_with_every_request(new_each_site):
    """A margin that is longer than the token's life would never be satisfied."""
    site = new_each_site(emulator={"access_token_lifetime": 60})
    browser = await signed_in(site)
    for _ in range(20):
        site.clock.advance(3)
        assert (await browser.fetch("GET", "/x")).status_code == 200
    assert len(refreshes(site)) <= 2


async def test_rf_13_the_application_hears_of_the_end_in_the_middle(each_site):
    heard: list[type] = []

    async def listens(request: Request) -> Response:
        try:
            await request.state.lumin.get("user/info")
        except LuminError as error:
            heard.append(type(error))
            raise
        return Response()

    browser = await signed_in(each_site, listens)
    each_site.emulator.revoke_all()
    answer = await browser.fetch("GET", "/x")
    assert answer.status_code == 401
    assert len(heard) == 1
    assert issubclass(heard[0], LoginRequired)


async def test_rf_a_session_that_was_signed_out_meanwhile_stays_signed_out(each_site):
    """The end wins over a refresh that is under way, and the new tokens are revoked."""
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH)
    each_site.clock.advance(EXPIRED)
    loop, reached, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        loop.call_soon_threadsafe(reached.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))

    each_site.emulator.faults.add(TOKEN, after=hold)
    task = asyncio.ensure_future(call(each_site.middleware, "/x", headers=headers))
    await reached.wait()
    answer = await browser.log_out()
    assert answer.status_code == 303
    go_on.set()
    assert (await task).status == 401
    assert (await call(each_site.middleware, "/x", headers=headers)).status == 401
    assert all(grant.revoked for grant in each_site.emulator.grants)
    assert set_cookies(answer)
