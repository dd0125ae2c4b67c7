"""Where no port suspends, the core never does: what WSGI rests on. Each flow here runs without an event loop."""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import LoginRequired, OAuthError, ServerUnavailable, StoreUnavailable
from lumin_middleware.events import SignedIn, SignedOut
from lumin_middleware.model import Response, Wanted
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.identity import LOGOUT_EVENT
from lumin_middleware.site.relying_party import RelyingParty
from lumin_middleware.site.visit import Visit
from tests.fakes import (
    BASE,
    KEY,
    NAVIGATION,
    OLD_KEY,
    ORIGIN,
    SECRET,
    SERVER,
    BlockingWorld,
    CookieJar,
    Workers,
    header,
    id_token,
    request,
)
from tests.site_rig import SESSION

FETCH = {
    "accept": "application/json",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
    "sec-fetch-site": "same-origin",
}
SUBMIT = {**NAVIGATION, "sec-fetch-site": "same-origin"}


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, which has one step to do so."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    pytest.fail("the core was suspended")


class Site(Workers):
    """A site in one thread, and a browser."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**{"required_scopes": {"/templates/*": "templates"}, "public": ["/free"], **changes})
        self.store.local = True
        self.world = BlockingWorld(self.store, self.server, self.clock)
        self.party = RelyingParty(self.config, self.world)
        self.browser = CookieJar()

    def go(
        self, path: str, *, query: str = "", headers: dict[str, str] | None = None, **fields: Any
    ) -> Response | Visit:
        """A request of the browser, and what becomes of it; the browser keeps its cookies."""
        made = request(path, query=query, headers=headers, cookie=self.browser.header, **fields)
        outcome = run(self.party.handle(made))
        if isinstance(outcome, Visit):
            self.browser.take(run(outcome.set_cookies()))
        else:
            self.browser.take_from(outcome)
        return outcome

    def visit(self, path: str = "/page") -> Visit:
        outcome = self.go(path)
        assert isinstance(outcome, Visit), outcome
        return outcome

    def answer(self, *arguments: Any, **fields: Any) -> Response:
        outcome = self.go(*arguments, **fields)
        assert isinstance(outcome, Response)
        return outcome

    def begin(self, path: str = "/page", **fields: Any) -> dict[str, str]:
        """Sent to the authorization endpoint: what it is asked."""
        answer = self.answer(path, **fields)
        assert answer.status == 303, answer
        location = urlsplit(header(answer, "Location"))
        assert f"{location.scheme}://{location.netloc}{location.path}" == SERVER.authorization_endpoint
        return {name: value for name, (value,) in parse_qs(location.query).items()}

    def call_back(self, asked: dict[str, str], **changes: Any) -> Response:
        """Back from the authorization endpoint."""
        self.server.extra = {"id_token": id_token(self.clock(), nonce=asked["nonce"], sid="sid-1")}
        found = {"code": f"code-{secrets.token_hex(4)}", "scope": "openid", "state": asked["state"], **changes}
        return self.answer("/auth/callback", query=urlencode({k: v for k, v in found.items() if v is not None}))

    def sign_in(self, path: str = "/page") -> Visit:
        done = self.call_back(self.begin(path))
        assert (done.status, header(done, "Location")) == (303, path), done
        self.server.extra = {}
        return self.visit(path)


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest) -> Site:
    return Site(sessions=request.param)


# --- the run itself ---


def test_a_coroutine_that_suspends_is_found_out():
    class Suspends:
        def __await__(self) -> Any:
            yield

    async def suspends() -> None:
        await Suspends()

    with pytest.raises(pytest.fail.Exception):
        run(suspends())


def test_a_port_that_suspends_is_found_out(site):
    site.sign_in()
    site.clock.advance(3600)
    site.suspend()
    with pytest.raises(pytest.fail.Exception):
        site.visit()


# --- signing in ---


def test_signing_in(site):
    visit = site.sign_in("/page")
    assert visit.session.claims == {"iss": BASE, "sub": "person-1", "sid": "sid-1", "email": "person@example.com"}
    assert visit.cookie == b""
    assert set(site.browser.cookies) == {SESSION, f"{SESSION}-tries"}


def test_several_sign_ins_at_once(site):
    one, other = site.begin("/one"), site.begin("/other")
    assert header(site.call_back(one), "Location") == "/one"
    assert header(site.call_back(other), "Location") == "/other"


def test_a_callback_that_comes_twice_leads_where_the_first_led_and_sends_nothing(site):
    asked = site.begin("/page")
    first = dict(site.browser.cookies)
    site.call_back(asked)
    assert header(site.call_back(asked), "Location") == "/page"
    site.browser.cookies |= first  # both were under way at once
    assert header(site.call_back(asked), "Location") == "/page"
    assert len(site.server.sent) == 1


def test_a_callback_that_comes_twice_leads_nobody_on_who_is_not_signed_in(site):
    asked = site.begin("/page")
    site.call_back(asked)
    site.browser.cookies.pop(SESSION)
    assert site.call_back(asked).status == 400
    site.sign_in()
    assert site.call_back({**asked, "state": "another"}).status == 400
    assert len(site.server.sent) == 2


def test_a_callback_of_another_browser_signs_nobody_in(site):
    asked = site.begin()
    site.browser = CookieJar()
    refused = site.call_back(asked)
    assert refused.status == 400
    assert site.browser.cookies == {}
    assert site.server.sent == []
    assert site.call_back({**asked, "state": ""}).status == 400


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"code": None, "error": "access_denied"}, 403),
        ({"error": "access_denied"}, 400),
        ({"code": ""}, 400),
        ({"iss": "https://evil.example"}, 400),
    ],
)
def test_a_callback_that_is_refused_takes_its_login_with_it(site, changes, status):
    assert site.call_back(site.begin(), **changes).status == status
    assert site.browser.cookies == {}
    assert site.server.sent == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OAuthError("invalid_grant"), 400),
        (OAuthError("invalid_client"), 502),
        (ServerUnavailable("late"), 503),
    ],
)
def test_a_code_that_is_refused_is_sent_once(site, error, status):
    asked = site.begin()
    site.server.answer = error
    assert site.call_back(asked).status == status
    assert site.browser.cookies == {}
    assert len(site.server.sent) == 1
    assert [key for key in site.store.entries() if not key.startswith("login:")] == []


def test_tokens_that_name_nobody_are_revoked():
    site = Site(id_token="required")
    asked = site.begin()
    site.server.extra = {}
    code = urlencode({"code": "c", "state": asked["state"]})
    assert site.answer("/auth/callback", query=code).status == 502
    assert site.server.revoked == [site.server.current]


@pytest.mark.parametrize(
    ("answer", "status", "claims"),
    [
        (Answer(200, "application/json", b'{"user": {"id": "u1", "name": "Ann"}}'), 303, {"sub": "u1", "name": "Ann"}),
        (Answer(403, "application/json", b"{}"), 303, {}),
        (Answer(500, "text/html", b""), 503, None),
        (Answer(200, "application/json", b"[]"), 502, None),
    ],
)
@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_without_an_id_token_the_api_says_who_it_is(kind, answer, status, claims, caplog):
    site = Site(sessions=kind, id_token="auto")
    asked = site.begin()
    site.server.documents["https://api.lumin.example/v1/user/info"] = answer
    done = site.answer("/auth/callback", query=urlencode({"code": "c", "state": asked["state"]}))
    assert done.status == status
    ((_, access_token),) = [each for each in site.server.fetched if each[0].endswith("user/info")]
    assert access_token.startswith("access-")
    if claims is None:
        assert site.server.revoked == [site.server.current]
    else:
        assert site.visit().session.claims == claims
        assert ("without an identity" in caplog.text) is (claims == {})


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_whom_nobody_names_is_not_signed_in(site, status, caplog):
    asked = site.begin()
    site.server.documents["https://api.lumin.example/v1/user/info"] = Answer(status, "application/json", b"{}")
    done = site.answer("/auth/callback", query=urlencode({"code": "c", "state": asked["state"]}))
    assert done.status == 403
    assert site.server.revoked == [site.server.current]
    assert "id_token='auto'" in caplog.text
    assert isinstance(site.answer("/page"), Response)


def test_a_name_that_was_cut_in_the_middle_of_a_character_signs_in(site):
    asked = site.begin()
    body = json.dumps({"user": {"id": "u1", "name": "A\ud83d"}}).encode()
    site.server.documents["https://api.lumin.example/v1/user/info"] = Answer(200, "application/json", body)
    assert site.answer("/auth/callback", query=urlencode({"code": "c", "state": asked["state"]})).status == 303
    assert site.visit().session.claims["sub"] == "u1"


def test_nobody_is_left_to_take_the_answer(site):
    done = site.call_back(site.begin())
    assert done.undo is not None
    run(done.undo())
    assert site.server.revoked == [site.server.current]
    assert isinstance(site.go("/page"), Response)
    signed_in, signed_out = site.world.events
    assert (type(signed_in), type(signed_out)) == (SignedIn, SignedOut)
    assert (signed_out.session, signed_out.subject) == (signed_in.session, signed_in.subject)
    assert (signed_out.reason, signed_out.by) == ("sign_in_undone", "undone")


def test_a_sign_in_that_the_store_does_not_take_leaves_no_tokens(site):
    asked = site.begin()
    site.store.fails = {"swap login"}
    assert site.call_back(asked).status == 503
    assert site.server.sent == []
    if site.config.sessions == "store":
        site.store.fails = {"swap session"}
        assert site.call_back(site.begin()).status == 503
        assert site.server.revoked == [site.server.current]


def test_a_session_that_no_cookie_can_hold_lives_in_the_store():
    site = Site(claims=["sub"], id_token="auto")
    asked = site.begin()
    site.server.answer = {"access_token": "x" * 20_000, "token_type": "bearer", "refresh_token": "r"}
    site.server.documents["https://api.lumin.example/v1/user/info"] = Answer(404, "", b"")
    query = urlencode({"code": "c", "state": asked["state"]})
    assert site.answer("/auth/callback", query=query).status == 303
    assert len(site.browser.header) < 500
    assert site.visit("/page").session.tokens.access_token == "x" * 20_000


def test_going_round_in_circles_ends(site):
    for _ in range(3):
        assert site.call_back(site.begin()).status == 303
        site.browser.cookies.pop(SESSION)  # the browser refuses to keep it
    assert site.answer("/page").status == 400
    site.clock.advance(60)
    assert site.begin()


def test_who_is_signed_in_may_sign_in_as_often_as_they_like(site):
    for _ in range(5):
        asked = site.begin("/auth/login", query="return_to=/x")
        assert header(site.call_back(asked), "Location") == "/x"
    if site.config.sessions == "store":
        assert len([key for key in site.store.entries() if key.startswith("session:")]) == 1


@pytest.mark.parametrize(
    ("query", "led_to"),
    [
        ("return_to=/a%3Fb%3D1", "/a?b=1"),
        ("return_to=//evil.example", "/"),
        ("return_to=/auth/login", "/"),
        ("return_to=/auth/callback?x=1", "/"),
        ("return_to=/auth/logout%23x", "/"),
        ("return_to=/auth/%256Cogin", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_page_of_the_site_and_not_back_to_itself(site, query, led_to):
    assert header(site.call_back(site.begin("/auth/login", query=query)), "Location") == led_to


def test_only_what_a_browser_may_add_is_passed_on(site):
    asked = site.begin("/auth/login", query="prompt=login&login_hint=a%40b&ui_locales=&client_id=x&scope=all&state=s")
    assert (asked["prompt"], asked["login_hint"], asked["client_id"]) == ("login", "a@b", "test-client")
    assert asked["scope"] == site.config.scope
    assert "ui_locales" not in asked
    assert asked["state"] != "s"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/auth/login", "POST", 405),
        ("/auth/callback", "POST", 405),
        ("/auth/callback", "HEAD", 405),
        ("/auth/logout", "PUT", 405),
        ("/auth/session", "POST", 405),
    ],
)
def test_another_method_is_refused(site, path, method, status):
    assert site.answer(path, method=method).status == status


def test_a_prefetch_neither_begins_nor_completes_a_sign_in(site):
    ahead = {**NAVIGATION, "sec-purpose": "prefetch"}
    assert site.answer("/page", headers=ahead).status == 401
    assert site.answer("/auth/login", headers=ahead).status == 401
    assert site.browser.cookies == {}
    asked = site.begin()
    query = urlencode({"code": "c", "state": asked["state"]})
    assert site.answer("/auth/callback", query=query, headers=ahead).status == 400
    assert site.server.sent == []
    assert site.call_back(asked).status == 303


def test_a_query_that_repeats_itself_is_refused(site):
    for path in ("/auth/login", "/auth/callback"):
        assert site.answer(path, query="state=a&state=b").status == 400


# --- visiting ---


def test_who_may_pass_where(site):
    assert isinstance(site.go("/free"), Visit)
    assert site.answer("/page", headers=FETCH).status == 401
    assert site.answer("/free/../page").status == 400
    assert site.answer("/page", headers={"origin": "https://evil.example"}, websocket=True).status == 403
    assert site.answer("/page", headers={"origin": ORIGIN}, websocket=True).status == 401
    assert site.answer("/page", headers={}, websocket=True).status == 401
    site.sign_in()
    assert site.answer("/page", headers={"origin": ""}, websocket=True).status == 403
    assert site.answer("/page", headers={}, websocket=True).status == 403
    assert isinstance(site.go("/page", headers=FETCH), Visit)
    assert isinstance(site.go("/auth/login", headers={"origin": ORIGIN}, websocket=True), Visit)
    assert site.go("/free").session is None


@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_an_optional_page_is_served_whatever_happens(kind):
    site = Site(sessions=kind, optional=["/home"])
    assert site.visit("/home").session is None
    site.sign_in()
    assert site.visit("/home").session is not None
    cookies = dict(site.browser.cookies)
    site.clock.advance(3600)
    site.server.answer = ServerUnavailable("down")
    assert site.visit("/home").session is None
    assert site.answer("/page").status == 503
    site.store.fails = {"get session"}
    assert site.visit("/home").session is None
    assert site.browser.cookies == cookies
    site.store.fails, site.server.answer = set(), OAuthError("invalid_grant")
    site.clock.advance(60)
    assert site.visit("/home").session is None
    assert site.answer("/page", headers=FETCH).status == 401


def test_renewal(site):
    before = site.sign_in().session
    site.clock.advance(3600)
    after = site.visit().session
    assert (after.generation, after.id) == (1, before.id)
    assert site.visit().session.generation == 1
    assert len(site.server.sent) == 2  # the code, and one refresh token


def test_renewal_when_the_api_refuses_a_token(site):
    visit = site.sign_in()
    renewed = run(visit.fresh(rejected=visit.session.tokens.access_token))
    assert renewed.generation == 1
    assert visit.session is renewed
    assert len(run(visit.set_cookies())) == 1


def test_renewal_behind_another_process(site):
    session = site.sign_in().session
    site.clock.advance(3600)
    site.lease(session, 15)
    assert site.visit().session.generation == 1
    assert sum(site.world.slept) >= 15


def test_renewal_ends_with_the_grant(site):
    site.sign_in()
    site.clock.advance(3600)
    site.server.answer = OAuthError("invalid_grant")
    refused = site.answer("/page", headers=FETCH)
    assert (refused.status, json.loads(refused.body)["reason"]) == (401, "ended")
    assert site.begin("/page")


def test_a_public_page_has_nobody_to_renew(site):
    visit = site.visit("/free")
    with pytest.raises(LoginRequired):
        run(visit.fresh())
    assert run(visit.set_cookies()) == []
    assert run(visit.is_over()) is False
    assert run(visit.challenge()).status == 303


@pytest.mark.parametrize("error", [ServerUnavailable("away", retry_after=7), StoreUnavailable("away")])
def test_a_challenge_that_meets_trouble_tells_of_it(site, monkeypatch, error):
    visit = site.visit("/free")

    async def trouble(*_: object) -> Any:
        raise error

    monkeypatch.setattr(visit._party, "challenge", trouble)
    assert run(visit.challenge()).status == run(visit.answer(LoginRequired("nobody"))).status == 503


def test_a_session_that_ends_while_it_is_served(site):
    visit = site.sign_in()
    assert run(visit.is_over()) is False
    site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert run(visit.is_over()) is True


# --- challenges ---


def test_a_page_asks_for_a_scope_that_was_never_asked_for(site):
    site.sign_in()
    asked = site.begin("/templates/new")
    assert asked["scope"] == f"{site.config.scope} templates"
    refused = site.call_back(asked)
    assert refused.status == 403  # the server did not give it
    assert b"templates" in refused.body
    assert isinstance(site.go("/page"), Visit)
    site.clock.advance(60)
    asked = site.begin("/templates/new")
    site.server.answer = lambda: {**site.server.grant(), "scope": "openid templates"}
    assert header(site.call_back(asked), "Location") == "/templates/new"
    assert isinstance(site.go("/templates/new"), Visit)


def test_a_program_is_told_where_to_ask_for_a_scope(site):
    visit = site.sign_in()
    refused = site.answer("/templates/new", headers=FETCH)
    assert refused.status == 403
    url = urlsplit(json.loads(refused.body)["login_url"])
    assert site.begin(url.path, query=url.query)["scope"] == f"{site.config.scope} templates"
    assert run(visit.challenge(Wanted(("templates",)))).status == 303
    assert run(visit.challenge(Wanted(("openid",)))).status == 303


def test_a_scope_that_was_asked_for_and_not_given_is_not_asked_for_again_by_itself():
    site = Site(required_scopes={"/sign/*": "sign:requests"})
    asked = site.begin("/page")
    site.server.answer = lambda: {**site.server.grant(), "scope": "openid"}
    assert site.call_back(asked).status == 303
    refused = site.answer("/sign/x")
    assert refused.status == 403
    assert 'scope="sign:requests"' in header(refused, "WWW-Authenticate")
    assert b"Create and view signature requests" in refused.body


# --- what is told ---


def test_no_secret_is_logged_or_shown_on_any_way_through(site, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    made: list[str] = []
    monkeypatch.setattr(site.world, "token", lambda size: made.append(secrets.token_urlsafe(size)) or made[-1])
    shown: list[str] = []
    secret = {SECRET, KEY.hex(), repr(KEY)}

    def look(outcome: Response | Visit) -> None:
        shown.append(repr(outcome))
        if isinstance(outcome, Visit):
            shown.extend((repr(outcome.session), repr(outcome.session.tokens)))
            secret.update((outcome.session.tokens.access_token, outcome.session.tokens.refresh_token))

    for error in (None, ServerUnavailable("down"), OAuthError("invalid_client"), OAuthError("invalid_grant", "no")):
        look(site.sign_in())
        site.clock.advance(3600)
        site.server.answer = error
        site.go("/page", headers=FETCH)
        site.call_back(site.begin("/auth/login"))
        site.call_back(site.begin("/auth/login"), code=None, error="server_error", error_description="no")
        site.server.answer = None
        site.clock.advance(120)
        site.store.fails = {"swap session", "get session"}
        site.go("/page", headers=FETCH)
        site.answer("/auth/logout", method="POST", headers=SUBMIT)
        site.store.fails = set()
        site.browser = CookieJar()
    secret.update(made, site.server.sent, site.server.revoked)
    told = caplog.text + "".join(shown)
    assert caplog.records
    assert [each for each in secret if each and each in told] == []


# --- the end ---


def test_signing_out(site):
    session = site.sign_in().session
    assert b"<form" in site.answer("/auth/logout").body
    assert isinstance(site.go("/page"), Visit)
    copy = dict(site.browser.cookies)
    done = site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert (done.status, header(done, "Location")) == (303, "/auth/logout")
    assert site.browser.cookies == {}
    assert site.server.revoked == [session.tokens.refresh_token]
    site.browser.cookies = copy
    assert site.answer("/page", headers=FETCH).status == 401
    assert b"<form" not in site.answer("/auth/logout").body


def test_signing_out_twice_and_by_a_script(site):
    site.sign_in()
    copy = dict(site.browser.cookies)
    for _ in range(2):
        done = site.answer("/auth/logout", method="POST", headers=FETCH)
        assert (done.status, site.browser.cookies) == (204, {})
        site.browser.cookies = dict(copy)
    assert len(site.server.revoked) == 1


def test_signing_out_of_a_session_that_was_ended_elsewhere():
    """A cookie does not know it where the store is not asked each time. What it still has is revoked once more."""
    site = Site(sessions="cookie")
    session = site.sign_in().session
    site.store.local = False
    site.party = RelyingParty(site.config, site.world)
    run(site.party.parts.sessions.end(session.id, session.began))
    assert site.answer("/auth/logout", method="POST", headers=SUBMIT).status == 303
    assert site.browser.cookies == {}
    assert site.server.revoked == [session.tokens.refresh_token]


def test_a_sign_out_that_wants_no_page_gets_none(site):
    site.sign_in()
    headers = {**SUBMIT, "accept": "application/json"}
    assert site.answer("/auth/logout", method="POST", headers=headers).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**NAVIGATION, "sec-fetch-site": "cross-site"},
        {**NAVIGATION, "sec-fetch-site": "same-site"},
        {"origin": "null"},
    ],
)
def test_nobody_else_signs_somebody_out(site, headers):
    site.sign_in()
    assert site.answer("/auth/logout", method="POST", headers=headers).status == 403
    assert isinstance(site.go("/page"), Visit)


def test_signing_out_while_it_is_renewed_elsewhere_revokes_the_newest(site):
    site.sign_in()
    old = dict(site.browser.cookies)
    site.clock.advance(3600)
    newest = site.visit().session
    site.browser.cookies = old
    site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert site.server.revoked == [newest.tokens.refresh_token]


@pytest.mark.parametrize("step", ["get session", "swap session"])
def test_a_sign_out_that_the_store_does_not_take_says_so_and_clears_the_browser(site, step):
    site.sign_in()
    site.store.fails = {step}
    done = site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert done.status == 503
    assert site.browser.cookies == {}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (SERVER, f"{BASE}/oauth2/sessions/logout?id_token_hint="),
        (dataclasses.replace(SERVER, end_session_endpoint=None), "/"),
    ],
)
def test_signing_out_at_the_server_too(server, expected):
    site = Site(end_session=True, server=server)
    site.sign_in()
    done = site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert header(done, "Location").startswith(expected)


def test_signing_out_when_the_server_cannot_be_found(caplog):
    site = Site(end_session=True, server=AuthorizationServer.discover(BASE))
    document = {"issuer": BASE, **{name: getattr(SERVER, name) for name in AuthorizationServer.ENDPOINTS}}
    well_known = f"{BASE}/.well-known/openid-configuration"
    site.server.documents[well_known] = Answer(200, "application/json", json.dumps(document).encode())
    site.sign_in()
    site.party = RelyingParty(site.config, site.world)  # another process, which knows nothing yet
    site.server.documents[well_known] = ServerUnavailable("down")
    done = site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert (done.status, header(done, "Location"), site.browser.cookies) == (303, "/auth/logout", {})
    assert "not at the server" in caplog.text
    assert site.answer("/page").status == 503


# --- about sessions ---


def test_who_is_signed_in(site):
    assert site.answer("/auth/session", headers=FETCH).status == 401
    session = site.sign_in().session
    content = json.loads(site.answer("/auth/session", headers=FETCH).body)
    assert content == {
        "subject": "person-1",
        "claims": dict(session.claims),
        "scope": list(session.tokens.scope),
        "expires_at": session.began + 86_400,
        "login_url": "/auth/login",
        "logout_url": "/auth/logout",
    }
    for secret in (session.tokens.access_token, session.tokens.refresh_token, session.id):
        assert secret not in json.dumps(content)
    site.answer("/auth/logout", method="POST", headers=SUBMIT)
    assert site.answer("/auth/session", headers=FETCH).status == 401


def test_asking_who_is_signed_in_counts_as_use_unless_it_says_not(site):
    began = site.sign_in().session.began
    site.clock.advance(43_200)
    kept = dict(site.browser.cookies)
    found = site.answer("/auth/session", query="slide=false", headers=FETCH)
    assert json.loads(found.body)["expires_at"] == began + 86_400
    assert site.browser.cookies == kept
    found = site.answer("/auth/session", headers=FETCH)
    assert json.loads(found.body)["expires_at"] == began + 43_200 + 86_400
    assert header(found, "Cache-Control") == "no-store"
    assert site.browser.cookies.keys() == kept.keys()
    assert site.browser.cookies != kept
    site.clock.advance(86_399)
    assert site.answer("/auth/session", query="slide=false", headers=FETCH).status == 200


@pytest.mark.parametrize("kind", ["cookie", "store"])
def test_a_proxy_asks_who_it_is(kind):
    site = Site(sessions=kind, trusted_proxies=["127.0.0.1"])
    asked: dict[str, Any] = {"headers": {**FETCH, "x-forwarded-uri": "/page"}, "peer": "127.0.0.1"}
    assert site.answer("/auth/verify", **asked).status == 401
    site.sign_in()
    found = site.answer("/auth/verify", **asked)
    assert (found.status, header(found, "X-Auth-Request-User")) == (204, "person-1")
    assert site.answer("/auth/verify", query="scope=templates", **asked).status == 403
    assert site.answer("/auth/verify", headers=FETCH).status == 403  # whose question this is, nobody knows


def listed(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.answer("/auth/sessions", headers=FETCH).body)["sessions"]
    return found


def test_all_sessions_of_a_person():
    site = Site(sessions="store")
    other, site.browser = site.browser, CookieJar()
    site.sign_in()
    mine, site.browser = site.browser, other
    site.sign_in()
    assert [each["current"] for each in listed(site)] == [False, True]
    assert all(each["expires_at"] == each["began"] + 86_400 for each in listed(site))
    (theirs,) = [each["id"] for each in listed(site) if not each["current"]]
    assert site.answer("/auth/sessions/end", method="POST", query="id=unknown", headers=FETCH).status == 404
    assert len(listed(site)) == 2
    assert site.answer("/auth/sessions/end", method="POST", query=f"id={theirs}", headers=FETCH).status == 204
    assert [each["current"] for each in listed(site)] == [True]
    site.browser = mine
    assert site.answer("/page", headers=FETCH).status == 401


def test_signing_out_everywhere_else():
    site = Site(sessions="store")
    browsers = [CookieJar() for _ in range(3)]
    for site.browser in browsers:
        site.sign_in()
    assert site.answer("/auth/sessions/end", method="POST", headers=FETCH).status == 204
    assert [each["current"] for each in listed(site)] == [True]
    assert site.answer("/auth/sessions/end", method="GET", headers=FETCH).status == 405
    assert site.answer("/auth/sessions", method="POST", headers=FETCH).status == 405
    assert site.answer("/auth/sessions/end", method="POST", headers={}).status == 403
    assert len(site.server.revoked) == 2
    site.browser = CookieJar()
    assert site.answer("/auth/sessions", headers=FETCH).status == 401


def test_a_list_of_sessions_outlives_a_change_of_keys():
    site = Site(sessions="store", secret_key=OLD_KEY)
    site.sign_in()
    for keys in ([KEY, OLD_KEY], [KEY]):
        site.party = RelyingParty(dataclasses.replace(site.config, secret_key=keys), site.world)
        site.visit()
        assert [each["current"] for each in listed(site)] == [True]
    assert len([key for key in site.store.entries() if key.startswith("index:")]) == 2
    site.answer("/auth/sessions/end", method="POST", query=f"id={listed(site)[0]['id']}", headers=FETCH)
    assert site.answer("/page", headers=FETCH).status == 401


def test_sessions_in_cookies_are_listed_nowhere():
    site = Site(sessions="cookie")
    site.sign_in()
    assert isinstance(site.go("/auth/sessions"), Visit)


def test_somebody_without_a_name_has_one_session():
    site = Site(sessions="store", id_token="auto")
    site.server.documents["https://api.lumin.example/v1/user/info"] = Answer(404, "", b"")
    asked = site.begin()
    site.answer("/auth/callback", query=urlencode({"code": "c", "state": asked["state"]}))
    assert [each["current"] for each in listed(site)] == [True]


# --- the server ends sessions ---


def logout_token(site: Site, **claims: Any) -> str:
    content = {"jti": secrets.token_hex(8), "sid": "sid-1", "events": {LOGOUT_EVENT: {}}, "exp": None, "email": None}
    return id_token(site.clock(), **{**content, **claims})


def push(site: Site, token: str | None, **fields: Any) -> int:
    """The server's request, without a cookie; its status."""

    async def body() -> bytes:
        return urlencode({} if token is None else {"logout_token": token}).encode()

    made = {"method": "POST", "headers": {}, "body": body, **fields}
    outcome = run(site.party.handle(request("/auth/backchannel-logout", **made)))
    assert isinstance(outcome, Response)
    assert header(outcome, "Cache-Control") == "no-store"
    return outcome.status


@pytest.fixture(params=["cookie", "store"])
def pushed(request: pytest.FixtureRequest) -> Site:
    site = Site(sessions=request.param, backchannel_logout=True)
    site.sign_in()
    return site


@pytest.mark.parametrize("named", [{"sid": "sid-1", "sub": None}, {"sid": None}])
def test_the_server_ends_a_session(pushed, named):
    assert push(pushed, logout_token(pushed, **named)) == 200
    assert pushed.answer("/page", headers=FETCH).status == 401


@pytest.mark.parametrize("named", [{"sid": "sid-2"}, {"sid": None, "sub": "person-2"}])
def test_the_server_ends_another_s_session(pushed, named):
    assert push(pushed, logout_token(pushed, **named)) == 200
    assert isinstance(pushed.go("/page"), Visit)


def test_a_session_that_began_after_the_token_was_made_goes_on(pushed):
    token = logout_token(pushed, sid=None, iat=int(pushed.clock()) - 10)
    assert push(pushed, token) == 200
    assert isinstance(pushed.go("/page"), Visit)


def test_what_is_no_logout_token_ends_nothing(pushed, caplog):
    token = logout_token(pushed)
    for wrong in (None, "", "x", id_token(pushed.clock()), logout_token(pushed, aud="other"), token[:-3]):
        assert push(pushed, wrong) == 400
        assert "refused" in caplog.text
        caplog.clear()
    assert push(pushed, token, method="GET") == 405
    assert push(pushed, token, body=None) == 405
    assert isinstance(pushed.go("/page"), Visit)


def test_a_logout_token_is_good_once(pushed):
    token = logout_token(pushed)
    assert push(pushed, token) == 200
    assert push(pushed, token) == 400


def test_a_logout_token_that_cannot_be_verified_now_is_the_server_s_to_send_again(pushed):
    pushed.party = RelyingParty(pushed.config, pushed.world)
    pushed.server.documents[SERVER.jwks_uri or ""] = ServerUnavailable("down")
    assert push(pushed, logout_token(pushed)) == 503
    assert isinstance(pushed.go("/page"), Visit)


@pytest.mark.parametrize("step", ["swap session", "get index", "swap jti"])
def test_a_logout_token_that_could_not_be_carried_out_is_good_for_another_time(pushed, step):
    """The server sends it again after a 5xx; if it were used up by then, the session would go on."""
    token = logout_token(pushed)
    pushed.store.fails = {step}
    assert push(pushed, token) == 503
    pushed.store.fails = set()
    assert push(pushed, token) == 200
    assert pushed.answer("/page", headers=FETCH).status == 401


def test_without_the_setting_there_is_no_such_route(site):
    async def body() -> bytes:
        return b""

    assert site.answer("/auth/backchannel-logout", method="POST", headers=FETCH, body=body).status == 401
