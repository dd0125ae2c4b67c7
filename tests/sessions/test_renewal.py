"""A refresh token is spent once; trouble signs nobody out; the end wins."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import (
    AuthorizationServerError,
    LuminError,
    OAuthError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.breaker import FAILURES, PAUSE, CircuitOpen
from lumin_middleware.protocol.identity import kept_claims
from lumin_middleware.sessions import renewal as module
from lumin_middleware.sessions.records import digest
from lumin_middleware.sessions.renewal import LEASE_MARGIN, POLL, SAVE_PAUSES, TROUBLE_PAUSE, Due, due
from tests.fakes import BASE, SERVER, Process, Workers, hostile, id_token, other_key, signing_key, unsigned

LEASE_TIME = 10 + LEASE_MARGIN


@pytest.fixture(params=["cookie", "store"])
def workers(request: pytest.FixtureRequest) -> Workers:
    """The workers of a site, with each kind of sessions."""
    return Workers(sessions=request.param)


@pytest.fixture
def process(workers: Workers) -> Process:
    return workers.process()


async def expired(workers: Workers, **changes: Any) -> Session:
    """A session whose access token has just expired."""
    session = await workers.sign_in(**changes)
    workers.clock.advance(3600)
    return session


async def nearly_expired(workers: Workers, **changes: Any) -> Session:
    """A session whose access token has a minute left: in the soft window, not in the hard one."""
    session = await workers.sign_in(**changes)
    workers.clock.advance(3540)
    return session


async def recorded(workers: Workers, session: Session) -> Session:
    """What a process that knows nothing yet reads in the store."""
    return (await workers.process().sessions.newest(session)).session


# --- when ---


def tokens(now: float, left: float, lifetime: float) -> TokenSet:
    return TokenSet("access", now + left, lifetime, ("openid",), "refresh")


@pytest.mark.parametrize(
    ("lifetime", "left", "expected"),
    [
        (3600, 3600, Due.LATER),
        (3600, 300.5, Due.LATER),
        (3600, 300, Due.SOON),
        (3600, 15.5, Due.SOON),
        (3600, 15, Due.NOW),
        (3600, 0, Due.NOW),
        (3600, -1, Due.NOW),
        (60, 12.5, Due.LATER),
        (60, 12, Due.SOON),
        (60, 1.2, Due.NOW),
        (1, 1, Due.LATER),
    ],
)
def test_the_windows_are_a_share_of_the_life_and_bounded(lifetime, left, expected):
    assert due(tokens(0, left, lifetime), 0, 300) is expected


def test_how_long_before_its_end_a_token_is_renewed_is_a_setting():
    for renew_before, left, expected in [(60, 61, Due.LATER), (60, 60, Due.SOON), (0, 16, Due.LATER), (0, 15, Due.NOW)]:
        assert due(tokens(0, left, 3600), 0, renew_before) is expected


def test_a_rejected_token_is_due_now_and_another_one_is_not():
    assert due(tokens(0, 3600, 3600), 0, 300, "access") is Due.NOW
    assert due(tokens(0, 3600, 3600), 0, 300, "older") is Due.LATER


@hostile
@given(st.floats(0.001, 31_536_000), st.floats(-1e6, 31_536_000), st.floats(0, 86_400))
def test_is_due_never_says_no_when_fresh_would_do_something(lifetime, left, renew_before):
    workers = Workers(renew_before=renew_before)
    now = workers.clock()
    found = dataclasses.replace(tokens(now, left, lifetime))
    session = Session("id", 0, now, now, found, {})
    if due(found, now, renew_before) is not Due.LATER:
        assert workers.process().renewal.is_due(session)


async def test_a_fresh_session_costs_nothing(workers, process):
    session = await workers.sign_in()
    assert await process.renewal.fresh(session) is session
    assert workers.steps == []


# --- the order of steps ---


async def test_the_order_of_steps(workers, process):
    session = await expired(workers)
    await process.metadata.keys()
    workers.steps.clear()
    renewed = await process.renewal.fresh(session)
    assert workers.steps == [
        "lock",  # 2
        "get session",  # 3
        "get trouble",
        "shield",
        "take lease",  # 4
        "get session",  # 5
        "get trouble",
        "renew lease",
        "refresh",  # 6
        "renew lease",
        "sleep",
        "swap session",  # 7
        "release lease",  # 8
        "unlock",
    ]
    assert renewed.generation == 1
    assert workers.server.sent == [session.tokens.refresh_token]


@pytest.mark.parametrize(
    ("claims", "asked"), [({"iss": BASE, "sub": "person-1"}, True), ({"sub": "api-user-1"}, False)]
)
async def test_keys_that_will_be_needed_are_read_before_the_lease(claims, asked):
    workers = Workers()
    session = dataclasses.replace(await expired(workers), claims=claims)
    await workers.process().renewal.fresh(session)
    before = workers.steps[: workers.steps.index("take lease")]
    assert ("fetch" in before) is asked


async def test_what_a_renewal_changes_and_what_it_keeps(workers, process):
    session = await expired(workers)
    renewed = await process.renewal.fresh(session)
    now = workers.clock()
    assert renewed.tokens.refresh_token == workers.server.current
    assert renewed.tokens.access_token != session.tokens.access_token
    assert (renewed.tokens.expires_at, renewed.tokens.lifetime) == (now + 3600, 3600)
    assert (renewed.seen, renewed.id, renewed.began, renewed.claims) == (now, session.id, session.began, session.claims)
    assert await recorded(workers, session) == renewed
    assert not [key for key in workers.store.entries() if key.startswith(("lease:", "trouble:"))]


async def test_the_life_of_a_token_counts_from_before_it_was_asked_for(workers, process):
    session = await expired(workers)
    asked_at = workers.clock()
    workers.server.during["refresh"] = lambda: passing(workers, 9)
    assert (await process.renewal.fresh(session)).tokens.expires_at == asked_at + 3600


async def passing(workers: Workers, seconds: float) -> None:
    workers.clock.advance(seconds)


async def test_what_the_server_leaves_out_stays(workers, process):
    session = await expired(workers)
    workers.server.answer = {"access_token": "new", "token_type": "Bearer"}
    renewed = await process.renewal.fresh(session)
    assert renewed.tokens.refresh_token == session.tokens.refresh_token
    assert renewed.tokens.scope == session.tokens.scope


async def test_a_narrower_scope_is_recorded(workers, process):
    session = await expired(workers)
    workers.server.extra = {"scope": "openid"}
    assert (await process.renewal.fresh(session)).tokens.scope == ("openid",)


async def test_an_old_copy_finds_the_newest_and_asks_nobody(workers, process):
    session = await expired(workers)
    renewed = await process.renewal.fresh(session)
    workers.steps.clear()
    assert await workers.process().renewal.fresh(session) == renewed
    assert workers.steps == ["lock", "get session", "unlock"]


async def test_each_renewal_raises_the_generation_and_spends_the_newest_refresh_token(workers):
    first = session = await expired(workers)
    for generation in (1, 2, 3):
        session = await workers.process().renewal.fresh(first)  # the browser kept its first cookie
        assert session.generation == generation
        workers.clock.advance(3600)
    assert workers.server.reused == []


# --- one flight ---


async def test_many_requests_in_many_processes_refresh_once(workers):
    session = await expired(workers)
    workers.suspend()
    processes = [workers.process() for _ in range(4)]
    for process in processes:
        process.world.clock_moves = False
    found = await asyncio.gather(*(process.renewal.fresh(session) for process in processes for _ in range(50)))
    assert workers.server.sent == [session.tokens.refresh_token]
    assert {one.tokens.access_token for one in found} == {(await recorded(workers, session)).tokens.access_token}


async def test_two_sessions_do_not_wait_for_each_other(workers, process):
    one, other = await expired(workers), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.server.current = one.tokens.refresh_token
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(one))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    workers.server.answer = {"access_token": "other", "token_type": "bearer"}
    assert (await process.renewal.fresh(other)).tokens.access_token == "other"
    assert not first.done()
    held.set()
    assert (await first).tokens.access_token != "other"


async def test_in_the_soft_window_one_renews_and_nobody_waits(workers, process):
    session = await nearly_expired(workers)
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    workers.steps.clear()
    assert await process.renewal.fresh(session) is session  # the same process
    assert workers.steps == []
    assert await workers.process().renewal.fresh(session) is session  # another one
    assert "sleep" not in workers.steps
    held.set()
    assert (await first).generation == 1
    assert len(workers.server.sent) == 1


async def test_in_the_hard_window_everybody_waits_for_the_one(workers, process):
    session = await expired(workers)
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(process.renewal.fresh(session))
    other = workers.process()
    other.world.during_sleep = release_after(held, 5)
    third = asyncio.ensure_future(other.renewal.fresh(session))
    found = await asyncio.gather(first, second, third)
    assert {one.generation for one in found} == {1}
    assert len(workers.server.sent) == 1
    assert other.world.slept[:3] == pytest.approx([POLL[0], POLL[0] * 1.5, POLL[0] * 1.5**2])


def release_after(event: asyncio.Event, sleeps: int) -> Callable[[], Any]:
    """Sets `event` at the so-manieth sleep."""
    count = iter(range(1, 10_000))

    async def during_sleep() -> None:
        if next(count) == sleeps:
            event.set()

    return during_sleep


# --- the lease ---


async def test_the_lease_of_a_process_that_died_runs_out(workers, process):
    session = await expired(workers)
    workers.lease(session, LEASE_TIME)
    assert (await process.renewal.fresh(session)).generation == 1
    assert LEASE_TIME <= sum(process.world.slept) <= LEASE_TIME + 2 * POLL[1]
    assert max(process.world.slept) <= POLL[1]
    assert len(workers.server.sent) == 1


async def test_who_waits_for_the_lease_adopts_what_its_holder_saves(workers, process):
    session = await expired(workers)
    workers.lease(session, LEASE_TIME)
    newer = dataclasses.replace(session, generation=1, tokens=tokens(workers.clock(), 3600, 3600))

    async def the_holder_saves() -> None:
        process.world.during_sleep = None
        other = workers.process().sessions
        assert await other.replace(await other.newest(session), newer)

    process.world.during_sleep = the_holder_saves
    found = await process.renewal.fresh(session)
    assert (found.generation, found.tokens) == (1, newer.tokens)
    assert workers.server.sent == []
    assert len(process.world.slept) == 1


async def test_who_waits_for_the_lease_learns_that_the_session_was_ended(workers, process):
    session = await expired(workers)
    workers.lease(session, LEASE_TIME)
    process.world.during_sleep = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


async def test_a_lease_that_never_ends_is_waited_for_no_longer_than_twice(workers, process):
    session = await expired(workers)
    workers.lease(session, 1e6)
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)
    assert 2 * LEASE_TIME < sum(process.world.slept) < 2 * LEASE_TIME + 2
    assert workers.server.sent == []


async def test_a_lease_that_a_slow_store_used_up_is_not_used(workers, process):
    session = await expired(workers)

    async def slow() -> None:
        workers.store.before["get session"] = slower  # the second look, under the lease

    async def slower() -> None:
        workers.clock.advance(LEASE_TIME)

    workers.store.before["get session"] = slow
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


DISCOVERED = {
    "issuer": BASE,
    "authorization_endpoint": f"{BASE}/oauth2/auth",
    "token_endpoint": f"{BASE}/oauth2/token",
    "jwks_uri": f"{BASE}/.well-known/jwks.json",
    "revocation_endpoint": f"{BASE}/oauth2/revoke",
}


@pytest.mark.parametrize(
    "case", ["no keys yet", "a key that is not known yet", "nothing discovered yet", "no identity"]
)
async def test_the_lease_outlasts_every_answer_that_is_waited_for_under_it(case):
    """Each answer may take `timeout`; a process that got the lease meanwhile would spend the same token again."""
    server = AuthorizationServer.discover(BASE) if case == "nothing discovered yet" else SERVER
    workers = Workers(server=server)
    workers.server.documents[f"{BASE}/.well-known/openid-configuration"] = json_answer(DISCOVERED)
    process, session = workers.process(), await expired(workers)
    if case == "no identity":
        session = dataclasses.replace(session, claims={})
    kid = "key-1"
    if case == "a key that is not known yet":
        await process.metadata.keys()
        kid = "key-2"
        workers.server.documents[f"{BASE}/.well-known/jwks.json"] = json_answer(
            {"keys": [{**signing_key().as_dict(private=False), "kid": kid}]}
        )
    workers.server.extra = {"id_token": id_token(workers.clock(), header={"kid": kid})}
    lost = []

    def nearly_too_slow() -> None:
        held = workers.leased(session)
        workers.clock.advance(9.9)
        if held and not workers.leased(session):
            lost.append(workers.steps[-1])

    workers.server.during_each = nearly_too_slow
    assert (await process.renewal.fresh(session)).generation == 1
    assert workers.server.sent == [session.tokens.refresh_token]
    assert lost == []


def json_answer(document: object) -> Answer:
    return Answer(200, "application/json", json.dumps(document).encode())


async def test_a_lease_that_cannot_be_released_is_logged_and_harms_nobody(workers, process, caplog):
    session = await expired(workers)
    workers.store.fails = {"release lease"}
    assert (await process.renewal.fresh(session)).generation == 1
    assert "lease" in caplog.text


async def test_a_crash_after_the_save_costs_nothing(workers, process):
    """The holder saved and died before it could release: whoever comes next reads the record."""
    session = await expired(workers)
    workers.store.fails = {"release lease"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    workers.steps.clear()
    assert await workers.process().renewal.fresh(session) == renewed
    assert "sleep" not in workers.steps


# --- what the token endpoint says: DESIGN, D6, row by row ---

ENDS = ["invalid_grant", "invalid_scope", "unauthorized_client", "scope_not_granted"]

TROUBLE: list[tuple[str, LuminError]] = [
    ("a concurrent refresh", OAuthError("invalid_request", "Failed to refresh token because of multiple requests")),
    ("the operator's error", OAuthError("invalid_client")),
    ("an error that nobody knows", OAuthError("slow_down")),
    ("the server's own error", OAuthError("server_error")),
    ("a 5xx, a 429, a timeout, no OAuth error", ServerUnavailable("the token endpoint answered 503")),
    ("tokens that cannot be used", AuthorizationServerError("the token_type is not 'bearer'", "bad_token_response")),
]


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("error", ENDS)
async def test_a_grant_that_is_over_ends_the_session(workers, process, error, alive):
    session = await (nearly_expired(workers) if alive else expired(workers))
    workers.server.answer = OAuthError(error)
    with pytest.raises(SessionEnded) as raised:
        await process.renewal.fresh(session)
    assert raised.value.reason == "ended"
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(session)
    with pytest.raises(SessionEnded):
        await workers.process().renewal.fresh(session)
    assert len(workers.server.sent) == 1


@pytest.mark.parametrize("error", [*ENDS, "invalid_request", "invalid_client"])
async def test_a_refusal_is_nothing_when_the_record_has_become_newer(workers, process, error):
    session = await expired(workers)
    newer = dataclasses.replace(session, generation=1, tokens=tokens(workers.clock(), 3600, 3600))
    workers.server.answer = OAuthError(error)

    async def another_process_was_first() -> None:
        other = workers.process().sessions
        assert await other.replace(await other.newest(session), newer)

    workers.server.during["refresh"] = another_process_was_first
    assert (await process.renewal.fresh(session)).tokens == newer.tokens
    assert (await recorded(workers, session)).tokens == newer.tokens


def wrong_id_tokens(now: float) -> dict[str, str]:
    return {
        "another person": id_token(now, sub="person-2"),
        "another issuer": id_token(now, iss="https://evil.example"),
        "another audience": id_token(now, aud="other-client"),
        "expired": id_token(now, exp=int(now) - 600),
        "another key": id_token(now, key=other_key()),
        "unsigned": unsigned({"alg": "none"}, {"iss": BASE, "sub": "person-1", "aud": "test-client"}),
        "no token": "what?",
    }


@pytest.mark.parametrize("wrong", wrong_id_tokens(0))
@pytest.mark.parametrize("alive", [True, False])
async def test_tokens_with_a_wrong_id_token_are_revoked_and_the_session_ends(workers, process, caplog, wrong, alive):
    session = await (nearly_expired(workers) if alive else expired(workers))
    workers.server.extra = {"id_token": wrong_id_tokens(workers.clock())[wrong]}
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [workers.server.current]
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(session)
    assert "not this session's" in caplog.text


@pytest.mark.parametrize("error", [error for _, error in TROUBLE], ids=[name for name, _ in TROUBLE])
class TestTrouble:
    """Everything else: nobody is signed out, and for a while nobody asks again."""

    async def test_goes_on_while_the_access_token_lives(self, workers, process, error, caplog):
        session = await nearly_expired(workers)
        workers.server.answer = error
        assert await process.renewal.fresh(session) is session
        assert "still lives" in caplog.text
        assert await recorded(workers, session) == session

    async def test_is_503_when_it_does_not(self, workers, process, error):
        session = await expired(workers)
        workers.server.answer = error
        with pytest.raises(ServerUnavailable) as raised:
            await process.renewal.fresh(session)
        assert raised.value.retry_after == TROUBLE_PAUSE
        assert await recorded(workers, session) == session

    async def test_is_not_asked_again_for_a_while_and_then_once(self, workers, process, error):
        session = await expired(workers)
        workers.server.answer = error
        with pytest.raises(ServerUnavailable):
            await process.renewal.fresh(session)
        workers.server.answer = None
        left = []
        for _ in range(3):
            workers.clock.advance(9.9)
            with pytest.raises(ServerUnavailable) as raised:
                await workers.process().renewal.fresh(session)
            left.append(raised.value.retry_after)
        assert left == pytest.approx([20.1, 10.2, 1.0])  # what is left, but never "now"
        assert len(workers.server.sent) == 1
        workers.clock.advance(0.4)
        workers.suspend()
        found = await asyncio.gather(*(process.renewal.fresh(session) for _ in range(10)))
        assert {one.generation for one in found} == {1}
        assert len(workers.server.sent) == 2
        assert workers.server.reused == []


async def test_who_waited_for_the_lease_while_its_holder_met_trouble_does_not_ask_at_once(workers, process):
    session = await expired(workers)
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    workers.server.answer = ServerUnavailable("down")
    other = workers.process()
    other.world.during_sleep = release_after(held, 3)
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    found = await asyncio.gather(first, other.renewal.fresh(session), return_exceptions=True)
    assert {type(each) for each in found} == {ServerUnavailable}
    assert len(workers.server.sent) == 1


async def test_the_operator_s_error_is_logged_loudly(workers, process, caplog):
    session = await nearly_expired(workers)
    workers.server.answer = OAuthError("invalid_client")
    await process.renewal.fresh(session)
    assert [record for record in caplog.records if record.levelno == logging.CRITICAL]


async def test_trouble_of_one_session_is_not_another_s(workers, process):
    troubled, other = await expired(workers), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(troubled)
    workers.server.answer = None
    assert (await process.renewal.fresh(other)).generation == 1


async def test_trouble_is_logged_once_in_a_while(workers, process, caplog):
    session = await nearly_expired(workers)
    workers.server.answer = ServerUnavailable("down")
    for _ in range(20):
        assert await process.renewal.fresh(session) is session
    assert caplog.text.count("still lives") == 1


async def test_a_server_that_cannot_be_found_is_trouble(process, workers):
    other = workers.process(sessions=process.config.sessions, server=AuthorizationServer.discover(BASE))
    session = await expired(workers)
    workers.server.documents[f"{BASE}/.well-known/openid-configuration"] = Answer(502, "text/html", b"")
    with pytest.raises(ServerUnavailable):
        await other.renewal.fresh(session)
    assert await recorded(workers, session) == session
    assert not [key for key in workers.store.entries() if key.startswith("lease:")]


# --- the ID token of a refresh ---


async def test_a_new_id_token_brings_new_claims(workers, process):
    session = await expired(workers)
    workers.server.extra = {"id_token": id_token(workers.clock(), email="new@example.com", nonce="of the login")}
    renewed = await process.renewal.fresh(session)
    assert renewed.claims == {"iss": BASE, "sub": "person-1", "email": "new@example.com"}
    assert renewed.tokens.id_token is None


async def test_an_id_token_that_cannot_be_verified_now_is_left_aside(workers, process, caplog):
    session = await expired(workers)
    workers.server.documents[f"{BASE}/.well-known/jwks.json"] = ServerUnavailable("down")
    workers.server.extra = {"id_token": id_token(workers.clock(), email="new@example.com")}
    renewed = await process.renewal.fresh(session)
    assert (renewed.generation, renewed.claims) == (1, session.claims)
    assert "left aside" in caplog.text


async def test_a_drifting_clock_signs_nobody_out(workers, process):
    session = await expired(workers)
    workers.server.extra = {"id_token": id_token(workers.clock() + 290)}
    assert (await process.renewal.fresh(session)).generation == 1


async def test_an_identity_of_the_api_is_not_compared_with_the_server_s(workers, process):
    session = await expired(workers)
    session = dataclasses.replace(session, claims={"sub": "api-user-1"}, generation=1)
    sessions = workers.process().sessions
    assert await sessions.replace(await sessions.newest(session), session)
    workers.server.extra = {"id_token": id_token(workers.clock())}
    assert (await process.renewal.fresh(session)).claims == {"sub": "api-user-1"}


async def test_a_site_that_keeps_no_subject_renews_all_the_same():
    workers = Workers(claims=["email"])
    session = await expired(workers)
    claims = {"iss": BASE, "sub": "person-1", "email": "person@example.com"}
    session = dataclasses.replace(session, claims=kept_claims(claims, workers.config))
    workers.server.extra = {"id_token": id_token(workers.clock())}
    assert (await workers.process().renewal.fresh(session)).generation == 1


@pytest.mark.parametrize("kind", ["cookie", "store"])
async def test_the_id_token_is_kept_for_a_logout_at_the_server(kind):
    workers = Workers(sessions=kind, end_session=True)
    session = await expired(workers, id_token="first")
    assert (await workers.process().renewal.fresh(session)).tokens.id_token == "first"
    workers.clock.advance(3600)
    second = workers.server.extra["id_token"] = id_token(workers.clock())
    assert (await workers.process().renewal.fresh(session)).tokens.id_token == second


# --- no refresh token, rejected tokens ---


async def test_without_a_refresh_token_it_lives_as_long_as_its_access_token(workers, process):
    session = await workers.sign_in(refresh_token=None)
    workers.clock.advance(3599)
    assert await process.renewal.fresh(session) is session
    workers.clock.advance(1)
    with pytest.raises(SessionEnded) as raised:
        await process.renewal.fresh(session)
    assert raised.value.reason == "expired"
    assert workers.steps == []


async def test_a_token_that_the_api_rejected_is_renewed_though_it_lives(workers, process):
    session = await workers.sign_in()
    renewed = await process.renewal.fresh(session, rejected=session.tokens.access_token)
    assert renewed.generation == 1
    assert await process.renewal.fresh(renewed, rejected=session.tokens.access_token) is renewed


async def test_many_rejections_refresh_once(workers):
    session = await workers.sign_in()
    workers.suspend()
    processes = [workers.process() for _ in range(3)]
    found = await asyncio.gather(
        *(one.renewal.fresh(session, rejected=session.tokens.access_token) for one in processes for _ in range(20))
    )
    assert {one.generation for one in found} == {1}
    assert len(workers.server.sent) == 1


async def test_a_rejected_token_does_not_outlast_trouble(workers, process):
    session = await workers.sign_in()
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session, rejected=session.tokens.access_token)


async def test_a_rejected_token_without_a_refresh_token_is_the_end(workers, process):
    session = await workers.sign_in(refresh_token=None)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session, rejected=session.tokens.access_token)


# --- the store fails ---


@pytest.mark.parametrize("step", ["get session", "get trouble", "take lease", "renew lease"])
async def test_no_token_is_sent_when_the_store_fails_before(workers, process, step):
    living, dead = await nearly_expired(workers), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.store.fails = {step}
    assert await process.renewal.fresh(living) is living
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(dead)
    assert workers.server.sent == []


async def test_a_save_is_tried_again_before_anybody_sees_the_tokens(workers, process):
    session = await expired(workers)
    workers.store.fails = {"swap session"}

    async def recover() -> None:
        if len(process.world.slept) == 3:
            workers.store.fails = set()

    process.world.during_sleep = recover
    renewed = await process.renewal.fresh(session)
    assert tuple(process.world.slept) == SAVE_PAUSES[:3]
    assert await recorded(workers, session) == renewed


async def test_a_save_whose_answer_was_lost_is_not_lost(workers, process):
    session = await expired(workers)
    workers.store.loses = {"swap session"}

    async def recover() -> None:
        if len(process.world.slept) == 2:
            workers.store.loses = set()

    process.world.during_sleep = recover
    renewed = await process.renewal.fresh(session)
    assert (await recorded(workers, session)).tokens == renewed.tokens
    assert len(workers.server.sent) == 1


async def test_a_write_of_the_same_generation_meanwhile_does_not_lose_the_renewed_one(workers, process):
    """A request that slides the idle time writes the record, too."""
    workers.config = dataclasses.replace(workers.config, sessions="store")
    process = workers.process()
    session = await expired(workers)
    sessions = workers.process().sessions

    async def slides() -> None:
        assert await sessions.replace(await sessions.newest(session), session)

    workers.server.during["refresh"] = slides
    renewed = await process.renewal.fresh(session)
    assert renewed.generation == 1
    assert await recorded(workers, session) == renewed


async def test_when_nothing_can_be_saved_this_process_remembers(workers, process, caplog):
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    assert renewed.generation == 1
    assert tuple(process.world.slept) == SAVE_PAUSES
    assert caplog.text.count("could not be saved") == len(SAVE_PAUSES)
    assert await process.renewal.fresh(session) == renewed
    assert "still not saved" in caplog.text
    assert len(workers.server.sent) == 1


async def test_while_nothing_could_be_saved_no_other_process_gets_the_lease(workers, process):
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    assert workers.leased(session)
    workers.store.fails = set()
    other = workers.process()

    async def this_process_catches_up() -> None:
        other.world.during_sleep = None
        await process.renewal.fresh(session)

    other.world.during_sleep = this_process_catches_up
    assert (await other.renewal.fresh(session)).generation == 1
    assert len(workers.server.sent) == 1


async def test_what_was_not_saved_is_saved_when_the_store_is_back(workers, process):
    """Other processes read the record: until it is written they would send the spent refresh token."""
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    assert (await process.renewal.fresh(session)).tokens == renewed.tokens
    assert (await workers.process().renewal.fresh(session)).tokens == renewed.tokens
    assert workers.server.reused == []


async def test_who_waited_while_nothing_could_be_saved_gets_the_same_and_sends_nothing(workers, process):
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    workers.suspend()
    first, second = await asyncio.gather(process.renewal.fresh(session), process.renewal.fresh(session))
    assert first.tokens == second.tokens
    workers.store.fails = set()
    third = await process.renewal.fresh(session)
    assert third.tokens == first.tokens == (await recorded(workers, session)).tokens
    assert len(workers.server.sent) == 1


async def test_what_was_not_saved_is_tried_again_when_another_writes_meanwhile(workers):
    workers.config = dataclasses.replace(workers.config, sessions="store")
    process, session = workers.process(), await expired(workers)
    workers.store.fails = {"swap session"}
    renewed = await process.renewal.fresh(session)
    workers.store.fails = set()
    sessions = workers.process().sessions

    async def slides() -> None:
        assert await sessions.replace(await sessions.newest(session), session)

    workers.store.before["swap session"] = slides
    assert process.renewal.is_due(renewed)
    assert (await process.renewal.fresh(renewed)).tokens == renewed.tokens
    assert process.renewal.is_due(renewed)
    assert (await process.renewal.fresh(renewed)).tokens == renewed.tokens
    assert not process.renewal.is_due(renewed)
    assert await recorded(workers, session) == renewed


async def test_a_record_that_is_newer_still_is_adopted(workers, process):
    """The others were two generations ahead by the time that this process could save."""
    session = await expired(workers)
    newest = dataclasses.replace(session, generation=2, tokens=tokens(workers.clock(), 3600, 3600))

    async def others_go_on() -> None:
        sessions = workers.process().sessions
        assert await sessions.replace(await sessions.newest(session), newest)

    workers.server.during["refresh"] = others_go_on
    assert (await process.renewal.fresh(session)).tokens == newest.tokens
    assert (await recorded(workers, session)).tokens == newest.tokens


async def test_a_session_that_was_not_saved_never_takes_the_place_of_a_newer_one(workers, process):
    """Another process went on with what the browser brought, while this one still remembers."""
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    unsaved = await process.renewal.fresh(session)
    workers.store.fails = set()
    workers.clock.advance(3540)
    newest = await workers.process().renewal.fresh(unsaved)
    assert newest.generation == 2
    workers.clock.advance(3540)
    workers.store.fails = {"get session"}
    assert await process.renewal.fresh(newest) is newest  # its access token lives, the unsaved one's does not


async def test_trouble_that_cannot_be_shared_is_logged(workers, process, caplog):
    session = await expired(workers)
    workers.store.fails = {"swap trouble"}
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session)
    assert "could not be shared" in caplog.text


async def test_an_end_that_cannot_be_written_signs_nobody_out_yet(workers, process):
    session = await expired(workers)
    workers.server.answer = OAuthError("invalid_grant")
    workers.store.fails = {"swap session"}
    with pytest.raises(StoreUnavailable):
        await process.renewal.fresh(session)


async def test_tokens_with_a_wrong_id_token_are_revoked_even_if_the_end_cannot_be_written(workers, process):
    session = await expired(workers)
    workers.server.extra = {"id_token": id_token(workers.clock(), sub="person-2")}
    workers.store.fails = {"swap session"}
    with pytest.raises((StoreUnavailable, SessionEnded)):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [workers.server.current]


# --- the end wins ---


async def test_the_end_wins_over_a_renewal(workers, process):
    session = await expired(workers)
    workers.server.during["refresh"] = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [workers.server.current]
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(session)


async def test_the_end_wins_even_while_the_access_token_lives(workers, process):
    session = await nearly_expired(workers)
    workers.server.during["refresh"] = lambda: workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)


async def test_the_end_wins_over_what_was_not_saved(workers, process):
    session = await expired(workers)
    workers.store.fails = {"swap session"}
    await process.renewal.fresh(session)
    workers.store.fails = set()
    await workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)


async def test_an_ended_session_is_not_renewed(workers, process):
    session = await expired(workers)
    await workers.process().end(session)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.sent == []


# --- cancellation ---


@pytest.mark.parametrize("step", ["get session", "take lease", "renew lease", "refresh", "swap session"])
async def test_a_request_that_goes_away_loses_no_token(workers, process, step):
    """Wherever it is cut off, whoever comes next has a session, and no refresh token is sent twice."""
    session = await expired(workers)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await go_on.wait()

    (workers.server.during if step == "refresh" else workers.store.before)[step] = pause
    task = asyncio.ensure_future(process.renewal.fresh(session))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    found = await asyncio.gather(process.renewal.fresh(session), workers.process().renewal.fresh(session))
    assert {one.generation for one in found} == {1}
    assert workers.server.sent == [session.tokens.refresh_token]
    assert workers.server.reused == []


# --- what is told ---


@pytest.mark.parametrize("error", [OAuthError("invalid_grant"), OAuthError("invalid_client"), ServerUnavailable("x")])
async def test_no_token_is_logged_or_shown(workers, process, caplog, error):
    caplog.set_level(logging.DEBUG)
    session = await expired(workers)
    workers.server.answer = error
    workers.store.fails = {"release lease", "swap trouble"}
    with pytest.raises(LuminError) as raised:
        await process.renewal.fresh(session)
    shown = caplog.text + repr(raised.value) + str(raised.value) + repr(session)
    assert session.tokens.access_token not in shown
    assert session.tokens.refresh_token not in shown
    assert session.id not in shown


def test_the_table_of_the_module_is_the_design_s():
    assert set(ENDS) <= module._OVER
    assert not {"invalid_request", "invalid_client", "server_error", "temporarily_unavailable"} & module._OVER


def test_a_key_of_the_store_does_not_name_the_session():
    assert digest("id") != "id"


async def test_an_open_circuit_costs_no_lease_and_says_nothing_of_the_session(workers, process):
    workers.server.answer = ServerUnavailable("down")
    for _ in range(FAILURES):
        with pytest.raises(ServerUnavailable):
            await process.renewal.fresh(await expired(workers))
        workers.clock.advance(-3600)
    session = await expired(workers)
    process.token_endpoint.breaker._probe_at = workers.clock() + PAUSE
    workers.steps.clear()
    with pytest.raises(CircuitOpen) as caught:
        await process.renewal.fresh(session)
    assert caught.value.retry_after == PAUSE
    assert "take lease" not in workers.steps
    workers.server.answer = None
    workers.clock.advance(PAUSE)
    workers.server.current = session.tokens.refresh_token
    assert (await process.renewal.fresh(session)).generation == 1


async def test_a_circuit_that_opens_under_the_lease_says_nothing_of_the_session(workers, process):
    session = await expired(workers)

    async def open_circuit():
        process.token_endpoint.breaker._failures = FAILURES
        process.token_endpoint.breaker._probe_at = workers.clock() + PAUSE

    workers.store.before["renew lease"] = open_circuit
    with pytest.raises(CircuitOpen):
        await process.renewal.fresh(session)
    assert not workers.leased(session)
    workers.clock.advance(PAUSE)
    assert (await process.renewal.fresh(session)).generation == 1
