"""Tokens for a code and for a refresh token, once each; and taken back as far as that goes."""

from __future__ import annotations

import pytest

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import OAuthError, ServerUnavailable
from lumin_middleware.model import AuthorizationCode, Errand, Transaction
from lumin_middleware.protocol.breaker import FAILURES, CircuitOpen
from lumin_middleware.protocol.oauth import authorization_response
from tests.fakes import BASE, SERVER, Workers


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def process(workers):
    return workers.process()


def a_code(workers) -> AuthorizationCode:
    """What came back to a login that asked for less than the settings name."""
    transaction = Transaction("state", "nonce", "verifier", Errand("/", "openid offline_access"))
    return authorization_response({"code": "c0de", "state": "state"}, transaction, workers.config, SERVER)


async def test_a_code_is_redeemed_for_what_its_login_asked_for(workers, process):
    workers.server.extra = {"scope": None}
    tokens = await process.token_endpoint.redeem(a_code(workers))
    assert workers.server.sent == ["c0de"]
    assert tokens.scope == ("openid", "offline_access")
    assert tokens.refresh_token == workers.server.current
    assert tokens.expires_at == workers.clock() + 3600


async def test_a_token_lives_from_when_it_was_asked_for(workers, process):
    started = workers.clock()
    workers.server.during_each = lambda: workers.clock.advance(4)
    assert (await process.token_endpoint.redeem(a_code(workers))).expires_at == started + 3600


async def test_what_a_refresh_does_not_say_stays_as_it_was(workers, process):
    before = (await workers.sign_in()).tokens
    workers.server.extra = {"scope": None, "refresh_token": None}
    tokens = await process.token_endpoint.refresh(SERVER, before)
    assert workers.server.sent == [before.refresh_token]
    assert (tokens.refresh_token, tokens.scope) == (before.refresh_token, before.scope)
    assert tokens.access_token != before.access_token


async def test_refusals_come_through_and_silence_opens_the_circuit_for_codes_and_refresh_tokens_alike(workers, process):
    tokens = (await workers.sign_in()).tokens
    workers.server.answer = OAuthError("invalid_grant")
    for _ in range(FAILURES):
        with pytest.raises(OAuthError):
            await process.token_endpoint.refresh(SERVER, tokens)
    workers.server.answer = ServerUnavailable("down")
    for _ in range(FAILURES):
        with pytest.raises(ServerUnavailable, match="down"):
            await process.token_endpoint.refresh(SERVER, tokens)
    with pytest.raises(CircuitOpen):
        await process.token_endpoint.redeem(a_code(workers))


async def test_a_server_that_does_not_revoke_stops_nothing(workers, process, caplog):
    session = await workers.sign_in()
    workers.server.answer = ServerUnavailable("down")
    await process.token_endpoint.revoke(session.tokens)
    assert workers.server.revoked == [session.tokens.refresh_token]
    assert "could not be revoked" in caplog.text


async def test_without_a_refresh_token_the_access_token_is_revoked(workers, process):
    session = await workers.sign_in(refresh_token=None)
    await process.token_endpoint.revoke(session.tokens)
    assert workers.server.revoked == [session.tokens.access_token]


async def test_a_server_without_a_revocation_endpoint_is_not_asked(workers):
    server = AuthorizationServer(issuer=BASE, authorization_endpoint=f"{BASE}/a", token_endpoint=f"{BASE}/t")
    session = await workers.sign_in()
    await workers.process(server=server).token_endpoint.revoke(session.tokens)
    assert workers.server.revoked == []
