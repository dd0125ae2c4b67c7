"""`python -m tests.bench.clients`: what one exchange with a service costs, by the clients that a gateway could take.

Each passes a GET on and reads the answer piece by piece, over kept connections, from so many tasks at once. CPU time
of this process counts; the service is nginx, a process of its own. Needs the dependency group `compare`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio.to_thread
import h11
import httpcore2
import httpx2
import urllib3
import yarl

from lumin_middleware.gateway.messages import Request
from lumin_middleware.gateway.upstream import Upstream

from .proxies import upstream

AT_ONCE = 16
EXCHANGES = 100  # of each task in a round
ROUNDS = 5
TARGET = b"/page?x=%2F"
HEADERS = [(b"Host", b"app.example.com"), (b"Accept", b"text/html"), (b"Cookie", b"theme=dark"), (b"X-Real-IP", b"::1")]
TEXTS = {name.decode(): value.decode() for name, value in HEADERS}

Call = Callable[[], Awaitable[int]]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, upstream(Path(folder)) as where:
        print(f"\nOne exchange with a service, by the client ({AT_ONCE} at once; CPU of the client alone)")
        costs = asyncio.run(_in_turns(where))
    for name, cost in costs.items():
        print(f"  {name:34} {cost:7.1f} µs   {cost / costs['ours (httptools on asyncio)']:5.2f} x ours")


async def _in_turns(where: str) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {
            "ours (httptools on asyncio)": _ours(where, stack),
            "aiohttp": await _aiohttp(where, stack),
            "h11 on asyncio's streams": _h11(where),
            "httpcore2": await _httpcore(where, stack),
            "httpx2": await _httpx(where, stack),
            "urllib3 in threads": _urllib3(where, stack),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for round_ in range(ROUNDS + 1):
            for name, call in calls.items():
                taken = await _round(call)
                if round_:  # the first one opens connections
                    times[name].append(taken)
        return {name: statistics.median(each) * 1e6 for name, each in times.items()}


async def _round(call: Call) -> float:
    async def task() -> None:
        for _ in range(EXCHANGES):
            assert await call() == len(b"hello")

    begun = time.process_time()
    await asyncio.gather(*(task() for _ in range(AT_ONCE)))
    return (time.process_time() - begun) / AT_ONCE / EXCHANGES


# --- the clients ----------------------------------------------------------------------------------------


def _ours(where: str, stack: AsyncExitStack) -> Call:
    client = Upstream(where, 60)
    stack.callback(client.close)

    async def call() -> int:
        answer = await client.send(Request(b"GET", TARGET, HEADERS))
        try:
            return sum([len(piece) async for piece in answer.pieces()])
        finally:
            answer.close()

    return call


async def _aiohttp(where: str, stack: AsyncExitStack) -> Call:
    connector = aiohttp.TCPConnector(limit=0)
    client = await stack.enter_async_context(
        aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
    )
    url = yarl.URL(where + TARGET.decode(), encoded=True)

    async def call() -> int:
        async with client.get(url, headers=TEXTS, allow_redirects=False) as answer:
            return sum([len(piece) async for piece in answer.content.iter_any()])

    return call


async def _httpcore(where: str, stack: AsyncExitStack) -> Call:
    pool = await stack.enter_async_context(httpcore2.AsyncConnectionPool(max_connections=None))

    async def call() -> int:
        async with pool.stream("GET", where + TARGET.decode(), headers=HEADERS) as answer:
            return sum([len(piece) async for piece in answer.aiter_stream()])

    return call


async def _httpx(where: str, stack: AsyncExitStack) -> Call:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    client = await stack.enter_async_context(httpx2.AsyncClient(limits=limits, trust_env=False, headers={}))

    async def call() -> int:
        async with client.stream("GET", where + TARGET.decode(), headers=HEADERS) as answer:
            return sum([len(piece) async for piece in answer.aiter_raw()])

    return call


def _urllib3(where: str, stack: AsyncExitStack) -> Call:
    pool = urllib3.HTTPConnectionPool(urlsplit(where).hostname or "", urlsplit(where).port, maxsize=AT_ONCE)
    stack.callback(pool.close)

    def ask() -> int:
        answer = pool.request("GET", TARGET.decode(), headers=TEXTS, preload_content=False, redirect=False)
        try:
            return sum(len(piece) for piece in answer.stream(decode_content=False))
        finally:
            answer.release_conn()

    async def call() -> int:
        return await anyio.to_thread.run_sync(ask)

    return call


def _h11(where: str) -> Call:
    """What its authors' examples do, with a list of connections to take again."""
    host, port = urlsplit(where).hostname, urlsplit(where).port
    idle: list[tuple[h11.Connection, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call() -> int:
        if idle:
            state, reader, writer = idle.pop()
        else:
            reader, writer = await asyncio.open_connection(host, port)
            state = h11.Connection(h11.CLIENT)
        writer.write(state.send(h11.Request(method=b"GET", target=TARGET, headers=HEADERS)) or b"")
        writer.write(state.send(h11.EndOfMessage()) or b"")
        size = 0
        while True:
            match state.next_event():
                case h11.NEED_DATA:
                    state.receive_data(await reader.read(65_536))
                case h11.Data(data=piece):
                    size += len(piece)
                case h11.EndOfMessage():
                    state.start_next_cycle()
                    idle.append((state, reader, writer))
                    return size

    return call


if __name__ == "__main__":
    main()
