"""What the acceptance tests can ask for: sites with other settings for each kind of sessions, a listener, a log."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests import serving
from tests.patience import PATIENCE
from tests.site_rig import CLIENT, SESSION, Site

SECRETS = ("ory_at_", "ory_rt_", "ory_ac_", "eyJ", CLIENT.client_secret, f"{SESSION}=")
"""What no line of a log may hold: tokens, codes, ID tokens, the client's secret, our cookies."""


@pytest.fixture(params=["cookie", "store"])
def new_each_site(request: pytest.FixtureRequest, new_site: Callable[..., Site]) -> Callable[..., Site]:
    """Makes sites with other settings, for each kind of sessions."""

    def new(**options: Any) -> Site:
        return new_site(sessions=request.param, **options)

    return new


class Log(logging.Handler):
    """Every line that the middleware wrote, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """The middleware's log; after every test, whatever it did, it holds no secret and no forged line."""
    handler = Log()
    logger = logging.getLogger("lumin_middleware")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)
    for record in handler.records:
        if record.name.startswith("lumin_middleware.emulator"):
            continue
        text = record.getMessage() + (str(record.exc_info) if record.exc_info else "")
        assert not [secret for secret in SECRETS if secret in text], text
        assert text.isprintable(), f"a line of the log can be forged: {text!r}"


class Listener:
    """An attacker's server, which must hear nothing. `url` leads to it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.heard: list[bytes] = []
        self.thread = threading.Thread(target=self._listen, name="attacker")
        self.thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(PATIENCE)
                data = connection.recv(65536)
                if data == b"bye":
                    return
                self.heard.append(data)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def close(self) -> None:
        with socket.create_connection(self.socket.getsockname()) as last:
            last.sendall(b"bye")
        self.thread.join()
        self.socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener that must stay silent: the test fails when anybody calls."""
    attacker = Listener()
    yield attacker
    attacker.close()
    assert attacker.heard == []


@pytest.fixture
def served() -> Iterator[Callable[..., int]]:
    """Serves applications with uvicorn on free loopback ports: `port = served(app)`."""
    with ExitStack() as stack:

        def serve(app: Any, **options: Any) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(serving.served(app, listener, **{"ws": "wsproto", **options}))
            return int(listener.getsockname()[1])

        yield serve
