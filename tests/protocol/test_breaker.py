import pytest

from lumin_middleware.errors import OAuthError, ServerUnavailable
from lumin_middleware.protocol.breaker import FAILURES, PAUSE, CircuitBreaker
from tests.site_rig import Clock


class Endpoint:
    """Counts who gets through to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.breaker = CircuitBreaker(self.clock)
        self.error: Exception | None = None
        self.asked = 0

    async def ask(self) -> str:
        return await self.breaker.call(self._answer)

    async def _answer(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
async def dead() -> Endpoint:
    endpoint = Endpoint()
    endpoint.error = ServerUnavailable("down")
    for _ in range(FAILURES):
        with pytest.raises(ServerUnavailable):
            await endpoint.ask()
    return endpoint


async def test_an_endpoint_that_answers_is_asked_each_time():
    endpoint = Endpoint()
    assert [await endpoint.ask() for _ in range(20)] == ["answer"] * 20
    assert endpoint.asked == 20


async def test_after_a_few_failures_nobody_waits_for_it(dead):
    for _ in range(100):
        with pytest.raises(ServerUnavailable) as refused:
            await dead.ask()
        assert 0 < refused.value.retry_after <= PAUSE
    assert dead.asked == FAILURES


async def test_one_in_each_pause_is_the_probe(dead):
    for probe in (1, 2, 3):
        dead.clock.advance(PAUSE)
        for _ in range(10):
            with pytest.raises(ServerUnavailable):
                await dead.ask()
        assert dead.asked == FAILURES + probe


async def test_while_the_probe_is_under_way_the_others_are_told_at_once(dead):
    dead.clock.advance(PAUSE)

    async def slow_probe() -> str:
        with pytest.raises(ServerUnavailable):
            await dead.ask()
        return "answer"

    assert await dead.breaker.call(slow_probe) == "answer"
    assert dead.asked == FAILURES


async def test_an_endpoint_that_is_back_is_asked_again_by_all(dead):
    dead.clock.advance(PAUSE)
    dead.error = None
    assert [await dead.ask() for _ in range(5)] == ["answer"] * 5


async def test_a_refusal_is_an_answer():
    endpoint = Endpoint()
    for error in [ServerUnavailable("down")] * (FAILURES - 1) + [OAuthError("invalid_grant")]:
        endpoint.error = error
        with pytest.raises(type(error)):
            await endpoint.ask()
    endpoint.error = ServerUnavailable("down")
    for _ in range(FAILURES):
        with pytest.raises(ServerUnavailable):
            await endpoint.ask()
    assert endpoint.asked == 2 * FAILURES
