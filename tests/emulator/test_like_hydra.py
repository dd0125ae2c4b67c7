"""The emulator answers as Ory Hydra answered when it was last asked; `make test-hydra` asks it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import short_keys
from tests.foreign.hydra.cases import CASES
from tests.foreign.hydra.differences import ON_PURPOSE, ask, recorded
from tests.foreign.hydra.emulated import Emulated, emulated

KEYS = "keys: what is published"
DOCUMENT = Path(__file__).parents[2] / "docs" / "emulator.md"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulated]:
    with emulated() as server:
        yield server


@pytest.mark.parametrize("name", sorted(CASES.keys() - {KEYS}))
def test_it_answers_as_hydra_did(name: str, emulator: Emulated):
    assert (ask(emulator, name) == recorded()[name]) is (name not in ON_PURPOSE)


def test_its_keys_are_as_long_as_hydras():
    with short_keys.long(), emulated() as server:
        assert ask(server, KEYS) == recorded()[KEYS]


def test_the_document_says_what_differs_on_purpose():
    written = " ".join(DOCUMENT.read_text().split())
    for name, reason in ON_PURPOSE.items():
        assert name in written
        assert reason in written
