"""Settings for proxies that ask `verify`: text for nginx, Caddy and Traefik, made from a site's own settings.

Each lets our routes through, asks about everything else, naming the bytes that it passes on, hands a renewed cookie to
the browser, and lets nobody forge who they are or move a path behind the judge's back. They hold no rules, so that
they cannot disagree with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import Template
from urllib.parse import urlsplit

from ..config import LuminConfig
from ..errors import ConfigurationError
from ..sessions.cookies import Cookies
from ..site.verify import READ
from . import snippet_texts as texts
from .forwarding import ODD_NAME, PATH_MOVING

PROGRAMS = ("nginx", "caddy", "traefik")

NAMED = ("X-Forwarded-Uri", "X-Forwarded-Method", "X-Original-URL", "X-Original-URI", "X-Rewrite-URL")
"""What names a request to `verify`."""

# nginx knows no patterns, so that it gets by name what is known to be used. Names with an underscore it drops itself.
_FORGED = (
    *("Forwarded", "X-Forwarded", "X-Forwarded-Prefix", *NAMED, "X-Original-Method", "X-Original-Path", "X-Real-IP"),
    *("Script-Name", "X-Script-Name", "Daphne-Root-Path", "X-Envoy-Original-Path"),
    *("X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username"),
)

_ODD = "!#$%&'*+._`|~^"
"""What may stand in the name of a header beside letters, digits and dashes (RFC 9110, 5.6.2)."""


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
    words = {
        "auth": auth.rstrip("/"),
        "upstream": upstream.rstrip("/"),
        "origin": config.origin,
        "host": site.hostname or "",
        "netloc": site.netloc,
        "scheme": site.scheme,
        "prefix": config.prefix,
    }
    return {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik}[program](config, words)


class _Text(Template):
    """nginx has `$`, Caddy has braces: our own mark is `%{name}`."""

    delimiter = "%"


def _fill(text: str, words: dict[str, str], **more: str) -> str:
    return _Text(text).substitute(words, **more)


def _nginx(_config: LuminConfig, words: dict[str, str]) -> str:
    unnamed = _emptied((name for name in NAMED if not name.startswith("X-Forwarded")), "    ")
    question = _fill(texts.NGINX_QUESTION, words, unnamed=unnamed)
    return _fill(texts.NGINX, words, dropped=_emptied(_FORGED), unnamed=_emptied(NAMED, "    "), question=question)


def _emptied(names: Iterable[str], indent: str = "") -> str:
    each = [f'proxy_set_header {name} "";' for name in names]
    return "\n".join(indent + " ".join(each[index : index + 3]) for index in range(0, len(each), 3))


def _caddy(config: LuminConfig, words: dict[str, str]) -> str:
    moving = [name.replace("(x-)?", "*").replace(".*", "*") for name in PATH_MOVING]
    dropped = ["x-auth-request-*", "x-forwarded*", "forwarded", "x-real-ip", *moving, *(f"*{mark}*" for mark in _ODD)]
    token = " X-Auth-Request-Access-Token" if config.verify_access_token else ""
    return _fill(
        texts.CADDY, words, dropped="\n".join(f'\t\trequest_header "-{name}"' for name in dropped), token=token
    )


def _traefik(config: LuminConfig, words: dict[str, str]) -> str:
    names = Cookies(config)
    cookies = [names.session] if config.sessions == "store" else [names.session, *names.pieces]
    dropped = ("x-auth-request-.*", "x-forwarded(-prefix|-uri|-method)?", "forwarded", *PATH_MOVING, ODD_NAME)
    return _fill(
        texts.TRAEFIK,
        words,
        unnamed=", ".join(f'{name}: ""' for name in NAMED),
        dropped=f"(?i)^({'|'.join(dropped)})$",
        read=", ".join(READ),
        cookies=", ".join(f'"{name}"' for name in cookies),
        tls="      tls: {}\n" if config.secure else "",
    )
