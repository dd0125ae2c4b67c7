"""Who is signed in at the emulator, and with which browser."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from .registry import User

SESSION_COOKIE = "lumin_emulator_session"


@dataclass(eq=False)
class SignIn:
    """Somebody signed in with a browser. `auth_time` is in epoch seconds."""

    user: User
    auth_time: float
    sid: str = field(default_factory=lambda: secrets.token_urlsafe(16))


class SignIns:
    """Who is signed in, by the cookie's value."""

    def __init__(self, *, secure: bool) -> None:
        self._by_cookie: dict[str, SignIn] = {}
        self._secure = secure

    def of(self, request: Request) -> SignIn | None:
        return self._by_cookie.get(request.cookies.get(SESSION_COOKIE, ""))

    def by_sid(self, sid: str) -> SignIn | None:
        return next((sign_in for sign_in in self._by_cookie.values() if sign_in.sid == sid), None)

    def begin(self, sign_in: SignIn, response: Response | None = None) -> None:
        """Keep a sign-in, and give its cookie to the browser that `response` goes to."""
        cookie = secrets.token_urlsafe(32)
        self._by_cookie[cookie] = sign_in
        if response is not None:
            self.set_cookie(response, SESSION_COOKIE, cookie)

    def end(self, sign_in: SignIn) -> None:
        self._by_cookie = {cookie: other for cookie, other in self._by_cookie.items() if other is not sign_in}

    def set_cookie(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(name, value, httponly=True, secure=self._secure, samesite="lax")
