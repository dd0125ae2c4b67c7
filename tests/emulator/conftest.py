"""A relying party with the default client."""

from __future__ import annotations

import pytest

from tests.emulator.party import Party


@pytest.fixture
def party() -> Party:
    return Party()
