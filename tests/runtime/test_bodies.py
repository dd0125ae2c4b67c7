"""Bodies of requests to our own routes: no stranger's is read for long, or far."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.serving import make_server

from lumin_middleware.errors import RequestRefused
from lumin_middleware.ports import run
from lumin_middleware.runtime import bodies
from lumin_middleware.runtime.bodies import BODY_LIMIT, AsgiBody, WsgiBody
from lumin_middleware.wsgi import LuminMiddleware
from tests.fakes import config
from tests.patience import PATIENCE

AT_ONCE = 0.05
"""Seconds: a limit that is to strike."""


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def read(*messages: dict[str, Any]) -> bytes:
    """A body that comes in these messages, and then no more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return await AsgiBody(receive)()


async def refused(*messages: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        await read(*messages)
    return caught.value.status, caught.value.reason


# --- on an event loop -----------------------------------------------------------------------------------


async def test_a_body_is_read_to_its_end():
    assert await read(piece(b"a="), piece(b""), piece(b"b"), {"type": "http.request"}) == b"a=b"
    assert await read({"type": "http.request"}) == b""
    assert len(await read(piece(b"x" * BODY_LIMIT, more=False))) == BODY_LIMIT


async def test_a_body_is_read_no_further_than_its_limit():
    assert await refused(piece(b"x" * BODY_LIMIT), piece(b"x")) == (413, "too_large")


@pytest.mark.parametrize("begun", [[], [piece(b"a=")]], ids=["nothing", "a piece"])
async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_its_limit(monkeypatch, begun):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", AT_ONCE)
    assert await refused(*begun) == (408, "too_slow")


async def test_a_body_that_drips_is_bounded_in_all(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", AT_ONCE)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(AT_ONCE / 10)
        return piece(b"x")

    with pytest.raises(RequestRefused, match="slowly"):
        await AsgiBody(receive)()


async def test_a_body_whose_client_leaves_is_none():
    assert await refused(piece(b"logout_token=x"), {"type": "http.disconnect"}) == (400, "bad_request")


async def test_whoever_else_cancels_the_request_is_obeyed():
    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


# --- in a thread ----------------------------------------------------------------------------------------


class Endless:
    """A connection, at whose end nobody may read: it stays open."""

    def read(self, size: int) -> bytes:
        raise AssertionError


def wsgi_refused(environ: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        run(WsgiBody(environ)())
    return caught.value.status, caught.value.reason


def test_a_body_is_read_as_far_as_its_length():
    assert run(WsgiBody({"CONTENT_LENGTH": "3", "wsgi.input": io.BytesIO(b"a=bc")})()) == b"a=b"
    for nothing in ({}, {"SERVER_PROTOCOL": "HTTP/1.1"}, {"CONTENT_LENGTH": "", "CONTENT_TYPE": ""}):
        assert run(WsgiBody({"wsgi.input": Endless(), **nothing})()) == b""


@pytest.mark.parametrize("length", [str(BODY_LIMIT + 1), "-1", "1e3", "²", "x", "9" * 30])
def test_a_length_that_is_too_large_or_no_number_is_refused(length):
    assert wsgi_refused({"CONTENT_LENGTH": length, "wsgi.input": None}) == (413, "too_large")


@pytest.mark.parametrize(
    "more", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_TYPE": "text/plain"}, {"SERVER_PROTOCOL": "HTTP/2"}]
)
def test_a_body_without_a_length_is_refused_and_not_taken_for_none(more):
    environ = {"wsgi.input": Endless(), **more}
    assert wsgi_refused(environ) == wsgi_refused({**environ, "CONTENT_LENGTH": ""}) == (411, "bad_request")


@pytest.mark.parametrize("more", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"SERVER_PROTOCOL": "HTTP/2"}, {}])
def test_a_body_without_a_length_is_read_where_it_ends_by_itself(more):
    assert run(WsgiBody({"wsgi.input": io.BytesIO(b"a=b"), **more})()) == b"a=b"
    terminated = {"wsgi.input": io.BufferedReader(io.BytesIO(b"a=b")), "wsgi.input_terminated": True, **more}
    assert run(WsgiBody(terminated)()) == b"a=b"
    assert wsgi_refused({"wsgi.input": io.BytesIO(b"x" * (BODY_LIMIT + 1)), **more}) == (413, "too_large")


def test_a_body_that_ends_early_is_none():
    assert wsgi_refused({"CONTENT_LENGTH": "9", "wsgi.input": io.BytesIO(b"a=b")}) == (400, "bad_request")


def test_a_server_that_waits_no_longer_says_so():
    class Impatient:
        def read(self, size: int) -> bytes:
            raise OSError("timed out")

    assert wsgi_refused({"CONTENT_LENGTH": "9", "wsgi.input": Impatient()}) == (408, "too_slow")


@pytest.mark.parametrize("sent", [b"", b"a="], ids=["nothing", "a piece"])
@pytest.mark.parametrize("name", bodies.SOCKETS)
def test_where_the_server_shows_the_connection_a_read_ends_at_its_time(monkeypatch, name, sent):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", AT_ONCE)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(sent)
        assert wsgi_refused({"CONTENT_LENGTH": "9", "wsgi.input": stream, name: ours}) == (408, "too_slow")
        ours.sendall(b"HTTP/1.1 408")  # what is left of the connection can still be written to
        assert theirs.recv(100) == b"HTTP/1.1 408"


def test_a_body_that_comes_in_time_leaves_the_connection_as_it_was(monkeypatch):
    timers = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: timers.append(timer))
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(b"a=bGET /")
        assert run(WsgiBody({"CONTENT_LENGTH": "3", "wsgi.input": stream, bodies.SOCKETS[0]: ours})()) == b"a=b"
        assert stream.read(5) == b"GET /"
    assert [timer.finished.is_set() for timer in timers] == [True]


@contextmanager
def served(app: Any) -> Iterator[tuple[str, int]]:
    """A server of Werkzeug's with the application, which has one thread for each connection."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield "127.0.0.1", server.port
    finally:
        server.shutdown()
        serving.join(PATIENCE)
        server.server_close()
        app.close()


def test_a_stranger_s_login_by_post_holds_no_worker_for_long(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT", AT_ONCE)
    app = LuminMiddleware(lambda environ, start_response: [], config(store="memory://"))
    with served(app) as address, socket.create_connection(address, timeout=PATIENCE) as stranger:
        head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        stranger.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\niss=".encode())
        assert stranger.recv(4096).split(b" ")[1] == b"408"
