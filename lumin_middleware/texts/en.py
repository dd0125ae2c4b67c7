"""English. What pages say of a reason stands in the list of reasons, where programs and the log find it, too."""

from ..reasons import REASONS, Reason


def _of_reasons() -> dict[str, str]:
    """The title and the text of each reason that people read. What several share has the key of the first."""
    keys: dict[str, str] = {}
    for reason in filter(_is_for_people, REASONS.values()):
        for part, sentence in (("title", reason.title), ("text", reason.person)):
            keys.setdefault(sentence, f"{reason.code}.{part}")
    return {key: sentence for sentence, key in keys.items()}


def _is_for_people(reason: Reason) -> bool:
    return bool(reason.title and reason.person)


_REASONS = _of_reasons()

_KEYS = {sentence: key for key, sentence in _REASONS.items()}

KEYS = {
    f"{reason.code}.{part}": _KEYS[sentence]
    for reason in filter(_is_for_people, REASONS.values())
    for part, sentence in (("title", reason.title), ("text", reason.person))
}
"""Of the title and the text of each reason the key that they are found by."""

TEXTS = {
    **_REASONS,
    # nobody is signed in, and cannot be sent on
    "not_sent.title": "You are not signed in any more",
    "not_sent.text": "What you sent was not taken. Sign in, and you come back to the page that you sent it from; "
    "send it again there.",
    "not_sent.allow": "What you sent was not taken. Allow what the page needs, and you come back to the page that you "
    "sent it from; send it again there.",
    "kept.title": "You are not signed in any more",
    "kept.text": "What you sent was not taken, but it is kept for ten minutes. Sign in, and you are asked whether to "
    "send it then.",
    "kept.allow": "What you sent was not taken, but it is kept for ten minutes. Allow what the page needs, and you are "
    "asked whether to send it then.",
    "framed.text": "This part of the page needs a sign-in.",
    # a permission
    "missing.text": "This page needs a permission that was not given:",
    "kept_back.title": "Permission not given",
    "kept_back.text": "You are still signed in. The page needs a permission that you did not give:",
    "no_grant.title": "Not connected",
    "no_grant.text": "You did not allow it.",
    "no_grant.another": "You are signed in here as one person, and allowed it as another.",
    "no_grant.end": "Nothing else has changed.",
    "scope.openid": "See your name and e-mail address",
    "scope.offline_access": "Go on while you are away",
    "scope.profile.read": "Read your profile",
    "scope.profile.settings": "Manage your account settings",
    "scope.workspaces.read": "See the workspace that you signed in with",
    "scope.workspaces": "Manage spaces and members of the workspace",
    "scope.templates": "View and manage templates",
    "scope.pdf:files": "Create, edit and delete PDFs",
    "scope.pdf:files.read": "Read PDFs",
    "scope.sign:requests": "Create and view signature requests",
    "scope.sign:requests.read": "View signature requests",
    "scope.agreements": "Work with agreements",
    # on the way through a sign-in
    "loop.cookies": "The browser refuses cookies, or an extension removes them.",
    "loop.name": "The site was opened under another name, or with http instead of https, than it signs in with.",
    "loop.clock": "The clock of the server or of this device is wrong.",
    "loop.host": "The site was opened at {host}, but it signs in at {origin}. Open it there.",
    "unknown_login.host": "It was begun at {host}, but this site signs in at {origin}. Open it there.",
    "unknown_login.late": "It was begun more than half an hour ago, or in another browser.",
    "unknown_login.done": "It was completed already; go back to the page that you wanted.",
    "came_to_nothing.text": "You were sent to {server} and back, and it did not know your browser any more. Likely "
    "causes:",
    "came_to_nothing.cookies": "The browser, or an extension, refuses the cookies of {server}.",
    "came_to_nothing.late": "The sign-in page stood open for too long.",
    "came_to_nothing.tabs": "Many tabs were signing in at once.",
    "not_completed.text": "The sign-in cannot be completed at the moment. Please try again.",
    "another_person.named": "You are {name} now",
    "not_recent.title": "Lumin did not ask you to sign in again",
    "not_recent.text": "The page needs a sign-in that is not so long ago, and Lumin took the one that you had.",
    # other pages
    "logout.title": "Sign out?",
    "logout.text": "You will be signed out of this site in this browser.",
    "form.title": "Your form was kept",
    "form.text": "It has not been sent yet. Send it now, or go back to its page; it is not kept any longer.",
    "form.to": "It goes to {target} on this site.",
    "form.to_as": "It goes to {target} on this site, as {name}.",
    "form.whose": "It is not known who filled it in: send it only if it is yours.",
    "popup.title": "You can close this window",
    "popup.text": "What you began goes on in the other one.",
    # the ways on
    "do.allow": "Allow it",
    "do.as_another": "As somebody else",
    "do.ask_again": "Ask me again",
    "do.begin_here": "Sign in here instead",
    "do.close": "Close this window",
    "do.do_not_send": "Do not send it",
    "do.go_on": "Go on",
    "do.go_on_as": "Go on as {name}",
    "do.home": "Go to the start page",
    "do.send": "Send it now",
    "do.sign_in": "Sign in",
    "do.sign_in_again": "Sign in again",
    "do.sign_in_as_another": "Sign in as somebody else",
    "do.sign_out": "Sign out",
    "do.start_again": "Start again",
    "do.stay": "Stay signed in",
    "do.try_again": "Try again",
    "do.without": "Go on without it",
    # what to tell whoever runs the site
    "footnote": "If you need help, tell whoever runs this site:",
}
"""Each text by its key. A text may name what its braces name, and nothing else."""
