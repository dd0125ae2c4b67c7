"""The settings: frozen values that are right, or do not exist.

Every check runs at construction and names the field, what is wrong, and what would be right. One URL
rules: `redirect_uri`, exactly as registered, gives the public origin, the prefix of our routes and the
kind of cookies. Nothing here, and nothing that reads it, looks at `Host` or `X-Forwarded-*`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigurationError
from .ports import AsyncStore, Store

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Signatures that only the server's private key can make; "none" and HMAC are not on the list, so no
# header can talk us into them (RFC 8725, 3.1).
ID_TOKEN_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749, 3.3


class Secret(str):
    """Text that does not show itself: its `repr` is safe in a log, a traceback, an error report."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


# --- the checks, each for one kind of value -------------------------------------------------------------


def _url(name: str, value: object, *, query: bool = False) -> SplitResult:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(name, "is missing; give a URL such as https://app.example.com/…")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(name, f"is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigurationError(name, f"{value!r} is not an http(s) URL with a host")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigurationError(name, f"{value!r} must be https; http is for localhost, 127.0.0.1 and [::1] only")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(name, "must not hold a user name or password")
    if "#" in value or (parts.query and not query):
        raise ConfigurationError(name, f"{value!r} must not have a {'fragment' if '#' in value else 'query'}")
    if not re.fullmatch(r"[\x21-\x5B\x5D-\x7E]+", value):
        raise ConfigurationError(name, "holds a space, a backslash or a character that is not ASCII; percent-encode it")
    return parts


def _text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(name, "is missing; it is shown in your app's details at Lumin")


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(name, f"{value!r} is not known; use one of {', '.join(choices)}")


def _seconds(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(name, f"{value!r} must be a number of seconds between {low:g} and {high:g}")


def _scope(name: str, value: object) -> tuple[str, ...]:
    tokens = tuple(value.split(" ")) if isinstance(value, str) else ()
    if not tokens or not all(SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise ConfigurationError(
            name, f"{value!r} must be scopes separated by one space, such as 'openid sign:requests'"
        )
    return tokens


def _local_path(name: str, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"/(?![/\\])[\x21-\x5B\x5D-\x7E]*", value):
        raise ConfigurationError(name, f"{value!r} must be a path of this site, such as '/' or '/home'")


def _pattern(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ConfigurationError(name, f"{value!r} must begin with a slash, such as '/healthz' or '/static/*'")
    if "*" in value.removesuffix("/*"):
        raise ConfigurationError(name, f"{value!r}: a star stands only at the end, after a slash, as in '/static/*'")
    if re.search(r"[\x00-\x20\x7f\\?#%;]|//|/\.{1,2}(/|$)", value):
        raise ConfigurationError(name, f"{value!r} must be a plain path: no query, escapes, dots or double slashes")


def _patterns(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(name, f"{value!r} must be a list of patterns, such as ['/healthz', '/static/*']")
    patterns = tuple(value)
    for pattern in patterns:
        _pattern(name, pattern)
    return patterns


TELLTALE_WORDS = (
    "secret",
    "password",
    "passphrase",
    "changeme",
    "change-me",
    "change_me",
    "example",
    "your-",
    "your_",
    "replace",
)

# What makes a key weak: (test, what is wrong with it).
_WEAKNESSES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda key: len(key) < 32, "is shorter than 32 bytes"),
    (lambda key: len(set(key)) < 10, "has too few different characters"),
    (lambda key: (key + key).find(key, 1) < len(key), "repeats itself"),
    (
        lambda key: sum(abs(a - b) <= 1 for a, b in itertools.pairwise(key)) * 2 > len(key),
        "is a sequence",
    ),
    (lambda key: any(word in key.lower().decode("latin-1") for word in TELLTALE_WORDS), "is a placeholder"),
    (lambda key: key.isascii() and (b" " in key.strip() or b"\n" in key), "is words, not random"),
)


def _secret_keys(value: object) -> tuple[bytes, ...]:
    keys = value if isinstance(value, list | tuple) else [value]
    if not keys or keys == [None] or keys == [""]:
        raise ConfigurationError("secret_key", "is missing; make one with 'lumin-middleware secret'")
    checked = []
    for position, key in enumerate(keys):
        if not isinstance(key, str | bytes):
            raise ConfigurationError("secret_key", "must be text or bytes, or a list of them with the newest first")
        raw = key.encode() if isinstance(key, str) else bytes(key)
        for weak, wrong in _WEAKNESSES:
            if weak(raw):
                which = f"key {position + 1} of {len(keys)}" if len(keys) > 1 else "the key"
                raise ConfigurationError("secret_key", f"{which} {wrong}; make one with 'lumin-middleware secret'")
        checked.append(raw)
    return tuple(checked)


# --- the values -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AuthorizationServer:
    """An OAuth 2.0 authorization server, in the words of its metadata (RFC 8414, section 2).

    A field that is given always wins over discovery. With `discovery` the missing ones are read from
    `<issuer>/.well-known/openid-configuration`, lazily and only after its `issuer` was compared.
    """

    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    jwks_uri: str | None = None
    userinfo_endpoint: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False  # RFC 9207, section 3
    discovery: bool = False

    ENDPOINTS = (
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
    )

    def __post_init__(self) -> None:
        _url("server.issuer", self.issuer)
        for name in self.ENDPOINTS:
            if (endpoint := getattr(self, name)) is not None:
                _url(f"server.{name}", endpoint, query=True)
        if not self.discovery and not (self.authorization_endpoint and self.token_endpoint):
            raise ConfigurationError(
                "server",
                "needs authorization_endpoint and token_endpoint; or use AuthorizationServer.at(base) or .discover(issuer)",
            )

    @classmethod
    def at(cls, base: str) -> Self:
        """An Ory Hydra at `base`: `base` is the issuer, every endpoint at Hydra's path, no discovery."""
        _url("server", base)
        base = base.rstrip("/")
        return cls(
            issuer=base,
            authorization_endpoint=f"{base}/oauth2/auth",
            token_endpoint=f"{base}/oauth2/token",
            jwks_uri=f"{base}/.well-known/jwks.json",
            userinfo_endpoint=f"{base}/userinfo",
            revocation_endpoint=f"{base}/oauth2/revoke",
            end_session_endpoint=f"{base}/oauth2/sessions/logout",
        )

    @classmethod
    def discover(cls, issuer: str) -> Self:
        """The server that `issuer` describes (OpenID Connect Discovery 1.0, section 4); read when first needed."""
        return cls(issuer=issuer, discovery=True)


LUMIN = AuthorizationServer.at("https://auth.luminpdf.com")
"""Lumin's authorization server."""

CLAIMS = (
    "sub",
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "picture",
    "locale",
)


@dataclass(frozen=True, kw_only=True)
class LuminConfig:
    """Everything that the middleware is told. Raises `ConfigurationError` where something is wrong.

    `dataclasses.replace` makes a changed copy. Times are in seconds.
    """

    client_id: str
    """The client ID that Lumin shows in your app's details."""
    client_secret: str = field(repr=False)
    """The client secret beside it. It never leaves the server."""
    redirect_uri: str
    """The callback URL, exactly as registered with Lumin. It gives the public origin, the prefix of our
    routes (the callback's parent path) and the kind of cookies. https, except on loopback."""
    secret_key: str | bytes | Sequence[str | bytes] = field(repr=False)
    """Seals the cookies: at least 32 random bytes, or a list of such keys, newest first."""
    scope: str = "openid offline_access sign:requests"
    """The scopes to ask for, separated by spaces. `openid` is needed; `offline_access` gives a refresh token."""
    server: AuthorizationServer = LUMIN
    """The authorization server."""
    api_url: str = "https://api.luminpdf.com/v1"
    """The base of the API. The access token is sent to this origin and to no other."""
    token_endpoint_auth_method: Literal["client_secret_post", "client_secret_basic"] = "client_secret_post"
    """How the client proves itself at the token endpoint, as registered (RFC 6749, section 2.3.1)."""
    id_token: Literal["auto", "required"] = "auto"
    """`auto`: without an ID token the claims come from the API's `user/info`. `required`: sign-in fails."""
    id_token_signed_response_alg: str = "RS256"
    """The one algorithm that an ID token may be signed with."""
    sessions: Literal["cookie", "store"] = "cookie"
    """Where sessions live: sealed in the cookie, or in the store with a handle in the cookie."""
    store: str | Store | AsyncStore = "local"
    """A store object, or a URL: `memory://`, `sqlite:///path`, `redis://…`, `local`."""
    public: Sequence[str] = ()
    """Paths that nobody needs to sign in for: `/healthz`, `/static/*`."""
    optional: Sequence[str] = ()
    """Paths that get the session if there is one, and are served without."""
    required_scopes: Mapping[str, str] = field(default_factory=dict)
    """Scopes that paths need: `{"/sign/*": "sign:requests"}`."""
    idle_timeout: float = 86_400
    """A session that is not used for this long is over. Default: a day."""
    absolute_timeout: float = 604_800
    """No session lives longer than this. Default: a week."""
    after_login: str = "/"
    """Where a login leads that was not begun on a page."""
    after_logout: str = "/"
    """Where a logout leads. Use a public page, or the person is asked to sign in again at once."""
    claims: Sequence[str] = CLAIMS
    """The claims that a session keeps, most important first; together at most 2 KB."""
    end_session: bool = False
    """Whether a logout goes on to the server's end-session page (OpenID Connect RP-Initiated Logout 1.0)."""
    post_logout_redirect_uri: str | None = None
    """Where that page leads back to, exactly as registered. Sent only when given."""
    strict_logout: bool = False
    """Whether each request asks a remote store if its session was ended. A local store is always asked."""
    timeout: float = 10
    """The longest that an answer of the authorization server may take in all."""
    api_timeout: float = 30
    """The longest wait for the API to accept or send the next piece of data."""

    def __post_init__(self) -> None:
        _text("client_id", self.client_id)
        _text("client_secret", self.client_secret)
        self._check_redirect_uri()
        keys = _secret_keys(self.secret_key)
        if "openid" not in _scope("scope", self.scope):
            raise ConfigurationError("scope", f"{self.scope!r} must name 'openid', or no identity can be verified")
        if not isinstance(self.server, AuthorizationServer):
            raise ConfigurationError(
                "server", "must be an AuthorizationServer, such as LUMIN or AuthorizationServer.at(url)"
            )
        _url("api_url", self.api_url)
        _one_of(
            "token_endpoint_auth_method",
            self.token_endpoint_auth_method,
            ("client_secret_post", "client_secret_basic"),
        )
        _one_of("id_token", self.id_token, ("auto", "required"))
        _one_of("id_token_signed_response_alg", self.id_token_signed_response_alg, ID_TOKEN_ALGORITHMS)
        _one_of("sessions", self.sessions, ("cookie", "store"))
        self._check_rules()
        self._check_times()
        for name in ("after_login", "after_logout"):
            _local_path(name, getattr(self, name))
        if isinstance(self.claims, str) or not all(isinstance(claim, str) for claim in self.claims):
            raise ConfigurationError("claims", "must be a list of claim names, such as ['sub', 'email']")
        if self.post_logout_redirect_uri is not None:
            _url("post_logout_redirect_uri", self.post_logout_redirect_uri, query=True)
            if not self.end_session:
                raise ConfigurationError("post_logout_redirect_uri", "has an effect only with end_session=True")
        object.__setattr__(self, "client_secret", Secret(self.client_secret))
        object.__setattr__(self, "_keys", keys)

    def _check_redirect_uri(self) -> None:
        parts = _url("redirect_uri", self.redirect_uri, query=True)
        if not parts.path.strip("/") or parts.path.endswith("/"):
            raise ConfigurationError(
                "redirect_uri", f"{self.redirect_uri!r} needs a path of its own, such as /auth/callback"
            )
        _pattern("redirect_uri", parts.path)

    def _check_rules(self) -> None:
        for name in ("public", "optional"):
            object.__setattr__(self, name, _patterns(name, getattr(self, name)))
        if not isinstance(self.required_scopes, Mapping):
            raise ConfigurationError(
                "required_scopes", "must map patterns to scopes, such as {'/sign/*': 'sign:requests'}"
            )
        for pattern, scope in self.required_scopes.items():
            _pattern("required_scopes", pattern)
            _scope("required_scopes", scope)

    def _check_times(self) -> None:
        year = 31_536_000
        _seconds("idle_timeout", self.idle_timeout, 60, year)
        _seconds("absolute_timeout", self.absolute_timeout, 60, year)
        if self.idle_timeout > self.absolute_timeout:
            raise ConfigurationError("idle_timeout", "must not be longer than absolute_timeout")
        _seconds("timeout", self.timeout, 0.1, 120)
        _seconds("api_timeout", self.api_timeout, 0.1, 3600)

    # --- what follows from the redirect URI ---

    @cached_property
    def origin(self) -> str:
        """The site's origin as a browser writes it: no default port, lower case (RFC 6454, section 6.2)."""
        parts = urlsplit(self.redirect_uri)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        default = {"https": 443, "http": 80}[parts.scheme]
        return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")

    @cached_property
    def secure(self) -> bool:
        """Whether the site is on https, and so its cookies `Secure` and `__Host-`."""
        return self.redirect_uri.startswith("https:")

    @cached_property
    def callback_path(self) -> str:
        return urlsplit(self.redirect_uri).path

    @cached_property
    def prefix(self) -> str:
        """The parent path of the callback; our routes are below it. Empty at the top of the site."""
        return self.callback_path.rpartition("/")[0]

    @cached_property
    def fingerprint(self) -> str:
        """A name for what belongs to this site alone. Keys are left out: records outlive their rotation."""
        return hashlib.sha256(f"{self.client_id}\0{self.redirect_uri}".encode()).hexdigest()[:32]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The secret keys as bytes, newest first."""
        return self._keys  # type: ignore[attr-defined, no-any-return]

    # --- from the environment ---

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings that `LUMIN_…` variables give; a secret may stand in a file that `…_FILE` names.

        Lists are separated by commas. Raises `ConfigurationError` that names the variable.
        """
        values: dict[str, object] = {}
        for name, (setting, read) in ENVIRONMENT.items():
            text = _variable(environ, name)
            if text is not None:
                values[setting] = read(text)
        for setting in ("client_id", "client_secret", "redirect_uri", "secret_key"):
            if setting not in values:
                raise ConfigurationError(setting, f"the environment variable LUMIN_{setting.upper()} is not set")
        return cls(**values)  # type: ignore[arg-type]


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    value, file = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if value and file:
        raise ConfigurationError(name, f"is set, and so is {name}_FILE; keep one of them")
    if file is None:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}_FILE", f"cannot be read: {type(error).__name__}") from None


def _listed(text: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", text) if item]


ENVIRONMENT: dict[str, tuple[str, Callable[[str], object]]] = {
    "LUMIN_CLIENT_ID": ("client_id", str),
    "LUMIN_CLIENT_SECRET": ("client_secret", str),
    "LUMIN_REDIRECT_URI": ("redirect_uri", str),
    "LUMIN_SECRET_KEY": ("secret_key", _listed),
    "LUMIN_SCOPE": ("scope", str),
    "LUMIN_AUTH_URL": ("server", AuthorizationServer.at),
    "LUMIN_API_URL": ("api_url", str),
    "LUMIN_STORE": ("store", str),
    "LUMIN_SESSIONS": ("sessions", str),
    "LUMIN_PUBLIC": ("public", _listed),
    "LUMIN_OPTIONAL": ("optional", _listed),
}
"""Each environment variable, the setting that it gives, and how its text is read."""

SETTINGS = tuple(item.name for item in fields(LuminConfig))
