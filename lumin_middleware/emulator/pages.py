"""What a person sees: small pages without scripts or anything from elsewhere, marked as the emulator's.

Every value passes through `html.escape`. The Content-Security-Policy allows this one style sheet, by its
hash, and forms that lead back here or, through redirects, to the client's callback.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

from .authorization_request import AuthorizationRequest
from .grants import Grant
from .registry import SCOPES, Client, User, Workspace

_STYLE = """
:root { color-scheme: light dark; --ground: #eef1f4; --card: #fff; --ink: #1b2430; --soft: #566273; --line: #d5dce4;
  --accent: #1d5fd1; --on-accent: #fff; --mark: #fff3cd; --mark-ink: #664d03; }
@media (prefers-color-scheme: dark) { :root { --ground: #10151c; --card: #1a212b; --ink: #e8edf3; --soft: #a3b0c0;
  --line: #344050; --accent: #8ab4ff; --on-accent: #0c1a33; --mark: #3b3110; --mark-ink: #ffe08a; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
.mark { background: var(--mark); color: var(--mark-ink); padding: .6rem 1rem; text-align: center; font-size: .875rem; }
main { max-width: 28rem; margin: 2.5rem auto; padding: 0 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.5rem; }
h1 { font-size: 1.375rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: 0 0 1rem; }
p:last-child { margin-bottom: 0; }
a { color: var(--accent); }
.soft, small { color: var(--soft); font-size: .875rem; }
button { display: block; width: 100%; min-height: 2.9rem; margin: .6rem 0 0; padding: .6rem 1rem; border-radius: .5rem;
  border: 1px solid var(--line); background: transparent; color: inherit; font: inherit; cursor: pointer; }
button.person { text-align: left; }
button.person small { display: block; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
button:hover { border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
fieldset { border: 0; margin: 0; padding: 0; }
legend { padding: 0; }
label { display: flex; gap: .75rem; align-items: flex-start; padding: .55rem 0; border-bottom: 1px solid var(--line); }
label small { display: block; }
label.plain { border: 0; }
input { flex: none; width: 1.15rem; height: 1.15rem; margin: .2rem 0 0; accent-color: var(--accent); }
code { font-size: .875em; }
ul { list-style: none; padding: 0; margin: 0 0 1.5rem; }
li { padding: .5rem 0; border-bottom: 1px solid var(--line); }
li small { display: block; }
form > button.away { margin-top: 1.5rem; border-style: dashed; }
@media (max-width: 30rem) { main { margin: 1rem auto; } .card { padding: 1.1rem; } }
""".strip()

_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def _form_target(uri: str) -> str:
    """The CSP source that lets a form's redirects reach `uri`: its origin, or else its scheme.

    A custom scheme has no origin, and CSP has no way to write an IPv6 host.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and not parts.netloc.startswith("["):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def _page(title: str, body: str, *, status: int = 200, leads_to: Iterable[str] = ()) -> HTMLResponse:
    targets = " ".join(["'self'", *map(_form_target, leads_to)])
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {targets}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    html = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Lumin emulator</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>"
        '<div class="mark"><strong>Lumin emulator</strong> — for development only</div>\n'
        f'<main><div class="card"><h1>{escape(title)}</h1>\n{body}\n</div></main></body></html>\n'
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(html, status, headers)


def _form(action: str, challenge: str, fields: str) -> str:
    return (
        f'<form method="post" action="{escape(action)}">'
        f'<input type="hidden" name="challenge" value="{escape(challenge)}">{fields}</form>'
    )


def _person(user: User, *, first: bool) -> str:
    focus = " autofocus" if first else ""
    return (
        f'<button class="person" name="sub" value="{escape(user.sub)}"{focus}>{escape(user.name)}'
        f"<small>{escape(user.email)}</small></button>"
    )


def sign_in_page(request: AuthorizationRequest, users: Iterable[User], challenge: str) -> HTMLResponse:
    """Pick one of the people; the one that `login_hint` names comes first."""
    hint = request.login_hint
    people = sorted(users, key=lambda user: hint not in (user.sub, user.email))
    body = f'<p class="soft"><strong>{escape(request.client.name)}</strong> asks you to sign in. Who are you?</p>' + (
        _form(
            "login",
            challenge,
            "".join(_person(user, first=index == 0) for index, user in enumerate(people))
            + '<button class="away" name="deny" value="yes">Cancel</button>',
        )
    )
    return _page("Sign in", body, leads_to=[request.redirect_uri])


def _scope_box(scope: str) -> str:
    return (
        f'<label><input type="checkbox" name="scope" value="{escape(scope)}" checked><span>'
        f"{escape(SCOPES.get(scope, scope))}<small><code>{escape(scope)}</code></small></span></label>"
    )


def _workspace_box(workspace: Workspace, *, first: bool) -> str:
    checked = " checked" if first else ""
    return (
        f'<label class="plain"><input type="radio" name="workspace" value="{escape(workspace.id)}"{checked}><span>'
        f"{escape(workspace.name)}</span></label>"
    )


def _workspace_choice(workspaces: Sequence[Workspace]) -> str:
    if len(workspaces) < 2:
        return ""
    boxes = "".join(_workspace_box(each, first=index == 0) for index, each in enumerate(workspaces))
    return f"<fieldset><legend>In which workspace?</legend>{boxes}</fieldset>"


def consent_page(
    request: AuthorizationRequest, user: User, workspaces: Sequence[Workspace], challenge: str
) -> HTMLResponse:
    """What the client asks for, each scope with a box, in which workspace, and Allow and Deny."""
    boxes = "".join(map(_scope_box, request.scope)) or '<p class="soft">Nothing beyond your identifier.</p>'
    body = f'<p class="soft">Signed in as <strong>{escape(user.name)}</strong> ({escape(user.email)})</p>' + _form(
        "consent",
        challenge,
        f"<fieldset><legend>It will be able to:</legend>{boxes}</fieldset>{_workspace_choice(workspaces)}"
        '<label class="plain"><input type="checkbox" '
        'name="remember" value="yes"><span>Do not ask again for this application</span></label>'
        '<button class="main" name="allow" value="yes" autofocus>Allow</button>'
        '<button name="deny" value="yes">Deny</button>',
    )
    return _page(f"Allow {request.client.name}?", body, leads_to=[request.redirect_uri])


def form_post_page(redirect_uri: str, parameters: Mapping[str, str]) -> HTMLResponse:
    """Back to the client by a form (OAuth 2.0 Form Post Response Mode), which a person sends off: there are no
    scripts here.
    """
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in parameters.items()
    )
    form = f'<form method="post" action="{escape(redirect_uri)}">{fields}<button class="main">Go on</button></form>'
    return _page("Back to the application", form, leads_to=[redirect_uri])


def error_page(error: str, description: str, status: int = 400) -> HTMLResponse:
    """For faults that must not reach a callback, such as an unknown client or redirect URI."""
    body = f"<p>{escape(description)}</p><p class=soft><code>{escape(error)}</code></p>"
    return _page("This request cannot go on", body, status=status)


def sign_out_page(user: User, challenge: str, leads_to: str | None) -> HTMLResponse:
    """Ask before signing somebody out."""
    body = f"<p>You are signed in as <strong>{escape(user.name)}</strong>.</p>" + _form(
        "logout",
        challenge,
        '<button class="main" name="confirm" value="yes" autofocus>Sign out</button>'
        '<button name="deny" value="yes">Stay signed in</button>',
    )
    return _page("Sign out?", body, leads_to=[leads_to] if leads_to else [])


def still_signed_in_page() -> HTMLResponse:
    return _page("Nothing has changed", '<p class="soft">You can close this window.</p>')


def signed_out_page() -> HTMLResponse:
    return _page("You are signed out", '<p class="soft">You can close this window.</p>')


def signing_page(title: str, name: str, *, signed: bool) -> HTMLResponse:
    """Where a signing link leads."""
    if signed:
        return _page("Signed", f"<p><strong>{escape(name)}</strong> has signed “{escape(title)}”.</p>")
    button = '<form method="post"><button class="main" autofocus>Sign</button></form>'
    return _page(title, f"<p>For <strong>{escape(name)}</strong> to sign.</p>{button}")


def _grant(number: int, grant: Grant, clients: Mapping[str, Client], workspaces: Mapping[str, Workspace]) -> str:
    """One sign-in that has tokens, and a button that takes them back."""
    where = workspaces.get(grant.workspace_id)
    lasting = " · while they are away" if "offline_access" in grant.scope else ""
    return (
        f"<li>{escape(grant.user.name)}<small>{escape(clients[grant.client_id].name)}"
        f"{f' · {escape(where.name)}' if where else ''}{lasting}</small>"
        f"<small><code>{escape(' '.join(grant.scope))}</code></small>"
        f'<form method="post" action="grants/revoke"><button name="grant" value="{number}">Revoke</button></form></li>'
    )


def home_page(
    base: str,
    clients: Mapping[str, Client],
    users: Mapping[str, User],
    workspaces: Mapping[str, Workspace],
    grants: Iterable[tuple[int, Grant]],
) -> HTMLResponse:
    """What is here: who may connect, who can sign in, where, and what they have allowed."""
    allowed = "".join(_grant(number, grant, clients, workspaces) for number, grant in grants)
    applications = "".join(
        f"<li>{escape(client.name)}<small><code>{escape(client.client_id)}</code> · "
        f"{escape(client.token_endpoint_auth_method)}</small>"
        + "".join(f"<small>{escape(uri)}</small>" for uri in client.redirect_uris)
        + "</li>"
        for client in clients.values()
    )
    people = "".join(f"<li>{escape(user.name)}<small>{escape(user.email)}</small></li>" for user in users.values())
    body = (
        f"<ul><li>Authorization server<small><code>{escape(base)}</code></small></li>"
        f"<li>API<small><code>{escape(base)}/v1</code></small></li></ul>"
        f"<h2>Applications</h2><ul>{applications}</ul><h2>People</h2><ul>{people}</ul>"
        f"<h2>What they have allowed</h2><ul>{allowed or '<li>Nothing yet.</li>'}</ul>"
        '<p><a href=".well-known/openid-configuration">OpenID configuration</a> · '
        '<a href="oauth2/sessions/logout">Sign out</a></p>'
    )
    return _page("A local Lumin", body)
