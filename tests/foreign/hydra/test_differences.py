"""Hydra and the emulator, asked the same over HTTP: what a client can see, and what is alive afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.short_keys import long

from .cases import CASES
from .differences import ON_PURPOSE, ask, recorded
from .emulated import Emulated, emulated
from .server import Hydra


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulated]:
    with long(), emulated() as server:
        yield server


@pytest.mark.parametrize("name", CASES)
def test_both_answer_alike(name: str, hydra: Hydra, emulator: Emulated):
    answer = ask(hydra, name)
    assert answer == recorded()[name], "answers.json is not what Hydra says: record it again"
    assert (ask(emulator, name) == answer) is (name not in ON_PURPOSE)


def test_there_are_enough_cases(figures):
    figures.append(
        f"differential test: {len(CASES)} cases, {len(CASES) - len(ON_PURPOSE)} equal, {len(ON_PURPOSE)} declared"
    )
    assert len(CASES) >= 130
    assert set(CASES) == set(recorded())
    assert set(ON_PURPOSE) <= set(CASES)
