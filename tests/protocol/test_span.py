"""What ends is remembered by its beginning and its length, so that a wrong clock makes nothing last."""

from __future__ import annotations

import pytest

from lumin_middleware.protocol.span import OVER, Span


@pytest.mark.parametrize(
    ("now", "left"), [(100, 30), (110, 20), (129.5, 0.5), (130, 0), (1000, 0), (99.9, 0), (-1e9, 0)]
)
def test_what_is_left_of_a_span(now, left):
    assert Span(100.0, 30.0).left(now) == left


@pytest.mark.parametrize("now", [0.0, 1.0, 1_790_000_000.0, -5.0])
def test_nothing_is_left_of_one_that_is_over(now):
    assert OVER.left(now) == 0
