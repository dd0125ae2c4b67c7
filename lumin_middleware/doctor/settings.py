"""The settings by themselves: all of them, the redirect URI against Lumin's rules, secrets, scopes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..checks import is_address, is_loopback
from ..config import LUMIN, LuminConfig
from ..environment import variable
from ..errors import ConfigurationError
from .findings import Finding, doubtful, ok, wrong

SETTINGS, REDIRECT_URI, SECRETS = "settings", "redirect URI", "secrets"

SHORT_SECRET = 16
"""Characters below which a client secret is none that a server has made: Hydra's have 26."""


def read() -> tuple[LuminConfig | None, list[Finding]]:
    """The environment's settings, and what is wrong with them; without settings there is no more to be looked at."""
    try:
        return LuminConfig.from_env(), [ok(SETTINGS, "each of them can be read, from the environment")]
    except ConfigurationError as error:
        return None, refused(error)


def taken(app: str) -> list[Finding]:
    """That an application makes its settings itself."""
    return [ok(SETTINGS, f"are those that {app} is made with")]


def refused(error: ConfigurationError) -> list[Finding]:
    """That settings are wrong, each by itself."""
    why = "The site does not start with it."
    cure = "Correct it in the environment or the code; `docs/` and `help(LuminConfig)` say what each setting is."
    named = [(variable(name) or name, problem) for name, problem in error.problems]
    said = [problem if problem.startswith(f"{name} ") else f"{name}: {problem}" for name, problem in named]
    return [wrong(SETTINGS, each, why, cure) for each in said]


def redirect_uri(config: LuminConfig) -> Iterator[Finding]:
    """What Lumin's form takes: https, a name, no wildcard; and it must be what browsers see."""
    uri = config.redirect_uri
    host = urlsplit(uri).hostname or ""
    if "*" in uri:
        yield wrong(
            REDIRECT_URI,
            f"{uri} holds a star",
            "Lumin takes no wildcards: a redirect URI must match exactly.",
            "Register each address by itself, and name the one of this site.",
        )
    elif config.server == LUMIN and (host == "localhost" or host.endswith(".localhost") or is_address(host)):
        yield wrong(
            REDIRECT_URI,
            f"{uri} is an address of a machine, not a name on the web",
            "Lumin takes https:// and a name; no IP addresses, and no localhost.",
            "Use a name; for a machine at home a tunnel gives one. Or develop against `lumin-middleware emulator`.",
        )
    else:
        yield ok(REDIRECT_URI, f"{uri}; cookies are {'Secure and __Host-' if config.secure else 'for loopback only'}")


def secrets(config: LuminConfig) -> Iterator[Finding]:
    """The client secret and the keys. That the keys are random enough is checked where they are read."""
    secret = str(config.client_secret)
    local = is_loopback(urlsplit(config.server.issuer).hostname or "")  # an emulator, whose secret is everybody's
    if local:
        yield ok(
            SECRETS,
            f"are those of a server on this machine; {len(config.keys)} secret key{'s' * (len(config.keys) > 1)}",
        )
    elif len(secret) < SHORT_SECRET or re.fullmatch(r"(?i)(.)\1*|.*(?:secret|changeme|example|your).*", secret):
        yield doubtful(
            SECRETS,
            f"the client secret has {len(secret)} characters, or is a placeholder",
            "Lumin's are long and random.",
            "Copy it again from your app's details at Lumin.",
        )
    else:
        yield ok(SECRETS, f"the client secret, and {len(config.keys)} secret key{'s' * (len(config.keys) > 1)}")


def scope(config: LuminConfig) -> Iterator[Finding]:
    """Whether sessions outlive an access token."""
    if not {"offline_access", "offline"} & set(config.scope.split()):
        yield doubtful(
            "scopes",
            f"`scope` does not name offline_access: {config.scope}",
            "There is no refresh token, and sessions end with their access tokens, after an hour.",
            "Add offline_access to `scope`, and to your app at Lumin.",
        )
    missing = set(" ".join(config.required_scopes.values()).split()) - set(config.scope.split())
    if missing:
        yield doubtful(
            "scopes",
            f"`required_scopes` needs what `scope` does not ask for: {' '.join(sorted(missing))}",
            "Whoever comes to such a page is sent to Lumin once more.",
            "Add it to `scope`, unless it is to be asked for only there.",
        )
