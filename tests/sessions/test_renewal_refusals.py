"""What the token endpoint says, and what becomes of the session: DESIGN, D6, row by row."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import (
    AuthorizationServerError,
    LuminError,
    OAuthError,
    ServerUnavailable,
    SessionEnded,
)
from lumin_middleware.ports import Answer
from lumin_middleware.sessions.pauses import FIRST, InPause
from lumin_middleware.sessions.renewal import Meaning, meaning
from tests.fakes import (
    BASE,
    release_after,
    token_set,
)

ENDS = {
    "invalid_grant": "ended",
    "scope_not_granted": "ended",
    "token_inactive": "ended",
    "unauthorized_client": "ended",
    "access_denied": "access_denied",
    "interaction_required": "interaction_required",
    "login_required": "login_required",
    "consent_required": "consent_required",
    "account_selection_required": "account_selection_required",
}
"""The errors after which a session is over, and the reason that is told."""

TROUBLE: list[tuple[str, LuminError]] = [
    ("a concurrent refresh", OAuthError("invalid_request", "Failed to refresh token because of multiple requests")),
    ("the operator's error", OAuthError("invalid_client")),
    ("a scope of the settings that is refused", OAuthError("invalid_scope")),
    ("an error that nobody knows", OAuthError("slow_down")),
    ("the server's own error", OAuthError("server_error")),
    ("a 5xx, a 429, a timeout, no OAuth error", ServerUnavailable("the token endpoint answered 503")),
    ("no connection", ServerUnavailable("ConnectError", sent=False)),
    ("a 4xx without an OAuth error", AuthorizationServerError("403 of a firewall", "bad_token_response")),
    ("tokens that cannot be used", AuthorizationServerError("the token_type is not 'bearer'", "bad_token_response")),
]


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("error", ENDS)
async def test_a_grant_that_is_over_ends_the_session(workers, process, error, alive):
    session = await (workers.nearly_expired() if alive else workers.expired())
    workers.server.answer = OAuthError(error)
    with pytest.raises(SessionEnded) as raised:
        await process.renewal.fresh(session)
    assert raised.value.reason == ENDS[error]
    with pytest.raises(SessionEnded):
        await workers.process().sessions.newest(session)
    with pytest.raises(SessionEnded):
        await workers.process().renewal.fresh(session)
    assert len(workers.server.sent) == 1


@pytest.mark.parametrize("error", [*ENDS, "invalid_request", "invalid_client"])
async def test_a_refusal_is_nothing_when_the_record_has_become_newer(workers, process, error):
    session = await workers.expired()
    newer = dataclasses.replace(session, generation=1, tokens=token_set(workers.clock(), 3600, 3600))
    workers.server.answer = OAuthError(error)

    async def another_process_was_first() -> None:
        other = workers.process().sessions
        assert await other.replace(await other.newest(session), newer)

    workers.server.during["refresh"] = another_process_was_first
    assert (await process.renewal.fresh(session)).tokens == newer.tokens
    assert (await workers.recorded(session)).tokens == newer.tokens


@pytest.mark.parametrize("error", [error for _, error in TROUBLE], ids=[name for name, _ in TROUBLE])
class TestTrouble:
    """Everything else: nobody is signed out, and for a while nobody asks again."""

    async def test_goes_on_while_the_access_token_lives(self, workers, process, error, caplog):
        session = await workers.nearly_expired()
        workers.server.answer = error
        assert await process.renewal.fresh(session) is session
        assert "still lives" in caplog.text
        assert await workers.recorded(session) == session

    async def test_a_hiccup_is_felt_as_a_pause(self, workers, process, error):
        session = await workers.expired()
        workers.server.answer = error
        process.world.during_sleep = lambda: is_back(workers)
        assert (await process.renewal.fresh(session)).generation == 1
        assert process.world.slept[0] == FIRST
        assert len(workers.server.sent) == 2

    async def test_is_503_when_it_lasts(self, workers, process, error):
        session = await workers.expired()
        workers.server.answer = error
        with pytest.raises(ServerUnavailable) as raised:
            await process.renewal.fresh(session)
        assert process.world.slept == [1, 2]
        assert raised.value.retry_after == 4
        assert len(workers.server.sent) == 3
        assert await workers.recorded(session) == session

    async def test_is_asked_about_less_and_less_often(self, workers, process, error):
        session = await workers.expired()
        workers.server.answer = error
        pauses = []
        for _ in range(6):
            with pytest.raises(ServerUnavailable) as raised:
                await process.renewal.fresh(session)
            pauses.append(raised.value.retry_after)
            workers.clock.advance(pauses[-1])
        assert pauses == [4, 8, 16, 30, 30, 30]
        assert len(workers.server.sent) == 3 + 5

    async def test_when_the_pause_is_over_one_asks_for_all(self, workers, process, error):
        session = await workers.expired()
        workers.server.answer = error
        with pytest.raises(ServerUnavailable):
            await process.renewal.fresh(session)
        sent = len(workers.server.sent)
        workers.server.answer = None
        workers.clock.advance(4)
        workers.suspend()
        found = await asyncio.gather(*(process.renewal.fresh(session) for _ in range(10)))
        assert {one.generation for one in found} == {1}
        assert len(workers.server.sent) == sent + 1
        assert workers.server.reused == []


async def is_back(workers) -> None:
    """For `World.during_sleep`: the server answers again."""
    workers.server.answer = None


# --- whom a pause concerns ---

OWN = ["the operator's error", "a scope of the settings that is refused", "no connection"]


@pytest.mark.parametrize(("name", "error"), [each for each in TROUBLE if each[0] not in OWN])
async def test_an_unknown_outcome_is_every_process_s_affair(workers, process, name, error):
    session = await workers.expired()
    workers.server.answer = error
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session)
    sent = len(workers.server.sent)
    workers.server.answer = None
    with pytest.raises(ServerUnavailable) as raised:
        await workers.process().renewal.fresh(session)
    assert raised.value.retry_after == 4
    assert len(workers.server.sent) == sent


@pytest.mark.parametrize(("name", "error"), [each for each in TROUBLE if each[0] in OWN])
async def test_what_is_one_host_s_own_trouble_leaves_the_others_alone(workers, process, name, error):
    """One has the old secret, or cannot connect; the other is well, and serves the same session at once."""
    session = await workers.expired()
    well = workers.process()
    workers.server.answer = error
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session)
    workers.server.answer = None
    renewed = await well.renewal.fresh(session)
    assert renewed.generation == 1
    assert well.world.slept == [0.0]  # before it saved
    assert await process.renewal.fresh(session) == renewed  # which the other finds, though it is in trouble


async def test_who_waited_for_the_lease_while_its_holder_met_trouble_does_not_ask_at_once(workers, process):
    session = await workers.expired()
    held = asyncio.Event()
    workers.server.during["refresh"] = held.wait
    workers.server.answer = ServerUnavailable("down", said=60)
    other = workers.process()
    other.world.during_sleep = release_after(held, 3)
    first = asyncio.ensure_future(process.renewal.fresh(session))
    while "refresh" not in workers.steps:
        await asyncio.sleep(0)
    found = await asyncio.gather(first, other.renewal.fresh(session), return_exceptions=True)
    assert [type(each) for each in found] == [ServerUnavailable, InPause]
    assert len(workers.server.sent) == 1


async def test_what_the_server_asks_for_is_obeyed_by_all_and_told(workers, process):
    session = await workers.expired()
    workers.server.answer = ServerUnavailable("503", said=240)
    for each in (process, workers.process()):
        with pytest.raises(ServerUnavailable) as raised:
            await each.renewal.fresh(session)
        assert raised.value.retry_after == 240
    assert len(workers.server.sent) == 1
    workers.server.answer = None
    workers.clock.advance(240)
    assert (await process.renewal.fresh(session)).generation == 1


async def test_a_server_in_silence_is_waited_for_once(workers, process):
    session = await workers.expired()
    workers.server.answer = ServerUnavailable("timeout")
    workers.server.during_each = lambda: workers.clock.advance(10)
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(session)
    assert len(workers.server.sent) == 1
    assert process.world.slept == []


async def test_a_renewed_session_has_no_trouble_behind_it(workers, process):
    """The next hiccup is a first one again, in each process."""
    session = await workers.expired()
    for _ in range(4):
        workers.server.answer = ServerUnavailable("down")
        process.world.during_sleep = lambda: is_back(workers)
        session = await process.renewal.fresh(session)
        assert process.world.slept[0] == FIRST
        process.world.slept.clear()
        session = dataclasses.replace(session, tokens=dataclasses.replace(session.tokens, expires_at=workers.clock()))
        assert await process.sessions.replace(await process.sessions.newest(session), session)
    assert len(workers.server.sent) == 8


# --- whose fault it is ---


@pytest.mark.parametrize("error", ["access_denied", "interaction_required"])
async def test_a_person_who_is_refused_loses_what_they_had_at_the_server_too(workers, process, error):
    session = await workers.expired()
    workers.server.answer = OAuthError(error)
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [session.tokens.refresh_token]


SETTINGS = "openid offline_access sign:requests"
ADDED = (*SETTINGS.split(), "templates")
HYDRA = (
    "The requested scope is invalid, unknown, or malformed. The OAuth 2.0 Client is not allowed to request scope '{}'."
)


@pytest.mark.parametrize(
    ("granted", "description", "expected"),
    [
        (tuple(SETTINGS.split()), "", Meaning.SETTINGS),
        (("openid",), HYDRA.format("sign:requests"), Meaning.SETTINGS),
        (ADDED, HYDRA.format("sign:requests"), Meaning.SETTINGS),
        (ADDED, HYDRA.format("templates"), Meaning.CLIENT),
        (ADDED, "", Meaning.CLIENT),
        (ADDED, "templates and sign:requests", Meaning.CLIENT),
    ],
)
def test_a_scope_that_is_refused_is_the_site_s_or_one_that_a_page_asked_for_later(granted, description, expected):
    assert meaning(OAuthError("invalid_scope", description), granted, SETTINGS) is expected


@pytest.mark.parametrize(
    ("error", "scope"),
    [
        (OAuthError("unauthorized_client"), SETTINGS),
        (OAuthError("invalid_scope", HYDRA.format("templates")), "x templates"),
    ],
)
async def test_what_the_client_lost_for_some_sessions_ends_them_and_revokes(workers, process, caplog, error, scope):
    session = await workers.expired(scope=tuple(scope.split()))
    workers.server.answer = error
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert workers.server.revoked == [session.tokens.refresh_token]
    assert logging.CRITICAL in [record.levelno for record in caplog.records]


async def test_a_scope_of_the_settings_that_is_refused_keeps_every_session(workers, process, caplog):
    """An operator edits the client at Hydra, and puts it right again: nothing was spent."""
    sessions = [await workers.sign_in() for _ in range(20)]
    workers.clock.advance(3600)
    workers.server.answer = OAuthError("invalid_scope", HYDRA.format("sign:requests"))
    for session in sessions:
        with pytest.raises(ServerUnavailable):
            await process.renewal.fresh(session)
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert 1 <= len(critical) <= 2  # a minute has passed
    assert workers.server.revoked == []
    workers.clock.advance(30)
    workers.server.answer = workers.server.grant
    for session in sessions:
        assert (await process.renewal.fresh(session)).generation == 1


async def test_the_operator_s_error_is_logged_loudly(workers, process, caplog):
    session = await workers.nearly_expired()
    workers.server.answer = OAuthError("invalid_client")
    await process.renewal.fresh(session)
    assert [record for record in caplog.records if record.levelno == logging.CRITICAL]


async def test_trouble_of_one_session_is_not_another_s(workers, process):
    troubled, other = await workers.expired(), await workers.sign_in(lifetime=1)
    workers.clock.advance(1)
    workers.server.answer = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await process.renewal.fresh(troubled)
    workers.server.answer = None
    process.world.slept.clear()
    assert (await process.renewal.fresh(other)).generation == 1
    assert process.world.slept == [0.0]  # before it was saved


async def test_trouble_is_logged_once_in_a_while(workers, process, caplog):
    session = await workers.nearly_expired()
    workers.server.answer = ServerUnavailable("down")
    for _ in range(20):
        assert await process.renewal.fresh(session) is session
    assert caplog.text.count("still lives") == 1


async def test_a_server_that_cannot_be_found_is_trouble(process, workers):
    other = workers.process(sessions=process.config.sessions, server=AuthorizationServer.discover(BASE))
    session = await workers.expired()
    workers.server.documents[f"{BASE}/.well-known/openid-configuration"] = Answer(502, "text/html", b"")
    with pytest.raises(ServerUnavailable):
        await other.renewal.fresh(session)
    assert await workers.recorded(session) == session
    assert not [key for key in workers.store.entries() if key.startswith("lease:")]
