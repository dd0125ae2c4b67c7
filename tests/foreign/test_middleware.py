"""The middleware against servers that nobody here wrote: flow, renewal, revocation, logout."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumin_middleware import AuthorizationServer, LuminConfig, LuminMiddleware
from lumin_middleware.stores import MemoryStore
from tests.patience import PATIENCE
from tests.site_rig import NAVIGATION, ORIGIN, REDIRECT_URI, SESSION, App, query

from .fixtures import ForeignServer

OUTAGE = 12
"""Answers that an outage takes: more than one request asks for while it waits."""


class Clock:
    """Real time, and some more."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Site:
    """An application behind the middleware, at a foreign server, and one browser."""

    def __init__(self, foreign: ForeignServer, lifetime: int = 3600, **settings: Any) -> None:
        self.server = server = foreign
        method = settings.get("token_endpoint_auth_method", "client_secret_post")
        self.client_id, secret = server.register(
            [REDIRECT_URI], [f"{ORIGIN}/bye"], token_endpoint_auth_method=method, access_token_lifetime=lifetime
        )
        self.clock = Clock()
        self.app = App()
        self.app.handler = self.ask_the_api
        self.tokens: list[str] = []
        at = AuthorizationServer.at(server.issuer)
        defaults = {"server": at, "api_url": server.api_url, "store": MemoryStore(clock=self.clock)}
        config = LuminConfig(
            client_id=self.client_id,
            client_secret=secret,
            redirect_uri=REDIRECT_URI,
            secret_key=secrets.token_bytes(32),
            **(defaults | settings),
        )
        self.middleware = LuminMiddleware(self.app, config, clock=self.clock)
        self.browser = httpx2.AsyncClient(
            timeout=PATIENCE, transport=httpx2.ASGITransport(self.middleware), base_url=ORIGIN, headers=NAVIGATION
        )

    async def aclose(self) -> None:
        await self.browser.aclose()
        await self.middleware.aclose()

    async def ask_the_api(self, request: Request) -> Response:
        client = request.state.lumin
        self.tokens.append(await client.access_token())
        answer = await client.get("signature_requests")
        return JSONResponse({"subject": client.subject, "status": answer.status_code}, answer.status_code)

    async def begin(self) -> str:
        answer = await self.browser.get("/")
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def sign_in(self, **person: Any) -> httpx2.Response:
        location = await self.begin()
        return await self.browser.get(await asyncio.to_thread(self.server.sign_in, location, **person))

    async def log_out(self) -> httpx2.Response:
        return await self.browser.post("/auth/logout", headers={"sec-fetch-site": "same-origin"})

    def refreshes(self) -> dict[str, int]:
        counts = self.server.counts(self.client_id)
        return {outcome: times for (grant, outcome), times in counts.items() if grant == "refresh_token"}


@pytest.fixture(params=["oidc_provider", "oauth_toolkit"])
def server(request: pytest.FixtureRequest) -> ForeignServer:
    found: ForeignServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def new_site(server: ForeignServer) -> AsyncIterator[Callable[..., Site]]:
    async with AsyncExitStack() as stack:

        def new(**settings: Any) -> Site:
            site = Site(server, **settings)
            stack.push_async_callback(site.aclose)
            return site

        yield new


@pytest.fixture(params=["cookie", "store"])
def site(new_site: Callable[..., Site], request: pytest.FixtureRequest) -> Site:
    return new_site(sessions=request.param)


async def test_somebody_signs_in_and_the_api_answers(site):
    answer = await site.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
    page = await site.browser.get("/")
    assert page.json() == {"subject": "ada", "status": 200}


async def test_the_client_proves_itself_with_basic_where_that_is_registered(new_site):
    site = new_site(token_endpoint_auth_method="client_secret_basic")
    assert (await site.sign_in()).status_code == 303
    site.clock.offset = 3500
    assert (await site.browser.get("/")).status_code == 200
    assert site.refreshes() == {"success": 1}


async def test_the_endpoints_come_from_discovery(new_site, server):
    # django-oauth-toolkit's document leaves the revocation endpoint out.
    site = new_site(server=AuthorizationServer(issuer=server.issuer, discovery=True))
    assert (await site.sign_in()).status_code == 303
    assert (await site.browser.get("/")).json()["subject"] == "ada"


async def test_whoever_says_no_is_told_so(site):
    answer = await site.sign_in(deny=True)
    assert answer.status_code == 403
    assert SESSION not in site.browser.cookies


async def test_fifty_requests_at_expiry_refresh_once(site):
    await site.sign_in()
    await site.browser.get("/")
    site.clock.offset = 3595
    answers = await asyncio.gather(*(site.browser.get("/") for _ in range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert site.refreshes() == {"success": 1}
    assert len(set(site.tokens)) == 2
    assert (await site.browser.get("/")).status_code == 200


async def test_a_late_cookie_finds_the_newest_tokens(new_site):
    site = new_site(lifetime=600)
    await site.sign_in()
    early = dict(site.browser.cookies)
    for renewal in (1, 2):
        site.clock.offset += 595
        assert (await site.browser.get("/")).status_code == 200
        assert site.refreshes() == {"success": renewal}
    site.browser.cookies = httpx2.Cookies(early)
    assert (await site.browser.get("/")).status_code == 200
    assert site.refreshes() == {"success": 2}


async def test_signing_out_kills_the_tokens(site):
    await site.sign_in()
    await site.browser.get("/")
    kept = dict(site.browser.cookies)
    assert (await site.log_out()).status_code == 303
    headers = {"Authorization": f"Bearer {site.tokens[-1]}"}
    async with httpx2.AsyncClient(timeout=PATIENCE) as anybody:
        assert (await anybody.get(f"{site.server.api_url}/signature_requests", headers=headers)).status_code == 401
    site.browser.cookies = httpx2.Cookies(kept)
    assert (await site.browser.get("/")).status_code == 303


async def test_signing_out_goes_on_to_the_server_and_back(new_site):
    site = new_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye")
    with httpx2.Client(timeout=PATIENCE) as at_the_server:
        await site.sign_in(client=at_the_server)
        answer = await site.log_out()
        location = answer.headers["location"]
        assert location.startswith(site.server.end_session_endpoint)
        sent = query(location)
        assert (sent["client_id"], sent["post_logout_redirect_uri"]) == (site.client_id, f"{ORIGIN}/bye")
        back = await asyncio.to_thread(site.server.sign_out, location, client=at_the_server)
    assert urlsplit(back)._replace(query="").geturl() == f"{ORIGIN}/bye"
    assert query(back)["state"] == sent["state"]


async def test_a_grant_that_was_revoked_ends_the_session(site):
    await site.sign_in()
    await site.browser.get("/")
    async with httpx2.AsyncClient(timeout=PATIENCE) as operator:
        form = {"token": site.tokens[-1], "client_id": site.client_id}
        form["client_secret"] = str(site.middleware.config.client_secret)
        await operator.post(site.server.revocation_endpoint, data=form)
    site.clock.offset = 3595
    again = await site.browser.get("/")
    # oidc-provider kills the grant with either token; django-oauth-toolkit lets the refresh token live.
    assert again.status_code in (200, 303)
    assert site.refreshes() in ({"success": 1}, {"reused": 1}, {"invalid_grant": 1})
    if again.status_code == 303:
        answer = await site.browser.get("/", headers={"accept": "application/json", "sec-fetch-mode": "cors"})
        assert answer.json()["reason"] in ("ended", "no_session")


@pytest.mark.parametrize("server", ["oidc_provider"], indirect=True)
async def test_trouble_with_the_token_endpoint_signs_nobody_out(new_site, oidc_provider):
    site = new_site()
    await site.sign_in()
    site.clock.offset = 3500
    for trouble in (
        {"status": 500, "body": "<html>oh</html>"},
        {"status": 429, "body": {"message": "slow down"}},
        {"status": 200, "body": "<html>captive portal</html>"},
        {"drop": "request"},
    ):
        oidc_provider.next_token_answer(**trouble)
        assert (await site.browser.get("/")).status_code == 200
        site.clock.offset += 31
    site.clock.offset = 3700
    for _ in range(OUTAGE):
        oidc_provider.next_token_answer(status=503, body="no")
    answer = await site.browser.get("/")
    assert answer.status_code == 503
    while answer.status_code == 503:
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert not answer.headers.get_list("set-cookie")
        site.clock.offset += 31
        answer = await site.browser.get("/")
    assert answer.status_code == 200
    assert site.refreshes()["success"] == 1
    assert "reused" not in site.refreshes()


@pytest.mark.parametrize("server", ["oidc_provider"], indirect=True)
async def test_a_code_whose_answer_was_lost_is_not_sent_again(new_site, oidc_provider):
    site = new_site()
    oidc_provider.next_token_answer(drop="response")
    answer = await site.sign_in()
    assert answer.status_code == 503
    assert oidc_provider.counts(site.client_id)["authorization_code", "success"] == 1
    assert ("authorization_code", "reused") not in oidc_provider.counts(site.client_id)
    assert SESSION not in site.browser.cookies
