"""The client behind the gateway: what a service sends is told to whoever asked for it, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest.mock import Mock

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.gateway.http1 import Connection
from lumin_middleware.gateway.messages import Header, Request, UpstreamTrouble
from lumin_middleware.gateway.reading import HEAD_LIMIT
from lumin_middleware.gateway.upstream import Upstream
from tests.patience import PATIENCE

T = TypeVar("T")
Exchange = tuple[int, list[Header], bytes]

NEXT = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal"
"""What the service says to the first request on a second connection."""

STALE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale"
"""What it says to the second request on the first one: what a service still had to send there, say."""


async def exchange(upstream: Upstream, method: bytes = b"GET") -> Exchange:
    async with asyncio.timeout(PATIENCE):
        answer = await upstream.send(Request(method, b"/", [(b"host", b"x")]))
        body = b"".join([piece async for piece in answer.pieces()])
        answer.close()
    return answer.status, answer.headers, body


def ask(*pieces: bytes, method: bytes = b"GET") -> tuple[Exchange, Exchange]:
    """What somebody is told whose request a service answers with these pieces, and then somebody else."""

    async def both(upstream: Upstream) -> tuple[Exchange, Exchange]:
        return await exchange(upstream, method), await exchange(upstream)

    return asyncio.run(before(both, *pieces))


async def before(what: Callable[[Upstream], Awaitable[T]], *pieces: bytes) -> T:
    """What comes of it, before a service that answers the first request on its first connection with these pieces."""
    ends, connections = asyncio.Event(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        says = iter([pieces, [STALE]] if len(connections) == 1 else [[NEXT]])
        while not ends.is_set():
            try:
                await reader.readuntil(b"\r\n\r\n")
                for index, piece in enumerate(next(says)):
                    if index:
                        await asyncio.sleep(0.05)  # a segment of its own
                    writer.write(piece)
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", PATIENCE)
    try:
        return await what(upstream)
    finally:
        upstream.close()
        server.close()
        ends.set()
        for writer in connections:
            writer.close()


LENGTH = (b"content-length", b"5")
CHUNKED = (b"transfer-encoding", b"chunked")


def head(status: int, *headers: Header) -> bytes:
    return b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"".join(b"%b: %b\r\n" % each for each in headers))


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [LENGTH], b"hello"),
        (200, [CHUNKED], b"5\r\nhello\r\n0\r\n\r\n"),
        (404, [(b"content-length", b"0")], b""),
        (204, [], b""),
        (304, [(b"etag", b"x")], b""),
    ],
)
def test_a_connection_is_used_again_where_its_answer_has_ended(status, headers, body):
    first, second = ask(head(status, *headers) + body)
    assert first == (status, headers, b"hello" if body else b"")
    assert second[2] == b"stale"


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        *((b"HEAD", status, headers) for status in (200, 204, 304, 404) for headers in ([LENGTH], [CHUNKED], [])),
        *((b"GET", status, headers) for status in (204, 304) for headers in ([LENGTH], [CHUNKED])),
    ],
)
@pytest.mark.parametrize("pieces", [[], [b"hel"], [b"", b"hel"]], ids=["no body", "a body", "a body later"])
def test_after_an_answer_without_a_body_comes_nothing_of_it(method, status, headers, pieces):
    first, second = ask(head(status, *headers) + b"".join(pieces[:1]), *pieces[1:], method=method)
    assert first == (status, headers, b"")
    assert second[2] == b"real"


@pytest.mark.parametrize("first_body", [b"5\r\nhello\r\n0\r\n\r\n", b"hello"], ids=["chunked", "sized"])
@pytest.mark.parametrize("surplus", [404, 200, 103])
@pytest.mark.parametrize("length", [b"0", b"4", b"100"])
def test_an_answer_that_nobody_asked_for_changes_nothing_and_ends_the_connection(first_body, surplus, length):
    framing = LENGTH if first_body == b"hello" else CHUNKED
    other = head(surplus, (b"x-two", b"2"), (b"content-length", length))
    first, second = ask(head(200, framing, (b"x-one", b"1")) + first_body + other + b"part")
    assert first == (200, [framing, (b"x-one", b"1")], b"hello")
    assert second[2] == b"real"


@pytest.mark.parametrize("trailer", [b"location: /evil", b"set-cookie: a=b", b"connection: close", b"x-other: 1"])
@pytest.mark.parametrize("cut", [0, 10, 200])
def test_trailers_are_no_headers_wherever_they_come(trailer, cut):
    whole = head(200, CHUNKED) + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"
    at = len(head(200, CHUNKED)) + cut
    first, _ = ask(*filter(None, (whole[:at], whole[at:])))
    assert first == (200, [CHUNKED], b"hello")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        *((status, [LENGTH]) for status in (600, 777, 999)),
        *((200, [(b"Transfer-Encoding", coding)]) for coding in (b"gzip, chunked", b"gzip", b"identity", b"x, y")),
        (200, [(b"transfer-encoding", b"gzip"), CHUNKED]),
    ],
)
def test_what_could_not_be_passed_on_as_it_is_meant_is_trouble(status, headers):
    with pytest.raises(UpstreamTrouble):
        ask(head(status, *headers) + b"5\r\nhello\r\n0\r\n\r\n")


def test_what_comes_before_the_answer_is_none_of_it():
    first, second = ask(head(100) + head(103, (b"link", b"a")) + head(200, LENGTH) + b"hello")
    assert first == (200, [LENGTH], b"hello")
    assert second[2] == b"stale"


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\0"])
@pytest.mark.parametrize("place", ["method", "target", "name", "value"])
def test_no_request_is_sent_that_would_be_two(place, end):
    refused(place, b"a" + end + b"b")


@pytest.mark.parametrize("end", [b" ", b"\t", b"\x7f", b" HTTP/1.1\r\n\r\nGET /other"])
@pytest.mark.parametrize("place", ["method", "target"])
def test_no_request_is_sent_whose_first_line_would_be_another(place, end):
    refused(place, b"/a" + end)


def refused(place: str, text: bytes) -> None:
    words = {"method": b"GET", "target": b"/", "name": b"x", "value": b"y"} | {place: text}
    request = Request(words["method"], words["target"], [(b"host", b"x"), (words["name"], words["value"])])

    async def send(upstream: Upstream):
        async with asyncio.timeout(PATIENCE):
            await upstream.send(request)

    with pytest.raises(RequestRefused):
        asyncio.run(before(send, NEXT))


async def answered(*segments: bytes) -> tuple[int, bytes]:
    """What is made of an answer that comes in these segments, as asyncio hands them on."""
    connection = Connection(lambda kept: None, PATIENCE)
    connection.connection_made(Mock())
    asked = asyncio.ensure_future(connection.exchange(Request(b"GET", b"/", [])))
    await asyncio.sleep(0)
    for segment in segments:
        connection.data_received(segment)
    async with asyncio.timeout(PATIENCE):
        answer = await asked
        return answer.status, b"".join([piece async for piece in answer.pieces()])


async def test_an_answer_may_come_with_its_body_in_one_segment_however_large():
    body = b"x" * 4 * HEAD_LIMIT  # event loops read a quarter of a megabyte at once
    sent = head(200, (b"content-length", b"%d" % len(body))) + body
    assert await answered(sent) == (200, body)
    assert await answered(sent[:20], sent[20:]) == (200, body)


@pytest.mark.parametrize("name", [b"x", b"set-cookie"])
async def test_a_head_that_does_not_end_is_trouble(name):
    line = b"%b: %b\r\n" % (name, b"v" * 8000)
    with pytest.raises(UpstreamTrouble, match="head of the answer"):
        await answered(b"HTTP/1.1 200 OK\r\n", *[line] * (HEAD_LIMIT // 8000 + 2))


ENDLESS = {
    "one trailer": (b"5\r\nhello\r\n0\r\nx: ", b"x" * 8000),
    "trailers": (b"5\r\nhello\r\n0\r\n", b"x: y\r\n" * 1000),
    "an extension of a chunk": (b"5\r\nhello\r\n5;x=", b"x" * 8000),
    "an extension of the first chunk": (b"5;x=", b"x" * 8000),
    "an extension of the last chunk": (b"5\r\nhello\r\n0;x=", b"x" * 8000),
}


@pytest.mark.parametrize(("start", "piece"), ENDLESS.values(), ids=ENDLESS)
async def test_what_is_no_body_and_does_not_end_is_trouble(start, piece):
    with pytest.raises(UpstreamTrouble, match="framing or the trailers"):
        await answered(head(200, CHUNKED) + start, *[piece] * (HEAD_LIMIT // len(piece) + 2))


@pytest.mark.parametrize("size", [1, 7])
async def test_small_chunks_may_have_more_framing_than_body(size):
    chunk = b"%x;x=%b\r\n%b\r\n" % (size, b"y" * 100, b"x" * size)
    count = 3 * HEAD_LIMIT // len(chunk)
    assert await answered(head(200, CHUNKED), chunk * count, b"0\r\nx: y\r\n\r\n") == (200, b"x" * size * count)


@pytest.mark.parametrize("again", [1, 5])
async def test_large_trailers_may_come_at_once_after_a_body_of_any_size(again):
    body = b"%x\r\n%b\r\n" % (HEAD_LIMIT, b"x" * HEAD_LIMIT) * again
    trailers = b"0\r\nx: " + b"y" * (HEAD_LIMIT // 2) + b"\r\n\r\n"
    assert await answered(head(200, CHUNKED) + body + trailers) == (200, b"x" * HEAD_LIMIT * again)


@pytest.mark.parametrize("body", [None, [], [b"hel"], [b"hello, and more"]])
async def test_a_connection_on_which_less_or_more_went_than_was_promised_is_not_used_again(body):
    async def both(upstream: Upstream) -> Exchange:
        async def pieces():
            for piece in body:
                yield piece

        request = Request(b"POST", b"/", [(b"host", b"x"), LENGTH], None if body is None else pieces())
        async with asyncio.timeout(PATIENCE):
            answer = await upstream.send(request)
            assert [piece async for piece in answer.pieces()] == [b"first"]
            while answer.sending is not None and not answer.sending.done():
                await asyncio.sleep(0)
            answer.close()
        return await exchange(upstream)

    assert (await before(both, head(200, LENGTH) + b"first"))[2] == b"real"
