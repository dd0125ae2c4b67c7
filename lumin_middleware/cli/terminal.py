"""What several commands need: settings, a port, an end, and words for what went wrong."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EADDRNOTAVAIL
from functools import partial
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

from .. import checks
from ..config import LuminConfig
from ..doctor.application import configured, placed
from ..emulator.server import listen as _listen
from ..errors import ConfigurationError

LOOPBACK = "127.0.0.1"
PORT = 8000

NOT_HERE = (EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL)
"""What says that a host is none of this machine's, or none at all."""


class Command(TyperCommand):
    """A command whose usage names what it needs as it is, and not between braces, as if it were to be filled in."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """An option that comes out empty is refused: what is meant is in a variable that is not set. Without a value
        `--host` would be every address, and `--certificate` no certificate."""
        given, _, _ = self.make_parser(ctx).parse_args(args=[*args])
        for each in self.get_params(ctx):
            found = given.get(each.name or "")
            texts = found if isinstance(found, list | tuple) else [found]
            if any(isinstance(text, str) and not text.strip() for text in texts):
                name = each.metavar if each.param_type_name == "argument" else max(each.opts, key=len)
                cure = "give it a value" if each.required else "give it a value, or leave it out"
                fail(f"{name} is empty, as where a variable is not set; {cure}.")
        return super().parse_args(ctx, args)


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def settings(*, unneeded: tuple[str, ...] = (), instead: str = "") -> LuminConfig:
    """The environment's settings; a variable that is `unneeded` may be missing. `instead` is another cure."""
    environ = dict(os.environ)
    for name in unneeded:
        if not is_set(name):
            environ[name] = secrets.token_urlsafe(32)
    try:
        return LuminConfig.from_env(environ)
    except ConfigurationError as error:
        fail(f"The environment's settings cannot be used: {error}{instead}")


def load(name: str) -> Any:
    """An application by `module:name`. Raises `ConfigurationError` where its own settings are wrong."""
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


_IN_CODE = ". An application that has its own is named by --app module:name."
"""What to do where the environment has no settings, since the code has them."""


def settings_of(app: str, *, unneeded: tuple[str, ...] = ()) -> LuminConfig:
    """The settings of the middleware in an application (`module:name`); the environment's where it has no others."""
    if not app:
        return settings(unneeded=unneeded, instead=_IN_CODE)
    return configured(load(app)) or settings(unneeded=unneeded)


def places_of(app: str) -> list[tuple[str, LuminConfig]]:
    """As `settings_of`, below each prefix at which the middleware stands in the application; empty: in the whole."""
    if not app:
        return [("", settings(instead=_IN_CODE))]
    return [(prefix, config or settings()) for prefix, config in placed(load(app)) or [("", None)]]


App = Annotated[
    str,
    typer.Option(
        "--app",
        metavar="APP",
        help="Take the settings of this application, as module:name. Default: the environment's.",
    ),
]


def quiet(context: typer.Context) -> None:
    """The log is silent while the command runs, however an application of `--app` sets it up: all is said here."""
    logger = logging.getLogger("lumin_middleware")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    context.call_on_close(partial(setattr, logger, "propagate", True))


def registered_port() -> int:
    """The port at which the redirect URI expects this machine; behind a tunnel it may be any."""
    config = settings()
    return PORT if config.secure else urlsplit(config.origin).port or 80


def why(error: Exception) -> str:
    """What the system says, without what Python adds about the address."""
    return (getattr(error, "strerror", None) or "no such name").partition(" (while")[0]


def listen(
    port: int | None, host: str = LOOPBACK, take: Callable[[str, int], socket.socket] = _listen
) -> socket.socket:
    """A socket at the port, or a default one; where that is taken, at any."""
    require_place(host)
    try:
        return take(host, PORT if port is None else port)
    except OSError as error:
        if error.errno in NOT_HERE:
            fail(f"{host!r} is no address of this machine; choose another --host.")
        if port is None:
            return take(host, 0)
        fail(f"Port {port} cannot be used ({why(error)}); choose another --port.")


_SHORT = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
"""A number that systems read as an address: 127.1, and 0, which is every one."""


def require_place(host: str) -> None:
    """Ends the command where nobody can listen there, or where it is not plain who could come."""
    try:
        checks.host("--host", host)
        is_plain = checks.is_address(host) or not _SHORT.fullmatch(host)
    except ConfigurationError:
        is_plain = False
    if not is_plain:
        every = "give an address in full, such as 127.0.0.1, or 0.0.0.0 for every one"
        fail(f"{host!r} is no address of this machine; choose another --host: {every}.")


@contextmanager
def until_stopped() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, and are no failure."""
    # uvicorn raises a signal again once it has shut down, for whoever handled it before: this.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
