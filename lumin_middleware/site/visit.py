"""A request that goes on to the application: whose it is, and what may come of it on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

from ..errors import ClientMisused, InsufficientScope, LoginRequired, LuminError
from ..model import NOTHING, Request, Response, Session, Wanted
from ..sessions.cookies import Jar
from ..sessions.opened import Carried, Opened
from .api_proxy import ApiCall
from .parts import Parts

_OVERLOOKED = "the application asks who is signed in on a path that is public, where nobody looks; make it optional="


class Party(Protocol):
    """Whoever let the request pass, and answers for what it meets."""

    @property
    def parts(self) -> Parts: ...

    async def is_overlooked(self, request: Request, jar: Jar[Opened]) -> bool: ...

    async def challenge(
        self, request: Request, jar: Jar[Opened], session: Session | None, wanted: Wanted
    ) -> Response: ...

    def failure(self, request: Request, error: LuminError) -> Response: ...

    def trace(self, request: Request, outcome: Response | Visit) -> None: ...


Came = tuple[Callable[..., Request], Mapping[str, Any], *tuple[Any, ...]]
"""What reads a request, and of what: a scope or an environ, and what else it needs."""


class Visit:
    """A request that goes on to the application."""

    failed: LuminError | None = None
    """The error of ours that the application has met at work. Its own 500 then says no more than this does."""

    call: ApiCall | None = None
    """The call to the API that takes the application's place."""

    cookie: bytes
    """The `Cookie` header as the application may see it."""

    writes = False
    """Whether the answer may have cookies of ours to carry."""

    _came: Came

    def __init__(self, party: Party, request: Request, jar: Jar[Opened], carried: Carried | None = None) -> None:
        self._party = party
        self._jar = jar
        self._carried = carried
        self.request = request
        self.cookie = jar.rest
        self.session = carried.session if carried else None
        self.writes = carried is not None and carried.stale

    @cached_property
    def request(self) -> Request:
        """What came."""
        read, *of = self._came
        return read(*of)

    def keep(self) -> None:
        """Keeps what the request is read of as it is now, since it is about to change."""
        if "request" not in vars(self):
            read, of, *more = self._came
            self._came = read, {**of}, *more

    @cached_property
    def _jar(self) -> Jar[Opened]:
        return self._party.parts.cookies.jar(self.request.cookie)

    @property
    def until(self) -> float:
        """Epoch seconds until which nothing falls due for the session; 0 where something does, or it has changed."""
        carried = self._carried
        return carried.until if carried is not None and carried.session is self.session else 0.0

    async def fresh(self, *, rejected: str | None = None) -> Session:
        """The session with tokens that can be used now; `rejected` is an access token that the API did not take.

        Raises `LoginRequired`, `ServerUnavailable`, `StoreUnavailable`.
        """
        try:
            if self.session is None:
                raise LoginRequired("nobody is signed in")
            session = await self._party.parts.renewal.fresh(self.session, rejected=rejected)
            self.writes = self.writes or session is not self.session
            self.session = session
        except LuminError as error:
            self.failed = error
            raise
        self.failed = None
        return self.session

    async def is_over(self) -> bool:
        """Whether the session has ended since; for what is served for long."""
        return self.session is not None and await self._party.parts.sessions.is_over(self.session)

    async def set_cookies(self) -> list[str]:
        """The `Set-Cookie` values that this answer must carry: none, unless the session changed and is not over."""
        carried, session = self._carried, self.session
        if carried is None or session is None or (session is carried.session and not carried.stale):
            return []
        saved = session.id not in self._party.parts.renewal.unsaved
        return await self._party.parts.sessions.give_back(session, self._jar, saved=saved)

    async def challenge(self, wanted: Wanted = NOTHING) -> Response:
        """The answer that asks for what is missing: a sign-in, if nothing else is named; or says why it cannot."""
        try:
            if self.session is None and await self._party.is_overlooked(self.request, self._jar):
                return self.failure(ClientMisused(_OVERLOOKED))
            return await self._party.challenge(self.request, self._jar, self.session, wanted)
        except LuminError as error:
            return self.failure(error)

    async def answer(self, error: LuminError) -> Response:
        """The answer to an error of ours that the application lets through: a challenge, or what went wrong."""
        answer = await self._answer(error)
        self._party.trace(self.request, answer)
        return answer

    async def _answer(self, error: LuminError) -> Response:
        match error:
            case LoginRequired():
                return await self.challenge()
            case InsufficientScope():
                return await self.challenge(Wanted(tuple(error.scope.split())))
            case _:
                return self.failure(error)

    def failure(self, error: LuminError) -> Response:
        """The answer to an error that is ours."""
        return self._party.failure(self.request, error)


class Passing(Visit):
    """A visit of which nothing but its path and its cookies was looked at: the request is read when somebody asks."""

    def __init__(self, party: Party, carried: Carried | None, cookie: bytes, came: Came) -> None:
        self._party = party
        self._carried = carried
        self._came = came
        self.session = None if carried is None else carried.session
        self.cookie = cookie
        self.writes = False  # the class says so; CPython 3.11 finds it faster here
