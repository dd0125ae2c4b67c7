"""The access log has a line for each request, whatever the request and whatever becomes of it, and no secret."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.gateway.access_log import AccessLog, client_address, shown
from lumin_middleware.site.proxies import Proxies
from tests.acceptance.harness import http_scope
from tests.fakes import any_text, hostile

NOBODY = Proxies([])
LINE = re.compile(r"(\S+) (\S+) (\S+) (\S+) (\d+) \d+\.\d{3}")
START = {"type": "http.response.start", "status": 200, "headers": []}


class Logged:
    """Serves requests with an application that sends these messages; `lines` holds what was logged, but no seconds."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "lumin_middleware.site.access")
        self._caplog = caplog

    async def __call__(self, scope: dict[str, Any], *messages: dict[str, Any], error: Exception | None = None) -> Any:
        sent: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            for message in messages:
                await send(message)
            if error is not None:
                raise error

        async def send(message: Any) -> None:
            sent.append(message)

        await AccessLog(app, NOBODY)(scope, None, send)  # type: ignore[arg-type]
        assert sent == list(messages)
        return self.lines

    @property
    def lines(self) -> list[tuple[str, ...]]:
        found = [LINE.fullmatch(record.getMessage()) for record in self._caplog.records]
        return [match.groups() for match in found if match or pytest.fail("a line of another shape")]


@pytest.fixture
def logged(caplog) -> Logged:
    return Logged(caplog)


def body(piece: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": more}


async def test_a_line_says_who_asked_for_what_and_what_came_of_it(logged):
    scope = http_scope("/a%20b;c?code=s3cret", method="PUT", headers={"cookie": "s3cret"})
    lines = await logged(scope, {**START, "status": 404}, body(b"12", more=True), body(b"345"))
    assert lines == [("203.0.113.9", "PUT", "/a%20b;c", "404", "5")]


async def test_an_answer_without_a_body_has_no_bytes(logged):
    lines = await logged(http_scope("/"), START, {"type": "http.response.body"})
    assert lines == [("203.0.113.9", "GET", "/", "200", "0")]


async def test_what_fails_before_it_answers_has_a_line_without_a_status(logged):
    with pytest.raises(ZeroDivisionError):
        await logged(http_scope("/x"), error=ZeroDivisionError())
    assert logged.lines == [("203.0.113.9", "GET", "/x", "-", "0")]


async def test_what_fails_in_the_middle_has_what_was_sent(logged):
    with pytest.raises(OSError, match="gone"):
        await logged(http_scope("/x"), START, body(b"123", more=True), error=OSError("gone"))
    assert logged.lines == [("203.0.113.9", "GET", "/x", "200", "3")]


@pytest.mark.parametrize(
    ("messages", "status", "size"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "bytes": b"123", "text": None}], "101", "3"),
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": "1234"}], "101", "4"),
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": "Zoë €"}], "101", "8"),
        ([{"type": "websocket.close", "code": 4401}], "-", "0"),
        (
            [
                {"type": "websocket.http.response.start", "status": 403, "headers": []},
                {"type": "websocket.http.response.body", "body": b"no"},
            ],
            "403",
            "2",
        ),
    ],
    ids=["bytes", "text", "text that is not ASCII", "closed", "denied"],
)
async def test_a_socket_has_a_line_when_it_is_over_with_the_bytes_that_went_out(logged, messages, status, size):
    scope = {key: value for key, value in http_scope("/socket").items() if key != "method"} | {"type": "websocket"}
    assert await logged(scope, *messages) == [("203.0.113.9", "WEBSOCKET", "/socket", status, size)]


async def test_what_is_no_request_has_no_line(logged):
    assert await logged({"type": "lifespan"}, {"type": "lifespan.startup.complete"}) == []


@pytest.mark.parametrize("client", [None, ("", 0)])
async def test_a_peer_without_an_address_is_a_dash(logged, client):
    assert await logged(http_scope("/", client=client), START) == [("-", "GET", "/", "200", "0")]


@hostile
@given(any_text, st.none() | st.binary(max_size=60))
def test_no_path_breaks_a_line_or_makes_a_field_of_its_own(path, raw_path):
    text = shown({"path": f"/{path}", "raw_path": raw_path and b"/" + raw_path})
    assert re.fullmatch(r"/[\x21-\x7E]*", text)
    assert '"' not in text


def test_the_address_is_the_last_one_that_no_trusted_proxy_has_in_all_headers_together():
    headers = [(b"x-forwarded-for", b"6.6.6.6, 203.0.113.7"), (b"x-forwarded-for", b"10.0.0.2")]
    scope = {"client": ("10.0.0.1", 1), "headers": headers}
    assert client_address(scope, Proxies(["10.0.0.0/8"])) == "203.0.113.7"
    assert client_address(scope, NOBODY) == "10.0.0.1"
    assert client_address({"client": None, "headers": headers}, Proxies(["10.0.0.0/8"])) == ""
