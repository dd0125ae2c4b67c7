"""Settings for proxies that ask `verify`: text for nginx, Caddy and Traefik, made from a site's own settings.

Each lets our routes through, asks about everything else, naming the bytes that it passes on, hands a renewed cookie to
the browser, and lets nobody forge who they are or move a path behind the judge's back. They hold no rules, so that
they cannot disagree with them.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from urllib.parse import SplitResult, urlsplit

from .. import checks
from ..config import LuminConfig
from ..errors import ConfigurationError
from ..sessions.cookies import Cookies
from ..sessions.lease import TTL, dead_after
from ..site.holding import HELD_LIMIT, digest
from ..site.verify import ACCESS_TOKEN, EMAIL, READ, SCOPE, USER
from . import nginx_cache
from . import snippet_texts as texts
from .forwarding import ODD_NAME, PATH_MOVING, begins

PROGRAMS = ("nginx", "caddy", "traefik")

NAMED = ("X-Forwarded-Uri", "X-Forwarded-Method", "X-Original-URL", "X-Original-URI", "X-Rewrite-URL")
"""What names a request to `verify`."""

# nginx knows no patterns, so that it gets by name what is known to be used. Names with an underscore it drops itself.
_FORGED = (
    *("X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Protocol"),
    *("Forwarded", "X-Forwarded", "X-Forwarded-Prefix", *NAMED, "X-Original-Method", "X-Original-Path", "X-Real-IP"),
    *("Script-Name", "X-Script-Name", "Daphne-Root-Path", "X-Envoy-Original-Path"),
    *("X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Redirect", "HTTP2-Settings"),
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"),
    *("X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert"),
)

_ODD = "!#$%&'*+._`|~^"
"""What may stand in the name of a header beside letters, digits and dashes (RFC 9110, 5.6.2)."""


_PLACE = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?/?")
"""Where something is asked. With a path a proxy would make another target of each, which is none that was judged."""

_UNQUOTABLE = re.compile(r'[\x00-\x1f\x7f"`\\${}]')
"""What means something to nginx or Caddy between quotation marks as well."""

_TRUSTED = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the certificates that they trust: Debian, Red Hat, SUSE, Alpine and the BSDs."""


@dataclass(frozen=True, slots=True)
class Cache:
    """That nginx holds answers of `verify`, and keeps its connections.

    For up to `seconds`, of which 0 holds nothing; in files of `folder`, which name sessions and so lie in memory. nginx
    makes it, for itself alone; where it is there already, nginx takes it as it is, and believes whoever made it. So in
    the folder above nobody may write but root, or whoever starts nginx.
    """

    seconds: int
    folder: str = "/run/nginx-lumin"  # what root alone writes in, and in memory, on any Linux


def snippet(program: str, config: LuminConfig, *, auth: str, upstream: str, cache: Cache | None = None) -> str:
    """The settings of one program. `auth` is where `LuminMiddleware` answers, `upstream` what is protected.

    Raises `ConfigurationError` for a program that is not known, for routes at the top of the site, which a proxy
    could not tell from the rest, for the site's own address, for one with a path, below which a proxy would ask for
    other targets than were judged, for https to an address without a name, which nginx cannot verify, and for a `cache`
    where nothing may be held, or by a program that cannot.
    """
    words = _words(program, config, auth, upstream, cache)
    if program == "nginx":
        return _nginx(config, words, cache)
    return {"caddy": _caddy, "traefik": _traefik}[program](config, words)


def nginx_http(config: LuminConfig, *, auth: str, upstream: str, cache: Cache) -> str:
    """What the settings of nginx with a `cache` need in its http block. Raises as `snippet` does."""
    words = _words("nginx", config, auth, upstream, cache)
    text = _fill(texts.NGINX_HTTP, words)
    if not cache.seconds:
        return text
    own = f"$lumin_{words['site']}"
    rest = (("none", "$http_cookie"), ("between", "$lumin_before$lumin_after"), ("last", "$lumin_before"))
    return text + _fill(
        texts.NGINX_HOLD,
        words,
        classes=nginx_cache.table("$request_uri", f"{own}_place", nginx_cache.classes(config), "odd"),
        cookies=nginx_cache.table("$http_cookie", f"{own}_kind", nginx_cache.cookies(config), "odd"),
        rest=nginx_cache.table(f"{own}_kind", f"{own}_rest", rest, "$lumin_cookies"),
        whose=nginx_cache.table(f"{own}_place", f"{own}_whose", [("public", "")], "$lumin_ours"),
        asks=nginx_cache.table(
            f'"{own}_kind $http_upgrade$http_sec_websocket_version {own}_place$http_cookie"',
            f"{own}_asks",
            [(nginx_cache.ASKS, "1")],
            "",
        ),
    )


def _words(program: str, config: LuminConfig, auth: str, upstream: str, cache: Cache | None) -> dict[str, str]:
    if program not in PROGRAMS:
        told = "; Envoy's are in docs/frontends.md" if program.lower() == "envoy" else ""
        raise ConfigurationError("program", f"{program!r} is not known; use one of {', '.join(PROGRAMS)}{told}")
    if not config.prefix:
        raise ConfigurationError("redirect_uri", "needs a path of two parts, such as /auth/callback")
    places = (("auth", auth), ("upstream", upstream))
    for field, url in places:
        if not _PLACE.fullmatch(url) or not _has_port(url):
            raise ConfigurationError(
                field, f"must be like http://127.0.0.1:3000; below a path {program} would ask for other targets"
            )
        checks.host(field, urlsplit(url).hostname or "")
        if url.rstrip("/").lower() == config.origin:
            raise ConfigurationError(
                field, f"{url} is the site's own address, at which {program} listens; give what is behind it"
            )
    if cache is not None:
        _check(program, config, cache)
    site = urlsplit(config.origin)
    letters = hashlib.sha256(config.fingerprint.encode()).hexdigest()[:6]
    words = {
        **dict.fromkeys(("auth", "application", "routes"), auth.rstrip("/")),
        **dict.fromkeys(("upstream", "service"), upstream.rstrip("/")),
        "service_host": re.escape(urlsplit(upstream).hostname or ""),
        "service_begins": begins(upstream),
        "origin": config.origin,
        "host": site.hostname or "",
        "netloc": site.netloc,
        "scheme": site.scheme,
        "prefix": config.prefix,
        "site": letters,
        "patience": str(_patience(config)),
    } | ({f"{field}_tls": _tls(field, url) for field, url in places} if program == "nginx" else {})
    return words if cache is None else words | _kept(config, letters, auth, upstream, cache)


def _patience(config: LuminConfig) -> int:
    """Seconds for which nginx waits for us, whatever it has for others: what it cuts off may have spent a code.

    A renewal waits until two others have had the lease, then asks for a token and saves it (`sessions.lease`), and a
    call of the API may follow. A callback asks four times: for the server's document, tokens, keys, and who it is.
    """
    renewal = 2 * dead_after(config.timeout) + config.timeout
    return math.ceil(max(renewal, 4 * config.timeout) + TTL + config.api_timeout)


def _kept(config: LuminConfig, letters: str, auth: str, upstream: str, cache: Cache) -> dict[str, str]:
    """Where each is asked by the name of connections that are kept; of a request of anybody's its method decides."""
    own, behind = urlsplit(auth), urlsplit(upstream)
    return {
        "auth_place": _place(own),
        "auth_name": f"lumin_{letters}_auth",
        "auth": f"{own.scheme}://lumin_{letters}_auth",
        "routes": f"$lumin_{letters}_routes",
        "upstream_place": _place(behind),
        "upstream_name": f"lumin_{letters}_service",
        "upstream_url": f"{behind.scheme}://lumin_{letters}_service",
        "upstream": f"$lumin_{letters}_service",
        "seconds": str(cache.seconds),
        "folder": quoted("cache", f"{cache.folder}-{letters}"),
        "rules": digest(config),
    }


def _place(url: SplitResult) -> str:
    """Host and port: where a port is not said, nginx takes that of http for any name of its own."""
    return url.netloc if url.port or url.scheme == "http" else f"{url.netloc.rstrip(':')}:443"


def quoted(field: str, path: str) -> str:
    """A path as nginx and Caddy read it. Raises `ConfigurationError` where they would read another."""
    if _UNQUOTABLE.search(path):
        raise ConfigurationError(field, f"{path!r} holds what the settings of nginx and Caddy cannot name")
    return f'"{path}"'


def _has_port(url: str) -> bool:
    """Whether a URL's port, if it names one, is one that there is."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _tls(field: str, url: str) -> str:
    """What nginx needs to know whom it speaks to: by itself it looks at no certificate."""
    where = urlsplit(url)
    if where.scheme != "https":
        return ""
    host = where.hostname or ""
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        raise ConfigurationError(field, f"nginx verifies names alone; call {host} by the one in its certificate")
    files = (ssl.get_default_verify_paths().cafile, *_TRUSTED)
    trusted = next((file for file in files if file and os.path.isfile(file)), None)
    if trusted is None:
        raise ConfigurationError(field, "https needs a file of certificates to trust; name it in SSL_CERT_FILE")
    return _fill(texts.NGINX_TLS, {"host": host, "trusted": quoted(field, trusted)})


def _check(program: str, config: LuminConfig, cache: Cache) -> None:
    if program != "nginx":
        raise ConfigurationError("cache", f"{program} holds no answers; nginx does")
    if cache.seconds and config.strict_logout:
        raise ConfigurationError("cache", "lets a sign-out be felt later, which strict_logout forbids")
    if cache.seconds and config.required_auth_age:
        raise ConfigurationError("cache", "holds nothing where required_auth_age decides by the minute")
    if cache.seconds not in (0, *range(2, HELD_LIMIT + 1)):  # of one second nginx holds nothing
        raise ConfigurationError("cache", f"must be 0, or from 2 to {HELD_LIMIT} seconds")


class _Text(Template):
    """nginx has `$`, Caddy has braces: our own mark is `%{name}`."""

    delimiter = "%"


def _fill(text: str, words: dict[str, str], **more: str) -> str:
    return _Text(text).substitute(words, **more)


def _nginx(config: LuminConfig, words: dict[str, str], cache: Cache | None) -> str:
    unnamed = _emptied((name for name in NAMED if not name.startswith("X-Forwarded")), "    ")
    hidden = _by_three((f"proxy_hide_header {name};" for name in (USER, EMAIL, SCOPE, ACCESS_TOKEN, "Cookie")), "    ")
    is_held = cache is not None and cache.seconds > 0
    kept = _fill(texts.NGINX_PATIENCE, words) + ("" if cache is None else texts.NGINX_KEPT) + words["auth_tls"]
    return _fill(
        texts.NGINX,
        words,
        dropped=_emptied(_FORGED),
        unnamed=_emptied(NAMED, "    "),
        question=_fill(texts.NGINX_QUESTION, words, unnamed=unnamed),
        hidden=hidden,
        needs=texts.NGINX_NEEDS if cache is not None else "",
        cookie=f"$lumin_{words['site']}_rest" if is_held else "$lumin_cookies",
        kept=kept,
        callback=quoted("redirect_uri", config.callback_path),
        asked=_fill(texts.NGINX_HELD if is_held else texts.NGINX_ASKED, words, kept=kept),
    )


def _emptied(names: Iterable[str], indent: str = "") -> str:
    return _by_three((f'proxy_set_header {name} "";' for name in names), indent)


def _by_three(each: Iterable[str], indent: str = "") -> str:
    lines = list(each)
    return "\n".join(indent + " ".join(lines[index : index + 3]) for index in range(0, len(lines), 3))


def _caddy(config: LuminConfig, words: dict[str, str]) -> str:
    moving = [name.replace("(x-)?", "*").replace(".*", "*") for name in PATH_MOVING]
    own = ("x-auth-request-*", "x-forwarded*", "forwarded", "x-real-ip", "http2-settings")
    dropped = [*own, *moving, *(f"*{mark}*" for mark in _ODD)]
    token = " X-Auth-Request-Access-Token" if config.verify_access_token else ""
    return _fill(
        texts.CADDY,
        words,
        dropped="\n".join(f'\t\trequest_header "-{name}"' for name in dropped),
        token=token,
        ours=Cookies(config).ours.pattern.decode(),
    )


def _other_than(word: str) -> str:
    """An expression of Go's for all but one word and nothing, in any case: it knows no way to say "not"."""
    other = (f"{word[:index]}[^{letter}].*" for index, letter in enumerate(word))
    shorter = (word[:index] for index in range(1, len(word)))
    return f"(?i)^({'|'.join([*other, *shorter, f'{word}.+'])})$"


def _traefik(config: LuminConfig, words: dict[str, str]) -> str:
    names = Cookies(config)
    cookies = [names.session] if config.sessions == "store" else [names.session, *names.pieces]
    own = ("x-auth-request-.*", "x-forwarded(-prefix|-uri|-method)?", "forwarded", "http2-settings")
    dropped = (*own, *PATH_MOVING, ODD_NAME)
    return _fill(
        texts.TRAEFIK,
        words,
        unnamed=", ".join(f'{name}: ""' for name in NAMED),
        dropped=f"(?i)^({'|'.join(dropped)})$",
        read=", ".join(READ),
        tunnel=_other_than("websocket"),
        cookies=", ".join(f'"{name}"' for name in cookies),
        tls="      tls: {}\n" if config.secure else "",
    )
