"""A limit that a busy machine reaches fails tests that are about something else."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.test_limits import holders

from .limits import KEPT, LIMITS, unhurried


def held() -> list[Any]:
    """The limits of this process, in seconds."""
    found = []
    for module, name in LIMITS:
        limit = getattr(module, name)
        found += [limit[each] for each in limit if each not in KEPT] if isinstance(limit, dict) else [limit]
    return found


def test_none_strikes_in_this_process_or_in_one_that_the_contract_starts() -> None:
    assert set(held()) == {PATIENCE}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert set(pool.submit(unhurried, held).result()) == {PATIENCE}


@pytest.mark.usefixtures("limits_of_a_site")
def test_a_test_that_is_about_them_has_those_of_a_site() -> None:
    assert max(held()) < PATIENCE


def test_wherever_one_is_held_it_is_known() -> None:
    names = {name for _, name in LIMITS}
    stores = {(module, name) for name in names for module in holders(name) if ".stores." in module}
    assert stores == {(module.__name__, name) for module, name in LIMITS}
