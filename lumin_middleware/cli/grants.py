"""`lumin-middleware grants`: who has allowed the application to go on without them, and an end to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from ..config import LuminConfig
from ..errors import ConfigurationError, LuminError
from ..grants import Grants
from ..stores import MemoryStore
from .own_store import spoken_to
from .terminal import App, Command, fail, settings_of

grants = typer.Typer(help="See and end what the application may do while people are away.", no_args_is_help=True)

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person: the `sub` that Lumin has for them.")]


@contextmanager
def opened(app: str) -> Iterator[Grants]:
    """The grants of the site of this application, or else of the environment; what goes wrong is told in words."""
    config = settings_of(app)
    if isinstance(config.store, MemoryStore):  # the application's own memory, which is not this process's
        config = replace(config, store="memory://")
    if isinstance(config.store, str):
        with _told(config) as found:
            yield found
    else:
        with spoken_to(config.store) as store, _told(replace(config, store=store)) as found:
            yield found


@contextmanager
def _told(config: LuminConfig) -> Iterator[Grants]:
    with Grants(config) as found:
        try:
            yield found
        except LuminError as error:
            fail(str(error))


def instant(seconds: float) -> str:
    """Epoch seconds, as a person reads them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


@grants.command("list", cls=Command)
def list_grants(app: App = "") -> None:
    """List everybody who has connected.

    A line for each: the `sub` that Lumin has for them.
    """
    with opened(app) as found:
        connected = found.subjects()
        for subject in connected:
            typer.echo(subject)
        if not connected:
            typer.echo(f"Nobody has connected in this store{_which(found)}.", err=True)  # a pipe reads nothing


@grants.command(cls=Command)
def show(subject: Subject, app: App = "") -> None:
    """Show what somebody has allowed.

    A line for each grant: its name, the workspace, since when, until when, and the scopes.
    """
    with opened(app) as found:
        connected = found.find(subject)
        for grant in connected:
            ends = instant(grant.expires_at) if grant.expires_at else "until it is revoked"
            scope = " ".join(sorted(grant.scope))
            typer.echo(f"{grant.name}  {grant.workspace or '-'}  {instant(grant.connected_at)}  {ends}  {scope}")
        if not connected:
            fail(f"This person has connected nothing in this store{_which(found)}.")


@grants.command(cls=Command)
def revoke(
    subject: Subject,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only the grants of this name.")] = None,
    workspace: Annotated[
        str | None, typer.Option(metavar="WORKSPACE", help="Only the grants in this workspace.")
    ] = None,
    app: App = "",
) -> None:
    """End what somebody has allowed, here and at Lumin."""
    with opened(app) as found:
        typer.echo(_counted(found.revoke(subject, name=name, workspace=workspace), "grant"))


@grants.command(cls=Command)
def reseal(app: App = "") -> None:
    """Seal all grants anew, with the newest secret key.

    Do this before you take an old key out of the settings (`secret_key`): what is sealed with it alone could not be
    opened any more.
    """
    with opened(app) as found:
        count = sum(len(found.find(subject)) for subject in found.subjects())
        typer.echo(f"{count} grant{'' if count == 1 else 's'} sealed with the newest key.")


@grants.command(cls=Command)
def abandon(app: App = "") -> None:
    """Give up the grants that no secret key opens, for good.

    Do this where the key is lost, with every key that you still have in the settings (`secret_key`): people can connect
    anew then. At Lumin the old grants go on, and nobody here can revoke them.
    """
    with opened(app) as found:
        found.abandon_unreadable()
        typer.echo("What no key opens is given up.")


@grants.command(cls=Command)
def forget(subject: Subject, app: App = "") -> None:
    """End all that somebody has, and leave nothing of it.

    Their sessions and grants, in the store and at Lumin.
    """
    with opened(app) as found:
        try:
            found.forget(subject)
        except ConfigurationError as error:  # as it says, after the grants
            fail(f"The grants are ended and gone. The sessions are not ({error})")
        typer.echo("Nothing is left of this person.")


def _which(found: Grants) -> str:
    """The store, where another user or another HOME has another one."""
    return f", which is this user's own: {found.store_file}" if found.store_file else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'} ended."
