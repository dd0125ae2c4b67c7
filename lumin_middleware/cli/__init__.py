"""The command line: a demo, a local Lumin, a gateway, settings for proxies, stores, new secret keys.

For people at a terminal, one file a command; the library never imports it, and it needs the extra `cli`. What it serves
is on loopback unless told otherwise, and ends quietly with Ctrl-C or SIGTERM.
"""

import sys


def main() -> None:
    """The command `lumin-middleware`."""
    try:
        import typer
    except ModuleNotFoundError:
        sys.stderr.write("The command line is an extra of its own: pip install 'lumin-middleware[cli]'\n")
        sys.exit(2)
    from ..errors import LuminError
    from .demo import demo
    from .doctor import doctor
    from .emulator import emulator
    from .explain import explain
    from .proxy import proxy
    from .secret import secret
    from .snippets import snippets
    from .store import store

    commands = typer.Typer(
        help="Sign in with Lumin: a demo, a local Lumin, a gateway, settings for proxies, stores, new secret keys.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # plain help does not cut the options' names short
        pretty_exceptions_enable=False,
    )
    for command in (demo, emulator, proxy, snippets, secret, explain, doctor):
        commands.command()(command)
    for name, group in {"store": store}.items():
        commands.add_typer(group, name=name)
    try:
        commands(prog_name="lumin-middleware")
    except LuminError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
