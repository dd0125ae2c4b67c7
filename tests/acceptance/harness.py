"""What the acceptance tests share: raw requests, a witness of what must not happen, an oracle for redirects.

`call` and `shake_hands` speak ASGI themselves, so that a path, a cookie or a header arrives as an attacker wrote
it. `Witness` is the convention REJECT: whatever is refused leaves no trace.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
import httpx2
import pytest
from ada_url import URL

from lumin_middleware.runtime.bounded import AsyncPool
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, SESSION, Browser, Site

TOKEN = "/oauth2/token"
REVOKE = "/oauth2/revoke"
JWKS = "/.well-known/jwks.json"
DISCOVERY = "/.well-known/openid-configuration"
USER_INFO = "/v1/user/info"

LOGIN = f"{SESSION}-login-"
TRIES = f"{SESSION}-tries"

Headers = Mapping[str, str] | Iterable[tuple[bytes, bytes]]


# --- requests as they were written ----------------------------------------------------------------------


@dataclass
class Raw:
    """An answer as it went out, and what was sent in all."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def set_cookies(self) -> dict[str, str]:
        return {line.partition("=")[0]: line for line in self.all("set-cookie")}


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    if isinstance(headers, Mapping):
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return list(headers)


def http_scope(target: bytes | str, method: str = "GET", headers: Headers = (), **more: Any) -> dict[str, Any]:
    """The scope that a server makes of this request line: the path decoded once, the rest as it came."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    raw_path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": encoded(headers),
        "client": ("203.0.113.9", 50000),
        "server": ("127.0.0.1", 8000),
        **more,
    }


async def run(app: Any, scope: dict[str, Any], *, body: bytes = b"", gone: bool = False) -> Raw:
    """Runs one HTTP request, and holds the answer to ASGI and HTTP. With `gone` the client has left."""
    answer = Raw()
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.start":
            assert not answer.status, "the answer began twice"
            answer.status, answer.headers = message["status"], list(message.get("headers", []))
            for name, value in answer.headers:
                assert re.fullmatch(rb"[a-z0-9!#$%&'*+.^_`|~-]+", name), name
                assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), (name, value)
        elif message["type"] == "http.response.body":
            assert answer.status, "a body came before its answer began"
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


async def call(
    app: Any, target: bytes | str = "/", *, method: str = "GET", headers: Headers = NAVIGATION, **more: Any
) -> Raw:
    """One HTTP request to the application, its target and headers byte by byte."""
    body, gone = more.pop("body", b""), more.pop("gone", False)
    return await run(app, http_scope(target, method, headers, **more), body=body, gone=gone)


async def shake_hands(
    app: Any, target: bytes | str = "/", *, headers: Headers = (), **more: Any
) -> list[dict[str, Any]]:
    """A WebSocket handshake, and nothing after it; what the application's side sent."""
    scope = http_scope(target, headers=headers) | {"type": "websocket", "scheme": "ws", "subprotocols": []} | more
    del scope["method"]
    sent: list[dict[str, Any]] = []
    incoming = [{"type": "websocket.disconnect", "code": 1001}, {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        if not incoming:
            await asyncio.Event().wait()
        return incoming.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


ATTRIBUTES = "; Path=/; HttpOnly; SameSite=Lax; Secure"


async def seen_with(site: Site, cookie: str, headers: Mapping[str, str] = FETCH) -> Raw:
    """What a request with this `Cookie` header gets."""
    return await call(site.middleware, "/who", headers={**headers, "cookie": cookie})


def joined(values: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in values.items())


def with_cookies(browser: Browser, base: Mapping[str, str] = NAVIGATION, **headers: str) -> dict[str, str]:
    """Headers of this browser, cookies included, for a raw request."""
    return {**base, "cookie": cookie_header(browser), **headers}


def cookie_header(browser: Browser) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)


def cookies(browser: Browser) -> dict[str, str]:
    return {cookie.name: cookie.value or "" for cookie in browser.cookies.jar}


def put_cookie(browser: Browser, name: str, value: str) -> None:
    """Puts a cookie into the jar, in place of the one of that name."""
    browser.cookies.set(name, value, domain="app.example.com", path="/")


def keep(browser: Browser, answer: Raw) -> None:
    """Puts the cookies of a raw answer into the jar, as a browser does that deletes nothing."""
    for line in answer.all("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        put_cookie(browser, name, value)


# --- trouble --------------------------------------------------------------------------------------------


@contextmanager
def trouble(site: Site, path: str, **fault: Any) -> Iterator[None]:
    """Inside, this happens to every request for `path` of the server.

    An answer that is too late is soon given up, and no other: who waits for a good one has all the time there is.
    """
    site.emulator.faults.add(path, times=None, **fault)
    with pytest.MonkeyPatch.context() as patch:
        if "delay" in fault:
            patch.setattr(AsyncPool, "handle_async_request", impatient(path))
        yield
    site.emulator.faults.clear()


def impatient(path: str) -> Any:
    """How requests are sent, but for those to `path`, which have 0.3 seconds."""
    send = AsyncPool.handle_async_request

    async def handle_async_request(pool: AsyncPool, request: httpx2.Request) -> httpx2.Response:
        with anyio.fail_after(0.3) if request.url.path == path else nullcontext():
            return await send(pool, request)

    return handle_async_request


async def until_called(site: Site, path: str) -> None:
    """Waits until a request has reached the server, as it does some time after who sent it has given up."""
    while not site.emulator.calls_to(path):
        await asyncio.sleep(0.01)


# --- who is signed in -----------------------------------------------------------------------------------


def session_cookies(browser: Browser) -> dict[str, str]:
    return {name: value for name, value in cookies(browser).items() if re.fullmatch(rf"{SESSION}(-\d+)?", name)}


def login_cookies(browser: Browser) -> dict[str, str]:
    return {name: value for name, value in cookies(browser).items() if name.startswith(LOGIN)}


async def subject(browser: Browser, path: str = "/who") -> str | None:
    """Who the application sees behind this browser: None when nobody, as on a page that needs a sign-in."""
    answer = await browser.fetch("GET", path)
    if answer.status_code == 401:
        return None
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return answer.json()["subject"]


def session_records(site: Site) -> dict[str, bytes]:
    """The records of sessions in the (memory) store, by key."""
    return {key: value for key, (value, _) in site.store._entries.items() if key.startswith("session:")}


class Witness:
    """What was before an attack, and that nothing of it changed."""

    def __init__(self, site: Site, browser: Browser) -> None:
        self.site = site
        self.browser = browser
        self.sessions = session_cookies(browser)
        self.records = session_records(site)
        self.requests = len(site.app.scopes)
        self.calls = {path: len(site.emulator.calls_to(path)) for path in (TOKEN, USER_INFO)}

    def token_calls(self) -> int:
        return len(self.site.emulator.calls_to(TOKEN)) - self.calls[TOKEN]

    def assert_rejected(self, answer: httpx2.Response, *, token_calls: int | None = None) -> None:
        """REJECT; with `token_calls=0` also NO-TOKEN-CALL."""
        assert 400 <= answer.status_code < 500 or answer.status_code in (502, 503), answer.status_code
        for line in answer.headers.get_list("set-cookie"):
            assert not re.match(rf"{SESSION}(-\d+)?=[^;]", line), line
        assert "Traceback" not in answer.text
        assert session_cookies(self.browser) == self.sessions
        assert session_records(self.site) == self.records
        for scope in self.site.app.scopes[self.requests :]:
            assert scope["state"]["lumin"] is None
            assert not scope["user"].is_authenticated
        assert len(self.site.emulator.calls_to(USER_INFO)) == self.calls[USER_INFO]
        if token_calls is not None:
            assert self.token_calls() == token_calls


# --- where a redirect leads -----------------------------------------------------------------------------


def resolved(location: str, base: str = f"{ORIGIN}/auth/callback") -> URL:
    """Where a browser goes (WHATWG URL)."""
    return URL(location, base=base)


def assert_on_site(location: str) -> None:
    assert resolved(location).origin == ORIGIN, location
    assert location.isascii(), location
    assert location.isprintable(), location
    assert " " not in location, location


async def lands_on(site: Site, return_to: str, *, quoted: str) -> str:
    """The whole way through a login that was asked to lead to `return_to`: where it leads."""
    browser = site.browser()
    begun = await call(site.middleware, f"/auth/login?return_to={quoted}")
    assert begun.status == 303, (return_to[:60], begun.status)
    for line in begun.all("set-cookie"):
        assert len(line) <= 4096, (return_to[:60], len(line))
    keep(browser, begun)
    done = await call(
        site.middleware,
        site.emulator.sign_in(begun.header("location") or "").removeprefix(ORIGIN),
        headers=with_cookies(browser),
    )
    assert done.status == 303, (return_to[:60], done.status, done.body)
    location = done.header("location")
    assert location is not None
    return location
