"""Real connections: one that was just closed costs nobody an error, and this machine is asked without a proxy."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lumin_middleware import connections
from lumin_middleware.connections import api_client, blocking_api_client, tls_context
from tests.certificates import self_signed
from tests.fakes import config
from tests.patience import PATIENCE

CONTEXT = ssl.create_default_context()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: who=somebody\r\n\r\nhere"


HOST = "lumin.example"
"""A server behind a proxy, whose certificate is for this name."""


class Peer:
    """A server on loopback that keeps a connection after its first answer, and closes it at the next request.

    With a `certificate` it speaks TLS; one that `is_proxy` is asked for a tunnel to `HOST` first.
    """

    def __init__(
        self,
        closes: Callable[[socket.socket], None],
        *,
        answers: bool = True,
        certificate: Path | None = None,
        is_proxy: bool = False,
    ) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        port = self.listening.getsockname()[1]
        self.proxy = f"http://127.0.0.1:{port}"
        self.url = f"https://{HOST if is_proxy else 'localhost'}:{port}" if certificate else self.proxy
        self._is_proxy = is_proxy
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.requests: list[tuple[int, str]] = []
        self._closes = closes
        self._answers = (True, False) if answers else (False,)
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        for number in range(1000):
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(number, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _spoken(self, connection: socket.socket) -> socket.socket:
        if self._is_proxy:
            assert connection.recv(65_536).startswith(b"CONNECT ")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True)

    def _talk(self, number: int, connection: socket.socket) -> None:
        with connection, self._spoken(connection) as connection:
            for answers in self._answers:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (piece := connection.recv(65_536)):
                        return
                    head += piece
                self.requests.append((number, head.decode().partition(" ")[0]))
                if answers:
                    connection.sendall(ANSWER)
            self._closes(connection)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self._threads:
            thread.join()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes from one call to the next."""
    monkeypatch.setattr(connections, "KEEPALIVE", PATIENCE)


@pytest.fixture(params=[lambda connection: None, reset], ids=["closed", "reset"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    found = Peer(request.param)
    yield found
    found.close()


@pytest.fixture(params=[api_client, blocking_api_client], ids=["async", "blocking"])
def make(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    return lambda url: request.param(config(api_url=url), CONTEXT)


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def close(client: Any) -> None:
    await done(client.aclose() if isinstance(client, httpx2.AsyncClient) else client.close())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_a_kept_connection_that_was_just_closed_costs_nobody_an_error(peer, make, method):
    client = make(peer.url)
    for _ in range(2):
        assert (await done(client.request(method, "/x"))).status_code == 200
    assert peer.requests == [(0, method), (0, method), (1, method)]
    await close(client)


def garble(connection: socket.socket) -> None:
    """What TLS cannot read, which breaks the connection as its end does."""
    with socket.socket(fileno=os.dup(connection.fileno())) as bare:
        bare.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A certificate for a host, which this process trusts."""

    def trusted(host: str) -> Path:
        file = self_signed(tmp_path / host, host)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        return file

    return trusted


@pytest.mark.parametrize("client", [api_client, blocking_api_client], ids=["async", "blocking"])
@pytest.mark.parametrize("closes", [lambda connection: None, reset, garble], ids=["closed", "reset", "garbled"])
async def test_nor_does_one_by_tls(trusted, client, closes):
    peer = Peer(closes, certificate=trusted("localhost"))
    client = client(config(api_url=peer.url), tls_context())
    for _ in range(2):
        assert (await done(client.get("/x"))).status_code == 200
    assert peer.requests == [(0, "GET"), (0, "GET"), (1, "GET")]
    await close(client)
    peer.close()


@pytest.mark.parametrize("client", [api_client, blocking_api_client], ids=["async", "blocking"])
async def test_a_new_tunnel_through_a_proxy_is_no_kept_connection(trusted, monkeypatch, client):
    peer = Peer(reset, answers=False, certificate=trusted(HOST), is_proxy=True)
    monkeypatch.setenv("HTTPS_PROXY", peer.proxy)
    client = client(config(api_url=peer.url), tls_context())
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
        await done(client.delete("/x"))
    assert peer.requests == [(0, "DELETE")]
    await close(client)
    peer.close()


async def test_a_new_connection_that_is_closed_is_the_server_s_trouble(make):
    """And the application's to see: asking twice as often would not help a server that cannot answer."""
    peer = Peer(lambda connection: None, answers=False)
    client = make(peer.url)
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
        await done(client.get("/x"))
    assert peer.requests == [(0, "GET")]
    await close(client)
    peer.close()


async def test_the_application_s_own_trace_is_called_as_well(peer, make):
    client, seen = make(peer.url), []

    def trace(event: str, info: dict[str, Any]) -> None:
        seen.append(event)

    async def atrace(event: str, info: dict[str, Any]) -> None:
        seen.append(event)

    own = atrace if isinstance(client, httpx2.AsyncClient) else trace
    await done(client.get("/x", extensions={"trace": own}))
    assert "http11.send_request_headers.started" in seen
    await close(client)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_have_been_done_is_not_done_again(peer, make, method):
    client = make(peer.url)
    await done(client.request("GET", "/x"))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
        await done(client.request(method, "/x", json={}))
    assert peer.requests == [(0, "GET"), (0, method)]
    await close(client)


async def test_many_at_once_on_dead_connections_are_all_answered(peer, make):
    client = make(peer.url)
    for _ in range(2):
        if isinstance(client, httpx2.AsyncClient):
            answers = await asyncio.gather(*(client.get("/x") for _ in range(10)))
        else:
            answers = [client.get("/x") for _ in range(10)]
        assert [answer.content for answer in answers] == [b"here"] * 10
    await close(client)


async def test_who_has_closed_the_connections_has_nothing_sent_again(make):
    """A call that was under way, and is cut off by that, is not made twice."""
    arrived, over = threading.Event(), threading.Event()
    peer = Peer(lambda _: (arrived.set(), over.wait()))
    client = make(peer.url)
    await done(client.get("/first"))
    call = asyncio.create_task(
        client.get("/x") if isinstance(client, httpx2.AsyncClient) else asyncio.to_thread(client.get, "/x")
    )
    await asyncio.to_thread(arrived.wait)
    await close(client)
    over.set()
    with pytest.raises((httpx2.HTTPError, RuntimeError)):
        await call
    assert len(peer.requests) == 2
    assert "_anew" not in vars(client)
    peer.close()


async def test_no_cookie_is_kept(peer, make):
    client = make(peer.url)
    for _ in range(2):
        await done(client.get("/x"))
    assert not [*client.cookies.jar, *client._anew.cookies.jar]
    await close(client)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_this_machine_is_asked_without_a_proxy(peer, make, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for host in ("127.0.0.1", "localhost"):
        client = make(peer.url.replace("127.0.0.1", host))
        for _ in range(2):  # the second time over a new connection
            assert (await done(client.get("/x"))).status_code == 200
        await close(client)
    client = make("https://lumin.invalid")
    with pytest.raises((httpx2.ConnectError, httpx2.ProxyError)):
        await done(client.get("/x"))
    await close(client)


UNASKABLE = ["a..b", f"{'a' * 64}.example"]
"""Hosts that no name server can be asked for."""


@pytest.mark.parametrize("host", UNASKABLE)
async def test_a_host_that_nobody_can_look_up_is_one_that_is_not_there(make, host):
    """Without an event loop it is an error of Python's `idna`, which is nobody's trouble to see."""
    client = make("https://lumin.example")
    with pytest.raises(httpx2.ConnectError) as raised:
        await done(client.get(f"http://{host}/x"))
    assert raised.value.request.url.host == host
    await close(client)


async def test_so_is_a_proxy_of_such_a_name(make, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://a..b:3128")
    client = make("https://lumin.example")
    with pytest.raises(httpx2.ConnectError):
        await done(client.get("/x"))
    await close(client)


@pytest.mark.parametrize("host", UNASKABLE)
async def test_so_is_one_where_a_redirect_leads(make, host):
    moved = f"HTTP/1.1 302 Found\r\nLocation: http://{host}/\r\nContent-Length: 0\r\n\r\n".encode()
    peer = Peer(lambda connection: connection.sendall(moved), answers=False)
    client = make(peer.url)
    with pytest.raises(httpx2.ConnectError):
        await done(client.get("/x", follow_redirects=True))
    await close(client)
    peer.close()
