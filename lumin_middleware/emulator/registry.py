"""Who is known here: the registered clients and the people who can sign in. Frozen values, nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SCOPES: Mapping[str, str] = {
    "openid": "See your name and e-mail address",
    "offline_access": "Do this while you are away",
    "profile.read": "Read your profile",
    "profile.settings": "Manage your account settings",
    "workspaces.read": "See the workspace you signed in with",
    "workspaces": "Manage spaces and members of the workspace",
    "templates": "View and manage templates",
    "pdf:files": "Create, edit and delete PDFs",
    "pdf:files.read": "Read PDFs",
    "sign:requests": "Create, change and view signature requests",
    "sign:requests.read": "View signature requests",
    "agreements": "Work with agreements",
}
"""The scopes that Lumin documents, with what the consent page says about each."""

_LOOPBACK_PORT = re.compile(r"^(http://(?:127\.0\.0\.1|\[::1\])):\d+(?=[/?#]|$)")


def _without_loopback_port(uri: str) -> str:
    return _LOOPBACK_PORT.sub(r"\1", uri)


@dataclass(frozen=True, kw_only=True)
class Client:
    """An application as registered with Lumin. The field names are those of RFC 7591.

    `token_endpoint_auth_method` is the only one that the client may use: `client_secret_post`,
    `client_secret_basic`, or `none` for a public client. `scope` is what it may ask for, separated by
    spaces. `audience` is what it may ask for with the parameter of that name.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)
    redirect_uris: tuple[str, ...] = ()
    client_name: str = ""
    token_endpoint_auth_method: str = "client_secret_post"
    scope: str = " ".join(SCOPES)
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    audience: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    id_token_signed_response_alg: str = "RS256"

    @property
    def name(self) -> str:
        """What a person sees."""
        return self.client_name or self.client_id

    def allows_redirect_to(self, uri: str) -> bool:
        """Whether `uri` is a registered one, as a string; a loopback IP's port is ignored (RFC 8252, 7.3)."""
        wanted = _without_loopback_port(uri)
        return any(uri == known or wanted == _without_loopback_port(known) for known in self.redirect_uris)

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client may use `grant_type`. Authlib asks by this name."""
        return grant_type in self.grant_types

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is the client's secret; a public client has none to check."""
        if self.token_endpoint_auth_method == "none":
            return not client_secret
        return bool(self.client_secret) and secrets.compare_digest(self.client_secret.encode(), client_secret.encode())


@dataclass(frozen=True, kw_only=True)
class User:
    """A person who can sign in."""

    sub: str
    email: str
    name: str
    email_verified: bool = True

    def claims(self) -> dict[str, object]:
        """The claims about this person in ID tokens and at userinfo (OpenID Connect Core, 5.1)."""
        return {"email": self.email, "email_verified": self.email_verified, "name": self.name}


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where people work together. `members` are their roles (owner, admin, member) by `sub`; times are epoch ms."""

    id: str
    name: str
    members: Mapping[str, str]
    created_at: int = 1_748_000_000_000

    @property
    def owner(self) -> str:
        """The `sub` of whoever owns it."""
        return next((sub for sub, role in self.members.items() if role == "owner"), "")


def workspaces_of(users: Iterable[User]) -> tuple[Workspace, ...]:
    """One workspace for each person to own, and one for all of them."""
    people = list(users)
    own = [
        Workspace(id=f"ws-{user.sub}", name=f"{user.name}'s workspace", members={user.sub: "owner"}) for user in people
    ]
    roles = ["owner", "admin", *["member"] * len(people)]
    shared = {user.sub: role for user, role in zip(people, roles, strict=False)}
    return (*own, Workspace(id="ws-together", name="Together", members=shared)) if people else ()


DEMO_CLIENT = Client(
    client_id="lumin-demo",
    client_secret="lumin-demo-secret",
    client_name="Demo application",
    redirect_uris=("http://127.0.0.1:8000/auth/callback", "http://localhost:8000/auth/callback"),
)

DEMO_USERS = (
    User(sub="0b9f7c52-5a5e-4d1c-9a58-1f6f2f3e7a01", email="mira.halden@example.com", name="Mira Halden"),
    User(sub="0b9f7c52-5a5e-4d1c-9a58-1f6f2f3e7a02", email="tobias.okoro@example.com", name="Tobias Okoro"),
    User(sub="0b9f7c52-5a5e-4d1c-9a58-1f6f2f3e7a03", email="yuki.sorensen@example.com", name="Yuki Sørensen"),
)
