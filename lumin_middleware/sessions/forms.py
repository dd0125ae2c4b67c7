"""Forms that came after their session had ended: kept sealed in the store for a while, for the browser that sent them.

Who sends a form need not be signed in, so what is kept is small, short-lived and counted. A cookie, named by a digest
of its secret, opens it; an address alone opens nothing. A form is given back once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..config import LuminConfig
from ..errors import StoreUnavailable
from ..journal import Seldom
from ..ports import World
from .cookies import Cookies, Jar
from .marks import Budget
from .records import digest
from .sealing import Sealer

FORM_LIMIT = 16_384
"""Bytes of a form that are kept: several pages of text."""

FORM_LIFETIME = 600.0
"""Seconds that it is: as long as somebody takes to sign in, and no longer than they remember what they sent."""

FORMS_LIMIT = 8 * 1024 * 1024
"""Bytes of forms that one process keeps at one time; a sixteenth of a memory store."""

FORMS_OF_A_BROWSER = 3
"""Forms that a browser keeps the secrets of; the oldest go."""

SECRET_BYTES = 24


@dataclass(frozen=True, slots=True, repr=False)
class Form:
    """A form as it was sent: where to, from which page, its fields, and which `person` was signed in, if any."""

    action: str
    page: str
    fields: list[tuple[str, str]]
    sender: str = ""


class Forms:
    """Keeps forms."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._world = world
        self._cookies = cookies
        self._sealer = Sealer(config.keys, "form", world.clock)
        self._budget = Budget(FORMS_LIMIT, FORM_LIFETIME, world.clock)
        self._seldom = Seldom(world.clock)

    async def keep(self, form: Form, jar: Jar[Any]) -> tuple[str, list[str]] | None:
        """The form's name and the `Set-Cookie` values that go with it; None where there is no room for it now."""
        secret = self._world.token(SECRET_BYTES)
        data = json.dumps([form.action, form.page, form.fields, form.sender], separators=(",", ":")).encode()
        if not self._budget.spend(len(data)):
            self._seldom.say("form_not_kept")
            return None
        try:
            sealed = self._sealer.seal(data, secret).encode()
            await self._world.store.swap(_key(secret), None, sealed, FORM_LIFETIME)
        except StoreUnavailable:
            self._seldom.say("form_not_kept")
            return None
        name = digest(secret)[:16]
        others = [each for each in jar.ours if each.startswith(self._cookies.form)]  # newest last (RFC 6265, 5.4)
        gone = others[: max(0, len(others) - FORMS_OF_A_BROWSER + 1)]
        cookie = self._cookies.set(self._cookies.form + name, secret, FORM_LIFETIME)
        return name, [cookie, *map(self._cookies.delete, gone)]

    async def take(self, name: str, jar: Jar[Any], person: str) -> Form | None:
        """The form of this browser with that name, which is then not kept any more; one of somebody who was signed in
        is for that person alone. Raises `StoreUnavailable`.
        """
        cookie = jar.ours.get(self._cookies.form + name)
        if not cookie:
            return None
        secret = cookie.decode("ascii", "replace")
        raw = await self._world.store.get(_key(secret))
        unsealed = self._sealer.unseal(raw, secret) if raw else None
        if unsealed is None:
            return None
        action, page, fields, sender = [*json.loads(unsealed.data), ""][:4]
        if sender not in ("", person) or not await self._world.store.swap(_key(secret), raw, None, 0):
            return None
        return Form(action, page, [(each, value) for each, value in fields], sender)

    def forget(self, name: str) -> str:
        """The `Set-Cookie` value that leaves nothing of it in the browser."""
        return self._cookies.delete(self._cookies.form + name)


def _key(secret: str) -> str:
    return "form:" + digest(secret)[:32]
