"""`lumin-middleware doctor`: what the settings would meet, check by check."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from typing import Annotated, Any

import typer

from ..config import LuminConfig
from ..doctor.application import application
from ..doctor.examination import examine
from ..doctor.findings import Finding
from ..doctor.settings import read
from .terminal import fail

_MARKS = {"ok": "ok", "doubtful": "DOUBTFUL", "wrong": "WRONG"}


def doctor(
    app: Annotated[str, typer.Option(help="The application, as module:name; where the middleware stands in it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, when all are made.")] = False,
) -> None:
    """Look at everything that the environment's settings would meet, and say what is wrong, why, and what to do.

    The authorization server, the API and the store are really asked; nobody is signed in, and nothing is left behind.
    The exit code is 1 where something is wrong.
    """
    logging.getLogger("lumin_middleware").addHandler(logging.NullHandler())  # all that it says is said here
    loaded = _load(app) if app else None
    config, findings = read()
    if not as_json:
        for finding in findings:
            _tell(finding)
    for finding in _rest(config, loaded):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _sum_up(findings)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)


def _rest(config: LuminConfig | None, app: Any) -> Any:
    if config is not None:
        return examine(config, app)
    return application(app, None) if app is not None else ()


def _load(name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    module, found, attribute = name.partition(":")
    if not found:
        fail(f"{name!r} is no application; write module:name.")
    try:
        value = __import__(module, fromlist=["*"])
        for each in attribute.split("."):
            value = getattr(value, each)
    except (ImportError, AttributeError) as error:
        fail(f"{name} cannot be loaded: {error}")
    return value


def _tell(finding: Finding) -> None:
    typer.echo(f"{_MARKS[finding.level]:9}{finding.check}: {finding.what}")
    if finding.why:
        typer.echo(f"         why: {finding.why}")
    if finding.cure:
        typer.echo(f"         cure: {finding.cure}")


def _sum_up(findings: list[Finding]) -> None:
    wrong = sum(finding.level == "wrong" for finding in findings)
    doubtful = sum(finding.level == "doubtful" for finding in findings)
    typer.echo(f"\n{len(findings)} findings: {wrong} wrong, {doubtful} doubtful.")
