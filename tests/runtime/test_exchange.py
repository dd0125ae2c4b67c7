"""What is sent to the authorization server, byte for byte, once, within its time; and how little is believed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.checks import stowaway
from lumin_middleware.connections import tls_context
from lumin_middleware.errors import AuthorizationServerError, OAuthError, ServerUnavailable
from lumin_middleware.model import _CHECKED, AuthorizationCode, Errand, Transaction
from lumin_middleware.ports import Answer, run
from lumin_middleware.runtime.bounded import BODY_LIMIT
from lumin_middleware.runtime.exchange import AsyncExchange, Exchange
from tests.certificates import self_signed
from tests.fakes import REDIRECT_URI, SECRET, config, hostile

CONTEXT = ssl.create_default_context()
HOSTILE = "c+o/d=e%&:; é\"\u3042%2B#\\'<>"
TOKENS = {"access_token": "new-access", "token_type": "bearer", "expires_in": 3600}
COLOURS = [AsyncExchange, Exchange]


def code(text: str = "c0de") -> AuthorizationCode:
    transaction = Transaction("state", "nonce", "verifier-~._1234", Errand("/", "openid"))
    return AuthorizationCode(text, transaction, checked=_CHECKED)


def perform(exchange: Any, name: str, *arguments: Any) -> Any:
    """One operation, on a loop or without one."""
    if isinstance(exchange, AsyncExchange):

        async def on_a_loop() -> Any:
            return await getattr(exchange, name)(*arguments)

        return asyncio.run(on_a_loop())
    return run(getattr(exchange, name)(*arguments))


@pytest.fixture(params=COLOURS, ids=["async", "blocking"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes exchanges of each colour: `make(timeout=1)`."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    made: list[Any] = []

    def make(context: ssl.SSLContext = CONTEXT, **changes: Any) -> Any:
        made.append(request.param(config(**changes), context))
        return made[-1]

    yield make
    for exchange in made:
        if isinstance(exchange, AsyncExchange):
            asyncio.run(exchange.aclose())
        else:
            exchange.close()


# --- a server that says anything ---


class Peer:
    """A server on loopback that answers each connection with what a test says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answer: Callable[[socket.socket], None] = lambda connection: None
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def say(self, *pieces: bytes, pause: float = 0.0) -> None:
        """The answer: these bytes, with a pause before each piece but the first."""

        def answer(connection: socket.socket) -> None:
            for number, piece in enumerate(pieces):
                if number and self.done.wait(pause):
                    return
                connection.sendall(piece)

        self.answer = answer

    def say_json(self, content: object, status: int = 200, *headers: str) -> None:
        self.say(
            response(json.dumps(content).encode(), status, "Content-Type: application/json;charset=UTF-8", *headers)
        )

    def close(self) -> None:
        self.done.set()
        socket.create_connection(self.listening.getsockname()).close()
        self._thread.join()
        self.listening.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            if self.done.is_set():
                connection.close()
                return
            self.connections += 1
            with connection:
                try:
                    with self._spoken(connection) as spoken:
                        if self._read(spoken):
                            self.answer(spoken)
                except OSError:
                    continue  # the client has had enough

    def _spoken(self, connection: socket.socket) -> socket.socket:
        """The connection as requests come on it."""
        return connection

    def _read(self, connection: socket.socket) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65_536)) or piece[0] == 0x16:  # the handshake of TLS
                return False
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        assert len({item.split(":")[0].lower() for item in lines}) == len(lines)
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(65_536)
        self.requests.append((line, headers, body))
        return True


class TlsPeer(Peer):
    """The same by TLS, for whoever trusts `trusting`; one that `is_proxy` is asked for a tunnel to the host first."""

    def __init__(self, folder: Path, *, is_proxy: bool) -> None:
        host = "lumin.example" if is_proxy else "localhost"
        certificate = self_signed(folder / "pem", host)
        self.trusting = ssl.create_default_context(cafile=certificate)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._is_proxy = is_proxy
        super().__init__()
        self.proxy = self.url
        self.url = f"https://{host}:{self.listening.getsockname()[1]}"

    def _spoken(self, connection: socket.socket) -> socket.socket:
        if self._is_proxy:
            assert connection.recv(65_536).startswith(b"CONNECT ")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return self._context.wrap_socket(connection, server_side=True)


def response(body: bytes, status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    found.say_json(TOKENS)
    yield found
    found.close()


# --- what is sent ---

OPERATIONS = {
    "redeem": (
        (code(HOSTILE),),
        [
            ("grant_type", "authorization_code"),
            ("code", HOSTILE),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", "verifier-~._1234"),
        ],
    ),
    "refresh": ((HOSTILE,), [("grant_type", "refresh_token"), ("refresh_token", HOSTILE)]),
    "revoke": ((HOSTILE,), [("token", HOSTILE)]),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_an_operation_sends_one_form_with_each_field_once(make, peer, name, method):
    arguments, fields = OPERATIONS[name]
    exchange = make(token_endpoint_auth_method=method, client_id=f"id {HOSTILE}")
    perform(exchange, name, f"{peer.url}/oauth2/x?tenant=1", *arguments)
    ((line, headers, body),) = peer.requests
    assert line == "POST /oauth2/x?tenant=1 HTTP/1.1"
    assert headers["content-type"].partition(";")[0] == "application/x-www-form-urlencoded"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers
    sent = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    if method == "client_secret_post":
        assert "authorization" not in headers
        assert sorted(sent) == sorted([*fields, ("client_id", f"id {HOSTILE}"), ("client_secret", SECRET)])
    else:
        scheme, _, credentials = headers["authorization"].partition(" ")
        client_id, client_secret = base64.b64decode(credentials, validate=True).decode("ascii").split(":")
        assert (scheme, unquote_plus(client_id), unquote_plus(client_secret)) == ("Basic", f"id {HOSTILE}", SECRET)
        assert sorted(sent) == sorted(fields)


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
credentials = text.filter(lambda value: stowaway(value) is None)
"""What the settings let in."""

METHODS = ("client_secret_post", "client_secret_basic")


@hostile
@given(credentials, credentials, text, st.sampled_from(METHODS), st.sampled_from(COLOURS))
def test_whatever_the_secrets_are_made_of_the_server_reads_them_back(client_id, secret, value, method, colour):
    settings = config(client_id=client_id, client_secret=secret, token_endpoint_auth_method=method)
    requests = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=TOKENS)

    exchange = colour(settings, CONTEXT)
    exchange._pool = httpx2.MockTransport(answer)
    assert perform(exchange, "redeem", "https://lumin.example/token", code(value)) == TOKENS
    assert perform(exchange, "refresh", "https://lumin.example/token", value)["access_token"] == "new-access"
    perform(exchange, "revoke", "https://lumin.example/revoke", value)
    for request, field in zip(requests, ("code", "refresh_token", "token"), strict=True):
        pairs = parse_qsl(request.content.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
        sent = dict(pairs)
        assert len(sent) == len(pairs)
        assert sent[field] == value
        if method == "client_secret_basic":
            credentials = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
            assert [unquote_plus(part) for part in credentials.split(":")] == [client_id, secret]
            assert "client_secret" not in sent
        else:
            assert (sent["client_id"], sent["client_secret"]) == (client_id, secret)
            assert "authorization" not in request.headers


@pytest.mark.parametrize(("access_token", "authorization"), [(None, None), ("ory_at_x.y", "Bearer ory_at_x.y")])
def test_a_document_is_fetched_with_the_token_in_the_header_or_without(make, peer, access_token, authorization):
    found = perform(make(), "fetch", f"{peer.url}/doc?x=1", access_token)
    assert found == Answer(200, "application/json", json.dumps(TOKENS).encode())
    ((line, headers, body),) = peer.requests
    assert (line, headers.get("authorization"), body) == ("GET /doc?x=1 HTTP/1.1", authorization, b"")
    assert "transfer-encoding" not in headers
    assert SECRET not in str(headers)


# --- what comes back ---


@pytest.mark.parametrize("name", ["redeem", "refresh"])
def test_the_parameters_come_back_as_they_were_said(make, peer, name):
    said = {
        **TOKENS,
        "refresh_token": "r",
        "scope": "openid",
        "extra": {"x": [1]},
        "expires_at": 1,
        "expires_in": "3600",
    }
    peer.say_json(said)
    assert perform(make(), name, f"{peer.url}/token", *OPERATIONS[name][0]) == said


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_an_answer_that_is_compressed_though_nobody_asked_for_it_is_read(make, peer, coding):
    head = (200, "Content-Type: application/json", f"Content-Encoding: {coding}")
    peer.say(response(CODINGS[coding](json.dumps(TOKENS).encode()), *head))
    assert perform(make(), "redeem", f"{peer.url}/token", code()) == TOKENS
    assert perform(make(), "fetch", f"{peer.url}/keys").body == json.dumps(TOKENS).encode()


def test_a_refusal_that_is_compressed_is_one(make, peer):
    refusal = gzip.compress(json.dumps({"error": "invalid_grant"}).encode())
    peer.say(response(refusal, 400, "Content-Type: application/json", "Content-Encoding: gzip"))
    with pytest.raises(OAuthError, match="invalid_grant"):
        perform(make(), "refresh", f"{peer.url}/token", "old")


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "cut": ("gzip", gzip.compress(json.dumps(TOKENS).encode())[:-9]),
    "broken": ("gzip", b"\x1f\x8b\x08" + b"\xff" * 40),
    "not compressed": ("gzip", json.dumps(TOKENS).encode()),
    "of a coding that we lack": ("br", b"\x0b\x02\x80{}\x03"),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(json.dumps(TOKENS).encode()))),
}


@pytest.mark.parametrize(("coding", "body"), UNREADABLE.values(), ids=UNREADABLE)
def test_of_an_answer_that_cannot_be_unfolded_the_status_is_left(make, peer, coding, body):
    head = ("Content-Type: application/json", f"Content-Encoding: {coding}")
    peer.say(response(body, 404, *head))
    assert perform(make(), "fetch", f"{peer.url}/keys").status == 404
    peer.say(response(body, 200, *head))
    with pytest.raises(AuthorizationServerError):
        perform(make(), "refresh", f"{peer.url}/token", "old")


@pytest.mark.parametrize("size", [BODY_LIMIT + 1, 300 * BODY_LIMIT])
def test_an_answer_that_unfolds_to_more_than_the_limit_is_refused_before_it_does(make, peer, size):
    compressor = zlib.compressobj(wbits=31)
    folded = b"".join(compressor.compress(b" " * BODY_LIMIT) for _ in range(size // BODY_LIMIT))
    folded += compressor.compress(b" " * (size % BODY_LIMIT)) + compressor.flush()
    assert len(folded) < BODY_LIMIT
    peer.say(response(folded, 200, "Content-Type: application/json", "Content-Encoding: gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(ServerUnavailable):
            perform(make(), "fetch", f"{peer.url}/keys")
        assert tracemalloc.get_traced_memory()[1] < 10 * BODY_LIMIT
    finally:
        tracemalloc.stop()


def test_a_refusal_is_the_server_s(make, peer):
    peer.say_json({"error": "invalid_grant", "error_description": "used"}, 400)
    for name in ("redeem", "refresh"):
        with pytest.raises(OAuthError) as raised:
            perform(make(), name, f"{peer.url}/token", *OPERATIONS[name][0])
        assert (raised.value.error, raised.value.error_description) == ("invalid_grant", "used")


def test_tokens_that_cannot_be_used_are_not_taken(make, peer):
    peer.say_json({"access_token": "x", "token_type": "mac"})
    with pytest.raises(AuthorizationServerError) as raised:
        perform(make(), "refresh", f"{peer.url}/token", "old")
    assert raised.value.reason == "bad_token_response"


def test_a_gateway_s_json_is_no_token(make, peer):
    peer.say_json({"message": "rate limited"}, 429)
    with pytest.raises(ServerUnavailable):
        perform(make(), "refresh", f"{peer.url}/token", "old")


@pytest.mark.parametrize("status", [200, 400, 401, 500, 503])
def test_a_revocation_is_done_or_is_an_error(make, peer, status):
    peer.say(response(b"", status))
    if status == 200:
        assert perform(make(), "revoke", f"{peer.url}/revoke", "token") is None
    else:
        with pytest.raises(AuthorizationServerError):
            perform(make(), "revoke", f"{peer.url}/revoke", "token")
    assert len(peer.requests) == 1


# --- once, whatever happens ---


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


SILENCE: dict[str, Callable[[Peer], None]] = {
    "nothing": lambda peer: peer.say(b""),
    "a reset": lambda peer: setattr(peer, "answer", reset),
    "half a head": lambda peer: peer.say(b"HTTP/1.1 200 OK\r\nContent-"),
    "half a body": lambda peer: peer.say(response(json.dumps(TOKENS).encode())[:-5]),
    "another protocol": lambda peer: peer.say(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "500": lambda peer: peer.say_json({"error": "server_error"}, 500),
    "503 with Retry-After": lambda peer: peer.say_json({}, 503, "Retry-After: 0"),
    "429": lambda peer: peer.say_json({}, 429, "Retry-After: 0"),
}
NO_TOKENS: dict[str, Callable[[Peer], None]] = {
    "a redirect": lambda peer: peer.say(response(b"", 307, f"Location: {peer.url}/elsewhere")),
    "a redirect that changes the method": lambda peer: peer.say(response(b"", 303, f"Location: {peer.url}/elsewhere")),
    "a request for other credentials": lambda peer: peer.say(response(b"", 401, 'WWW-Authenticate: Basic realm="x"')),
    "413 of an edge": lambda peer: peer.say(response(b"<html>", 413, "Content-Type: text/html")),
    "html": lambda peer: peer.say(response(b"<html>", 200, "Content-Type: text/html")),
    "compressed": lambda peer: peer.say(
        response(b"\x1f\x8b\x08", 200, "Content-Type: application/json", "Content-Encoding: gzip")
    ),
}


@pytest.mark.parametrize("trouble", [*SILENCE, *NO_TOKENS])
@pytest.mark.parametrize("name", ["redeem", "refresh"])
def test_whatever_happens_it_is_asked_once(make, peer, name, trouble):
    {**SILENCE, **NO_TOKENS}[trouble](peer)
    with pytest.raises(AuthorizationServerError) as raised:
        perform(make(timeout=5), name, f"{peer.url}/token", *OPERATIONS[name][0])
    assert len(peer.requests) == peer.connections == 1
    assert HOSTILE not in str(raised.value)
    assert isinstance(raised.value, ServerUnavailable) is (trouble in SILENCE)
    assert getattr(raised.value, "sent", True)


# --- what is known of it afterwards ---


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_never_left_this_process_says_so(make, peer, name):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for endpoint in (f"http://127.0.0.1:{port}/x", f"{peer.url.replace('http:', 'https:')}/x"):
        with pytest.raises(ServerUnavailable) as raised:
            perform(make(timeout=5), name, endpoint, *OPERATIONS[name][0])
        assert not raised.value.sent
    assert peer.requests == []


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_whose_name_nobody_can_look_up_is_away(make, name, host):
    """A discovery document may name it. Without an event loop it is an error of Python's `idna`."""
    with pytest.raises(ServerUnavailable, match="ConnectError") as raised:
        perform(make(), name, f"https://{host}/x", *OPERATIONS[name][0])
    assert not raised.value.sent


@pytest.mark.parametrize("name", OPERATIONS)
def test_where_the_connections_are_closed_nothing_is_sent(make, peer, name):
    """What is still being served after `aclose` may want a token; that is the end, and no fault of an application."""
    exchange = make()
    if isinstance(exchange, AsyncExchange):
        asyncio.run(exchange.aclose())
    else:
        exchange.close()
    with pytest.raises(ServerUnavailable, match=r"closed its connections") as raised:
        perform(exchange, name, f"{peer.url}/x", *OPERATIONS[name][0])
    assert not raised.value.sent
    assert peer.requests == []


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([], 0),
        (["Retry-After: 120"], 120),
        (["Retry-After: 86400"], 300),
        (["Retry-After: soon"], 0),
        (["Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", "Date: Fri, 31 Dec 1999 23:58:59 GMT"], 60),
    ],
)
def test_what_the_server_asks_for_is_heard(make, peer, status, headers, said):
    peer.say_json({}, status, *headers)
    with pytest.raises(ServerUnavailable) as raised:
        perform(make(), "refresh", f"{peer.url}/token", "old")
    assert raised.value.said == said
    assert raised.value.retry_after == max(said, 1)
    assert perform(make(), "fetch", f"{peer.url}/x").retry_after == said


def test_nobody_there_is_unavailable(make):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name, (arguments, _) in OPERATIONS.items():
        with pytest.raises(ServerUnavailable):
            perform(make(), name, f"http://127.0.0.1:{port}/token", *arguments)


async def test_where_nobody_can_look_up_its_name_the_server_is_unavailable(monkeypatch):
    """A process that ends starts no thread for it, and says so with a RuntimeError."""

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)
    exchange = AsyncExchange(config(), CONTEXT)
    with pytest.raises(ServerUnavailable):
        await exchange.fetch("http://lumin.example/keys")
    await exchange.aclose()


def test_a_server_without_tls_is_not_spoken_to_in_clear(make, peer):
    with pytest.raises(ServerUnavailable):
        perform(make(timeout=5), "refresh", f"{peer.url.replace('http:', 'https:')}/token", "old-refresh")
    assert peer.requests == []


# --- within its time ---


LONG_ENOUGH = 2.0
"""Seconds in which even a busy machine has sent a request. They pass, since the answer never comes."""


def requests_of(peer: Any) -> int:
    """How many came. The first is waited for: who sent it may have given up before the server woke."""
    while not peer.requests:
        time.sleep(0.01)
    return len(peer.requests)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_says_nothing_is_not_waited_for(make, peer, name):
    peer.answer = lambda connection: peer.done.wait()
    with pytest.raises(ServerUnavailable):
        perform(make(timeout=LONG_ENOUGH), name, f"{peer.url}/token", *OPERATIONS[name][0])
    peer.done.set()
    assert requests_of(peer) == 1


def test_without_a_thread_for_the_time_limit_the_server_is_asked_all_the_same(make, peer, monkeypatch):
    """At the end of an interpreter none can start, as of Python 3.12; a token may have to be revoked."""

    def refuse(timer):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Timer, "start", refuse)
    peer.say_json(TOKENS)
    assert perform(make(), "refresh", f"{peer.url}/token", "old")["access_token"] == "new-access"


SLOW = response(json.dumps(TOKENS).encode(), 200, "Content-Type: application/json")
HEAD, BODY = SLOW[: SLOW.index(b"\r\n\r\n") + 4], SLOW[SLOW.index(b"\r\n\r\n") + 4 :]


DRIPPING = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 600]
"""Each byte comes in time, and there is always another: for a minute at a tenth of a second each."""


def test_a_head_that_drips_holds_nobody_past_the_time(make, peer):
    peer.say(*DRIPPING, pause=0.1)
    began = time.monotonic()
    with pytest.raises(ServerUnavailable):
        perform(make(timeout=0.5), "refresh", f"{peer.url}/token", "old")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("way", ["straight", "through a proxy"])
def test_nor_does_it_by_tls(make, tmp_path, monkeypatch, way):
    is_proxy = way == "through a proxy"
    with closing(TlsPeer(tmp_path, is_proxy=is_proxy)) as peer:
        if is_proxy:
            monkeypatch.setenv("HTTPS_PROXY", peer.proxy)
        peer.say_json(TOKENS)
        answer = perform(make(peer.trusting), "refresh", f"{peer.url}/token", "old")
        assert answer == {**TOKENS, "refresh_token": "old"}, "so it is the time that strikes below"
        peer.say(*DRIPPING, pause=0.1)
        began = time.monotonic()
        with pytest.raises(ServerUnavailable):
            perform(make(peer.trusting, timeout=LONG_ENOUGH), "refresh", f"{peer.url}/token", "old")
        assert time.monotonic() - began < 30
        assert len(peer.requests) == 2


def test_a_body_that_was_cut_at_the_end_of_the_time_is_not_taken_for_whole(make, peer):
    """Without a length the end of the connection is the end of the body."""
    body = json.dumps(TOKENS).encode()
    peer.say(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n", body, *[b" "] * 100, pause=0.1)
    with pytest.raises(ServerUnavailable):
        perform(make(timeout=0.5), "refresh", f"{peer.url}/token", "old")


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, *(BODY[at : at + 5] for at in range(0, len(BODY), 5))],
        [SLOW[at : at + 8] for at in range(0, len(SLOW), 8)],
    ],
    ids=["body", "head"],
)
def test_a_server_that_speaks_too_slowly_is_not_heard_to_the_end(make, peer, pieces):
    """Each piece comes in time, the whole does not."""
    peer.say(*pieces, pause=LONG_ENOUGH / 4)
    with pytest.raises(ServerUnavailable):
        perform(make(timeout=LONG_ENOUGH), "refresh", f"{peer.url}/token", "old")
    assert requests_of(peer) == 1


def test_tls_that_breaks_is_the_server_s_trouble(make, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))

    def broken(connection: socket.socket) -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    with closing(TlsPeer(tmp_path, is_proxy=False)) as peer:
        peer.answer = broken
        with pytest.raises(ServerUnavailable) as raised:
            perform(make(tls_context()), "refresh", f"{peer.url}/token", "old")
        assert raised.value.sent


# --- how much is read ---


def test_an_answer_is_read_up_to_its_limit(make, peer):
    peer.say(response(b"x" * BODY_LIMIT, 200, "Content-Type: text/plain"))
    assert len(perform(make(), "fetch", f"{peer.url}/x").body) == BODY_LIMIT


@pytest.mark.parametrize(
    "pieces",
    [
        [response(b"x" * (BODY_LIMIT + 1))],
        [b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 17)],
        [b"HTTP/1.1 200 X\r\n\r\n", b"x" * (BODY_LIMIT + 1)],
    ],
    ids=["counted", "chunked", "until the end"],
)
def test_and_not_further(make, peer, pieces):
    peer.say(*pieces)
    with pytest.raises(ServerUnavailable):
        perform(make(), "fetch", f"{peer.url}/x")


# --- one knows nothing of another ---


def test_the_server_s_cookies_are_not_kept(make, peer):
    peer.say_json(TOKENS, 200, "Set-Cookie: who=somebody; Path=/")
    exchange = make()
    for _ in range(2):
        perform(exchange, "refresh", f"{peer.url}/token", "x")
        perform(exchange, "fetch", f"{peer.url}/doc")
    assert len(peer.requests) == 4
    assert all("cookie" not in headers for _, headers, _ in peer.requests)
    assert not list(exchange._http.cookies.jar)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_what_is_on_this_machine_is_asked_without_a_proxy(make, peer, monkeypatch, variable):
    """A proxy has another idea of what 127.0.0.1 is."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert perform(make(), "refresh", f"{peer.url}/token", "x")["access_token"] == "new-access"
    localhost = peer.url.replace("127.0.0.1", "localhost")
    assert perform(make(), "refresh", f"{localhost}/token", "x")["access_token"] == "new-access"
    with pytest.raises(ServerUnavailable):
        perform(make(), "refresh", "http://lumin.invalid/token", "x")


def test_each_operation_has_a_connection_of_its_own_and_closes_nobody_else_s(make, peer):
    """One that was idle may be closed just as a token is sent on it, and then the outcome is unknown."""
    exchange = make()
    for _ in range(3):
        assert perform(exchange, "refresh", f"{peer.url}/token", "x")["access_token"] == "new-access"
    assert peer.connections == 3


async def test_operations_at_one_time_get_their_own_answers():
    def answer(request: httpx2.Request) -> httpx2.Response:
        sent = dict(parse_qsl(request.content.decode()))
        return httpx2.Response(200, json={**TOKENS, "access_token": f"for-{sent['refresh_token']}"})

    exchange = AsyncExchange(config(), CONTEXT)
    exchange._pool = httpx2.MockTransport(answer)
    asked = [f"user-{number}" for number in range(50)]
    found = await asyncio.gather(*(exchange.refresh("https://lumin.example/t", each) for each in asked))
    assert [each["access_token"] for each in found] == [f"for-{each}" for each in asked]
    await exchange.aclose()


def test_who_waits_is_cancelled_and_not_told_that_the_server_is_away(peer):
    peer.answer = lambda connection: peer.done.wait()

    async def cancelled() -> None:
        exchange = AsyncExchange(config(), CONTEXT)
        task = asyncio.ensure_future(exchange.refresh(f"{peer.url}/token", "x"))
        while not peer.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await exchange.aclose()

    asyncio.run(cancelled())
    peer.done.set()
