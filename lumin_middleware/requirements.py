"""What the settings must be: each for itself, by the check of its kind, and together.

`config` holds them. Here is what is refused, in words that name the setting and the cure, and what a setting is read
as: lists as tuples, a colour as browsers compute it, keys for this site alone.
"""

from __future__ import annotations

import hmac
import inspect
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import unquote

from . import checks, secret_keys, texts
from .authorization_server import AuthorizationServer
from .errors import ConfigurationError

ROUTES = (
    "login",
    "logout",
    "connect",
    "disconnect",
    "connections",
    "session",
    "sessions",
    "verify",
    "form",
    "backchannel-logout",
    "api",
    "popup",
    "lumin.js",
    "lumin.d.ts",
)
"""The last part of our routes beside the callback."""

_YEAR = 31_536_000.0

ANSWERED = ("code", "state", "scope", "iss", "session_state", "error", "error_description", "error_uri", "error_hint")
"""What a server adds to the redirect URI (RFC 6749, 4.1.2; RFC 9207, 2; OpenID Connect Session Management 1.0, 2)."""

SECONDS = {
    "required_auth_age": (60.0, 86_400.0),
    "idle_timeout": (60.0, _YEAR),
    "absolute_timeout": (60.0, _YEAR),
    "grant_lifetime": (60.0, 10 * _YEAR),
    "renew_before": (0.0, 86_400.0),
    "timeout": (0.1, 120.0),
    "api_timeout": (0.1, 3600.0),
}
"""The least and the most of each time."""

IDLE_TIMEOUT = 86_400
"""The default of `idle_timeout`. It alone may be longer than `absolute_timeout`, which then ends a session sooner."""

LINE_LIMIT = 80
"""Characters of a name at the head of a page: two lines of a phone."""

PICTURE_LIMIT = 32_768
"""Characters of a picture that is in each page: what one packs into a URL, and less than a page may weigh."""

Check = Callable[[str, object], object]
"""Is given a setting's name and value. Returns what it is read as, or None where it stays as it is."""


def met(config: Any) -> dict[str, object]:
    """What the settings of a `LuminConfig` are read as, by their names; the others stay as they are.

    Raises `ConfigurationError` that names all that are wrong: each by itself, or else those that do not fit together.
    """
    found = require({name: getattr(config, name) for name in _EACH})
    if wrong := [(name, problem) for name, fits, problem in _TOGETHER if not fits(config)]:
        raise ConfigurationError.of(wrong)
    keys = cast("tuple[bytes, ...]", found.pop("secret_key"))
    found["_keys"] = tuple(hmac.digest(key, config.fingerprint.encode(), "sha256") for key in keys)
    return found


def require(settings: Mapping[str, object]) -> dict[str, object]:
    """What settings are read as, each looked at by itself. Raises `ConfigurationError` that names all wrong ones."""
    found: dict[str, object] = {}
    wrong: list[tuple[str, str]] = []
    for name, check in _EACH.items():
        if name not in settings or (settings[name] is None and name in _MAY_BE_NONE):
            continue
        try:
            if isinstance(settings[name], str) and name not in _OWN_WORDS:
                checks.seen(name, str(settings[name]))
            found[name] = check(name, settings[name])
        except ConfigurationError as error:
            wrong += error.problems
    if wrong:
        raise ConfigurationError.of(wrong)
    return {name: value for name, value in found.items() if value is not None}


# --- each by itself -------------------------------------------------------------------------------------


def _credential(name: str, value: object) -> checks.Secret:
    checks.credential(name, value)
    return checks.Secret(value)


def _redirect_uri(name: str, value: object) -> None:
    parts = checks.url(name, value, query=True)
    if not parts.path.strip("/"):
        raise ConfigurationError(name, f"{value!r} needs a path of its own, such as /auth/callback")
    checks.pattern(name, parts.path)
    if (last := parts.path.rstrip("/").rpartition("/")[2]) in (*ROUTES, "*"):
        what = "stands for many addresses" if last == "*" else "is a route of ours"
        raise ConfigurationError(name, f"ends in {last!r}, which {what}; use another name")
    checks.query(name, parts.query, ANSWERED)  # a callback that says something twice is refused


def _scope(name: str, value: object) -> None:
    if "openid" not in checks.plain_scope(name, value):
        raise ConfigurationError(name, f"{value!r} must name 'openid', or no identity can be verified")


def _server(name: str, value: object) -> None:
    if not isinstance(value, AuthorizationServer):
        raise ConfigurationError(name, "must be an AuthorizationServer, such as LUMIN or AuthorizationServer.at(url)")


def _url(name: str, value: object) -> None:
    checks.url(name, value)


def _store(name: str, value: object) -> None:
    """What a URL means is looked at where the store is made, which takes the packages that it needs."""
    verbs = (getattr(value, verb, None) for verb in ("get", "swap"))
    if not isinstance(value, str) and (isinstance(value, type) or not all(map(callable, verbs))):
        what = "must be a URL such as 'redis://127.0.0.1', or an object with get and swap"
        raise ConfigurationError(name, f"{what}; it is {checks.kind(value)}")


def _url_with_query(name: str, value: object) -> None:
    checks.url(name, value, query=True)


# --- our pages ------------------------------------------------------------------------------------------


def _line(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > LINE_LIMIT:
        raise ConfigurationError(name, f"must be a text of at most {LINE_LIMIT} characters")


def _place(name: str, value: object) -> None:
    """A path of this site, or a URL."""
    if isinstance(value, str) and value.startswith("/"):
        checks.local_path(name, value)
    else:
        checks.url(name, value, query=True)


def _colour(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"#(?:[0-9A-Fa-f]{3}){1,2}", value):
        raise ConfigurationError(name, f"{value!r} must be a colour such as '#1d55d8'")
    digits = value[1:].lower()
    return f"#{digits}" if len(digits) == 6 else "#" + "".join(2 * digit for digit in digits)


def _picture(name: str, value: object) -> None:
    cure = "give a path of this site, an https URL, or a data:image/… URL"
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x5B\x5D-\x7E]+", value):
        raise ConfigurationError(name, f"is no URL; {cure}")
    if value.startswith("/"):
        checks.local_path(name, value)
    elif not value.startswith("data:"):
        if checks.url(name, value, query=True).scheme != "https":
            raise ConfigurationError(name, f"{value[:80]!r} cannot be shown; {cure}")
    elif not re.match(r"data:image/[a-z0-9.+-]+[;,]", value):
        raise ConfigurationError(name, f"is no picture; {cure}")
    elif len(value) > PICTURE_LIMIT:
        raise ConfigurationError(name, f"is longer than {PICTURE_LIMIT} characters; give a path or an https URL")


def _texts(name: str, value: Any) -> None:
    texts.table(value)


def _page_maker(name: str, value: object) -> None:
    checks.function(name, value)
    if inspect.iscoroutinefunction(value):
        raise ConfigurationError(name, "is an async function; a page is made at once, use a plain one")


# --- which check is whose -------------------------------------------------------------------------------


def _choice(*choices: str) -> Check:
    return lambda name, value: checks.one_of(name, value, choices)


def _seconds(name: str, value: object) -> None:
    checks.seconds(name, value, *SECONDS[name])


def _by_pattern(each: Check, what: str) -> Check:
    def check(name: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise ConfigurationError(name, f"must map patterns to {what}")
        for pattern, wanted in value.items():
            checks.pattern(name, pattern)
            each(name, wanted)

    return check


_EACH: dict[str, Check] = {
    "client_id": checks.credential,
    "client_secret": _credential,
    "redirect_uri": _redirect_uri,
    "secret_key": lambda _, value: secret_keys.secret_keys(value),
    "scope": _scope,
    "server": _server,
    "api_url": _url,
    "token_endpoint_auth_method": _choice("client_secret_post", "client_secret_basic"),
    "id_token": _choice("or_user_info", "required", "auto"),
    "id_token_signed_response_alg": _choice(*checks.ID_TOKEN_ALGORITHMS),
    "trusted_audiences": lambda name, value: checks.names(name, value, " of client IDs, such as ['another-client']"),
    "sessions": _choice("cookie", "store"),
    "store": _store,
    "public": checks.patterns,
    "optional": checks.patterns,
    "required_scopes": _by_pattern(checks.plain_scope, "scopes, such as {'/sign/*': 'sign:requests'}"),
    "required_auth_age": _by_pattern(_seconds, "seconds, such as {'/pay/*': 300}"),
    "idle_timeout": _seconds,
    "absolute_timeout": _seconds,
    "grant_lifetime": _seconds,
    "cookie_name": checks.cookie_name,
    "after_login": checks.local_path,
    "after_logout": checks.local_path,
    "claims": checks.names,
    "end_session": checks.boolean,
    "post_logout_redirect_uri": _url_with_query,
    "strict_logout": checks.boolean,
    "backchannel_logout": checks.boolean,
    "session_memory": checks.size,
    "trusted_proxies": checks.networks,
    "verify_access_token": checks.boolean,
    "api_proxy": checks.api_calls,
    "renew_before": _seconds,
    "timeout": _seconds,
    "api_timeout": _seconds,
    "admit": checks.admission,
    "on_event": checks.function,
    "app_name": _line,
    "app_url": _place,
    "accent": _colour,
    "logo": _picture,
    "texts": _texts,
    "pages": _page_maker,
}
"""The check of each setting."""

_OWN_WORDS = ("client_id", "client_secret", "secret_key")
"""Those whose check says by itself what is to be done about what nobody sees in them."""

_MAY_BE_NONE = {
    *("grant_lifetime", "cookie_name", "after_logout", "post_logout_redirect_uri", "admit", "on_event"),
    *("app_name", "app_url", "accent", "logo", "pages"),
}


def _leads_to_a_page(config: Any, path: str | None, *ours: str) -> bool:
    """Whether a path is none of our routes, but for `ours`: they are no pages, or lead on to where this leads."""
    if path is None:
        return True
    plain = posixpath.normpath(unquote(re.split("[?#]", path)[0]))
    routes = {config.callback_path.rstrip("/"), *(f"{config.prefix}/{name}" for name in ROUTES if name not in ours)}
    return plain not in routes and not plain.startswith(f"{config.prefix}/api/")


_TOGETHER: tuple[tuple[str, Callable[[Any], object], str], ...] = (
    (
        "idle_timeout",
        lambda its: its.idle_timeout in (IDLE_TIMEOUT, min(its.idle_timeout, its.absolute_timeout)),
        "must not be longer than absolute_timeout",
    ),
    (
        "after_login",
        lambda its: _leads_to_a_page(its, its.after_login),
        "is a route of ours, which is no page; name one of the site's",
    ),
    (
        "after_logout",
        lambda its: _leads_to_a_page(its, its.after_logout, "logout"),
        "is a route of ours, which is no page; leave it out for our own page, or name one of the site's",
    ),
    (
        "post_logout_redirect_uri",
        lambda its: its.end_session or its.post_logout_redirect_uri is None,
        "has an effect only with end_session=True",
    ),
    (
        "verify_access_token",
        lambda its: its.trusted_proxies or not its.verify_access_token,
        "has an effect only with trusted_proxies",
    ),
    ("app_url", lambda its: its.app_name or not its.app_url, "has an effect only with app_name"),
    ("logo", lambda its: its.app_name or not its.logo, "needs app_name, for whoever does not see it"),
)
"""What must hold once each setting is right: whose fault it is, whether it does, and what to say."""
