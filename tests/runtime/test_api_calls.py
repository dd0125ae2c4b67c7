"""Calls that are carried over real connections: in pieces, in bounded memory, and no longer than somebody waits."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests import bff
from tests.bff import Bff
from tests.patience import PATIENCE
from tests.upstream import Call, answer, say

MIB = 1024 * 1024
SIZE = int(os.environ.get("TRANSFER_MIB", "256")) * MIB
GROWTH = 32 * MIB
STALL = 0.5  # seconds in which nothing more can be sent: the other side takes no more
PIECE = bytes(65_536)


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def served(request: pytest.FixtureRequest) -> Iterator[Bff]:
    with bff.serve(request.param) as running:
        running.edge = request.param
        yield running


@pytest.fixture
def site(served: Bff) -> Bff:
    """The site with an API that has forgotten what was before."""
    served.api.calls.clear()
    served.api.play = say(answer())
    return served


@pytest.fixture(scope="module")
def asgi_only() -> Iterator[Bff]:
    with bff.serve("asgi") as running:
        yield running


@pytest.fixture
def asgi(asgi_only: Bff) -> Bff:
    """A site under uvicorn."""
    asgi_only.api.calls.clear()
    asgi_only.api.play = say(answer())
    return asgi_only


@pytest.fixture
def page(site: Bff) -> Iterator[httpx2.Client]:
    """A page of that site."""
    with httpx2.Client(base_url=f"{site.base}/auth/api", headers=site.headers, timeout=PATIENCE) as client:
        yield client


@contextmanager
def connection(site: Bff, head: str, **headers: str) -> Iterator[socket.socket]:
    """A connection on which the head of a request was sent."""
    host, port = site.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as opened:
        lines = [f"{head} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in {**site.headers, **headers}.items()]
        opened.sendall("\r\n".join([*lines, "", ""]).encode())
        yield opened


def everything(opened: socket.socket) -> bytes:
    found = b""
    while data := opened.recv(65_536):
        found += data
    return found


def send_all(opened: socket.socket, size: int, on_stall: Callable[[int], object]) -> int:
    """Sends this many bytes, and says how many there were when the other side took no more."""
    sent = 0
    opened.settimeout(STALL)
    while sent < size:
        try:
            sent += opened.send(PIECE[: size - sent])
        except TimeoutError:
            on_stall(sent)
            opened.settimeout(PATIENCE)
    return sent


# --- memory ---------------------------------------------------------------------------------------------


def test_a_download_of_any_size_takes_no_memory_and_waits_for_a_slow_page(site, page):
    stalled = threading.Event()
    taken = []

    def play(call: Call) -> None:
        call.read().send(b"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: %d\r\n\r\n" % SIZE)
        send_all(call.connection, SIZE, lambda sent: (taken.append(sent), stalled.set()))

    page.get("/x").raise_for_status()
    site.api.play = play
    site.forget_peak()
    before = site.memory("VmRSS")
    with page.stream("GET", "/x") as response:
        pieces = response.iter_raw()
        size = len(next(pieces))
        assert stalled.wait(PATIENCE), "the whole body was taken, though nobody wanted it yet"
        size += sum(map(len, pieces))
    assert size == SIZE
    assert taken[0] < GROWTH
    assert site.memory("VmHWM") - before <= GROWTH


def test_an_upload_of_any_size_takes_no_memory_and_waits_for_a_slow_api(site, page):
    stalled = threading.Event()
    taken = []

    def play(call: Call) -> None:
        assert stalled.wait(PATIENCE), "the whole body was taken, though nobody wanted it yet"
        call.read().send(answer())

    page.get("/x").raise_for_status()
    site.api.play = play
    site.forget_peak()
    before = site.memory("VmRSS")
    with connection(site, "PUT /auth/api/x", **{"content-length": str(SIZE), "connection": "close"}) as opened:
        send_all(opened, SIZE, lambda sent: (taken.append(sent), stalled.set()))
        assert everything(opened).split()[1] == b"200"
    assert (site.api.last.size, site.api.last.complete) == (SIZE, True)
    assert taken[0] < GROWTH
    assert site.memory("VmHWM") - before <= GROWTH


# --- whoever leaves -------------------------------------------------------------------------------------


@pytest.fixture
def left(site: Bff) -> Callable[[], bool]:
    """Whether the call was broken off on the API's side, once it was."""
    ended = threading.Event()
    outcome = []

    def watch(play: Callable[[Call], bool]) -> Callable[[Call], None]:
        def watched(call: Call) -> None:
            outcome.append(play(call))
            ended.set()

        return watched

    def was_left() -> bool:
        assert ended.wait(PATIENCE)
        return outcome[0]

    was_left.watch = watch
    return was_left


def test_a_page_that_leaves_in_the_middle_of_an_answer_takes_the_call_with_it(site, left):
    seen = threading.Event()

    def play(call: Call) -> bool:
        call.read().send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
        call.send(PIECE)
        assert seen.wait(PATIENCE)
        try:
            send_all(call.connection, SIZE, lambda sent: None)
        except OSError:
            return True
        return False

    site.api.play = left.watch(play)
    with connection(site, "GET /auth/api/x") as opened:
        assert opened.recv(1) == b"H"
    seen.set()
    assert left()


def test_a_page_that_leaves_in_the_middle_of_its_body_leaves_half_a_call(site, left):
    arrived = threading.Event()

    def play(call: Call) -> bool:
        arrived.set()
        return not call.read().complete

    site.api.play = left.watch(play)
    with connection(site, "PUT /auth/api/x", **{"content-length": str(SIZE)}) as opened:
        for _ in range(16):
            opened.sendall(PIECE)
        assert arrived.wait(PATIENCE)
    assert left()
    assert site.api.last.size < SIZE


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_a_page_that_leaves_while_the_api_thinks_takes_the_call_with_it(asgi, said):
    arrived, ended, outcome = threading.Event(), threading.Event(), []

    def play(call: Call) -> None:
        call.read().send(said)
        arrived.set()
        outcome.append(call.is_left())
        ended.set()

    asgi.api.play = play
    with connection(asgi, "POST /auth/api/x", **{"content-length": "2"}) as opened:
        opened.sendall(b"{}")
        assert arrived.wait(PATIENCE)
        if said:
            assert opened.recv(1) == b"H"
    assert ended.wait(PATIENCE)
    assert outcome == [True]
    assert httpx2.get(f"{asgi.base}/auth/session", headers=asgi.headers, timeout=PATIENCE).status_code == 200


# --- answers on the way ---------------------------------------------------------------------------------


def test_an_answer_arrives_piece_by_piece(site, page):
    seen = threading.Event()

    def play(call: Call) -> None:
        call.read().send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        call.send(b"9\r\ndata: 1\n\n\r\n")
        assert seen.wait(PATIENCE), "the first piece was held back"
        call.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    site.api.play = play
    with page.stream("GET", "/x") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        seen.set()
        assert b"".join(pieces) == b"data: 2\n\n"


def assert_seen_to_be_broken(site: Bff, said: bytes) -> None:
    def play(call: Call) -> None:
        call.read().complete = False  # the connection ends here
        call.send(b"HTTP/1.1 200 OK\r\n" + said)

    site.api.play = play
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{site.base}/auth/api/x", headers=site.headers, timeout=PATIENCE)


def test_an_answer_that_breaks_off_is_seen_to_be_broken(site):
    assert_seen_to_be_broken(site, b"content-length: 10\r\n\r\nabcde")


def test_so_is_one_in_chunks(asgi):
    """The WSGI server here speaks HTTP/1.0, which has none."""
    assert_seen_to_be_broken(asgi, b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")


def test_one_connection_carries_answers_with_and_without_bodies(site, page):
    for method, said, status, body in (
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", 200, b""),
        ("GET", answer(), 200, b"{}"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, b""),
        ("GET", answer(body=b""), 200, b""),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + answer(), 200, b"{}"),
        ("POST", answer("201 Created"), 201, b"{}"),
    ):
        site.api.play = say(said)
        response = page.request(method, "/x")
        assert (response.status_code, response.content) == (status, body)
        assert "link" not in response.headers


def test_the_connection_to_the_api_is_used_again(site, page):
    for _ in range(3):
        page.get("/x").raise_for_status()
        page.post("/x", content=bytes(200_000)).raise_for_status()
    # A page that asks again at once may come before its last answer has let go of the connection.
    assert len({call.connection for call in site.api.calls}) <= 2


def test_an_api_that_answers_before_the_body_is_there_is_heard(site):
    def play(call: Call) -> None:
        call.send(answer("413 Content Too Large"))
        call.read()

    site.api.play = play
    with connection(site, "PUT /auth/api/x", **{"content-length": str(MIB), "connection": "close"}) as opened:
        opened.sendall(bytes(MIB))
        assert everything(opened).split()[1] == b"413"


def test_a_401_for_a_body_that_is_gone_renews_and_lets_the_page_repeat(site, page):
    site.api.play = say(answer("401 Unauthorized"), answer())
    refused = page.put("/x", content=bytes(MIB))
    assert (refused.status_code, refused.json()["reason"]) == (401, "renewed")
    assert "set-cookie" in refused.headers
    assert len(site.api.calls) == 1
    assert page.put("/x", content=bytes(MIB)).status_code == 200


def test_a_body_that_asks_to_be_continued_is(asgi):
    head = {"content-length": "3", "expect": "100-continue", "connection": "close"}
    with connection(asgi, "PUT /auth/api/x", **head) as opened:
        assert opened.recv(65_536).startswith(b"HTTP/1.1 100 ")
        opened.sendall(b"abc")
        assert everything(opened).split()[1] == b"200"
    assert (asgi.api.last.body, asgi.api.last.header("expect")) == (b"abc", None)


@pytest.mark.parametrize("size", [0, 3, 200_000])
def test_a_body_in_chunks_goes_on_in_chunks_or_whole(asgi, size):
    with connection(asgi, "PUT /auth/api/x", **{"transfer-encoding": "chunked", "connection": "close"}) as opened:
        for start in range(0, size, 50_000):
            piece = bytes(min(50_000, size - start))
            opened.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        opened.sendall(b"0\r\n\r\n")
        assert everything(opened).split()[1] == b"200"
    assert (asgi.api.last.size, asgi.api.last.complete) == (size, True)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/auth/api/a%20b?x=%2F&y='", b"200"),
        ("/auth/api/a/../b", b"400"),
        ("/auth/api/%2e%2e/b", b"400"),
        ("/auth/api/a%2Fb", b"400"),
        ("/auth/api//b", b"400"),
        ("/auth/api/a;b", b"400"),
    ],
)
def test_a_path_reaches_the_api_as_it_was_on_the_wire_or_not_at_all(asgi, target, status):
    with connection(asgi, f"GET {target}", connection="close") as opened:
        assert everything(opened).split()[1] == status
    assert [call.target for call in asgi.api.calls] == ([f"/v1{target[9:]}"] if status == b"200" else [])
