"""`lumin-middleware sessions`: where somebody is signed in, and an end to it, as when they leave."""

from __future__ import annotations

import typer

from .grants import Subject, instant, opened
from .terminal import App, Command

sessions = typer.Typer(help="See and end somebody's sessions.", no_args_is_help=True)


@sessions.command("list", cls=Command)
def list_sessions(subject: Subject, app: App = "") -> None:
    """List somebody's sessions.

    A line for each: a name for it, and when it began.
    """
    with opened(app) as found:
        for session in found.sessions(subject):
            typer.echo(f"{session.name}  {instant(session.began)}")


@sessions.command(cls=Command)
def end(subject: Subject, app: App = "") -> None:
    """Sign somebody out everywhere."""
    with opened(app) as found:
        number = found.end_sessions(subject)
        typer.echo(f"{number} session{'' if number == 1 else 's'} ended.")
