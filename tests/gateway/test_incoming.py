"""The body of a request: whole, whatever announces it, and nobody is waited for where nothing comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lumin_middleware.errors import RequestRefused
from lumin_middleware.gateway.gateway import Gateway
from lumin_middleware.gateway.incoming import Body, ClientGone, check
from tests import upstream
from tests.acceptance.harness import http_scope
from tests.edges.rig import end_lifespan
from tests.fakes import config
from tests.upstream import Upstream

GONE = {"type": "http.disconnect"}
LENGTH, NONE, CHUNKED = (b"content-length", b"10"), (b"content-length", b"0"), (b"transfer-encoding", b"chunked")


def messages(*pieces: bytes) -> list[dict[str, Any]]:
    """The messages of a body in these pieces."""
    found = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    found[-1]["more_body"] = False
    return found


BODIES = {
    "none": messages(b""),
    "none, in two messages": messages(b"", b""),
    "one piece": messages(b"0123456789"),
    "two pieces": messages(b"01234", b"56789"),
    "an empty piece first": messages(b"", b"0123456789"),
    "an empty piece last": messages(b"0123456789", b""),
}


def body(version: str, headers: list[tuple[bytes, bytes]], said: list[dict[str, Any]], patience: float | None = None):
    left = [*said]

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return Body(http_scope("/", "POST", headers, http_version=version), receive, patience)


@pytest.mark.parametrize("said", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("version", "headers"),
    [("1.1", [LENGTH]), ("1.1", [CHUNKED]), ("1.0", [LENGTH]), ("2", []), ("2", [LENGTH]), ("3", []), ("3", [LENGTH])],
)
async def test_a_body_that_is_there_is_read_whole(version, headers, said):
    whole = b"".join(each["body"] for each in said)
    found = body(version, [item for item in headers if item != LENGTH or whole], [*said, GONE])
    is_there = await found.is_there()
    assert is_there or not whole
    assert b"".join([piece async for piece in found.pieces()] if is_there else []) == whole
    assert found.ended.is_set()
    await found.until_gone()


OTHERS = {"none": [b""], "less": [b"012345678"], "less, in two": [b"0123", b"45678"], "more": [b"0123456789", b"x"]}
NO_LENGTHS = [[b"5", b"5"], [b"5", b"6"], [b"-1"], [b"+5"], [b"5, 5"], [b"0x5"], [b""], [b"\xb2"], [b"9" * 19]]


@pytest.mark.parametrize("said", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("version", ["1.1", "2", "3"])
async def test_a_body_that_is_not_as_long_as_it_says_is_refused_before_what_is_too_much(version, said):
    """What is missing a service would take from the next request on the connection, and what is too much for one."""
    found, seen = body(version, [LENGTH], [*messages(*said), GONE]), []

    async def read() -> None:
        async for piece in found.pieces():
            seen.extend([piece])

    assert await found.is_there()
    with pytest.raises(RequestRefused):
        await read()
    assert len(b"".join(seen)) <= 10


@pytest.mark.parametrize("lengths", NO_LENGTHS)
def test_a_length_that_is_none_or_said_twice_is_refused(lengths):
    with pytest.raises(RequestRefused):
        check(http_scope("/", "POST", [(b"content-length", length) for length in lengths]))


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", []), ("1.0", []), ("1.1", [NONE]), ("2", [NONE]), ("3", [NONE])]
)
async def test_nothing_is_waited_for_where_the_head_says_that_there_is_none(version, headers):
    found = body(version, headers, [])
    assert not await found.is_there()
    assert found.ended.is_set()


async def test_who_leaves_or_takes_long_before_the_first_message_is_not_waited_for():
    with pytest.raises(ClientGone):
        await body("2", [], [GONE]).is_there()
    with pytest.raises(RequestRefused) as refused:
        await body("2", [], [], patience=0.01).is_there()
    assert refused.value.status == 408


@pytest.mark.parametrize("said", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("version", ["2", "3"])
async def test_the_service_sees_a_body_that_no_header_announced(version, said):
    whole = b"".join(each["body"] for each in said)
    with upstream.serve() as service:
        seen = await passed_on(service, version, said)
    assert (seen.body, seen.complete) == (whole, True)
    if not whole and len(said) == 1:
        assert seen.header("transfer-encoding") is None


async def passed_on(service: Upstream, version: str, said: list[dict[str, Any]]) -> upstream.Call:
    """The request as it came to the service."""
    left, sent = [*said], []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    gateway = Gateway(service.base, config())
    await gateway(http_scope("/x", "POST", [], http_version=version), receive, send)
    await end_lifespan(gateway)
    assert sent[0]["status"] == 200
    return service.last


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity", b"chunked, chunked", b"xchunked"])
def test_a_body_in_a_coding_that_would_be_lost_is_refused(coding):
    with pytest.raises(RequestRefused) as refused:
        check(http_scope("/", "POST", [(b"transfer-encoding", coding)]))
    assert refused.value.status == 501
    check(http_scope("/", "POST", [(b"transfer-encoding", b"Chunked")]))
