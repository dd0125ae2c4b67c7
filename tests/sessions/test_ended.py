"""What the server has ended is over, whichever key it was written with. How sign-ins meet it: `site/test_account`."""

from __future__ import annotations

from typing import Any

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.ended import Ended
from tests.fakes import KEY, OLD_KEY, Store, World, config
from tests.site_rig import Clock


class Fleet:
    """Processes with one key each, and a sign-in that meets what another one wrote."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.world = World(Store(self.clock, []), None, self.clock)

    def ended(self, key: bytes) -> Ended:
        return Ended(config(secret_key=key), self.world)

    async def is_refused(self, key: bytes, began: float, **claims: Any) -> bool:
        tokens = TokenSet("access", self.clock() + 3600, 3600, ("openid",))
        session = Session("an-id", 0, self.clock(), self.clock(), tokens, claims)
        try:
            await self.ended(key).refuse(session, began)
        except RequestRefused:
            return True
        return False


@pytest.mark.parametrize("key", [KEY, OLD_KEY], ids=["the same key", "another key"])
async def test_a_sign_in_that_was_ended_is_refused_by_whichever_process_completes_it(key: bytes) -> None:
    fleet = Fleet()
    began = fleet.clock()
    fleet.clock.advance(60)
    await fleet.ended(KEY).remember({"sid": "a", "iat": int(fleet.clock())})
    await fleet.ended(KEY).remember({"sub": "mira", "iat": int(fleet.clock())})
    assert await fleet.is_refused(key, began, sub="another", sid="a")
    assert await fleet.is_refused(key, began, sub="mira", sid="b")
    assert not await fleet.is_refused(key, began, sub="another", sid="b")
    fleet.clock.advance(60)
    assert not await fleet.is_refused(key, fleet.clock(), sub="mira", sid="b"), "who signs in anew comes in"
    assert await fleet.is_refused(key, fleet.clock(), sub="mira", sid="a"), "a session of the server's stays over"


async def test_what_one_process_remembers_stays_true_when_another_remembers_more() -> None:
    fleet = Fleet()
    began = fleet.clock()
    fleet.clock.advance(60)
    await fleet.ended(KEY).remember({"sub": "mira", "iat": int(fleet.clock())})
    await fleet.ended(OLD_KEY).remember({"sub": "mira", "iat": int(fleet.clock()) - 100})
    for key in (KEY, OLD_KEY):
        assert await fleet.is_refused(key, began, sub="mira")
