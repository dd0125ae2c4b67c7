import asyncio
from contextlib import suppress

import pytest

from lumin_middleware.ports import NoEventLoop, run


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


def test_it_is_the_failure_of_what_waits():
    async def waits():
        await asyncio.sleep(0)

    async def copes():
        try:
            await waits()
        except NoEventLoop:
            return "answered for"

    assert run(copes()) == "answered for"


@pytest.mark.parametrize("caught", [Exception, BaseException])
def test_one_that_waits_again_is_closed(caught):
    async def tries_again():
        with suppress(caught):
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspended"):
        run(tries_again())
