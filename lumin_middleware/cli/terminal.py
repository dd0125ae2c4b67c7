"""What several commands need: settings, a port, an end, and words for what went wrong."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import typer

from ..config import LuminConfig
from ..emulator.server import listen as _bind
from ..errors import ConfigurationError

LOOPBACK = "127.0.0.1"
PORT = 8000


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def settings(*, unneeded: tuple[str, ...] = ()) -> LuminConfig:
    """The environment's settings; a variable that is `unneeded` may be missing."""
    environ = dict(os.environ)
    for name in unneeded:
        if not is_set(name):
            environ[name] = secrets.token_urlsafe(32)
    try:
        return LuminConfig.from_env(environ)
    except ConfigurationError as error:
        fail(f"The environment's settings cannot be used: {error}")


def registered_port() -> int:
    """The port at which the redirect URI expects this machine; behind a tunnel it may be any."""
    config = settings()
    return PORT if config.secure else urlsplit(config.origin).port or 80


def listen(port: int | None, host: str = LOOPBACK) -> socket.socket:
    try:
        return _bind(host, PORT if port is None else port)
    except OSError as error:
        if port is None:
            return _bind(LOOPBACK, 0)
        fail(f"Port {port} cannot be used ({error.strerror}); choose another --port.")


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


def log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("lumin_middleware")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
