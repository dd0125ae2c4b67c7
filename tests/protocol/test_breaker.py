"""A server in silence is asked less and less often, and nobody's refusal or misfortune is another's."""

from __future__ import annotations

import pytest

from lumin_middleware.errors import AuthorizationServerError, OAuthError, ServerUnavailable
from lumin_middleware.protocol.breaker import FAILURES, PAUSES, CircuitBreaker, CircuitOpen
from tests.fakes import open_circuit
from tests.site_rig import Clock


class Endpoint:
    """Counts who gets through to it. Whoever does not say who they are is somebody new."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.opened = 0
        self.breaker = CircuitBreaker(self.clock, self._count_opening)
        self.error: Exception | None = None
        self.asked = 0
        self.people = 0

    async def ask(self, who: str | None = None) -> str:
        self.people += 1
        return await self.breaker.call(who or f"person-{self.people}", self._answer)

    async def fails(self, who: str | None = None) -> Exception:
        with pytest.raises(AuthorizationServerError) as raised:
            await self.ask(who)
        return raised.value

    def _count_opening(self) -> None:
        self.opened += 1

    async def _answer(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def dead(endpoint: Endpoint) -> Endpoint:
    """One that has not answered so many that it is left in peace."""
    await open_circuit(endpoint.breaker)
    endpoint.error = ServerUnavailable("down")
    return endpoint


async def test_an_endpoint_that_answers_is_asked_each_time(endpoint):
    assert [await endpoint.ask() for _ in range(20)] == ["answer"] * 20
    assert endpoint.asked == 20


async def test_after_the_failures_of_a_few_nobody_waits_for_it(endpoint):
    endpoint.error = ServerUnavailable("down")
    for _ in range(FAILURES):
        assert not isinstance(await endpoint.fails(), CircuitOpen)
    for _ in range(100):
        refused = await endpoint.fails()
        assert isinstance(refused, CircuitOpen)
        assert 0 < refused.retry_after <= PAUSES[0]
    assert endpoint.asked == FAILURES


async def test_it_opens_for_short_at_first(dead):
    waited = []
    for probe in range(1, len(PAUSES) + 2):
        refused = await dead.fails()
        assert isinstance(refused, CircuitOpen)
        waited.append(refused.retry_after)
        dead.clock.advance(refused.retry_after)
        for _ in range(10):
            await dead.fails()
        assert dead.asked == probe  # one in each pause
    assert tuple(waited) == (*PAUSES, PAUSES[-1])


async def test_an_outage_is_told_of_as_long_as_it_lasts_and_no_longer(dead):
    """An hour of it, with twenty people a second: each probe that fails, and nobody who was held back."""
    for second in range(3600):
        for _ in range(20):
            await dead.fails()
        dead.clock.advance(1)
        assert dead.opened == 1 + dead.asked
        if second % 60 == 59:
            assert dead.opened >= second / 15, "each of these minutes has its share"
    dead.error, told = None, dead.opened
    dead.clock.advance(PAUSES[-1])
    for _ in range(20):
        assert await dead.ask() == "answer"
    assert dead.opened == told


async def test_whom_the_server_asked_to_wait_at_the_same_time_are_one_opening(endpoint):
    async def under_way() -> None:
        with pytest.raises(ServerUnavailable):
            await endpoint.breaker.call("another", asked_to_wait)
        await asked_to_wait()

    async def asked_to_wait() -> None:
        raise ServerUnavailable("429", said=120)

    with pytest.raises(ServerUnavailable):
        await endpoint.breaker.call("slow", under_way)
    assert endpoint.opened == 1


async def test_those_who_were_under_way_when_it_opened_make_no_pause_longer(endpoint):
    async def under_way() -> None:
        await open_circuit(endpoint.breaker)
        raise ServerUnavailable("down")

    with pytest.raises(ServerUnavailable):
        await endpoint.breaker.call("slow", under_way)
    assert (await endpoint.fails()).retry_after == PAUSES[0]


async def test_while_the_probe_is_under_way_the_others_are_told_to_come_again_soon(dead):
    dead.clock.advance(PAUSES[0])

    async def slow_probe() -> str:
        for _ in range(9):
            refused = await dead.fails()
            assert isinstance(refused, CircuitOpen)
            assert refused.retry_after <= PAUSES[0]
            dead.clock.advance(1)
        return "answer"

    assert await dead.breaker.call("slow", slow_probe) == "answer"
    assert dead.asked == 0


async def test_a_probe_that_never_came_back_is_not_the_last(dead):
    dead.clock.advance(PAUSES[0])

    async def cancelled() -> None:
        raise BaseExceptionGroup("cancelled", [KeyboardInterrupt()])

    with pytest.raises(BaseExceptionGroup):
        await dead.breaker.call("gone", cancelled)
    dead.clock.advance(PAUSES[-1])
    dead.error = None
    assert await dead.ask() == "answer"


async def test_an_endpoint_that_is_back_is_asked_again_by_all_and_forgiven(dead):
    dead.clock.advance(PAUSES[0])
    dead.error = None
    assert [await dead.ask() for _ in range(5)] == ["answer"] * 5
    await open_circuit(dead.breaker)
    assert (await dead.fails()).retry_after == PAUSES[0]


@pytest.mark.parametrize(
    "error", [OAuthError("invalid_grant"), AuthorizationServerError("403 of an edge", "bad_token_response")]
)
async def test_a_refusal_is_an_answer_and_proves_the_server_alive(endpoint, error):
    for _ in range(3 * FAILURES):
        endpoint.error = error
        assert await endpoint.fails() is error
    for each in [ServerUnavailable("down")] * (FAILURES - 1) + [error] + [ServerUnavailable("down")] * (FAILURES - 1):
        endpoint.error = each
        assert await endpoint.fails() is each
    endpoint.error = None
    assert await endpoint.ask() == "answer"


async def test_what_the_server_has_against_one_person_is_nobody_else_s_affair(endpoint):
    """A hook that fails for somebody answers 500 as often as they come."""
    endpoint.error = ServerUnavailable("500")
    for _ in range(3 * FAILURES):
        assert not isinstance(await endpoint.fails("unlucky"), CircuitOpen)
    endpoint.error = None
    assert await endpoint.ask() == "answer"


async def test_what_the_server_asks_for_is_obeyed_from_the_first_answer_on(endpoint):
    endpoint.error = ServerUnavailable("429", said=120)
    await endpoint.fails()
    endpoint.error = None
    assert (await endpoint.fails()).retry_after == 120
    endpoint.clock.advance(119)
    assert (await endpoint.fails()).retry_after == 1
    endpoint.clock.advance(1)
    assert await endpoint.ask() == "answer"
    assert endpoint.asked == 2


async def test_what_it_held_back_was_not_sent(dead):
    assert not (await dead.fails()).sent


@pytest.mark.parametrize("probed", [False, True], ids=["at rest", "with a probe that never came back"])
@pytest.mark.parametrize("back", [-1, -7200, -86_400])
async def test_a_clock_that_is_set_back_ends_the_rest(dead, probed, back):
    if probed:
        dead.clock.advance(PAUSES[0])
        await dead.fails()
    dead.clock.advance(back)
    dead.error = None
    assert await dead.ask() == "answer"
