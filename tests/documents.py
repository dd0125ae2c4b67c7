"""What is generated of the documents: `python -m tests.documents` writes it, and a test says when it is not current."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

from lumin_middleware import LuminConfig
from lumin_middleware import reasons as _reasons
from lumin_middleware.environment import ENVIRONMENT, UNWRITTEN
from lumin_middleware.field_texts import field_texts
from lumin_middleware.look import document
from lumin_middleware.reasons import GROUPS, REASONS, Reason
from lumin_middleware.requirements import SECONDS
from lumin_middleware.texts.en import TEXTS

ROOT = Path(__file__).parent.parent

_ABOUT = """# Reasons

Each outcome that is not "passed on", and whatever is worth a line in the log, has a code from one list
(`lumin_middleware/reasons.py`, from which this page is generated: `make docs`). The code stands at the beginning of
the line in the log, in the `reason` of an answer to a program, small on a page, in the event (`on_event`), and in what
`lumin-middleware explain` says. A page also shows a reference, such as `5387-CED9`, and a problem has it as its
`reference`; the line of the same answer has it as `ref=`, and `lumin-middleware explain 5387-CED9 < log` finds it.

Lines go to Python's logger `lumin_middleware`. At DEBUG each request leaves one: method, path, what became of it, why,
and by which rule. No line at any level holds a token, a code, a secret, a cookie's value or an e-mail address.

## Levels

{levels}

| code | level | status |
|---|---|---|
"""


def reasons() -> str:
    """`docs/reasons.md`."""
    rows = (
        f"| [`{reason.code}`](#{reason.code}) | {logging.getLevelName(reason.level)} | {reason.status or ''} |"
        for reason in REASONS.values()
    )
    _, start, table = (_reasons.__doc__ or "").partition("| level ")
    return _ABOUT.format(levels=(start + table).strip()) + "\n".join(rows) + "\n" + "".join(_sections())


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

A setting is an argument, `LuminConfig(timeout=5)`, or a variable of the environment, which `LuminMiddleware(app)`
without a config, `LuminConfig.from_env()` and the command line read. `LUMIN_CLIENT_SECRET_FILE` and its like name a
file that holds the value; a line end or a byte order mark around it is taken off. This page is generated from
`lumin_middleware/config.py`.

What is wrong fails at start, and all of it is told at once: what is missing, cannot be read, is no value that the
setting takes, or is a variable that is nearly one of these; once each is right, what does not fit together. Proxies and
certificates that the environment names and that cannot be used fail as well (`HTTPS_PROXY`, `ALL_PROXY`,
`SSL_CERT_FILE`, `SSL_CERT_DIR`). Other variables that begin with `LUMIN_` may be the application's own: they are named
in the log, and so is one for a setting that no variable can hold.

In a variable a list stands between commas (or spaces, but for `LUMIN_API_PROXY`), yes or no is `true`, `yes`, `on`, `1`
or `false`, `no`, `off`, `0`, a number is written as `30` or `0.5`, and what belongs to paths as
`/sign/*=sign:requests, /templates/*=templates`. An empty variable counts as unset, as templates and Compose files leave
one; a list of commas and spaces alone is refused, and so are brackets or quotes around a list or what is in it.

| setting | variable | default | unit |
|---|---|---|---|
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
    "str": "text",
}
"""By what reads the text of a variable."""


def settings() -> str:
    """`docs/settings.md`: the fields of `LuminConfig` with the texts that stand below them."""
    variables = {setting: (f"`{name}`", _UNITS[read.__name__]) for name, (setting, read) in ENVIRONMENT.items()}
    texts = field_texts(LuminConfig)
    rows, sections = [], []
    for field in dataclasses.fields(LuminConfig):
        variable, unit = variables.get(field.name) or ("-", UNWRITTEN[field.name])
        rows.append(f"| [`{field.name}`](#{field.name}) | {variable} | {_default(field)} | {unit} |")
        least, most = (f"{each:.15g}" for each in SECONDS.get(field.name, (0, 0)))
        bounds = f" From {least} to {most} seconds." if field.name in SECONDS else ""
        sections.append(f"\n### {field.name}\n\n{texts[field.name]}{bounds}\n")
    return _SETTINGS + "\n".join(rows) + "\n" + "".join(sections)


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "none"
    if field.default in (None, ()):
        return "none"
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if field.name == "server":
        return "Lumin"
    return f"`{', '.join(field.default) if isinstance(field.default, tuple) else field.default}`"


_TEXTS = """# Texts

The texts of our pages by their keys, in English, as [`texts=`](pages.md) changes them or gives them in another
language. What stands in braces is filled in. Reasons that say the same share a text. This page is generated from
`lumin_middleware/texts/`.

| key | text |
|---|---|
"""


def texts() -> str:
    """`docs/texts.md`."""
    return _TEXTS + "".join(f"| `{key}` | {text} |\n" for key, text in TEXTS.items())


def example_page() -> str:
    """`examples/page.html`: the look of our pages, for applications that import nothing of it."""
    made = document("$title", "\n<h1>$title</h1>\n$body\n")
    return made.replace("<style>", '<link rel="icon" href="data:,"><style>\n', 1) + "\n"


GENERATED = {
    "docs/reasons.md": reasons,
    "docs/settings.md": settings,
    "docs/texts.md": texts,
    "examples/page.html": example_page,
}
"""Each page, and what it is."""


def main() -> None:
    for name, made in GENERATED.items():
        (ROOT / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
