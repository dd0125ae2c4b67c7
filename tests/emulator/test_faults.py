"""Faults happen when they were asked for, and leave the state that such a fault leaves behind."""

from __future__ import annotations

import asyncio

import anyio
import httpx2
import pytest

from tests.emulator.party import Party, ok, refused

pytestmark = pytest.mark.anyio

TOKEN = "/oauth2/token"


@pytest.fixture
def party() -> Party:
    return Party()


async def test_a_status_replaces_the_answer_once_and_nothing_is_done(party):
    code = party.code()
    party.emulator.faults.add(TOKEN, status=503, headers={"Retry-After": "7"})
    response = await party.redeem(code)
    assert (response.status_code, response.headers["retry-after"], response.content) == (503, "7", b"")
    ok(await party.redeem(code))
    assert [call.status for call in party.emulator.calls_to(TOKEN)] == [503, 200]


async def test_a_body_alone_is_answered_with_200(party):
    party.emulator.faults.add(TOKEN, body="<html>", content_type="text/html")
    response = await party.redeem(party.code())
    assert (response.status_code, response.text, response.headers["content-type"]) == (200, "<html>", "text/html")


async def test_a_body_can_be_json(party):
    party.emulator.faults.add(TOKEN, status=429, body={"message": "rate limited"})
    response = await party.redeem(party.code())
    assert (response.status_code, response.json()) == (429, {"message": "rate limited"})
    assert response.headers["content-type"] == "application/json"


async def test_a_wrong_answer_can_come_after_the_act(party):
    code = party.code()
    party.emulator.faults.add(TOKEN, status=502, act=True)
    assert (await party.redeem(code)).status_code == 502
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 1


async def test_a_fault_can_last(party):
    party.emulator.faults.add(TOKEN, status=500, times=2)
    statuses = [(await party.redeem(party.code())).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    party.emulator.faults.add(TOKEN, status=500, times=None)
    statuses = [(await party.redeem(party.code())).status_code for _ in range(3)]
    assert statuses == [500, 500, 500]
    party.emulator.faults.clear()
    assert len(party.emulator.faults) == 0
    ok(await party.redeem(party.code()))


async def test_faults_queue_up_by_path(party):
    party.emulator.faults.add("/v1/*", status=500)
    party.emulator.faults.add(TOKEN, status=502)
    party.emulator.faults.add(TOKEN, status=504)
    statuses = [(await party.redeem(party.code())).status_code for _ in range(3)]
    assert statuses == [502, 504, 200]
    assert [(await party.http.get("/v1/user/info")).status_code for _ in range(2)] == [500, 401]


async def test_a_connection_dropped_before_the_act_leaves_the_code_unspent(party):
    code = party.code()
    party.emulator.faults.add(TOKEN, drop="before")
    with pytest.raises(httpx2.TransportError):
        await party.redeem(code)
    ok(await party.redeem(code))


async def test_a_lost_answer_leaves_the_code_spent(party):
    code = party.code()
    party.emulator.faults.add(TOKEN, drop="after")
    with pytest.raises(httpx2.TransportError):
        await party.redeem(code)
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    assert [call.status for call in party.emulator.calls_to(TOKEN)] == [None, 400]


async def test_a_request_can_be_held_before_it_acts(party):
    tokens = await party.tokens()
    arrived, go_on = anyio.Event(), anyio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    party.emulator.faults.add(TOKEN, before=hold)
    async with anyio.create_task_group() as group:
        group.start_soon(party.refresh, tokens["refresh_token"])
        await arrived.wait()
        assert await party.alive(tokens)
        go_on.set()
    assert not await party.alive(tokens)


async def test_an_answer_can_be_held_after_the_act(party):
    tokens = await party.tokens()
    acted, go_on = anyio.Event(), anyio.Event()

    async def hold() -> None:
        acted.set()
        await go_on.wait()

    party.emulator.faults.add(TOKEN, after=hold)
    answers: list[httpx2.Response] = []

    async def refresh() -> None:
        answers.append(await party.refresh(tokens["refresh_token"]))

    async with anyio.create_task_group() as group:
        group.start_soon(refresh)
        await acted.wait()
        assert not await party.alive(tokens)
        assert not answers
        go_on.set()
    assert await party.alive(ok(answers[0]))


async def test_a_late_answer_was_acted_upon_before_the_client_gave_up(party):
    tokens = await party.tokens()
    party.emulator.faults.add(TOKEN, delay=3600)
    with anyio.move_on_after(0.05) as giving_up:
        await party.refresh(tokens["refresh_token"])
    assert giving_up.cancelled_caught
    assert not await party.alive(tokens)


async def test_an_answer_comes_after_its_delay(party):
    party.emulator.faults.add(TOKEN, delay=0.001)
    ok(await party.redeem(party.code()))


# Races


@pytest.mark.parametrize("how_many", [2, 8])
async def test_a_race_for_a_refresh_token_has_several_winners_and_dead_tokens(party, how_many):
    tokens = await party.tokens()
    party.emulator.faults.add("/oauth2/token", race="postgres")
    answers = await asyncio.gather(*(party.refresh(tokens["refresh_token"]) for _ in range(how_many)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    lost = [refused(answer) for answer in answers if answer.status_code != 200]
    assert len(won) == max(2, how_many // 2)
    assert lost == [(400, "invalid_request")] * (how_many - len(won))
    assert [await party.alive(each) for each in won] == [False] * (len(won) - 1) + [True]
    assert party.emulator.reuse_events == 0
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert not await party.alive(won[-1])  # a late one is reuse, and kills all


async def test_a_race_for_a_code_has_several_winners_and_errors(party):
    code = party.code()
    party.emulator.faults.add("/oauth2/token", race="postgres")
    answers = await asyncio.gather(*(party.redeem(code) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [500] * 4
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


async def test_who_comes_alone_meets_no_race(party):
    party.emulator.faults.add("/oauth2/token", race="postgres")
    tokens = await party.tokens()
    assert await party.alive(ok(await party.refresh(tokens["refresh_token"])))
    await party.refresh(tokens["refresh_token"])
    assert party.emulator.reuse_events == 1
