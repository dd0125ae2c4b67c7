"""`lumin-middleware doctor`: what the settings would meet, check by check."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..doctor.application import application, configured
from ..doctor.examination import Looking, examine
from ..doctor.findings import Finding
from ..doctor.settings import read, refused, taken
from ..errors import ConfigurationError
from .terminal import load, quiet

_MARKS = {"ok": ("ok", "green"), "doubtful": ("DOUBTFUL", "yellow"), "wrong": ("WRONG", "bold red")}


def doctor(
    context: typer.Context,
    app: Annotated[str, typer.Option(metavar="APP", help="Look at this application too, as module:name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, when all are made.")] = False,
) -> None:
    """Say what is wrong with the settings, and what to do about it.

    They are the environment's, or those that the application of --app makes itself. The authorization server, the API
    and the store are really asked; nobody is signed in, and nothing is left behind. The exit code is 1 where something
    is wrong.
    """
    quiet(context)
    if as_json:
        findings = list(_findings(app))
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        findings = _live(app)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)


def _findings(name: str, looking: Looking = lambda what: None) -> Iterator[Finding]:
    app, config = None, None
    try:
        if name:
            app = load(name)
            config = configured(app)
    except ConfigurationError as error:
        yield from refused(error)
        return
    config, findings = (config, taken(name)) if config is not None else read()
    yield from findings
    if config is not None:
        yield from examine(config, app, looking)
    elif app is not None:
        yield from application(app, None)


def _live(app: str) -> list[Finding]:
    """The findings, each told as it is made; below them, at a terminal, what is looked at."""
    console = Console(highlight=False, soft_wrap=True)
    telling = _Telling(console)
    with console.status("") as status:

        def looking(what: str) -> None:
            telling.advise()  # what is looked at next may take its time
            status.update(f"Looking at {what} …")

        for finding in _findings(app, looking):
            telling.tell(finding)
        telling.advise()
    findings = telling.told
    wrong, doubtful = (sum(finding.level == level for finding in findings) for level in ("wrong", "doubtful"))
    console.print(f"\n{len(findings)} findings: {wrong} wrong, {doubtful} doubtful.")
    return findings


class _Telling:
    """Tells findings one by one. Why and cure that several in a row share are told once, below the last of them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._advice = Text()
        self.told: list[Finding] = []

    def tell(self, finding: Finding) -> None:
        advice = _advice(finding)
        if advice != self._advice:
            self.advise()
        mark, style = _MARKS[finding.level]
        self._console.print(Text.assemble((f"{mark:9}", style), f"{finding.check}: {finding.what}"))
        self._advice = advice
        self.told.append(finding)

    def advise(self) -> None:
        """Tells the advice that is due."""
        if self._advice:
            self._console.print(self._advice)
        self._advice = Text()


def _advice(finding: Finding) -> Text:
    told = ((name, said) for name, said in (("why", finding.why), ("cure", finding.cure)) if said)
    return Text("\n").join(Text.assemble(f"{'':9}", (f"{name}: ", "dim"), said) for name, said in told)
