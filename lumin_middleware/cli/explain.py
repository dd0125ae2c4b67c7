"""`lumin-middleware explain`: what would become of a request, or what a page's reference meant."""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Annotated
from urllib.parse import unquote

import typer

from ..explanation import Explanation, unseen
from ..explanation import explain as explained
from ..reasons import REASONS, Reason
from .terminal import App, fail, places_of

REFERENCE = re.compile("[0-9A-F]{4}-[0-9A-F]{4}")


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A method (then PATH too), a path (of a GET), a page's reference, or a reason."
        ),
    ],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The path as it stands on the wire, with its query.")
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="A header, 'Name: value'; may be repeated.")
    ] = None,
    cookie: Annotated[
        list[str] | None, typer.Option(metavar="COOKIE", help="A cookie, 'name=value'; may be repeated.")
    ] = None,
    who: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="WHO",
            help="Who asks: nobody; someone, who gave all scopes of the settings; or somebody who gave these:"
            " 'openid sign:requests'.",
        ),
    ] = "nobody",
    peer: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where the request comes from; for trusted_proxies.")
    ] = "",
    app: App = "",
) -> None:
    """Say what would become of a request, and why.

    For example: explain GET /orders --header 'Accept: text/html' --as someone. No server and no store is asked, and
    nothing is sent; where the answer depends on them, that is said.

    With a page's reference, such as 5387-CED9, it finds that line in the log on stdin, and says what it means.
    """
    logging.getLogger("lumin_middleware").addHandler(logging.NullHandler())  # all that it says is said here
    if not path and what.startswith("/"):
        what, path = "GET", what
    if not path and REFERENCE.fullmatch(what.upper()):
        _tell_reference(what.upper())
    elif not path and what in REASONS:
        _tell(REASONS[what])
    elif path.startswith("/"):
        _tell_request(app, what.upper(), path, header or [], cookie or [], who, peer)
    else:
        fail(
            "Give a path (/orders), after its method if that is not GET (POST /orders), a reference (5387-CED9 < log),"
            " or a reason (unknown_login)."
        )


def _tell_reference(reference: str) -> None:
    lines = [line.rstrip("\n") for line in sys.stdin if f"ref='{reference}'" in line]
    if not lines:
        fail(
            f"No line on stdin has ref='{reference}'. Give it the log: lumin-middleware explain {reference} < log. "
            "Is the logger lumin_middleware at INFO there, and for what each request may meet (`no_session`) at DEBUG? "
            "By itself Python shows WARNING and above."
        )
    for line in lines:
        typer.echo(line)
    codes = dict.fromkeys(code for line in lines for code in re.findall(r"\b([a-z_]+): ", line) if code in REASONS)
    for code in codes:
        typer.echo()
        _tell(REASONS[code])


def _tell(reason: Reason) -> None:
    typer.echo(f"{reason.code} ({logging.getLevelName(reason.level)})")
    typer.echo(f"  what        {reason.what}")
    if reason.person:
        typer.echo(f"  on the page {reason.title}. {reason.person}")
    typer.echo(f"  what to do  {reason.cure}")


def _tell_request(app: str, method: str, path: str, header: list[str], cookie: list[str], who: str, peer: str) -> None:
    places = places_of(app)
    route = unquote(path.partition("?")[0])
    mount, config = next((each for each in places if f"{route}/".startswith(f"{each[0]}/")), ("", None))
    if config is None:
        _show(unseen(method, path, [prefix for prefix, _ in places]), who)
        return
    headers = [_pair(each, ":") for each in header]
    if cookie:
        headers.append(("cookie", "; ".join(cookie)))
    scope = {"nobody": None, "someone": config.scope.split()}.get(who, who.split())
    found = explained(config, method, path, headers=headers, scope=scope, peer=peer, mount=mount, clock=time.time)
    _show(found, who)


def _pair(text: str, mark: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name.strip():
        fail(f"{text!r} is no header; write 'Accept: text/html'.")
    return name.strip(), value.strip()


def _show(found: Explanation, who: str) -> None:
    typer.echo(f"{found.method} {found.path}, as {who}")
    typer.echo(f"  rule        {found.by}")
    for reading in found.readings:
        typer.echo(f"  reading     {reading}")
    for line in _answer(found):
        typer.echo(f"  {line}")
    for each in found.depends:
        typer.echo(f"  depends on  {each}")


def _answer(found: Explanation) -> list[str]:
    if found.reason is None:
        return ["answer      cannot be told from here"]
    answer = "goes on to the application" if found.status is None else f"{found.status}"
    return [
        f"answer      {answer}{f' to {found.location}' if found.location else ''}",
        f"reason      {found.reason.code}: {found.reason.what}",
        f"what to do  {found.reason.cure}",
    ]
