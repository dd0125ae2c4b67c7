"""What the settings must be: each for itself, by the checks of its kind, and together.

`config` holds them. Here is what is refused, in words that name the setting and the cure, and what a setting is read
as: lists as tuples, a colour as browsers compute it, keys for this site alone.
"""

from __future__ import annotations

import hmac
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from . import checks, texts
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

_CHOICES = {
    "token_endpoint_auth_method": ("client_secret_post", "client_secret_basic"),
    "id_token": ("or_user_info", "required", "auto"),
    "id_token_signed_response_alg": checks.ID_TOKEN_ALGORITHMS,
    "sessions": ("cookie", "store"),
}

_YES_OR_NO = ("end_session", "strict_logout", "backchannel_logout", "verify_access_token")

_YEAR = 31_536_000.0

_SECONDS = {
    "idle_timeout": (60.0, _YEAR),
    "absolute_timeout": (60.0, _YEAR),
    "grant_lifetime": (60.0, 10 * _YEAR),
    "renew_before": (0.0, 86_400.0),
    "timeout": (0.1, 120.0),
    "api_timeout": (0.1, 3600.0),
}
"""The least and the most of each time."""

LINE_LIMIT = 80
"""Characters of a name at the head of a page: two lines of a phone."""

PICTURE_LIMIT = 32_768
"""Characters of a picture that is in each page: what one packs into a URL, and less than a page may weigh."""

Read = Iterator[tuple[str, object]]
"""Settings, by their names, as what they are read."""


def met(config: Any) -> Read:
    """Looks at all settings of a `LuminConfig`. Raises `ConfigurationError` for the first that is wrong.

    What is read is to be put in its place at once: what follows may rest on it.
    """
    checks.credential("client_id", config.client_id)
    checks.credential("client_secret", config.client_secret)
    _redirect_uri(config.redirect_uri)
    keys = checks.secret_keys(config.secret_key)
    _server(config)
    for name, choices in _CHOICES.items():
        checks.one_of(name, getattr(config, name), choices)
    for name in _YES_OR_NO:
        checks.boolean(name, getattr(config, name))
    yield from _rules(config)
    _times(config)
    _store(config.store)
    checks.cookie_name("cookie_name", config.cookie_name)
    checks.size("session_memory", config.session_memory)
    yield "admit", checks.admission("admit", config.admit)
    checks.function("on_event", config.on_event)
    yield from _pages(config)
    yield from _ways_on(config)
    yield from _lists(config)
    yield "client_secret", checks.Secret(config.client_secret)
    yield "_keys", tuple(hmac.digest(key, config.fingerprint.encode(), "sha256") for key in keys)


def _redirect_uri(value: object) -> None:
    parts = checks.url("redirect_uri", value, query=True)
    if not parts.path.strip("/"):
        raise ConfigurationError("redirect_uri", f"{value!r} needs a path of its own, such as /auth/callback")
    checks.pattern("redirect_uri", parts.path)
    if (name := parts.path.rstrip("/").rpartition("/")[2]) in ROUTES:
        raise ConfigurationError("redirect_uri", f"ends in {name!r}, which is a route of ours; use another name")


def _server(config: Any) -> None:
    if "openid" not in checks.plain_scope("scope", config.scope):
        raise ConfigurationError("scope", f"{config.scope!r} must name 'openid', or no identity can be verified")
    if not isinstance(config.server, AuthorizationServer):
        raise ConfigurationError(
            "server", "must be an AuthorizationServer, such as LUMIN or AuthorizationServer.at(url)"
        )
    checks.url("api_url", config.api_url)


def _rules(config: Any) -> Read:
    for name in ("public", "optional"):
        yield name, checks.patterns(name, getattr(config, name))
    if not isinstance(config.required_scopes, Mapping):
        raise ConfigurationError("required_scopes", "must map patterns to scopes, such as {'/sign/*': 'sign:requests'}")
    for pattern, scope in config.required_scopes.items():
        checks.pattern("required_scopes", pattern)
        checks.plain_scope("required_scopes", scope)
    if not isinstance(config.required_auth_age, Mapping):
        raise ConfigurationError("required_auth_age", "must map patterns to seconds, such as {'/pay/*': 300}")
    for pattern, age in config.required_auth_age.items():
        checks.pattern("required_auth_age", pattern)
        checks.seconds("required_auth_age", age, 60, 86_400)


def _times(config: Any) -> None:
    for name, (least, most) in _SECONDS.items():
        if name != "grant_lifetime" or config.grant_lifetime is not None:
            checks.seconds(name, getattr(config, name), least, most)
    if config.idle_timeout > config.absolute_timeout:
        raise ConfigurationError("idle_timeout", "must not be longer than absolute_timeout")


def _store(value: object) -> None:
    """What a URL means is looked at where the store is made, which takes the packages that it needs."""
    verbs = (getattr(value, name, None) for name in ("get", "swap"))
    if not isinstance(value, str) and (isinstance(value, type) or not all(map(callable, verbs))):
        raise ConfigurationError(
            "store", f"must be a URL such as 'redis://127.0.0.1', or an object with get and swap; it is {_kind(value)}"
        )


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of the type {type(value).__name__}"


def _ways_on(config: Any) -> Read:
    if config.after_logout is None:
        yield "after_logout", f"{config.prefix}/logout"
    for name in ("after_login", "after_logout"):
        checks.local_path(name, getattr(config, name))
    if config.post_logout_redirect_uri is not None:
        checks.url("post_logout_redirect_uri", config.post_logout_redirect_uri, query=True)
        if not config.end_session:
            raise ConfigurationError("post_logout_redirect_uri", "has an effect only with end_session=True")


def _lists(config: Any) -> Read:
    for name in ("claims", "trusted_audiences"):
        yield name, checks.names(name, getattr(config, name))
    yield "api_proxy", checks.api_calls("api_proxy", config.api_proxy)
    yield "trusted_proxies", checks.networks("trusted_proxies", config.trusted_proxies)
    if config.verify_access_token and not config.trusted_proxies:
        raise ConfigurationError("verify_access_token", "has an effect only with trusted_proxies")


# --- our pages ------------------------------------------------------------------------------------------


def _pages(config: Any) -> Read:
    _line("app_name", config.app_name)
    _place("app_url", config.app_url)
    yield "accent", _colour("accent", config.accent)
    _picture("logo", config.logo)
    if config.logo and not config.app_name:
        raise ConfigurationError("logo", "needs app_name, for whoever does not see it")
    if config.app_url and not config.app_name:
        raise ConfigurationError("app_url", "has an effect only with app_name")
    texts.table(config.texts)
    checks.function("pages", config.pages)
    if inspect.iscoroutinefunction(config.pages):
        raise ConfigurationError("pages", "is an async function; a page is made at once, use a plain one")


def _line(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.strip() or len(value) > LINE_LIMIT:
        raise ConfigurationError(name, f"must be a text of at most {LINE_LIMIT} characters")
    if found := checks.stowaway(value):
        raise ConfigurationError(name, f"holds {found}")


def _place(name: str, value: object) -> None:
    """A path of this site, or a URL."""
    if isinstance(value, str) and value.startswith("/"):
        checks.local_path(name, value)
    elif value is not None:
        checks.url(name, value, query=True)


def _colour(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"#(?:[0-9A-Fa-f]{3}){1,2}", value):
        raise ConfigurationError(name, f"{value!r} must be a colour such as '#1d55d8'")
    digits = value[1:].lower()
    return f"#{digits}" if len(digits) == 6 else "#" + "".join(2 * digit for digit in digits)


def _picture(name: str, value: object) -> None:
    cure = "give a path of this site, an https URL, or a data:image/… URL"
    if value is None:
        return
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
