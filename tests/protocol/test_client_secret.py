"""`invalid_client` has two causes, and the log names both."""

from __future__ import annotations

import logging

import pytest

from lumin_middleware.journal import PAUSE
from lumin_middleware.protocol.client_secret import TRUST, ClientSecret
from tests.site_rig import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secret(clock) -> ClientSecret:
    return ClientSecret(clock)


def levels(caplog) -> list[int]:
    return [record.levelno for record in caplog.records]


def test_a_secret_that_never_worked_is_the_operator_s_affair(secret, caplog):
    secret.refused()
    assert levels(caplog) == [logging.CRITICAL]
    assert "database" in caplog.text
    assert "token_endpoint_auth_method" in caplog.text


def test_a_secret_that_worked_a_moment_ago_is_presumed_right_until_it_lasts(secret, clock, caplog):
    secret.worked()
    for _ in range(int(TRUST // PAUSE)):
        secret.refused()
        clock.advance(PAUSE)
    assert set(levels(caplog)) == {logging.WARNING}
    assert "database" in caplog.text
    assert "secret was changed" in caplog.text
    secret.refused()
    assert levels(caplog)[-1] == logging.CRITICAL


def test_a_secret_that_works_again_is_trusted_again(secret, clock, caplog):
    secret.refused()
    secret.worked()
    clock.advance(TRUST - 1)
    secret.refused()
    assert levels(caplog) == [logging.CRITICAL, logging.WARNING]


def test_each_is_said_once_in_a_while_however_many_meet_it(secret, clock, caplog):
    for _ in range(50):
        secret.refused()
    assert len(caplog.records) == 1
    clock.advance(PAUSE)
    secret.refused()
    assert len(caplog.records) == 2


def test_a_secret_that_worked_at_a_time_that_lies_ahead_is_not_presumed_right(secret, clock, caplog):
    secret.worked()
    clock.advance(-7200)
    secret.refused()
    assert levels(caplog) == [logging.CRITICAL]
