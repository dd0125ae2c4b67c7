"""The table of routes, the rules about them, and who may reach which: written by hand, not computed from the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SCOPE = "sign:requests"
OTHER_SCOPE = "templates"

Person = Literal["nobody", "member", "signer"]
PEOPLE: tuple[Person, ...] = ("nobody", "member", "signer")
"""Not signed in; signed in without the scope; signed in with it."""

ROUTES: Mapping[str, str] = {
    "root": "/",
    "healthz": "/healthz",
    "static": "/static/{rest}",
    "share": "/share",
    "shared": "/share/{rest}",
    "secret": "/secret",
    "secrets": "/secret/{rest}",
    "sign": "/sign",
    "files": "/files",
    "file": "/files/{rest}",
    "open": "/open/{rest}",
    "admin": "/open/admin",
    "admins": "/open/admin/{rest}",
    "maybe": "/maybe/{rest}",
    "maybe-admin": "/maybe/admin",
}
"""The handlers by their names. `{rest}` is one segment or more."""


@dataclass(frozen=True)
class Ruleset:
    """Settings, and who may reach a handler: whoever its name is not under needs a session."""

    name: str
    settings: Mapping[str, Any]
    open: frozenset[str]
    """Handlers that anybody may reach."""
    scoped: frozenset[str]
    """Handlers that need the scope."""
    plain: Mapping[str, str] = field(default_factory=dict)

    def asks(self, handler: str) -> Person:
        """The least that may reach a handler."""
        if handler in self.scoped:
            return "signer"
        return "nobody" if handler in self.open else "member"

    def may(self, person: Person, handler: str) -> bool:
        return PEOPLE.index(person) >= PEOPLE.index(self.asks(handler))


ADMINS = frozenset({"admin", "admins", "maybe-admin"})
NAMED = Ruleset(
    "what is open is named",
    {
        "public": ["/", "/healthz", "/static/*", "/share/*", "/open/*"],
        "optional": ["/maybe/*"],
        "required_scopes": {
            "/sign": SCOPE,
            "/files/*": SCOPE,
            "/open/admin/*": SCOPE,
            "/maybe/admin": SCOPE,
        },
    },
    open=frozenset({"root", "healthz", "static", "shared", "open", "maybe"}),
    scoped=frozenset({"sign", "files", "file"}) | ADMINS,
)


def _all_open(how: str) -> Ruleset:
    scoped = frozenset({"share", "secret", "secrets", "sign", "files", "file"}) | ADMINS
    return Ruleset(
        f"all is {how} but what needs a scope",
        {
            how: ["/*"],
            "required_scopes": {
                "/share": SCOPE,
                "/secret/*": SCOPE,
                "/sign": SCOPE,
                "/files/*": SCOPE,
                "/open/admin/*": SCOPE,
                "/maybe/admin": SCOPE,
            },
        },
        open=frozenset(ROUTES) - scoped,
        scoped=scoped,
    )


RULESETS = (NAMED, _all_open("public"), _all_open("optional"))

PLAIN: Mapping[str, str] = {
    "/": "root",
    "/healthz": "healthz",
    "/static/app.js": "static",
    "/static/App.JS": "static",
    "/static/a-b_c/d.min.css": "static",
    "/static/caf%C3%A9": "static",
    "/static/a%20b": "static",
    "/static/x/": "static",
    "/share": "share",
    "/share/x": "shared",
    "/secret": "secret",
    "/secret/x": "secrets",
    "/sign": "sign",
    "/files": "files",
    "/files/x": "file",
    "/open/x": "open",
    "/open/administrator": "open",
    "/open/admin": "admin",
    "/open/admin/x": "admins",
    "/maybe/x": "maybe",
    "/maybe/admin": "maybe-admin",
}
"""Paths as people write them, and the handler that runs for whoever may reach it."""
