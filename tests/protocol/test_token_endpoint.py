"""Tokens for a code and for a refresh token, once each; and taken back as far as that goes."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import AuthorizationServerError, OAuthError, ServerUnavailable
from lumin_middleware.model import AuthorizationCode, Errand, Transaction
from lumin_middleware.protocol.breaker import FAILURES, CircuitOpen
from lumin_middleware.protocol.oauth import authorization_response
from tests.fakes import BASE, SERVER, Workers, open_circuit


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def process(workers):
    return workers.process()


def a_code(workers, code: str = "c0de") -> AuthorizationCode:
    """What came back to a login that asked for less than the settings name."""
    transaction = Transaction("state", "nonce", "verifier", Errand("/", "openid offline_access"))
    return authorization_response({"code": code, "state": "state"}, transaction, workers.config, SERVER)


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


async def test_refusals_come_through_and_silence_opens_the_circuit(workers, process):
    tokens = [(await workers.sign_in()).tokens for _ in range(FAILURES + 1)]
    for error in (OAuthError("invalid_grant"), AuthorizationServerError("403 without an OAuth error")):
        workers.server.answer = error
        for each in tokens:
            with pytest.raises(type(error)):
                await process.token_endpoint.refresh(SERVER, each)
    workers.server.answer = ServerUnavailable("down")
    for each in tokens[:FAILURES]:
        with pytest.raises(ServerUnavailable, match="down"):
            await process.token_endpoint.refresh(SERVER, each)
    with pytest.raises(CircuitOpen):
        await process.token_endpoint.refresh(SERVER, tokens[-1])


async def test_no_stranger_s_callback_stops_a_renewal(workers, process):
    """Whatever the server says to codes, and be it nothing: those who are signed in are renewed."""
    tokens = (await workers.sign_in()).tokens
    workers.server.answer = ServerUnavailable("down", said=300)
    for number in range(3 * FAILURES):
        with pytest.raises(ServerUnavailable):
            await process.token_endpoint.redeem(a_code(workers, f"code-{number}"))
    workers.server.answer = None
    assert await process.token_endpoint.refresh(SERVER, tokens)
    with pytest.raises(CircuitOpen):
        await process.token_endpoint.redeem(a_code(workers))


async def test_a_code_waits_for_a_circuit_that_is_open_for_a_moment_and_is_sent_once(workers, process):
    await open_circuit(process.token_endpoint.codes)
    assert await process.token_endpoint.redeem(a_code(workers))
    assert workers.server.sent == ["c0de"]
    assert process.world.slept == [1.0]


@pytest.mark.parametrize("sent", [True, False])
async def test_a_code_that_was_not_answered_is_not_sent_again(workers, process, sent):
    workers.server.answer = ServerUnavailable("down", retry_after=1, sent=sent)
    with pytest.raises(ServerUnavailable):
        await process.token_endpoint.redeem(a_code(workers))
    assert workers.server.sent == ["c0de"]


# --- our own settings ---


@pytest.mark.parametrize("asked", ["a code", "a refresh token"])
async def test_a_secret_that_is_refused_is_told_to_the_operator(workers, process, caplog, asked):
    tokens = (await workers.sign_in()).tokens
    workers.server.answer = OAuthError("invalid_client")
    for _ in range(10):
        with pytest.raises(OAuthError):
            await (
                process.token_endpoint.redeem(a_code(workers))
                if asked == "a code"
                else process.token_endpoint.refresh(SERVER, tokens)
            )
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


@pytest.mark.parametrize("proof", [None, OAuthError("invalid_grant")])
async def test_a_secret_that_worked_a_moment_ago_is_presumed_right(workers, process, caplog, proof):
    """Without its database Hydra says `invalid_client` to everybody."""
    tokens = (await workers.sign_in()).tokens
    workers.server.answer = proof
    with suppress(OAuthError):
        await process.token_endpoint.redeem(a_code(workers))
    workers.server.answer = OAuthError("invalid_client")
    with pytest.raises(OAuthError):
        await process.token_endpoint.refresh(SERVER, tokens)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("scope", ["openid offline_access", "openid"])
async def test_sessions_that_nobody_can_renew_are_told_of_once(workers, process, caplog, scope):
    workers.server.extra = {"refresh_token": None, "scope": scope}
    for number in range(3):
        await process.token_endpoint.redeem(a_code(workers, f"code-{number}"))
    assert caplog.text.count("no_refresh_token") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# --- back ---


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
