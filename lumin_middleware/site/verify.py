"""Forward authentication: a proxy asks whether a request may pass, and is told who sends it.

`auth_request` of nginx, `forward_auth` of Caddy, `ForwardAuth` of Traefik and `ext_authz` of Envoy send what they have
of a request, without its body, to `verify`. They hold no rules: the request that they name is judged here as the edges
judge one that comes to them. What is named is believed from `trusted_proxies` only. Of any other request nothing is
known, so that the rule which protects most applies to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from ..config import LuminConfig
from ..errors import InsufficientScope, RequestRefused
from ..journal import once
from ..model import Request, Response, Session
from ..protocol import oauth
from ..protocol.claims import verified_email
from ..sessions.cookies import Jar
from ..sessions.opened import Opened
from . import holding, pages
from .access import Rule, own_path
from .holding import Asked, Holding, Outcome
from .parts import Parts
from .proxies import Proxies, address

USER = "X-Auth-Request-User"
EMAIL = "X-Auth-Request-Email"
SCOPE = "X-Auth-Request-Scope"
ACCESS_TOKEN = "X-Auth-Request-Access-Token"

HELD = "X-Accel-Expires"
"""For how many seconds nginx may hold the answer; it knows this header and passes it on to nobody."""

ALONE = (("Vary", "Cookie"), ("Expires", "-1"), ("CDN-Cache-Control", "private, no-store"))
"""What stands beside a cookie of ours, for the page that it goes out with: no cache may have it. nginx, whose settings
know no conditions, takes these words over from here."""

READ = (
    *("Accept", "Cookie", "HX-Current-URL", "HX-Request", "Host", "Origin", "Purpose", "Referer", "Sec-Fetch-Dest"),
    *("Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Purpose", "Sec-WebSocket-Version", "X-Moz", "X-Purpose"),
    "X-Requested-With",
)
"""The headers of a client that an answer may depend on, for proxies that name what they ask with."""

_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_AS_IT_IS = re.compile(r"[ -$&-~]*")


# --- what is asked --------------------------------------------------------------------------------------

NAMING = (b"x-forwarded-uri", b"x-original-url", b"x-original-uri", b"x-rewrite-url")
"""The headers in which a proxy may name the target of a request. Which of them it sets nobody knows, and the others it
passes on as they came; so all that are there must say the same."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about: a request, or one of which nothing is known but that somebody sends it."""

    request: Request
    known: bool = False
    """Whether a proxy that is believed has named it."""
    marked: bool = False
    """Whether it is named in a header, which settings for a proxy keep clients from setting: the proxy itself asks."""
    redirects: bool = False
    """Whether the answer is for a person, who may be sent to Lumin."""
    answers: bool = False
    """Whether the client gets this answer, whatever it is: the request is passed on no more."""
    scope: tuple[str, ...] = ()
    """What is needed beyond the rules."""
    yes: int = 204
    hold: Asked = holding.NOTHING
    """For how long the proxy would hold the answer."""


def question(request: Request, config: LuminConfig, proxies: Proxies) -> Question:
    """What a request to `verify` asks.

    A proxy names the method in `X-Forwarded-Method` or `X-Original-Method`, and the target in one of `NAMING`, or
    appends it to the path of `verify` (Envoy, for which 200 alone means yes, and whose query is the client's own). Of
    an unknown request is known only that it is not the question itself: it leads to `after_login`. Raises
    `RequestRefused` for a target that is none, or that is named in two ways.
    """
    said = oauth.parameters(request.query)
    scope = tuple((said.get("scope") or "").split())
    appended = _appended(request, f"{config.prefix}/verify")
    answers = "answer" in said and not appended
    named = [value.decode("latin-1").strip() for name, value in request.headers if name in NAMING]
    if not proxies.trusts(request.peer) or not (named or appended):
        unknown = _about(request, request.method, config.after_login)
        return Question(unknown, scope=() if appended else scope, answers=answers)
    targets = {_target(target, config.origin) for target in [*named, *([appended] if appended else [])]}
    if len(targets) > 1:
        raise RequestRefused("bad_path", "The request is named in two ways.", status=403)
    [target] = targets
    method = request.header(b"x-forwarded-method") or request.header(b"x-original-method") or request.method
    asked = _about(request, request.method if appended else method, target)
    if appended:
        return Question(asked, known=True, redirects=True, yes=200)
    hold, redirects = holding.asked(said.get("cache") or "", said.get("rules") or ""), answers or "redirect" in said
    return Question(asked, known=True, marked=True, redirects=redirects, answers=answers, scope=scope, hold=hold)


def _appended(request: Request, place: str) -> str:
    """The target that follows the path of `verify`, as it came; empty where none does."""
    if not request.raw_path.startswith(f"{place}/"):
        return ""
    path = request.raw_path[len(place) :]
    return f"{path}?{request.query}" if request.query else path


def _target(named: str, origin: str) -> str:
    """The target in origin form (RFC 9112, 3.2.1), also of a URL of this site by whichever scheme the proxy saw."""
    named = own_path(named, origin)
    if not named.startswith("/") or "#" in named:  # which no target has (RFC 9112, 3.2)
        raise RequestRefused("bad_path", "The request is named by no path of this site.", status=403)
    return named


def _about(request: Request, method: str, target: str) -> Request:
    raw_path, _, query = target.partition("?")
    return Request(
        method,
        unquote_to_bytes(raw_path.encode("latin-1", "replace")).decode("utf-8", "surrogateescape"),
        raw_path,
        query,
        request.headers,
        request.cookie,
        request.mount,
        request.root_path,
        # A handshake reaches us as an ordinary request, but with this header, which no page can leave out.
        any(name == b"sec-websocket-version" for name, _ in request.headers),
        request.peer,  # and no body: a proxy keeps that of the request, and may name its length all the same
    )


# --- what is answered -----------------------------------------------------------------------------------


def header_text(value: object) -> str:
    """A value for a header: visible ASCII as it is, the rest and `%` percent-encoded as UTF-8, None empty."""
    text = "" if value is None else str(value)
    return text if _AS_IT_IS.fullmatch(text) else quote(text, safe=_VISIBLE, errors="replace")


def identity_headers(claims: Mapping[str, Any], scope: Iterable[str]) -> list[tuple[str, str]]:
    """Who it is. What is unknown is empty, so that it takes the place of what a client has made up.

    So is an email address that the server does not vouch for.
    """
    return [
        (USER, header_text(claims.get("sub"))),
        (EMAIL, header_text(verified_email(claims))),
        (SCOPE, header_text(" ".join(scope))),
    ]


def require_subject(claims: Mapping[str, Any]) -> None:
    """Raises `RequestRefused` for somebody without a name: a service would take the empty one for anybody's."""
    if not claims.get("sub"):
        raise RequestRefused(
            "no_subject",
            "You are signed in, but Lumin did not say who you are, and the service behind this site needs to know. "
            "Please sign out, and in again with all permissions that are asked for.",
            status=403,
        )


class Visited(Protocol):
    """A request that may pass, and the session of whoever sends it, if there is one."""

    session: Session | None

    @property
    def until(self) -> float: ...

    @property
    def cookie(self) -> bytes: ...

    async def set_cookies(self) -> list[str]: ...


class Judge(Protocol):
    """What guards the edges: whether a request may pass by a rule, or else the answer to it."""

    async def __call__(
        self, request: Request, jar: Jar[Opened], rule: Rule, *, redirect: bool = True
    ) -> Visited | Response: ...


class Verify:
    """The route `verify`, for any method; it never reads a body.

    204 with who it is, and nobody where anybody may pass; 401; 403 where a scope is missing, or for a path that is a
    trick; 503 in trouble with the server or the store. With `?redirect` in the query of a proxy's question, 401 and 403
    become what a page would answer: a person is sent to Lumin. So they do with `?answer`, where "may pass" is 503: the
    client gets the answer. `?scope=` names what is needed beyond the rules. The proxy learns the `Cookie` for the
    service, without ours; with `?cache=` and `?rules=`, in `X-Accel-Expires`, how long it may hold it (`holding`).
    """

    def __init__(self, parts: Parts, judge: Judge) -> None:
        self._config = config = parts.config
        self._answers = parts.answers
        self._rules = parts.rules
        self._judge = judge
        self._proxies = Proxies(config.trusted_proxies)
        self._holding = Holding(config)
        self._clock = parts.world.clock
        self._below = f"{config.prefix}/verify/"
        self._every_scope = " ".join(config.required_scopes.values()).split()
        self._strictest = Rule(max_age=min(config.required_auth_age.values(), default=None))
        self._once = once(self._clock)

    def concerns(self, request: Request) -> bool:
        """Whether this is a question to which the target is appended; of others it is a path like any."""
        return request.raw_path.startswith(self._below) and self._proxies.trusts(request.peer)

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        asked = question(request, self._config, self._proxies)
        rule = self._rule(asked)
        jar.takes_one = not asked.answers
        if asked.known:
            outcome = await self._judge(asked.request, jar, rule, redirect=asked.redirects)
        else:
            outcome = await self._about_unknown(request, asked, jar)
        if isinstance(outcome, Response):
            return outcome
        headers, cookies = self._identity(asked, outcome.session), await outcome.set_cookies()
        if asked.answers:
            return self._answers.asked_again(asked.request, cookies)
        if asked.marked:
            headers.append(("Cookie", outcome.cookie.decode("latin-1")))
        if asked.hold.seconds and (seconds := self._held(asked, jar, rule, outcome, given=bool(cookies))):
            headers.append((HELD, str(seconds)))
        if cookies:
            headers += [*ALONE, *pages.set_cookies(cookies)]
        return pages.empty(asked.yes, headers)

    def _held(self, asked: Question, jar: Jar[Opened], rule: Rule, outcome: Visited, *, given: bool) -> int:
        if not self._holding.knows(asked.hold):
            self._once.say("proxy_of_other_rules")
        found, marked = Outcome(rule, outcome.session, outcome.until, given), jar.rest != jar.header
        return self._holding.seconds(asked.hold, asked.request, found, has_marked=marked, now=self._clock())

    def _rule(self, asked: Question) -> Rule:
        """The rule for the request that is asked about; of one that is not known, the one that protects most."""
        if not asked.known:
            return self._strictest
        try:
            rule = self._rules.rule(asked.request)
        except RequestRefused as error:  # a proxy knows 401 and 403 alone
            raise RequestRefused(error.reason, str(error), status=403) from None
        return Rule(scope=(*rule.scope, *asked.scope), max_age=rule.max_age) if asked.scope else rule

    async def _about_unknown(self, request: Request, asked: Question, jar: Jar[Opened]) -> Visited | Response:
        """Somebody's own session only: with every scope that any path needs, for it may be a proxy that asks."""
        if any(name in NAMING for name, _ in request.headers):
            self._once.say("proxy_not_trusted", peer=str(address(request.peer) or request.peer))
        outcome = await self._judge(asked.request, jar, self._strictest, redirect=False)
        if isinstance(outcome, Response) or outcome.session is None:
            return outcome
        held = outcome.session.tokens.scope
        if missing := [token for token in (*self._every_scope, *asked.scope) if token not in held]:
            error = InsufficientScope(" ".join(dict.fromkeys(missing)))
            return self._answers.insufficient_scope(asked.request, error, self._answers.login_url(asked.request))
        return outcome

    def _identity(self, asked: Question, session: Session | None) -> list[tuple[str, str]]:
        if session is None:
            return identity_headers({}, ())
        require_subject(session.claims)
        headers = identity_headers(session.claims, session.tokens.scope)
        if self._config.verify_access_token and asked.marked:
            headers.append((ACCESS_TOKEN, session.tokens.access_token))
        return headers
