"""The settings: frozen values that are right, or do not exist.

One URL rules: `redirect_uri`, exactly as registered, gives the public origin, the prefix of our routes and
the kind of cookies. Nothing here, and nothing that reads it, looks at `Host` or `X-Forwarded-*`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from . import checks, environment, requirements
from .authorization_server import LUMIN as LUMIN
from .authorization_server import AuthorizationServer as AuthorizationServer
from .errors import ConfigurationError
from .events import Listener
from .field_texts import WithFields
from .look import Page
from .ports import AsyncStore, Store

Admit = Callable[[dict[str, Any]], Any]
"""What `admit` takes: claims to None, or to the claims to keep; it raises `Refused` for whoever stays out."""

CONNECT_TIMEOUT = 3.0
"""Seconds to connect to the authorization server or the API, TLS included: enough for three lost packets."""

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
    """The authorization server: `LUMIN`, another Hydra as `AuthorizationServer.at("https://auth.example.com")`, or
    `AuthorizationServer.discover(issuer)`. `LUMIN_AUTH_URL` is the base alone, without `/oauth2/auth`."""
    api_url: str = "https://api.luminpdf.com/v1"
    """The base of the API. The access token is sent to this origin and to no other."""
    token_endpoint_auth_method: Literal["client_secret_post", "client_secret_basic"] = "client_secret_post"
    """How the client proves itself at the token endpoint, as registered (RFC 6749, section 2.3.1)."""
    id_token: Literal["or_user_info", "required", "auto"] = "or_user_info"
    """Who says who somebody is. `or_user_info`: an ID token, or where the server gives none the API's `user/info`; a
    sign-in for which neither does fails with 403. `required`: an ID token, or the sign-in fails. `auto`: as
    `or_user_info`, but whom neither names is signed in without claims and without a `subject`."""
    id_token_signed_response_alg: str = "RS256"
    """The one algorithm that an ID token may be signed with."""
    trusted_audiences: Sequence[str] = ()
    """Who else an ID token may be for, besides `client_id` (OpenID Connect Core 1.0, 3.1.3.7)."""
    sessions: Literal["cookie", "store"] = "cookie"
    """Where sessions live: sealed in the cookie, or in the store with a handle in the cookie."""
    store: str | Store | AsyncStore = field(default="local", repr=False)  # a URL may hold a password
    """A store object, or a URL: `local`, `memory://`, `sqlite:///path`, `redis://…`, `redis+sentinel://…`,
    `redis+cluster://…`, `postgresql://…`, `dynamodb://…`, `django`."""
    public: Sequence[str] = ()
    """Paths that nobody needs to sign in for: `/healthz` is that path, `/static/*` all below `/static/`.

    `/static/` itself is named as `/static/`. A path that can be read in several ways is public only if all are.
    """
    optional: Sequence[str] = ()
    """Paths that get the session if there is one, and are served without."""
    required_scopes: Mapping[str, str] = field(default_factory=dict)
    """Scopes that paths need, whatever `public` and `optional` say: `{"/sign/*": "sign:requests"}`.

    Letters of either case, the last slash or none: `/sign/*` is also `/sign` and `/SIGN/x`. Of our own routes `api/…`,
    `connect`, `connections` and `disconnect` are asked for it, too.
    """
    required_auth_age: Mapping[str, float] = field(default_factory=dict)
    """How long ago, in seconds, people may have signed in at Lumin at most to pass: `{"/pay/*": 300}`. Paths as in
    `required_scopes`. The ID token's `auth_time` says when, or where it has none the sign-in here does.
    """
    idle_timeout: float = requirements.IDLE_TIMEOUT
    """A session that is not used for this long is over. Default: a day, or `absolute_timeout` where that is shorter."""
    absolute_timeout: float = 604_800
    """No session lives longer than this. Default: a week. A shorter one counts for everybody at once, a longer one for
    who signs in from then on."""
    grant_lifetime: float | None = None
    """No grant lives longer than this. Default: until it is revoked, here or at Lumin."""
    cookie_name: str | None = None
    """What our cookies are called, after `__Host-` on https. Default: `lumin-` and six letters that are this site's,
    since cookies know neither ports nor paths, and two sites on one host must not overwrite each other's. Nor may the
    application set one of this name, as Starlette's `SessionMiddleware` and Flask set `session`: everybody would be
    asked to sign in again and again. What we add to it is ours as well: `-0`, `-1`, `-tries`, `-past`, `-login-…` and
    `-form-…`. Any other that begins with it is the application's own."""
    after_login: str = "/"
    """Where a login leads that was not begun on a page."""
    after_logout: str | None = None
    """Where a logout leads. Default: our own page that says so. A page of yours must be public, or the person is signed
    in again at once."""
    claims: Sequence[str] = CLAIMS
    """The claims that a session keeps, most important first; together at most 2 KB."""
    end_session: bool = False
    """Whether a logout goes on to the server's end-session page (OpenID Connect RP-Initiated Logout 1.0)."""
    post_logout_redirect_uri: str | None = None
    """Where that page leads back to, exactly as registered. Sent only when given."""
    strict_logout: bool = False
    """Whether each request asks a remote store if its session was ended. A local store is always asked."""
    backchannel_logout: bool = False
    """Whether the server may end sessions at `backchannel-logout` (OpenID Connect Back-Channel Logout 1.0). It names
    them by what stood in their ID tokens, so a sign-in without an ID token fails then, as with `id_token="required"`.
    Who was signed in before this was switched on is found from the next renewal of their token on.
    """
    session_memory: int = 33_554_432
    """Bytes of opened sessions that a process remembers, so that they need not be opened again. Default: 32 MiB."""
    trusted_proxies: Sequence[str] = ()
    """Addresses or networks of the proxies that are believed when they ask `verify` about a request:
    `127.0.0.1`, `10.0.0.0/8`. What a peer at a Unix socket says is never believed: it has no address."""
    verify_access_token: bool = False
    """Whether `verify` gives the access token, to `trusted_proxies` only."""
    api_proxy: Sequence[str] = ()
    """The calls to the API that pages may make at `api/…`, as paths below `api_url`, with or without a method:
    `GET /user/info`, `/signature_request/*`. Default: none."""
    renew_before: float = 300
    """How long before an access token ends it is renewed, while others go on with it; at most a fifth of its life."""
    timeout: float = 10
    """The longest that an answer of the authorization server may take in all."""
    api_timeout: float = 30
    """The longest wait for the API to accept or send the next piece of data."""
    admit: Admit | Sequence[str] | None = None
    """Who may come in; default: whoever has an account at the server. E-mail addresses, `ann@example.org` or
    `*@example.com` for all of a domain, which count only where the server vouches for the address
    (`email_verified`, or an answer that knows no other kind, as Lumin's `user/info`). Or a function that is given the
    claims, and returns None, or the claims to keep, or raises `Refused("a sentence for the person")`."""
    on_event: Listener | None = field(default=None, repr=False)
    """A function, plain or `async`, that is told what happened (`lumin_middleware.events`). No request waits for it."""

    app_name: str | None = None
    """What this site is called, at the head of our pages and in their titles."""
    app_url: str | None = None
    """Where that name leads: a path of this site, or a URL."""
    accent: str | None = None
    """The colour of the main button of our pages, `#rrggbb`. What stands on it, and what of it can be read in light and
    in dark, follows from it."""
    logo: str | None = None
    """A picture before the name: a path of this site, which must be public, an https URL, or a `data:image/…` URL."""
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Languages and texts of your own for our pages: a language's tag to texts by their keys (`docs/pages.md`)."""
    pages: Callable[[Page], str | tuple[str, str]] | None = None
    """A function that is given a page of ours as data, and returns its HTML, or that and the fetch directives of its
    Content-Security-Policy, which else is `default-src 'self'`. Where it fails, our own page is sent."""

    def __post_init__(self) -> None:
        for name, value in requirements.met(self).items():
            object.__setattr__(self, name, value)

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
        return urlsplit(self.redirect_uri).scheme == "https"

    @cached_property
    def callback_path(self) -> str:
        return urlsplit(self.redirect_uri).path

    @cached_property
    def prefix(self) -> str:
        """The parent path of the callback; our routes are below it. Empty at the top of the site.

        That of `/auth/callback/` is `/auth`, too.
        """
        return self.callback_path.rstrip("/").rpartition("/")[0]

    @cached_property
    def fingerprint(self) -> str:
        """A name for what belongs to this site alone. Keys are left out: records outlive their rotation."""
        return hashlib.sha256(f"{self.client_id}\0{self.redirect_uri}".encode()).hexdigest()[:32]

    @cached_property
    def session_cookie(self) -> str:
        """The name of the session's cookie; those of our other cookies begin with it (RFC 6265bis, 4.1.3.2)."""
        letters = "".join(chr(ord("a") + byte % 26) for byte in hashlib.sha256(self.fingerprint.encode()).digest()[:6])
        return ("__Host-" if self.secure else "") + (self.cookie_name or f"lumin-{letters}")

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The secret keys, newest first, each for this site alone: what another sealed opens nothing here."""
        return self._keys  # type: ignore[attr-defined, no-any-return]

    # --- from the environment ---

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings that `LUMIN_…` variables give, of the process unless told otherwise.

        Each setting that is a text, a number, a yes or no, or a list has a variable, `LUMIN_` and its name in capitals
        (`server` is `LUMIN_AUTH_URL`); a secret may stand in a file that `…_FILE` names. Lists are separated by commas.
        Raises `ConfigurationError` that names all that are wrong, with their variables.
        """
        values, wrong = environment.read(environ)
        try:
            if wrong:
                requirements.require(values)
            else:
                return cls(**values)  # type: ignore[arg-type]
        except ConfigurationError as error:
            wrong += [(name, environment.named(name, problem, environ)) for name, problem in error.problems]
        raise ConfigurationError.of(wrong)


def checked_config(config: LuminConfig | None) -> LuminConfig:
    """The settings that somebody was given, or without any those of the environment. Raises `ConfigurationError`."""
    if config is None:
        return LuminConfig.from_env()
    if not isinstance(config, LuminConfig):
        cure = "give LuminConfig(client_id=…, …), or nothing for LuminConfig.from_env()"
        raise ConfigurationError("config", f"must be a LuminConfig, and is {checks.kind(config)}; {cure}")
    return config


LuminConfig.__doc__ = WithFields(LuminConfig.__doc__)  # type: ignore[assignment]

SETTINGS = tuple(item.name for item in fields(LuminConfig))
