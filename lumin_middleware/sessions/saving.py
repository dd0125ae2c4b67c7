"""Saving: a renewed session is in the store before anything else sees its tokens.

The old refresh token is spent by then, so what cannot be saved is kept by this process, and saved as soon as the store
is back: with the session's next request, with another's that could be saved, beside the requests, or when the process
ends, even if it is still being tried then. That is bounded: a store that is gone for good costs a process little.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from contextlib import suppress
from typing import overload

from ..errors import SessionEnded, StoreUnavailable
from ..journal import say
from ..model import Session
from ..ports import World
from ..protocol.token_endpoint import TokenEndpoint
from .latest import Latest
from .lease import SAVING
from .records import Record
from .sessions import Sessions

UNSAVED_LIMIT = 1000
"""Sessions that a process remembers because they could not be saved: a few MB."""

AGAIN = 1.0
"""Seconds between two tries beside the requests. A person may come to another process with the spent token, which takes
a lease over after `dead_after`, twelve times as long at the least."""

AT_ONCE = 10
"""How many of them are saved along with one that could be, while its request waits."""


class Saving:
    """Saves renewed sessions, and remembers those that are not saved yet."""

    def __init__(self, world: World, sessions: Sessions, token_endpoint: TokenEndpoint) -> None:
        self._world = world
        self._sessions = sessions
        self._token_endpoint = token_endpoint
        self._unsaved: Latest[Record] = Latest(UNSAVED_LIMIT)
        """Each with what the store has in its place, as far as is known: mostly nobody has written there since."""
        self.unsaved: Collection[str] = self._unsaved
        """The ids of sessions that this process remembers."""
        self._goes_on = False
        self._under_way: Latest[Record] = Latest(UNSAVED_LIMIT)
        """Those that `save` tries to save now: for `finish` alone, since all others wait for it."""

    async def save(self, record: Record, renewed: Session) -> Session:
        """Puts it where the record is, and returns it or a newer one. Raises `SessionEnded`: the end wins.

        Whoever gets it gets it saved, or remembered by this process.
        """
        unsaved = Record(record.raw, renewed)
        self._under_way.put(renewed.id, unsaved)
        saved = await self._tried(unsaved)
        self._under_way.drop(renewed.id, unsaved)
        return saved

    async def _tried(self, unsaved: Record) -> Session:
        """See `save`."""
        record, renewed = unsaved, unsaved.session
        for pause in SAVING:
            await self._world.sleep(pause)
            try:
                if await self._sessions.replace(record, renewed):
                    self._unsaved.pop(renewed.id, None)
                    await self._save_others()
                    return renewed
                record = await self._sessions.newest(renewed)
            except SessionEnded:
                await self._discard(renewed)
                raise
            except StoreUnavailable as error:
                say("not_saved", error=error)
                continue
            if record.session is not renewed:
                self._unsaved.drop(renewed.id, unsaved)
                return record.session
        # This process remembers it, and so does the browser with the next answer; others see the old one until then.
        self._remember(Record(record.raw, renewed))
        self._go_on()
        return renewed

    def _go_on(self) -> None:
        """Goes on saving beside the requests: their people may not come to this process any more."""
        if not self._goes_on:
            self._goes_on = self._world.beside(self._until_saved)

    async def _until_saved(self) -> None:
        try:
            while self._unsaved:
                await self._world.sleep(AGAIN)
                self._forget_those_over()
                await self._put_all()
        finally:
            self._goes_on = False
        if self._unsaved:  # another thread's, since the last look
            self._go_on()

    async def _put_all(self) -> None:
        """Saves what can be saved now; where the store is away, one waits in vain, and not each."""
        try:
            for unsaved in self._unsaved.all():
                with suppress(SessionEnded):
                    await self._put(unsaved)
        except StoreUnavailable as error:
            self._sessions.warn("still_not_saved", error, often=False)

    async def catch_up(self, session: Session) -> Session:
        """Saves what could not be saved when it was new; the newest of all that is known. Raises `SessionEnded`."""
        unsaved = self._unsaved.get(session.id)
        if unsaved is None:
            return session
        try:
            return newest(session, unsaved.session, await self._put(unsaved))
        except StoreUnavailable as error:
            self._sessions.warn("still_not_saved", error)
            return newest(session, unsaved.session)

    async def _put(self, unsaved: Record) -> Session:
        """Saves it, unless another writes meanwhile; the newest that is known. Raises `SessionEnded`,
        `StoreUnavailable`.

        One verb where nobody has written since: a process that ends may have hundreds of them, one after the other.
        """
        record, renewed = unsaved, unsaved.session
        try:
            if not (saved := await self._sessions.replace(record, renewed)):
                record = await self._sessions.newest(dataclasses.replace(renewed, generation=-1))
                saved = record.session.generation >= renewed.generation or await self._sessions.replace(record, renewed)
        except SessionEnded:
            await self._discard(renewed)
            raise
        if saved:
            self._unsaved.drop(renewed.id, unsaved)
        return record.session

    def give_up(self, session_id: str) -> Session | None:
        """What could not be saved of a session, for whoever ends it."""
        unsaved = self._unsaved.pop(session_id, None)
        return unsaved.session if unsaved else None

    def inherit(self, other: Saving) -> None:
        """Remembers what `other`, which is over, could not save."""
        for unsaved in [*other._unsaved.all(), *other._under_way.all()]:
            self._remember(unsaved)
        if self._unsaved:
            self._go_on()

    async def finish(self) -> None:
        """Saves what can be saved now, since this process ends; what cannot, is said."""
        for unsaved in self._under_way.all():  # whoever tries to save it is cut short now
            self._remember(unsaved)
        await self._put_all()
        if self._unsaved:
            say("sessions_not_saved", sessions=len(self._unsaved))

    async def _save_others(self) -> None:
        """The store is well: saves some that could not be saved before, whose people may not come to this process."""
        for other in self._unsaved.all()[:AT_ONCE]:
            with suppress(SessionEnded):
                await self.catch_up(other.session)

    async def _discard(self, session: Session) -> None:
        """It was ended meanwhile: nobody gets the new tokens."""
        self._unsaved.pop(session.id, None)
        self._under_way.pop(session.id, None)
        await self._token_endpoint.revoke(session.tokens)

    def _remember(self, unsaved: Record) -> None:
        """It, or the newer one that is remembered already."""
        self._forget_those_over()
        name = unsaved.session.id
        known = self._unsaved.get(name, unsaved)
        if self._unsaved.put(name, max(unsaved, known, key=lambda each: each.session.generation)):
            say("session_forgotten")

    def _forget_those_over(self) -> None:
        for each in self._unsaved.all():
            try:
                self._sessions.check_limits(each.session)
            except SessionEnded:
                self._unsaved.pop(each.session.id, None)


@overload
def newest(*sessions: Session) -> Session: ...


@overload
def newest(*sessions: Session | None) -> Session | None: ...


def newest(*sessions: Session | None) -> Session | None:
    """The newest generation of these; None where there is none."""
    return max(filter(None, sessions), key=lambda session: session.generation, default=None)
