"""One site with both edges, an application in both colours, and a browser that writes down what it saw.

The two edges share settings, store and emulator. A browser goes to one of them, and may be sent to the other. Its
`story` holds every answer with what is random taken out, so that stories of two edges can be compared.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.emulator import Emulator, serve
from lumin_middleware.stores import MemoryStore
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.acceptance.harness import Headers, Raw, call, encoded
from tests.edges import gateway
from tests.edges.apps import AsgiApp, WsgiApp
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN, Clock, at_emulator

Edge = Literal["asgi", "wsgi"]
EDGES: tuple[Edge, Edge] = ("asgi", "wsgi")
START = 1_790_000_000.0


class Site:
    """An application in both colours behind the middleware of both edges."""

    def __init__(self, emulator: Emulator, clock: Clock, **settings: Any) -> None:
        self.emulator = emulator
        self.clock = clock
        self._reused = emulator.reuse_events
        self.store = settings.pop("store", None) or MemoryStore(clock=clock)
        self.config = at_emulator(emulator, store=self.store, **settings)
        self.asgi_app, self.wsgi_app = AsgiApp(), WsgiApp()
        self.asgi = AsgiMiddleware(self.asgi_app, self.config, clock=clock)
        self.wsgi = WsgiMiddleware(self.wsgi_app, self.config, clock=clock)

    async def aclose(self) -> None:
        self.wsgi.close()
        await self.asgi.aclose()

    def app(self, edge: Edge) -> AsgiApp | WsgiApp:
        return self.asgi_app if edge == "asgi" else self.wsgi_app

    def browser(self, edge: Edge) -> Browser:
        return Browser(self, edge)

    async def request(
        self, edge: Edge, target: bytes | str, *, method: str = "GET", headers: Headers = NAVIGATION, body: bytes = b""
    ) -> Raw:
        """One request, byte by byte, to one edge."""
        if edge == "asgi":
            return await call(self.asgi, target, method=method, headers=headers, body=body)
        made = gateway.environ(target, method, headers, body)
        return await asyncio.to_thread(gateway.serve_validated, self.wsgi, made)

    def reuse_events(self) -> int:
        """How often a spent code or refresh token was presented since this site is there."""
        return self.emulator.reuse_events - self._reused

    def refreshes(self) -> int:
        """How often a refresh token was presented."""
        forms = [each.form for each in self.emulator.calls_to("/oauth2/token")]
        return sum(form.get("grant_type") == ["refresh_token"] for form in forms)


class Browser:
    """A browser with a cookie jar, at one edge of a site."""

    def __init__(self, site: Site, edge: Edge) -> None:
        self.site = site
        self.edge = edge
        self.jar: dict[str, str] = {}
        self.story: list[tuple[Any, ...]] = []
        self.references: list[tuple[str, str]] = []
        """The reason and the reference of each page that has them."""

    async def ask(self, method: str, target: bytes | str, headers: Headers, body: bytes = b"") -> Raw:
        sent = encoded(headers)
        if self.jar:
            sent.append((b"cookie", "; ".join(f"{name}={value}" for name, value in self.jar.items()).encode()))
        target = target.removeprefix(ORIGIN) if isinstance(target, str) else target
        answer = await self.site.request(self.edge, target, method=method, headers=sent, body=body)
        self._keep(answer)
        self.story.append(self._told(method, answer))
        self.references += REFERENCE.findall(answer.body.decode("latin-1"))
        return answer

    async def navigate(self, target: bytes | str, **headers: str) -> Raw:
        """Somebody goes to `target`; the answer, not what it redirects to."""
        return await self.ask("GET", target, {**NAVIGATION, **headers})

    async def fetch(self, method: str, target: str, body: bytes = b"", **headers: str) -> Raw:
        """A script of the page calls `target`."""
        return await self.ask(method, target, {**FETCH, "origin": ORIGIN, **headers}, body)

    async def begin(self, target: str = "/") -> str:
        """Goes to a page and is sent to the authorization endpoint: its URL."""
        answer = await self.navigate(target)
        assert answer.status == 303, answer.body
        return answer.header("location") or ""

    async def sign_in(self, target: str = "/", **person: Any) -> Raw:
        """The whole way; the answer of the callback."""
        return await self.navigate(self.site.emulator.sign_in(await self.begin(target), **person))

    async def log_out(self) -> Raw:
        headers = {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}
        return await self.ask("POST", "/auth/logout", headers)

    async def subject(self) -> str | None:
        """Who the application sees; None where it wants a sign-in."""
        answer = await self.fetch("GET", "/who")
        return None if answer.status == 401 else json.loads(answer.body)["subject"]

    def _keep(self, answer: Raw) -> None:
        for line in answer.all("set-cookie"):
            pair, _, attributes = line.partition(";")
            name, _, value = pair.partition("=")
            self.jar.pop(name, None)
            if "Max-Age=0;" not in f"{attributes};":
                self.jar[name] = value

    def _told(self, method: str, answer: Raw) -> tuple[Any, ...]:
        headers = [(name.decode(), self._plain(value.decode("latin-1"))) for name, value in answer.headers]
        return method, answer.status, headers, self._plain(answer.body.decode("latin-1"))

    def _plain(self, text: str) -> str:
        """The same without what differs between any two sites: the emulator's port, and whatever is random."""
        for base in (self.site.emulator.base, quote(self.site.emulator.base, safe="")):
            text = text.replace(base, "LUMIN")
        text = re.sub(r"(?<=login-)[0-9a-f]{16}", "ID", text)
        text = re.sub(r"(?<= · )[0-9A-F]{4}-[0-9A-F]{4}(?=</p>)", "REFERENCE", text.replace("Â·", "·"))
        text = re.sub(r'(?<="reference": ")[0-9A-F]{4}-[0-9A-F]{4}(?=")', "REFERENCE", text)
        return re.sub(r"(?<![\w-])[\w.-]{22,}", "RANDOM", text)


REFERENCE = re.compile(r'class="reference">(\w+) \S+ ([0-9A-F]{4}-[0-9A-F]{4})</p>')


class Lumin:
    """A running emulator with its clock. Its sites come one after the other, and none sees what was before it."""

    def __init__(self, emulator: Emulator, clock: Clock) -> None:
        self.emulator = emulator
        self.clock = clock

    def site(self, **settings: Any) -> Site:
        """A new site, at the beginning of time."""
        self.clock.now = START
        self.emulator.faults.clear()
        self.emulator.calls.clear()
        self.emulator.signature_requests.clear()
        return Site(self.emulator, self.clock, **settings)


async def end_lifespan(app: Any) -> None:
    """Starts and stops an ASGI application, as a server does, so that what it has open is closed."""
    messages = ["lifespan.shutdown", "lifespan.startup"]

    async def receive() -> dict[str, str]:
        return {"type": messages.pop()}

    async def send(message: Any) -> None:
        assert message["type"].endswith(".complete"), message

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


@contextmanager
def lumin(**options: Any) -> Iterator[Lumin]:
    """Serves an emulator, with these options of its own."""
    clock = Clock(START)
    with serve(**{"clients": [CLIENT], "clock": clock, **options}) as running:
        yield Lumin(running.emulator, clock)
