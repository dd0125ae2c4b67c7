"""What the foreign servers do, shown with nothing but an HTTP client.

The tests of the middleware build on this; a new version that answers differently shows here first.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from .fixtures import ForeignServer

SCOPE = "openid offline_access sign:requests"


def query(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@dataclass
class RelyingParty:
    """A client of the server that keeps nothing and checks nothing."""

    server: ForeignServer
    client_id: str
    client_secret: str
    basic: bool = False
    redirect_uri: str = ForeignServer.redirect_uri
    code_verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def authorization_url(self, **parameters: str) -> str:
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        return f"{self.server.authorization_endpoint}?" + urlencode(
            {
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": SCOPE,
                "state": "a-state-of-some-length",
                "nonce": "a-nonce-of-some-length",
                "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
            | parameters
        )

    def post(self, url: str, **form: str) -> httpx2.Response:
        credentials = {"client_id": self.client_id, "client_secret": self.client_secret}
        if self.basic:
            return httpx2.post(url, data=form, auth=(self.client_id, self.client_secret))
        return httpx2.post(url, data=form | credentials)

    def redeem(self, code: str, **form: str) -> httpx2.Response:
        form = {"redirect_uri": self.redirect_uri, "code_verifier": self.code_verifier} | form
        return self.post(self.server.token_endpoint, grant_type="authorization_code", code=code, **form)


def test_a_code_flow_gives_tokens_that_the_api_takes(oidc_provider: ForeignServer) -> None:
    party = RelyingParty(oidc_provider, oidc_provider.client_id, oidc_provider.client_secret)
    callback = query(oidc_provider.sign_in(party.authorization_url()))
    answer = party.redeem(callback["code"])
    assert answer.status_code == 200, answer.text
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    user = httpx2.get(f"{oidc_provider.api_url}/user/info", headers=headers)
    assert user.json() == {"user": {"id": "ada", "email": "ada@example.com", "name": "ada"}}
