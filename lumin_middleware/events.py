"""What happened, for whoever wants to know: typed, frozen, and without anything that is a secret.

`LuminConfig(on_event=…)` is called with one of these. Each has the code of its reason (`reasons`), and names a session
by a digest of its id and a person by the subject that the server has for them; where that is an e-mail address, by a
digest of it. The line in the log is written by the same call, so that the two never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any, Protocol, Self

from .journal import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened; `at` is in epoch seconds, `reason` one of `reasons.REASONS`."""

    reason: str
    at: float = 0.0


class Named(Protocol):
    """A session, as far as it is named here."""

    @property
    def id(self) -> str: ...

    @property
    def claims(self) -> Mapping[str, Any]: ...


def session_name(session_id: str) -> str:
    """What a session is called in lines and events."""
    return sha256(session_id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSession(Event):
    """Something happened to a session, and so to a person; `subject` is empty where nobody knows who it is."""

    session: str
    subject: str

    @classmethod
    def of(cls, session: Named, **more: Any) -> Self:
        """The event about a session."""
        subject = str(session.claims.get("sub") or "")
        if "@" in subject:
            subject = sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return cls(session=session_name(session.id), subject=subject, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(OfSession):
    """Somebody signed in, with these scopes."""

    reason: str = "signed_in"
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFailed(Event):
    """A sign-in came to nothing; `cause` is the server's error where the site is not set up correctly."""

    status: int
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(OfSession):
    """A session was renewed for the `generation`th time; the token endpoint took so many `seconds`."""

    reason: str = "session_renewed"
    generation: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted(OfSession):
    """A renewal that another request or worker made was taken over."""

    reason: str = "adopted"
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalFailed(OfSession):
    """A session could not be renewed now. It is kept."""

    reason: str = "renewal_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut(OfSession):
    """Somebody signed out, or signed in anew in the same browser (`replaced`).

    `by` is empty where they did it themselves: `operator`, who may sign anybody out; `limit`, since a later sign-in
    found no room in the list of their sessions; `undone`, since nobody was left to take the answer of the sign-in.
    """

    reason: str = "signed_out"
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedByServer(OfSession):
    """The server gives no more tokens for a session, or asked us to end it (`by` a `logout token`)."""

    reason: str = "ended_by_server"
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(OfSession):
    """Somebody allowed the application to go on without them; a grant is named as a session is."""

    reason: str = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(OfSession):
    """A grant was revoked here."""

    reason: str = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnded(OfSession):
    """A grant gives no more tokens; whoever gave it can connect again."""

    reason: str = "grant_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRefused(Event):
    """A request was refused: a scope is missing, it is of another site's page, its path is a trick."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop(Event):
    """A browser signs in again and again, and its session is never seen, or not by the page (`unseen_session`)."""

    reason: str = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTrouble(Event):
    """The store gave no answer, or did not take what was to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTrouble(Event):
    """The authorization server gave no answer, or an answer that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRejected(Event):
    """The server refuses the client or its settings: nobody can sign in until the operator has mended that."""


Listener = Callable[[Event], object]
"""What `on_event` takes: a function, or an `async` one."""


class Hearing(Protocol):
    """Whoever is told of events, and knows what time it is."""

    @property
    def clock(self) -> Callable[[], float]: ...

    def tell(self, event: Event) -> None: ...


_NOT_IN_LINES = ("reason", "at", "subject")


def note(world: Hearing, event: Event, **particulars: object) -> None:
    """Writes the line of an event, and tells whoever listens. Returns at once, and raises nothing."""
    for each in fields(event):
        value = getattr(event, each.name)
        if each.name not in _NOT_IN_LINES:
            particulars[each.name] = " ".join(value) if isinstance(value, tuple) else value
    say(event.reason, **particulars)
    world.tell(replace(event, at=world.clock()))
