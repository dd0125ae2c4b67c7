"""`lumin-middleware explain`: what would become of a request, or what a page's reference meant."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import unquote

import typer

from ..config import LuminConfig
from ..explanation import Explanation, unseen
from ..explanation import explain as explained
from ..reasons import REASONS, Reason
from .terminal import App, Command, fail, places_of, quiet

REFERENCE = re.compile(r"(?<![\w/-])([0-9A-F]{4})[-\u2010-\u2015]([0-9A-F]{4})(?![\w/-])", re.IGNORECASE)
"""A page's reference, whatever stands around it but a path; a program may have made another dash of its hyphen."""

AROUND = " \t`'\"()[]{}<>.,:;"
"""What is copied along with a word."""

METHOD = re.compile("[A-Za-z-]+")
"""The methods that are registered (IANA, HTTP Method Registry)."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Those that browsers send: whoever begins with one means a request."""

SITE = re.compile("(?i)https?://[^/?#]+")

COOKIE = re.compile(r"[!#$%&'*+.^`|~\w-]+=.*", re.ASCII)
"""A cookie in a request (RFC 6265, 4.2.1)."""


PAGE = ("Accept", "text/html")
"""What a browser says that goes to a page. Whoever says nothing is answered as a script is."""


class Words(Command):
    """A command that takes more words than it names: what is copied without quotes is several."""

    allow_extra_args = True


def explain(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A method (then PATH too), a path (of a GET), a page's reference, or a reason."
        ),
    ],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The path as it stands on the wire, with its query; or its whole URL.")
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
            " 'openid sign:requests', each a scope of the settings.",
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
    quiet(context)
    words = [what, *([path] if path else []), *context.args]
    if reference := _reference(words):
        _tell_reference(reference)
    elif len(words) == 1 and what.strip(AROUND) in REASONS:
        _tell(REASONS[what.strip(AROUND)])
    else:
        method, site, target = _asked(words)
        _tell_request(app, method, site, target, header or [], cookie or [], who, peer)


def _reference(words: list[str]) -> str:
    """The one reference in what was copied, from a page, a problem or the log; empty where a request is meant."""
    if words[0].upper() in METHODS or any(word.startswith("/") or SITE.match(word) for word in words[:2]):
        return ""
    found = {f"{one}-{other}".upper() for one, other in REFERENCE.findall(" ".join(words))}
    return found.pop() if len(found) == 1 else ""


def _asked(words: list[str]) -> tuple[str, str, str]:
    """Which request is meant: the method, the site where a whole URL names it, and the path."""
    what, path, *_ = [*words, ""]
    if len(words) == 1 and (what.startswith("/") or SITE.match(what)):
        what, path = "GET", what
    site = SITE.match(path)
    target = path.partition("#")[0].removeprefix(site[0] if site else "")
    unclear = not path or len(words) > 2 or not METHOD.fullmatch(what)
    if unclear or re.match("[a-z]+://", target, re.IGNORECASE):
        fail(
            "Give a path (/orders), after its method if that is not GET (POST /orders), a reference (5387-CED9 < log),"
            " or a reason (unknown_login)."
        )
    return what.upper(), site[0] if site else "", target if target.startswith("/") else f"/{target}"


def _tell_reference(reference: str) -> None:
    if sys.stdin.isatty():
        typer.echo("Paste the log here, and end it with Ctrl-D.", err=True)
    log = [line.rstrip("\n") for line in sys.stdin]
    if lines := [line for line in log if f"ref='{reference}'" in line]:
        _tell_lines(lines, dict.fromkeys(code for line in lines for code in _codes(line)))
        return
    typer.echo(
        f"No line on stdin has ref='{reference}'. Give it the log: lumin-middleware explain {reference} < log. "
        "Is the logger lumin_middleware at INFO there, and for what each request may meet (`no_session`) at DEBUG? "
        "By itself Python shows WARNING and above.",
        err=True,
    )
    if last := {code: line for line in log for code in _codes(line) if REASONS[code].level == logging.CRITICAL}:
        typer.echo("But nobody can sign in, as this says; look whether it is of the same minute:", err=True)
        _tell_lines(last.values(), last)
    raise typer.Exit(1)


def _tell_lines(lines: Iterable[str], codes: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
    for code in codes:
        typer.echo()
        _tell(REASONS[code])


def _codes(line: str) -> list[str]:
    return [code for code in re.findall(r"\b([a-z_]+): ", line) if code in REASONS]


def _tell(reason: Reason) -> None:
    typer.echo(f"{reason.code} ({logging.getLevelName(reason.level)})")
    typer.echo(f"  what        {reason.what}")
    if reason.person:
        typer.echo(f"  on the page {reason.title}. {reason.person}")
    typer.echo(f"  what to do  {reason.cure}")


def _tell_request(
    app: str, method: str, site: str, path: str, header: list[str], cookie: list[str], who: str, peer: str
) -> None:
    who = who.lower() if who.lower() in ("nobody", "someone") else who
    headers = [_header(each) for each in header]
    if cookie:
        headers.append(("cookie", "; ".join(_cookies(each) for each in cookie)))
    _require_address(peer)
    places = places_of(app)
    route = unquote(path.partition("?")[0])
    mount, config = next((each for each in places if f"{route}/".startswith(f"{each[0]}/")), ("", None))
    if config is None:
        _show(unseen(method, path, [prefix for prefix, _ in places]), who)
        return
    if site and site.lower() != config.origin:
        fail(f"{site} is not this site, which is at {config.origin}. Give the path alone, if it is meant.")
    scope = _granted(who, config)
    ask = partial(explained, config, method, path, scope=scope, peer=peer, mount=mount, clock=time.time)
    found = ask(headers=headers)
    _show(found, who)
    if not any(name.lower() == "accept" for name, _ in headers):
        page = ask(headers=[*headers, PAGE])
        if (page.status, page.location) != (found.status, found.location):
            typer.echo(f"A browser that goes there says '{': '.join(PAGE)}', and is answered {_answered(page)}.")


def _granted(who: str, config: LuminConfig) -> list[str] | None:
    """The scopes of whoever asks; None for nobody."""
    asked = config.scope.split()
    if who in ("nobody", "someone"):
        return None if who == "nobody" else asked
    named = dict.fromkeys([*asked, *" ".join(config.required_scopes.values()).split()])
    if not who.split() or not set(who.split()) <= set(named):
        fail(f"--as {who!r}: say nobody, someone, or scopes of these settings: {' '.join(named)}.")
    return who.split()


def _header(text: str) -> tuple[str, str]:
    name, found, value = text.partition(":")
    if not found or not name.strip():
        fail(f"{text!r} is no header; write 'Accept: text/html'.")
    return name.strip(), value.strip()


def _cookies(text: str) -> str:
    for each in text.split(";"):
        if not COOKIE.fullmatch(each.strip()):
            fail(f"{each.strip()!r} is no cookie; write 'name=value'.")
    return text


def _require_address(peer: str) -> None:
    try:
        ip_address(peer or "::")
    except ValueError:
        fail(f"{peer!r} is no IP address; --peer is where the request comes from, such as 127.0.0.1.")


def _show(found: Explanation, who: str) -> None:
    typer.echo(f"{found.method} {found.path}, as {who}")
    typer.echo(f"  rule        {found.by}")
    for reading in found.readings:
        typer.echo(f"  reading     {reading}")
    for each in found.asks:
        typer.echo(f"  asks for    {each}")
    for line in _answer(found):
        typer.echo(f"  {line}")
    for each in found.depends:
        typer.echo(f"  depends on  {each}")


def _answer(found: Explanation) -> list[str]:
    if found.reason is None:
        return ["answer      cannot be told from here"]
    return [
        f"answer      {_answered(found)}",
        f"reason      {found.reason.code}: {found.reason.what}",
        f"what to do  {found.reason.cure}",
    ]


def _answered(found: Explanation) -> str:
    answer = "goes on to the application" if found.status is None else f"{found.status}"
    return f"{answer} to {found.location}" if found.location else answer
