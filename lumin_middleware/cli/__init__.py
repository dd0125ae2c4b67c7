"""What can be done at a terminal?

A demo, a local Lumin, a gateway, settings for proxies, stores, grants, sessions, new secret keys, and two commands that
look at a site: what its settings would meet, and what would become of a request. One file a command; the library never
imports it, and it needs the extra `cli`. What it serves is on loopback unless told otherwise, and ends quietly with
Ctrl-C or SIGTERM.
"""

import sys
from importlib.metadata import version
from typing import Any

from .stdout import written

NAME = "lumin-middleware"

EXTRA = ("typer", "rich", "uvicorn")
"""The modules of the extra `cli` that the commands import. What else is missing is an application's own."""


def main() -> None:
    """The command `lumin-middleware`."""
    with written():
        _main()


def _main() -> None:
    match sys.argv[1:]:  # what a machine without the extra is asked for, too
        case ["secret"]:
            from .secret import secret

            secret()
        case ["--version"]:
            print(version(NAME))
        case _:
            try:
                _run()
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in EXTRA:
                    raise
                extra = f"pip install '{NAME}[cli]'"
                sys.stderr.write(f"The command line is an extra of its own, and {error.name} is missing: {extra}\n")
                sys.exit(2)


def _run() -> None:
    from ..errors import LuminError

    commands = _commands()
    try:
        commands(prog_name=NAME)
    except LuminError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def _commands() -> Any:
    import typer

    from .demo import demo
    from .doctor import doctor
    from .emulator import emulator
    from .explain import Words, explain
    from .grants import grants
    from .proxy import proxy
    from .secret import secret
    from .sessions import sessions
    from .snippets import snippets
    from .store import store
    from .terminal import Command

    commands = typer.Typer(
        help="Sign in with Lumin: try it with a local Lumin, put it before a service, look at a site's settings, and "
        "see and end what people were granted. What needs settings takes them from the environment "
        "(LUMIN_CLIENT_ID and its kin).",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # plain help does not cut the options' names short
        pretty_exceptions_enable=False,
    )

    @commands.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", help="Say which version this is.", callback=_say_version, is_eager=True
        ),
    ) -> None: ...

    for command in (demo, emulator, proxy, snippets, secret, explain, doctor):
        commands.command(cls=Words if command is explain else Command)(command)
    for name, group in {"grants": grants, "sessions": sessions, "store": store}.items():
        commands.add_typer(group, name=name)
    return commands


def _say_version(asked: bool) -> None:
    import typer

    if asked:
        typer.echo(version(NAME))
        raise typer.Exit
