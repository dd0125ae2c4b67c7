"""What a person sees: small pages without scripts or anything from elsewhere, marked as the emulator's.

They look as all pages of ours do (`look`), and speak English: they are for whoever develops. Every value passes through
`html.escape`. The Content-Security-Policy allows forms that lead back here or, through redirects, to the client's
callback. Every page has a way on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

from ..look import document, policy
from .authorization_request import AuthorizationRequest
from .grants import Grant
from .registry import SCOPES, Client, User, Workspace

_MARK = '<header class="mark"><strong>Lumin emulator</strong> — for development only</header>'

_HOME = '<div class="actions"><a href="/">To the emulator itself</a></div>'


def _form_target(uri: str) -> str:
    """The CSP source that lets a form's redirects reach `uri`: its origin, or else its scheme.

    A custom scheme has no origin, and CSP has no way to write an IPv6 host.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and not parts.netloc.startswith("["):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def _page(title: str, body: str, *, status: int = 200, leads_to: Iterable[str] = ()) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": policy(form_action=" ".join(["'self'", *map(_form_target, leads_to)])),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    content = f"<h1>{escape(title)}</h1>{body}"
    return HTMLResponse(document(f"{title} · Lumin emulator", content, above=_MARK), status, headers)


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
            '<div class="stack">'
            + "".join(_person(user, first=index == 0) for index, user in enumerate(people))
            + '</div><div class="actions"><button name="deny" value="yes">Cancel</button></div>',
        )
    )
    return _page("Sign in", body, leads_to=[request.redirect_uri])


def _scope_box(scope: str) -> str:
    return (
        f'<label class="choice"><input type="checkbox" name="scope" value="{escape(scope)}" checked><span>'
        f"{escape(SCOPES.get(scope, scope))}<small><code>{escape(scope)}</code></small></span></label>"
    )


def _workspace_box(workspace: Workspace, *, first: bool) -> str:
    checked = " checked" if first else ""
    return (
        f'<label class="choice"><input type="radio" name="workspace" value="{escape(workspace.id)}"{checked}><span>'
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
        '<label class="choice"><input type="checkbox" '
        'name="remember" value="yes"><span>Do not ask again for this application</span></label>'
        '<div class="actions"><button class="main" name="allow" value="yes" autofocus>Allow</button>'
        '<button name="deny" value="yes">Deny</button></div>',
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
    body = f'<p>{escape(description)}</p><p class="soft"><code>{escape(error)}</code></p>{_HOME}'
    return _page("This request cannot go on", body, status=status)


def sign_out_page(user: User, challenge: str, leads_to: str | None) -> HTMLResponse:
    """Ask before signing somebody out."""
    body = f"<p>You are signed in as <strong>{escape(user.name)}</strong>.</p>" + _form(
        "logout",
        challenge,
        '<div class="actions"><button class="main" name="confirm" value="yes" autofocus>Sign out</button>'
        '<button name="deny" value="yes">Stay signed in</button></div>',
    )
    return _page("Sign out?", body, leads_to=[leads_to] if leads_to else [])


def still_signed_in_page() -> HTMLResponse:
    return _page("Nothing has changed", f'<p class="soft">You can close this window.</p>{_HOME}')


def signed_out_page() -> HTMLResponse:
    return _page("You are signed out", f'<p class="soft">You can close this window.</p>{_HOME}')


def signing_page(title: str, name: str, *, signed: bool, back: str) -> HTMLResponse:
    """Where a signing link leads. `back` is where the application that asked for it is."""
    back = escape(back or "/")
    if signed:
        done = f"<p><strong>{escape(name)}</strong> has signed “{escape(title)}”.</p>"
        link = f'<a href="{back}">Back to the application</a>'
        return _page("Signed", f'{done}<div class="actions">{link}</div>')
    return _page(
        title,
        f"<p>For <strong>{escape(name)}</strong> to sign.</p>"
        '<form method="post"><div class="actions"><button class="main" autofocus>Sign</button>'
        f'<a href="{back}">Not now</a></div></form>',
    )


def _grant(number: int, grant: Grant, clients: Mapping[str, Client], workspaces: Mapping[str, Workspace]) -> str:
    """One sign-in that has tokens, and a button that takes them back."""
    where = workspaces.get(grant.workspace_id)
    lasting = " · while they are away" if "offline_access" in grant.scope else ""
    return (
        f"<li>{escape(grant.user.name)}<small>{escape(clients[grant.client_id].name)}"
        f"{f' · {escape(where.name)}' if where else ''}{lasting}</small>"
        f"<small><code>{escape(' '.join(grant.scope))}</code></small>"
        '<form method="post" action="grants/revoke"><div class="actions">'
        f'<button name="grant" value="{number}">Revoke</button></div></form></li>'
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
        f'<ul class="rows"><li>Authorization server<small><code>{escape(base)}</code></small></li>'
        f"<li>API<small><code>{escape(base)}/v1</code></small></li></ul>"
        f'<h2>Applications</h2><ul class="rows">{applications}</ul>'
        f'<h2>People</h2><ul class="rows">{people}</ul>'
        f'<h2>What they have allowed</h2><ul class="rows">{allowed or "<li>Nothing yet.</li>"}</ul>'
        '<p><a href=".well-known/openid-configuration">OpenID configuration</a> · '
        '<a href="oauth2/sessions/logout">Sign out</a></p>'
    )
    return _page("A local Lumin", body)
