"""What only the operator can mend is told to the operator, and not to whoever can bring it about again and again."""

from __future__ import annotations

import logging

import pytest

from lumin_middleware.config import LuminConfig
from lumin_middleware.errors import OAuthError
from lumin_middleware.reasons import NOT_SET_UP
from lumin_middleware.site.set_up import Alarm, KeyWatch, NotSetUp
from tests.fakes import KEY, OLD_KEY, Server, Store, World, config
from tests.site_rig import Clock


@pytest.mark.parametrize("error", sorted(NOT_SET_UP))
def test_each_cause_is_critical_and_told_once_a_minute(error, caplog):
    clock = Clock()
    alarm = Alarm(clock)
    for _ in range(3):
        alarm.refused(OAuthError(error, "Its own words."), "token endpoint")
    [record] = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.getMessage().startswith(f"{error}: Nobody can sign in: ")
    assert "Its own words." in record.getMessage()
    clock.advance(60)
    alarm.refused(OAuthError(error), "token endpoint")
    assert len(caplog.records) == 2


def test_the_error_of_a_site_that_is_not_set_up_holds_the_servers():
    error = OAuthError("invalid_scope", "no")
    assert (NotSetUp(error).error, NotSetUp(error).reason) == (error, "not_set_up")


class Starts:
    """The starts of one site, one after the other, on one store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Store(self.clock, [])

    async def start(self, *keys: bytes) -> None:
        settings: LuminConfig = config(secret_key=list(keys))
        watch = KeyWatch(settings, World(self.store, Server(self.clock, []), self.clock))
        await watch.look()
        await watch.look()


async def test_a_key_that_is_made_anew_at_each_start_is_told(caplog):
    starts = Starts()
    await starts.start(KEY)
    await starts.start(KEY)
    assert not caplog.records
    await starts.start(OLD_KEY)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["key_changed"]


async def test_a_rotation_is_no_change(caplog):
    starts = Starts()
    for keys in ((OLD_KEY,), (OLD_KEY, KEY), (KEY, OLD_KEY), (KEY,)):
        await starts.start(*keys)
    assert not caplog.records


async def test_a_store_in_trouble_says_nothing_of_keys(caplog):
    starts = Starts()
    starts.store.fails = {"get keys", "swap keys"}
    await starts.start(KEY)
    assert not caplog.records


async def test_the_store_learns_no_key():
    starts = Starts()
    await starts.start(KEY)
    [value] = starts.store.entries().values()
    assert not {KEY.hex(), KEY.decode("latin-1"), config().keys[0].hex()} & {value.decode()}
    assert len(value) == 16
