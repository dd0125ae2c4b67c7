"""Forward authentication: what a proxy is told, and what is believed of it (FA, HD-04, HD-05)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from lumin_middleware import ConfigurationError
from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.model import Request
from lumin_middleware.site import verify
from lumin_middleware.site.proxies import Proxies
from lumin_middleware.site.verify import NAMING, READ, header_text, identity_headers, question
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.acceptance.harness import call, cookie_header, with_cookies
from tests.edges.gateway import environ, serve_validated
from tests.fakes import config
from tests.patience import PATIENCE
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION, query

PROXY = ("127.0.0.1", 40000)
STRANGER = ("203.0.113.9", 40000)
LOGIN = "/auth/login?return_to="
IDENTITY = ("x-auth-request-user", "x-auth-request-email", "x-auth-request-scope", "x-auth-request-access-token")
FORGED = dict.fromkeys(IDENTITY, "the root") | {"x_auth_request_user": "the root", "authorization": "Bearer forged"}


def identity(answer) -> dict[str, str]:
    return {name: answer.header(name) for name in IDENTITY if answer.header(name) is not None}


async def signed_in(site, **person):
    browser = site.browser()
    await browser.sign_in(**person)
    return browser


def login_url(answer) -> str:
    return json.loads(answer.body)["login_url"]


# --- FA-01: the status ----------------------------------------------------------------------------------


async def test_fa_01_a_session_is_204_with_who_it_is(each_site):
    browser = await signed_in(each_site)
    answer = await call(each_site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH))
    person = next(iter(each_site.emulator.users.values()))
    assert (answer.status, answer.body) == (204, b"")
    assert identity(answer) == {
        "x-auth-request-user": person.sub,
        "x-auth-request-email": person.email,
        "x-auth-request-scope": "openid offline_access sign:requests",
    }


@pytest.mark.parametrize("headers", [NAVIGATION, FETCH, {}, {**FETCH, "cookie": f"{SESSION}=junk"}])
async def test_fa_01_nobody_is_401_and_never_a_redirect(each_site, headers):
    answer = await call(each_site.middleware, "/auth/verify", headers=headers)
    assert (answer.status, answer.header("location"), answer.all("set-cookie")) == (401, None, [])


async def test_fa_01_a_session_that_has_ended_is_401(each_site):
    browser = await signed_in(each_site)
    cookie = cookie_header(browser)
    await browser.log_out()
    answer = await call(each_site.middleware, "/auth/verify", headers={"cookie": cookie})
    assert answer.status == 401


async def test_fa_01_a_scope_that_is_missing_is_403(each_site):
    browser = await signed_in(each_site)
    for scope, status in (
        ("sign:requests", 204),
        ("sign:requests+openid", 204),
        ("", 204),
        ("templates", 403),
        ("sign:requests+templates", 403),
        ("SIGN:REQUESTS", 403),
        ("%00%22%0a", 403),
    ):
        headers = with_cookies(browser, NAVIGATION)
        answer = await call(each_site.middleware, f"/auth/verify?scope={scope}", headers=headers)
        assert answer.status == status, scope
        assert (identity(answer) == {}) == (status == 403)


async def test_fa_01_a_store_in_trouble_is_503(new_site, monkeypatch):
    site = new_site(sessions="store")
    browser = await signed_in(site)

    def fail(key):
        raise StoreUnavailable("it is not there")

    monkeypatch.setattr(site.store, "get", fail)
    answer = await call(site.middleware, "/auth/verify?redirect", headers=with_cookies(browser, NAVIGATION))
    assert (answer.status, identity(answer)) == (503, {})
    assert answer.header("retry-after")


async def test_fa_01_a_server_in_trouble_is_503_once_the_token_has_expired(each_site):
    browser = await signed_in(each_site)
    each_site.emulator.faults.add("/oauth2/token", status=500, times=None)
    each_site.clock.advance(3601)
    answer = await call(each_site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH))
    assert (answer.status, identity(answer)) == (503, {})


async def test_a_renewed_session_is_given_back_in_the_one_cookie(each_site):
    browser = await signed_in(each_site)
    each_site.clock.advance(3601)
    answer = await call(each_site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH))
    assert answer.status == 204
    if each_site.config.sessions == "cookie":
        [line] = answer.all("set-cookie")
        assert line.startswith(f"{SESSION}=")
    calls = each_site.emulator.calls_to("/oauth2/token")
    assert len(calls) == 2
    again = await call(each_site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH))
    assert again.status == 204
    assert len(each_site.emulator.calls_to("/oauth2/token")) == 2, "and the old cookie finds the new tokens"


async def test_a_session_in_use_slides(new_site):
    site = new_site(idle_timeout=600, absolute_timeout=6000)
    browser = await signed_in(site)
    site.clock.advance(500)
    answer = await call(site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH))
    [line] = answer.all("set-cookie")
    assert "Max-Age=600" in line


# --- one cookie for a proxy -----------------------------------------------------------------------------

IN_PIECES = {"access_token_length": 3000, "access_token_lifetime": 10**6}
SLIDES = 86_400 / 10 + 1


async def test_a_session_that_needs_pieces_is_put_into_the_store_for_a_proxy(new_site, monkeypatch):
    site = new_site(emulator=IN_PIECES, trusted_proxies=["127.0.0.1"])
    browser = await signed_in(site)
    pieces = cookie_header(browser)
    assert f"{SESSION}-1=" in pieces
    site.clock.advance(SLIDES)

    def fail(*_):
        raise StoreUnavailable("it is not there")

    with monkeypatch.context() as patched:
        patched.setattr(site.store, "swap", fail)
        answer = await call(site.middleware, "/auth/verify", headers={"cookie": pieces} | TOLD, client=PROXY)
        assert (answer.status, answer.all("set-cookie")) == (204, []), "and what the browser has goes on"
    answer = await call(site.middleware, "/auth/verify", headers={"cookie": pieces} | TOLD, client=PROXY)
    [line] = answer.all("set-cookie")
    assert line.startswith(f"{SESSION}=")
    assert len(line) < 500
    for beside in ("", f"; {pieces}"):
        cookie = line.partition(";")[0] + beside
        answer = await call(site.middleware, "/auth/verify", headers={"cookie": cookie} | TOLD, client=PROXY)
        assert (answer.status, answer.all("set-cookie")) == (204, [])
    await browser.log_out()
    assert (await call(site.middleware, "/auth/verify", headers={"cookie": cookie})).status == 401, "by whichever copy"


async def test_what_the_client_gets_whole_has_every_cookie(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"])
    browser = await signed_in(site)
    site.clock.advance(SLIDES)
    headers = {"cookie": f"{cookie_header(browser)}; {SESSION}-0=stale"} | TOLD
    answer = await call(site.middleware, "/auth/verify?answer", headers=headers, client=PROXY)
    assert answer.status == 503
    assert [line.partition(";")[0].partition("=")[0] for line in answer.all("set-cookie")] == [SESSION, f"{SESSION}-0"]
    assert answer.header("cdn-cache-control") is None


async def test_beside_a_cookie_is_said_that_no_cache_may_have_the_page(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"])
    browser = await signed_in(site)
    for pause, said in ((0, (None, None, None)), (SLIDES, ("Cookie", "-1", "private, no-store"))):
        site.clock.advance(pause)
        headers = with_cookies(browser, FETCH) | TOLD
        answer = await call(site.middleware, "/auth/verify", headers=headers, client=PROXY)
        assert tuple(map(answer.header, ("vary", "expires", "cdn-cache-control"))) == said


# --- FA-02: the headers ---------------------------------------------------------------------------------


async def test_fa_02_refusals_carry_nothing_of_anybody(each_site):
    browser = await signed_in(each_site)
    headers = with_cookies(browser, FETCH) | FORGED
    for target, sent in (("/auth/verify", FORGED), ("/auth/verify?scope=templates", headers)):
        answer = await call(each_site.middleware, target, headers=sent)
        assert answer.status in (401, 403)
        assert identity(answer) == {}
        assert b"the root" not in answer.body


async def test_fa_02_what_a_client_forged_is_overwritten_and_not_echoed(each_site):
    browser = await signed_in(each_site)
    answer = await call(each_site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH) | FORGED)
    assert answer.status == 204
    assert "the root" not in str(answer.headers)


def test_fa_02_an_unknown_claim_is_an_empty_header():
    assert identity_headers({"sub": "bare"}, ("openid",)) == [
        ("X-Auth-Request-User", "bare"),
        ("X-Auth-Request-Email", ""),
        ("X-Auth-Request-Scope", "openid"),
    ]


@pytest.mark.parametrize("verified", [False, "false", " False", 0, "no"])
def test_an_email_that_the_server_did_not_verify_is_passed_to_nobody(verified):
    claims = {"sub": "ada", "email": "ada@example.com", "email_verified": verified}
    assert dict(identity_headers(claims, ()))["X-Auth-Request-Email"] == ""


@pytest.mark.parametrize("verified", [{}, {"email_verified": True}, {"email_verified": "true"}])
def test_an_email_that_it_did_or_of_which_it_says_nothing_is_passed(verified):
    claims = {"sub": "ada", "email": "ada@example.com", **verified}
    assert dict(identity_headers(claims, ()))["X-Auth-Request-Email"] == "ada@example.com"


async def test_somebody_whom_nobody_names_passes_under_no_empty_name(new_site):
    rules = {"trusted_proxies": ["127.0.0.1"], "public": ["/free"], "optional": ["/maybe"]}
    site = new_site(emulator={"id_token": False}, id_token="auto", **rules)
    site.emulator.faults.add("/v1/user/info", status=403)
    browser = await signed_in(site)
    for peer, told in ((STRANGER, {}), (PROXY, TOLD), (PROXY, {"x-forwarded-uri": "/maybe"})):
        headers = with_cookies(browser, NAVIGATION) | told
        answer = await call(site.middleware, "/auth/verify?redirect", headers=headers, client=peer)
        assert (answer.status, identity(answer)) == (403, {})
        assert b"did not say who you are" in answer.body
    headers = with_cookies(browser, NAVIGATION) | {"x-forwarded-uri": "/free"}
    answer = await call(site.middleware, "/auth/verify?redirect", headers=headers, client=PROXY)
    assert answer.status == 204, "where nobody needs a name"


async def test_fa_02_the_access_token_is_given_when_asked_for_and_to_a_trusted_proxy_only(new_site):
    site = new_site()
    browser = await signed_in(site)
    opted = site.with_settings(verify_access_token=True, trusted_proxies=["127.0.0.1"])
    for each, peer, told, given in (
        (site, PROXY, TOLD, False),
        (opted, STRANGER, TOLD, False),
        (opted, None, TOLD, False),
        (opted, PROXY, {}, False),
        (opted, PROXY, TOLD, True),
    ):
        headers = with_cookies(browser, FETCH) | told
        answer = await call(each.middleware, "/auth/verify", headers=headers, client=peer)
        assert answer.status == 204
        assert ("x-auth-request-access-token" in identity(answer)) is given
    token = identity(answer)["x-auth-request-access-token"]
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        who = await client.get(f"{site.emulator.base}/v1/user/info", headers={"authorization": f"Bearer {token}"})
    assert who.status_code == 200


async def test_the_proxy_alone_is_told_the_cookies_that_the_service_may_see(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"], public=["/free"])
    browser = await signed_in(site)
    cookie = f"a=1; {cookie_header(browser)}; b=\xe9"
    for peer, told, seen in (
        (PROXY, TOLD, "a=1; b=\xe9"),
        (PROXY, {"x-forwarded-uri": "/free"}, "a=1; b=\xe9"),
        (PROXY, {}, None),
        (STRANGER, TOLD, None),
    ):
        answer = await call(site.middleware, "/auth/verify", headers={"cookie": cookie} | told, client=peer)
        assert (answer.status, answer.header("cookie")) == (204, seen)
    answer = await call(site.middleware, "/auth/verify", headers=with_cookies(browser, FETCH) | TOLD, client=PROXY)
    assert answer.header("cookie") == "", "which takes the place of ours"


def test_the_access_token_without_a_trusted_proxy_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="verify_access_token"):
        config(verify_access_token=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Zoë", "Zo%C3%AB"),
        ("a b", "a b"),
        ("100%", "100%25"),
        ("a\r\nSet-Cookie: x=y\0", "a%0D%0ASet-Cookie: x=y%00"),
        ("\ud800", "?"),
        (7, "7"),
        (None, ""),
    ],
)
def test_header_text_is_ascii_whatever_it_says(value, text):
    assert header_text(value) == text


def test_header_text_is_quoted_wherever_it_must_be():
    for number in (*range(0x200), 0x20AC, 0x1F600, 0xDC80):
        text = f"a{chr(number)}b"
        assert header_text(text) == quote(text, safe=verify._VISIBLE, errors="replace")


# --- FA-05: the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_fa_05_any_method_is_answered_and_no_body_is_read(each_site, method):
    browser = await signed_in(each_site)

    async def receive():
        raise AssertionError("the body was read")

    for cookie, status in ((cookie_header(browser), 204), ("", 401)):
        sent = []

        async def send(message, sent=sent):
            sent.append(message)

        headers = [(b"content-length", b"5"), (b"cookie", cookie.encode())]
        scope = {"type": "http", "method": method, "path": "/auth/verify", "headers": headers, "query_string": b""}
        await each_site.middleware(scope, receive, send)
        assert sent[0]["status"] == status


async def test_fa_05_nothing_is_stored_and_no_password_is_asked_for(each_site):
    browser = await signed_in(each_site)
    for target, headers in (
        ("/auth/verify", {}),
        ("/auth/verify", with_cookies(browser, FETCH)),
        ("/auth/verify?scope=templates", with_cookies(browser, FETCH)),
    ):
        answer = await call(each_site.middleware, target, headers=headers)
        assert answer.header("cache-control") == "no-store"
        challenges = answer.all("www-authenticate")
        assert len(challenges) == (0 if answer.status == 204 else 1)
        assert "basic" not in str(challenges).lower()


# --- HD-04: whose word is taken -------------------------------------------------------------------------

TOLD = {"x-forwarded-uri": "/deep/page?x=1&y=2", "x-forwarded-method": "GET"}


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ((), PROXY, False),
        (["127.0.0.1"], PROXY, True),
        (["127.0.0.0/8", "10.0.0.0/8"], ("10.1.2.3", 1), True),
        (["127.0.0.1"], ("::ffff:127.0.0.1", 1), True),
        (["::ffff:127.0.0.1"], ("::ffff:127.0.0.1", 1), True),
        (["::ffff:127.0.0.0/104"], PROXY, True),
        (["::1"], ("::1", 1), True),
        (["127.0.0.1"], STRANGER, False),
        (["127.0.0.1"], None, False),
        (["127.0.0.1"], ("", 0), False),
        (["0.0.0.0/0", "::/0"], None, False),
        (["127.0.0.1"], ("testclient", 1), False),
    ],
)
async def test_hd_04_the_request_that_is_named_is_believed_of_a_trusted_peer_only(new_site, trusted, peer, believed):
    site = new_site(trusted_proxies=trusted)
    answer = await call(site.middleware, "/auth/verify?redirect", headers=NAVIGATION | TOLD, client=peer)
    if not believed:
        assert (answer.status, answer.all("set-cookie")) == (401, [])
        assert b"deep/page" not in answer.body
        return
    assert answer.status == 303
    browser = site.browser()
    for line in answer.all("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        browser.cookies.set(name, value, domain="app.example.com", path="/")
    done = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert done.headers["location"] == "/deep/page?x=1&y=2"


async def test_hd_04_a_forwarded_for_makes_nobody_a_trusted_peer(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"])
    told = FETCH | TOLD | {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}
    answer = await call(site.middleware, "/auth/verify", headers=told, client=STRANGER)
    assert login_url(answer) == f"{LOGIN}/"


@pytest.fixture
def judged(new_site):
    """Asks about a request: `judged("/sign/x", browser)`; the status of the answer of a site with rules."""
    site = new_site(
        trusted_proxies=["127.0.0.1"],
        public=["/public", "/static/*"],
        optional=["/maybe"],
        required_scopes={"/sign/*": "sign:requests", "/templates/*": "templates"},
        scope="openid offline_access sign:requests templates",
    )
    wsgi = WsgiMiddleware(lambda *_: [], site.config, clock=site.clock)

    async def ask(target, browser=None, *, name="x-forwarded-uri", peer=PROXY, query="", **more):
        headers = {**(with_cookies(browser, FETCH) if browser else FETCH), name: target, **more}
        answer = await call(site.middleware, f"/auth/verify{query}", headers=headers, client=peer)
        made = environ(f"/auth/verify{query}", "GET", headers, b"")
        made["REMOTE_ADDR"] = peer[0]
        twin = serve_validated(wsgi, made)
        assert (twin.status, identity(twin)) == (answer.status, identity(answer)), "two edges, one judge"
        return answer

    ask.site = site
    yield ask
    wsgi.close()


LESS = "openid offline_access sign:requests"
NOBODY = {"x-auth-request-user": "", "x-auth-request-email": "", "x-auth-request-scope": ""}


@pytest.mark.parametrize("name", [name.decode() for name in NAMING])
async def test_fa_01_the_sites_rules_say_who_may_pass(judged, name):
    browser = await signed_in(judged.site, scope=LESS)
    for target, stranger, person in (
        ("/public", 204, 204),
        ("/public?x#y".partition("#")[0], 204, 204),
        ("/static/x.css", 204, 204),
        ("/maybe", 204, 204),
        ("/page", 401, 204),
        ("/sign/x", 401, 204),
        ("/templates/x", 401, 403),
        ("/TEMPLATES/x", 401, 403),
        (f"{ORIGIN}/public", 204, 204),
        (f"{ORIGIN.replace('https', 'http')}/templates/x", 401, 403),
    ):
        assert (await judged(target, name=name)).status == stranger, target
        assert (await judged(target, browser, name=name)).status == person, target


async def test_fa_02_nobody_passes_under_an_empty_name_where_anybody_may(judged):
    browser = await signed_in(judged.site)
    for target, who, nobody in (
        ("/public", None, True),
        ("/public", browser, True),
        ("/maybe", None, True),
        ("/maybe", browser, False),
    ):
        answer = await judged(target, who, **FORGED)
        assert answer.status == 204
        assert (identity(answer) == NOBODY) is nobody
        assert "the root" not in str(answer.headers)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../page",
        "/static/%2e%2e/page",
        "/static/.%2E/page",
        "/static/..%2fpage",
        "/static/%2e%2e%2fpage",
        "/static/..\\page",
        "/static/..;/page",
        "/static/x#y",
        "/static/x?y#z",
        "/static/\xff",
        "/static/%ff",
        "/static/%00x",
        "static/x",
        "",
        "*",
        "https://evil.example/static/x",
        f"{ORIGIN}.evil.example/static/x",
        "//evil.example/static/x",
        "/static//x",
        "/static/%2fx",
        "/static/%252e%252e/page",
    ],
)
async def test_what_readers_take_for_two_paths_is_never_public(judged, target):
    assert (await judged(target)).status in (401, 403)
    assert (await judged(target, query="?redirect", **NAVIGATION)).status in (303, 401, 403)


async def test_a_request_that_is_named_in_two_ways_is_refused(judged):
    for one, other in ((first, second) for first in NAMING for second in NAMING if first != second):
        answer = await judged("/static/x", name=one.decode(), **{other.decode(): "/page"})
        assert answer.status == 403
        answer = await judged("/static/x", name=one.decode(), **{other.decode(): f"{ORIGIN}/static/x"})
        assert answer.status == 204


async def test_of_an_unknown_request_the_rule_that_protects_most_applies(judged):
    partly, wholly = await signed_in(judged.site, scope=LESS), await signed_in(judged.site)
    for who, status in ((None, 401), (partly, 403), (wholly, 204)):
        for target, peer, name in (
            ("/static/x", STRANGER, "x-forwarded-uri"),
            ("/sign/x", STRANGER, "x-original-url"),
            ("/static/x", PROXY, "x-unknown"),
        ):
            answer = await judged(target, who, peer=peer, name=name)
            assert answer.status == status
            assert answer.header("cookie") is None


async def test_a_peer_that_is_not_believed_is_named_once_in_the_log(judged, caplog):
    for _ in range(3):
        await judged("/page", peer=STRANGER)
    said = [record.getMessage() for record in caplog.records if "trusted_proxies" in record.getMessage()]
    assert len(said) == 2, "each of the two edges once"
    assert "203.0.113.9" in said[0]


async def test_no_link_from_elsewhere_asks_for_scopes(judged):
    browser = await signed_in(judged.site, scope=LESS)
    for who in (None, browser):
        for peer, name in ((STRANGER, "x-forwarded-uri"), (STRANGER, "x-unknown"), (PROXY, "x-unknown")):
            more = {**NAVIGATION, "sec-fetch-site": "cross-site"}
            answer = await judged("/page", who, query="?redirect&scope=templates", peer=peer, name=name, **more)
            assert answer.status in (401, 403)
            assert (answer.header("location"), answer.all("set-cookie")) == (None, [])
            assert b"ask=" not in answer.body


async def test_a_login_leads_back_as_ingress_nginx_asks(judged):
    for asks, leads_to in (
        (f"rd={quote(ORIGIN + '/page?x=1&y=2', safe='')}", "/page?x=1&y=2"),
        (f"rd={ORIGIN.replace('https', 'http')}/page", "/page"),
        (f"return_to={ORIGIN}/page", "/page"),
        (f"return_to=/page&rd={ORIGIN}/other", "/page"),
        ("rd=/page", "/page"),
        ("rd=https://evil.example/page", "/"),
        (f"rd={ORIGIN}.evil.example/page", "/"),
        (f"rd={ORIGIN}@evil.example/page", "/"),
        (f"rd={ORIGIN}//evil.example/page", "/"),
        (f"return_to={ORIGIN}", "/"),
        ("rd=http://APP.example.com:80/page", "/"),
    ):
        browser = judged.site.browser()
        begun = await browser.navigate(f"/auth/login?{asks}")
        done = await browser.navigate(judged.site.emulator.sign_in(begun.headers["location"]))
        assert done.headers["location"] == leads_to, asks


# --- a proxy that appends the target --------------------------------------------------------------------


async def test_a_target_that_is_appended_is_judged_and_yes_is_200(new_site):
    site = new_site(
        trusted_proxies=["127.0.0.1"],
        public=["/static/*"],
        required_scopes={"/templates/*": "templates"},
        verify_access_token=True,
    )
    browser = await signed_in(site)
    for target, stranger, person in (
        ("/static/x?redirect&scope=templates", 200, 200),
        ("/static/x?answer", 200, 200),
        ("/page?x=1", 401, 200),
        ("/templates/x", 401, 403),
        ("/static/%2e%2e/page", 403, 403),
        ("/", 401, 200),
    ):
        for who, status in ((None, stranger), (browser, person)):
            headers = with_cookies(who, FETCH) if who else FETCH
            answer = await call(site.middleware, f"/auth/verify{target}", headers=headers, client=PROXY)
            assert answer.status == status, target
            assert "x-auth-request-access-token" not in identity(answer), "a page may have asked"
            assert answer.header("cookie") is None
    begun = await call(site.middleware, "/auth/verify/page?x=1", headers=NAVIGATION, client=PROXY)
    assert begun.status == 303
    refused = await call(
        site.middleware, "/auth/verify/page", headers=FETCH | {"x-forwarded-uri": "/static/x"}, client=PROXY
    )
    assert refused.status == 403, "named in two ways"
    posted = await call(site.middleware, "/auth/verify/page", headers=NAVIGATION, client=PROXY, method="POST")
    assert posted.status == 401


async def test_of_anybody_else_it_is_a_path_of_the_application(new_site):
    site = new_site(public=["/auth/verify/*"])
    answer = await call(site.middleware, "/auth/verify/x", headers=FETCH, client=PROXY)
    assert (answer.status, len(site.app.scopes)) == (200, 1)


async def test_hd_04_the_wsgi_edge_knows_its_peer_as_well(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"])
    middleware = WsgiMiddleware(lambda *_: [], site.config, clock=site.clock)
    for peer, url in (("127.0.0.1", "/deep/page%3Fx%3D1%26y%3D2"), ("203.0.113.9", "/"), ("", "/")):
        made = environ("/auth/verify", "GET", FETCH | TOLD, b"")
        made["REMOTE_ADDR"] = peer
        answer = serve_validated(middleware, made)
        assert login_url(answer) == f"{LOGIN}{url}"
    middleware.close()


@pytest.mark.parametrize("wrong", ["127.0.0.1", ["localhost"], ["127.0.0.1/8"], [""], ["*"], [None], [8], 8])
def test_trusted_proxies_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        config(trusted_proxies=wrong)


# --- the redirect variant -------------------------------------------------------------------------------


@pytest.fixture
def asked(new_site):
    """Asks the question of a trusted proxy: `asked("?redirect", {…headers})`."""
    site = new_site(trusted_proxies=["127.0.0.1"])

    async def ask(query="?redirect", headers=NAVIGATION, **more):
        return await call(site.middleware, f"/auth/verify{query}", headers=headers, client=PROXY, **more)

    ask.site = site
    return ask


@pytest.mark.parametrize(
    "uri",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "/%2e%2e/x",
        "/a/../b",
        "javascript:alert(1)",
        "",
        "*",
        "/\x01",
    ],
)
async def test_even_a_trusted_proxy_leads_to_a_local_path_only(asked, uri):
    answer = await asked("", FETCH | {"x-forwarded-uri": uri})
    if answer.status == 401:
        assert login_url(answer) == f"{LOGIN}/"
    else:
        assert (answer.status, answer.header("location")) == (403, None)
        assert "login_url" not in json.loads(answer.body)


@pytest.mark.parametrize(
    ("headers", "leads_to"),
    [
        ({"x-original-url": f"{ORIGIN}/page"}, "/page"),
        ({"x-original-url": "/page"}, "/page"),
        ({"x-original-url": f"{ORIGIN.replace('https', 'http')}/page"}, "/page"),
        ({"x-original-uri": "/page", "x-forwarded-uri": "/page"}, "/page"),
        ({"x-forwarded-uri": "/caf%C3%A9?q=%2F"}, "/caf%25C3%25A9%3Fq%3D%252F"),
        ({"x-forwarded-host": "evil.example", "x-forwarded-proto": "http", "x-forwarded-uri": "/page"}, "/page"),
    ],
)
async def test_the_original_url_has_one_name_and_this_sites_origin(asked, headers, leads_to):
    assert login_url(await asked("", FETCH | headers)) == f"{LOGIN}{leads_to}"


async def test_two_headers_of_one_name_must_say_the_same(asked):
    for other, status in ((b"/page", 401), (b"/forged", 403)):
        headers = [(b"x-forwarded-uri", other), (b"x-forwarded-uri", b"/page")]
        assert (await asked("", headers)).status == status


async def test_only_a_navigation_is_sent_away(asked):
    for headers, status in (
        (NAVIGATION | TOLD, 303),
        (NAVIGATION | TOLD | {"x-forwarded-method": "HEAD"}, 303),
        (NAVIGATION | TOLD | {"x-forwarded-method": "POST"}, 401),
        (FETCH | TOLD, 401),
        (NAVIGATION | TOLD | {"sec-purpose": "prefetch"}, 401),
        ({"x-forwarded-uri": "/x"}, 401),
    ):
        assert (await asked(headers=headers)).status == status


async def test_somebody_signed_in_passes_the_redirect_variant_with_204(asked):
    browser = await signed_in(asked.site)
    answer = await asked(headers=with_cookies(browser, NAVIGATION | TOLD))
    assert (answer.status, answer.header("location")) == (204, None)


# --- the variant of which the client gets the answer ---


@pytest.mark.parametrize("headers", [NAVIGATION | TOLD, FETCH | TOLD, FETCH | TOLD | {"x-forwarded-method": "POST"}])
async def test_whoever_may_pass_by_now_is_told_to_come_again_and_nothing_else(new_site, headers):
    """Nobody passes their request on any more, and what the service would be told is nothing for a page."""
    site = new_site(trusted_proxies=["127.0.0.1"], verify_access_token=True, public=["/public/*"])
    browser = await signed_in(site)
    headers = headers | {"x-forwarded-uri": "/public/x"}
    for cookies in (with_cookies(browser, headers), headers):
        for peer in (PROXY, STRANGER):
            answer = await call(site.middleware, "/auth/verify?answer", headers=cookies, client=peer)
            if cookies is headers and peer is STRANGER:
                assert answer.status == 401, "of what is named by somebody else nothing is known"
                continue
            assert answer.status == 503
            assert int(answer.header("retry-after")) > 0
            assert identity(answer) == {}
            assert answer.header("cookie") is None


async def test_a_cookie_that_the_answer_brings_is_not_lost_with_it(new_site):
    site = new_site(trusted_proxies=["127.0.0.1"])
    browser = await signed_in(site)
    site.clock.advance(site.config.idle_timeout / 10 + 1)
    headers = with_cookies(browser, NAVIGATION | TOLD)
    answer = await call(site.middleware, "/auth/verify?answer", headers=headers, client=PROXY)
    assert answer.status == 503
    assert SESSION in answer.header("set-cookie")


async def test_whoever_may_not_is_answered_as_a_page_would(asked):
    assert (await asked("?answer", NAVIGATION | TOLD)).status == 303
    assert (await asked("?answer", FETCH | TOLD)).status == 401


async def test_a_scope_that_was_not_asked_for_yet_is_asked_for(asked):
    browser = await signed_in(asked.site)
    answer = await asked("?redirect&scope=templates", with_cookies(browser, NAVIGATION | TOLD))
    assert answer.status == 303
    assert "templates" in query(answer.header("location"))["scope"].split()
    assert identity(answer) == {}
    refused = await asked("?redirect&scope=templates", with_cookies(browser, FETCH | TOLD))
    assert (refused.status, json.loads(refused.body)["reason"]) == (403, "insufficient_scope")


# --- handshakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"), [(ORIGIN, 204), ("https://evil.example", 403), ("null", 403), (None, 403)]
)
@pytest.mark.parametrize("query", ["", "?redirect"])
async def test_a_handshake_from_another_site_does_not_pass(each_site, origin, status, query):
    browser = await signed_in(each_site)
    headers = with_cookies(browser, {"sec-websocket-version": "13", "sec-websocket-key": "x"})
    if origin is not None:
        headers["origin"] = origin
    answer = await call(each_site.middleware, f"/auth/verify{query}", headers=headers)
    assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"cookie": "theirs=1"}, 401), ({"origin": ORIGIN}, 401), ({"origin": "null"}, 403)],
)
async def test_a_handshake_of_a_program_that_nobody_signed_in_is_asked_to(each_site, headers, status):
    shaken = {"sec-websocket-version": "13", **headers}
    assert (await call(each_site.middleware, "/auth/verify", headers=shaken)).status == status


# --- HD-05: garbage -------------------------------------------------------------------------------------

GARBAGE = [
    {"x-forwarded-proto": "https, http", "x-forwarded-uri": "/page"},
    {"x-forwarded-for": "127.0.0.1, 6.6.6.6"},
    {"x-forwarded-for": "[::1]:bad, ,,; \xff"},
    {"x-forwarded-for": ", ".join(["127.0.0.1"] * 100)},
    {"x-forwarded-method": "\xff GET", "x-forwarded-uri": "\xff\xfe"},
    {"x-forwarded-uri": "/%ff%fe%zz?%"},
    {"x-original-url": "http://[::1"},
]


@pytest.mark.parametrize("headers", GARBAGE)
@pytest.mark.parametrize("query", ["", "?redirect", "?redirect&scope=x"])
async def test_hd_05_garbage_is_refused_like_anybody_and_is_no_error(asked, headers, query):
    assert (await asked(query, FETCH | headers)).status in (401, 403)
    assert (await asked(query, NAVIGATION | headers)).status in (303, 401, 403)


def test_what_is_unknown_is_not_the_question_itself():
    request = Request(method="POST", path="/auth/verify", raw_path="/auth/verify", query="redirect", headers=[])
    asked = question(request, config(after_login="/home?x=1"), Proxies([]))
    found = asked.request
    assert (found.method, found.path, found.raw_path, found.query) == ("POST", "/home", "/home", "x=1")
    assert (asked.known, asked.marked, asked.redirects) == (False, False, False)


OF_A_BODY = ("content-type", "content-length")
"""What a form is kept by; of a question there is no body."""


def test_what_an_answer_depends_on_is_what_a_proxy_is_told_to_ask_with():
    """Whatever `site` reads of a request, but what names it and what belongs to routes that no proxy asks about."""
    source = "".join(path.read_text("utf-8") for path in Path(verify.__file__).parent.glob("*.py"))
    read = set(re.findall(r'header\(b"([a-z-]+)"\)', source)) - {"x-csrf", "if-none-match", "upgrade", *OF_A_BODY}
    naming = {"x-forwarded-method", "x-original-method", *(name.decode() for name in NAMING)}
    assert read - naming <= {name.lower() for name in READ}
