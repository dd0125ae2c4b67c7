"""HTTP/1.1 on one connection, as plain as it gets: what is sent, and over which connection, is the test's to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The header of that name, if there is one; the first of several."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def set_cookies(self) -> list[str]:
        return [value for key, value in self.headers if key == "set-cookie"]


class Connection:
    """A connection to a server on loopback, kept alive until it is closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, target: str, headers: Mapping[str, str]) -> Answer:
        """The answer to one request. Raises `ConnectionError` when the server hangs up before its end."""
        await self.send(target, headers)
        return await self.receive()

    async def send(self, target: str, headers: Mapping[str, str], method: str = "GET") -> None:
        """Half of `get`."""
        if self._http.our_state is h11.MUST_CLOSE:  # as after a 500, with which uvicorn gives a connection up
            raise ConnectionResetError("the server said that it closes this connection")
        request = h11.Request(method=method, target=target, headers=[("host", "app.example.com"), *headers.items()])
        self._writer.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        await self._writer.drain()

    async def receive(self) -> Answer:
        """The other half of `get`."""
        status, found, body = 0, [], b""
        while True:
            match await self._event():
                case h11.Response() as response:
                    status = response.status_code
                    found = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
                case h11.Data() as data:
                    body += bytes(data.data)
                case h11.EndOfMessage():
                    self._http.start_next_cycle()
                    return Answer(status, found, body)
                case _:
                    raise ConnectionResetError("the server hung up")

    async def _event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(65_536))
        except h11.RemoteProtocolError:
            raise ConnectionResetError("the server hung up in the middle of an answer") from None
        return event

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):  # the other side was faster
            await self._writer.wait_closed()
