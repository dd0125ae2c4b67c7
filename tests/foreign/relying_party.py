"""The other side of a foreign server, for its own tests: a client that keeps nothing and checks nothing."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from .fixtures import ForeignServer

GOODBYE = "http://127.0.0.1:8000/"
Tokens = dict[str, Any]


def query(url: str) -> dict[str, str]:
    """The query parameters of `url`, of which there is one each."""
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@dataclass
class RelyingParty:
    """A client of `server`, which sends what it has to say through `http`."""

    server: ForeignServer
    http: httpx2.Client
    client_id: str
    client_secret: str
    basic: bool = False
    code_verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @classmethod
    def register(cls, server: ForeignServer, http: httpx2.Client, **metadata: Any) -> Self:
        """A new client, which leaves for `GOODBYE`."""
        uris = [server.redirect_uri], [GOODBYE]
        return cls(server, http, *server.register(*uris, **metadata))

    def authorization_url(self, **changed: str) -> str:
        """An authorization request; a parameter changed to nothing is left out."""
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.server.redirect_uri,
            "scope": "openid offline_access sign:requests",
            "state": "a-state-of-some-length",
            "nonce": "a-nonce-of-some-length",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changed
        given = {name: value for name, value in parameters.items() if value}
        return f"{self.server.authorization_endpoint}?{urlencode(given)}"

    def callback(self, **changed: str) -> dict[str, str]:
        """What comes back from an authorization request."""
        return query(self.server.sign_in(self.authorization_url(**changed)))

    def post(self, url: str, **form: str) -> httpx2.Response:
        """A request that authenticates this client."""
        if self.basic:
            return self.http.post(url, data=form, auth=(self.client_id, self.client_secret))
        credentials = {"client_id": self.client_id, "client_secret": self.client_secret}
        return self.http.post(url, data=form | credentials)

    def redeem(self, code: str, **changed: str) -> httpx2.Response:
        """The answer to an authorization code."""
        form = {"redirect_uri": self.server.redirect_uri, "code_verifier": self.code_verifier} | changed
        return self.post(self.server.token_endpoint, grant_type="authorization_code", code=code, **form)

    def tokens(self, **changed: str) -> Tokens:
        """Fresh tokens, of a user that a browser of its own signed in."""
        tokens: Tokens = self.redeem(self.callback(**changed)["code"]).raise_for_status().json()
        return tokens

    def sign_in(self, browser: httpx2.Client, user: str = "ada") -> Tokens:
        """Fresh tokens, by way of `browser`."""
        callback = query(self.server.sign_in(self.authorization_url(), client=browser, user=user))
        tokens: Tokens = self.redeem(callback["code"]).raise_for_status().json()
        return tokens

    def sign_out(self, browser: httpx2.Client, tokens: Tokens, goodbye: str = GOODBYE) -> str:
        """Where an RP-initiated logout in `browser` leads."""
        hint = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": goodbye, "state": "bye"}
        return self.server.sign_out(f"{self.server.end_session_endpoint}?{urlencode(hint)}", client=browser)

    def refresh(self, tokens: Tokens, **form: str) -> httpx2.Response:
        """The answer to the refresh token of `tokens`."""
        form |= {"refresh_token": tokens["refresh_token"]}
        return self.post(self.server.token_endpoint, grant_type="refresh_token", **form)

    def revoke(self, token: str) -> httpx2.Response:
        """The answer to a revocation."""
        return self.post(self.server.revocation_endpoint, token=token)

    def api(self, tokens: Tokens, path: str = "/user/info") -> httpx2.Response:
        """What the API says to the access token of `tokens`."""
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return self.http.get(self.server.api_url + path, headers=headers)

    def subject(self, tokens: Tokens) -> str:
        """Whose tokens these are, by what the API says."""
        name: str = self.api(tokens).json()["user"]["id"]
        return name

    def counts(self) -> Counter[tuple[str, str]]:
        """This client's token requests."""
        return self.server.counts(self.client_id)


class BackChannel:
    """A back-channel logout endpoint at `uri`, which takes one request and keeps its form in `received`."""

    def __init__(self) -> None:
        self.received: dict[str, str] = {}
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.update(query(f"?{body}"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.handle_request)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join()
        self._server.server_close()
