"""What is kept of the server's documents: read once, good while nothing better comes, and nobody is asked in vain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lumin_middleware.errors import AuthorizationServerError, ServerUnavailable
from lumin_middleware.protocol.kept import LOOK_PAUSE, TROUBLE_PAUSE, Kept, TooEarly
from tests.fakes import Clock, World


class Server:
    """Gives numbered documents, or what a test says instead."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.error: AuthorizationServerError | None = None
        self.reads = 0
        self.kept: Kept[list[int]] = Kept("numbers", self.read, 1000.0, World(None, None, self.clock))

    async def read(self) -> list[int]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [self.reads]


@pytest.fixture
def server() -> Server:
    return Server()


async def test_it_is_read_once_and_again_after_its_life(server):
    assert await asyncio.gather(*(server.kept.get() for _ in range(20))) == [[1]] * 20
    server.clock.advance(999)
    assert await server.kept.get() == [1]
    server.clock.advance(1)
    assert await server.kept.get() == [2]


@pytest.mark.parametrize(
    "error", [ServerUnavailable("down"), AuthorizationServerError("wrong", "wrong_issuer")], ids=repr
)
async def test_a_first_read_that_fails_is_not_tried_again_for_a_while(server, error):
    server.error = error
    for _ in range(50):
        with pytest.raises(type(error)):
            await server.kept.get()
    assert server.reads == 1
    server.error = None
    server.clock.advance(TROUBLE_PAUSE)
    assert await server.kept.get() == [2]


async def test_an_error_that_is_said_many_times_remembers_none_of_them(server):
    server.error = ServerUnavailable("down")
    for _ in range(50):
        with pytest.raises(ServerUnavailable) as raised:
            await server.kept.get()
    depth, traceback = 0, raised.value.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    assert depth < 5


async def test_the_old_one_stays_while_there_is_trouble(server):
    first = await server.kept.get()
    server.clock.advance(1000)
    server.error = ServerUnavailable("down")
    for _ in range(5):
        assert await server.kept.get() is first
    assert server.reads == 2


async def test_a_newer_one_is_read_for_each_reason_once_in_a_pause(server):
    known = await server.kept.get()
    first = await server.kept.newer(known, "a")
    assert (known, first) == ([1], [2])
    assert await server.kept.newer(known, "a") is first, "there is a newer one already"
    with pytest.raises(TooEarly) as raised:
        await server.kept.newer(first, "a")
    assert raised.value.retry_after == LOOK_PAUSE
    second = await server.kept.newer(first, "b")
    assert second == [3]
    server.clock.advance(LOOK_PAUSE)
    assert await server.kept.newer(second, "a") == [4]


async def test_many_who_want_a_newer_one_get_the_same(server):
    known = await server.kept.get()
    found: list[Any] = await asyncio.gather(*(server.kept.newer(known, reason) for reason in "abcabc"))
    assert all(one is found[0] for one in found)
    assert server.reads == 2


async def test_a_newer_one_that_cannot_be_had_is_trouble_and_the_old_one_stays(server):
    known = await server.kept.get()
    server.error = AuthorizationServerError("wrong", "wrong_issuer")
    with pytest.raises(ServerUnavailable):
        await server.kept.newer(known, "a")
    assert await server.kept.get() is known


@pytest.mark.parametrize("back", [-1, -7200, -86_400])
async def test_a_clock_that_is_set_back_has_it_read_anew(server, back):
    assert await server.kept.get() == [1]
    server.clock.advance(back)
    assert await server.kept.get() == [2]
    server.clock.advance(999)
    assert await server.kept.get() == [2]


@pytest.mark.parametrize("back", [-1, -7200, -86_400])
async def test_trouble_of_a_time_that_lies_ahead_is_over(server, back):
    server.error = ServerUnavailable("down")
    with pytest.raises(ServerUnavailable):
        await server.kept.get()
    server.error = None
    server.clock.advance(back)
    assert await server.kept.get() == [2]


async def test_a_look_of_a_time_that_lies_ahead_keeps_nobody_from_the_next(server):
    newer = await server.kept.newer(await server.kept.get(), "a")
    server.clock.advance(-7200)
    assert await server.kept.newer(newer, "a") == [3]
