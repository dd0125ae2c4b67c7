"""A small site for a real browser, on either edge, in threads of the test's own process: its clock is the test's.

`without_fetch_metadata` takes away what browsers leave out on plain http elsewhere than on this machine.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal
from urllib.parse import parse_qs

from werkzeug.serving import WSGIRequestHandler, make_server

from lumin_middleware import AuthorizationServer, LuminConfig, LuminMiddleware
from lumin_middleware.emulator import Client, Emulator, serve
from lumin_middleware.stores import MemoryStore
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.patience import PATIENCE
from tests.serving import served
from tests.site_rig import Clock

Edge = Literal["asgi", "wsgi"]

WORKER = """
self.addEventListener('install', event => event.waitUntil(self.skipWaiting()))
self.addEventListener('activate', event => event.waitUntil((async () => {
  await self.registration.navigationPreload.enable()
  await self.clients.claim()
})()))
self.addEventListener('fetch', event => {
  if (event.request.mode !== 'navigate') return
  event.waitUntil(event.preloadResponse)
  event.respondWith(fetch(event.request))
})
"""
"""A service worker as people write them: it asks the browser to load ahead, and then loads by itself all the same."""

INSTALL = "<script>navigator.serviceWorker.register('/worker.js')</script>"
FORM = '<form method="post" action="/form"><input name="title" aria-label="Title"><button>Send</button></form>'


@dataclass
class Site:
    """What is served, and what reached the application."""

    origin: str
    emulator: Emulator
    clock: Clock
    lumin_clock: Clock
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Method and target of each request that came to the site, before the middleware."""
    sent: list[dict[str, list[str]]] = field(default_factory=list)
    """The forms that reached the application."""

    def page(self, method: str, path: str, body: bytes, who: str) -> tuple[int, list[tuple[str, str]], str]:
        """The application's answer."""
        html = [("Content-Type", "text/html; charset=utf-8")]
        match path:
            case "/worker.js":
                return 200, [("Content-Type", "text/javascript")], WORKER
            case "/install":
                return 200, html, f"<h1>Installed</h1>{INSTALL}"
            case "/file":  # as file servers answer: nothing of caching but what heuristics go by
                dated = [("ETag", '"1"'), ("Last-Modified", "Sun, 01 Jan 2017 00:00:00 GMT")]
                return 200, [*html, *dated], f"<h1>The file of {escape(who)}</h1>"
            case "/form" if method == "POST":
                self.sent.append(parse_qs(body.decode(), keep_blank_values=True))
                return 200, html, f"<h1>Sent by {escape(who)}</h1>"
            case "/form":
                return 200, html, f"<h1>A form</h1>{FORM}"
        return 200, html, f"<h1>Page {escape(path)} of {escape(who)}</h1>"


def _asgi(site: Site) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("none")
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        client = scope["state"]["lumin"]
        who = client.claims["name"] if client else "nobody"
        status, headers, text = site.page(scope["method"], scope["path"], body, who)
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text.encode()})

    return app


def _wsgi(site: Site) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        client = environ["lumin"]
        who = client.claims["name"] if client else "nobody"
        status, headers, text = site.page(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, who)
        start_response(f"{status} X", headers)
        return [text.encode()]

    return app


# --- what stands before the middleware ------------------------------------------------------------------


def _watched_asgi(app: Any, site: Site, *, strip: bool) -> Any:
    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            site.seen.append((scope["method"], f"{scope['path']}?{scope['query_string'].decode()}"))
            if strip:
                kept = [item for item in scope["headers"] if not item[0].startswith(b"sec-")]
                scope = {**scope, "headers": kept}
        await app(scope, receive, send)

    return watched


def _watched_wsgi(app: Any, site: Site, *, strip: bool) -> Any:
    def watched(environ: Any, start_response: Any) -> Any:
        site.seen.append((environ["REQUEST_METHOD"], f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"))
        if strip:
            environ = {name: value for name, value in environ.items() if not name.startswith("HTTP_SEC_")}
        return app(environ, start_response)

    return watched


# --- serving --------------------------------------------------------------------------------------------


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *arguments: object) -> None:
        """The tests look at what is answered."""


@contextmanager
def _serve_wsgi(app: Any, listener: socket.socket) -> Iterator[None]:
    host, port = listener.getsockname()
    server = make_server(host, port, app, threaded=True, request_handler=_Quiet, fd=listener.fileno())
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))  # seconds between two looks
    serving.start()
    try:
        yield
    finally:
        server.shutdown()
        serving.join(PATIENCE)
        server.socket.close()


@contextmanager
def site(edge: Edge, *, without_fetch_metadata: bool = False, **settings: Any) -> Iterator[Site]:
    """The site with an emulator of its own; `settings` are the site's."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(
            client_id="site",
            client_secret=secrets.token_urlsafe(32),
            redirect_uris=(f"{origin}/auth/callback",),
            post_logout_redirect_uris=(f"{origin}/auth/logout",),
        )
        clock, lumin_clock = Clock(time.time()), Clock(time.time())
        emulator = stack.enter_context(serve(clients=[client], clock=lumin_clock)).emulator
        found = Site(origin, emulator, clock, lumin_clock)
        config = LuminConfig(
            **{
                "client_id": client.client_id,
                "client_secret": client.client_secret,
                "redirect_uri": client.redirect_uris[0],
                "secret_key": secrets.token_bytes(32),
                "server": AuthorizationServer.at(emulator.base),
                "api_url": f"{emulator.base}/v1",
                "store": MemoryStore(clock=found.clock),
                "post_logout_redirect_uri": f"{origin}/auth/logout" if settings.get("end_session") else None,
                **settings,
            }
        )
        if edge == "asgi":
            middleware: Any = LuminMiddleware(_asgi(found), config, clock=found.clock)
            app = _watched_asgi(middleware, found, strip=without_fetch_metadata)
            stack.enter_context(served(app, listener))
        else:
            middleware = WsgiMiddleware(_wsgi(found), config, clock=found.clock)
            stack.callback(middleware.close)
            app = _watched_wsgi(middleware, found, strip=without_fetch_metadata)
            stack.enter_context(_serve_wsgi(app, listener))
        yield found
