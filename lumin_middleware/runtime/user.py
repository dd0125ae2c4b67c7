"""Who is signed in, and what they may do, as Starlette's authentication has it."""

from __future__ import annotations

from typing import Any

from starlette.authentication import AuthCredentials, BaseUser

from ..model import Session
from ..protocol.claims import display_name


class LuminUser(BaseUser, AuthCredentials):
    """Who is signed in, and what they may do: one object for `scope["user"]` and `scope["auth"]`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return display_name(self._session.claims)

    @property
    def identity(self) -> str:
        return str(self._session.claims.get("sub") or "")

    def __getattr__(self, name: str) -> Any:
        if name != "scopes":
            raise AttributeError(name)
        self.scopes = ["authenticated", *self._session.tokens.scope]  # a list of its own, made when somebody asks
        return self.scopes
