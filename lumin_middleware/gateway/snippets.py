"""Settings for proxies that ask `verify`: text for nginx, Caddy and Traefik, made from a site's own settings.

Each lets our routes through, asks before everything else, hands a renewed cookie to the browser, and lets nobody
forge who they are. Paths that are `public`, or need a scope, are the proxy's to tell apart, since it must not take
the client's word for them; so spellings that it and the service could understand differently are refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from string import Template
from typing import NamedTuple
from urllib.parse import quote_plus, urlsplit

from ..config import LuminConfig
from ..errors import ConfigurationError
from ..sessions.cookies import Cookies
from . import snippet_texts as texts

PROGRAMS = ("nginx", "caddy", "traefik")


class Place(NamedTuple):
    """A part of the site, and what it asks for. `number` is one for each set of scopes, 0 for none."""

    pattern: str
    public: bool
    scope: tuple[str, ...]
    number: int

    @property
    def path(self) -> str:
        return self.pattern.removesuffix("*")

    @property
    def is_prefix(self) -> bool:
        return self.pattern.endswith("/*")


def snippet(program: str, config: LuminConfig, *, auth: str, upstream: str) -> str:
    """The settings of one program. `auth` is where `LuminMiddleware` answers, `upstream` what is protected.

    Raises `ConfigurationError` for a program that is not known, and for routes at the top of the site, which a proxy
    could not tell from the rest.
    """
    if program not in PROGRAMS:
        raise ConfigurationError("program", f"{program!r} is not known; use one of {', '.join(PROGRAMS)}")
    if not config.prefix:
        raise ConfigurationError("redirect_uri", "needs a path of two parts, such as /auth/callback")
    site = urlsplit(config.origin)
    names = Cookies(secure=config.secure)
    words = {
        "auth": auth.rstrip("/"),
        "upstream": upstream.rstrip("/"),
        "origin": config.origin,
        "host": site.hostname or "",
        "netloc": site.netloc,
        "scheme": site.scheme,
        "prefix": config.prefix,
        "cookie": names.session,
    }
    cookies = [names.session] if config.sessions == "store" else [names.session, *names.pieces]
    write = {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik}[program]
    return "".join(write(config, words, _places(config), cookies))


def _places(config: LuminConfig) -> list[Place]:
    """What is told apart, the rest of the site last. As with our own rules, public wins and scopes add up."""
    patterns = dict.fromkeys([*config.public, *config.required_scopes, "/*"])
    places: list[Place] = []
    numbers: dict[tuple[str, ...], int] = {(): 0}
    for pattern in patterns:
        public = any(_covers(each, pattern) for each in config.public)
        tokens = [
            token
            for each, scope in config.required_scopes.items()
            if not public and _covers(each, pattern)
            for token in scope.split()
        ]
        scope = tuple(dict.fromkeys(tokens))
        places.append(Place(pattern, public, scope, numbers.setdefault(scope, len(numbers))))
    return sorted(places, key=lambda place: (place.is_prefix, -len(place.pattern)))


def _covers(pattern: str, other: str) -> bool:
    return pattern == other or (pattern.endswith("/*") and other.startswith(pattern[:-1]))


class _Text(Template):
    """nginx has `$`, Caddy has braces: our own mark is `%{name}`."""

    delimiter = "%"


def _fill(text: str, words: dict[str, str], **more: str) -> str:
    return _Text(text).substitute(words, **more)


# --- nginx ----------------------------------------------------------------------------------------------


def _nginx(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(texts.NGINX, words)
    yield _fill(texts.NGINX_COOKIE, words) * (len(cookies) + 2)  # the session, the count of sign-ins, one in flight
    yield _fill(texts.NGINX_HEADERS, words)
    if len(places) > 1:
        yield _fill(texts.NGINX_GUARD, words)
    for number, scope in sorted({(place.number, place.scope) for place in places}):
        asked = f"scope={quote_plus(' '.join(scope), safe=':')}" if scope else ""
        query, more = (f"?{asked}", f"&{asked}") if asked else ("", "")
        yield _fill(texts.NGINX_ASK, words, number=_numbered(number), query=query, more=more)
    for place in places:
        match = place.path if place.path == "/" else f"{'^~' if place.is_prefix else '='} {place.path}"
        codes = "401 403" if place.scope else "401"
        text = texts.NGINX_PUBLIC if place.public else texts.NGINX_PROTECTED
        yield _fill(text, words, match=match, codes=codes, number=_numbered(place.number))


def _numbered(number: int) -> str:
    return str(number) if number else ""


# --- Caddy ----------------------------------------------------------------------------------------------


def _caddy(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(texts.CADDY, words)
    if len(places) > 1:
        yield _fill(texts.CADDY_GUARD, words)
    yield _fill(texts.CADDY_ROUTES, words)
    token = " X-Auth-Request-Access-Token" if config.verify_access_token else ""
    for index, place in enumerate(places):
        match, matcher = _caddy_match(place, index)
        more = f"&scope={quote_plus(' '.join(place.scope), safe=':')}" if place.scope else ""
        text = texts.CADDY_PUBLIC if place.public else texts.CADDY_PROTECTED
        yield _fill(text, words, match=match, matcher=matcher, more=more, token=token)
    yield "\t}\n}\n"


def _caddy_match(place: Place, index: int) -> tuple[str, str]:
    """The name of a matcher, and its definition; Caddy's `path` would not tell upper case from lower."""
    if place.path == "/":
        return "", ""
    expression = re.escape(place.path) + ("" if place.is_prefix else "$")
    return f" @place{index}", f"\n\t\t@place{index} path_regexp ^{expression}"


# --- Traefik --------------------------------------------------------------------------------------------


_IDENTITY = ("User", "Email", "Scope", "Access-Token", "Groups", "Preferred-Username")


def _traefik(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(texts.TRAEFIK, words)
    if any(place.public for place in places):
        yield _fill(texts.TRAEFIK_STRIP, words, forged="\n".join(f'          {name}: ""' for name in _twins()))
    for number, scope in sorted({(place.number, place.scope) for place in places}):
        more = f"&scope={quote_plus(' '.join(scope), safe=':')}" if scope else ""
        listed = ", ".join(f'"{name}"' for name in cookies)
        yield _fill(texts.TRAEFIK_ASK, words, number=_numbered(number), more=more, cookies=listed)
    tls = "      tls: {}\n" if config.secure else ""
    yield _fill(texts.TRAEFIK_ROUTERS, words, tls=tls)
    for index, place in enumerate(places):
        match = f"Path{'Prefix' if place.is_prefix else ''}(`{place.path}`)"
        # Traefik takes a path apart once it is decoded; a public one must not be what only looks like it.
        match += " && !PathRegexp(`%|//|;|\\\\\\\\|(^|/)\\\\.\\\\.?(/|$)`)" if place.public else ""
        yield _fill(
            texts.TRAEFIK_ROUTER,
            words,
            index=str(index),
            match=match,
            priority=str(len(places) - index),
            middleware="lumin-strip" if place.public else f"lumin-verify{_numbered(place.number)}",
            tls=tls,
        )


def _twins() -> Iterator[str]:
    """The identity headers with every mixture of dashes and underscores."""
    for name in _IDENTITY:
        words = ["X", "Auth", "Request", *name.split("-")]
        for marks in itertools.product("-_", repeat=len(words) - 1):
            yield "".join(itertools.chain.from_iterable(zip(words, [*marks, ""], strict=True)))
