"""Serving the emulator over a real socket, in a thread for tests or in the foreground for people."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .emulator import Emulator

if TYPE_CHECKING:
    from .uvicorn_server import Server


@dataclass(frozen=True)
class Running:
    """An emulator that answers at `base`."""

    emulator: Emulator
    base: str


@contextmanager
def serve(
    make: Callable[..., Emulator] = Emulator, *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> Iterator[Running]:
    """Serve an emulator in a thread, on a free port of the loopback interface unless told otherwise.

    `make(base=…, **options)` builds it once the port is known; a `base` among the options wins, for an
    emulator behind a proxy. It is stopped when the block ends.
    """
    with listen(host, port) as listener:
        emulator = make(**{"base": _base(listener), **options})
        server = _server(emulator)
        thread = threading.Thread(target=_run, args=[server, listener], name="lumin-emulator")
        thread.start()
        try:
            yield Running(emulator, emulator.base)  # connections wait in the socket's queue until it is up
        finally:
            server.end()
            thread.join()


def _run(server: Server, listener: socket.socket) -> None:
    # Whichever loop the rest of the process has chosen: uvloop's, if it is ended at once, may wait for ever.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(server.serve(sockets=[listener]))


def run(
    emulator: Emulator | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 4444,
    ready: Callable[[Running], object] | None = None,
    **options: Any,
) -> None:
    """Serve an emulator in the foreground until a signal ends it. Prints nothing.

    Without `emulator` one is built with `options`. `ready` is called once the port is bound.
    """
    with listen(host, port) as listener:
        emulator = emulator or Emulator(**{"base": _base(listener), **options})
        if ready:
            ready(Running(emulator, emulator.base))
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly end
            _server(emulator).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket to serve from. Raises `OSError` where that cannot be, and `ConfigurationError` for no host at all, which
    the system would take for every address."""
    if not host.strip():
        raise ConfigurationError("host", "is empty; name an address, such as 127.0.0.1, or 0.0.0.0 for every one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # Connections inherit it. asyncio sets it only where it made the socket, and without it an answer in two pieces
    # waits 40 ms for the client's acknowledgement (RFC 9293, 3.7.4).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def reached_at(host: str) -> str:
    """Where what listens at `host` is reached from this machine: at everywhere nobody can go, but at one of all."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    everywhere = (getattr(address, "ipv4_mapped", None) or address).is_unspecified
    return ("127.0.0.1" if "." in host else "::1") if everywhere else host


def _base(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = reached_at(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(emulator: Emulator) -> Server:
    from .uvicorn_server import serving  # an extra brings uvicorn

    return serving(emulator.app)
