"""When a session may be asked about again: soon, then less often; and whom that concerns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import ServerUnavailable, StoreUnavailable
from lumin_middleware.model import Session
from lumin_middleware.protocol.oauth import RETRY_AFTER_LIMIT
from lumin_middleware.sessions import pauses as module
from lumin_middleware.sessions.pauses import LONGEST, MEMORY, Pause, Pauses
from tests.fakes import Workers, hostile, token_set

LADDER = [1, 2, 4, 8, 16, 30, 30]


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def here(workers) -> Pauses:
    return Pauses(workers.process().world)


@pytest.fixture
def there(workers) -> Pauses:
    """The same in another process."""
    return Pauses(workers.process().world)


def session(number: int = 1, generation: int = 0) -> Session:
    return Session(f"session-{number}", generation, 0, 0, token_set(0, 0, 3600), {})


async def left(pauses: Pauses, of: Session) -> float:
    """Seconds that are left of a pause."""
    try:
        await pauses.check(of)
    except ServerUnavailable as error:
        return error.retry_after
    return 0.0


@pytest.mark.parametrize("shared", [True, False])
async def test_each_pause_is_twice_the_one_before(workers, here, shared):
    found = []
    for _ in LADDER:
        found.append(await here.begin(session(), at_least=0, shared=shared))
        assert await left(here, session()) == found[-1]
        workers.clock.advance(found[-1])
        assert await left(here, session()) == 0
    assert found == LADDER


async def test_processes_share_one_ladder_and_keep_one_pause(workers, here, there):
    assert await here.begin(session(), at_least=0, shared=True) == 1
    workers.clock.advance(0.25)
    assert await left(there, session()) == 0.75
    workers.clock.advance(0.75)
    assert await there.begin(session(), at_least=0, shared=True) == 2
    assert await left(here, session()) == 2


async def test_a_pause_of_one_process_is_not_another_s(workers, here, there):
    await here.begin(session(), at_least=0, shared=False)
    assert (await left(here, session()), await left(there, session())) == (1, 0)
    assert workers.store.entries() == {}


async def test_a_pause_is_about_one_generation_of_one_session(here):
    await here.begin(session(), at_least=0, shared=True)
    for other in (session(2), session(1, 1)):
        assert await left(here, other) == 0
        assert await here.begin(other, at_least=0, shared=True) == 1


@pytest.mark.parametrize("shared", [True, False])
async def test_trouble_that_is_long_over_is_forgotten(workers, here, shared):
    await here.begin(session(), at_least=0, shared=shared)
    workers.clock.advance(1 + MEMORY - 0.5)
    assert await here.begin(session(), at_least=0, shared=shared) == 2
    workers.clock.advance(2 + MEMORY)
    assert await here.begin(session(), at_least=0, shared=shared) == 1


async def test_a_server_that_asks_for_longer_gets_it(here, there):
    assert await here.begin(session(), at_least=240, shared=True) == 240
    assert await left(there, session()) == 240


@pytest.mark.parametrize("skew", [-40.0, 40.0])
async def test_a_host_with_another_clock_waits_no_longer(workers, here, there, skew):
    await here.begin(session(), at_least=0, shared=True)
    workers.clock.advance(skew)  # as the other one sees it
    assert await left(there, session()) <= 1


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("at_least", [0, 240])
async def test_a_pause_of_a_time_that_lies_far_ahead_is_none(workers, here, shared, at_least):
    for _ in range(2):
        await here.begin(session(), at_least=at_least, shared=shared)
    workers.clock.advance(-7200)
    assert await left(here, session()) == 0
    assert await here.begin(session(), at_least=0, shared=shared) == 1


async def test_a_store_that_cannot_be_read_says_nothing_of_a_pause(workers, here):
    workers.store.fails = {"get trouble"}
    with pytest.raises(StoreUnavailable):
        await here.check(session())


@pytest.mark.parametrize("step", ["get trouble", "swap trouble"])
async def test_what_cannot_be_shared_is_this_process_s_at_least(workers, here, caplog, step):
    workers.store.fails = {step, "swap trouble"}
    assert await here.begin(session(), at_least=0, shared=True) == 1
    assert caplog.text.count("could not be shared") == 1
    workers.store.fails = set()
    assert await left(here, session()) == 1


async def test_another_s_pause_that_came_first_stands(workers, here, there):
    async def before() -> None:
        await there.begin(session(), at_least=60, shared=True)

    workers.store.before["swap trouble"] = before
    await here.begin(session(), at_least=0, shared=True)
    assert await left(here, session()) == 60


async def test_a_process_remembers_so_many(workers, here):
    here._own.limit = 10
    for number in range(100):
        await here.begin(session(number), at_least=0, shared=False)
    assert len(here._own) == 10
    assert await left(here, session(99)) == 1


@hostile
@given(st.binary(max_size=40) | st.text(alphabet="0123456789 .-einfa", max_size=30).map(str.encode))
async def test_what_stands_in_the_store_is_a_pause_or_none(raw):
    workers = Workers()
    pauses = Pauses(workers.process().world)
    key = module._key(session())
    assert workers.store.memory.swap(key, None, raw, 60)
    assert await left(pauses, session()) <= RETRY_AFTER_LIMIT
    assert 1 <= await pauses.begin(session(), at_least=0, shared=True) <= LONGEST


@hostile
@given(st.integers(1, 100), st.floats(0.1, 300), st.floats(0, 4e9))
def test_a_pause_reads_what_it_wrote(number, seconds, until):
    pause = Pause(number, seconds, until)
    assert Pause.load(pause.dump()) == pause
