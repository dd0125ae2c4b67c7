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

from .config import LuminConfig
from .cookies import Cookies
from .errors import ConfigurationError

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


# A path that the proxy and the service behind it could understand differently.
_ODD = r"(?i)^[^?]*(?:%%(?:2f|5c|00|25)|//|;|\\)"


# --- nginx ----------------------------------------------------------------------------------------------

_NGINX = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by auth_request.
#
# Include this in the server block of %{host}. At %{auth} answers LuminMiddleware, with
# LUMIN_TRUSTED_PROXIES naming the address that nginx connects from, and --no-proxy-headers under uvicorn. With
# LUMIN_SESSIONS=store the cookie is one short header; nginx hands on no second one. nginx knows 401 and 403 from
# verify; other trouble (503) it answers with 500.

absolute_redirect off;  # nothing is made from what a request says that this host is called
underscores_in_headers off;  # or X_Auth_Request_User would be taken for X-Auth-Request-User

set $lumin_connection "";
if ($http_upgrade) { set $lumin_connection upgrade; }

# Everything here that sets no headers of its own passes these on, and without our cookies.
set $lumin_cookies $http_cookie;
"""

_NGINX_COOKIE = r"""if ($lumin_cookies ~ "^(.*?)(?<![^; ])%{cookie}(?:-[0-9a-z-]+)?=[^;]*(?:;\s*|$)(.*)$") {
    set $lumin_cookies $1$2;
}
"""

_NGINX_HEADERS = r"""proxy_http_version 1.1;
proxy_buffer_size 16k;
proxy_buffers 8 16k;
proxy_busy_buffers_size 32k;
proxy_set_header Host %{netloc};
proxy_set_header Cookie $lumin_cookies;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $lumin_connection;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Host %{netloc};
proxy_set_header X-Forwarded-Proto %{scheme};
proxy_set_header Forwarded "";
proxy_set_header X-Original-URL "";
proxy_set_header X-Auth-Request-User $lumin_user;
proxy_set_header X-Auth-Request-Email $lumin_email;
proxy_set_header X-Auth-Request-Scope $lumin_scope;
proxy_set_header X-Auth-Request-Access-Token $lumin_access_token;
proxy_set_header X-Auth-Request-Groups "";
proxy_set_header X-Auth-Request-Preferred-Username "";

location %{prefix}/ {
    proxy_pass %{auth};
    proxy_set_header Host %{netloc};
}
"""

_NGINX_GUARD = f"""
# Spellings that nginx and the service could understand differently.
if ($request_uri ~ "{_ODD}") {{ return 400; }}
""".replace("\\", "\\\\")

_NGINX_ASK = r"""
location = %{prefix}/verify%{number} {
    internal;
    proxy_pass %{auth}%{prefix}/verify%{query};
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Host %{netloc};
    proxy_set_header X-Forwarded-Method $request_method;
    proxy_set_header X-Forwarded-Uri $request_uri;
}

location @lumin_login%{number} {
    rewrite ^ %{prefix}/verify?redirect%{more}? break;
    proxy_pass %{auth};
    proxy_method GET;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Host %{netloc};
    proxy_set_header X-Forwarded-Method $request_method;
    proxy_set_header X-Forwarded-Uri $request_uri;
}
"""

_NGINX_PROTECTED = r"""
location %{match} {
    auth_request %{prefix}/verify%{number};
    error_page %{codes} = @lumin_login%{number};
    auth_request_set $lumin_user $upstream_http_x_auth_request_user;
    auth_request_set $lumin_email $upstream_http_x_auth_request_email;
    auth_request_set $lumin_scope $upstream_http_x_auth_request_scope;
    auth_request_set $lumin_access_token $upstream_http_x_auth_request_access_token;
    auth_request_set $lumin_set_cookie $upstream_http_set_cookie;
    add_header Set-Cookie $lumin_set_cookie always;
    proxy_pass %{upstream};
}
"""

_NGINX_PUBLIC = r"""
location %{match} {
    proxy_pass %{upstream};
}
"""


def _nginx(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(_NGINX, words)
    yield _fill(_NGINX_COOKIE, words) * (len(cookies) + 2)  # the session, the count of sign-ins, one in flight
    yield _fill(_NGINX_HEADERS, words)
    if len(places) > 1:
        yield _fill(_NGINX_GUARD, words)
    for number, scope in sorted({(place.number, place.scope) for place in places}):
        asked = f"scope={quote_plus(' '.join(scope), safe=':')}" if scope else ""
        query, more = (f"?{asked}", f"&{asked}") if asked else ("", "")
        yield _fill(_NGINX_ASK, words, number=_numbered(number), query=query, more=more)
    for place in places:
        match = place.path if place.path == "/" else f"{'^~' if place.is_prefix else '='} {place.path}"
        codes = "401 403" if place.scope else "401"
        text = _NGINX_PUBLIC if place.public else _NGINX_PROTECTED
        yield _fill(text, words, match=match, codes=codes, number=_numbered(place.number))


def _numbered(number: int) -> str:
    return str(number) if number else ""


# --- Caddy ----------------------------------------------------------------------------------------------

_CADDY = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by forward_auth.
#
# At %{auth} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the address that Caddy connects from,
# and --no-proxy-headers under uvicorn. With LUMIN_SESSIONS=store the cookie is one short header; Caddy hands on no
# second one.

%{origin} {
	route {
		# Who it is only verify may say, and a service may not tell underscores from dashes.
		request_header -X-Auth-Request-*
		request_header -X-Auth-Request_*
		request_header -X-Auth_*
		request_header -X_*
		request_header -X-Forwarded-*
		request_header -Forwarded
		request_header -X-Original-URL
		request_header -X-Lumin-Set-Cookie
"""

_CADDY_GUARD = f"""
		# Spellings that Caddy and the service could understand differently.
		@odd vars_regexp odd {{uri}} `{_ODD}`
		respond @odd 400
"""

_CADDY_ROUTES = r"""
		handle %{prefix}/verify {
			respond 404
		}
		handle %{prefix}/* {
			reverse_proxy %{auth}
		}
"""

_CADDY_PROTECTED = r"""%{matcher}
		handle%{match} {
			route {
				forward_auth %{auth} {
					uri %{prefix}/verify?redirect%{more}
					header_up -Connection
					header_up -Upgrade
					copy_headers X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Scope%{token} {
						Set-Cookie>X-Lumin-Set-Cookie
					}
				}
				@renewed header X-Lumin-Set-Cookie *
				header @renewed +Set-Cookie {header.X-Lumin-Set-Cookie}
				request_header -X-Lumin-Set-Cookie
				reverse_proxy %{upstream} {
					header_up Cookie "(^|;\s*)%{cookie}(-[0-9a-z-]+)?=[^;]*" ""
				}
			}
		}
"""

_CADDY_PUBLIC = r"""%{matcher}
		handle%{match} {
			reverse_proxy %{upstream} {
				header_up Cookie "(^|;\s*)%{cookie}(-[0-9a-z-]+)?=[^;]*" ""
			}
		}
"""


def _caddy(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(_CADDY, words)
    if len(places) > 1:
        yield _fill(_CADDY_GUARD, words)
    yield _fill(_CADDY_ROUTES, words)
    token = " X-Auth-Request-Access-Token" if config.verify_access_token else ""
    for index, place in enumerate(places):
        match, matcher = _caddy_match(place, index)
        more = f"&scope={quote_plus(' '.join(place.scope), safe=':')}" if place.scope else ""
        text = _CADDY_PUBLIC if place.public else _CADDY_PROTECTED
        yield _fill(text, words, match=match, matcher=matcher, more=more, token=token)
    yield "\t}\n}\n"


def _caddy_match(place: Place, index: int) -> tuple[str, str]:
    """The name of a matcher, and its definition; Caddy's `path` would not tell upper case from lower."""
    if place.path == "/":
        return "", ""
    expression = re.escape(place.path) + ("" if place.is_prefix else "$")
    return f" @place{index}", f"\n\t\t@place{index} path_regexp ^{expression}"


# --- Traefik --------------------------------------------------------------------------------------------

_TRAEFIK = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by ForwardAuth.
#
# A file of dynamic configuration. At %{auth} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the
# address that Traefik connects from, and --no-proxy-headers under uvicorn. Traefik cannot take a cookie out of a
# request: the service sees ours.

http:
  services:
    lumin-auth:
      loadBalancer: {servers: [{url: "%{auth}"}]}
    lumin-upstream:
      loadBalancer: {servers: [{url: "%{upstream}"}]}

  middlewares:
"""

_TRAEFIK_STRIP = r"""    # Who it is only verify may say, and a service may not tell underscores from dashes.
    lumin-strip:
      headers:
        customRequestHeaders:
%{forged}
"""

_TRAEFIK_ASK = r"""    lumin-verify%{number}:
      forwardAuth:
        address: "%{auth}%{prefix}/verify?redirect%{more}"
        trustForwardHeader: false
        authResponseHeadersRegex: "(?i)^x[-_]auth[-_]request[-_]"
        addAuthCookiesToResponse: [%{cookies}]
"""

_TRAEFIK_ROUTERS = r"""
  routers:
    lumin-routes:
      rule: "Host(`%{host}`) && PathPrefix(`%{prefix}/`) && !Path(`%{prefix}/verify`)"
      priority: 1000000
      service: lumin-auth
%{tls}"""

_TRAEFIK_ROUTER = r"""    lumin-%{index}:
      rule: "Host(`%{host}`) && %{match}"
      priority: %{priority}
      middlewares: [%{middleware}]
      service: lumin-upstream
%{tls}"""

_IDENTITY = ("User", "Email", "Scope", "Access-Token", "Groups", "Preferred-Username")


def _traefik(config: LuminConfig, words: dict[str, str], places: list[Place], cookies: list[str]) -> Iterator[str]:
    yield _fill(_TRAEFIK, words)
    if any(place.public for place in places):
        yield _fill(_TRAEFIK_STRIP, words, forged="\n".join(f'          {name}: ""' for name in _twins()))
    for number, scope in sorted({(place.number, place.scope) for place in places}):
        more = f"&scope={quote_plus(' '.join(scope), safe=':')}" if scope else ""
        listed = ", ".join(f'"{name}"' for name in cookies)
        yield _fill(_TRAEFIK_ASK, words, number=_numbered(number), more=more, cookies=listed)
    tls = "      tls: {}\n" if config.secure else ""
    yield _fill(_TRAEFIK_ROUTERS, words, tls=tls)
    for index, place in enumerate(places):
        match = f"Path{'Prefix' if place.is_prefix else ''}(`{place.path}`)"
        # Traefik takes a path apart once it is decoded; a public one must not be what only looks like it.
        match += " && !PathRegexp(`%|//|;|\\\\\\\\|(^|/)\\\\.\\\\.?(/|$)`)" if place.public else ""
        yield _fill(
            _TRAEFIK_ROUTER,
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
