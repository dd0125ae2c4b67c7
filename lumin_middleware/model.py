"""The values that the core passes around: one request, one response, tokens, a session, a login.

They know how to write and read themselves and nothing else; no I/O, no clock. What may hold a secret does not show in
their `repr`, which error reporters keep: no header, query, cookie, body, token or claim.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from sys import intern
from typing import Any, Self, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    """One request, as it came. Nothing in it is believed."""

    method: str
    path: str
    """Decoded, with the mount prefix: what the application routes on."""
    raw_path: str
    """The same as it stood on the wire, still percent-encoded."""
    query: str = field(repr=False)
    """Without its `?`. At the callback it holds a code."""
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    """Names in lower case; without cookies, and without those that only we may set."""
    cookie: bytes = field(default=b"", repr=False)
    """The `Cookie` headers, joined (RFC 9113, section 8.2.3)."""
    mount: str = ""
    """The prefix of `path` under which the application is mounted, as the server or the client says."""
    root_path: str = ""
    """A prefix that the application itself takes off the path, after us."""
    websocket: bool = False
    peer: str = ""
    """The address of whoever sent it to us, which may be a proxy; empty for a Unix socket."""
    body: Callable[[], Awaitable[bytes]] | None = field(default=None, repr=False)
    """Reads the body, which is refused past 64 KiB. Only our own routes do."""

    def header(self, name: bytes) -> str:
        """The value of a header that may come once; empty when absent, or when it came twice."""
        values = [value for key, value in self.headers if key == name]
        return values[0].decode("latin-1").strip() if len(values) == 1 else ""


@dataclass(slots=True)
class Response:
    """One answer of ours."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    undo: Callable[[], Awaitable[object]] | None = field(default=None, repr=False)
    """What to do when nobody is there to take the answer."""
    reason: str = "ours"
    """Why this is the answer (`reasons`)."""
    reference: str = ""
    """What a page shows and its line in the log has, too."""


CLOCK_TOLERANCE = 60.0
"""Seconds by which the server's clock and ours may differ."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def unchanging(cls: type[T]) -> type[T]:
    """A dataclass that nobody changes, or hashes; the type checker sees to the former. At run time it would cost a
    microsecond each, and 0.3 ms of the import."""
    return dataclass(slots=True)(cls)


@unchanging
class Wanted:
    """What a page needs beyond a session: scopes, a sign-in no older than `max_age` seconds, a grant of that name."""

    scope: tuple[str, ...] = ()
    max_age: float | None = None
    grant: str | None = None


NOTHING = Wanted()


@unchanging
class TokenSet:
    """What the token endpoint gave (RFC 6749, section 5.1). Times are epoch seconds."""

    access_token: str = field(repr=False)
    expires_at: float
    lifetime: float
    scope: tuple[str, ...]
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)


@unchanging
class Session:
    """Somebody's sign-in: random `id` for its whole life, and a generation that each renewal raises."""

    id: str = field(repr=False)
    generation: int
    began: float
    seen: float = field(compare=False)
    """When it was last written, which is at most a tenth of the idle time after it was last used."""
    tokens: TokenSet
    claims: Mapping[str, Any] = field(repr=False)
    nonce: str | None = field(default=None, repr=False)
    """A digest of the nonce that the sign-in sent (`identity.nonce_digest`); None if it was not kept."""
    auth_time: float | None = None
    """When the person proved to the server who they are, in epoch seconds, as far as it says (`began` else)."""
    lasts: float | None = field(default=None, compare=False)
    """Seconds after `began` for which it was told at its first writing to last at most; None if that was not kept."""
    idle: float | None = field(default=None, compare=False)
    """Seconds after `seen` for which this writing of it is good; None if that was not kept."""

    def is_recent(self, max_age: float, now: float) -> bool:
        """Whether the person proved who they are within so many seconds (OpenID Connect Core 1.0, 3.1.2.1)."""
        age = now - (self.began if self.auth_time is None else self.auth_time)
        return -CLOCK_TOLERANCE <= age <= max_age + CLOCK_TOLERANCE  # what lies ahead is by a clock that was wrong

    def dump(self) -> bytes:
        """What `load` reads: values without names, since a request whose cookie is new here waits for each byte."""
        tokens = self.tokens
        scope = " ".join(tokens.scope)
        given = [tokens.access_token, tokens.expires_at, tokens.lifetime, scope, tokens.refresh_token, tokens.id_token]
        limits = [self.lasts, self.idle]
        return _json([self.id, self.generation, self.began, *given, self.claims, self.nonce, self.auth_time, *limits])

    @classmethod
    def load(cls, data: bytes, seen: float) -> Self:
        """The session that `dump` wrote. Raises `ValueError` for anything else."""
        try:
            return cls._load(data.decode("utf-8", "surrogatepass"), seen)
        except (KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("this is no session") from None

    @classmethod
    def _load(cls, text: str, seen: float) -> Self:
        values, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise ValueError("more than one value")
        if isinstance(values, dict):  # as version 1 of what is sealed had it
            values = [*map(values.__getitem__, _NAMES), values.get("nonce"), values.get("auth")]
        if len(values) == _WITHOUT_LIMITS:
            values += (None, None)
        session_id, generation, began, access, expires, lifetime, scope, refresh, id_token, claims, *more = values
        nonce, auth_time, lasts, idle = more
        tokens = TokenSet(access, expires, lifetime, _scope(scope), refresh, id_token)
        claims = {intern(name): claim for name, claim in claims.items()}  # the names are in every session
        return cls(session_id, generation, began, seen, tokens, claims, nonce, auth_time, lasts, idle)


_WITHOUT_LIMITS = 12
"""Values of a session that was sealed before it said how long it lasts."""

_NAMES = ("id", "gen", "began", "access", "expires", "life", "scope", "refresh", "idt", "claims")


@dataclass(frozen=True, slots=True)
class Errand:
    """What a login is for: where it leads, and what it has to bring. It holds no secret and travels in `state`."""

    return_to: str = field(repr=False)
    """A path of this site, or the name under which the store keeps one that is long."""
    scope: str
    needed: str = ""
    """The part of `scope` without which `return_to` is of no use."""
    asked_by: str = ""
    """Who was signed in and asked for more (`logins.person`); empty where anybody may answer."""
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the browser added to the authorization request: `prompt`, `login_hint` and the like."""
    again: int = 0
    """How often this was begun again by itself."""
    host: str = ""
    """The `Host` under which it was begun, where that is not the site's; words for a page and nothing else."""
    grant: str = ""
    """The name of the grant that it is to bring in place of a session; empty for a sign-in."""
    began: float = field(default=0.0, compare=False)
    """Epoch seconds, as the seal says."""

    def dump(self) -> bytes:
        items = [self.return_to, self.scope, self.needed, self.asked_by, self.extra, self.again, self.host]
        return _json([*items, self.grant] if self.grant else items)

    @classmethod
    def load(cls, data: bytes, began: float) -> Self:
        # What was begun before there were grants has no word about one.
        return_to, scope, needed, asked_by, extra, again, host, grant = [*json.loads(data), ""][:8]
        return cls(return_to, scope, needed, asked_by, extra, again, host, grant, began)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A login in flight: what has to come back, and what it was begun for."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    errand: Errand

    @property
    def scope(self) -> str:
        """The scopes that it asks for."""
        return self.errand.scope


class AuthorizationCode:
    """A code that came back to the login that asked for it.

    Only `oauth.authorization_response` makes one, after its checks; what redeems takes nothing else.
    """

    __slots__ = ("code", "transaction")

    def __init__(self, code: str, transaction: Transaction, *, checked: object) -> None:
        if checked is not _CHECKED:
            raise TypeError("an AuthorizationCode is made by oauth.authorization_response() only")
        self.code = code
        self.transaction = transaction

    def __repr__(self) -> str:
        return "AuthorizationCode(…)"


_CHECKED = object()


@lru_cache(maxsize=256)
def _scope(text: str) -> tuple[str, ...]:
    """The scopes that are written like this, of which one site has a few and its sessions have the same."""
    return tuple(text.split())


_DECODER = json.JSONDecoder()
"""Reads what `_json` wrote: with nothing around it and in one encoding, for which `json.loads` would look each time."""


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
