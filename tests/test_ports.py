import asyncio

import pytest

from lumin_middleware.ports import run


async def nothing():
    return "done"


async def several():
    return [await nothing() for _ in range(3)]


async def fails():
    raise LookupError("no")


def test_a_coroutine_that_never_suspends_gives_its_result():
    assert run(several()) == ["done"] * 3


def test_its_error_is_its_caller_s():
    with pytest.raises(LookupError):
        run(fails())


def test_one_that_suspends_is_closed_and_told_of():
    closed = []

    async def suspends():
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="suspended"):
        run(suspends())
    assert closed == [True]
