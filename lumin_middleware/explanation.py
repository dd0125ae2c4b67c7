"""What would become of a request, and why: the site decides as it does when it runs, and asks nobody.

The relying party here is the one that the edges ask; only its world is another. Its store is empty, its authorization
server never answers, and whoever is signed in was made up a moment ago. Both remember what they were asked: on that an
explanation depends then, and says so, or cannot be given. The rest is so as long as store and server work.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from .config import LuminConfig
from .errors import LuminError
from .model import CLOCK_TOLERANCE, NOTHING, Request, Response, Session, TokenSet, Wanted
from .nowhere import DISCOVERED, Nowhere
from .ports import run
from .reasons import REASONS, Reason
from .runtime.scopes import read
from .sessions.cookies import Jar
from .sessions.opened import Opened
from .site.relying_party import RelyingParty
from .site.visit import Visit

LIFETIME = 3600.0
"""Seconds that the made-up session's access token lives: long enough that nothing is to be renewed."""


# --- what an explanation may depend on ------------------------------------------------------------------

HANDLE = (
    "the store: the cookie is a handle. With its session the rule decides, as with --as; without it nobody is signed in"
)
ENDED = "the store: it may know that the session of the cookie has ended, or has newer tokens"
SIGN_IN = "the store: it knows what has become of this sign-in"
RENEWAL = (
    "the server: the session's token is due. Where it is renewed the rule decides, as with --as; where that is refused,"
    " nobody is signed in; in trouble the token serves until it ends, and then the answer is 503"
)
SERVER = "the server: it is asked before anything is answered"
BODY = "the body: this is what becomes of a request whose body is empty"
SENDER = (
    "who sends it: the request names no page. A browser names its own, and a script has to, by the header"
    " 'Origin: {origin}'"
)
AGE = "how long ago the sign-in is: once that is too long, the answer is {answer}"

SETTING = "the settings: with {setting} it is a route of ours"
TURNED_ON = {
    "sessions": "sessions='store'",
    "sessions/end": "sessions='store'",
    "backchannel-logout": "backchannel_logout=True",
}
"""The routes that are ours by a setting, and the application's without it."""

# --- what a request may be asked for --------------------------------------------------------------------

RECENT = "a sign-in at most {max_age:g} seconds ago (required_auth_age), and {tolerance:g} more for clocks that differ"
MADE_UP = "; that of --as is of this moment"
COOKIE = "; the cookie's is {age:.0f} seconds {when}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of a request. `status` is None where it goes on to the application."""

    method: str
    path: str
    by: str
    """Which route or which patterns decide."""
    readings: tuple[str, ...]
    """What the path may be taken for."""
    status: int | None
    location: str
    """Where it is redirected to, without what is random."""
    reason: Reason | None
    """None where it cannot be told here what becomes of the request."""
    depends: tuple[str, ...] = ()
    """On what else it depends that was not asked; without any, this is what the site does."""
    asks: tuple[str, ...] = ()
    """What it asks for beyond a sign-in: scopes, and that the sign-in is not too long ago."""


def explain(
    config: LuminConfig,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    scope: Sequence[str] | None = None,
    peer: str = "",
    mount: str = "",
    clock: Callable[[], float],
) -> Explanation:
    """What the site with these settings makes of a request, whose `target` is as it stands on the wire.

    `mount` is the prefix below which another application serves this one. `scope` are the scopes of somebody who is
    signed in; None: nobody is but whom a `Cookie` among the `headers` names.
    """
    asked = _scope(method, target, headers, peer, mount)
    return run(_explain(lambda: _Site(config, clock), asked, scope, clock()))


def unseen(method: str, target: str, prefixes: Sequence[str]) -> Explanation:
    """What becomes of a request that is for none of the applications in which ours stands, below these prefixes."""
    by = f"none: LuminMiddleware stands in what is mounted at {', '.join(prefixes)}, and never sees this"
    return Explanation(method, target.partition("?")[0], by, (), None, "", REASONS["passed"])


class _Site(RelyingParty):
    """The site, where nobody is asked. It remembers what it asked for itself."""

    def __init__(self, config: LuminConfig, clock: Callable[[], float]) -> None:
        self.world = Nowhere(config, clock)
        self.wanted = NOTHING
        super().__init__(dataclasses.replace(config, on_event=None), self.world)

    async def challenge(
        self, request: Request, jar: Jar[Opened], session: Session | None, wanted: Wanted = NOTHING, **how: Any
    ) -> Response:
        self.wanted = wanted
        return await super().challenge(request, jar, session, wanted, **how)

    async def answer(self, asked: Mapping[str, Any], session: Session | None = None) -> Explanation:
        """What becomes of a request, of somebody with this session."""
        if session is not None:
            cookie = await _signed_in(self, session)
            asked = {**asked, "headers": [*asked["headers"], (b"cookie", cookie.encode())]}
        request = _request(self.config, asked, self.world)
        outcome = await self.handle(request)
        found = Explanation(
            request.method, request.path, self.by(request), self.readings(request), None, "", REASONS["passed"]
        )
        setting = TURNED_ON.get(request.path.removeprefix(f"{self.config.prefix}/"))
        if setting is not None and found.by != f"route {request.path}":
            found = dataclasses.replace(found, depends=(SETTING.format(setting=setting),))
        if isinstance(outcome, Visit):
            return found
        location = _located(dict(outcome.headers).get("Location", "").partition("?")[0], self.world)
        found = dataclasses.replace(found, status=outcome.status, location=location, reason=REASONS[outcome.reason])
        if outcome.reason == "cross_origin" and not request.header(b"origin") + request.header(b"sec-fetch-site"):
            found = dataclasses.replace(found, depends=(SENDER.format(origin=self.config.origin),))
        return found


async def _explain(
    new: Callable[[], _Site], asked: Mapping[str, Any], scope: Sequence[str] | None, now: float
) -> Explanation:
    site = new()
    made_up = None if scope is None else _somebody(site.config, scope, now)
    brought = site.parts.cookies.jar(_request(site.config, asked, site.world).cookie)
    found = await _reserved(await site.answer(asked, made_up), site, brought)
    plain = {**asked, "headers": [each for each in asked["headers"] if each[0] != b"cookie"]}
    wanted = await _wanted(new(), plain, now)
    asks = [f"the scope{'s' * (len(wanted.scope) > 1)} {' '.join(wanted.scope)}"] if wanted.scope else []
    if wanted.max_age is not None:
        session = made_up or await _of_the_cookie(site, brought)
        asks.append(_recent(wanted.max_age, session, now, is_made_up=made_up is not None))
        if session is not None and found.reason is not None and session.is_recent(wanted.max_age, now):
            ago = wanted.max_age + 2 * CLOCK_TOLERANCE  # too long, with the tolerance
            late = await new().answer(plain, _somebody(site.config, session.tokens.scope, now, ago=ago))
            if (late.status, late.location, late.reason) != (found.status, found.location, found.reason):
                depends = (*found.depends, AGE.format(answer=_in_words(late)))
                found = dataclasses.replace(found, depends=depends)
    return dataclasses.replace(found, asks=tuple(asks))


def _recent(max_age: float, session: Session | None, now: float, *, is_made_up: bool) -> str:
    asked = RECENT.format(max_age=max_age, tolerance=CLOCK_TOLERANCE)
    if session is None:
        return asked
    if is_made_up:
        return asked + MADE_UP
    age = now - (session.began if session.auth_time is None else session.auth_time)
    return asked + COOKIE.format(age=abs(age), when="ago" if age >= 0 else "ahead")


async def _wanted(site: _Site, asked: Mapping[str, Any], now: float) -> Wanted:
    """What a request is asked for: of somebody who has no scope, and signed in when time began, everything is."""
    await site.answer(asked, _somebody(site.config, (), now, ago=now))
    return site.wanted


async def _of_the_cookie(site: _Site, brought: Jar[Opened]) -> Session | None:
    with suppress(LuminError):
        return await site.parts.sessions.current(brought)
    return None


def _in_words(found: Explanation) -> str:
    assert found.reason is not None
    return f"{found.status}{f' to {found.location}' if found.location else ''} ({found.reason.code})"


def _located(location: str, world: Nowhere) -> str:
    if not location.startswith(DISCOVERED):
        return location
    return f"the {location.removeprefix(DISCOVERED)} that {world.document} names"


async def _reserved(found: Explanation, site: _Site, brought: Jar[Opened]) -> Explanation:
    """The same with what it depends on; without an outcome where that decides it."""
    world = site.world
    asked, untold, depends = frozenset(world.asked), [], [*found.depends]
    if "refresh" in asked:
        untold.append(RENEWAL)
    elif asked & {"redeem", "fetch"}:
        untold.append(SERVER)
    if "store" in asked and brought.ours:  # of whom the request says nothing, the store knows nothing
        with suppress(LuminError):
            await site.parts.sessions.load(brought, slide=True)
        if brought.opened is None:
            untold.append(SIGN_IN)
        elif brought.opened.session is None:
            untold.append(HANDLE)
        else:
            depends.append(ENDED)
    if "document" in asked:
        depends.append(f"the server: it is asked for {world.document}, which names its endpoints")
    if "body" in asked:
        depends.append(BODY)
    if untold:
        return dataclasses.replace(found, status=None, location="", reason=None, depends=(*untold, *depends))
    return dataclasses.replace(found, depends=tuple(depends))


def _scope(method: str, target: str, headers: Sequence[tuple[str, str]], peer: str, mount: str) -> dict[str, Any]:
    raw, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "root_path": mount,
        "path": unquote_to_bytes(_raw(raw)).decode("utf-8", "replace"),
        "raw_path": _raw(raw),
        "query_string": _raw(query),
        "headers": [(_raw(name.lower()), _raw(value)) for name, value in headers],
        "client": (peer, 0) if peer else None,
    }


def _request(config: LuminConfig, scope: Mapping[str, Any], world: Nowhere) -> Request:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def body() -> bytes:
        world.asked.add("body")
        return b""

    return dataclasses.replace(read(scope, receive, config.callback_path), body=body)  # type: ignore[arg-type]


def _raw(text: str) -> bytes:
    """What a terminal gave, as it gave it: browsers send text in headers as UTF-8, too."""
    return text.encode("utf-8", "surrogateescape")


def _somebody(config: LuminConfig, scope: Sequence[str], now: float, *, ago: float = 0.0) -> Session:
    """Somebody whose session begins now, and who proved who they are so many seconds ago."""
    tokens = TokenSet("none", now + LIFETIME, LIFETIME, tuple(scope))
    claims = {"iss": config.server.issuer, "sub": "somebody"}
    return Session(secrets.token_urlsafe(24), 0, now, now, tokens, claims, auth_time=now - ago)


async def _signed_in(site: _Site, session: Session) -> str:
    """The `Cookie` of somebody with this session."""
    await site.parts.sessions.begin(session)
    lines = site.parts.sessions.set_cookies(session, site.parts.cookies.jar(b""))
    return "; ".join(line.partition(";")[0] for line in lines)
