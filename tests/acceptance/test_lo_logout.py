"""LO: signing out here, and at the server as far as it can be (LO-01, 02, 04, 05, 06)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lumin_middleware import AuthorizationServer, ConfigurationError
from tests.acceptance.harness import (
    LOGIN,
    REVOKE,
    SESSION,
    call,
    cookies,
    session_cookies,
    session_records,
    subject,
    trouble,
    until_called,
    with_cookies,
)
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN, Site, query, set_cookies

OURS = {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}
LOGOUT = "/oauth2/sessions/logout"


# --- LO-01 ----------------------------------------------------------------------------------------------


async def test_lo_01_signing_out_ends_the_session_for_every_copy(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    copied = with_cookies(browser, FETCH)
    answer = await browser.log_out()
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/logout")
    assert await subject(browser) is None
    assert (await call(each_site.middleware, "/who", headers=copied)).status == 401
    other = each_site.with_settings()
    assert (await call(other.middleware, "/who", headers=copied)).status == 401, "on another worker as well"
    if each_site.config.sessions == "store":
        assert session_records(each_site) == {}


async def test_lo_01_every_cookie_of_ours_is_deleted_with_the_attributes_it_has(new_each_site):
    site = new_each_site(emulator={"access_token_length": 2800})
    browser = site.browser()
    await browser.sign_in()
    for path in ("/a", "/b"):
        await browser.navigate(f"/auth/login?return_to={path}")
    browser.cookies.set("theirs", "1", domain="app.example.com")
    names = set(cookies(browser)) - {"theirs"}
    assert len([name for name in names if name.startswith(LOGIN)]) == 2
    lines = set_cookies(await browser.log_out())
    assert set(lines) == names
    for name, line in lines.items():
        assert line == f"{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert set(cookies(browser)) == {"theirs"}


async def test_lo_01_a_login_in_flight_is_over_after_a_logout(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    begun = await browser.navigate("/auth/login?return_to=/x")
    callback = each_site.emulator.sign_in(begun.headers["location"])
    await browser.log_out()
    assert (await browser.navigate(callback)).status_code == 400
    assert await subject(browser) is None


async def test_lo_01_a_script_gets_204(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    answer = await browser.fetch("POST", "/auth/logout")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "location" not in answer.headers
    assert cookies(browser) == {}


async def test_lo_01_somebody_who_is_not_signed_in_may_sign_out(each_site):
    browser = each_site.browser()
    assert (await browser.log_out()).status_code == 303
    browser.cookies.set(SESSION, "junk", domain="app.example.com", path="/")
    answer = await browser.log_out()
    assert answer.status_code == 303
    assert cookies(browser) == {}


async def test_lo_01_signing_out_twice_at_once_is_one_logout(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    headers = with_cookies(browser, OURS)
    for _ in range(2):
        answer = await call(each_site.middleware, "/auth/logout", method="POST", headers=headers)
        assert answer.status == 303
    assert len(each_site.emulator.calls_to(REVOKE)) == 1


async def test_lo_01_a_renewed_session_is_signed_out_with_an_old_cookie(each_site):
    """Whoever comes with an old copy signs out the newest generation."""
    browser = each_site.browser()
    await browser.sign_in()
    old = with_cookies(browser, OURS)
    each_site.clock.advance(3700)
    assert await subject(browser)
    await call(each_site.middleware, "/auth/logout", method="POST", headers=old)
    assert await subject(browser) is None
    assert all(grant.revoked for grant in each_site.emulator.grants)


async def test_lo_01_only_this_session_ends(each_site):
    people = list(each_site.emulator.users)
    one, two, other = (each_site.browser() for _ in range(3))
    await one.sign_in(sub=people[0])
    await two.sign_in(sub=people[0])
    await other.sign_in(sub=people[1])
    await one.log_out()
    assert (await subject(two), await subject(other)) == (people[0], people[1])


# --- LO-02 ----------------------------------------------------------------------------------------------

CROSS: dict[str, tuple[str, dict[str, str]]] = {
    "an image": (
        "GET",
        {"accept": "image/*", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image", "sec-fetch-site": "cross-site"},
    ),
    "a link": ("GET", {**NAVIGATION, "sec-fetch-site": "cross-site"}),
    "a link on our own site": ("GET", {**NAVIGATION, "sec-fetch-site": "same-origin"}),
    "a prefetch": ("GET", {**NAVIGATION, "sec-purpose": "prefetch"}),
    "HEAD": ("HEAD", {**NAVIGATION, "sec-fetch-site": "same-origin"}),
    "a form of another site": (
        "POST",
        {**NAVIGATION, "sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    ),
    "a form of a subdomain": (
        "POST",
        {**NAVIGATION, "sec-fetch-site": "same-site", "origin": "https://x.app.example.com"},
    ),
    "same-site, although the origin says ours": (
        "POST",
        {**NAVIGATION, "sec-fetch-site": "same-site", "origin": ORIGIN},
    ),
    "a form of a sandboxed frame": ("POST", {**NAVIGATION, "sec-fetch-site": "cross-site", "origin": "null"}),
    "an old browser, another origin": ("POST", {"accept": "text/html", "origin": "https://evil.example"}),
    "an old browser, no origin": ("POST", {"accept": "text/html"}),
    "an old browser, an opaque origin": ("POST", {"accept": "text/html", "origin": "null"}),
    "an origin that begins like ours": ("POST", {"accept": "text/html", "origin": f"{ORIGIN}.evil.example"}),
    "an origin with a port": ("POST", {"accept": "text/html", "origin": f"{ORIGIN}:8443"}),
    "an origin over http": ("POST", {"accept": "text/html", "origin": ORIGIN.replace("https", "http")}),
    "an empty origin": ("POST", {"accept": "text/html", "origin": ""}),
    "only a referer": ("POST", {"accept": "text/html", "referer": f"{ORIGIN}/page"}),
    "sec-fetch-site none": ("POST", {**NAVIGATION, "sec-fetch-site": "none", "origin": ORIGIN}),
    "sec-fetch-site of nobody's": ("POST", {**NAVIGATION, "sec-fetch-site": "SAME-ORIGIN"}),
    "a method override": ("GET", {**OURS, "x-http-method-override": "POST"}),
    "DELETE": ("DELETE", OURS),
    "PUT": ("PUT", OURS),
    "OPTIONS": ("OPTIONS", OURS),
}


async def test_lo_02_nobody_else_can_sign_a_person_out(each_site):
    wrong = []
    for name, (method, headers) in CROSS.items():
        browser = each_site.browser()
        await browser.sign_in()
        for target in ("/auth/logout", "/auth/logout?_method=POST&confirm=1"):
            answer = await call(each_site.middleware, target, method=method, headers=with_cookies(browser, headers))
            if answer.set_cookies or answer.status not in (200, 400, 403, 405):
                wrong.append((name, answer.status))
        if not await subject(browser):
            wrong.append((name, "signed out"))
    assert wrong == []
    assert each_site.emulator.calls_to(REVOKE) == []


async def test_lo_02_a_header_that_came_twice_does_not_count(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    base = [
        (name.encode(), value.encode()) for name, value in with_cookies(browser).items() if name != "sec-fetch-site"
    ]
    twice = [
        [(b"origin", ORIGIN.encode()), (b"origin", b"https://evil.example")],
        [(b"origin", b"https://evil.example"), (b"origin", ORIGIN.encode())],
        [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin"), (b"origin", b"https://evil.example")],
    ]
    for extra in twice:
        answer = await call(each_site.middleware, "/auth/logout", method="POST", headers=[*base, *extra])
        assert answer.status == 403
    assert await subject(browser)


async def test_lo_02_a_get_shows_a_page_with_a_button_and_signs_nobody_out(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    page = await browser.navigate("/auth/logout")
    assert page.status_code == 200
    assert '<form method="post" action="/auth/logout">' in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert await subject(browser)
    answer = await browser.post("/auth/logout", headers=OURS)  # the button
    assert answer.status_code == 303
    assert await subject(browser) is None
    assert "Sign in" in (await browser.navigate("/auth/logout")).text


async def test_lo_02_nobody_else_can_end_a_persons_other_sessions(new_site):
    """`POST sessions/end` is a logout as well."""
    site = new_site(sessions="store")
    wrong = []
    for name, (method, headers) in CROSS.items():
        one, two = site.browser(), site.browser()
        await one.sign_in()
        await two.sign_in()
        answer = await call(site.middleware, "/auth/sessions/end", method=method, headers=with_cookies(one, headers))
        if answer.status not in (400, 403, 405) or not await subject(two):
            wrong.append((name, answer.status))
    assert wrong == []


async def test_lo_02_nobody_ends_or_sees_the_sessions_of_another_person(new_site):
    site = new_site(sessions="store")
    people = list(site.emulator.users)
    victim, attacker = site.browser(), site.browser()
    await victim.sign_in(sub=people[0])
    await attacker.sign_in(sub=people[1])
    [mine] = (await victim.fetch("GET", "/auth/sessions")).json()["sessions"]
    listed = (await attacker.fetch("GET", "/auth/sessions")).json()["sessions"]
    assert mine["id"] not in [entry["id"] for entry in listed]
    for wanted in (
        f"?id={mine['id']}",
        "",
        "?id=",
        "?id=*",
        f"?id={listed[0]['id']}&id={mine['id']}",
        f"?id[]={mine['id']}",
    ):
        await attacker.fetch("POST", f"/auth/sessions/end{wanted}")
        assert await subject(victim) == people[0], wanted
    anonymous = site.browser()
    assert (await anonymous.fetch("POST", f"/auth/sessions/end?id={mine['id']}")).status_code == 401
    assert (await anonymous.fetch("GET", "/auth/sessions")).status_code == 401
    assert await subject(victim) == people[0]


async def test_lo_02_an_old_browser_with_our_origin_may(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    headers = with_cookies(browser, {"accept": "text/html", "origin": ORIGIN})
    assert (await call(each_site.middleware, "/auth/logout", method="POST", headers=headers)).status == 303
    assert await subject(browser) is None


# --- LO-04 ----------------------------------------------------------------------------------------------


async def test_lo_04_the_local_session_ends_before_the_browser_is_sent_to_the_server(new_each_site):
    site = new_each_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye")
    browser = site.browser()
    await browser.sign_in()
    copied = with_cookies(browser, FETCH)
    answer = await browser.log_out()
    location = answer.headers["location"]
    assert location.partition("?")[0] == f"{site.emulator.base}{LOGOUT}"
    assert await subject(browser) is None
    assert (await call(site.middleware, "/who", headers=copied)).status == 401
    found = query(location)
    assert found.keys() == {"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}
    assert found["client_id"] == CLIENT.client_id
    assert found["post_logout_redirect_uri"] == f"{ORIGIN}/bye"
    assert len(found["state"]) >= 16
    for grant in site.emulator.grants:
        for token in grant.tokens:
            assert token.value not in location
    assert CLIENT.client_secret not in location
    landed = await site.emulator.sign_out(location)
    assert landed == f"{ORIGIN}/bye?state={found['state']}"


async def test_lo_04_a_query_of_the_endpoint_is_kept(new_each_site):
    site = new_each_site(end_session=True)
    endpoint = f"{site.emulator.base}{LOGOUT}?tenant=a%20b"
    site = site.with_settings(server=replace(site.config.server, end_session_endpoint=endpoint))
    browser = site.browser()
    await browser.sign_in()
    location = (await browser.log_out()).headers["location"]
    found = query(location)
    assert found.pop("tenant") == "a b"
    assert found.keys() == {"id_token_hint", "client_id"}


async def test_lo_04_without_a_registered_return_neither_it_nor_a_state_is_sent(new_each_site):
    """Hydra answers an error page to a URI that is not registered, and Lumin's form has no field for one."""
    site = new_each_site(end_session=True)
    browser = site.browser()
    await browser.sign_in()
    location = (await browser.log_out()).headers["location"]
    assert query(location).keys() == {"id_token_hint", "client_id"}
    assert await site.emulator.sign_out(location) is None


async def test_lo_04_the_hint_is_the_newest_id_token_and_outlives_a_refresh(new_each_site):
    site = new_each_site(end_session=True)
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(3700)
    await subject(browser)
    location = (await browser.log_out()).headers["location"]
    assert await site.emulator.sign_out(location) is None, "the emulator knows whose it is"
    assert query(location)["id_token_hint"].count(".") == 2


async def test_lo_04_the_form_may_lead_wherever_the_server_goes_on_to(new_each_site):
    """Hydra goes on to the login application's page, and that to `post_logout_redirect_uri`: other hosts, often."""
    site = new_each_site(end_session=True)
    browser = site.browser()
    await browser.sign_in()
    page = await browser.navigate("/auth/logout")
    [sources] = [
        part.split()[1:]
        for part in page.headers["content-security-policy"].split(";")
        if part.split()[0] == "form-action"
    ]
    assert sources == ["'self'", "https:", "http:"]


# --- LO-05 ----------------------------------------------------------------------------------------------


async def landed_on(site: Site, browser: Any) -> str:
    answer = await browser.log_out()
    assert answer.status_code == 303, answer.text
    assert await subject(browser) is None
    return str(answer.headers["location"])


async def test_lo_05_without_an_end_session_endpoint_the_logout_is_local(new_each_site):
    site = new_each_site(end_session=True, after_logout="/bye")
    site = site.with_settings(server=replace(site.config.server, end_session_endpoint=None))
    browser = site.browser()
    await browser.sign_in()
    assert await landed_on(site, browser) == "/bye"


async def test_lo_05_without_an_end_session_endpoint_in_discovery_the_logout_is_local(new_each_site):
    site = new_each_site(end_session=True, after_logout="/bye")
    base = site.emulator.base
    document = {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth2/auth",
        "token_endpoint": f"{base}/oauth2/token",
        "jwks_uri": f"{base}/.well-known/jwks.json",
    }
    site.emulator.faults.add("/.well-known/openid-configuration", body=document, times=None)
    site = site.with_settings(server=AuthorizationServer.discover(base))
    browser = site.browser()
    await browser.sign_in()
    assert await landed_on(site, browser) == "/bye"


async def test_lo_05_without_an_id_token_the_server_is_asked_without_what_it_would_refuse(new_each_site):
    site = new_each_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye", emulator={"id_token": False})
    browser = site.browser()
    await browser.sign_in()
    location = await landed_on(site, browser)
    assert location in ("/", f"{site.emulator.base}{LOGOUT}")
    if location != "/":
        assert await site.emulator.sign_out(location) is None


async def test_lo_05_an_expired_session_lands_on_the_sites_own_page(new_each_site):
    site = new_each_site(end_session=True, after_logout="/bye")
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(site.config.absolute_timeout + 1)
    assert await landed_on(site, browser) == "/bye"
    assert session_cookies(browser) == {}


async def test_lo_05_a_discovery_that_does_not_answer_does_not_block_a_logout(new_each_site):
    site = new_each_site(after_logout="/bye")
    browser = site.browser()
    await browser.sign_in()
    site.emulator.faults.add("/.well-known/openid-configuration", status=500, times=None)
    other = site.with_settings(end_session=True, server=AuthorizationServer.discover(site.emulator.base))
    carried = other.browser()
    carried.cookies = browser.cookies
    assert await landed_on(other, carried) == "/bye"


@pytest.mark.parametrize("state", ["", "?state=", "?state=other", "?state=x&return_to=//evil.example", "?error=x"])
async def test_lo_05_the_way_back_is_a_page_of_the_application_whatever_it_brings(new_each_site, state):
    site = new_each_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye", optional=["/bye"])
    browser = site.browser()
    answer = await browser.navigate(f"/bye{state}")
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_lo_05_a_return_that_leads_nowhere_is_refused_at_the_start(new_site):
    for uri in ("/bye", "javascript:alert(1)", "http://app.example.com/bye", "https://app.example.com/bye#x", ""):
        with pytest.raises(ConfigurationError):
            new_site(end_session=True, post_logout_redirect_uri=uri)


@pytest.mark.parametrize(
    "after", ["//evil.example", "https://evil.example", "/\\evil.example", "bye", "", "/a b", "\t/x"]
)
async def test_lo_05_a_landing_page_elsewhere_is_refused_at_the_start(new_site, after):
    for name in ("after_logout", "after_login"):
        with pytest.raises(ConfigurationError):
            new_site(**{name: after})


# --- LO-06 ----------------------------------------------------------------------------------------------


async def test_lo_06_the_refresh_token_is_revoked_and_with_it_the_grant(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(3700)
    await subject(browser)
    newest = next(iter(each_site.emulator.grants)).tokens[-1].value
    await browser.log_out()
    [request] = each_site.emulator.calls_to(REVOKE)
    assert request.form["token"] == [newest]
    assert request.form["client_secret"] == [CLIENT.client_secret]
    assert "authorization" not in request.headers
    assert request.query == {}
    assert all(grant.revoked for grant in each_site.emulator.grants)


async def test_lo_06_without_a_refresh_token_the_access_token_is_revoked(each_site):
    browser = each_site.browser()
    await browser.sign_in(scope="openid sign:requests")
    [grant] = each_site.emulator.grants
    await browser.log_out()
    assert each_site.emulator.calls_to(REVOKE)[0].form["token"] == [grant.tokens[0].value]


TROUBLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "400 with an error": {"status": 400, "body": {"error": "unsupported_token_type"}},
    "401 invalid_client": {"status": 401, "body": {"error": "invalid_client"}},
    "HTML": {"status": 200, "body": "<html>", "content_type": "text/html"},
    "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "reset": {"drop": "before"},
    "too late": {"delay": 30.0, "act": False},
    "too long": {"status": 200, "body": "x" * 2_000_000},
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_lo_06_trouble_at_the_revocation_endpoint_blocks_no_logout(each_site, name, log):
    browser = each_site.browser()
    await browser.sign_in()
    with trouble(each_site, REVOKE, **TROUBLE[name]):
        answer = await browser.log_out()
        await until_called(each_site, REVOKE)
    assert answer.status_code == 303
    assert cookies(browser) == {}
    assert len(each_site.emulator.calls_to(REVOKE)) == 1
    if name != "HTML":
        assert any("revoke" in line for line in log.lines)


async def test_lo_06_a_server_without_a_revocation_endpoint_is_no_trouble(new_each_site):
    site = new_each_site()
    site = site.with_settings(server=replace(site.config.server, revocation_endpoint=None))
    browser = site.browser()
    await browser.sign_in()
    assert (await browser.log_out()).status_code == 303
    assert site.emulator.calls_to(REVOKE) == []


async def test_lo_06_the_token_is_never_in_a_url(new_each_site):
    site = new_each_site(end_session=True)
    browser = site.browser()
    await browser.sign_in()
    answer = await browser.log_out()
    for request in site.emulator.calls:
        assert "token" not in request.query
        assert not [value for values in request.query.values() for value in values if value.startswith("ory_rt_")]
    assert set(parse_qs(urlsplit(answer.headers["location"]).query)) <= {"id_token_hint", "client_id"}
