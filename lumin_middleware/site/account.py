"""What somebody who is signed in can see of it, and how it ends: here, and everywhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from ..errors import AuthorizationServerError, LuminError, RequestRefused, SessionEnded, StoreUnavailable
from ..events import SignedOut
from ..journal import say
from ..model import Request, Response, Session
from ..protocol import oauth
from ..sessions.cookies import Jar
from ..sessions.ending import listed
from ..sessions.index import ENTRIES_LIMIT, Entry, Index, by_subject
from ..sessions.opened import Carried, Opened
from . import pages
from .access import is_same_origin
from .back_channel import BackChannelLogout
from .login import Login
from .parts import Parts
from .sent import done, goes_on, meant, nothing_to_end

Route = Callable[[Request, Jar[Opened]], Awaitable[Response]]


class Account:
    """The routes about sessions."""

    def __init__(self, parts: Parts, login: Login) -> None:
        config = self._config = parts.config
        self._world = parts.world
        self._cookies = parts.cookies
        self._sessions = parts.sessions
        if parts.index is not None:
            parts.sessions.lists_anew = self.list_anew
        self._index = parts.index
        self._ended = parts.ended
        self._metadata = parts.metadata
        self._ending = parts.ending
        self._answers = answers = parts.answers
        self._login = login
        self.routes: dict[str, Route] = {answers.logout_path: self.logout, f"{config.prefix}/session": self.session}
        if config.sessions == "store":
            self.routes[f"{config.prefix}/sessions"] = self.list_sessions
            self.routes[f"{config.prefix}/sessions/end"] = self.end_sessions
        if config.backchannel_logout:
            self.routes[f"{config.prefix}/backchannel-logout"] = BackChannelLogout(parts)

    # --- beginning and end ---

    async def begin(self, session: Session, replaced: Session | None, *, issued_at: float, login_took: float) -> None:
        """Makes a new session known, and ends the one that this browser had and those that lists have no room for.

        `issued_at` is when the server told of it, by the server's clock, and `login_took` the seconds since it was
        asked for.

        Raises `StoreUnavailable`, and `RequestRefused` where the server has ended it already; then nothing is known.
        """
        try:
            await self._sessions.begin(session)
            await self._list(session, issued_at)
            if self._ended is not None:
                await self._ended.refuse(session, issued_at - login_took)
        except LuminError:
            with suppress(StoreUnavailable):
                await self._sessions.end(session.id, session.began)
                await self._unlist(session)
            raise
        if replaced is not None:
            await self._replace(replaced)

    async def _replace(self, session: Session) -> None:
        """Ends what this browser had. The new session has begun, and no trouble with the old one takes it back."""
        try:
            await self.sign_out(session, "replaced")
        except StoreUnavailable as error:
            say("replaced_not_ended", error=error)

    async def _list(self, session: Session, issued_at: float | None = None) -> None:
        if self._index is not None:
            for common, entries in (await self._index.add(session, issued_at)).items():
                await self._make_room(self._index, common, entries, session)

    async def _make_room(self, index: Index, common: str, entries: list[Entry], session: Session) -> None:
        """Ends what a list has no room for, of the person who has this session: what is over, and else the oldest."""
        over: list[Entry] = []
        for entry in entries:
            known = listed(entry.session_id, entry.began, lasts=entry.lasts)
            if len(entries) - len(over) > ENTRIES_LIMIT and await self._sessions.has_ended(known):
                over.append(entry)
        alive = [entry for entry in entries if entry not in over]
        gone = [*over, *alive[:-ENTRIES_LIMIT]]
        for entry in gone:
            # What is over too: all that is known may be that its record cannot be read here.
            ended = await self._ending.end(
                entry.session_id,
                entry.began,
                subject=str(session.claims.get("sub") or ""),
                lasts=entry.lasts,
                tells=partial(SignedOut.of, reason="pushed_out", by="limit"),
            )
            if ended is not None:
                await self._unlist(ended)
        await index.forget(common, [entry.session_id for entry in gone])

    async def _unlist(self, session: Session) -> None:
        if self._index is not None:
            await self._index.remove(session)

    async def list_anew(self, session: Session) -> bool:
        """Seals what lists a session with the newest key, too; whether that was done."""
        with suppress(StoreUnavailable):  # another request tries again
            await self._list(session)
            return True
        return False

    async def sign_out(self, session: Session, reason: str = "signed_out", *, by: str = "") -> Session:
        """Ends a session for every copy and revokes its newest tokens, and tells of it. Raises `StoreUnavailable`."""
        return await self._end(session, partial(SignedOut.of, reason=reason, by=by))

    async def take_back(self, session: Session) -> None:
        """The same for one that nobody was told of. Raises `StoreUnavailable`."""
        await self._end(session, None)

    async def _end(self, session: Session, tells: Callable[[Session], SignedOut] | None) -> Session:
        session = await self._ending.end(session.id, session.began, session, tells=tells) or session
        with suppress(StoreUnavailable):  # what lists it finds out when somebody looks
            await self._unlist(session)
        return session

    # --- logout ---

    async def logout(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET logout`: a page with a button. `POST logout`: signed out here, and at Lumin as far as it can be."""
        if request.method in ("GET", "HEAD"):
            signed_in = await self._sessions.current(jar)
            return self._answers.logout_page(request) if signed_in else self._answers.signed_out(request)
        if request.method != "POST":
            return self._answers.method_not_allowed("GET, HEAD, POST")
        self._require_same_origin(request)
        return await self._sign_out_here(request, jar)

    async def _sign_out_here(self, request: Request, jar: Jar[Opened]) -> Response:
        try:
            session = await self._sessions.current(jar)
            if session is not None:
                session = await self.sign_out(session)
        except StoreUnavailable as error:
            answer = self._answers.signed_out_here_only(request, error)
        else:
            answer = await self._signed_out(request, session)
            answer.headers.append(("Clear-Site-Data", '"cache"'))  # what the application let the browser keep
        answer.headers += pages.set_cookies(self._cookies.delete_all(jar.ours))
        return answer

    async def _signed_out(self, request: Request, session: Session | None) -> Response:
        if not goes_on(request):
            return pages.empty(204)
        location = self._config.after_logout or self._answers.logout_path
        if self._config.end_session and session is not None:
            try:
                if endpoint := (await self._metadata.server()).end_session_endpoint:
                    state = self._world.token(16)
                    location = oauth.end_session_request(self._config, endpoint, session.tokens.id_token, state)
            except AuthorizationServerError as error:
                say("server_logout_failed", error=error)
        return pages.redirect(location)

    def _require_same_origin(self, request: Request) -> None:
        if not is_same_origin(request, self._config.origin):
            raise RequestRefused("cross_origin", "Only this site's own pages may do this.", status=403)

    # --- this session ---

    async def session(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET session`: who is signed in, without a token in sight. With `?slide=false` this does not count as use."""
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        slide = oauth.parameters(request.query).get("slide") != "false"
        carried = await self._require_carried(jar, slide=slide)
        session = carried.session
        renewed = await self._sessions.give_back(session, jar) if slide and carried.stale else []
        content = {
            "subject": session.claims.get("sub"),
            "claims": session.claims,
            "scope": list(session.tokens.scope),
            "expires_at": self._ends_at(session, used=bool(renewed)),
            "login_url": self._answers.login_path,
            "logout_url": self._answers.logout_path,
        }
        answer = pages.document(200, content)
        if renewed:
            answer.headers = pages.with_cookies(answer.headers, renewed)
        return answer

    async def _require_session(self, jar: Jar[Opened]) -> Session:
        return (await self._require_carried(jar)).session

    async def _require_carried(self, jar: Jar[Opened], *, slide: bool = False) -> Carried:
        carried = await self._sessions.load(jar, slide=slide)
        if carried is None:
            raise SessionEnded("nobody is signed in", "no_session")
        return carried

    def _ends_at(self, session: Session, *, used: bool = False) -> float:
        limits = self._sessions.limits
        unused = self._world.clock() + self._config.idle_timeout if used else session.seen + limits.idle(session)
        return min(limits.ends_at(session.began, session.lasts), unused)

    # --- all sessions of this person ---

    async def list_sessions(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET sessions`: where this person is signed in."""
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        current = await self._require_session(jar)
        listed = [
            {
                "id": entry.name,
                "current": entry.session_id == current.id,
                "began": entry.began,
                "expires_at": self._ends_at(session),
            }
            for entry, session in await self._alive(current)
        ]
        return pages.document(200, {"sessions": listed})

    async def end_sessions(self, request: Request, jar: Jar[Opened]) -> Response:
        """`POST sessions/end`: signs out everywhere else, or with `id` that one of the list; this one as `logout`.

        Raises `KeyMissing` where there may be more elsewhere than could be found: nobody is told that all has ended.
        """
        if request.method != "POST":
            return self._answers.method_not_allowed("POST")
        self._require_same_origin(request)
        current = await self._require_session(jar)
        found = await meant(request, "id", "return_to")
        alive = await self._alive(current)
        if "id" not in found:
            for entry, session in alive:
                if entry.session_id != current.id:
                    await self.sign_out(session)
            await self._require_all_seen(current)
        else:
            named = next((session for entry, session in alive if entry.name == found["id"]), None)
            if named is None:
                await self._require_all_seen(current)
                raise nothing_to_end()
            if named.id == current.id:
                return await self._sign_out_here(request, jar)
            await self.sign_out(named)
        return done(request, self._login.return_to(found.get("return_to", "")))

    async def _require_all_seen(self, current: Session) -> None:
        common = by_subject(current)
        if self._index is not None and common:
            await self._index.check(common)

    async def _alive(self, current: Session) -> list[tuple[Entry, Session]]:
        common = by_subject(current)
        entries = await self._index.entries(common) if self._index is not None and common else []
        if not any(entry.session_id == current.id for entry in entries):
            entries.append(Entry(current.id, current.began))
        found = [(entry, await self._sessions.find(entry.session_id)) for entry in entries]
        return [(entry, session) for entry, session in found if session is not None]
