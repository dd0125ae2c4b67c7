"""Acting for people who are away: the grants of a site, from a worker, a cron job, a management command, a notebook.

There is no request and no middleware; the same settings and the same store are all that it takes. A client found here
renews as that of a request does, with every other process that uses the grant.

    grants = Grants()                             # or Grants(config)
    with grants.client(subject) as lumin:
        lumin.get("signature_request/{}", id)
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from .client import AsyncLuminClient, LuminClient
from .config import LuminConfig, checked_config
from .errors import LuminError, NotConnected, SessionEnded
from .journal import say
from .model import Session
from .ports import run
from .runtime.event_loop import AsyncWorld
from .runtime.loops import Loops
from .runtime.startup import require_way_out
from .runtime.threads import ThreadWorld
from .sessions.grants import Granted, Listed
from .site.connect import DEFAULT_NAME
from .site.parts import Parts
from .site.people import People, SignedIn
from .site.places import Places
from .stores import named

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody has allowed: under which name, in which workspace (None where Lumin did not say), and how much.

    `connected_at` and `expires_at` are epoch seconds; `expires_at` is None where it lasts until it is revoked.
    """

    subject: str
    name: str
    workspace: str | None
    scope: frozenset[str]
    connected_at: float
    expires_at: float | None


class _Grants:
    """What both colours share."""

    def __init__(self, config: LuminConfig | None, clock: Callable[[], float], *, asynchronous: bool) -> None:
        self.config = config = checked_config(config)
        self._clock = clock
        self._places = Places(config)
        self._store = named.of_setting(
            config.store, asynchronous=asynchronous, fingerprint=config.fingerprint, clock=clock
        )
        require_way_out()
        if config.store == "memory://":
            say("grants_in_memory")

    @property
    def store_file(self) -> str:
        """The file of the store where it is `local`, this user's own; empty for any other."""
        return getattr(self._store(), "path", "") if self.config.store == "local" else ""

    def connect_url(self, name: str = DEFAULT_NAME) -> str:
        """Where somebody who is signed in gives a grant of this name."""
        return self.config.origin + self._places.connect_to(self.config.after_login, name)

    def _grant(self, subject: str, listed: Listed, session: Session) -> Grant:
        lifetime = self.config.grant_lifetime
        ends = listed.connected_at + lifetime if lifetime else None
        scope = frozenset(session.tokens.scope)
        return Grant(subject, listed.name, listed.workspace, scope, listed.connected_at, ends)

    async def _holder(self, granted: Granted, subject: str, name: str, workspace: str | None) -> _Holder:
        found = await granted.newest(subject, name, workspace)
        url = self.connect_url(name)
        if found is None:
            if others := ", ".join(sorted({each.name for each, _ in await granted.of(subject)} - {name})):
                raise NotConnected(f"this person has not connected under {name!r}, but under {others}", url)
            where = f", by the store of this user ({self.store_file})" if self.store_file else ""
            raise NotConnected(f"this person has not connected, or it has ended{where}", url)
        return _Holder(granted, found, url)

    async def _find(self, granted: Granted, subject: str | None) -> list[Grant]:
        if subject is None:
            return []
        return [self._grant(subject, listed, grant) for listed, grant in await granted.of(subject)]


class _Holder:
    """Whoever holds a grant, as a client asks for it."""

    def __init__(self, granted: Granted, grant: Session, url: str) -> None:
        self._granted = granted
        self._url = url
        self.session: Session | None = grant
        self.failed: LuminError | None = None

    async def fresh(self, *, rejected: str | None = None) -> Session:
        assert self.session is not None
        try:
            self.session = await self._granted.fresh(self.session, rejected=rejected)
        except SessionEnded as error:
            raise NotConnected(f"the grant has ended ({error})", self._url) from None
        return self.session


class Grants(_Grants):
    """The grants of a site, for code that blocks. One object serves all threads, and each process after a fork.

    Settings come from `config`, or else the environment (`LuminConfig.from_env`); store and `secret_key` must be the
    site's. Every method may raise `StoreUnavailable`. Raises `ConfigurationError` for wrong settings.
    """

    def __init__(self, config: LuminConfig | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config, clock, asynchronous=False)
        self._processes: dict[int, tuple[Parts, ThreadWorld]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def client(self, subject: str, *, name: str = DEFAULT_NAME, workspace: str | None = None) -> Iterator[LuminClient]:
        """The Lumin API as somebody who is away, for as long as the block lasts. Of several workspaces the newest.

        Raises `NotConnected` where there is no grant; a call raises it when Lumin has ended it meanwhile.
        """
        parts, world = self._site()
        holder = run(self._holder(parts.grants, subject, name, workspace))
        client = LuminClient(holder, world.api)
        try:
            yield client
        finally:
            client.close()
            world.settle()  # a worker may end the process without a word, as RQ's do after each job
            run(parts.grants.finish())

    def subjects(self) -> list[str]:
        """Everybody who has connected. Whose grant Lumin has ended may still be among them."""
        return run(self._site()[0].grants.subjects())

    def find(self, subject: str | None) -> list[Grant]:
        """Somebody's grants, oldest first. Whom nobody has named (`client.subject` is None) has none."""
        return run(self._find(self._site()[0].grants, subject))

    def revoke(self, subject: str, *, name: str | None = None, workspace: str | None = None) -> int:
        """Ends somebody's grants, all or those of this name and workspace, here and at Lumin; how many."""
        return run(self._site()[0].grants.revoke(subject, name, workspace))

    def sessions(self, subject: str) -> list[SignedIn]:
        """Where somebody is signed in. Raises `ConfigurationError` where sessions are in cookies alone."""
        return run(People(self._site()[0]).sessions(subject))

    def end_sessions(self, subject: str) -> int:
        """Signs somebody out everywhere; how many sessions that were. Raises as `sessions` does.

        Their tokens are revoked at Lumin, as far as the store has them: those of a session in a cookie that was never
        renewed only its browser has, and they end by themselves.
        """
        return run(People(self._site()[0]).end_sessions(subject))

    def forget(self, subject: str) -> None:
        """Ends sessions and grants of somebody, and leaves nothing of them in the store.

        At Lumin the grants end, and of the sessions what `end_sessions` says. Raises `ConfigurationError` where
        sessions are in cookies alone; the grants are gone then.
        """
        run(People(self._site()[0]).forget(subject))

    def abandon_unreadable(self) -> None:
        """Gives up the grants that no key in `secret_key` opens, so that people can connect anew: their key is lost.

        For good, and for every process. At Lumin they go on, and nobody here can revoke them any more.
        """
        run(self._site()[0].grants.abandon())

    def close(self) -> None:
        """Saves what could not be saved yet, and gives back this process's connections. Another call makes new ones.

        Those of a store that a setting names as well; one that you made is yours to close.
        """
        found = self._processes.pop(os.getpid(), None)
        if found is not None:
            parts, world = found
            world.settle()
            run(parts.finish())
            world.close()
        self._store.close()

    def _site(self) -> tuple[Parts, ThreadWorld]:
        process = os.getpid()
        if process not in self._processes:
            store: Any = self._store()  # the blocking kind: it was looked at
            world = ThreadWorld(self.config, store, self._clock)
            kept = self._processes.setdefault(process, (Parts(self.config, world), world))
            if kept[1] is not world:  # another thread came first
                world.close()
            return kept
        return self._processes[process]


class AsyncGrants(_Grants):
    """`Grants` for asyncio. Connections belong to the event loop that they were made on; `aclose()` gives them back."""

    def __init__(self, config: LuminConfig | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config, clock, asynchronous=True)
        self._loops = Loops(self._new_site)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @asynccontextmanager
    async def client(
        self, subject: str, *, name: str = DEFAULT_NAME, workspace: str | None = None
    ) -> AsyncIterator[AsyncLuminClient]:
        """See `Grants.client`."""
        parts, world = self._site()
        holder = await self._holder(parts.grants, subject, name, workspace)
        client = AsyncLuminClient(holder, world.api)
        try:
            yield client
        finally:
            client.close()
            await parts.grants.finish()

    async def subjects(self) -> list[str]:
        """See `Grants.subjects`."""
        return await self._site()[0].grants.subjects()

    async def find(self, subject: str | None) -> list[Grant]:
        """See `Grants.find`."""
        return await self._find(self._site()[0].grants, subject)

    async def revoke(self, subject: str, *, name: str | None = None, workspace: str | None = None) -> int:
        """See `Grants.revoke`."""
        return await self._site()[0].grants.revoke(subject, name, workspace)

    async def sessions(self, subject: str) -> list[SignedIn]:
        """See `Grants.sessions`."""
        return await People(self._site()[0]).sessions(subject)

    async def end_sessions(self, subject: str) -> int:
        """See `Grants.end_sessions`."""
        return await People(self._site()[0]).end_sessions(subject)

    async def forget(self, subject: str) -> None:
        """See `Grants.forget`."""
        await People(self._site()[0]).forget(subject)

    async def abandon_unreadable(self) -> None:
        """See `Grants.abandon_unreadable`."""
        await self._site()[0].grants.abandon()

    async def aclose(self) -> None:
        """Finishes what must not be cut short, and closes the connections of this event loop.

        Those of a store that a setting names as well; one that you made is yours to close. Another call makes new ones.
        """
        await self._loops.aclose()
        await self._store.aclose(in_use=self._loops.in_use)

    def _site(self) -> tuple[Parts, AsyncWorld]:
        return self._loops.here()

    def _new_site(self) -> tuple[Parts, AsyncWorld]:
        world = AsyncWorld(self.config, self._store(), self._clock)
        return Parts(self.config, world), world
