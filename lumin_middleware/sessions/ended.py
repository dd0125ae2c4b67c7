"""What the server has ended lately, for sign-ins that are still on their way: they come to nothing.

A logout token can overtake the callback of the very session that it ends. No list has that session yet, so what was
ended is remembered for as long as a login lives, and looked up when a session begins. A logout token's time is by the
server's clock, which may differ from ours by a minute, and is compared with times by that clock alone; but where a
process with another key wrote it, that it was ended is known, and the time of writing has to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config import LuminConfig
from ..errors import RequestRefused
from ..model import Session
from ..ports import World
from .logins import CLOCK_SETBACK, LIFETIME
from .records import change, digest
from .sealing import Sealer, sealed_at


class Ended:
    """The persons and the server's sessions that logout tokens named."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self._world = world
        self._sealer = Sealer(config.keys, "ended", world.clock)

    async def remember(self, claims: Mapping[str, Any]) -> None:
        """Remembers what a logout token names. Raises `StoreUnavailable`."""
        if "sid" in claims:
            await self._mark(f"sid {claims['sid']}", claims["iat"])
        if "sub" in claims:
            await self._mark(f"sub {claims['sub']}" + (" without sid" if "sid" in claims else ""), claims["iat"])

    async def refuse(self, session: Session, login_began: float) -> None:
        """Raises `RequestRefused` where the server ended this session before it began here, and `StoreUnavailable`.

        A session of the server's that was ended never comes back. A person may, with a login that began later, by the
        server's clock; of one that began in the same second nobody can tell, and somebody who was just signed out may
        sign in at once.
        """
        sub, sid = session.claims.get("sub"), session.claims.get("sid")
        ended = sid is not None and await self._ended_at(f"sid {sid}") is not None
        for name in (f"sub {sub}", *([] if sid else [f"sub {sub} without sid"])):
            ended = ended or ((at := await self._ended_at(name)) is not None and int(login_began) < int(at))
        if ended:
            raise RequestRefused("ended", "This sign-in was ended by the server before it was completed.")

    async def _mark(self, name: str, issued_at: float) -> None:
        def newest(raw: bytes | None) -> bytes:
            return self._sealer.seal(str(max(issued_at, self._read(raw, name) or issued_at)).encode(), name).encode()

        await change(self._world, _key(name), newest, LIFETIME + CLOCK_SETBACK)

    async def _ended_at(self, name: str) -> float | None:
        return self._read(await self._world.store.get(_key(name)), name)

    def _read(self, raw: bytes | None, name: str) -> float | None:
        if raw is None:
            return None
        unsealed = self._sealer.unseal(raw, name)
        return float(unsealed.data) if unsealed else sealed_at(raw)


def _key(name: str) -> str:
    return "ended:" + digest(name)
