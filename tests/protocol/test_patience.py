"""What is over soon is waited for; what is not is told at once."""

from __future__ import annotations

import pytest

from lumin_middleware.errors import AuthorizationServerError, ServerUnavailable
from lumin_middleware.protocol.breaker import CircuitOpen
from lumin_middleware.protocol.patience import PATIENCE, patiently
from tests.fakes import World
from tests.site_rig import Clock


class Attempts:
    """Fails with each of these errors in turn, each after so many seconds; then there is a result."""

    def __init__(self, world: World, *errors: Exception, takes: float = 0.0) -> None:
        self.world = world
        self.errors = list(errors)
        self.takes = takes
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        self.world.clock.advance(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        return "result"


def soon(seconds: float) -> ServerUnavailable:
    return ServerUnavailable("soon", retry_after=seconds)


@pytest.fixture
def world() -> World:
    return World(None, None, Clock())


async def test_what_works_is_done_once(world):
    attempts = Attempts(world)
    assert await patiently(world, 10, attempts, ServerUnavailable) == "result"
    assert (attempts.made, world.slept) == (1, [])


async def test_the_first_pauses_are_felt_as_pauses(world):
    attempts = Attempts(world, soon(1), soon(2))
    assert await patiently(world, 10, attempts, ServerUnavailable) == "result"
    assert world.slept == [1, 2]


async def test_a_third_is_told(world):
    attempts = Attempts(world, soon(1), soon(2), soon(4))
    with pytest.raises(ServerUnavailable) as raised:
        await patiently(world, 10, attempts, ServerUnavailable)
    assert (raised.value.retry_after, world.slept, attempts.made) == (4, [1, 2], 3)


async def test_what_is_not_over_soon_is_told_at_once(world):
    with pytest.raises(ServerUnavailable):
        await patiently(world, 10, Attempts(world, soon(PATIENCE + 0.1)), ServerUnavailable)
    assert world.slept == []


async def test_a_server_that_took_its_time_is_not_waited_for_besides(world):
    with pytest.raises(ServerUnavailable):
        await patiently(world, 10, Attempts(world, soon(1), takes=10), ServerUnavailable)
    assert world.slept == []


async def test_a_clock_that_stands_still_ends_it_all_the_same(world):
    world.clock_moves = False
    attempts = Attempts(world, *[soon(1)] * 100)
    with pytest.raises(ServerUnavailable):
        await patiently(world, 10, attempts, ServerUnavailable)
    assert sum(world.slept) <= PATIENCE


async def test_who_wants_answers_sooner_waits_no_longer_than_for_one(world):
    with pytest.raises(ServerUnavailable):
        await patiently(world, 0.5, Attempts(world, soon(1)), ServerUnavailable)
    assert world.slept == []


@pytest.mark.parametrize("error", [ServerUnavailable("lost", retry_after=1), AuthorizationServerError("refused")])
async def test_another_kind_is_nothing_to_wait_for(world, error):
    with pytest.raises(type(error)):
        await patiently(world, 10, Attempts(world, error), CircuitOpen)
    assert world.slept == []
