"""When a value says that it was sealed can be read without its key; it is not trusted with more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.sessions.sealing import Sealer
from lumin_middleware.sessions.unopened import KeyMissing, sealed_at
from tests.fakes import KEY, Clock, hostile


@pytest.mark.parametrize("now", [0.0, 1.0, 1_790_000_000.9, 2.0**40])
def test_the_time_of_sealing_can_be_read_without_the_key(now: float) -> None:
    assert sealed_at(Sealer([KEY], "index", Clock(now)).seal(b"anything").encode()) == int(now)


@pytest.mark.parametrize("value", [b"", b"x", b"seen", b"a.b", b"..", b"a.b.c", b"\xff.\xff.\xff"])
def test_what_says_none_was_sealed_long_ago(value: bytes) -> None:
    assert sealed_at(value) == 0


@hostile
@given(st.binary(max_size=80))
def test_whatever_stands_there_has_some_time(value: bytes) -> None:
    assert sealed_at(value) >= 0


def test_the_error_names_the_setting_and_both_cures() -> None:
    error = KeyMissing("this", "wait")
    assert isinstance(error, StoreUnavailable)
    assert str(error) == (
        "this was sealed with a key that is not in secret_key: give every process all keys that are in use, the newest "
        "first; if it is lost, wait"
    )
