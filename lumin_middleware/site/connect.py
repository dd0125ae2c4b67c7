"""The routes about grants: who is signed in allows to be acted for while away, sees what is so, and ends it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ..errors import LoginRequired, RequestRefused
from ..model import Request, Response, Session
from ..protocol import oauth
from ..sessions.cookies import Jar
from ..sessions.logins import person
from ..sessions.opened import Opened
from . import access, pages
from .access import is_navigation, is_same_origin
from .login import Login
from .parts import Parts
from .places import target
from .sent import done, meant, nothing_to_end

DEFAULT_NAME = "default"
"""What a grant is called where nobody called it anything."""

NAME = re.compile(r"[\w.:-]{1,64}", re.ASCII)
"""What it may be called: it stands in addresses."""


class Connect:
    """`connect`, `disconnect`, `connections`."""

    def __init__(self, parts: Parts, login: Login) -> None:
        self._config = parts.config
        self._sessions = parts.sessions
        self._grants = parts.grants
        self._answers = answers = parts.answers
        self._login = login
        self.routes: dict[str, Callable[[Request, Jar[Opened]], Awaitable[Response]]] = {
            answers.connect_path: self.connect,
            f"{self._config.prefix}/disconnect": self.disconnect,
            f"{self._config.prefix}/connections": self.connections,
        }

    async def connect(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET connect`: off to an authorization request of its own; whoever is not signed in does that first."""
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        if not is_navigation(request):
            return self._answers.unauthorized(request, "no_session", may_be_page=True)
        session = await self._sessions.current(jar)
        if session is None:
            return await self._login.begin(request, jar, access.here(target(request), self._config.after_login))
        found = oauth.parameters(request.query)
        name = _name(found.get("name"))
        return await self.begin(request, jar, session, self._login.return_to(found.get("return_to", "")), name)

    async def begin(
        self, request: Request, jar: Jar[Opened], session: Session, return_to: str, name: str = DEFAULT_NAME
    ) -> Response:
        """Off to the authorization endpoint, for a grant of whoever is signed in. Raises `RequestRefused`."""
        asked_by = person(session)
        if not asked_by:
            raise RequestRefused(
                "no_subject", "Lumin did not say who you are, so nothing can be kept for you.", status=403
            )
        return await self._login.begin(
            request,
            jar,
            return_to,
            needed=("offline_access",),
            asked_by=asked_by,
            grant=name,
            extra={"prompt": "consent"},
        )

    async def disconnect(self, request: Request, jar: Jar[Opened]) -> Response:
        """`POST disconnect`: ends this person's grants, or with `name` and `workspace` some of them."""
        if request.method != "POST":
            return self._answers.method_not_allowed("POST")
        if not is_same_origin(request, self._config.origin):
            raise RequestRefused("cross_origin", "Only this site's own pages may do this.", status=403)
        subject = await self._person(jar)
        found = await meant(request, "name", "workspace", "return_to")
        name, workspace = _name(found["name"]) if "name" in found else None, found.get("workspace")
        ended = await self._grants.revoke(subject, name, workspace)
        if not ended and (name, workspace) != (None, None):
            raise nothing_to_end()
        return done(request, self._login.return_to(found.get("return_to", "")))

    async def connections(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET connections`: what this person has allowed."""
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        subject = await self._person(jar)
        lifetime = self._config.grant_lifetime
        listed = [
            {
                "name": each.name,
                "workspace": each.workspace,
                "scope": list(grant.tokens.scope),
                "connected_at": each.connected_at,
                "expires_at": each.connected_at + lifetime if lifetime else None,
            }
            for each, grant in await self._grants.of(subject)
        ]
        prefix = self._config.prefix
        urls = {"connect_url": self._answers.connect_path, "disconnect_url": f"{prefix}/disconnect"}
        return pages.document(200, {"connections": listed, **urls})

    async def _person(self, jar: Jar[Opened]) -> str:
        carried = await self._sessions.load(jar)
        if carried is None or not carried.session.claims.get("sub"):
            raise LoginRequired("nobody is signed in")
        subject: str = carried.session.claims["sub"]
        return subject


def _name(given: str | None) -> str:
    if given is None:
        return DEFAULT_NAME
    if not NAME.fullmatch(given):
        raise RequestRefused("bad_request", "This is no name of a connection: letters, digits, and . _ : - are.")
    return given
