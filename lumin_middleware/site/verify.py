"""Forward authentication: a proxy asks whether a request may pass, and is told who sends it.

`auth_request` of nginx, `forward_auth` of Caddy and `ForwardAuth` of Traefik send what they have of a request, without
its body, to `verify`. The answer is a status, and for 204 who it is. What the proxy says of the original request is
believed only from `trusted_proxies`, and even then it decides no more than where a sign-in leads back to and
whether there is one: never who may pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Protocol
from urllib.parse import quote, unquote

from ..config import LuminConfig
from ..errors import InsufficientScope, LoginRequired, RequestRefused
from ..model import Request, Response, Session
from ..protocol import oauth
from ..sessions.cookies import Jar
from ..sessions.sessions import Opened
from . import pages
from .parts import Parts

USER = "X-Auth-Request-User"
EMAIL = "X-Auth-Request-Email"
SCOPE = "X-Auth-Request-Scope"
ACCESS_TOKEN = "X-Auth-Request-Access-Token"

_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


# --- whose word is taken --------------------------------------------------------------------------------


class Proxies:
    """The proxies whose word is taken, by their addresses.

    A peer at a Unix socket has no address, so that nothing it says is believed.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(map(ip_network, networks))

    def trusts(self, peer: str) -> bool:
        """Whether an address is one of theirs."""
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address that a request came from: the right-most one of `X-Forwarded-For` that no proxy of ours has.

        What stands further left, whoever is there has made up. What is no address ends the search.
        """
        hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
        while hops and self.trusts(peer) and _address(hops[-1]) is not None:
            peer = hops.pop()
        return peer


def _address(text: str) -> object:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both kinds shows an IPv4 peer as ::ffff:192.0.2.1 (RFC 4291, 2.5.5.2).
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


# --- what is asked --------------------------------------------------------------------------------------


def original(request: Request, config: LuminConfig, proxies: Proxies) -> Request:
    """The request that a proxy asks about, as far as it is believed.

    Its method stands in `X-Forwarded-Method`, its target in `X-Forwarded-Uri` or, as a URL of this site, in
    `X-Original-URL`. Of an unknown one is known only that it is not the question itself: it leads to `after_login`.
    """
    method, target = request.method, ""
    if proxies.trusts(request.peer):
        method = request.header(b"x-forwarded-method") or method
        target = _target(request, config.origin)
    raw_path, _, query = (target or config.after_login).partition("#")[0].partition("?")
    return replace(request, method=method, path=unquote(raw_path), raw_path=raw_path, query=query)


def _target(request: Request, origin: str) -> str:
    if any(name == b"x-forwarded-uri" for name, _ in request.headers):
        return request.header(b"x-forwarded-uri")
    return request.header(b"x-original-url").removeprefix(origin)


# --- what is answered -----------------------------------------------------------------------------------


def header_text(value: object) -> str:
    """A value for a header: visible ASCII as it is, the rest and `%` percent-encoded as UTF-8, None empty."""
    return quote(str(value), safe=_VISIBLE, errors="replace") if value is not None else ""


def identity_headers(claims: Mapping[str, Any], scope: Iterable[str]) -> list[tuple[str, str]]:
    """Who it is. What is unknown is empty, so that it takes the place of what a client has made up."""
    return [
        (USER, header_text(claims.get("sub"))),
        (EMAIL, header_text(claims.get("email"))),
        (SCOPE, header_text(" ".join(scope))),
    ]


class Visited(Protocol):
    """Somebody who is signed in."""

    async def fresh(self) -> Session: ...

    def set_cookies(self) -> list[str]: ...


class Challenge(Protocol):
    """The answer that asks for a sign-in or for scopes, fit for a request."""

    async def __call__(
        self, request: Request, jar: Jar[Opened], session: Session | None, *, scope: tuple[str, ...] = ()
    ) -> Response: ...


class Verify:
    """The route `verify`, for any method; it never reads a body.

    204 with who it is, 401, 403 where one of the scopes in `?scope=` is missing, 503 in trouble with the server or the
    store. With `?redirect` in the query, 401 and 403 become what a page would answer: a person is sent to Lumin.
    """

    def __init__(
        self,
        parts: Parts,
        visit: Callable[[Request, Jar[Opened]], Awaitable[tuple[Visited, Session]]],
        challenge: Challenge,
    ) -> None:
        self._config = config = parts.config
        self._answers = parts.answers
        self._visit = visit
        self._challenge = challenge
        self._proxies = Proxies(config.trusted_proxies)

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        # A handshake reaches us as an ordinary request, but with this header, which no page can leave out.
        handshake = any(name == b"sec-websocket-version" for name, _ in request.headers)
        if handshake and request.header(b"origin") != self._config.origin:
            raise RequestRefused("cross_origin", "The handshake's Origin is not this site.", status=403)
        asked = original(request, self._config, self._proxies)
        parameters = oauth.parameters(request.query)
        needed = tuple((parameters.get("scope") or "").split())
        redirects = "redirect" in parameters
        try:
            visit, _ = await self._visit(request, jar)
            session = await visit.fresh()
        except LoginRequired as error:
            if redirects:
                return await self._challenge(asked, jar, None, scope=needed)
            return self._answers.unauthorized(asked, error.reason)
        missing = " ".join(token for token in needed if token not in session.tokens.scope)
        if missing and redirects:
            return await self._challenge(asked, jar, session, scope=needed)
        if missing:
            return self._answers.insufficient_scope(asked, InsufficientScope(missing), self._answers.login_url(asked))
        headers = identity_headers(session.claims, session.tokens.scope)
        if self._config.verify_access_token and self._proxies.trusts(request.peer):
            headers.append((ACCESS_TOKEN, session.tokens.access_token))
        return pages.empty(204, [*headers, *pages.set_cookies(visit.set_cookies())])
