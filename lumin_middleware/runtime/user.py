"""Who is signed in, and what they may do, as Starlette's authentication has it."""

from __future__ import annotations

from typing import Any

from starlette.authentication import AuthCredentials, BaseUser

from ..model import Session
from ..protocol.claims import verified_email


class LuminUser(BaseUser):
    """Who is signed in, as Starlette's authentication has it."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        claims = self._session.claims
        return str(claims.get("name") or verified_email(claims) or claims.get("sub") or "")

    @property
    def identity(self) -> str:
        return str(self._session.claims.get("sub") or "")


class LuminCredentials(AuthCredentials):
    """What somebody who is signed in may do: that, and their scopes. The list is made when somebody asks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        if name != "scopes":
            raise AttributeError(name)
        self.scopes = ["authenticated", *self._session.tokens.scope]
        return self.scopes
