"""A plain relying party and its emulator, in one process."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from lumin_middleware.emulator import Client, Emulator
from tests.emulator import openapi

BASE = "http://emulator.test:4444"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
POST = Client(
    client_id="post",
    client_secret="a+b c%d&é",
    redirect_uris=("https://app.example/cb?from=lumin%20", "https://app.example/other"),
    scope="openid offline_access sign:requests templates",
    audience=("https://api.example",),
)
BASIC = replace(
    POST, client_id="ba:sic+%", client_secret="p+a:s s%&é", token_endpoint_auth_method="client_secret_basic"
)
PUBLIC = Client(
    client_id="public",
    token_endpoint_auth_method="none",
    redirect_uris=("http://127.0.0.1/cb", "http://[::1]/cb"),
    scope="openid sign:requests",
)


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Party:
    """A plain relying party and its emulator, in one process."""

    def __init__(self, client: Client = POST, **options: Any) -> None:
        self.client = client
        self.clock = Clock()
        self.emulator = Emulator(BASE, clock=self.clock, clients=[POST, BASIC, PUBLIC], **options)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.emulator.app), base_url=BASE)

    def url(self, **changes: str | None) -> str:
        """An authorization URL; None leaves a parameter out."""
        parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "scope": self.client.scope,
            "state": "state-of-eight",
            "nonce": "nonce-of-eight",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        given = {name: value for name, value in parameters.items() if value is not None}
        return f"{BASE}/oauth2/auth?{urlencode(given)}"

    def callback(self, **changes: str | None) -> dict[str, str]:
        """The parameters that the callback gets."""
        return query(self.emulator.sign_in(self.url(**changes)))

    def code(self, **changes: str | None) -> str:
        return self.callback(**changes)["code"]

    def credentials(self) -> dict[str, Any]:
        """What authenticates the client: arguments for a request."""
        client = self.client
        if client.token_endpoint_auth_method == "client_secret_basic":
            return {"headers": {"Authorization": basic(client.client_id, client.client_secret)}}
        secret = {"client_secret": client.client_secret} if client.client_secret else {}
        return {"data": {"client_id": client.client_id} | secret}

    async def post(self, path: str, **form: str | None) -> httpx2.Response:
        """An authenticated form POST; None leaves a field out."""
        arguments = self.credentials()
        given = arguments.pop("data", {}) | form
        return await self.http.post(
            path, data={name: value for name, value in given.items() if value is not None}, **arguments
        )

    async def redeem(self, code: str, /, **changes: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": VERIFIER,
        }
        return await self.post("/oauth2/token", **(form | changes))

    async def tokens(self, **changes: str | None) -> dict[str, Any]:
        """A whole sign-in: the token response."""
        return ok(await self.redeem(self.code(**changes)))

    async def refresh(self, refresh_token: str | None, /, **changes: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.post("/oauth2/token", **(form | changes))

    async def api(self, access_token: str, method: str = "GET", path: str = "/v1/user/info", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {access_token}"} | more.pop("headers", {})
        answer = await self.http.request(method, path, headers=headers, **more)
        if path.startswith("/v1/"):
            openapi.check(method, path.removeprefix("/v1").partition("?")[0], answer)
        return answer

    async def alive(self, tokens: dict[str, Any]) -> bool:
        """Whether an access token still opens the API."""
        return (await self.api(tokens["access_token"])).status_code == 200

    async def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID token, after checking its signature against the published keys."""
        keys = KeySet.import_key_set((await self.http.get("/.well-known/jwks.json")).json())
        return jwt.decode(id_token, keys, algorithms=["RS256", "ES256"]).claims


def query(url: str) -> dict[str, str]:
    found = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in found.items()}


def basic(client_id: str, secret: str) -> str:
    """RFC 6749, 2.3.1: each half is form-urlencoded first."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def ok(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: httpx2.Response) -> tuple[int, str]:
    """Status and error of a refusal, after checking its form."""
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert set(body) == {"error", "error_description"}
    return response.status_code, body["error"]
