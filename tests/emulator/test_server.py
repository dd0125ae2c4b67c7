"""The emulator over a real socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from lumin_middleware.emulator import DEMO_CLIENT, Emulator, serve
from lumin_middleware.emulator.server import listen, reached_at
from lumin_middleware.errors import ConfigurationError
from tests.patience import PATIENCE


def test_it_answers_at_the_port_that_it_got():
    with serve() as running, httpx2.Client(base_url=running.base, timeout=PATIENCE) as http:
        found = http.get("/.well-known/openid-configuration").json()
        assert found["issuer"] == running.base == running.emulator.base
        assert found["token_endpoint"] == f"{running.base}/oauth2/token"
        assert [call.status for call in running.emulator.calls] == [200]


def test_an_answer_in_pieces_does_not_wait_for_the_client_to_acknowledge_the_first():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as client:
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.recv(1) == b""


@pytest.mark.parametrize("host", ["", " "])
def test_no_host_is_not_every_address(host):
    with pytest.raises(ConfigurationError, match="host: is empty"), serve(host=host):
        pass


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        *(("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("0:0::0", "::1"), ("::ffff:0.0.0.0", "127.0.0.1")),
        *((host, host) for host in ("127.0.0.1", "::1", "192.0.2.1", "localhost")),
    ],
)
def test_where_somebody_who_listens_everywhere_is_reached(host, reached):
    assert reached_at(host) == reached


def test_options_reach_the_emulator():
    with serve(clients=[DEMO_CLIENT], users=[], id_token=False) as running:
        assert not running.emulator.users
        assert list(running.emulator.clients) == [DEMO_CLIENT.client_id]


def test_it_can_be_built_by_a_function_once_the_port_is_known():
    def make(base: str) -> Emulator:
        return Emulator(base, issuer=f"{base}/")

    with serve(make) as running:
        issuer = httpx2.get(f"{running.base}/.well-known/openid-configuration", timeout=PATIENCE).json()["issuer"]
        assert issuer == f"{running.base}/"


def test_behind_a_proxy_it_has_the_base_that_it_is_told():
    with serve(base="https://lumin.test") as running:
        assert running.base == running.emulator.base == "https://lumin.test"


def test_its_port_is_free_again_afterwards():
    with serve() as running:
        port = urlsplit(running.base).port
    with serve(port=port or 0) as again:
        assert urlsplit(again.base).port == port


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_dropped_connection_is_closed_without_an_answer(drop):
    with serve() as running, socket.create_connection(("127.0.0.1", urlsplit(running.base).port or 0)) as client:
        running.emulator.faults.add("/", drop=drop)
        client.sendall(b"GET / HTTP/1.1\r\nHost: emulator\r\n\r\n")
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_an_http_client_sees_a_dropped_connection_as_a_transport_error_and_goes_on():
    with serve() as running, httpx2.Client(base_url=running.base, timeout=PATIENCE) as http:
        running.emulator.faults.add("/userinfo", drop="after")
        with pytest.raises(httpx2.TransportError):
            http.post("/userinfo", data={"a": "b"})
        assert http.get("/userinfo").status_code == 401


def test_a_date_is_sent_once():
    with serve() as running:
        assert len(httpx2.get(running.base, timeout=PATIENCE).headers.get_list("date")) == 1


def test_it_stops_although_a_request_still_waits():
    arrived = threading.Event()
    seen: list[Exception] = []

    async def note() -> None:
        arrived.set()

    def wait(base: str) -> None:
        try:
            httpx2.get(base, timeout=PATIENCE)
        except httpx2.TransportError as error:
            seen.append(error)

    with serve() as running:
        running.emulator.faults.add("/", after=note, delay=3600)
        client = threading.Thread(target=wait, args=[running.base])
        client.start()
        assert arrived.wait(timeout=PATIENCE)
    client.join()
    assert len(seen) == 1


def test_whoever_comes_as_it_ends_is_not_left_waiting():
    request = b"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: emulator\r\n\r\n"
    for _ in range(20):
        with serve() as running:
            assert httpx2.get(running.base, timeout=PATIENCE).status_code
            client = socket.create_connection(("127.0.0.1", urlsplit(running.base).port or 0), timeout=PATIENCE)
            client.sendall(request)
        with client, suppress(ConnectionResetError):
            client.recv(1)


def test_it_runs_in_the_foreground_until_it_is_interrupted_and_prints_nothing():
    code = "from lumin_middleware.emulator import run; run(port=0, ready=lambda at: print(at.base, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        base = process.stdout.readline().decode().strip()
        assert httpx2.get(base, timeout=PATIENCE).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
    assert process.returncode == 0
