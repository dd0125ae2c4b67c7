"""What is generated of the documents: `python -m tests.documents` writes it, and a test says when it is not current."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lumin_middleware.authorization_server import AuthorizationServer
from lumin_middleware.config import LuminConfig
from lumin_middleware.environment import ENVIRONMENT
from lumin_middleware.reasons import GROUPS, REASONS, Reason

ROOT = Path(__file__).parent.parent

_ABOUT = """# Reasons

Each outcome that is not "passed on", and whatever is worth a line in the log, has a code from one list
(`lumin_middleware/reasons.py`, from which this page is generated: `make docs`). The code stands at the beginning of
the line in the log, in the `reason` of an answer to a program, small on a page, in the event (`on_event`), and in what
`lumin-middleware explain` says. A page also shows a reference, such as `5387-CED9`; the line of the same answer has it
as `ref=`, and `lumin-middleware explain 5387-CED9 < log` finds it.

Lines go to Python's logger `lumin_middleware`. At DEBUG each request leaves one: method, path, what became of it, why,
and by which rule. No line at any level holds a token, a code, a secret, a cookie's value or an e-mail address.

## Levels

| level | when |
|---|---|
| CRITICAL | nobody can sign in |
| ERROR | something is lost |
| WARNING | somebody does not answer, or a setting is doubtful |
| INFO | somebody signed in, signed out, was refused, goes round in circles |
| DEBUG | each request |

| code | level | status |
|---|---|---|
"""


def reasons() -> str:
    """`docs/reasons.md`."""
    rows = (
        f"| [`{reason.code}`](#{reason.code}) | {logging.getLevelName(reason.level)} | {reason.status or ''} |"
        for reason in REASONS.values()
    )
    return _ABOUT + "\n".join(rows) + "\n" + "".join(_sections())


def _sections() -> Iterator[str]:
    for title, group in GROUPS:
        yield f"\n## {title}\n"
        for reason in group:
            yield _section(reason)


def _section(reason: Reason) -> str:
    status = f", status {reason.status}" if reason.status else ""
    person = f"\nThe person reads: *{reason.title}. {reason.person}*\n" if reason.person else ""
    return (
        f"\n### {reason.code}\n\n{logging.getLevelName(reason.level)}{status}. {reason.what}\n{person}\n"
        f"What to do: {reason.cure[:1].lower()}{reason.cure[1:]}\n"
    )


_SETTINGS = """# Settings

What `LuminConfig` takes. This page is made from its source (`make docs`).

A setting is an argument, `LuminConfig(timeout=5)`, or a variable of the environment, which `LuminMiddleware(app)` and
the command line read (`LuminConfig.from_env`). For each variable there is one that ends in `_FILE` and names a file
instead, as secrets are mounted into containers. A line end or a byte order mark around what a file holds is taken off.

What is wrong fails at start, and all of it is told at once: what is missing, cannot be read, or is a variable that is
nearly one of these. Proxies and certificates that the environment names and that cannot be used fail as well
(`HTTPS_PROXY`, `ALL_PROXY`, `SSL_CERT_FILE`, `SSL_CERT_DIR`). Other variables that begin with `LUMIN_` may be the
application's own: they are named in the log.

| in a variable | is written |
|---|---|
| yes or no | `true`, `yes`, `on`, `1`; `false`, `no`, `off`, `0` |
| seconds, bytes | a number: `30`, `0.5`; `33554432` |
| a list | with commas: `/healthz, /static/*` |
| values of paths | `/sign/*=sign:requests, /templates/*=templates` |

| setting | variable | default | unit | what it is |
|---|---|---|---|---|
"""

_UNITS = {
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_boolean": "yes or no",
    "_listed": "a list",
    "_between_commas": "a list",
    "_scopes_by_path": "scopes of paths",
    "_ages_by_path": "seconds of paths",
    "at": "a URL",
}
"""By what reads the text of a variable."""


def settings() -> str:
    """`docs/settings.md`."""
    given = {setting: (name, read.__name__) for name, (setting, read) in ENVIRONMENT.items()}
    said = _sentences()
    rows = []
    for each in dataclasses.fields(LuminConfig):
        name, reader = given.get(each.name, ("", ""))
        variable, unit = (f"`{name}`", _UNITS.get(reader, "text")) if name else ("none", "a function")
        meaning = said[each.name].replace("|", "\\|")
        rows.append(f"| `{each.name}` | {variable} | {_default(each)} | {unit} | {meaning} |")
    return _SETTINGS + "\n".join(rows) + "\n"


def _default(item: dataclasses.Field[Any]) -> str:
    match item.default:
        case dataclasses.MISSING if item.default_factory is dataclasses.MISSING:
            return "required"
        case dataclasses.MISSING | None | ():
            return "none"
        case bool() as value:
            return "yes" if value else "no"
        case AuthorizationServer():
            return "Lumin"
        case tuple() as values:
            return ", ".join(f"`{value}`" for value in values)
        case value:
            return f"`{value}`"


def _sentences() -> dict[str, str]:
    """What is written under each setting, on one line."""
    [body] = ast.parse(inspect.getsource(LuminConfig)).body
    assert isinstance(body, ast.ClassDef)
    said = {}
    for field, text in itertools.pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            said[field.target.id] = " ".join(str(text.value.value).split())
    return said


GENERATED = {"docs/reasons.md": reasons, "docs/settings.md": settings}
"""Each page, and what it is."""


def main() -> None:
    for name, made in GENERATED.items():
        (ROOT / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
