"""The settings as they stand in the environment: which variable gives which, and how its text is read.

A variable that is nearly one of these is a mistake that would go unseen: with `LUMIN_REQUIRED_SCOPE` for
`LUMIN_REQUIRED_SCOPES` a site would serve without its scopes. So it is refused. Others that begin with `LUMIN_` may be
the application's own, and are named in the log.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .authorization_server import AuthorizationServer
from .errors import ConfigurationError
from .journal import say

PREFIX = "LUMIN_"

MISSPELT = 0.85
"""How like a name must be (`difflib`) to be taken for a misspelling: one letter too many, too few or wrong in seven."""

LIKE = 0.6
"""And how like to be worth naming."""

# --- how a text is read ---------------------------------------------------------------------------------


_AROUND = ("[]", "()", "{}", "<>", '""', "''", "``", "\u201c\u201d", "\u2018\u2019")
"""What stands around a list in code and in JSON, or around each of its items, and in no variable."""


def _listed(text: str) -> list[str]:
    return _bare(text, re.split(r"[,\s]+", text))


def _between_commas(text: str, such: str = "one, two") -> list[str]:
    return _bare(text, text.split(","), such)


def _bare(text: str, items: Sequence[str], such: str = "one, two") -> list[str]:
    """The items of a list, which stand as they are: with brackets or quotes each would be another one."""
    items = [item.strip() for item in items if item.strip()]
    if any(len(each) > 1 and each[0] + each[-1] in _AROUND for each in (text.strip(), *items)):
        raise ValueError(f"has brackets or quotes around what it lists; write that alone, between commas: {such}")
    return items


def _by_path(text: str, what: str, such: str) -> dict[str, str]:
    found = {}
    for item in _between_commas(text, such):
        pattern, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"{item!r} must name {what}, as {such!r} does")
        if pattern in found:
            raise ValueError(f"{pattern!r} is named twice, and only one could count")
        if another := re.search(r"(?:^|\s)(/[^\s=]*)", value):
            raise ValueError(f"{another[1]!r} stands where {what} belong; paths are separated by commas")
        found[pattern] = value
    return found


def _ages_by_path(text: str) -> dict[str, float]:
    return {path: _seconds(age) for path, age in _by_path(text, "seconds", "/pay/*=300").items()}


def _scopes_by_path(text: str) -> dict[str, str]:
    return _by_path(text, "scopes", "/sign/*=sign:requests")


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _boolean(text: str) -> bool:
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither yes nor no; write one of {', '.join(_WORDS)}") from None


def _seconds(text: str) -> float:
    return _number(text, float, "a number of seconds, such as 30 or 0.5")


def _bytes(text: str) -> int:
    return int(_number(text, int, "a whole number of bytes, such as 33554432"))


def _number(text: str, kind: Callable[[str], float], what: str) -> float:
    # What Python reads besides is no number that anybody means: 1_000, nan, digits of other scripts.
    if not re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*", text, re.ASCII) or (kind is int and "." in text):
        raise ValueError(f"{text!r} must be {what}")
    return kind(text)  # how large it may be, the setting's own check says


# --- which there are ------------------------------------------------------------------------------------

ENVIRONMENT: dict[str, tuple[str, Callable[[str], object]]] = {
    "LUMIN_CLIENT_ID": ("client_id", str),
    "LUMIN_CLIENT_SECRET": ("client_secret", str),
    "LUMIN_REDIRECT_URI": ("redirect_uri", str),
    "LUMIN_SECRET_KEY": ("secret_key", _listed),
    "LUMIN_SCOPE": ("scope", str),
    "LUMIN_AUTH_URL": ("server", AuthorizationServer.at),
    "LUMIN_API_URL": ("api_url", str),
    "LUMIN_TOKEN_ENDPOINT_AUTH_METHOD": ("token_endpoint_auth_method", str),
    "LUMIN_ID_TOKEN": ("id_token", str),
    "LUMIN_ID_TOKEN_SIGNED_RESPONSE_ALG": ("id_token_signed_response_alg", str),
    "LUMIN_TRUSTED_AUDIENCES": ("trusted_audiences", _listed),
    "LUMIN_SESSIONS": ("sessions", str),
    "LUMIN_STORE": ("store", str),
    "LUMIN_PUBLIC": ("public", _listed),
    "LUMIN_OPTIONAL": ("optional", _listed),
    "LUMIN_REQUIRED_SCOPES": ("required_scopes", _scopes_by_path),
    "LUMIN_IDLE_TIMEOUT": ("idle_timeout", _seconds),
    "LUMIN_GRANT_LIFETIME": ("grant_lifetime", _seconds),
    "LUMIN_ABSOLUTE_TIMEOUT": ("absolute_timeout", _seconds),
    "LUMIN_COOKIE_NAME": ("cookie_name", str),
    "LUMIN_AFTER_LOGIN": ("after_login", str),
    "LUMIN_AFTER_LOGOUT": ("after_logout", str),
    "LUMIN_CLAIMS": ("claims", _listed),
    "LUMIN_END_SESSION": ("end_session", _boolean),
    "LUMIN_POST_LOGOUT_REDIRECT_URI": ("post_logout_redirect_uri", str),
    "LUMIN_STRICT_LOGOUT": ("strict_logout", _boolean),
    "LUMIN_BACKCHANNEL_LOGOUT": ("backchannel_logout", _boolean),
    "LUMIN_SESSION_MEMORY": ("session_memory", _bytes),
    "LUMIN_REQUIRED_AUTH_AGE": ("required_auth_age", _ages_by_path),
    "LUMIN_TRUSTED_PROXIES": ("trusted_proxies", _listed),
    "LUMIN_VERIFY_ACCESS_TOKEN": ("verify_access_token", _boolean),
    "LUMIN_API_PROXY": ("api_proxy", _between_commas),
    "LUMIN_RENEW_BEFORE": ("renew_before", _seconds),
    "LUMIN_TIMEOUT": ("timeout", _seconds),
    "LUMIN_API_TIMEOUT": ("api_timeout", _seconds),
    "LUMIN_ADMIT": ("admit", _listed),
    "LUMIN_APP_NAME": ("app_name", str),
    "LUMIN_APP_URL": ("app_url", str),
    "LUMIN_ACCENT": ("accent", str),
    "LUMIN_LOGO": ("logo", str),
}
"""Each environment variable, the setting that it gives, and how its text is read."""

UNWRITTEN = {"texts": "languages and their texts", "pages": "a function", "on_event": "a function"}
"""The settings that no variable can hold, and what they are."""

REQUIRED = ("LUMIN_CLIENT_ID", "LUMIN_CLIENT_SECRET", "LUMIN_REDIRECT_URI", "LUMIN_SECRET_KEY")

_ENDINGS = {
    ending.removeprefix(PREFIX): meant
    for name, (setting, _) in ENVIRONMENT.items()
    for ending, meant in ((setting.upper(), name), (name, name))
}
"""What may stand behind `LUMIN_`, or be meant by what does: the variables, and the settings' own names."""


def variable(setting: str) -> str | None:
    """The variable that gives a setting, or the part of one that a check has named."""
    wanted = setting.partition(".")[0]
    return next((name for name, (given, _) in ENVIRONMENT.items() if given == wanted), None)


# --- reading --------------------------------------------------------------------------------------------


def read(environ: Mapping[str, str] | None = None) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """The settings that stand in `environ`, by default the process's, and what is wrong with the others, by setting.

    Empty variables count as unset: templates and Compose files write one for what nobody gave. A list or a table that
    is not empty and holds nothing is none that anybody meant, and `required_scopes` would be gone without a word. What
    the settings must be besides is looked at by `requirements`.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    wrong = [(ENVIRONMENT[name][0], problem) for name, problem in _misspelt(environ)]
    for name, (setting, reader) in ENVIRONMENT.items():
        try:
            text = _text(environ, name)
            if text is not None:
                values[setting] = found = reader(text)
                if isinstance(found, list | dict) and not found:
                    raise ValueError(f"{name} is set and names nothing; leave it out, if nothing is meant")
            elif name in REQUIRED:
                wrong.append((setting, f"{name} is not set"))
        except ConfigurationError as error:
            wrong.append((setting, named(setting, error.problem, environ)))
        except ValueError as error:
            wrong.append((setting, named(setting, str(error), environ)))
    return values, wrong


def named(setting: str, problem: str, environ: Mapping[str, str] | None = None) -> str:
    """What is wrong with a setting that came from the environment, and the variable that gave it."""
    environ, name = os.environ if environ is None else environ, variable(setting)
    if name and not environ.get(name) and environ.get(f"{name}_FILE"):
        name = f"{name}_FILE"
    return f"{problem} (from {name})" if name else problem


def _text(environ: Mapping[str, str], name: str) -> str | None:
    value, file = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if value and file:
        raise ValueError(f"{name} is set, and so is {name}_FILE; keep one of them")
    if file is not None:
        return _content(f"{name}_FILE", file)
    if value and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        raise ValueError("stands in quotes, which belong to a shell; leave them out")
    return value


def _content(name: str, file: str) -> str:
    try:
        # Editors begin a file with a byte order mark, and end it with a line.
        content = Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ValueError(f"{name} names a file that cannot be read: {_shown(file)} ({why})") from None
    if not content:
        raise ValueError(f"{name} names an empty file: {_shown(file)}")
    return content


def _shown(file: str) -> str:
    """A path as a message may name it. What does not look like one may be the secret, put in its file's place."""
    path = Path(file)
    is_path = path.is_absolute() or (path.parent != Path() and path.parent.is_dir())
    return repr(file) if is_path else "it is no absolute path"


def _misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of each variable that is nearly ours the one that is meant, and what to say. The log names the others."""
    found = []
    for name in sorted(environ):
        ending = name.removeprefix(PREFIX)
        if ending == name or name.removesuffix("_FILE") in ENVIRONMENT:
            continue
        setting = ending.lower().removesuffix("_file")
        if setting in UNWRITTEN:
            hint = f"`{setting}` is {UNWRITTEN[setting]}, which no variable can hold; give it to LuminConfig"
            say("unknown_variable", variable=name, hint=hint)
            continue
        meant, likeness = _meant(ending.upper())
        hint = f" (do you mean {meant}?)" if meant else ""
        if likeness >= MISSPELT:
            found.append((meant.removesuffix("_FILE"), f"{name} is no setting{hint}"))
        else:
            say("unknown_variable", variable=name, hint=hint.strip(" ()"))
    return found


def _meant(ending: str) -> tuple[str, float]:
    """The variable that is most like one with this ending, and how like it is; none where nothing is worth naming."""
    stem, _, last = ending.rpartition("_")
    file = "_FILE" if stem and _ratio(last, "FILE") >= MISSPELT else ""
    ending = stem if file else ending
    like = max(_ENDINGS, key=lambda each: _likeness(ending, each))
    likeness = _likeness(ending, like)
    return (_ENDINGS[like] + file, likeness) if likeness >= LIKE else ("", 0.0)


def _likeness(one: str, other: str) -> float:
    """How like two names are, in whichever order their words stand."""
    ordered = ("_".join(sorted(name.split("_"))) for name in (one, other))
    return max(_ratio(one, other), _ratio(*ordered))


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
