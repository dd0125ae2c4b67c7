"""Two OpenID servers that nobody here wrote, as pytest fixtures: `oidc_provider` and `oauth_toolkit`.

Each is started once per test process, on a free loopback port, and ended with it. Tests share it:
whoever needs a redirect URI, a token lifetime or counts of their own registers a client of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import httpx2
import pytest

from tests.patience import PATIENCE

from .browser import leave
from .node import install

HERE = Path(__file__).parent
PASSWORD = "correct horse battery staple"


class ForeignServer:
    """A running server. Its endpoints have RFC 8414's names and lie at Ory Hydra's paths.

    `client_id` and `client_secret` authenticate by client_secret_post, `basic_client_id` and
    `basic_client_secret` by client_secret_basic; both clients return to `redirect_uri`. Users are
    "ada" and "grace"; their subject is their name, their address <name>@example.com.
    """

    redirect_uri = "http://127.0.0.1:8000/auth/callback"

    def __init__(self, command: Sequence[str], **settings: int) -> None:
        self.process = subprocess.Popen(
            command,
            env=os.environ | {name.upper(): str(value) for name, value in settings.items()},
            stdin=subprocess.PIPE,  # closed with this process, however it ends: the server then ends too
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.base = self.issuer = self.process.stdout.readline().strip()
        self._http = httpx2.Client(base_url=self.base, timeout=PATIENCE)
        if not self.base:
            self.stop()
            raise RuntimeError(f"{' '.join(command)} did not start; what it said is on stderr")
        self.authorization_endpoint = f"{self.base}/oauth2/auth"
        self.token_endpoint = f"{self.base}/oauth2/token"
        self.revocation_endpoint = f"{self.base}/oauth2/revoke"
        self.end_session_endpoint = f"{self.base}/oauth2/sessions/logout"
        self.registration_endpoint = f"{self.base}/oauth2/register"
        self.userinfo_endpoint = f"{self.base}/userinfo"
        self.jwks_uri = f"{self.base}/.well-known/jwks.json"
        self.api_url = f"{self.base}/v1"
        self.client_id, self.client_secret = self.register([self.redirect_uri])
        self.basic_client_id, self.basic_client_secret = self.register(
            [self.redirect_uri], token_endpoint_auth_method="client_secret_basic"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def register(
        self,
        redirect_uris: Sequence[str],
        post_logout_redirect_uris: Sequence[str] = (),
        backchannel_logout_uri: str | None = None,
        token_endpoint_auth_method: str = "client_secret_post",
        access_token_lifetime: int | None = None,
    ) -> tuple[str, str]:
        """Register a client (RFC 7591): its client_id and client_secret. The lifetime is in seconds."""
        metadata = {
            "redirect_uris": list(redirect_uris),
            "post_logout_redirect_uris": list(post_logout_redirect_uris),
            "backchannel_logout_uri": backchannel_logout_uri,
            "backchannel_logout_session_required": backchannel_logout_uri and True,  # `sid`, as Hydra
            "token_endpoint_auth_method": token_endpoint_auth_method,
            "grant_types": ["authorization_code", "refresh_token"],
            "access_token_lifetime": access_token_lifetime,
        }
        given = {name: value for name, value in metadata.items() if value is not None}
        client = self._http.post(self.registration_endpoint, json=given).raise_for_status().json()
        return client["client_id"], client["client_secret"]

    def sign_in(
        self,
        authorization_url: str,
        *,
        deny: bool = False,
        user: str = "ada",
        client: httpx2.Client | None = None,
    ) -> str:
        """Sign `user` in and consent, or `deny`: the callback URL, which nobody has opened yet.

        A browser of its own does it, unless `client` brings one with its cookies. Raises Unexpected
        when the server shows an error page instead of redirecting back.
        """
        entries = {"username": user, "password": PASSWORD}
        if client is not None:
            return leave(client, authorization_url, entries, deny=deny)
        with httpx2.Client(timeout=PATIENCE) as browser:
            return leave(browser, authorization_url, entries, deny=deny)

    def sign_out(self, end_session_url: str, *, client: httpx2.Client) -> str:
        """Confirm an RP-initiated logout in `client`, the browser that signed in: where it is sent then."""
        return leave(client, end_session_url, {}, deny=False)

    def counts(self, client_id: str | None = None) -> Counter[tuple[str, str]]:
        """How often the token endpoint was asked, by (grant_type, outcome); of one client, or of all.

        An outcome is "success", an OAuth error, or "reused": a code or refresh token was refused
        because it had been used before (django-oauth-toolkit: a refresh token, or it was revoked).
        What `next_token_answer` asked for counts as "injected", or "dropped" when the request never
        reached the server.
        """
        answer = self._http.get("/control/token-requests").raise_for_status()
        counter: Counter[tuple[str, str]] = Counter()
        for client, grant_type, outcome, times in answer.json():
            if client_id in (None, client):
                counter[grant_type, outcome] += times
        return counter

    def next_token_answer(
        self,
        *,
        status: int | None = None,
        body: Mapping[str, object] | str | None = None,
        delay: float = 0,
        drop: Literal["request", "response"] | None = None,
    ) -> None:
        """Say what befalls the next token request that nothing was said about; oidc_provider only.

        With a `status` the server is not asked and `body` is the answer: a mapping as JSON, or text.
        `delay` is in seconds and comes first. `drop` closes the connection, before the server sees
        the "request" or after it made its "response".
        """
        answer = {"status": status, "body": body, "delay": delay, "drop": drop}
        self._http.post("/control/token-answers", json=answer).raise_for_status()

    def stop(self) -> None:
        """End the server. A second time does nothing."""
        self._http.close()
        with self.process:  # closes its pipes and waits
            self.process.terminate()


def start_oidc_provider(*, access_token_lifetime: int = 3600) -> ForeignServer:
    """A new oidc-provider under Node, installed if need be. The lifetime is in seconds."""
    folder = HERE / "oidc_provider"
    command = [install(folder), str(folder / "server.mjs")]
    return ForeignServer(command, access_token_lifetime=access_token_lifetime)


def start_oauth_toolkit(*, access_token_lifetime: int = 3600, refresh_token_grace_period: int = 0) -> ForeignServer:
    """A new django-oauth-toolkit. The lifetime and the grace period are in seconds."""
    command = [sys.executable, str(HERE / "django_oauth_toolkit" / "server.py")]
    return ForeignServer(
        command,
        access_token_lifetime=access_token_lifetime,
        refresh_token_grace_period=refresh_token_grace_period,
    )


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[ForeignServer]:
    """oidc-provider: every feature of `ForeignServer`."""
    with start_oidc_provider() as server:
        yield server


@pytest.fixture(scope="session")
def oauth_toolkit() -> Iterator[ForeignServer]:
    """django-oauth-toolkit: no back-channel logout, no `prompt=none`, no `next_token_answer`."""
    with start_oauth_toolkit() as server:
        yield server
