"""What people have granted: codes, tokens, and the chains that Hydra revokes as one. Kept in memory.

A *grant* is one sign-in of one person at one client. Everything that was issued for it hangs on it: the
code, and every generation of tokens. Reuse of a spent code or refresh token revokes the whole grant.
Nothing here knows HTTP, and nothing is ever forgotten: a spent token must be recognised for ever.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from .clock import Clock
from .registry import Client, User

Kind = Literal["access_token", "refresh_token"]
AccessTokenWriter = Callable[["Grant", float, float], str | None]  # given when it begins and ends; None: an opaque one

_PREFIXES: dict[str, str] = {"access_token": "ory_at_", "refresh_token": "ory_rt_", "code": "ory_ac_"}


OPAQUE_LENGTH = 94  # characters: Hydra's prefix and two random halves of 32 bytes


def opaque(kind: str, length: int = OPAQUE_LENGTH) -> str:
    """A new code or token that looks like Hydra's, or longer."""
    return f"{_PREFIXES[kind]}{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}".ljust(length, "A")


@dataclass(eq=False)
class Grant:
    """One sign-in of `user` at the client, for `scope`. `auth_time` is in epoch seconds.

    `kid` names the key that was to sign when it was granted, and stays in the header of every ID token.
    `workspace_id` is the one workspace that the tokens open.
    """

    client_id: str
    user: User
    scope: tuple[str, ...]
    sid: str
    auth_time: float
    requested_at: float
    nonce: str | None = None
    kid: str = ""
    workspace_id: str = ""
    revoked: bool = False
    tokens: list[Token] = field(default_factory=list, repr=False)

    def revoke(self) -> None:
        """Kill the grant and everything that was issued for it."""
        self.revoked = True
        for token in self.tokens:
            token.revoked = True


@dataclass(eq=False)
class AuthorizationCode:
    """A code, what it is bound to (RFC 6749, 4.1.3; RFC 7636, 4.4), and whether it was used.

    `code_challenge` is there until the first verifier was held against it.
    """

    value: str
    grant: Grant
    redirect_uri: str | None  # as in the authorization request; None when there was none
    code_challenge: str | None
    expires_at: float
    used: bool = False


@dataclass(eq=False)
class Token:
    """An access or refresh token. `spent_at` is when a refresh token was first used."""

    kind: Kind
    value: str
    grant: Grant
    issued_at: float
    expires_at: float
    revoked: bool = False
    spent_at: float | None = None

    def check_client(self, client: Client) -> bool:
        return self.grant.client_id == client.client_id


class Grants:
    """Every grant, code and token of one server. `lock` makes a request atomic."""

    def __init__(self, clock: Clock, *, lifetimes: dict[str, float], grace: float, access_token_length: int) -> None:
        self.clock = clock
        self.lifetimes = lifetimes
        self.grace = grace
        self.access_token_length = access_token_length
        self.lock = threading.RLock()
        self.reuse_events = 0
        self._grants: list[Grant] = []
        self._codes: dict[str, AuthorizationCode] = {}
        self._tokens: dict[str, Token] = {}
        self._partners: dict[Token, Token] = {}  # refresh token -> access token of the same answer

    def __iter__(self) -> Iterator[Grant]:
        return iter(list(self._grants))

    def __len__(self) -> int:
        return len(self._grants)

    def authorize(self, grant: Grant, *, redirect_uri: str | None, code_challenge: str | None) -> AuthorizationCode:
        """Record a grant and issue its code."""
        expires_at = self.clock() + self.lifetimes["code"]
        code = AuthorizationCode(opaque("code"), grant, redirect_uri, code_challenge, expires_at)
        self._grants.append(grant)
        self._codes[code.value] = code
        return code

    def find_code(self, value: str) -> AuthorizationCode | None:
        return self._codes.get(value)

    def find_token(self, value: str, kind: Kind | None = None) -> Token | None:
        """The token of this value, dead or alive; None when there is none of that kind."""
        token = self._tokens.get(value)
        return token if token and kind in (None, token.kind) else None

    def live_access_token(self, value: str) -> Token | None:
        """The access token of this value if it is neither revoked nor expired."""
        token = self.find_token(value, "access_token")
        return token if token and not token.revoked and self.clock() < token.expires_at else None

    def issue(
        self, grant: Grant, *, refreshable: bool, write: AccessTokenWriter = lambda *_: None
    ) -> tuple[Token, Token | None]:
        """A new access token and, where `refreshable`, the refresh token that belongs to it."""
        access_token = self._issue("access_token", grant, write)
        if not refreshable:
            return access_token, None
        refresh_token = self._issue("refresh_token", grant)
        self._partners[refresh_token] = access_token
        return access_token, refresh_token

    def _issue(self, kind: Kind, grant: Grant, write: AccessTokenWriter = lambda *_: None) -> Token:
        now = self.clock()
        ends = now + self.lifetimes[kind]
        length = self.access_token_length if kind == "access_token" else OPAQUE_LENGTH
        token = Token(kind, write(grant, now, ends) or opaque(kind, length), grant, now, ends)
        self._tokens[token.value] = token
        grant.tokens.append(token)
        return token

    def is_reuse(self, token: Token) -> bool:
        """Whether this refresh token was spent before, and its grace is over."""
        return token.spent_at is not None and self.clock() >= token.spent_at + self.grace

    def reused(self, grant: Grant) -> None:
        """A spent code or refresh token of this grant was presented: count it, and kill the chain."""
        self.reuse_events += 1
        grant.revoke()

    def spend(self, token: Token) -> None:
        """Use up a refresh token. Without grace every older token of its grant dies with it; within
        grace only the access token that came with it does (Hydra's rotation_grace_period).
        """
        if token.spent_at is None:
            token.spent_at = self.clock()
        dead = [self._partners[token]] if self.grace else token.grant.tokens
        for each in dead:
            each.revoked = True

    def revoke_all(self, sub: str | None = None) -> None:
        """Kill every grant, or those of one person."""
        with self.lock:
            for grant in self._grants:
                if sub in (None, grant.user.sub):
                    grant.revoke()

    def expire_access_tokens(self) -> None:
        """End the life of every access token issued so far."""
        with self.lock:
            for token in self._tokens.values():
                if token.kind == "access_token":
                    token.expires_at = self.clock()
